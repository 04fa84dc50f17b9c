"""The pytest plugin: defaults from the ini file, a summary, reports as files, and error budgets.

It stands beside the package and imports it only when a check runs, since the package imports torch.
PYTEST_DONT_REWRITE: nothing here is an assertion.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import _shiftcheck_listeners as listening
from _shiftcheck_options import OPTIONS, problem

if TYPE_CHECKING:
    from shiftcheck.testing.budgets import OpenBudgets
    from shiftcheck.testing.pytest_session import Checks

MARKER = (
    "shiftcheck(rtol, atol, boundary, seed, effort, grow): defaults of the fixture `shiftcheck` in"
    " this test; an argument comes before them, and they come before the ini file"
)
INI = {
    "seed": "the seed of shifts and of the content that they bring in",
    "device": "what the fixture offers as shiftcheck.device",
    "boundary": "'valid' or 'circular', or one of them for each spatial axis",
    "rtol": "the tolerance relative to the largest magnitude of a channel; with shiftcheck_atol",
    "atol": "the absolute tolerance; with shiftcheck_rtol",
    "effort": "'bounded' or 'full': what may be spent on explaining a check that does not pass",
    "grow": "true: draw a larger input where the one of a test leaves nothing to compare",
    "budgets": "the file of error budgets, seen from the root folder",
}
BUDGETS = "shiftcheck-budgets.json"
HTML_NEEDS = ("jinja2",)
LINES = 20
"""Checks that are listed one by one in the summary, unless pytest is verbose."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line and of the ini file."""
    group = parser.getgroup("shiftcheck", "translation equivariance (shiftcheck)")
    for kind in ("html", "json"):
        group.addoption(
            f"--shiftcheck-{kind}",
            metavar="DIR",
            help=f"write the report of each check into this folder, as {kind.upper()}",
        )
    group.addoption(
        "--shiftcheck-update",
        action="store_true",
        help="store the measured errors as the error budgets, in place of the present ones",
    )
    for name, meaning in INI.items():
        if name == "boundary":
            parser.addini(f"shiftcheck_{name}", meaning, type="args", default=[])
        else:
            parser.addini(f"shiftcheck_{name}", meaning, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; a value that cannot be used ends the run before its first test."""
    config.addinivalue_line("markers", MARKER)
    session = Session(config, ini_defaults(config))
    config.pluginmanager.register(session, "shiftcheck-session")
    session.listen()


@pytest.fixture
def shiftcheck(request: pytest.FixtureRequest) -> Iterator[Checks]:
    """The checks of shiftcheck, with the defaults of this test's marker and of the ini file."""
    from shiftcheck.testing.pytest_session import Checks

    session: Any = request.config.pluginmanager.getplugin("shiftcheck-session")
    checks = Checks(session, marker_defaults(request.node))
    session.checks = checks
    yield checks
    session.checks = None


SETTINGS = ("rtol", "atol", "boundary", "seed", "effort", "grow")
"""The options of checks that a marker or the ini file may set."""


def ini_defaults(config: pytest.Config) -> dict[str, Any]:
    """What the ini file sets; raises UsageError for a value that cannot be used."""
    defaults: dict[str, Any] = {}
    for name in SETTINGS:
        valid, meant = OPTIONS[name]
        text = config.getini(f"shiftcheck_{name}")
        if text in ("", []):
            continue
        kind = READ.get(name)
        value = text if kind is None else read(text, kind)
        if not valid(value):
            shown = " ".join(text) if name == "boundary" else text
            raise pytest.UsageError(f"shiftcheck_{name} = {shown}: give {meant}")
        defaults[name] = value[0] if name == "boundary" and len(value) == 1 else value
    if ("rtol" in defaults) != ("atol" in defaults):
        alone = "rtol" if "rtol" in defaults else "atol"
        raise pytest.UsageError(
            f"shiftcheck_{alone} = {defaults[alone]}: give shiftcheck_rtol and shiftcheck_atol, or"
            " neither"
        )
    return defaults


def truth(text: str) -> bool:
    """True or false, as an ini file says it; raises ValueError for what is neither."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


READ: dict[str, Callable[[Any], Any]] = {"seed": int, "rtol": float, "atol": float, "grow": truth}
"""How the text of an option is read, where it is no text."""


def read(text: Any, kind: Callable[[Any], Any]) -> Any:
    """A value that stands in the ini file; the text itself where it is none of its kind."""
    try:
        return kind(text)
    except (TypeError, ValueError):
        return text


def marker_defaults(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test set, the closest one first; fails for what cannot be used."""
    defaults: dict[str, Any] = {}
    for mark in item.iter_markers("shiftcheck"):
        problem = problem_of(mark)
        if problem:
            pytest.fail(f"@pytest.mark.shiftcheck: {problem}", pytrace=False)
        defaults = {**mark.kwargs, **defaults}
    return defaults


def problem_of(mark: pytest.Mark) -> str:
    """What is wrong with a marker; empty where nothing is."""
    if mark.args:
        return f"{mark.args[0]!r} has no name: give {', '.join(f'{k}=' for k in SETTINGS)}"
    for name, value in mark.kwargs.items():
        if name not in SETTINGS:
            return f"there is no {name}={value!r}: give {', '.join(f'{k}=' for k in SETTINGS)}"
        if sentence := problem(name, value):
            return sentence
    given = {k: v for k, v in mark.kwargs.items() if k in ("rtol", "atol")}
    if len(given) == 1:
        return f"{next(iter(given))}={next(iter(given.values()))!r}: give both tolerances"
    return ""


class Session:
    """What is known during a run. Records travel with the reports of tests, also from workers."""

    def __init__(self, config: pytest.Config, defaults: Mapping[str, Any]) -> None:
        self.config = config
        self.defaults = defaults
        self.device = config.getini("shiftcheck_device") or "cpu"
        self.checks: Checks | None = None
        self.through_fixture = False
        self.records: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._update = bool(config.option.shiftcheck_update)
        self._path = config.rootpath / (config.getini("shiftcheck_budgets") or BUDGETS)
        self._worker = hasattr(config, "workerinput")
        self._folders = self._make_folders()
        self._budgets: OpenBudgets | None = None
        self._pending: list[dict[str, Any]] = []
        self._item: pytest.Item | None = None
        self._count = 0

    def listen(self) -> None:
        """Be told of checks, until the run ends."""
        listening.listeners.append(self.hear)
        listening.budget_files.append(self.open_budgets)

    def pytest_unconfigure(self) -> None:
        """Be told no more."""
        listening.listeners.remove(self.hear)
        listening.budget_files.remove(self.open_budgets)

    def _make_folders(self) -> dict[str, Path]:
        """The folders for reports, made at the start; raises UsageError where that fails."""
        folders = {}
        for kind in ("html", "json"):
            given = getattr(self.config.option, f"shiftcheck_{kind}")
            if given is None:
                continue
            folder = self.config.invocation_params.dir / given
            if kind == "html":
                check_html()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise pytest.UsageError(f"--shiftcheck-{kind}={given}: {error}") from error
            setattr(self.config.option, f"shiftcheck_{kind}", str(folder))  # as workers see it
            folders[kind] = folder
        return folders

    def open_budgets(self) -> OpenBudgets:
        """The budget file of the run."""
        from shiftcheck.testing.budgets import OpenBudgets

        if self._budgets is None:
            self._budgets = OpenBudgets(self._path, update=self._update, owner=self._where)
        return self._budgets

    def _where(self) -> str:
        return self._item.nodeid if self._item else ""

    def hear(self, outcome: listening.Outcome) -> None:
        """Record a check; raises InputError where the test's marker did not reach it."""
        __tracebackhide__ = True
        from shiftcheck.errors import InputError
        from shiftcheck.testing.pytest_session import file_name, write_report
        from shiftcheck.testing.records import record_of

        item = self._item
        if item and not self.through_fixture and item.get_closest_marker("shiftcheck"):
            raise InputError(
                "this test has the marker shiftcheck(...), which only the fixture knows of: call"
                " the check of the fixture `shiftcheck`, or remove the marker"
            )
        if self.checks is not None:
            self.checks.reports.append(outcome.report)
        self._count += 1
        name = f"{file_name(self._where())}-{self._count}"
        written = {k: write_report(outcome.report, f, k, name) for k, f in self._folders.items()}
        record = record_of(outcome) | {
            "test": self._where(),
            "problems": [problem for problem in written.values() if problem],
            "page": f"{name}.html" if written.get("html") == "" else "",
            "own_budget": outcome.ruling is not None and outcome.ruling.path == self._path,
        }
        self._pending.append(record)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test begins, perhaps again."""
        self._item, self._count = item, 0
        if self._budgets is not None:
            self._budgets.release(item.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the records travel with the test's report, and take the library out of tracebacks."""
        if call.excinfo is not None and "shiftcheck" in sys.modules:
            from shiftcheck.testing.pytest_session import shortened

            if not self.config.getoption("fulltrace", False) and shortened(call.excinfo.value):
                call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)
        report = yield
        if self._pending:
            report.__dict__["shiftcheck"] = self._pending
            self._pending = []
        return report

    def pytest_runtest_logfinish(self) -> None:
        """A test has ended."""
        self._item = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what the reports of tests bring along, in the controller or the only process."""
        self.records += getattr(report, "shiftcheck", [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Store the budgets, once for all workers."""
        if self._worker:
            return
        self.records += self._pending  # of checks that ran outside of any test
        self.records.sort(key=lambda record: str(record["test"]))
        problems = [p for record in self.records for p in record["problems"]]
        rulings = self._own_rulings()
        twice = {name: tests for name, (tests, _) in rulings.items() if len(tests) > 1}
        for name, tests in twice.items():
            problems.append(f"budget {name!r} is used twice, in {' and '.join(sorted(tests))}")
        if self._update:
            measured = {n: new for n, (_, new) in rulings.items() if new and n not in twice}
            problems += self._store(measured) if measured else []
        problems += self._show_reports()
        self.lines += problems
        if problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _show_reports(self) -> list[str]:
        """Say where the reports are, the pages with an index of this run; returns the problems."""
        if "json" in self._folders and self.records:
            self.lines.append(f"reports as JSON: {self._folders['json']}")
        if "html" not in self._folders or not self.records:
            return []
        from shiftcheck.testing.pytest_session import write_index

        path = self._folders["html"] / "index.html"
        problem = write_index(self.records, path)
        if not problem:
            self.lines.append(f"pages of the reports: {path}")
        return [problem] if problem else []

    def _own_rulings(self) -> dict[str, tuple[set[str], Any]]:
        """The tests that use each budget of the run's file, and what was measured for it."""
        rulings: dict[str, tuple[set[str], Any]] = {}
        for record in self.records:
            ruling = record["budget"]
            if record["own_budget"]:
                tests, new = rulings.get(ruling["name"], (set(), None))
                rulings[ruling["name"]] = tests | {record["test"]}, ruling["stored"] or new
        return rulings

    def _store(self, measured: Mapping[str, Any]) -> list[str]:
        """Write what was measured; returns the problems."""
        from shiftcheck import InputError
        from shiftcheck.testing.budget_store import from_plain, write_budgets

        try:
            changed = write_budgets(self._path, {k: from_plain(v) for k, v in measured.items()})
        except InputError as error:
            return [str(error)]
        many = "1 budget" if len(measured) == 1 else f"{len(measured)} budgets"
        state = "stored" if changed else "measured, none of them different,"
        self.lines.append(f"{many} {state} in {self._path}")
        return []

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The section at the end of the run; none where no check ran."""
        if not self.records and not self.lines:
            return
        verbosity = terminalreporter.config.get_verbosity()
        terminalreporter.write_sep("=", "shiftcheck")
        for line in summary(self.records, every=verbosity > 0):
            terminalreporter.write_line(line)
        for line in self.lines:
            terminalreporter.write_line(line)


def check_html() -> None:
    """Raise UsageError where no HTML can be written."""
    missing = [name for name in HTML_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(
            f"--shiftcheck-html needs {' and '.join(missing)}: pip install 'torch-shiftcheck[html]'"
        )


def summary(records: list[dict[str, Any]], *, every: bool) -> Iterator[str]:
    """The lines of the summary: what is worth a look, or every check, then the totals."""
    shown = [r for r in records if every or not r["passed"] or r["budget"]]
    for record in shown if every else shown[:LINES]:
        yield f"{record['test'] or 'outside of a test'}: {record['headline']}"
        yield from (f"    {line}" for line in details(record))
    if len(shown) > LINES and not every:
        yield f"and {len(shown) - LINES} more, which -v lists"
    count = Counter(dict.fromkeys(VERDICTS, 0))
    count.update(r["verdict"] for r in records)
    many = "1 check" if len(records) == 1 else f"{len(records)} checks"
    if records:
        yield f"{many}: {', '.join(f'{n} {verdict}' for verdict, n in count.items() if n)}"
    passed = [r for r in records if r["passed"] and r["worst"]]
    if passed:
        closest = max(passed, key=lambda r: r["worst"][0] / r["worst"][1])
        yield f"closest to its allowance: {gap_of(closest)} in {closest['test'] or 'no test'}"


VERDICTS = (
    "equivariant",
    "invariant",
    "linear",
    "affine",
    "convolution",
    "broken",
    "not invariant",
    "not linear",
    "not equivariant",
    "infinite support",
    "inconclusive",
    "measured, not judged",
)
"""In the order in which they are counted."""


def details(record: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of one check."""
    if record["worst"]:
        yield f"worst: {gap_of(record)}"
    ruling = record["budget"]
    if ruling is None:
        return
    state = "within" if ruling["within"] else "inconclusive, so not within" * ruling["unclear"]
    state = "measured anew for" if ruling["stored"] else state or "over"
    numbers = ""
    if ruling["measured"] is not None:
        numbers = f": relative error {ruling['measured']:.4g}"
    if ruling["allowed"] is not None:
        numbers += f", {'before' if ruling['stored'] else 'stored'} {ruling['allowed']:.4g}"
    needless = f"; it is {record['verdict']}, and needs none" * record["passed"]
    yield f"{state} budget {ruling['name']!r}{numbers}{needless}"


def gap_of(record: Mapping[str, Any]) -> str:
    """The worst error of a check against its allowance."""
    error, allowance, what, where = record["worst"]
    return f"{what} {error:.2g} of {allowance:.2g} allowed, {where}"
