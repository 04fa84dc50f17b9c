"""Guards of the verdict, the second look, the options and the runs one by one."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InputError, ModelError, Verdict
from shiftcheck.checks.equivariance.judge import find_guilty, judge, judge_layer, judge_model
from shiftcheck.checks.equivariance.second_look import BREAK, settled
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.measuring.in_another_type import EPS
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import LayerResult, ShiftResult
from shiftcheck.rules import registry
from shiftcheck.tracing.restoring.state import Originals

RAMP = torch.linspace(0, 1, 18)
MAP = (1, 2, 16, 18)
GOOD, OPEN, BAD = Verdict.EQUIVARIANT, Verdict.INCONCLUSIVE, Verdict.BROKEN


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or MAP), generator=torch.Generator().manual_seed(5))


def check(model: Any, x: Any = None, **options: Any) -> shiftcheck.Report:
    return shiftcheck.check_equivariance(model, image() if x is None else x, **options)


def result(shift: tuple[int, ...], verdict: Verdict, reason: str = "") -> ShiftResult:
    return ShiftResult(shift=shift, verdict=verdict, reason=reason, error=1e-5, relative_error=1e-5)


# -- verdict ---------------------------------------------------------------------------------------


def guilty(cause: Cause, verdict: Verdict, reason: str) -> Cause | None:
    none = (None, None)
    output = LayerResult(
        name="out",
        op="output",
        shape=MAP,
        stride=none,
        period=none,
        receptive_field=none,
        halo=none,
        valid=none,
        verdict=verdict,
        reason=reason,
        shifts=(result((1, 0), verdict, reason),),
    )
    return find_guilty(verdict, reason, output, [cause], (False, False), [])


def test_an_axis_that_was_never_compared_is_told() -> None:
    moved = result((1, 0), GOOD)
    for reason in ("off the lattice", "not spatial"):
        rows = [moved, result((0, 1), OPEN, reason)]
        assert judge_layer(rows, [0, 1], strict=False) == (OPEN, "axis never moved")


def test_the_allowance_is_told_where_something_was_compared() -> None:
    tolerance = Tolerance(eps=2.0**-23)
    compared, empty = Gap(error=0.0, relative=0.0), Gap()
    assert judge(compared, (1, 0), [], 1.0, tolerance).allowance == tolerance.relative(None)
    assert judge(empty, (1, 0), [], 1.0, tolerance).allowance is None


def test_a_cause_on_an_axis_that_did_not_move_is_not_guilty() -> None:
    assert guilty(Cause(kind="PADDING", axis=1), OPEN, "no valid region") is None


def test_who_is_not_guilty() -> None:
    stride, whole = Cause(kind="STRIDE", axis=0, period=2), Cause(kind="GLOBAL", axis=0)
    assert guilty(stride, BAD, "") is stride
    assert guilty(stride, OPEN, "no valid region") is None
    assert guilty(stride, OPEN, "not spatial") is None
    assert guilty(whole, OPEN, "not spatial") is whole
    assert guilty(whole, BAD, "") is None


def test_numbers_of_a_result_are_finite() -> None:
    gap = Gap(error=math.inf, relative=math.nan, scale=math.inf, null=math.nan, share=1.0)
    found = judge(gap, (1, 0), (), 1.0, Tolerance(eps=EPS))
    numbers = (found.error, found.relative_error, found.scale, found.null_error)
    assert numbers == (None, None, None, None)


def test_an_axis_that_is_gone_was_not_moved() -> None:
    moved = [result((1, 0), GOOD), result((0, 1), OPEN, "not spatial")]
    assert judge_layer(moved, [0, 1], strict=True) == (OPEN, "axis never moved")


def test_no_outputs_are_no_pass() -> None:
    assert judge_model([]) == (OPEN, "not spatial")


# -- the second look -------------------------------------------------------------------------------

AGAINST, NOISE = "disagrees with the structure", "within noise of a break"
LOW, NO_LOOK = "only in low precision", "gap not confirmed in float64"
STRUCTURE = ""  # the reason of a gap that the structure explains
FLOAT, BFLOAT = 2.0**-23, 2.0**-7
# the reason at first, the relative gap, the same in float64, what rounding does, then the verdict
SECOND: dict[str, tuple[str, float, float | None, float, tuple[Verdict, str]]] = {
    "not doubtful": ("shift not visible", 1e-5, 0.0, 0.0, (OPEN, "shift not visible")),
    "what rounding can do": (AGAINST, 1e-5, None, 1e-6, (GOOD, "")),
    "more than rounding": (AGAINST, 1e-5, None, 1e-7, (OPEN, NO_LOOK)),
    "a break below what rounding can do": (AGAINST, 1e-5, 1e-5, 1e-6, (BAD, AGAINST)),
    "unconfirmed": (AGAINST, 1e-5, None, 0.0, (OPEN, NO_LOOK)),
    "gone in float64": (AGAINST, 1e-5, 4e-12, 0.0, (GOOD, "")),
    "gone to the last bits": (AGAINST, 1e-13, 32 * EPS, 0.0, (GOOD, "")),
    "smaller, but not as rounding is": (AGAINST, 1e-5, 1e-11, 0.0, (BAD, AGAINST)),
    "still there": (AGAINST, 1e-5, 1e-8, 0.0, (BAD, AGAINST)),
    "rounding as large as the signal": (AGAINST, 0.3, 1e-12, 0.0, (BAD, LOW)),
    "as much rounding as layers add up": (AGAINST, 4e-4, 1e-13, 0.0, (GOOD, "")),
    "more rounding than layers add up": (AGAINST, 6e-4, 1e-13, 0.0, (BAD, LOW)),
    "rounding of the structure's break": (STRUCTURE, 1e-5, 1e-13, 0.0, (OPEN, NOISE)),
    "no float64, and rounding can do it": (STRUCTURE, 1e-5, None, 1e-6, (OPEN, NOISE)),
    "no float64, and rounding cannot": (STRUCTURE, 1e-5, None, 1e-7, (BAD, "")),
    "a break of the structure": (STRUCTURE, 1e-5, 1e-5, 0.0, (BAD, "")),
    "seen in float64 only": (NOISE, 0.0, 2 * BREAK, 0.0, (BAD, "")),
    "not seen in float64": (NOISE, 0.0, 0.5 * BREAK, 0.0, (OPEN, NOISE)),
    "not seen, and no float64": (NOISE, 0.0, None, 1.0, (OPEN, NOISE)),
}


@pytest.mark.parametrize("name", SECOND)
def test_the_second_look(name: str) -> None:
    reason, gap, exact, noise, (verdict, why) = SECOND[name]
    found = settled(doubt(reason, gap), exact_gap(exact), noise, FLOAT)
    assert (found.verdict, found.reason) == (verdict, why)


def doubt(reason: str, gap: float) -> ShiftResult:
    return ShiftResult(
        shift=(1, 0),
        verdict=BAD if reason in (AGAINST, STRUCTURE) else OPEN,
        reason=reason,
        error=gap,
        relative_error=gap,
        scale=1.0,
        allowance=7.6e-6,
        null_error=1.0,
    )


def exact_gap(relative: float | None) -> Gap | None:
    return None if relative is None else Gap(relative=relative)


def test_how_fast_rounding_shrinks_is_a_matter_of_the_type() -> None:
    for eps, verdict in ((FLOAT, GOOD), (BFLOAT, BAD)):
        assert settled(doubt(AGAINST, 1e-5), Gap(relative=4e-12), 0.0, eps).verdict is verdict


def test_what_was_allowed_is_what_decided() -> None:
    found = settled(doubt(AGAINST, 1e-5), Gap(relative=4e-12), 0.0, FLOAT)
    assert found.float64_error == 4e-12
    assert found.allowance is not None
    assert 4e-12 <= found.allowance < 1e-11
    by_noise = settled(doubt(AGAINST, 1e-5), None, 1e-6, FLOAT)
    assert by_noise.allowance == pytest.approx(3.2e-5)


class NoCopy(nn.Module):
    def __deepcopy__(self, _: Any) -> nn.Module:
        raise ValueError("I am only one")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1)


@pytest.mark.parametrize("bound", [False, True], ids=["no copy", "bound method"])
def test_what_cannot_run_in_float64(bound: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.Entry(rule=lambda x, _: x, law="", source="")
    monkeypatch.setitem(registry._table, "aten::flip", entry)
    report = check(NoCopy().forward if bound else NoCopy())  # a method's module needs no copy
    expected = (
        (BAD, "disagrees with the structure") if bound else (OPEN, "gap not confirmed in float64")
    )
    assert (report.verdict, report.reason) == expected


def test_the_users_tolerances_have_no_second_look() -> None:
    report = check(lambda x: x + 1e-9 * RAMP, rtol=1e-3, atol=0.0)
    assert (report.verdict, report.reason) == (OPEN, NOISE)


# -- runs ------------------------------------------------------------------------------------------


def alone(change: Callable[[int, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Takes x by itself only, and knows how often it ran: alone, base, shifts, base again."""
    calls = 0

    def model(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        assert x.shape[0] == 1
        calls += 1
        return change(calls, x)

    return model


TWO = [(1, 0), (0, 1)]


def test_the_base_again_at_the_end() -> None:
    model = alone(lambda n, x: x * (2 if n < 5 else 3))
    assert check(model, shifts=TWO).reason == "nondeterministic"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n, x: x[..., : 8 if n < 3 else 9], "shapes must not depend"),
        (lambda n, x: torch.relu(x) if n < 3 else torch.tanh(x), "was not met again"),
    ],
    ids=["shape", "layers"],
)
def test_runs_that_differ(change: Callable[[int, torch.Tensor], torch.Tensor], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check(alone(change), shifts=TWO)


def test_the_base_is_kept_where_the_model_writes_over_it() -> None:
    buffer = torch.zeros(MAP)

    def model(n: int, x: torch.Tensor) -> torch.Tensor:
        return torch.mul(x, 2, out=buffer)

    assert check(alone(model), shifts=TWO).verdict is GOOD


def test_an_inner_layer_in_which_the_shift_is_not_visible() -> None:
    report = check(lambda x: (x * 0 + 3) + x)
    assert report["add"].reason == "constant output"


def test_the_zero_shift_is_not_measured() -> None:
    report = check(nn.ReLU(), shifts=[(0, 0), (1, 0)])
    assert report.outputs[0].shifts[0].error is None


def test_a_plan_keeps_its_axes() -> None:
    inputs = read_inputs(torch.zeros(1, 1, 8), boundary="valid", spatial_dims=None)
    passes = Passes(Plan(model=nn.ReLU(), inputs=inputs), Originals({}))
    signal = Layout((plain(1), (Factor("axis", 8, 0),)), (input_axis(8, circular=False),))
    axis = weakref.ref(signal.axes[0])
    passes.planner(signal).region((1,))
    del signal
    gc.collect()
    assert axis() is not None


def test_a_layer_that_is_not_met_with_given_shifts() -> None:
    with pytest.raises(InputError, match="was not met"):
        check(nn.ReLU(), shifts=TWO, layer="conv")


# -- structure -------------------------------------------------------------------------------------

WIDE = nn.Conv2d(2, 2, 31, padding=15)


def only_this_size(x: torch.Tensor) -> Any:
    assert x.shape[2:] == (16, 18)
    return WIDE(x)


NEEDED: dict[str, tuple[Any, Any, dict[str, Any], tuple[int, int] | None]] = {
    "along one axis": (WIDE, None, {"shifts": [(1, 0)]}, (33, 18)),
    "a pass": (nn.ReLU(), None, {}, None),
    "outputs only": (WIDE, None, {"measure": "outputs"}, None),
    "several inputs": (lambda x, y: WIDE(x) + y, (image(), image()), {}, None),
    "none is enough": (nn.InstanceNorm2d(2), None, {}, None),
    "this size only": (only_this_size, None, {}, None),
    "off the lattice": (
        nn.Sequential(WIDE, nn.MaxPool2d(2)),
        None,
        {"shifts": [(2, 0), (1, 0)]},
        None,
    ),
}


@pytest.mark.parametrize("name", NEEDED)
def test_the_size_that_would_do(name: str) -> None:
    model, x, options, size = NEEDED[name]
    assert check(model, x, **options).needed == size


def test_chosen_shifts_leave_something() -> None:
    report = check(nn.AvgPool2d(16))
    assert all(abs(m) < 16 and abs(n) < 18 for m, n in report.shifts)
    none = check(nn.AvgPool2d(16), image(1, 2, 16, 16))
    assert none.shifts == ((0, 0),)
    assert none.reason == "identity shift"


def test_an_axis_along_which_no_shift_fits() -> None:
    assert check(lambda x: x * 2, image(1, 2, 16, 1)).reason == "axis never moved"


def test_a_given_shift_off_the_lattice_counts() -> None:
    report = check(nn.MaxPool2d(2), shifts=[(2, 0), (0, 2), (1, 0)])
    assert (report.verdict, report.reason) == (OPEN, "off the lattice")


def test_each_cause_once() -> None:
    def model(x: torch.Tensor) -> Any:
        y = x + RAMP
        return y, y * 2

    assert len(check(model).causes) == 1


@pytest.mark.parametrize("x", [image(), MAP], ids=["values", "shape"])
def test_the_structure_is_read_once_where_that_is_enough(x: Any) -> None:
    calls: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if not isinstance(x, torch.Tensor) or x.shape == MAP:
            return x * 2
        return x

    with pytest.raises(InputError, match="was not met"):
        shiftcheck.geometry(model, x, layer="conv")
    assert len(calls) == 1


def test_a_model_that_raises_on_a_shape_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("shiftcheck.checks.explained.remedy", lambda error: "")

    def model(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        raise RuntimeError("mine")

    with pytest.raises(ModelError, match="mine"):
        shiftcheck.geometry(model, MAP)
    assert len(calls) == 1


def test_the_geometry_says_that_it_comes_from_a_real_run() -> None:
    report = shiftcheck.geometry(lambda x: x * x.mean().item(), image())
    assert report.notes[0].startswith("the structure comes from a real run")


def test_one_tensor_given_twice_is_two_arguments() -> None:
    x = image()

    def model(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        one.mul_(RAMP)
        return other * 2

    assert shiftcheck.geometry(model, (x, x)).causes == ()


# -- options ---------------------------------------------------------------------------------------

OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": True}, "seed=True"),
    "layer": ({"layer": ""}, "the name of a layer"),
    "infinite tolerance": ({"rtol": math.inf, "atol": 0.0}, "finite numbers"),
    "rank 2": ({"x": torch.ones(16, 18)}, r"x\[:, None\]"),
    "dimension of truth": ({"spatial_dims": (True, 2)}, "True is no dimension"),
    "dimension twice": ({"spatial_dims": (2, 2)}, "different dimensions"),
    "dimensions as text": ({"spatial_dims": "23"}, "give a tuple of dimensions"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_cannot_be_used(name: str) -> None:
    changed, words = OPTIONS[name]
    with pytest.raises(InputError, match=words):
        check(nn.ReLU(), **{"x": image(), **changed})


def test_a_shape_is_made_of_numbers() -> None:
    with pytest.raises(InputError, match="no tensor"):
        shiftcheck.geometry(nn.ReLU(), (True, 2, 16, 18))


def test_an_array_that_cannot_be_written_to() -> None:
    array = image().numpy().copy()
    array.flags.writeable = False
    assert check(nn.ReLU(), array).verdict is GOOD
    assert not np.isnan(array).any()


def test_an_argument_without_a_batch_is_not_repeated() -> None:
    report = check(lambda x, w: F.relu(x * w.view(2, 1, 1)), (image(), torch.tensor([1.0, 2.0])))
    assert report.verdict is GOOD
    assert not report.notes
