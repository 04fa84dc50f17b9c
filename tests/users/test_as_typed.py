"""README and quick start as a person types them, in a checkout and an environment of its own.

The blocks of a page go, in order, into one shell and one session of Python; code whose first line
names a file is saved as that file. What the page shows below a block is what came out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.test_docs import TYPED, blocks_of, named
from tests.test_readme import masked

ROOT = Path(__file__).parents[2]
CHECKOUT = ("src", "README.md", "LICENSE", "pyproject.toml", "constraints.txt")
"""What an installation reads."""

SESSION = """\
import contextlib, io, json, sys
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(json.loads(line), "<typed>", "exec"), namespace)
    print(json.dumps(out.getvalue()), flush=True)
"""
DONE = "that was all, status"

pytestmark = pytest.mark.slow


class Desk:
    """A checkout with a shell that stands in it, and a session of Python once there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in CHECKOUT:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, self.folder)
        self._shell = self._start("bash")
        self._python: subprocess.Popen[str] | None = None

    def _start(self, *command: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment(),
            text=True,
            stderr=subprocess.STDOUT,
            **pipes,
        )

    def shell(self, text: str) -> tuple[int, str]:
        """Type lines into the shell; the status of the last one, and what they print."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{text}status=$?; echo; echo {DONE} $status\n")
        self._shell.stdin.flush()
        lines = []
        for line in self._shell.stdout:
            if line.startswith(DONE):
                return int(line.split()[-1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended:\n{''.join(lines)}")

    def python(self, text: str) -> str:
        """Type a block into the session of Python; what it prints."""
        if self._python is None:
            self._python = self._start(str(self.folder / ".venv" / "bin" / "python"), "-c", SESSION)
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(text) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer.startswith('"'):
            raise AssertionError(answer + self._python.stdout.read())
        printed = json.loads(answer)
        assert isinstance(printed, str)
        return printed

    def leave(self) -> None:
        """End both."""
        for process in filter(None, (self._shell, self._python)):
            process.communicate()


def environment() -> dict[str, str]:
    """That of a new shell: no environment is active, and nothing of this run is in it."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "VIRTUAL"))}
    path = f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{own.get('PATH', '')}"
    constraints = str(ROOT / "constraints.txt")
    return own | {"PATH": path, "PIP_CONSTRAINT": constraints, "OMP_NUM_THREADS": "1"}


def play(page: Path, desk: Desk) -> list[int]:
    """Type all of a page; the status of each block of the shell."""
    status: list[int] = []
    printed, whole = "", True
    for block in blocks_of(page):
        if block.kind == "sh":
            code, printed = desk.shell(block.text)
            status.append(code)
            whole = False
        elif block.kind == "python":
            file = named(block)
            if file is not None:
                (desk.folder / file).write_text(block.text, encoding="utf-8")
            printed, whole = desk.python(block.text), True
        elif block.kind == "text":
            shown, real = masked(block.text), masked(printed)
            message = f"{page.name}:{block.line} shows\n{block.text}\nand there came\n{printed}"
            assert shown == real if whole else shown in real, message
    return status


PAGES = {"README.md": [0, 1], "quickstart.md": [0, 0], "mending.md": [1, 0, 0, 0]}
"""The status of each block of the shell."""


@pytest.mark.parametrize(("name", "status"), PAGES.items())
def test_a_page_works_as_it_is_typed(name: str, status: list[int], tmp_path: Path) -> None:
    assert name in TYPED
    page = next(p for p in (ROOT / name, ROOT / "docs" / name) if p.exists())
    desk = Desk(tmp_path)
    try:
        if name == "mending.md":  # it begins where the package is installed
            install = next(b for b in blocks_of(page.parent / "quickstart.md") if b.kind == "sh")
            assert desk.shell(install.text)[0] == 0
        assert play(page, desk) == status
        package = desk.python("print(shiftcheck.__file__)").strip()
        assert Path(package).is_relative_to(desk.folder / ".venv")
    finally:
        desk.leave()
