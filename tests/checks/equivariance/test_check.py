"""The checks as a user calls them: verdicts, bad input, and what they leave behind."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.networks.resnet import resnet50
from torch import nn

import shiftcheck
from shiftcheck import InputError, ModelError, Verdict


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stack() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 5)
    )


class Lenet38(nn.Module):
    """Names every layer it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = shiftcheck.models.LeNet()
        self.ran: list[str] = []
        for name, module in self.net.named_children():
            module.register_forward_hook(lambda *_, name=name: self.ran.append(name))

    def forward(self, x: torch.Tensor) -> Any:
        return self.net(x)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: x.mean(-1), "axis never moved"),
        (lambda x: x[..., 0], "not spatial"),
        (nn.Linear(13, 1), "not spatial"),
        (lambda x: x @ torch.ones(13), "not spatial"),
        (lambda x: (x.relu(), x[..., 0]), "not spatial"),
    ],
)
def test_an_axis_that_is_gone_was_not_compared(model: Any, reason: str) -> None:
    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 12, 13))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, reason)


def test_an_output_of_an_unknown_operation_after_a_long_stride_says_so() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(nn.functional.max_pool2d(x, 12))

    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 12, 12))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")
    assert report.guilty is not None
    assert report.guilty.layer == "linalg_matrix_exp"


def test_the_axes_that_are_left_can_be_asked_for() -> None:
    x = torch.randn(1, 2, 12, 13)
    report = shiftcheck.check_equivariance(lambda x: x.mean(-1), x)
    assert "shifts=[(1, 0)]" in str(report)
    shiftcheck.assert_equivariant(lambda x: x.mean(-1), x, shifts=[(1, 0)])


def test_the_four_convolutions_pass_and_the_rest_is_not_run() -> None:
    model = Lenet38()
    report = shiftcheck.assert_equivariant(model, image(2, 1, 38, 38), layer="net.conv4")
    assert report.verdict is Verdict.EQUIVARIANT
    assert "fc1" not in model.ran
    assert report.outputs[0].shape == (2, 5, 22, 22)


def test_geometry_of_the_lenet() -> None:
    report = shiftcheck.geometry(shiftcheck.models.LeNet(), (1, 1, 28, 28))
    names = ["conv1", "conv2", "conv3", "conv4", "max_pool2d"]
    rows = [report[name] for name in names]
    assert [row.shape[-1] for row in rows] == [24, 20, 16, 12, 6]
    assert [row.receptive_field[0] for row in rows] == [5, 9, 13, 17, 18]
    assert [row.halo[0] for row in rows] == [(0, 4), (0, 8), (0, 12), (0, 16), (0, 17)]
    assert [row.stride[0] for row in rows] == [1, 1, 1, 1, 2]
    assert [row.valid[0] for row in rows] == [((0, n),) for n in (24, 20, 16, 12, 6)]
    assert report["fc1"].stride == (None, None)


def test_the_view_of_the_lenet_couples_the_batch_on_a_larger_canvas() -> None:
    with pytest.raises(ModelError, match="shape"):
        shiftcheck.check_equivariance(shiftcheck.models.LeNet(), image(1, 1, 38, 38))
    report = shiftcheck.check_equivariance(shiftcheck.models.LeNet(), image(36, 1, 38, 38))
    assert report.verdict is not Verdict.EQUIVARIANT


def test_every_kind_of_shift_is_chosen() -> None:
    report = shiftcheck.check_equivariance(stack(), image(1, 2, 16, 18))
    assert {(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1)} <= set(report.shifts)
    assert any(abs(m) > 1 for m, _ in report.shifts)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report == shiftcheck.check_equivariance(stack(), image(1, 2, 16, 18))


def test_chosen_shifts_fit_the_outputs_lattice() -> None:
    report = shiftcheck.check_equivariance(nn.MaxPool2d((2, 3)), image(1, 2, 24, 24))
    assert report.verdict is Verdict.EQUIVARIANT
    assert all(m % 2 == 0 and n % 3 == 0 for m, n in report.shifts)


def test_one_dimensional_and_three_dimensional() -> None:
    causal = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 3, 5))
    report = shiftcheck.assert_equivariant(causal, image(2, 2, 40))
    assert report.outputs[0].halo == ((4.0, 0.0),)
    volume = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d(2))
    assert shiftcheck.assert_equivariant(volume, image(1, 1, 12, 10, 9)).outputs[0].stride == (
        2,
        2,
        2,
    )


def test_channels_last() -> None:
    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)

    report = shiftcheck.assert_equivariant(blur, image(2, 12, 14, 3), spatial_dims=(1, 2))
    assert report.outputs[0].shape == (2, 12, 14, 3)


