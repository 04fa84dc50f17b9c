"""What the pytest plugin costs a run that uses no check: the ratio against ``-p no:shiftcheck``.

Runs with and without the plugin alternate, each in a process of its own. Exits with 1 where the
median ratio of neighbouring runs is above the bound.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.plugin.runs import environment

BOUND = 1.05
FILES, TESTS = 20, 100
WITHOUT = ("-p", "no:shiftcheck")
SUITE = """\
import pytest

@pytest.mark.parametrize("n", range({tests}))
def test_sums(n):
    assert sum(range(n + 1)) == n * (n + 1) // 2
"""


def make_suite(folder: Path, files: int, tests: int) -> None:
    """A suite of quick tests, in which the share of pytest itself is as large as it can be."""
    for number in range(files):
        file = folder / f"test_sums_{number}.py"
        file.write_text(SUITE.format(tests=tests), encoding="utf-8")


def seconds(folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> float:
    """The processor time of a run of the suite, which others on the machine hardly change."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    before = os.times()
    done = subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True)
    after = os.times()
    taken = after.children_user + after.children_system
    taken -= before.children_user + before.children_system
    if done.returncode != 0:
        sys.exit(f"the suite does not pass:\n{done.stdout}{done.stderr}")
    return taken


def has_plugin(folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether runs with these arguments have the plugin, so that there is something to compare."""
    command = [sys.executable, "-m", "pytest", *arguments, "--help"]
    text = subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True).stdout
    return "--shiftcheck-update" in text


def main() -> int:
    """Print the ratio; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of runs (%(default)s)")
    parser.add_argument("--bound", type=float, default=BOUND, help="ratio (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = environment(folder / "entry")
        make_suite(folder, FILES, TESTS)
        if not has_plugin(folder, (), env) or has_plugin(folder, WITHOUT, env):
            sys.exit("the plugin cannot be switched on and off: is the package installed?")
        pairs = []
        for number in range(options.pairs + 1):
            order = ((), WITHOUT) if number % 2 else (WITHOUT, ())
            taken = {arguments: seconds(folder, arguments, env) for arguments in order}
            pairs.append((taken[()], taken[WITHOUT]))
        del pairs[0]  # it compiles the suite
    ratios = [with_it / without for with_it, without in pairs]
    low, _, high = quantiles(ratios, n=4)
    ratio = median(ratios)
    print(
        f"{FILES * TESTS} tests: {median(p[0] for p in pairs):.2f} s with the plugin,"
        f" {median(p[1] for p in pairs):.2f} s without; ratio {ratio:.3f} (middle half of"
        f" {len(ratios)} pairs: {low:.3f} to {high:.3f}), bound {options.bound}"
    )
    return int(ratio > options.bound)


if __name__ == "__main__":
    sys.exit(main())
