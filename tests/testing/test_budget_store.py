"""The file of budgets: what is written is read again, and nothing else is ever accepted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shiftcheck import InputError
from shiftcheck.testing.budget_store import (
    Budget,
    OutputBudget,
    as_plain,
    from_plain,
    read_budgets,
    write_budgets,
)

BUDGET = Budget(
    outputs={"b": OutputBudget(relative_error=0.25, shifts=("(0, 1)", "(1, 0)"))},
    dtype="float32",
    boundary="valid circular",
    input_shape="1x1x12x14",
    layer=None,
    seed=0,
)

TEXT = """\
{
  "budgets": {
    "one": {
      "boundary": "valid circular",
      "dtype": "float32",
      "input_shape": "1x1x12x14",
      "layer": null,
      "outputs": {
        "b": {
          "relative_error": 0.25,
          "shifts": [
            "(0, 1)",
            "(1, 0)"
          ]
        }
      },
      "seed": 0
    }
  },
  "version": 1
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budgets.json"


def test_what_is_written_is_read_again(path: Path) -> None:
    assert read_budgets(path) is None
    assert write_budgets(path, {"one": BUDGET})
    assert path.read_text("utf-8") == TEXT
    assert read_budgets(path) == {"one": BUDGET}


def test_other_names_stay_and_the_order_is_that_of_the_names(path: Path) -> None:
    write_budgets(path, {"z": BUDGET, "ä": replace(BUDGET, seed=1)})
    write_budgets(path, {"b": BUDGET, "z": replace(BUDGET, layer="conv")})
    assert list(read_budgets(path) or {}) == ["b", "z", "ä"]
    assert (read_budgets(path) or {})["z"].layer == "conv"
    assert '"ä"' in path.read_text("utf-8")


def test_a_file_that_would_not_change_is_not_touched(path: Path) -> None:
    write_budgets(path, {"one": BUDGET})
    os.utime(path, (1, 1))
    assert not write_budgets(path, {"one": BUDGET})
    assert path.stat().st_mtime == 1


def test_the_file_keeps_its_mode_and_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link.json")
    write_budgets(path, {"one": BUDGET})
    path.chmod(0o640)
    link.symlink_to(path)
    write_budgets(link, {"two": BUDGET})
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert set(read_budgets(path) or {}) == {"one", "two"}


def test_a_write_that_fails_halfway_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_budgets(path, {"one": BUDGET})

    def fails(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(InputError, match=r"budgets\.json cannot be written: no space left"):
        write_budgets(path, {"two": BUDGET})
    assert path.read_text("utf-8") == TEXT
    assert list(path.parent.iterdir()) == [path]


def changed(**values: Any) -> str:
    return json.dumps({"version": 1, "budgets": {"one": as_plain(BUDGET) | values}})


CORRUPT = [
    ("", "Expecting value"),
    ("[" * 100_000, "budgets.json is corrupt"),
    ("<<<<<<< ours\n" + TEXT, "Expecting value"),
    (TEXT[:-30], "budgets.json is corrupt"),
    (TEXT.replace("0.25", "NaN"), "NaN is no number"),
    (TEXT.replace("0.25", "1e999"), "budget 'one': 'relative_error' is inf"),
    (TEXT.replace("0.25", "-0.25"), "budget 'one': 'relative_error' is -0.25"),
    (TEXT.replace("0.25", "true"), "budget 'one': 'relative_error' is True"),
    (TEXT.replace("0.25", '"0.25"'), "budget 'one': 'relative_error' is '0.25'"),
    (TEXT.replace('"(0, 1)",', "1,"), "budget 'one': 'shifts' is [1, '(1, 0)']"),
    (TEXT.replace('"seed": 0', '"seed": 0, "seed": 1'), "'seed' is there twice"),
    ('{"version": 1, "budgets": {"one": 1, "one": 2}}', "'one' is there twice"),
    (TEXT.replace('"version": 1', '"version": "1"'), "it has no version"),
    (TEXT.replace('"version": 1', '"version": true'), "it has no version"),
    (TEXT.replace('"version": 1', '"version": 0'), "it has version 0"),
    ("[]", "it has no version"),
    ('{"version": 1}', "it has version 1 and ['version']"),
    ('{"version": 1, "budgets": []}', "'budgets' is []"),
    ('{"version": 1, "budgets": {"one": 3}}', "budget 'one': "),
    (changed(seed=None), "'seed' is None"),
    (changed(seed=True), "'seed' is True"),
    (changed(layer=3), "'layer' is 3"),
    (changed(dtype=None), "'dtype' is None"),
    (changed(outputs={}), "'outputs' names no output"),
    (changed(outputs={"b": {"relative_error": 0.1, "shifts": []}}), "'shifts' is []"),
    (changed(outputs={"b": {"relative_error": 0.1}}), "budget 'one': "),
    (changed(more=1), "budget 'one': "),
]


@pytest.mark.parametrize(("text", "message"), CORRUPT)
def test_a_corrupt_file_is_an_error_and_stays_as_it_is(path: Path, text: str, message: str) -> None:
    path.write_text(text, encoding="utf-8")
    for act in (lambda: read_budgets(path), lambda: write_budgets(path, {"two": BUDGET})):
        with pytest.raises(InputError) as caught:
            act()
        assert message in str(caught.value)
        assert f"budget file {path} is corrupt" in str(caught.value)
    assert path.read_text("utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_a_newer_file_is_an_error_and_stays_as_it_is(path: Path) -> None:
    text = '{"version": 2, "budgets": {"one": {"another": "form"}}, "more": 1}'
    path.write_text(text, encoding="utf-8")
    for act in (lambda: read_budgets(path), lambda: write_budgets(path, {"two": BUDGET})):
        with pytest.raises(
            InputError, match="has version 2, this shiftcheck reads up to 1: upgrade"
        ):
            act()
    assert path.read_text("utf-8") == text


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InputError, match=r"budgets\.json cannot be read: "):
        read_budgets(path)
    other = path / "latin.json"
    other.write_bytes(b'{"version": 1, "budgets": {"\xe4": 1}}')
    with pytest.raises(InputError, match=r"latin\.json cannot be read: "):
        write_budgets(other, {"one": BUDGET})


def test_a_folder_that_is_none(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be"):
        write_budgets(path / "inner.json", {"one": BUDGET})
    assert path.read_text("utf-8") == TEXT


def test_a_name_that_no_file_can_hold(path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_budgets(path, {"\ud800": BUDGET})
    assert list(path.parent.iterdir()) == []


def test_plain_and_back() -> None:
    assert from_plain(json.loads(json.dumps(as_plain(BUDGET)))) == BUDGET
