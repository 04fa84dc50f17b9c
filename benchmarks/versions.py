"""Which versions the tests ran with, and what came out: `make compat` runs them.

``constraints`` prints what pip is to install beside the torch that is there, and ``extras`` the
names of all extras. ``record`` keeps what a run of the tests left as XML, of a test that ran again
the last outcome; both it and ``page`` write the page of the versions. The environment of a run has
no other version of anything than it asked for, so nothing of the project is imported here.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "versions.json"
PAGE = ROOT / "docs" / "versions.md"
KNOWN = ROOT / "tests" / "known_failures.toml"
PINNED = ROOT / "constraints.txt"

SETS = {"pinned": "as `constraints.txt` has them", "lowest": "all at their lower bounds"}
"""What else is installed: a name, and what the page says."""

BEGIN = """\
# Versions

Needed are torch {torch} or newer, numpy {numpy} or newer, and Python {python} or newer. This
page is written by `benchmarks/versions.py` from what the quick tests gave, with warnings as errors,
each time in an environment of its own. Where a fault was mended or a bound was raised, the tests
that it concerns were run again in the same environment. With `LOWEST=1` all packages are at
the lower bounds below, and `shiftcheck demo` runs first:

```sh
make compat TORCH=2.6.0                                 # one row of the table
make compat TORCH=2.14.1 NUMPY=2.1.0 PYTHON=python3.13
make compat LOWEST=1                                    # all packages at their lower bounds
```

## What the tests ran with

"""

AFTER = """
A test that is *known* to fail stands below. One is *skipped* where what it needs is not there: an
accelerator, a browser, a package that only slow tests use, a feature that this torch does not have.

## What is known to fail

Each is expected to fail with these versions, and a run fails where it passes after all.

"""

BOUNDS = """
## The lower bounds

What the package needs, and what each extra adds.

"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one run of the quick tests ended.

    ``packages``: one of ``SETS``. ``known``: tests that failed and were expected to.
    ``failures``: the names of those that were not. ``bounds``: of a run at the lower bounds, these.
    """

    torch: str
    numpy: str
    python: str
    packages: str
    date: str
    passed: int
    known: int
    skipped: int
    failures: tuple[str, ...] = ()
    bounds: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[tuple[int, ...], ...]:
        """What stands for the environment, in the order of versions."""
        lowest = (int(self.packages != "lowest"),)
        return (*map(numbers, (self.torch, self.python, self.numpy)), lowest)


def numbers(text: str) -> tuple[int, ...]:
    """A version as numbers, which order as versions do."""
    return tuple(int(n) for n in re.findall(r"\d+", text.partition("+")[0]))


def load(path: Path) -> list[Run]:
    """The runs that are kept, none where there is no file."""
    if not path.exists():
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [Run(**{**entry, "failures": tuple(entry["failures"])}) for entry in entries]


def save(path: Path, runs: Sequence[Run]) -> None:
    """Keep the runs, of each environment the last one."""
    kept = {run.key: run for run in runs}
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [asdict(kept[key]) for key in sorted(kept)]
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def ran(reports: Sequence[Path], packages: str) -> Run:
    """What a run in this environment left as XML, as JUnit has it, and runs of parts after it."""
    read = [case for report in reports for case in ElementTree.parse(report).iter("testcase")]
    cases = list({name_of(case): case for case in read}.values())
    left = [case.find("skipped") for case in cases]
    kinds = [skip.get("type") for skip in left if skip is not None]
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    names = {name_of(case) for case in failed}
    if not cases:
        raise SystemExit(f"{', '.join(map(str, reports))}: no test")
    return Run(
        torch=version("torch").partition("+")[0],
        numpy=version("numpy"),
        python=platform.python_version(),
        packages=packages,
        date=datetime.now(UTC).date().isoformat(),
        passed=len(cases) - len(failed) - len(kinds),
        known=kinds.count("pytest.xfail"),
        skipped=len(kinds) - kinds.count("pytest.xfail"),
        failures=tuple(sorted(names)),
        bounds=bounds_here() if packages == "lowest" else {},
    )


def name_of(case: ElementTree.Element) -> str:
    """The name of a test in a report."""
    return f"{case.get('classname')}::{case.get('name')}"


def bounds_here() -> dict[str, str]:
    """The lower bounds, where every package that is named is here at its own."""
    bounds = lower_bounds()
    here = installed()
    others = [
        f"{name} {here.get(name, 'is not here')}, not {lowest}"
        for name, lowest in bounds.items()
        if release(here.get(name, "")) != release(lowest)
    ]
    if others:
        raise SystemExit(f"not at their lower bounds: {'; '.join(others)}")
    return bounds


def release(text: str) -> tuple[int, ...]:
    """A version as numbers, without zeros at its end: 2.6.0 is 2.6."""
    found = list(numbers(text))
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def installed() -> dict[str, str]:
    """The versions of what is installed here."""
    return {normal(found.name): found.version for found in distributions()}


def project() -> Mapping[str, Any]:
    """What pyproject.toml says of the package."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = tomllib.loads(text)["project"]
    return found


