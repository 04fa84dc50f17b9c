"""Error budgets: what is within one, what is not, and what is never stored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, InputError, NotEquivariantError, Verdict
from shiftcheck.testing.budget_evidence import measured_budget
from shiftcheck.testing.budgets import DIGITS, _rounded_up

SHIFTS = [(1, 0), (0, 1)]


def image(*size: int) -> torch.Tensor:
    return torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))


class Leaky(nn.Module):
    """Equivariant, but for a ramp along the rows of the size that is asked for."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.leak = leak

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(x.shape[-2], dtype=x.dtype)[:, None]
        return self.conv(x) + self.leak * ramp


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.json"


def check(path: Path, model: Any, x: Any = None, *, update: bool = False, **options: Any) -> Any:
    options = {"shifts": SHIFTS, "budget": "it"} | options
    with shiftcheck.budget_file(path, update=update):
        return shiftcheck.assert_equivariant(model, image(14, 17) if x is None else x, **options)


def stored(path: Path) -> float:
    entry = json.loads(path.read_text("utf-8"))["budgets"]["it"]
    return float(entry["outputs"]["output"]["relative_error"])


def test_it_stores_the_measured_error_and_holds_the_model_to_it(path: Path) -> None:
    report = check(path, Leaky(0.01), update=True)
    assert report.verdict is Verdict.BROKEN
    error = report.outputs[0].relative_error
    assert error > 1e-4
    assert error <= stored(path) <= error * (1 + 10.0 ** (1 - DIGITS))
    before = path.read_bytes()
    for leak in (0.01, 0.005, 0.0):
        check(path, Leaky(leak))
    with pytest.raises(NotEquivariantError) as caught:
        check(path, Leaky(0.0101))
    message = str(caught.value)
    assert message.startswith("budget 'it' is exceeded at output 'output': relative error 0.00")
    assert f"stored {stored(path):.4g} in {path}" in message
    assert "--shiftcheck-update" in message
    assert "cause POSITION" in message
    assert path.read_bytes() == before


def test_it_agrees_with_the_error_by_hand(path: Path) -> None:
    """On a circle the gap of the ramp is known: its whole height at the seam."""
    check(path, Leaky(0.01), update=True, boundary="circular", shifts=[(1, 0)])
    model, x = Leaky(0.01), image(14, 17)
    with torch.no_grad():
        y, moved = model(x), model(torch.roll(x, 1, 2))
    gap = (moved - torch.roll(y, 1, 2)).abs().amax((0, 2, 3)) / y.abs().amax((0, 2, 3))
    assert stored(path) == pytest.approx(float(gap.max()), rel=2e-3)


@pytest.mark.parametrize("leak", [0.01, 0.1])
def test_rounding_alone_exceeds_no_budget(path: Path, leak: float) -> None:
    """What is stored has few digits; what is compared with it has all of them."""
    check(path, Leaky(leak), update=True)
    data = json.loads(path.read_text("utf-8"))
    output = data["budgets"]["it"]["outputs"]["output"]
    exact = shiftcheck.check_equivariance(Leaky(leak), image(14, 17), shifts=SHIFTS).outputs[0]
    allowance = 64 * torch.finfo(torch.float32).eps
    for less, within in ((0.9 * allowance, True), (1.1 * allowance, False)):
        output["relative_error"] = exact.relative_error - less
        path.write_text(json.dumps(data), encoding="utf-8")
        if within:
            check(path, Leaky(leak))
        else:
            with pytest.raises(NotEquivariantError):
                check(path, Leaky(leak))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.12345, 0.1, 1.23456e-9, 99999.0, 2.0**-23, 0.1234])
def test_rounded_upwards_to_few_digits(value: float) -> None:
    up = _rounded_up(value)
    assert value <= up <= value * (1 + 10.0 ** (1 - DIGITS))
    assert _rounded_up(up) == up
    assert len(repr(up).replace(".", "").split("e")[0].strip("0")) <= DIGITS


