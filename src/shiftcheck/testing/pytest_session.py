"""What the pytest plugin does once a check has loaded the package; it never imports pytest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.errors import InputError, ShiftcheckError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.equivariance import Report, ShiftResult
from shiftcheck.report.render.html import render_index
from shiftcheck.report.render.sentences import headline
from shiftcheck.testing.assertions import assert_equivariant
from shiftcheck.testing.budget_store import as_plain
from shiftcheck.testing.budgets import Ruling

if TYPE_CHECKING:
    from _shiftcheck_pytest import Session


class Checks:
    """What the fixture ``shiftcheck`` offers.

    ``check_equivariance`` and ``assert_equivariant`` are those of the package. What they are not
    given comes from the test's marker, else from the ini file, else it is the package's default.
    ``reports`` are those of this test, in the order of its checks.
    """

    def __init__(self, session: Session, marked: Mapping[str, Any]) -> None:
        self.reports: list[Report] = []
        self._session = session
        self._levels = {"marker": marked, "ini file": session.defaults}

    def __repr__(self) -> str:
        return "<fixture shiftcheck>"

    @property
    def seed(self) -> int:
        """The seed of the marker or the ini file; 0 where there is none."""
        levels = self._levels.values()
        return int(next((level["seed"] for level in levels if "seed" in level), 0))

    @property
    def device(self) -> torch.device:
        """The device of the ini file, else the CPU; models and signals are moved to it by you."""
        return device_called(self._session.device)

    def generator(self) -> torch.Generator:
        """A generator of random numbers on the device, with the seed; a new one at each call."""
        return torch.Generator(self.device).manual_seed(self.seed)

    def check_equivariance(self, model: Any, x: Any, **options: Any) -> Report:
        """``shiftcheck.check_equivariance`` with the defaults of this test."""
        __tracebackhide__ = True
        with self._filled(options) as filled:
            report = check_equivariance(model, x, **filled)
            tell(Outcome(report=report))
        return report

    def assert_equivariant(self, model: Any, x: Any, **options: Any) -> Report:
        """``shiftcheck.assert_equivariant`` with the defaults of this test."""
        __tracebackhide__ = True
        with self._filled(options) as filled:
            return assert_equivariant(model, x, **filled)

    @contextmanager
    def _filled(self, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The options with the defaults; an error says which of them were defaults."""
        __tracebackhide__ = True
        filled, notes = dict(given), []
        closed = {"rtol", "atol"} if given.get("budget") is not None else set()
        for where, level in self._levels.items():
            taken = set(filled) | closed
            if taken & {"rtol", "atol"}:  # the two are one setting
                taken |= {"rtol", "atol"}
            new = {name: value for name, value in level.items() if name not in taken}
            filled |= new
            if new:
                notes.append(f"{', '.join(f'{k}={v!r}' for k, v in new.items())} from the {where}")
        self._session.through_fixture = True
        try:
            yield filled
        except ShiftcheckError as error:
            if notes:
                error.add_note(f"defaults: {'; '.join(notes)}")
            raise
        finally:
            self._session.through_fixture = False


def file_name(test: str) -> str:
    """A name for the files of a test: its own, readable, and one that no other test has."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", test.split("/")[-1]).strip("-")[:80]
    return f"{readable or 'outside'}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def record_of(outcome: Outcome) -> dict[str, Any]:
    """What the summary needs of a check: numbers, strings and lists, which travel."""
    report = outcome.report
    compared = [
        (gap, shift.allowance, str(shift.shift))
        for output in report.outputs
        for shift in output.shifts
        if (gap := _judged(shift)) is not None and shift.allowance
    ]
    worst = max(compared, key=lambda entry: entry[0] / entry[1], default=None)
    return {
        "verdict": str(report.verdict),
        "headline": headline(report),
        "model": report.model + (f" up to {report.layer}" if report.layer else ""),
        "worst": worst,
        "budget": None if outcome.ruling is None else budget_record(outcome.ruling),
    }


def _judged(shift: ShiftResult) -> float | None:
    """The gap that was held against the allowance."""
    return shift.relative_error if shift.float64_error is None else shift.float64_error


def budget_record(ruling: Ruling) -> dict[str, Any]:
    """What travels of a ruling."""
    stored = None if ruling.stored is None else as_plain(ruling.stored)
    names = ("name", "within", "unclear", "measured", "allowed")
    return {name: getattr(ruling, name) for name in names} | {"stored": stored}


def shortened(error: BaseException) -> bool:
    """Leave only the user's own frames in an error that the library raised on purpose.

    So for what caused it; a cause that happened in torch alone is left out, as the message has it.
    Returns whether the error is the library's.
    """
    if not isinstance(error, ShiftcheckError):
        return False
    error.__traceback__ = trimmed(error.__traceback__) or error.__traceback__
    above: BaseException = error
    while above.__cause__ is not None:
        cause = above.__cause__
        cause.__traceback__ = trimmed(cause.__traceback__)
        if cause.__traceback__ is None:
            above.__cause__, above.__suppress_context__ = cause.__cause__, True
        else:
            above = cause
    return True


INSIDE = (
    str(Path(__file__).parents[1] / "_")[:-1],  # with the separator at its end
    str(Path(__file__).parents[2] / "_shiftcheck_"),
    str(Path(torch.__file__).parent / "_")[:-1],
)


def trimmed(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of the library and of torch."""
    frames = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(INSIDE):
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for one in reversed(frames):
        kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept


def device_called(name: str) -> torch.device:
    """The device that the ini file names; raises InputError where there is no such device."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"shiftcheck_device = {name}: {str(error).splitlines()[0]}") from None
    return device


def write_report(report: AnyReport, folder: Path, kind: str, name: str) -> str:
    """Write a report to a file; returns the problem, empty where there is none."""
    path = folder / f"{name}.{kind}"
    try:
        if kind == "json":
            path.write_text(report.to_json() + "\n", encoding="utf-8")
        else:
            report.to_html(path)
    except (OSError, ShiftcheckError) as error:
        return f"{path} was not written: {error}"
    return ""


def write_index(records: Sequence[Mapping[str, Any]], path: Path) -> str:
    """Write a page that lists the checks with the pages of their reports; returns the problem.

    What did not pass stands first, and what could not be told after it.
    """
    listed = sorted(records, key=lambda record: LAST.get(record["verdict"], 0))
    entries = [
        (r["test"] or "outside of a test", r["verdict"], r["model"], r["page"]) for r in listed
    ]
    try:
        path.write_text(render_index(entries), encoding="utf-8")
    except (OSError, ShiftcheckError) as error:
        return f"{path} was not written: {error}"
    return ""


LAST = {"inconclusive": 1, "equivariant": 2, "invariant": 2, "linear": 2}
"""Where verdicts stand in the index, those of a failure before these."""
