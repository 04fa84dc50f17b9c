"""What a release holds: the source distribution builds the wheel that the tree builds."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.test_contributing import ROOT

pytest.importorskip("build", reason="needs the package build")
pytest.importorskip("hatchling", reason="needs the package hatchling")
pytestmark = pytest.mark.slow


def build(source: Path, out: Path, what: str) -> Path:
    """The only file that a build writes."""
    options = ["--no-isolation", f"--{what}", "--outdir", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "build", *options, str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    (made,) = out.iterdir()
    return made


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, folder / "made", "sdist")) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.name != "made")
    return unpacked


def test_both_build_the_same_wheel(sources: Path, tmp_path: Path) -> None:
    ours, theirs = (
        contents(build(source, tmp_path / name, "wheel"))
        for name, source in (("tree", ROOT), ("sdist", sources))
    )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    held = contents(build(ROOT, tmp_path / "wheel", "wheel"))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("needs a checkout")
    ours = {name.removeprefix("src/") for name in listed.stdout.split()}
    about = {name for name in held if ".dist-info/" in name}
    assert held.keys() - about == ours
    assert {"shiftcheck/py.typed", "_shiftcheck_pytest.py"} <= ours
    assert any(name.endswith("/licenses/LICENSE") for name in about)


def test_what_the_tests_need_is_in_the_source_distribution(sources: Path) -> None:
    for name in ("Makefile", "constraints.txt", "CITATION.cff", "SECURITY.md", ".ci/run"):
        assert (sources / name).read_bytes() == (ROOT / name).read_bytes()
    for folder in (".github/workflows", "tests", "docs/schemas", "examples", "benchmarks"):
        assert any((sources / folder).iterdir())
    assert not list(sources.rglob("__pycache__"))
    assert not (sources / "docs" / "_build").exists()