def test_an_equivariant_model_is_within_every_budget_but_needs_a_name(path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; measure and store it"):
        check(path, Leaky(0.0))
    assert not path.exists()
    check(path, Leaky(0.0), update=True)
    assert stored(path) < 1e-5
    check(path, Leaky(0.0), image(15, 18))
    with pytest.raises(NotEquivariantError, match="budget 'it' is exceeded"):
        check(path, Leaky(0.01))


class Two(nn.Module):
    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        self.first, self.second = Leaky(first), Leaky(second)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": self.first(x), "b": self.second(x)}


def test_each_output_has_its_own_budget(path: Path) -> None:
    check(path, Two(0.01, 0.002), update=True)
    check(path, Two(0.01, 0.002))
    check(path, Two(0.002, 0.0))
    with pytest.raises(NotEquivariantError, match=r"exceeded at output .output\['b'\]"):
        check(path, Two(0.0, 0.01))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": image(14, 18)}, "input_shape '1x2x14x17', now '1x2x14x18'"),
        ({"x": image(14, 17).double()}, "dtype 'float32', now 'float64'"),
        ({"boundary": "circular"}, "boundary 'valid valid', now 'circular circular'"),
        ({"seed": 3}, "seed 0, now 3"),
        ({"shifts": [(1, 0), (0, 2)]}, r"shifts \(0, 1\), \(1, 0\) of 'output', now \(0, 2\)"),
        ({"layer": "add"}, "layer None, now 'add'"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(
    path: Path, options: dict[str, Any], message: str
) -> None:
    check(path, Leaky(0.01), update=True)
    model = Leaky(0.001)
    model = model.double() if "dtype" in message else model
    with pytest.raises(InputError, match="measured under other circumstances") as caught:
        check(path, model, **options)
    assert caught.match(message)


def test_the_order_of_the_shifts_is_no_circumstance(path: Path) -> None:
    check(path, Leaky(0.01), update=True)
    check(path, Leaky(0.01), shifts=SHIFTS[::-1])


def test_other_outputs_are_other_circumstances(path: Path) -> None:
    check(path, Leaky(0.01), update=True)
    with pytest.raises(InputError, match=r"outputs \['output'\], now \["):
        check(path, Two(0.001, 0.001))


class Constant(nn.Module):
    """A break, under a constant so large that nothing else is left of the output."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.inner, self.size = Leaky(0.01), size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.size + self.inner(x)


class Stays(nn.Module):
    """Every second sample, twice: at one pixel it moves no better than if it stayed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x[..., ::2, ::2], scale_factor=2, mode="nearest")


VACUOUS = {
    "dead": (lambda x: 0 * x, "dead output"),
    "not finite": (lambda x: x / 0, "not finite"),
    "random": (lambda x: x + torch.rand_like(x), "nondeterministic"),
    "not spatial": (lambda x: x.mean((2, 3)), "not spatial"),
    "hidden": (Constant(1e9), "inconclusive"),
    "stays": (Stays(), "too large to mean anything"),
    "one output of two": (
        lambda x: (x + 0.01 * torch.arange(14.0)[:, None], x + torch.rand_like(x)),
        "inconclusive",
    ),
}


@pytest.mark.parametrize("name", VACUOUS)
def test_what_is_vacuous_or_inconclusive_is_never_stored_nor_within(path: Path, name: str) -> None:
    model, message = VACUOUS[name]
    x = image(14, 16)
    with pytest.raises(InconclusiveError, match=message) as caught:
        check(path, model, x, update=True)
    assert str(caught.value).startswith("budget 'it': ")
    assert not path.exists()
    check(path, Leaky(0.01), x, update=True)
    data = json.loads(path.read_text("utf-8"))
    data["budgets"]["it"]["outputs"]["output"]["relative_error"] = 1e9
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises((InconclusiveError, InputError)):
        check(path, model, x)


def test_a_budget_larger_than_the_signal_is_no_budget(path: Path) -> None:
    check(path, Leaky(0.01), update=True)
    data = json.loads(path.read_text("utf-8"))
    data["budgets"]["it"]["outputs"]["output"]["relative_error"] = 3.0
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InconclusiveError, match="too large to mean anything"):
        check(path, Leaky(0.01))


