"""What the pytest plugin does once a check has loaded the package; it never imports pytest."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import torch

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.errors import InputError, ShiftcheckError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.render.html import render_index

if TYPE_CHECKING:
    from _shiftcheck_pytest import Session


CHECKING = ("check_", "assert_")
"""What the names of checks begin with."""


class Checks:
    """What the fixture ``shiftcheck`` offers: the package, with the defaults of this test.

    ``shiftcheck.assert_equivariant``, ``assert_invariant``, ``check_linear`` and all other checks
    are those of the package. What they are not given, and take, comes from the test's marker, else
    from the ini file, else it is the package's default. Every other public name is the package's
    own. ``reports`` are those of this test, in the order of its checks.
    """

    def __init__(self, session: Session, marked: Mapping[str, Any]) -> None:
        self.reports: list[AnyReport] = []
        self._session = session
        self._levels = {"marker": marked, "ini file": session.defaults}

    def __getattr__(self, name: str) -> Any:
        """What the package has under a name; a check of it has the defaults of this test."""
        value = getattr(package(), name)
        return self._with_defaults(value) if name.startswith(CHECKING) else value

    def __dir__(self) -> list[str]:
        """The names of the package, and those that only the fixture has."""
        return sorted({*object.__dir__(self), *dir(package())})

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

    def _with_defaults(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """A check of the package with the defaults; what is no assertion is heard of as well."""
        takes = set(inspect.signature(check).parameters)

        @functools.wraps(check)
        def with_defaults(*args: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            with self._filled(options, takes) as filled:
                report = check(*args, **filled)
                if not check.__name__.startswith("assert_"):
                    tell(Outcome(report=report))
            return report

        return with_defaults

    @contextmanager
    def _filled(self, given: Mapping[str, Any], takes: set[str]) -> Iterator[dict[str, Any]]:
        """The options with the defaults it takes; an error says which of them were defaults."""
        __tracebackhide__ = True
        filled, notes = dict(given), []
        closed = {"rtol", "atol"} if given.get("budget") is not None else set()
        for where, level in self._levels.items():
            taken = set(filled) | closed
            if taken & {"rtol", "atol"}:  # the two are one setting
                taken |= {"rtol", "atol"}
            new = {name: value for name, value in level.items() if name in takes - taken}
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


def package() -> ModuleType:
    """The package itself, which is there where a part of it is."""
    return sys.modules[__name__.partition(".")[0]]


def file_name(test: str) -> str:
    """A name for the files of a test: its own, readable, and one that no other test has."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", test.split("/")[-1]).strip("-")[:80]
    return f"{readable or 'outside'}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


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
