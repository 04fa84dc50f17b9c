"""Error budgets: a model that is known to be imperfect may not get worse than it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from decimal import ROUND_CEILING, Context
from os import PathLike
from pathlib import Path

from _shiftcheck_listeners import budget_files
from shiftcheck.errors import InputError
from shiftcheck.testing.budget_evidence import Evidence
from shiftcheck.testing.budget_store import Budget, read_budgets, write_budgets

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

    def rule_on(self, evidence: Evidence) -> Ruling:
        """Whether what a check measured is within the budget.

        Raises InputError where the budget was measured under other circumstances.
        """
        now = evidence.budget
        if now is None:
            return self._unclear(f"{evidence.doubt}; that is never within a budget, nor stored")
        against = now if self.file.update else self.stored
        assert against is not None  # claim() refuses a name that the file lacks
        if not evidence.perfect:
            self._check_circumstances(now, against)
            hidden = evidence.hidden_by(against)
            if hidden:
                return self._unclear(hidden)
        if not self.file.update:
            return self._compared(evidence, now, against)
        stored = self.file.measured[self.name] = _rounded(now)
        ruling = self._compared(evidence, now, self.stored or now)
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

    def _compared(self, evidence: Evidence, now: Budget, stored: Budget) -> Ruling:
        noise, perfect = evidence.noise, evidence.perfect

        def over(name: str) -> float:
            allowed = stored.outputs[name].relative_error
            return now.outputs[name].relative_error - allowed - noise[name]

        name = max(now.outputs.keys() & stored.outputs.keys(), key=over, default=None)
        if name is None:
            return Ruling(name=self.name, path=self.file.path, within=perfect)
        error, allowed = now.outputs[name].relative_error, stored.outputs[name].relative_error
        within = perfect or over(name) <= 0
        line = (
            f"budget {self.name!r} is exceeded at output {name!r}: relative error {error:.4g},"
            f" stored {allowed:.4g} in {self.file.path}, and {noise[name]:.2g} is left to"
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
    name: str, rtol: float | None = None, atol: float | None = None, weights: str = "own"
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
    """Open a file of error budgets for the assertions with ``budget="name"`` inside.

    ``assert_equivariant`` and ``assert_invariant`` take one. Under pytest the plugin opens a file
    for every test.

    Args:
        path: the file, JSON, to be kept under version control.
        update: store what is measured, in place of what the file holds; else a model that got worse
            fails, and so does a name that the file lacks. Other names in the file stay.

    Returns:
        A context; the file is written when it is left, where something is to be stored.

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