def test_boundary_per_axis() -> None:
    def longitude(x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, (1, 1, 0, 0), mode="circular")

    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    both = ("valid", "circular")
    ring = shiftcheck.assert_equivariant(
        lambda x: model(longitude(x)), image(1, 1, 12, 14), boundary=both
    )
    assert ring.outputs[0].relative_error == pytest.approx(0, abs=1e-6)
    broken = shiftcheck.check_equivariance(
        nn.Conv2d(1, 2, 3, padding=1), image(1, 1, 12, 14), boundary=both
    )
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert (broken.guilty.kind, broken.guilty.axis) == ("PADDING", 1)
    assert broken.outputs[0].verdict is Verdict.BROKEN


def test_a_size_that_the_stride_does_not_divide_on_the_circle() -> None:
    pool = nn.AvgPool1d(2, ceil_mode=True)
    report = shiftcheck.check_equivariance(pool, image(1, 1, 9), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "STRIDE"


def test_a_period_that_the_shift_does_not_keep() -> None:
    down_up = nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2))
    report = shiftcheck.check_equivariance(down_up, image(1, 2, 16, 16))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer, report.guilty.period) == ("STRIDE", "0", 2)
    good = shiftcheck.check_equivariance(down_up, image(1, 2, 16, 16), shifts=[(2, 0), (0, -4)])
    assert good.verdict is Verdict.EQUIVARIANT


def test_the_smallest_size_that_would_do() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 9, 2, padding=4), nn.MaxPool2d(2))
    report = shiftcheck.check_equivariance(model, image(1, 1, 12, 40))
    assert report.reason == "no valid region"
    # pooled samples 1, 2 and 3 must be valid: 2 * (2 * 3 + 1) + 4 <= n - 1, so n >= 19
    assert report.needed == (19, 40)
    enough = shiftcheck.check_equivariance(model, image(1, 1, 19, 40))
    assert enough.verdict is Verdict.EQUIVARIANT
    short = shiftcheck.check_equivariance(model, image(1, 1, 18, 40))
    assert short.reason == "too little compared"


@pytest.mark.slow
@pytest.mark.parametrize(("first", "field", "size"), [(True, 483, 562), (False, 427, 502)])
def test_a_resnet_50_needs_more_than_224_pixels(first: bool, field: int, size: int) -> None:
    model = resnet50(first=first, width=2)
    report = shiftcheck.check_equivariance(model, image(1, 3, 224, 224), shifts=[(32, 0)])
    assert report.reason == "no valid region"
    assert report.outputs[0].receptive_field == (field, field)
    assert report.outputs[0].stride == (32, 32)
    assert report.outputs[0].border_error is not None
    assert report.needed == (size, 224)


def test_an_mlp_from_image_to_image() -> None:
    report = shiftcheck.check_equivariance(shiftcheck.models.MLP(), image(3, 1, 28, 28))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("MIXING", "fc1")


def test_several_outputs_of_several_kinds() -> None:
    conv = nn.Conv2d(1, 2, 3)

    def model(x: torch.Tensor) -> dict[str, Any]:
        y = conv(x)
        return {"map": y, "pyramid": (F.max_pool2d(y, 2),), "score": y.mean((1, 2, 3))}

    report = shiftcheck.check_equivariance(model, image(2, 1, 16, 18))
    assert [row.shape for row in report.outputs] == [(2, 2, 14, 16), (2, 2, 7, 8), (2,)]
    assert [row.reason for row in report.outputs] == ["", "", "not spatial"]
    assert report.verdict is Verdict.EQUIVARIANT

    def one_broken(x: torch.Tensor) -> dict[str, Any]:
        return {**model(x), "ramp": x + torch.linspace(0, 1, 18)}

    assert shiftcheck.check_equivariance(one_broken, image(2, 1, 16, 18)).verdict is Verdict.BROKEN


def test_several_inputs() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)

    def model(x: torch.Tensor, coarse: torch.Tensor, t: torch.Tensor, k: float) -> torch.Tensor:
        return F.max_pool2d(conv(x), 2) * coarse + t[:, None, None, None] * k

    inputs = (image(2, 1, 16, 16), image(2, 1, 8, 8), torch.tensor([1.0, 2.0]), 3.0)
    report = shiftcheck.assert_equivariant(model, inputs)
    assert report.outputs[0].stride == (2, 2)
    named = dict(zip(("x", "coarse", "t", "k"), inputs, strict=True))
    assert shiftcheck.assert_equivariant(model, named).outputs[0].stride == (2, 2)
    with pytest.raises(InputError, match="1/2"):
        shiftcheck.check_equivariance(model, inputs, shifts=[(1, 0)])


def test_numpy_input() -> None:
    report = shiftcheck.check_equivariance(nn.Conv1d(1, 1, 3).double(), np.random.randn(1, 1, 20))
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.dtype == "float64"


