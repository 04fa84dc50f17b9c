"""Error budgets: a model that is known to be imperfect may not get worse than it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Context
from os import PathLike
from pathlib import Path

import torch

from _shiftcheck_listeners import budget_files
from shiftcheck.errors import InputError
from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.report.equivariance import LayerResult, Report, ShiftResult, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.testing.budget_store import Budget, OutputBudget, read_budgets, write_budgets

DIGITS = 4
"""Errors are rounded up to so many digits, so that a file changes only where a model did."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What a budget says of a report.

    ``unclear``: nothing can be said, and the check is inconclusive. ``line``: why it is not within
    the budget. ``measured``, ``allowed``: of the output that comes closest to its budget, or goes
    furthest over it; ``allowed`` is what the file ``path`` holds. ``stored``: what was measured
    anew, to be written to it.
    """

    name: str
    path: Path
    within: bool
    unclear: bool = False
    line: str = ""
    measured: float | None = None
    allowed: float | None = None
    stored: Budget | None = None


class OpenBudgets:
    """A budget file during a run: read once, when a budget is asked for first.

    ``owner`` names who asks at the moment, such as a test; each name belongs to one owner, who asks
    for it once.
    """

    def __init__(self, path: Path, *, update: bool, owner: Callable[[], str] = str) -> None:
        self.path = path
        self.update = update
        self.measured: dict[str, Budget] = {}
        self._owner = owner
        self._owners: dict[str, str] = {}
        self._read: dict[str, Budget] | None = None
        self._there = False

    def claim(self, name: str) -> OpenedBudget:
        """The budget ``name``; raises InputError where the file has none, or it is in use."""
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"budget={name!r}: give the name of a budget")
        if self._read is None:
            budgets = read_budgets(self.path)
            self._read, self._there = budgets or {}, budgets is not None
        stored = self._read.get(name)
        if stored is None and not self.update:
            lacking = f"has no {name!r}" if self._there else "does not exist"
            raise InputError(
                f"budget={name!r}: the budget file {self.path} {lacking}; measure and store it with"
                " --shiftcheck-update (or budget_file(..., update=True)), and commit the file"
            )
        if name in self._owners:
            raise InputError(
                f"budget={name!r} is used twice{self._users(name)}: give each check a name of its"
                " own, such as one with the parameters of the test in it"
            )
        self._owners[name] = self._owner()
        return OpenedBudget(self, name, stored)

    def _users(self, name: str) -> str:
        users = dict.fromkeys(u for u in (self._owners[name], self._owner()) if u)
        return f", in {' and '.join(users)}" if users else ""

    def release(self, owner: str) -> None:
        """Forget what an owner asked for, who starts again."""
        self._owners = {name: user for name, user in self._owners.items() if user != owner}


@dataclass(frozen=True, eq=False)
class OpenedBudget:
    """A budget by name, with what the file holds for it."""

    file: OpenBudgets
    name: str
    stored: Budget | None

    def rule_on(self, report: Report, *, given: bool) -> Ruling:
        """Whether a report is within the budget; ``given``: the shifts were chosen by the caller.

        Raises InputError where the budget was measured under other circumstances.
        """
        now, doubt = measured_budget(report, given=given)
        if now is None:
            return self._unclear(f"{doubt}; that is never within a budget, nor stored")
        against = now if self.file.update else self.stored
        assert against is not None  # claim() refuses a name that the file lacks
        if report.verdict is not Verdict.EQUIVARIANT:
            self._check_circumstances(now, against)
            hidden = _hidden(report, against)
            if hidden:
                return self._unclear(hidden)
        if not self.file.update:
            return self._compared(report, now, against)
        stored = self.file.measured[self.name] = _rounded(now)
        ruling = self._compared(report, now, self.stored or now)
        before = ruling.allowed if self.stored else None
        return replace(ruling, within=True, line="", allowed=before, stored=stored)

    def _unclear(self, why: str) -> Ruling:
        line = f"budget {self.name!r}: {why}"
        return Ruling(name=self.name, path=self.file.path, within=False, unclear=True, line=line)

    def _check_circumstances(self, now: Budget, stored: Budget) -> None:
        differing = []
        for name in (f.name for f in fields(Budget) if f.name != "outputs"):
            if getattr(now, name) != getattr(stored, name):
                differing.append(f"{name} {getattr(stored, name)!r}, now {getattr(now, name)!r}")
        if set(now.outputs) != set(stored.outputs):
            differing.append(f"outputs {sorted(stored.outputs)}, now {sorted(now.outputs)}")
        for name in now.outputs.keys() & stored.outputs.keys():
            before, after = stored.outputs[name].shifts, now.outputs[name].shifts
            if before != after:
                differing.append(f"shifts {', '.join(before)} of {name!r}, now {', '.join(after)}")
        if differing:
            raise InputError(
                f"budget={self.name!r} was measured under other circumstances, and cannot be"
                f" compared: {'; '.join(differing)} ({self.file.path}); if this is meant, store it"
                " anew with --shiftcheck-update"
            )

    def _compared(self, report: Report, now: Budget, stored: Budget) -> Ruling:
        def over(name: str) -> float:
            return now.outputs[name].relative_error - _limit(report, stored, name)

        perfect = report.verdict is Verdict.EQUIVARIANT
        name = max(now.outputs.keys() & stored.outputs.keys(), key=over, default=None)
        if name is None:
            return Ruling(name=self.name, path=self.file.path, within=perfect)
        error, allowed = now.outputs[name].relative_error, stored.outputs[name].relative_error
        within = perfect or over(name) <= 0
        line = (
            f"budget {self.name!r} is exceeded at output {name!r}: relative error {error:.4g},"
            f" stored {allowed:.4g} in {self.file.path}, and {_noise(report, name):.2g} is left to"
            " rounding; if this is meant, store it anew with --shiftcheck-update"
        )
        return Ruling(
            name=self.name,
            path=self.file.path,
            within=within,
            line="" if within else line,
            measured=error,
            allowed=allowed,
        )


def measured_budget(report: Report, *, given: bool) -> tuple[Budget | None, str]:
    """What a report measured, as a budget; None and the doubt where anything is inconclusive."""
    if report.verdict is Verdict.INCONCLUSIVE or report.verdict is None:
        return None, f"the check is inconclusive ({report.reason})"
    outputs = {}
    for output in _counting(report):
        doubt = _doubt(output, report, given)
        if doubt:
            return None, f"output {output.name!r} is inconclusive ({doubt})"
        compared = _compared_shifts(output)
        largest = max(s.relative_error or 0.0 for s in compared)
        outputs[output.name] = OutputBudget(
            relative_error=largest, shifts=tuple(str(s.shift) for s in compared)
        )
    budget = Budget(
        outputs=outputs,
        dtype=report.dtype,
        boundary=" ".join(report.boundary),
        input_shape="x".join(map(str, report.input_shape)),
        layer=report.layer,
        seed=report.seed,
    )
    return budget, ""


def _counting(report: Report) -> list[LayerResult]:
    """The outputs that the verdict rests on: those whose axes were reduced are left out."""
    spatial = [o for o in report.outputs if o.reason != Reason.NOT_SPATIAL or not o.reduced]
    return spatial or list(report.outputs)


def _compared_shifts(output: LayerResult) -> list[ShiftResult]:
    """In the order of the shifts themselves, whatever the order they were given in."""
    some = [s for s in output.shifts if s.relative_error is not None and any(s.shift)]
    return sorted(some, key=lambda s: s.shift)


def _doubt(output: LayerResult, report: Report, given: bool) -> str:
    """Why an output is not measured well enough for a budget."""
    compared = _compared_shifts(output)
    moved = {a for s in compared for a, v in enumerate(s.shift) if v}
    if not moved:
        return output.reason or Reason.NEVER_MOVED
    if report.verdict is Verdict.EQUIVARIANT:
        return ""
    for one in output.shifts:
        if one.verdict is Verdict.INCONCLUSIVE and one.reason not in _left_out(output, given):
            return one.reason
    asked = {a for s in report.shifts for a, v in enumerate(s) if v}
    return Reason.NEVER_MOVED if asked - moved else ""


def _left_out(output: LayerResult, given: bool) -> set[str]:
    """Reasons for which a shift says nothing against the others, where one of them is broken."""
    off = set() if given else {Reason.OFF_LATTICE}
    return (
        {Reason.IDENTITY, Reason.IN_NOISE}
        | off
        | ({Reason.NOT_SPATIAL} if output.reduced else set())
    )


def _hidden(report: Report, budget: Budget) -> str:
    """What shows that a budget would let anything pass: the gap with the shift left out.

    An output that stays where it is must not be within the budget; nor may it be constant.
    """
    for output in _counting(report):
        allowed = budget.outputs[output.name].relative_error
        needed = max(allowed, CLEARLY * _noise(report, output.name))
        for one in _compared_shifts(output):
            if one.null_error is None or one.null_error <= needed:
                null = "unknown" if one.null_error is None else f"{one.null_error:.3g}"
                return (
                    f"a relative error of {allowed:.3g} at output {output.name!r} is too large to"
                    f" mean anything: at shift {one.shift} the same comparison with the shift left"
                    f" out gives {null}, and should give more than {needed:.3g}; choose shifts at"
                    " which the model does better, such as multiples of its period"
                )
    return ""


def _limit(report: Report, budget: Budget, name: str) -> float:
    return budget.outputs[name].relative_error + _noise(report, name)


def _noise(report: Report, name: str) -> float:
    """What rounding may do to an output: that of its type, or what the check found it to do.

    An allowance that was compared in float64 says nothing of the type itself.
    """
    given = getattr(torch, report.dtype)
    of_whole_numbers = torch.float32  # what the network makes of them
    compared = given if given.is_floating_point else of_whole_numbers
    noise = Tolerance(eps=float(torch.finfo(compared).eps)).relative(None)
    shifts = next(o.shifts for o in report.outputs if o.name == name)
    allowances = (
        s.allowance for s in shifts if s.allowance is not None and s.float64_error is None
    )
    return max((noise, *allowances))


def _rounded(budget: Budget) -> Budget:
    """A budget as it is stored."""
    outputs = {
        name: replace(output, relative_error=_rounded_up(output.relative_error))
        for name, output in budget.outputs.items()
    }
    return replace(budget, outputs=outputs)


def _rounded_up(value: float) -> float:
    upward = Context(prec=DIGITS, rounding=ROUND_CEILING)
    return float(upward.create_decimal_from_float(value))


def claim_budget(
    name: str, rtol: float | None, atol: float | None, weights: str = "own"
) -> OpenedBudget:
    """The budget of a check; raises InputError where it cannot be used."""
    if weights != "own":
        raise InputError(
            f"budget={name!r} with weights={weights!r}: a budget is measured with the model's own"
            " weights"
        )
    if rtol is not None or atol is not None:
        raise InputError(
            f"budget={name!r} with rtol={rtol}, atol={atol}: a budget is a tolerance that was"
            " measured; give one of them"
        )
    if not budget_files:
        raise InputError(
            f"budget={name!r}: no budget file is open; run the test under pytest with the plugin of"
            " shiftcheck, or open a file: with shiftcheck.budget_file('budgets.json'): ..."
        )
    return budget_files[-1]().claim(name)


@contextmanager
def budget_file(path: str | PathLike[str], *, update: bool = False) -> Iterator[None]:
    """Open a file of error budgets for the ``assert_equivariant(..., budget="name")`` inside.

    Under pytest the plugin does this for every test.

    Args:
        path: the file, JSON, to be kept under version control.
        update: store what is measured, in place of what the file holds; else a model that got worse
            fails, and so does a name that the file lacks. Other names in the file stay.

    Raises:
        InputError: where a budget is asked for, for a file that is corrupt or of a newer version;
            such a file is left as it is.

    Example:
        >>> import tempfile, torch, shiftcheck
        >>> conv = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)  # zeros at the seam of a circle
        >>> _ = torch.nn.init.constant_(conv.weight, 1 / 9)
        >>> x = torch.randn(1, 1, 16, 18, generator=torch.Generator().manual_seed(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for update in (True, False):
        ...         with shiftcheck.budget_file(f"{folder}/budgets.json", update=update):
        ...             report = shiftcheck.assert_equivariant(
        ...                 conv, x, boundary="circular", budget="the seam"
        ...             )
        >>> report.verdict
        <Verdict.BROKEN: 'broken'>
    """
    opened = OpenBudgets(Path(path), update=update)

    def itself() -> OpenBudgets:
        return opened

    budget_files.append(itself)
    try:
        yield
    finally:
        budget_files.remove(itself)
        if opened.measured:
            write_budgets(opened.path, opened.measured)
