"""Models that no check can take as they are: a sentence on top, and everything as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

SIZE = (1, 2, 14, 16)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or SIZE), generator=torch.Generator().manual_seed(5))


def check(model: Any, **options: Any) -> shiftcheck.Report:
    """Check a model, and that its tensors, its flags and the caller's input are as before."""
    x = image()
    tensors = [x, *model.state_dict().values()] if isinstance(model, nn.Module) else [x]
    before = [t.clone() for t in tensors]
    flags = [m.training for m in model.modules()] if isinstance(model, nn.Module) else []
    grad, version = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    try:
        return shiftcheck.check_equivariance(model, x, **options)
    finally:
        assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
        assert flags == ([m.training for m in model.modules()] if flags else [])
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (grad, version)


# -- gradients inside ------------------------------------------------------------------------------


def force(energy: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], Any]:
    def model(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(energy(x).sum(), x)[0]

    return model


def test_the_gradient_of_an_energy() -> None:
    report = check(force(lambda x: x * x))
    assert report.verdict is Verdict.EQUIVARIANT
    assert any("gradients" in note for note in report.notes)


def test_the_gradient_of_an_energy_that_depends_on_the_place() -> None:
    ramp = torch.linspace(0, 1, SIZE[-1])
    report = check(force(lambda x: x * x * ramp), shifts=[(0, 1)])
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_the_gradient_of_a_network_never_passes_by_mistake() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    report = check(force(lambda x: F.softplus(conv(x))))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert report.guilty.layer
    assert conv.weight.grad is None


def test_the_geometry_of_a_gradient() -> None:
    out = shiftcheck.geometry(force(lambda x: x * x), SIZE).outputs[0]
    assert out.period == (1, 1)


def test_a_gradient_that_is_not_asked_for() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((x * x).sum(), x)[0]

    with pytest.raises(shiftcheck.ModelError, match=r"raised RuntimeError(.|\n)*enable_g"):
        check(model)


# -- values ----------------------------------------------------------------------------------------


def test_a_forward_that_fails_without_values_runs_with_them() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        if type(x) is not torch.Tensor:
            raise TypeError("only real tensors")
        return F.avg_pool2d(x, 3, 1)

    assert check(model).verdict is Verdict.EQUIVARIANT
    report = shiftcheck.geometry(model, image())
    assert report.outputs[0].halo == ((0.0, 2.0), (0.0, 2.0))
    assert any("real run" in note and "only real" in note for note in report.notes)


def test_a_way_that_depends_on_a_value() -> None:
    report = check(lambda x: x * 2 if x.sum() > 0 else x * 3)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")
    assert report.guilty is not None
    assert "read from a tensor" in report.guilty.detail


def test_a_model_that_raises_for_some_shifts_only() -> None:
    limit = float(image()[..., 0].max())

    def model(x: torch.Tensor) -> torch.Tensor:
        if float(x[..., 0].max()) != limit:
            raise ValueError("not this one")
        return x * 2

    with pytest.raises(shiftcheck.ModelError, match=r"raised ValueError.*not this one"):
        check(model)


# -- state -----------------------------------------------------------------------------------------


class Counts(nn.Module):
    """Changes a buffer and a parameter at every call, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        with torch.no_grad():
            self.gain.mul_(1.5)
        return x * self.gain


class Remembers(nn.Module):
    """Adds what it saw at the call before."""

    def __init__(self) -> None:
        super().__init__()
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.last is None or self.last.shape != x.shape else x + self.last
        self.last = x
        return y


class Averages(nn.Module):
    """A running mean of its inputs, as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Any:
        self.mean.mul_(0.9).add_(x.mean(), alpha=0.1)
        return x - self.mean


@pytest.mark.parametrize("kind", [Counts, Remembers, Averages])
def test_a_model_that_keeps_state_never_passes(kind: type[nn.Module]) -> None:
    report = check(kind())
    assert report.verdict is Verdict.INCONCLUSIVE


def test_running_statistics_in_training_are_as_before() -> None:
    norm = nn.BatchNorm2d(2)
    report = check(norm, training=True)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert int(norm.num_batches_tracked or 0) == 0


# -- inputs and outputs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [nn.Identity(), lambda x: x, lambda x: x.view(x.shape), lambda x: x.movedim(1, -1)]
)
def test_the_input_itself_or_a_view_of_it(model: Any) -> None:
    assert check(model).verdict is Verdict.EQUIVARIANT