def test_a_module_called_twice_has_two_rows() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.conv(F.relu(self.conv(x)))) + x

    report = shiftcheck.check_equivariance(Twice(), image(1, 2, 30))
    assert [row.name for row in report] == ["conv", "relu", "conv#2", "relu_1", "add"]
    assert shiftcheck.check_equivariance(Twice(), image(1, 2, 30), layer="relu").layers[
        -1
    ].name == ("relu")
    with pytest.raises(KeyError, match="conv#2"):
        report["conv3"]


VACUOUS: dict[str, tuple[Any, str]] = {
    "dead": (lambda x: F.relu(x - 1e6), "dead output"),
    "constant": (lambda x: x * 0 + 3, "constant output"),
    "nan": (lambda x: x * float("nan"), "not finite"),
    "infinite": (lambda x: x * 1e38 * 1e38, "not finite"),
    "nan after equality": (lambda x: torch.where(x > 0, x, x / 0 * 0), "not finite"),
    "nothing valid": (nn.Conv2d(1, 1, 31, padding=15), "no valid region"),
    "random": (lambda x: x + torch.rand_like(x), "nondeterministic"),
    "dropout": (lambda x: F.dropout(x, 0.5, training=True), "nondeterministic"),
    "one value": (lambda x: x.mean((1, 2, 3)), "not spatial"),
    "unknown": (lambda x: x.masked_scatter(x > 0, x), "unsupported operation"),
}


@pytest.mark.parametrize("name", VACUOUS)
def test_vacuous_is_never_a_pass(name: str) -> None:
    model, reason = VACUOUS[name]
    report = shiftcheck.check_equivariance(model, image(2, 1, 16, 16))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, reason)
    with pytest.raises(shiftcheck.InconclusiveError, match=reason):
        shiftcheck.assert_equivariant(model, image(2, 1, 16, 16))


def test_signals_in_which_the_shift_cannot_be_seen() -> None:
    conv = nn.Conv2d(1, 1, 3)
    stripes = torch.ones(1, 1, 16, 1) * torch.sin(torch.arange(18.0))
    across = shiftcheck.check_equivariance(conv, stripes, shifts=[(0, 3)])
    along = shiftcheck.check_equivariance(conv, stripes, shifts=[(3, 0)])
    assert across.verdict is Verdict.EQUIVARIANT
    assert (along.verdict, along.reason) == (Verdict.INCONCLUSIVE, "shift not visible")
    same = torch.randn(1, 1, 16, 3).repeat(1, 1, 1, 6)
    period = shiftcheck.check_equivariance(
        lambda x: x * 2, same, shifts=[(0, 3)], boundary="circular"
    )
    assert period.reason == "shift not visible"
    assert shiftcheck.check_equivariance(conv, torch.ones(1, 1, 16, 16)).verdict is (
        Verdict.INCONCLUSIVE
    )


def test_only_the_zero_shift() -> None:
    report = shiftcheck.check_equivariance(stack(), image(1, 2, 16, 18), shifts=[(0, 0)])
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "identity shift")


def test_a_tolerance_larger_than_the_signal() -> None:
    report = shiftcheck.check_equivariance(stack(), image(1, 2, 16, 18), rtol=5.0, atol=0.0)
    assert (report.verdict, report.reason) == (
        Verdict.INCONCLUSIVE,
        "tolerance larger than the signal",
    )
    ramp = torch.linspace(0, 1e-4, 18)
    loose = shiftcheck.check_equivariance(
        lambda x: x + ramp, image(1, 2, 16, 18), rtol=1e-2, atol=0.0
    )
    assert loose.verdict is not Verdict.EQUIVARIANT


def test_training_batch_norm_runs_one_at_a_time() -> None:
    report = shiftcheck.check_equivariance(stack(), image(2, 2, 16, 18), training=True)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("GLOBAL", "1")
    assert any("one at a time" in note for note in report.notes)


