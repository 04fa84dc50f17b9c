"""The demo, as its user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shiftcheck import Report, Verdict
from shiftcheck.cli import main
from shiftcheck.demo.tour import run_demo


@pytest.mark.slow
def test_the_demo_tells_the_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "new" / "folder")]) == 0
    text = capsys.readouterr().out
    steps = [text.index(f"\n{n}/5  ") for n in range(1, 6)]
    assert steps == sorted(steps)
    assert "conv4 is equivariant at 120 of 120 shifts" in text
    assert "it is equivariant at 24 of those 24" in text
    assert "INCONCLUSIVE (not spatial)" in text
    assert "first guilty layer: 'fc1' (linear), cause MIXING" in text
    assert "shifts up to 5:" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    sizes = {"report.html": 30_000, "moving_digit.html": 100_000, "moving_digit.gif": 100_000}
    for name, least in sizes.items():
        assert f"wrote {tmp_path / 'new' / 'folder' / name}" in text
        assert (tmp_path / "new" / "folder" / name).stat().st_size > least
    report = Report.from_json((tmp_path / "new" / "folder" / "report.json").read_text("utf-8"))
    assert len(report.shifts) == 121
    assert report["conv4"].verdict is Verdict.EQUIVARIANT
    assert report["conv4"].receptive_field == (17.0, 17.0)
    off = [s for s in report["max_pool2d"].shifts if s.reason == "off the lattice"]
    assert len(off) == 96
    assert all(s.shift[0] % 2 or s.shift[1] % 2 for s in off)


def test_the_demo_says_first_what_it_does_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed() -> None:
        raise LookupError("it was computed")

    said: list[str] = []
    monkeypatch.setattr("shiftcheck.demo.tour.digits", computed)
    with pytest.raises(LookupError):
        run_demo(tmp_path / "out", said.append)
    (first,) = said
    assert "Five steps, about half a minute" in first
    assert str(tmp_path / "out") in first


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2
    assert "demo" in capsys.readouterr().err
