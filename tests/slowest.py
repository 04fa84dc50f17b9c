"""Write the list of tests that take longer than 0.4 seconds, from the times of a run."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

LIMIT = 0.4
"""Seconds that a quick test takes at most, on two cores."""

ROOT = Path(__file__).parents[1]


def node_of(case: ET.Element) -> str:
    """The name by which pytest knows a test, of its record in a file of times."""
    parts = case.attrib["classname"].split(".")
    for i in range(len(parts), 0, -1):
        file = Path(*parts[:i]).with_suffix(".py")
        if (ROOT / file).exists():
            return "::".join([file.as_posix(), *parts[i:], case.attrib["name"]])
    raise SystemExit(f"{case.attrib['classname']} is in no file below {ROOT}")


def main(times: str) -> None:
    cases = ET.parse(times).iter("testcase")
    slow = {node_of(case) for case in cases if float(case.attrib["time"]) > LIMIT}
    (ROOT / "tests" / "slow.txt").write_text("".join(f"{name}\n" for name in sorted(slow)))


if __name__ == "__main__":
    main(sys.argv[1])
