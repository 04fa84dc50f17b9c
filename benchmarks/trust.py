"""What stands behind a pass, counted: random programs, planted faults, controls, guards.

``python benchmarks/trust.py`` runs the tests of each family and writes how many cases they held, to
``benchmarks/results/trust.json``, from which docs/trust.md takes its numbers. It takes about twenty
minutes; ``--sweep`` runs all of the fault injection besides, and takes three times that. Keys of
families run these alone. A test tells how many cases it held by its property ``cases``, and is one
where it tells none. Nothing is written of a family in which a test fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
STORED = ROOT / "benchmarks" / "results" / "trust.json"
PROPERTIES = "tests/properties"
FAULTS = "tests/controls/test_faults.py"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tests of one kind: what a case is, what it is held against, and where the tests are."""

    key: str
    name: str
    against: str
    tests: tuple[str, ...]


FAMILIES = (
    Family(
        key="programs",
        name="random programs, some that move with the input and some that do not",
        against="the middle of their own outputs on a long signal: no false pass, no false break",
        tests=(
            f"{PROPERTIES}/test_programs.py::test_random_programs",
            f"{PROPERTIES}/test_programs.py::test_many_random_programs",
        ),
    ),
    Family(
        key="oracle",
        name="random networks, from shapes alone",
        against="experiments on every sample, which know no rule: stride, period, halo and mask",
        tests=(
            f"{PROPERTIES}/test_rules_against_oracle.py::test_the_rules_agree_with_the_oracle",
            f"{PROPERTIES}/test_rules_against_oracle.py"
            "::test_the_rules_agree_with_the_oracle_on_many_networks",
        ),
    ),
    Family(
        key="crops",
        name="random networks with windows, tokens, skips and transforms",
        against="two windows onto one plane, and the torus: no claimed sample differs",
        tests=(
            f"{PROPERTIES}/test_mixtures_against_crops.py"
            "::test_claims_hold_on_crops_and_on_the_torus",
            f"{PROPERTIES}/test_mixtures_against_crops.py"
            "::test_claims_hold_on_crops_and_on_the_torus_for_many_networks",
        ),
    ),
    Family(
        key="probing",
        name="random networks, by rules",
        against="the same networks as black boxes: the rules claim no more than probing shows",
        tests=(f"{PROPERTIES}/test_rules_against_probing.py",),
    ),
    Family(
        key="faults",
        name="faults planted into networks that are equivariant",
        against="plain torch in float64, which sees the break: told, with layer and cause",
        tests=(
            f"{FAULTS}::test_some_faults_are_caught_where_they_are",
            f"{FAULTS}::test_faults_are_caught_where_they_are",
        ),
    ),
    Family(
        key="without",
        name="the same networks without a fault",
        against="plain torch in float64, which sees none: no false alarm",
        tests=(
            f"{FAULTS}::test_some_networks_without_a_fault_pass",
            f"{FAULTS}::test_networks_without_a_fault_pass",
        ),
    ),
    Family(
        key="faint",
        name="faults that are next to nothing",
        against="what passes is smaller than the sensitivity that the report states",
        tests=(
            f"{FAULTS}::test_what_passes_is_smaller_than_the_sensitivity",
            f"{FAULTS}::test_whatever_passes_is_smaller_than_the_sensitivity",
        ),
    ),
    Family(
        key="broken",
        name="models known to be broken, or of which nothing can be said",
        against="a list by hand: none passes",
        tests=("tests/controls/test_broken.py", "tests/controls/test_depths.py"),
    ),
    Family(
        key="good",
        name="models known to be equivariant",
        against="a list by hand: each passes",
        tests=("tests/controls/test_good.py",),
    ),
    Family(
        key="rules",
        name="rules that are wrong",
        against="the same operations with their right rules: each wrong one is found at its layer",
        tests=("tests/controls/test_wrong_rules.py",),
    ),
    Family(
        key="guards",
        name="guards",
        against="a model or a case that would pass without the guard",
        tests=("tests/guards",),
    ),
    Family(
        key="linear",
        name="linear operators, and what is none or is not equivariant",
        against="the convolution with their impulse response; the other ones are refused",
        tests=(f"{PROPERTIES}/test_linear_operators.py",),
    ),
    Family(
        key="tiles",
        name="random networks in tiles",
        against="the network on the whole: no sample differs, and no smaller halo would do",
        tests=(f"{PROPERTIES}/test_tiles.py",),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many cases the tests of a family held; ``untold``: of which nothing could be told."""

    key: str
    cases: int
    untold: int
    tests: int
    seconds: float


def counted(family: Family, found: ET.Element, seconds: float) -> Count:
    """The cases of a family in pytest's XML; raises SystemExit where a test did not pass."""
    held = untold = tests = 0
    for case in found.iter("testcase"):
        bad = [child.tag for child in case if child.tag in ("failure", "error")]
        if bad:
            raise SystemExit(f"{case.get('classname')}::{case.get('name')}: {bad[0]}")
        if case.find("skipped") is not None:
            continue
        told = {p.get("name"): int(p.get("value") or 0) for p in case.iter("property")}
        held += told.get("cases", 1)
        untold += told.get("untold", 0)
        tests += 1
    if not tests:
        raise SystemExit(f"{family.key}: no test was run")
    return Count(key=family.key, cases=held, untold=untold, tests=tests, seconds=round(seconds, 1))


def run(family: Family, workers: int, sweep: bool) -> Count:
    """Run the tests of a family, and count."""
    marker = [] if sweep else ["-m", "not sweep"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        options = ["-q", "-p", "no:cacheprovider", "-n", str(workers), f"--junitxml={path}"]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, *marker, *family.tests],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        return counted(family, ET.parse(path).getroot(), time.perf_counter() - start)


def processor() -> str:
    """What this machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def save(count: Count, sweep: bool, path: Path = STORED) -> None:
    """Put what was counted in the place of what was, with what it was made on."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    stored[count.key] = {
        **asdict(count),
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "processor": processor(),
        "sweep": sweep,
    }
    order = {family.key: stored[family.key] for family in FAMILIES if family.key in stored}
    path.write_text(json.dumps(order, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run families, print and store the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    keys = [family.key for family in FAMILIES]
    parser.add_argument("keys", nargs="*", metavar="KEY", help=f"of {', '.join(keys)}; all")
    parser.add_argument("--sweep", action="store_true", help="all of the fault injection")
    parser.add_argument("--workers", type=int, default=2, help="of pytest (2)")
    given = parser.parse_args(arguments)
    if unknown := set(given.keys) - set(keys):
        parser.error(f"no family is called {', '.join(unknown)}: give some of {', '.join(keys)}")
    for family in FAMILIES:
        if family.key in (given.keys or keys):
            count = run(family, given.workers, given.sweep)
            save(count, given.sweep)
            print(f"{count.cases:6} {family.name} ({count.seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