def writes(x: torch.Tensor) -> torch.Tensor:
    x.mul_(2)
    x += 1
    return F.relu_(x)


def writes_a_part(x: torch.Tensor) -> torch.Tensor:
    x[..., :3] = 0
    return x


def test_a_model_that_writes_into_its_input() -> None:
    assert check(writes).verdict is Verdict.EQUIVARIANT
    assert check(nn.Sequential(nn.ReLU(inplace=True))).verdict is Verdict.EQUIVARIANT
    assert check(writes_a_part).verdict is Verdict.BROKEN


def nested(x: torch.Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([x[0], x[0] * 2])


def test_a_sparse_output_never_passes() -> None:
    assert check(lambda x: x.to_sparse()).verdict is Verdict.INCONCLUSIVE


def test_a_nested_output_is_refused() -> None:
    with pytest.raises(shiftcheck.ModelError, match="gives a nested tensor"):
        check(nested)


def test_a_quantized_model_never_passes_by_mistake() -> None:
    quantized = pytest.importorskip("torch.ao.nn.quantized")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(
            quantized.Quantize(0.05, 128, torch.quint8),
            quantized.Conv2d(2, 2, 3),
            quantized.DeQuantize(),
        )
        report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is not Verdict.EQUIVARIANT


class Counting(nn.Module):
    """Its calls are counted in a buffer, and the weight decays."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: torch.Tensor
        self.register_buffer("calls", torch.zeros(()))
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.conv(x)


def test_a_model_that_writes_to_its_own_buffers_is_told_of() -> None:
    model = nn.Sequential(Counting().eval())
    report = shiftcheck.check_equivariance(model, torch.randn(1, 1, 12, 13))
    assert "the model writes to '0.calls' in its forward; it was put back" in report.notes
    assert model[0].calls.item() == 0
    quiet = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.randn(1, 1, 12, 13))
    assert not quiet.notes


class FirstMean(nn.Module):
    """It is divided by the mean of the first signal that it ever saw."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: torch.Tensor | None = None
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mean is None:
            self.mean = x.mean()
        return self.drop(x) / self.mean


class BySize(nn.Module):
    """Another gain for small batches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1.0 if len(x) < 4 else 1.5)


def test_what_is_kept_of_the_first_signal_is_found_out() -> None:
    model = FirstMean().train()
    x = torch.randn(1, 1, 12, 13)
    report = shiftcheck.check_equivariance(model, x)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "nondeterministic")
    assert model.mean is None
    assert model.drop.training


def test_what_is_kept_is_found_out_where_copies_run_one_at_a_time() -> None:
    model = nn.Sequential(FirstMean().eval(), nn.Flatten(0, 1), nn.Unflatten(0, (1, 1)))
    report = shiftcheck.check_equivariance(model, torch.randn(1, 1, 12, 13))
    assert report.notes
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "nondeterministic")


def test_a_table_made_at_the_first_call_is_no_state() -> None:
    class Lazy(nn.Module):
        table: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.table is None:
                self.table = torch.full((1, x.shape[1], 1, 1), 2.0)
            return x * self.table

    shiftcheck.assert_equivariant(Lazy(), torch.randn(1, 2, 12, 13))


@pytest.mark.parametrize("max_batch", [None, 5, 6])
def test_a_gain_that_depends_on_the_size_of_the_batch(max_batch: int | None) -> None:
    x = torch.randn(1, 1, 12, 13)
    report = shiftcheck.check_equivariance(BySize(), x, max_batch=max_batch)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")


def test_a_second_input_that_meets_the_batch_elsewhere_runs_alone() -> None:
    x, gain = torch.randn(1, 12, 14, 1), torch.tensor([2.0])
    report = shiftcheck.check_equivariance(lambda y, g: y * g, (x, gain), spatial_dims=(1, 2))
    assert report.verdict is Verdict.EQUIVARIANT
    assert any("one at a time" in note for note in report.notes)
