"""What passes is invariant, and not because nothing could have been seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.checks.invariance.networks import Polyphase, classifier, perceptron, signals
from torch import nn

import shiftcheck
from shiftcheck.report import InvarianceVerdict

INVARIANT = InvarianceVerdict.INVARIANT
NOT_INVARIANT = InvarianceVerdict.NOT_INVARIANT
INCONCLUSIVE = InvarianceVerdict.INCONCLUSIVE


def answer(model, x, **options):
    report = shiftcheck.check_invariance(model, x, **options)
    return report.verdict, report.reason


# -- the torus -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axes", "size"), [(1, (24,)), (2, (9, 14)), (3, (4, 6, 5))])
def test_global_mean_of_circular_convolutions_is_proven(axes, size):
    report = shiftcheck.assert_invariant(classifier(axes=axes), signals(3, 1, *size))
    assert report.verdict is INVARIANT
    assert report.outputs[0].proven
    assert report.outputs[0].period == (1,) * axes
    assert all(any(s[a] for s in report.shifts) for a in range(axes))


def test_stride_is_invariant_to_multiples_of_its_period_only():
    model, x = classifier(nn.MaxPool2d(2)), signals(3, 1, 12, 8)
    report = shiftcheck.check_invariance(model, x)
    assert report.verdict is NOT_INVARIANT
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("STRIDE", "1")
    assert report.outputs[0].period == (2, 2)
    multiples, bound = report.trials
    assert multiples.works
    assert multiples.change.multiples == (2, 2)
    assert bound.max_relative_error is not None
    shiftcheck.assert_invariant(model, x, shifts=[(2, 0), (0, 4), (-2, 2)])


@pytest.mark.parametrize(
    ("model", "size", "kind"),
    [
        (classifier(padding="zeros"), (12, 8), "PADDING"),
        (perceptron(96, 10), (12, 8), "MIXING"),
        (classifier(nn.MaxPool2d(2)), (13, 8), "STRIDE"),
        (lambda x: (x * torch.linspace(0, 1, 8)).mean((1, 2, 3)), (12, 8), "POSITION"),
        (lambda x: x[:, :, 3].mean(2), (12, 8), "INDEX"),
        (lambda x: x.mean((1, 2)).argmax(1), (12, 8), "INDEX"),
    ],
    ids=["zero padding", "perceptron", "odd size", "ramp", "one row", "place of the maximum"],
)
def test_what_breaks_it_is_named(model, size, kind):
    with pytest.raises(shiftcheck.NotInvariantError, match=f"cause {kind}"):
        shiftcheck.assert_invariant(model, signals(4, 1, *size))


def test_polyphase_sampling_is_invariant_and_marked_as_measured():
    report = shiftcheck.assert_invariant(classifier(Polyphase()), signals(3, 1, 12, 8))
    assert not report.outputs[0].proven
    assert report.outputs[0].worst.float64_gap < 1e-12


def test_polyphase_sampling_after_zero_padding_is_not():
    model = classifier(Polyphase(), padding="zeros")
    assert answer(model, signals(3, 1, 12, 8))[0] is NOT_INVARIANT


def test_spectrum_is_invariant_though_it_has_the_size_of_an_image():
    report = shiftcheck.assert_invariant(lambda x: torch.fft.fft2(x).abs(), signals(3, 1, 8, 9))
    assert report.outputs[0].proven


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types(dtype):
    x = signals(3, 1, 12, 8).to(dtype)
    assert answer(lambda x: x.square().mean((2, 3)) * torch.ones(1, 3), x)[0] is INVARIANT
    report = shiftcheck.check_invariance(perceptron(96, 10).to(dtype), x)
    assert report.verdict is NOT_INVARIANT


# -- breaks that are small -------------------------------------------------------------------------


def test_break_below_the_noise_of_float32_is_found_in_float64():
    ramp = torch.linspace(0, 1, 8, dtype=torch.float64)

    def model(x):
        return x.square().mean((2, 3)) + 1e-10 * (x * ramp.to(x.dtype)).mean((2, 3))

    report = shiftcheck.check_invariance(model, signals(4, 1, 12, 8))
    assert report.verdict is NOT_INVARIANT
    worst = max(s.float64_gap or 0 for s in report.outputs[0].moved)
    assert 1e-12 < worst < 1e-9


def test_break_in_a_small_channel_is_not_hidden_by_a_large_one():
    def model(x):
        large = 1e8 * x.square().mean((1, 2, 3))
        return torch.stack([large, x[:, 0, 0, 0]], 1)

    assert answer(model, signals(4, 1, 12, 8))[0] is NOT_INVARIANT


def test_structure_that_breaks_without_a_gap_does_not_pass():
    linear = nn.Linear(96, 1, bias=False)
    nn.init.constant_(linear.weight, 1 / 96)
    model = nn.Sequential(nn.Flatten(), linear)
    assert answer(model, signals(4, 1, 12, 8)) == (INCONCLUSIVE, "within noise of a break")


def test_stride_off_its_period_does_not_pass_where_the_signal_hides_it():
    x = signals(4, 1, 6, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)

    def model(x):
        return x[..., ::2, ::2].square().mean((2, 3))

    assert answer(model, x, shifts=[(1, 0)]) == (INCONCLUSIVE, "within noise of a break")
    assert answer(model, x, shifts=[(2, 0)]) == (INVARIANT, "")


def test_gap_that_a_coarse_type_makes_is_named():
    def model(x):
        return (1e7 * x.sum((2, 3))).sin()

    x = signals(4, 1, 12, 8)
    assert answer(model, x) == (NOT_INVARIANT, "only in low precision")


# -- nothing that could be seen --------------------------------------------------------------------


def dead():
    model = classifier()
    nn.init.zeros_(model[-1].weight)
    return model


@pytest.mark.parametrize("options", [{}, {"max_relative_error": 0.5}, {"fill": "zeros"}])
def test_dead_classifier_does_not_count_as_invariant(options):
    report = shiftcheck.check_invariance(dead(), signals(4, 1, 12, 8), **options)
    assert (report.verdict, report.reason) == (INCONCLUSIVE, "constant output")
    assert report.same_from == "7"


def test_dead_relus_are_named():
    model = classifier()
    nn.init.constant_(model[3].bias, -1e3)
    report = shiftcheck.check_invariance(model, signals(4, 1, 12, 8))
    assert (report.verdict, report.reason) == (INCONCLUSIVE, "constant output")
    assert report.same_from == "4"


def test_saturated_softmax_is_named():
    model = nn.Sequential(classifier(), nn.Softmax(1))
    with torch.no_grad():
        model[0][-1].bias[3] += 1e4
    report = shiftcheck.check_invariance(model, signals(4, 1, 12, 8))
    assert (report.verdict, report.reason) == (INCONCLUSIVE, "saturated output")
    assert report.same_from == "1"


def test_one_class_for_everything():
    x = signals(4, 1, 12, 8)
    assert answer(lambda x: x.mean((1, 2, 3)) > 100, x) == (INCONCLUSIVE, "constant output")


def opaque(x):
    """The class, or one score for each of two classes, by a way that no rule follows."""
    return torch.from_numpy((x.numpy().mean((1, 2, 3)) > 0).copy())


def test_classes_that_agree_are_no_proof_of_scores_that_do():
    x = signals(6, 1, 12, 8) + torch.tensor([-1.0, 1, -1, 1, -1, 1])[:, None, None, None]
    assert answer(opaque, x) == (INCONCLUSIVE, "only classes agree")
    assert answer(lambda x: opaque(x).float(), x) == (INCONCLUSIVE, "saturated output")
    bounded = {"fill": "reflect", "max_relative_error": 0.5}
    assert answer(opaque, x, **bounded)[0] is INVARIANT
    assert answer(lambda x: opaque(x).float(), x, **bounded) == (INCONCLUSIVE, "saturated output")


def test_output_that_is_zero():
    assert answer(lambda x: 0 * x.mean((2, 3)), signals(4, 1, 12, 8)) == (
        INCONCLUSIVE,
        "dead output",
    )


def test_nearly_dead_output_is_not_rescued_by_rounding():
    def model(x):
        return 1e6 + 1e-2 * classifier()(x)

    verdict, reason = answer(model, signals(4, 1, 12, 8))
    assert (verdict, reason) == (INCONCLUSIVE, "constant output")


def test_median_is_not_fooled_by_one_signal_that_differs():
    x = torch.rand(8, 1, 12, 8, generator=torch.Generator().manual_seed(0))
    x[0] += 100

    def model(x):
        return torch.relu(x.mean((2, 3)) - 50)

    assert answer(model, x) == (INCONCLUSIVE, "constant output")


def test_output_that_ignores_the_input_counts_where_it_is_one_for_each_signal():
    x = signals(4, 1, 12, 8)

    def model(x):
        return {"features": x.square().mean((2, 3)), "logits": torch.ones(len(x), 10)}

    assert answer(model, x) == (INCONCLUSIVE, "output ignores the input")


def test_scalar_parameter_among_the_outputs_is_left_out():
    x = signals(4, 1, 12, 8)
    report = shiftcheck.assert_invariant(lambda x: (x.square().mean((2, 3)), torch.ones(())), x)
    assert report.outputs[1].reason == "output ignores the input"


def test_model_that_ignores_the_input_altogether():
    with pytest.raises(shiftcheck.ModelError, match="nothing to compare"):
        shiftcheck.check_invariance(lambda x: torch.ones(4, 10), signals(4, 1, 12, 8))


def test_constant_input():
    x = torch.ones(4, 1, 12, 8)
    assert answer(classifier(), x) == (INCONCLUSIVE, "constant input")


def test_stripes_along_the_shift_are_not_visible():
    x = signals(4, 1, 1, 8).expand(4, 1, 12, 8)
    assert answer(classifier(), x) == (INCONCLUSIVE, "shift not visible")
    assert answer(classifier(), x, shifts=[(0, 1)])[0] is INVARIANT


def test_zero_shift_alone():
    assert answer(classifier(), signals(4, 1, 12, 8), shifts=[(0, 0)]) == (
        INCONCLUSIVE,
        "identity shift",
    )


def test_axis_of_one_pixel_is_never_moved():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = signals(4, 1, 1, 8)
    assert answer(model, x) == (INCONCLUSIVE, "axis never moved")
    assert answer(model, x, shifts=[(0, 2), (0, -1)])[0] is INVARIANT


def test_random_initialisation_agrees_while_logits_move():
    report = shiftcheck.check_invariance(classifier(nn.MaxPool2d(2)), signals(6, 1, 12, 8))
    output = report.outputs[0]
    assert report.verdict is NOT_INVARIANT
    assert output.relative_error > 0.05
    assert output.top1_agreement == 1.0
    assert output.top1_between == 1.0
    assert "this tells nothing" in str(report)


# -- what cannot be told ---------------------------------------------------------------------------


def test_output_that_is_not_finite():
    assert answer(lambda x: classifier()(x) / 0, signals(4, 1, 12, 8)) == (
        INCONCLUSIVE,
        "not finite",
    )


def test_nan_at_one_shift_only():
    def model(x):
        seen = x[:, 0, 0, 0] == first
        return torch.where(seen[:, None], x.square().mean((2, 3)), torch.tensor(float("nan")))

    x = signals(1, 1, 12, 8)
    first = x[:, 0, 0, 0].clone()
    assert answer(model, x.expand(3, 1, 12, 8), shifts=[(1, 0)])[0] is INCONCLUSIVE


def test_random_model():
    model = nn.Sequential(classifier(), nn.Dropout())
    x = signals(4, 1, 12, 8)
    assert answer(model, x, training=True) == (INCONCLUSIVE, "nondeterministic")
    assert answer(model, x)[0] is INVARIANT


def test_random_numbers_of_numpy():
    def model(x):
        return x.square().mean((2, 3)) * float(np.random.default_rng().random())

    assert answer(model, signals(4, 1, 12, 8)) == (INCONCLUSIVE, "nondeterministic")


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x.square().mean((2, 3)) * self.calls


def test_stateful_model():
    model = Counting()
    assert answer(model, signals(4, 1, 12, 8)) == (INCONCLUSIVE, "nondeterministic")
    assert model.calls == 0


def test_state_outside_of_any_module():
    calls = []

    def model(x):
        calls.append(1)
        return x.square().mean((2, 3)) * len(calls)

    assert answer(model, signals(4, 1, 12, 8)) == (INCONCLUSIVE, "nondeterministic")


def test_one_signal_is_compared_with_drawn_ones():
    report = shiftcheck.assert_invariant(classifier(), signals(1, 1, 12, 8))
    assert report.signals == "drawn"
    assert report.outputs[0].pairs == 8
    assert any("drawn" in note for note in report.notes)


def test_global_mean_alone_is_told_from_a_dead_one_by_drawn_signals():
    x = signals(1, 3, 12, 8)
    assert answer(lambda x: x.mean((2, 3)), x)[0] is INVARIANT
    assert answer(lambda x: 0 * x.mean((2, 3)) + 1, x)[0] is INCONCLUSIVE


def test_batch_of_one_signal_many_times():
    report = shiftcheck.assert_invariant(classifier(), signals(1, 1, 12, 8).expand(3, 1, 12, 8))
    assert report.signals == "drawn"


# -- open axes -------------------------------------------------------------------------------------


def test_open_axes_are_measured_and_not_judged_without_a_bound():
    model, x = classifier(padding="zeros"), signals(4, 1, 12, 8)
    report = shiftcheck.check_invariance(model, x, fill="zeros")
    assert report.verdict is None
    assert report.relative_error > 0
    with pytest.raises(shiftcheck.InconclusiveError, match="max_relative_error"):
        shiftcheck.assert_invariant(model, x, fill="zeros")


@pytest.mark.parametrize("fill", ["circular", "zeros", "reflect", "replicate", "fresh"])
def test_bound_is_what_passes(fill):
    model, x = classifier(padding="zeros"), signals(4, 1, 12, 8)
    x *= torch.tensor([0.5, 1, 2, 4])[:, None, None, None]
    shifts = [(1, 0), (0, -2), (2, 2)]
    measured = shiftcheck.check_invariance(model, x, fill=fill, shifts=shifts).relative_error
    assert 0 < measured < 1
    bounds = {"fill": fill, "shifts": shifts}
    shiftcheck.assert_invariant(model, x, max_relative_error=1.01 * measured, **bounds)
    with pytest.raises(shiftcheck.NotInvariantError, match=f"{measured:.1e}".replace("+", r"\+")):
        shiftcheck.assert_invariant(model, x, max_relative_error=0.99 * measured, **bounds)


def test_bound_below_the_noise_cannot_be_told():
    verdict, reason = answer(classifier(), signals(4, 1, 12, 8), max_relative_error=1e-9)
    assert (verdict, reason) == (INCONCLUSIVE, "bound below the noise")


def test_circle_beside_an_open_axis():
    model, x = classifier(), signals(4, 1, 12, 8)
    fill = ("zeros", "circular")
    assert answer(model, x, fill=fill, shifts=[(0, 3)])[0] is INVARIANT
    assert answer(model, x, fill=fill, shifts=[(0, 3), (1, 0)])[0] is None


# -- outputs ---------------------------------------------------------------------------------------


def test_output_with_spatial_axes_is_refused_with_a_pointer():
    with pytest.raises(shiftcheck.InconclusiveError, match=r"shiftcheck\.assert_equivariant"):
        shiftcheck.assert_invariant(nn.Conv2d(1, 2, 3), signals(4, 1, 12, 8))


def test_output_with_spatial_axes_is_left_out_beside_another():
    def model(x):
        return {"map": x * 2, "nested": [x.square().mean((2, 3)), (x.abs().mean((1, 2, 3)),)]}

    report = shiftcheck.assert_invariant(model, signals(4, 1, 12, 8))
    reasons = [o.reason for o in report.outputs]
    assert reasons == ["still spatial", "", ""]
    assert report["output['nested'][1][0]"].shape == (4,)


def test_any_broken_output_breaks():
    def model(x):
        return x.square().mean((2, 3)), x[:, :, 0].mean(2)

    assert answer(model, signals(4, 1, 12, 8))[0] is NOT_INVARIANT


def test_axis_that_stays_matters_only_where_it_is_shifted():
    def model(x):
        return x.square().mean(2)

    x = signals(4, 1, 12, 8)
    assert answer(model, x) == (INCONCLUSIVE, "still spatial")
    assert answer(model, x, shifts=[(1, 0), (-3, 0)])[0] is INVARIANT


def test_embedding_at_a_layer():
    model = nn.Sequential(classifier(), perceptron(10, 3))
    report = shiftcheck.assert_invariant(model, signals(4, 1, 12, 8), layer="0.6")
    assert report.outputs[0].shape == (4, 8)


def test_classes_are_compared_as_classes():
    def model(x):
        return (x.square().mean((1, 2, 3)) * 10).round().long()

    x = signals(6, 1, 12, 8)
    assert answer(model, x)[0] is INVARIANT
    assert answer(model, x, layer="mul", max_relative_error=0.5)[0] is INVARIANT
    output = shiftcheck.check_invariance(lambda x: x[:, 0, 0, 0] > 0, x).outputs[0]
    assert output.verdict is NOT_INVARIANT
    assert output.variation in (0.0, 1.0)


def test_output_that_is_not_led_by_the_batch():
    report = shiftcheck.check_invariance(
        lambda x: x.square().mean((2, 3)).T[:, :3], signals(4, 2, 12, 8)
    )
    assert report.verdict is INVARIANT
    assert any("is not the batch" in note for note in report.notes)


def test_loss_over_the_whole_batch():
    report = shiftcheck.assert_invariant(lambda x: x.square().mean(), signals(4, 2, 12, 8))
    assert report.signals == "drawn"
    with pytest.raises(shiftcheck.NotInvariantError):
        shiftcheck.assert_invariant(lambda x: x[..., 0].mean(), signals(4, 2, 12, 8))


def test_shape_that_depends_on_the_values():
    def model(x):
        return x.square().mean((1, 2))[x[:, 0, 0] > 0]

    with pytest.raises(shiftcheck.ModelError, match="shapes must not depend on the values"):
        shiftcheck.check_invariance(model, signals(4, 1, 12, 8))


def test_outputs_that_cannot_be_read_or_are_empty():
    x = signals(4, 1, 12, 8)
    assert answer(lambda x: x.mean((2, 3)).to_sparse(), x)[0] is INCONCLUSIVE
    assert answer(lambda x: x.mean((2, 3))[:, :0], x) == (INCONCLUSIVE, "empty output")


def test_numpy_function():
    x = signals(3, 1, 12, 8).numpy()
    assert answer(lambda x: np.abs(np.fft.fft2(x)).sum((2, 3)), x)[0] is INVARIANT
    assert answer(lambda x: x[:, :, 0, 0] * 2, x)[0] is NOT_INVARIANT


def test_values_that_leave_torch_inside():
    def model(x):
        return torch.from_numpy(np.sort(x.numpy().reshape(len(x), -1), axis=1))

    assert answer(model, signals(3, 1, 6, 8))[0] is INVARIANT


def test_values_that_leave_torch_for_one_of_two_outputs():
    def model(x):
        return x.square().mean((2, 3)), torch.from_numpy(np.sort(x.numpy().reshape(len(x), -1)))

    report = shiftcheck.check_invariance(model, signals(3, 1, 6, 8))
    assert [o.verdict for o in report.outputs] == [INVARIANT, INVARIANT]
    assert any("values leave torch" in note for note in report.notes)


def test_forward_that_needs_gradients():
    network = classifier()

    def model(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = network(x).square().sum()
            (slope,) = torch.autograd.grad(energy, x)
        return slope.square().mean((2, 3))

    report = shiftcheck.check_invariance(model, signals(3, 1, 12, 8))
    assert report.verdict is INVARIANT
    assert any("gradients" in note for note in report.notes)
