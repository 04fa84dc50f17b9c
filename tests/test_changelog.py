"""The changelog is headed by the version of the package, and its blocks have an order."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

ORDER = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
HEAD = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (unreleased|\d{4}-\d\d-\d\d)$", re.MULTILINE)


def versions() -> dict[str, str]:
    """What stands under the heading of each version."""
    parts = HEAD.split(TEXT)
    return dict(zip(parts[1::3], parts[3::3], strict=True))


def test_it_is_headed_by_the_version_of_the_package() -> None:
    assert next(iter(versions())) == VERSION
    assert len(re.findall(r"^## ", TEXT, re.MULTILINE)) == len(versions())
    assert all(date != "unreleased" for _, date in HEAD.findall(TEXT)[1:])


def test_blocks_stand_once_and_in_order() -> None:
    for version, body in versions().items():
        blocks = re.findall(r"^### (.+)$", body, re.MULTILINE)
        assert blocks == [name for name in ORDER if name in blocks], f"{version}: {blocks}"


def test_every_line_belongs_to_an_entry_that_stands_once() -> None:
    for body in versions().values():
        lines = [line for line in body.splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not line.startswith(("- ", "  "))] == []
        entries = [line for line in lines if line.startswith("- ")]
        assert [entry for entry in entries if entries.count(entry) > 1] == []
