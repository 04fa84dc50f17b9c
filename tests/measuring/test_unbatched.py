"""Where only outputs are asked for, x runs by itself, and its copies are held against that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.controls.test_broken import Counter
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, NotEquivariantError, Report, Verdict
from shiftcheck.measuring.passes import Passes
from shiftcheck.rules import registry

X = torch.randn(1, 2, 16, 18, generator=torch.Generator().manual_seed(0))
FOUR = [(1, 0), (0, -2), (3, 1), (-1, 0)]


batches: list[int] = []
"""The size of each batch that a model was given; what a model keeps itself is put back."""


class Counted(nn.Module):
    """Notes the size of each batch that it is given."""

    def __init__(self, change: Callable[[torch.Tensor], Any] = torch.relu) -> None:
        super().__init__()
        torch.manual_seed(0)
        batches.clear()
        self.conv, self.change = nn.Conv2d(2, 3, 3), change

    def forward(self, x: torch.Tensor) -> Any:
        batches.append(len(x))
        return self.change(self.conv(x))


def asserted(model: nn.Module, x: torch.Tensor = X, **options: Any) -> Report:
    return shiftcheck.assert_equivariant(model, x, **options)


@pytest.fixture(name="_pointwise")
def pointwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    for name in ("scaled_in_batches", "scaled_at_the_border", "scaled_first", "ramp"):
        shiftcheck.register_rule(f"alone::{name}")(shiftcheck.rules.pointwise)


@torch.library.custom_op("alone::scaled_in_batches", mutates_args=())
def scaled_in_batches(x: torch.Tensor, more: float) -> torch.Tensor:
    return x * (1 + more * (len(x) > 1))


@torch.library.custom_op("alone::scaled_at_the_border", mutates_args=())
def scaled_at_the_border(x: torch.Tensor, more: float) -> torch.Tensor:
    out = x.clone()
    out[..., :1] *= 1 + more * (len(x) > 1)
    return out


@torch.library.custom_op("alone::scaled_first", mutates_args=())
def scaled_first(x: torch.Tensor, more: float) -> torch.Tensor:
    out = x.clone()
    out[:1] *= 1 + more * (len(x) > 1)
    return out


@torch.library.custom_op("alone::ramp", mutates_args=())
def ramp(x: torch.Tensor, strength: float) -> torch.Tensor:
    return x * (1 + strength * torch.linspace(0, 1, x.shape[-1]).to(x.dtype))


@ramp.register_fake
def _(x: torch.Tensor, strength: float) -> torch.Tensor:
    return torch.empty_like(x)


@scaled_in_batches.register_fake
def _(x: torch.Tensor, more: float) -> torch.Tensor:
    return torch.empty_like(x)


@scaled_first.register_fake
def _(x: torch.Tensor, more: float) -> torch.Tensor:
    return torch.empty_like(x)


@scaled_at_the_border.register_fake
def _(x: torch.Tensor, more: float) -> torch.Tensor:
    return torch.empty_like(x)


@pytest.mark.parametrize("max_batch", [None, 2, 4])
def test_a_passing_assertion_runs_every_signal_once(max_batch: int | None) -> None:
    model = Counted()
    asserted(model, shifts=FOUR, max_batch=max_batch)
    most = 4 if max_batch is None else max_batch
    assert batches == [1] + [most] * (4 // most)


def test_a_report_of_every_layer_keeps_x_alone_and_runs_the_copies_beside_nothing() -> None:
    model = Counted()
    shiftcheck.check_equivariance(model, X, shifts=FOUR)
    assert batches == [1, 4]


def test_with_one_shift_x_runs_beside_it() -> None:
    model = Counted()
    assert asserted(model, shifts=[(1, 2)]).verdict is Verdict.EQUIVARIANT
    assert batches == [1, 2]


def test_with_one_shift_rules_are_asked_in_the_pass_of_x_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[int] = []
    run = Passes.run

    def counted(passes: Passes, values: Any, on_row: Any, **options: Any) -> Any:
        ran.append(options.get("copies", 1))
        return run(passes, values, on_row, **options)

    monkeypatch.setattr(Passes, "run", counted)
    report = shiftcheck.check_equivariance(Counted(), X, shifts=[(1, 2)], measure="outputs")
    assert report.verdict is Verdict.EQUIVARIANT
    assert ran == [1]


@pytest.mark.usefixtures("_pointwise")
@pytest.mark.parametrize("more", [1e-3, 1.0])
@pytest.mark.parametrize("scaled", [scaled_in_batches, scaled_first], ids=["both", "x"])
def test_coupling_is_told_with_one_shift(scaled: Any, more: float) -> None:
    model = Counted(lambda x: scaled(x, more))
    report = shiftcheck.check_equivariance(model, X, shifts=[(1, 2)], measure="outputs")
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")


def test_the_zero_shift_is_left_out() -> None:
    model = Counted()
    report = asserted(model, shifts=[(0, 0), *FOUR])
    assert batches == [1, 5]
    assert report.outputs[0].shifts[0].verdict is Verdict.INCONCLUSIVE


BREAKS: list[tuple[Callable[[torch.Tensor], Any], str]] = [
    (lambda x: x * torch.linspace(0, 1, 16), "POSITION"),
    (lambda x: F.interpolate(F.max_pool2d(x, 2), scale_factor=2), "STRIDE"),
]


@pytest.mark.parametrize(("change", "kind"), BREAKS, ids=["position", "stride"])
def test_a_break_is_told_as_in_a_report(change: Callable[[torch.Tensor], Any], kind: str) -> None:
    with pytest.raises(NotEquivariantError, match=f"cause {kind}"):
        asserted(Counted(change))


@pytest.mark.usefixtures("_pointwise")
@pytest.mark.parametrize("more", [1e-3, 1.0])
def test_another_output_in_a_batch_is_coupling(more: float) -> None:
    model = Counted(lambda x: scaled_in_batches(x, more))
    with pytest.raises(InconclusiveError, match="batch coupled"):
        asserted(model)


@pytest.mark.usefixtures("_pointwise")
@pytest.mark.parametrize("tolerances", [{}, {"rtol": 1e-2, "atol": 0.0}], ids=["own", "given"])
def test_coupling_is_told_when_only_outputs_are_measured(tolerances: dict[str, float]) -> None:
    model = Counted(lambda x: scaled_in_batches(x, 1e-3))
    report = shiftcheck.check_equivariance(model, X, measure="outputs", **tolerances)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "batch coupled")


@pytest.mark.usefixtures("_pointwise")
def test_rounding_that_depends_on_the_batch_is_none() -> None:
    for power in range(-8, -5):
        model = Counted(lambda x, more=10.0**power: scaled_in_batches(x, more))
        assert asserted(model).verdict is Verdict.EQUIVARIANT


@pytest.mark.usefixtures("_pointwise")
def test_beside_the_valid_region_no_promise_is_made() -> None:
    """The one that was made, of the samples that count, holds for x by itself."""
    model = Counted(lambda x: scaled_at_the_border(F.pad(x, (2, 2, 2, 2)), 0.5))
    report = asserted(model)
    assert report.verdict is Verdict.EQUIVARIANT


@pytest.mark.usefixtures("_pointwise")
def test_an_output_that_is_not_compared_may_be_coupled() -> None:
    model = Counted(lambda x: (x, scaled_in_batches(x.mean((2, 3)), 0.5)))
    with pytest.raises(InconclusiveError, match="batch coupled"):
        asserted(model)
    assert len(batches) > 3


def test_what_changes_from_call_to_call_does_not_pass() -> None:
    with pytest.raises(InconclusiveError):
        asserted(Counter())


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_figures_are_those_of_a_report(outputs: int) -> None:
    def change(x: torch.Tensor) -> Any:
        return x if outputs == 1 else {"a": x, "b": F.avg_pool2d(x, 3, 2, 1)}

    quick = asserted(Counted(change))
    whole = shiftcheck.check_equivariance(Counted(change), X)
    assert quick.shifts == whole.shifts
    for one, two in zip(quick.outputs, whole.outputs, strict=True):
        assert (one.name, one.valid, one.verdict) == (two.name, two.valid, two.verdict)
        for a, b in zip(one.shifts, two.shifts, strict=True):
            assert (a.verdict, a.share) == (b.verdict, b.share)
            assert a.null_error == pytest.approx(b.null_error, rel=1e-5)
    assert quick.sensitivity == pytest.approx(whole.sensitivity, rel=1e-5)


@pytest.mark.usefixtures("_pointwise")
def test_tolerances_of_ones_own_are_kept_to() -> None:
    def change(x: torch.Tensor) -> torch.Tensor:
        return ramp(x, 1e-3)

    assert asserted(Counted(change), rtol=1e-2, atol=0.0).verdict is Verdict.EQUIVARIANT
    assert batches == [1, 1, 9, 10]  # without values, alone, and what is no rounding with x again
    with pytest.raises(NotEquivariantError):
        asserted(Counted(change), rtol=1e-5, atol=0.0)


@pytest.mark.skipif(not hasattr(torch.backends.mkldnn, "conv"), reason="no setting of its own")
def test_with_coarse_products_x_runs_beside_its_copies() -> None:
    """They nearly always differ from those of another batch, which would be for nothing."""
    conv = torch.backends.mkldnn.conv
    before, conv.fp32_precision = conv.fp32_precision, "bf16"
    try:
        asserted(Counted(), shifts=FOUR)
    finally:
        conv.fp32_precision = before
    assert batches[:3] == [
        1,
        1,
        5,
    ]  # alone, with kept layers too; where the products are coarse indeed, exact ones follow