def test_an_axis_that_no_shift_compares_is_in_doubt() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1, stride=(1, 2)), Leaky(0.01))
    report = shiftcheck.check_equivariance(model, image(14, 18), shifts=[(1, 0), (0, 1)])
    assert report.verdict is Verdict.BROKEN
    assert measured_budget(report, given=True) == (
        None,
        "output 'output' is inconclusive (off the lattice)",
    )
    assert measured_budget(report, given=False) == (
        None,
        "output 'output' is inconclusive (axis never moved)",
    )


def test_a_doubt_about_the_whole_run_counts() -> None:
    report = shiftcheck.check_equivariance(Leaky(0.01), image(14, 17), shifts=SHIFTS)
    assert measured_budget(report, given=True)[0] is not None
    doubted = replace(report, verdict=Verdict.INCONCLUSIVE, reason="nondeterministic")
    told = None, "the check is inconclusive (nondeterministic)"
    assert measured_budget(doubted, given=True) == told


def test_a_shift_within_noise_counts_where_another_is_broken(path: Path) -> None:
    """Along the columns the ramp is a break of the structure alone."""
    report = check(path, Leaky(0.01), update=True, shifts=[(1, 0), (0, 1), (1, 1)])
    assert {s.verdict for s in report.outputs[0].shifts} >= {Verdict.BROKEN}
    check(path, Leaky(0.01), shifts=[(1, 0), (0, 1), (1, 1)])


@pytest.mark.parametrize("name", ["", " ", 3, ("a",)])
def test_a_name_is_a_text(path: Path, name: Any) -> None:
    with pytest.raises(InputError, match="give the name of a budget"):
        check(path, Leaky(0.01), update=True, budget=name)


def test_a_budget_is_a_tolerance(path: Path) -> None:
    with pytest.raises(InputError, match=r"budget='it' with rtol=0\.1, atol=0: a budget is a"):
        check(path, Leaky(0.01), update=True, rtol=0.1, atol=0)


def test_a_budget_is_of_the_models_own_weights(path: Path) -> None:
    with pytest.raises(InputError, match="budget='it' with weights='randomized'"):
        check(path, Leaky(0.01), update=True, weights="randomized")


def test_a_name_that_the_file_lacks(path: Path) -> None:
    check(path, Leaky(0.01), update=True)
    with pytest.raises(InputError, match=r"budgets\.json has no 'other'; measure and store"):
        check(path, Leaky(0.01), budget="other")


def test_two_budgets_of_one_name(path: Path) -> None:
    for update in (True, False):
        with shiftcheck.budget_file(path, update=update):
            options: dict[str, Any] = {"shifts": SHIFTS, "budget": "it"}
            shiftcheck.assert_equivariant(Leaky(0.01), image(14, 17), **options)
            with pytest.raises(InputError, match="budget='it' is used twice: give each check"):
                shiftcheck.assert_equivariant(Leaky(0.02), image(14, 17), **options)
    first = shiftcheck.check_equivariance(Leaky(0.01), image(14, 17), shifts=SHIFTS).outputs[0]
    assert stored(path) == _rounded_up(first.relative_error)


def test_what_was_measured_before_an_error_is_stored(path: Path) -> None:
    def stored_then_raised() -> None:
        with shiftcheck.budget_file(path, update=True):
            shiftcheck.assert_equivariant(Leaky(0.01), image(14, 17), shifts=SHIFTS, budget="it")
            raise KeyError("later")

    with pytest.raises(KeyError, match="later"):
        stored_then_raised()
    assert stored(path) > 0
    with pytest.raises(InputError, match="no budget file is open"):
        _bare()


def _bare() -> None:
    from _shiftcheck_listeners import budget_files

    kept = list(budget_files)
    budget_files.clear()
    try:
        shiftcheck.assert_equivariant(Leaky(0.01), image(14, 17), budget="it")
    finally:
        budget_files[:] = kept
