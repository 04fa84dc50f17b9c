"""The second look: what float64 and the noise floor make of a gap, at each limit and beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from shiftcheck.checks.equivariance import second_look as confirm
from shiftcheck.checks.equivariance.second_look import (
    SecondLook,
    doubtful,
    look_again,
    precision_notes,
    settled,
)
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.measurements import Measurements
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.report.equivariance import LayerResult, ShiftResult, Verdict
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved

GOOD, OPEN, BAD = Verdict.EQUIVARIANT, Verdict.INCONCLUSIVE, Verdict.BROKEN
AGAINST, NOISE = "disagrees with the structure", "within noise of a break"
INVISIBLE, CHOSEN = "shift not visible", "chosen from the data"
MEASURED = "gap where the geometry was measured"
LOW, NO_LOOK = "only in low precision", "gap not confirmed in float64"
DOUBLE, SINGLE, BRAIN = 2.0**-52, 2.0**-23, 2.0**-7
BREAK = 1e4 * DOUBLE


def above(value: float) -> float:
    return math.nextafter(value, math.inf)


def result(verdict: Verdict, reason: str = "", gap: float | None = 2.0**-17) -> ShiftResult:
    """A gap of that size in a channel of magnitude 4, where the shift itself changes a half."""
    return ShiftResult(
        shift=(1, 0),
        verdict=verdict,
        reason=reason,
        error=None if gap is None else 4 * gap,
        relative_error=gap,
        scale=4.0,
        allowance=1e-5,
        null_error=0.5,
    )


BROKEN, MISMATCH = result(BAD), result(BAD, AGAINST)
HIDDEN, SMALL, DATA = result(OPEN, INVISIBLE), result(OPEN, NOISE), result(OPEN, CHOSEN)


def in_layers(*results: ShiftResult) -> list[LayerResult]:
    """Each in a layer of its own, behind a shift that nothing is the matter with."""
    none = (None, None)
    return [
        LayerResult(
            name=str(i),
            op="conv",
            shape=(1, 1, 8, 8),
            stride=none,
            period=none,
            receptive_field=none,
            halo=none,
            valid=none,
            shifts=(result(GOOD), one),
        )
        for i, one in enumerate(results)
    ]


def test_what_is_looked_at_again() -> None:
    calm = [
        result(GOOD),
        result(OPEN, "no valid region"),
        result(BAD, gap=None),
        result(OPEN, INVISIBLE, gap=None),
        result(OPEN, INVISIBLE, gap=0.0),
    ]
    assert not doubtful(in_layers(*calm))
    for one in (BROKEN, MISMATCH, HIDDEN, SMALL, DATA, result(OPEN, MEASURED)):
        assert doubtful(in_layers(*calm, one))
        assert doubtful(in_layers(one, *calm))
    for one in (*calm, result(OPEN, MEASURED)):
        for exact in (None, Gap(relative=0.0), Gap(relative=1.0)):
            assert settled(one, exact, 1.0, SINGLE) is one


@pytest.mark.parametrize("first", [HIDDEN, SMALL], ids=["hidden", "small"])
def test_what_only_float64_shows(first: ShiftResult) -> None:
    assert settled(first, Gap(relative=BREAK), 1.0, SINGLE) == first
    found = settled(first, Gap(relative=above(BREAK)), 0.0, SINGLE)
    assert found == replace(first, verdict=BAD, reason="", float64_error=above(BREAK))
    for exact in (None, Gap()):
        assert settled(first, exact, 1.0, SINGLE) == first


def test_agreement_of_what_was_chosen_must_be_there_in_float64() -> None:
    assert settled(DATA, None, 1.0, SINGLE) == DATA
    assert settled(DATA, Gap(), 1.0, above(DOUBLE)) == DATA
    assert settled(DATA, None, 1.0, DOUBLE) == replace(DATA, verdict=GOOD, reason="")
    agrees = replace(DATA, verdict=GOOD, reason="", float64_error=BREAK, allowance=BREAK)
    assert settled(DATA, Gap(relative=BREAK), 1.0, SINGLE) == agrees
    differs = replace(DATA, verdict=BAD, reason="", float64_error=above(BREAK))
    for eps in (SINGLE, DOUBLE):
        assert settled(DATA, Gap(relative=above(BREAK)), 1.0, eps) == differs


# the eps of the type, the gap in it, and the largest in float64 that rounding explains
SHRUNK = [
    (SINGLE, 2.0**-17, 2.0**-38),
    (SINGLE, 2.0**-25, 2.0**-46),
    (SINGLE, 2.0**-30, 64 * DOUBLE),
    (BRAIN, 2.0**-4, 2.0**-41),
    (DOUBLE, 2.0**-46, 2.0**-38),
]


@pytest.mark.parametrize(("eps", "gap", "limit"), SHRUNK)
def test_rounding_shrinks_as_eps_does(eps: float, gap: float, limit: float) -> None:
    still = result(BAD, AGAINST, gap)
    found = settled(still, Gap(relative=limit), 0.0, eps)
    assert found == replace(still, verdict=GOOD, reason="", allowance=limit, float64_error=limit)
    found = settled(still, Gap(relative=above(limit)), 1.0, eps)
    assert found == replace(still, float64_error=above(limit))


def test_rounding_is_no_break_of_the_structure_and_hides_none() -> None:
    found = settled(BROKEN, Gap(relative=0.0), 0.0, SINGLE)
    assert found == replace(BROKEN, verdict=OPEN, reason=NOISE, float64_error=0.0)
    assert settled(replace(BROKEN, relative_error=None), Gap(relative=0.0), 0.0, SINGLE) == replace(
        found, relative_error=None
    )


def test_rounding_that_is_large_is_named() -> None:
    """More than layers add up, or an eighth of what the shift itself changes."""
    low = replace(MISMATCH, reason=LOW, float64_error=0.0)
    for first in (MISMATCH, BROKEN):
        many = 4096 * SINGLE
        found = settled(replace(first, relative_error=many), Gap(relative=0.0), 0.0, SINGLE)
        assert found.verdict is not BAD
        many = above(many)
        found = settled(replace(first, relative_error=many), Gap(relative=0.0), 0.0, SINGLE)
        assert found == replace(low, relative_error=many)
    for null in (None, 8 * 2.0**-17):
        found = settled(replace(MISMATCH, null_error=null), Gap(relative=0.0), 0.0, SINGLE)
        assert found.verdict is GOOD
    null = 7.9 * 2.0**-17
    found = settled(replace(MISMATCH, null_error=null), Gap(relative=0.0), 0.0, SINGLE)
    assert found == replace(low, null_error=null)


def test_without_float64_the_noise_floor_decides() -> None:
    floor = 4 * 2.0**-17 / 32
    for exact in (None, Gap()):
        assert settled(BROKEN, exact, floor, SINGLE) == replace(BROKEN, verdict=OPEN, reason=NOISE)
        assert settled(MISMATCH, exact, floor, SINGLE) == replace(
            MISMATCH, verdict=GOOD, reason="", allowance=2.0**-17
        )
        below = math.nextafter(floor, 0.0)
        assert settled(BROKEN, exact, below, SINGLE) == BROKEN
        unconfirmed = replace(MISMATCH, verdict=OPEN, reason=NO_LOOK)
        assert settled(MISMATCH, exact, below, SINGLE) == unconfirmed


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.0},
        {"scale": None},
        {"relative_error": above(2.0**16 * SINGLE), "null_error": None},
        {"null_error": 7.9 * 2.0**-17},
    ],
    ids=["a dead channel", "no scale", "far beyond rounding", "as large as the signal"],
)
def test_what_the_noise_floor_does_not_excuse(change: dict[str, Any]) -> None:
    against = replace(MISMATCH, **change)
    assert settled(against, None, 1.0, SINGLE) == replace(against, verdict=OPEN, reason=NO_LOOK)


def test_what_it_does() -> None:
    steep = replace(MISMATCH, relative_error=2.0**16 * SINGLE, null_error=None)
    assert settled(steep, None, 1.0, SINGLE).verdict is GOOD
    unknown = replace(MISMATCH, error=None, reason=AGAINST, verdict=OPEN, relative_error=None)
    assert settled(unknown, None, 0.0, SINGLE) == replace(
        unknown, verdict=GOOD, reason="", allowance=0.0
    )
    shown = replace(BROKEN, null_error=7.9 * 2.0**-17)
    assert settled(shown, None, 1.0, SINGLE).reason == NOISE


# -- the run in float64 ----------------------------------------------------------------------------


def same(y: torch.Tensor, _: bool) -> torch.Tensor:
    return y


class Strided(nn.Module):
    """A strided convolution, and what a function makes of its output and of the training flag."""

    def __init__(self, change: Callable[[torch.Tensor, bool], torch.Tensor] = same) -> None:
        super().__init__()
        self.inner = nn.Conv2d(1, 2, 3, stride=2)
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(self.inner(x), self.training)


class Noted:
    """Keeps the type and the size of every batch, and the training flag."""

    def __init__(self) -> None:
        self.dtypes: set[torch.dtype] = set()
        self.sizes: set[int] = set()
        self.training: set[bool] = set()

    def note(self, y: torch.Tensor, training: bool) -> torch.Tensor:
        self.dtypes.add(y.dtype)
        self.sizes.add(y.shape[0])
        self.training.add(training)
        return y

    def __deepcopy__(self, memo: dict[int, Any]) -> Noted:
        return self


def plan_of(model: Any, dtype: torch.dtype = torch.float32, **options: Any) -> Plan:
    x = torch.randn(1, 1, 12, 13, generator=torch.Generator().manual_seed(1)).to(dtype)
    inputs = read_inputs(x, boundary="valid", spatial_dims=None)
    shifts = ((2, 0), (0, 2), (0, 1))
    plan = Plan(model=model, inputs=inputs, shifts=shifts, every_layer=True)
    return replace(plan, **options)


def looked(plan: Plan, met: Iterable[torch.dtype] = ()) -> SecondLook:
    """The second look at a run in which nothing was measured, and these types were met."""
    with preserved(modules_of(plan.model), [], training=plan.training) as originals:
        passes = Passes(plan, originals)
        passes.dtypes.update(met)
        return look_again(passes, Measurements(rows={}, outputs={}, eps=passes.eps))


def test_the_model_is_measured_in_float64() -> None:
    noted = Noted()
    model = Strided(noted.note)
    found = looked(plan_of(model))
    assert found.eps == SINGLE
    assert found.noise == {}
    assert list(found.outputs) == ["output"]
    assert list(found.rows) == ["inner"]
    for gaps in (*found.outputs.values(), *found.rows.values()):
        assert [g.onto_lattice for g in gaps] == [True, True, False]
        assert all(g.relative is not None and g.relative < 8 * DOUBLE for g in gaps[:2])
    assert (noted.dtypes, noted.sizes, noted.training) == ({torch.float64}, {1, 3}, {False})
    assert model.inner.weight.dtype is torch.float32


def test_the_second_look_keeps_to_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    noted = Noted()
    looked(plan_of(Strided(noted.note), training=True, max_batch=2))
    assert (noted.sizes, noted.training) == ({1, 2}, {True})
    assert capsys.readouterr().out == ""


def test_a_function_gets_its_buffers_back() -> None:
    norm = nn.BatchNorm2d(1)
    found = looked(plan_of(lambda x: norm(x), training=True))
    assert found.outputs or found.noise
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0]
    assert norm.running_mean.dtype is torch.float32


def refuse(y: torch.Tensor, _: bool) -> torch.Tensor:
    if y.dtype is torch.float64:
        raise RuntimeError("too fine")
    return y


SAME: dict[str, tuple[Strided, torch.dtype, float]] = {
    "float64 already": (Strided().double(), torch.float64, DOUBLE),
    "refuses float64": (Strided(refuse), torch.float32, SINGLE),
    "coarse whatever it is given": (Strided(lambda y, _: y.half() * 1), torch.float32, 2.0**-10),
}


@pytest.mark.parametrize("name", SAME)
def test_where_float64_tells_no_more_the_noise_is_measured(name: str) -> None:
    model, dtype, eps = SAME[name]
    found = looked(plan_of(model, dtype), [torch.float16 if eps == 2.0**-10 else dtype])
    assert (found.rows, found.outputs, found.eps) == ({}, {}, eps)
    assert list(found.noise) == ["output"]
    assert eps / 16 < found.noise["output"] < 64 * eps


@pytest.mark.parametrize(
    ("own", "others", "eps"),
    [
        (torch.float64, (), DOUBLE),
        (torch.float32, (), SINGLE),
        (torch.bfloat16, (torch.float32,), BRAIN),
        (torch.float32, (torch.bfloat16, torch.float64), BRAIN),
        (torch.float64, (torch.int64, torch.bool), DOUBLE),
        (torch.float64, (torch.complex64,), SINGLE),
    ],
    ids=str,
)
def test_the_coarsest_type_decides(
    own: torch.dtype, others: tuple[torch.dtype, ...], eps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Plan] = []
    monkeypatch.setattr(confirm, "in_float64", lambda plan, _: ran.append(plan))
    monkeypatch.setattr(confirm, "in_float32", lambda plan, _: None)
    monkeypatch.setattr(confirm, "noise_floor", lambda passes: {"output": 0.5})
    plan = plan_of(Strided(), own)
    assert looked(plan, others) == SecondLook(noise={"output": 0.5}, eps=eps, size=13)
    assert [p.model for p in ran] == ([] if eps == DOUBLE else [plan.model])
    assert all(p.shifts == plan.shifts and p.alike_in_a_batch for p in ran)


ON_THE_WAY = "computed in {} on the way, the input is {}"
TF32 = "TF32 is allowed on this device: products of float32 keep 10 bits of the fraction"


def test_what_is_told_of_coarser_types() -> None:
    told = precision_notes
    assert told([], [], torch.float32) == []
    assert told({torch.float32, torch.float64, torch.int64}, [], torch.float32) == []
    assert told({torch.float32, torch.float64}, [], torch.float64) == [
        ON_THE_WAY.format("float32", "float64")
    ]
    assert told([torch.float32, torch.bfloat16, torch.float16], [], torch.float32) == [
        ON_THE_WAY.format("bfloat16", "float32")
    ]
    assert told([torch.float32, torch.float16], ["tf32"], torch.float32) == [
        ON_THE_WAY.format("float16", "float32"),
        TF32,
    ]