def test_stacked_chunked_and_one_by_one_agree() -> None:
    model, x = stack(), image(2, 2, 16, 18)
    whole = shiftcheck.check_equivariance(model, x)
    pieces = shiftcheck.check_equivariance(model, x, max_batch=2)

    def reads(x: torch.Tensor) -> torch.Tensor:
        assert x.shape[0] == 2
        return model(x)  # type: ignore[no-any-return]

    single = shiftcheck.check_equivariance(reads, x)
    assert single.notes
    for other in (pieces, single):
        assert other.verdict is whole.verdict
        assert other.shifts == whole.shifts
        for mine, theirs in zip(whole.outputs[0].shifts, other.outputs[0].shifts, strict=True):
            assert mine.share == theirs.share
            assert mine.scale == pytest.approx(theirs.scale, rel=1e-5)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "complex": ({"x": torch.ones(1, 2, 16, 18, dtype=torch.complex64)}, "complex64"),
    "no batch": ({"x": torch.ones(2, 16, 18)}, r"x\[None\]"),
    "rank 2": ({"x": torch.ones(16, 18)}, "batch"),
    "rank 6": ({"x": torch.ones(1, 1, 2, 2, 2, 2)}, "rank 6"),
    "empty": ({"x": torch.ones(1, 2, 0, 18)}, "no values"),
    "no tensor": ({"x": "picture"}, "no tensor"),
    "nan": ({"x": torch.full((1, 2, 16, 18), float("nan"))}, "576 values"),
    "infinite": ({"x": torch.full((1, 2, 16, 18), float("inf"))}, "NaN or infinite"),
    "not callable": ({"model": 3}, "model=3"),
    "wrong length": ({"shifts": [(1,)]}, "1 entry"),
    "too large": ({"shifts": [(16, 0)]}, "larger than the signal"),
    "no shifts": ({"shifts": []}, "empty"),
    "boundary": ({"boundary": "torus"}, "'torus'"),
    "boundary length": ({"boundary": ("valid",)}, "2 spatial axes"),
    "spatial dims": ({"spatial_dims": (2, 9)}, "9"),
    "spatial batch": ({"spatial_dims": (0, 1)}, "batch"),
    "one tolerance": ({"rtol": 1e-3}, "both or neither"),
    "negative tolerance": ({"rtol": -1.0, "atol": 0.0}, "at least 0"),
    "max batch": ({"max_batch": 1}, "max_batch=1"),
    "unknown layer": ({"layer": "convolution9"}, "there are 0, 1, 2, 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    changed, message = BAD[name]
    arguments: dict[str, Any] = {"model": stack(), "x": image(1, 2, 16, 18), **changed}
    model, x = arguments.pop("model"), arguments.pop("x")
    with pytest.raises(InputError, match=message):
        shiftcheck.check_equivariance(model, x, **arguments)
    with pytest.raises(InputError, match=message):
        shiftcheck.assert_equivariant(model, x, **arguments)


def test_the_nearest_names_are_given() -> None:
    with pytest.raises(InputError, match="conv4"):
        shiftcheck.check_equivariance(shiftcheck.models.LeNet(), image(1, 1, 28, 28), layer="conv5")


def test_a_model_on_another_device() -> None:
    with pytest.raises(InputError, match="on meta"):
        shiftcheck.check_equivariance(stack().to("meta"), image(1, 2, 16, 18))


def test_a_model_that_returns_nothing() -> None:
    with pytest.raises(ModelError, match="no tensor"):
        shiftcheck.check_equivariance(lambda x: None, image(1, 2, 16, 18))
    with pytest.raises(ModelError, match="depends on x"):
        shiftcheck.check_equivariance(lambda x: torch.ones(3), image(1, 2, 16, 18))


def test_a_model_whose_shape_depends_on_the_values() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x[..., : 8 + int(x[0, 0, 0, 0] > x.median())]

    report_or_error: Any
    try:
        report_or_error = shiftcheck.check_equivariance(model, image(1, 2, 16, 18))
    except ModelError as error:
        assert "shape" in str(error)  # noqa: PT017
    else:
        assert report_or_error.verdict is Verdict.INCONCLUSIVE


class Raises(nn.Module):
    """Runs a little, changes its own state, and raises."""

    def __init__(self, fail: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer("count", torch.zeros(1))
        self.calls = 0
        self.fail = fail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.calls += 1
        self.seen = x.shape
        self.count = self.count * 2
        random.random(), np.random.rand(), torch.rand(1)
        x.mul_(2)
        if self.fail:
            raise RuntimeError("my own trouble")
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("fail", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_everything_is_left_as_it_was(fail: bool, training: bool) -> None:
    model, x = Raises(fail), image(2, 2, 12, 12)
    model.train()
    model.norm.eval()
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    fired: list[int] = []
    model.conv.register_forward_hook(lambda *_: fired.append(1))
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    attributes = {k: v for k, v in vars(model).items() if not k.startswith("_")}
    buffer, given = model.count, x.clone()
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    try:
        shiftcheck.check_equivariance(model, x, training=training)
    except ModelError as error:
        assert fail
        assert "my own trouble" in str(error)  # noqa: PT017
        assert isinstance(error.__cause__, RuntimeError)  # noqa: PT017
    assert [m.training for m in model.modules()] == [True, True, False]
    assert model.count is buffer
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert {k: v for k, v in vars(model).items() if not k.startswith("_")} == attributes
    assert torch.equal(x, given)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert model.conv.weight.grad is not None
    assert len(model.conv._forward_hooks) == 1
    assert not torch.is_inference_mode_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
    fired.clear()
    model.fail = False
    model(x.clone())
    assert fired == [1]
