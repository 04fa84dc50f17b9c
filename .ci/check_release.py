"""Whether the tree is ready to be released as the version that a tag names.

``python .ci/check_release.py v0.1.0`` prints what is missing, and exits with 1 where something is.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def faults(root: Path, tag: str) -> list[str]:
    """What keeps the tree from being released, one sentence each."""

    def read(name: str) -> str:
        return (root / name).read_text(encoding="utf-8")

    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and pyproject.toml has version {version}: tag v{version}")
    for name, pattern in (
        ("src/shiftcheck/__init__.py", r'^__version__ = "(.*)"$'),
        ("CITATION.cff", r"^version: (.*)$"),
    ):
        held = re.findall(pattern, read(name), re.MULTILINE)
        if held != [version]:
            found.append(f"{name} has version {', '.join(held)}: set it to {version}")
    heads = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    if not heads or not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heads[0]):
        head = heads[0] if heads else "nothing"
        found.append(f"CHANGELOG.md is headed {head!r}: head it '[{version}] - ' and the date")
    found += _bounds(root / "docs" / "versions.md")
    return found + _schemas(root / "docs" / "schemas") + _counts(root / "benchmarks")


def _bounds(page: Path) -> list[str]:
    """Lower bounds that the tests did not run with."""
    moved = page.exists() and "Bounds that moved" in page.read_text(encoding="utf-8")
    return ["docs/versions.md has bounds that moved: run `make compat LOWEST=1`"] * moved


def _counts(folder: Path) -> list[str]:
    """The families of cases that stand behind a pass, and were not counted."""
    path = folder / "results" / "trust.json"
    counted = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    script = (folder / "trust.py").read_text(encoding="utf-8")
    keys = re.findall(r'^        key="(\w+)",$', script, re.MULTILINE)
    return [
        f"benchmarks/results/trust.json lacks {key}: run `python benchmarks/trust.py {key}`"
        for key in keys
        if key not in counted
    ]


def _schemas(folder: Path) -> list[str]:
    """The schemas that were not noted as released."""
    path = folder / "released.json"
    noted = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    files = sorted(file.name for file in folder.glob("*.json") if file.name != path.name)
    return [
        f"docs/schemas/{name} is not noted as released: run `make schemas SCHEMAS_ARGS=--freeze`"
        for name in files
        if name not in noted
    ]


if __name__ == "__main__":
    wrong = faults(ROOT, sys.argv[1])
    print("\n".join(wrong) or f"{sys.argv[1]} can be released")
    sys.exit(bool(wrong))
