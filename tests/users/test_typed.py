"""A user's project under type checkers in strict mode: what is right passes, what is not does not.

mypy is run with the tests. pyright runs where it is installed: it is made of JavaScript, which a
package of Python would have to fetch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.test_public_names import public_modules

import shiftcheck

PROJECT = Path(__file__).parent / "typed"
PACKAGE = Path(str(shiftcheck.__file__)).parent
SITE = Path(sysconfig.get_path("purelib"))

pytestmark = pytest.mark.slow

Found = dict[int, str]
"""What is wrong, by line; notes are left out."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds this one, as an installation leaves it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, folder / "shiftcheck")
    assert (folder / "shiftcheck" / "py.typed").exists()
    return folder


def by_mypy(file: Path, site: Path) -> Found:
    """What mypy has against a file, in strict mode, and nothing of what is installed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MYPY")}
    options = ["--strict", "--no-error-summary", f"--cache-dir={site / 'mypy'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--follow-imports=silent", "--config-file=", file],
        cwd=file.parent,
        env=env | ({} if SITE in PACKAGE.parents else {"MYPYPATH": str(site)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = re.findall(r":(\d+): (?:error:|note: Revealed type is) (.*)", done.stdout)
    return {int(line): text for line, text in lines}


def by_pyright(file: Path, site: Path) -> Found:
    """The same of pyright."""
    if shutil.which("pyright") is None:
        pytest.skip("needs pyright")
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(site), str(SITE)],
        "reportUnusedExpression": False,
        "reportUnknownMemberType": False,  # of torch
    }
    config = file.parent / "pyrightconfig.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        ["pyright", "--outputjson", "--pythonpath", sys.executable, str(file)],
        cwd=file.parent,
        capture_output=True,
        text=True,
    )
    entries = json.loads(done.stdout)["generalDiagnostics"]
    wrong = [e for e in entries if e["severity"] == "error"]
    return {e["range"]["start"]["line"] + 1: e["message"] for e in wrong}


CHECKERS = {"mypy": by_mypy, "pyright": by_pyright}


@pytest.fixture(params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> Callable[[Path, Path], Found]:
    return CHECKERS[request.param]


def copied(name: str, folder: Path) -> Path:
    path = folder / name
    shutil.copyfile(PROJECT / name, path)
    return path


def test_what_is_right_passes(
    checker: Callable[[Path, Path], Found], installed: Path, tmp_path: Path
) -> None:
    assert checker(copied("right.py", tmp_path), installed) == {}


def test_what_is_wrong_is_found_where_it_is(
    checker: Callable[[Path, Path], Found], installed: Path, tmp_path: Path
) -> None:
    path = copied("wrong.py", tmp_path)
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    marked = {number for number, line in lines if "# wrong" in line}
    found = checker(path, installed)
    assert found.keys() == marked, found


def test_every_public_name_has_a_type(installed: Path, tmp_path: Path) -> None:
    names = [
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if module.__name__ != "shiftcheck.plot" or importlib.util.find_spec("matplotlib")
    ]
    path = tmp_path / "names.py"
    lines = ["import shiftcheck", *(f"reveal_type({name})" for name in names)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    revealed = {names[line - 2]: text.strip('"') for line, text in by_mypy(path, installed).items()}
    assert revealed.keys() == set(names)
    assert {name: text for name, text in revealed.items() if "[attr-defined]" in text} == {}
    assert {name for name, text in revealed.items() if text == "Any"} == set()
    whatever = {name for name, text in revealed.items() if text.endswith("-> Any")}
    assert whatever <= RETURNING_WHATEVER


RETURNING_WHATEVER = {"shiftcheck.rules.find_rule"}
"""What gives back what its caller knows the type of, and nobody else does."""


def test_public_types_are_complete(installed: Path, tmp_path: Path) -> None:
    """By pyright's own measure: nothing that a user meets has a type that is guessed."""
    if shutil.which("pyright") is None:
        pytest.skip("needs pyright")
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    shutil.copytree(installed / "shiftcheck", packages / "shiftcheck")
    (packages / "others.pth").write_text(f"{SITE}\n", encoding="utf-8")
    done = subprocess.run(
        ["pyright", "--verifytypes", "shiftcheck", "--ignoreexternal", "--outputjson"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    ours = {f"{c.__module__}.{c.__qualname__}" for c in public_classes()}
    public = {f"{module.__name__}.{name}" for module in public_modules() for name in module.__all__}
    incomplete = [
        symbol["name"]
        for symbol in found["symbols"]
        if (symbol["isExported"] and not symbol["isTypeKnown"]) or symbol["isTypeAmbiguous"]
        if symbol["name"] in public or symbol["name"].rpartition(".")[0] in ours
    ]
    assert len(found["symbols"]) > 1000
    assert incomplete == []


def public_classes() -> set[type]:
    values = (getattr(module, name) for module in public_modules() for name in module.__all__)
    return {value for value in values if isinstance(value, type)}