def requirements() -> dict[str, list[str]]:
    """What the package needs, and each extra, by its name."""
    found = project()
    return {"": found["dependencies"], **found["optional-dependencies"]}


def bound_of(requirement: str) -> tuple[str, str]:
    """The name of a package and the lowest version of it that is asked for."""
    name, _, lowest = requirement.partition(">=")
    return normal(name), lowest


def normal(name: str) -> str:
    """A package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def lower_bounds() -> dict[str, str]:
    """The lower bound of every package that is named in pyproject.toml."""
    return dict(sorted(bound_of(r) for needed in requirements().values() for r in needed))


def lowest_constraints() -> Iterator[str]:
    """Every package that is named in pyproject.toml, at its lower bound."""
    return (f"{name}=={lowest}" for name, lowest in lower_bounds().items())


def pinned_constraints() -> Iterator[str]:
    """What is installed, as it is; of all others, what constraints.txt says."""
    here = installed()
    yield from (f"{name}=={here[name]}" for name in sorted(here))
    for line in PINNED.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and line.partition("==")[0] not in here:
            yield line


def known_failures() -> list[Mapping[str, str]]:
    """The lines of the tests that are known to fail."""
    failures: list[Mapping[str, str]] = tomllib.loads(KNOWN.read_text(encoding="utf-8"))["failures"]
    return failures


def page(runs: Sequence[Run]) -> str:
    """The page of the versions."""
    bounds = dict(map(bound_of, requirements()[""]))
    text = BEGIN.format(python=project()["requires-python"].removeprefix(">="), **bounds)
    head = ("torch", "Python", "numpy", "other packages", "passed", "failed", "known", "skipped",
            "date")  # fmt: skip
    text += table(head, [row_of(run) for run in sorted(runs, key=lambda run: run.key)], 4)
    failed = [f"- torch {r.torch}, Python {r.python}: `{n}`" for r in runs for n in r.failures]
    text += "\nThese failed:\n\n" + "\n".join(failed) + "\n" if failed else ""
    moved = [line for run in runs for line in moved_since(run)]
    text += "\nBounds that moved since the run at the lower bounds:\n\n" * bool(moved)
    text += "".join(f"- {line}\n" for line in moved)
    text += AFTER
    known = [(f"`{k['test']}`", where(k), k["reason"]) for k in known_failures()]
    text += table(("test", "where", "reason"), known) if known else "Nothing is.\n"
    text += BOUNDS
    extras = [(f"`{n}`" if n else "none", listed(r)) for n, r in requirements().items()]
    return text + table(("extra", "packages, each at this version or newer"), extras)


def moved_since(run: Run) -> Iterator[str]:
    """What a run at the lower bounds had, where it is no longer the lower bound."""
    now = lower_bounds()
    for name in sorted({*run.bounds, *now} if run.bounds else ()):
        then, today = run.bounds.get(name, "not there"), now.get(name, "not there")
        if then != today:
            yield f"{name}: {then} then, {today} now"


def row_of(run: Run) -> tuple[str, ...]:
    """A run as a row of the table."""
    counts = (run.passed, len(run.failures), run.known, run.skipped)
    return (run.torch, run.python, run.numpy, SETS[run.packages], *map(str, counts), run.date)


def where(failure: Mapping[str, str]) -> str:
    """The versions with which a test fails."""
    return ", ".join(f"{n} {failure[n]}" for n in failure if n not in ("test", "reason"))


def listed(needed: Sequence[str]) -> str:
    """Packages and their lower bounds, one after the other."""
    return ", ".join(" ".join(bound_of(requirement)) for requirement in needed)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 9) -> str:
    """A table, whose first columns hold words and whose others hold numbers."""
    rule = ["---" if i < words or name == "date" else "---:" for i, name in enumerate(head)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("constraints", "extras", "record", "page"))
    parser.add_argument("reports", type=Path, nargs="*", help="what the tests left, to record")
    parser.add_argument("--packages", choices=SETS, default="pinned")
    options: Any = parser.parse_args()
    if options.what == "constraints":
        lowest = options.packages == "lowest"
        print("\n".join(lowest_constraints() if lowest else pinned_constraints()))
    elif options.what == "extras":
        print(",".join(filter(None, requirements())))
    elif options.what == "page":
        PAGE.write_text(page(load(STORED)), encoding="utf-8")
    elif not options.reports:
        parser.error("record needs the report of the tests")
    else:
        run = ran(options.reports, options.packages)
        save(STORED, [*load(STORED), run])
        PAGE.write_text(page(load(STORED)), encoding="utf-8")
        told = f"{run.passed} passed, {len(run.failures)} failed, {run.known} known to fail"
        print(f"torch {run.torch}, numpy {run.numpy}, Python {run.python}: {told}")
        sys.exit(bool(run.failures))


if __name__ == "__main__":
    main()
