"""What the words of a message mean, on the command line."""

from __future__ import annotations

import pytest

from shiftcheck.cli import main
from shiftcheck.cli.explain import explained
from shiftcheck.errors import InputError
from shiftcheck.report import CauseKind, Reason


@pytest.mark.parametrize("word", [*CauseKind, *(reason for reason in Reason if reason)])
def test_every_cause_and_reason_is_explained(word: CauseKind | Reason) -> None:
    text = explained(str(word))
    assert text.startswith(f"{word}: ")
    assert word.plain in text
    assert len(text.splitlines()) <= 8


@pytest.mark.parametrize("asked", ["stride", "Stride", "DATA_DEPENDENT", "data dependent"])
def test_the_case_and_the_underscores_do_not_matter(asked: str) -> None:
    assert explained(asked).upper().startswith(("STRIDE: ", "DATA_DEPENDENT: "))


def test_the_nearest_are_named_for_what_is_neither() -> None:
    with pytest.raises(InputError, match=r"'STRIED' is no cause and no reason.*'STRIDE'"):
        explained("STRIED")


def test_it_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "no", "valid", "region"]) == 0
    assert capsys.readouterr().out.startswith("no valid region: ")
    assert main(["explain", "STRID"]) == 2
    assert "'STRIDE'" in capsys.readouterr().err
