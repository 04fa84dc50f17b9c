"""The reference shows every public name and every rule."""

from __future__ import annotations

import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch

import shiftcheck
from shiftcheck import rules
from shiftcheck.report import Reason
from shiftcheck.rules import pointwise, registry

DOCS = Path(__file__).parent.parent / "docs"


def load(name: str) -> ModuleType:
    """A module that builds or checks the site, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


rule_table, check_site, reason_table = map(load, ("rule_table", "check_site", "reason_table"))
gallery = load("gallery")


def page() -> str:
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    return rule_table.filled(text, rules.table)


def listed(text: str) -> list[str]:
    """The operations in the first column of the tables."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


@pytest.mark.parametrize("operation", sorted(rules.table))
def test_a_rule_states_its_law(operation: str) -> None:
    assert rules.table[operation].law.strip()


def test_the_page_lists_every_operation_once() -> None:
    assert sorted(listed(page())) == sorted(rules.table)


def test_every_family_is_a_section() -> None:
    text = page()
    for family in rules.FAMILIES:
        assert family.__doc__ is not None
        assert f"## {family.__doc__.splitlines()[0].removesuffix('.')}\n" in text
    shipped = {entry.rule.__module__ for entry in rules.table.values()}
    assert shipped == {family.__name__ for family in rules.FAMILIES}


def test_a_row_holds_law_and_source() -> None:
    row = next(line for line in page().splitlines() if "`aten::pixel_shuffle`" in line)
    assert row == "| `aten::pixel_shuffle` | 1 \N{RIGHTWARDS ARROW} r | Shi et al., 2016 |"


def test_a_registered_rule_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("mine::blur_pool", law="2 -> 1 | in_place", source="Mine, 2020")(
        lambda x: pointwise(x)
    )
    text = rule_table.as_markdown(registry._table)
    assert "mine::blur_pool" in listed(text)
    assert "mine::blur_pool" not in listed(page())
    arrow = "\N{RIGHTWARDS ARROW}"
    assert f"| `mine::blur_pool` | 2 {arrow} 1 \\| in\\_place | Mine, 2020 |" in text
    assert f"## {__doc__.removesuffix('.')}\n" in text  # by the module that holds the rule


def test_the_pointwise_operations_are_counted() -> None:
    overloads, operations = rule_table.pointwise_operations()
    assert overloads > operations > 100
    release = torch.__version__.split("+")[0]
    assert f"{overloads} overloads of {operations} operations in torch {release} that" in page()


def test_the_count_follows_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["aten::relu", "aten::relu_", "aten::add.Tensor", "aten::conv2d", "aten::rrelu", "x::y"]
    monkeypatch.setattr(torch._C, "_dispatch_get_all_op_names", lambda: names)
    assert rule_table.pointwise_operations() == (3, 2)  # relu twice, add; rrelu is random


@pytest.mark.parametrize("mark", [rule_table.TABLE, rule_table.COUNT])
def test_a_page_without_a_mark_is_refused(mark: str) -> None:
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="must hold"):
        rule_table.filled(text.replace(mark, ""), rules.table)


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    found = re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)
    assert len(found) == len(set(found))
    assert set(found) == check_site.public_names()


def test_what_a_rule_needs_comes_from_one_place() -> None:
    for name in ("Layout", "Constant", "GeometryError", "Axis", "Taps", "window", "resample"):
        assert f"shiftcheck.rules.{name}" in check_site.public_names()
    assert rules.register_rule is shiftcheck.register_rule


def test_records_are_listed_where_they_live() -> None:
    names = check_site.public_names()
    assert {"shiftcheck.report.Cause", "shiftcheck.report.Hints", "shiftcheck.Report"} <= names
    assert not {"shiftcheck.Cause", "shiftcheck.report.Report"} & names


def test_a_heading_stands_once() -> None:
    lines = (DOCS / "api.rst").read_text(encoding="utf-8").splitlines()
    headings = [a for a, b in pairwise(lines) if b and set(b) <= set("=-~")]
    assert len(headings) == len(set(headings)) > 10


def reasons() -> str:
    return reason_table.filled((DOCS / "reasons.md").read_text(encoding="utf-8"))


def test_the_page_of_reasons_has_all_of_them_with_their_words() -> None:
    text = reasons().replace("\\", "")
    for reason in set(Reason) - {Reason.NONE}:
        hints = [hint or "-" for hint in reason.hints if hint is not None]
        assert hints, reason
        for hint in hints:
            assert f"| `{reason}` | {reason.plain} | {hint} |\n" in text


def test_what_has_no_hint_has_a_note_and_notes_are_of_reasons() -> None:
    text = reasons()
    notes = [n for line in re.findall(r"(?m)^- (`.*?):", text) for n in re.findall("`(.+?)`", line)]
    assert set(notes) <= set(Reason)
    without = {reason for reason in Reason if "" in reason.hints}
    assert without <= set(notes)
    assert {"no valid region", "off the lattice"} <= set(notes)


@pytest.mark.parametrize("check", ["equivariance", "invariance", "linearity"])
def test_a_page_without_a_table_of_reasons_is_refused(check: str) -> None:
    text = (DOCS / "reasons.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=f"must hold .*{check}"):
        reason_table.filled(text.replace(reason_table.mark(check), ""))


def drawn() -> None:
    """What it "shows"."""
    return


def test_a_figure_has_a_thumbnail_a_caption_and_its_code() -> None:
    page = gallery.filled("# Gallery\n\n{{ gallery }}\n", [drawn])
    image = '<img src="_static/gallery/drawn.png" alt="What it &quot;shows&quot;.">'
    assert f'<a href="#drawn">{image}<span>Drawn</span></a>' in page
    assert f'## Drawn\n\nWhat it "shows".\n\n{image}\n\n```python\ndef drawn() -> None:' in page
    with pytest.raises(ValueError, match="must hold"):
        gallery.filled("# Gallery", [drawn])


@pytest.mark.slow
def test_the_figures_of_the_gallery_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("safetensors")
    script = gallery.load()
    files = script.write(tmp_path / "figures")
    assert [file.stem for file in files] == [draw.__name__ for draw in script.FIGURES]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    for draw in script.FIGURES:
        assert draw.__doc__.strip().endswith(".")


SITE = {
    "index.html": '<a href="rules.html#one">x</a> <a href="https://example.org">y</a>',
    "rules.html": '<p id="one"><code>aten::a</code></p> <a href="#">top</a>',
    "api.html": '<dt id="shiftcheck.shift"></dt> <img src="_static/i.svg">',
    "_static/i.svg": "",
}


def site(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_site_that_is_whole(tmp_path: Path) -> None:
    assert check_site.faults(site(tmp_path, SITE), ["aten::a"], ["shiftcheck.shift"]) == []


@pytest.mark.parametrize(
    ("file", "right", "wrong", "fault"),
    [
        ("index.html", "#one", "#two", "index.html: nothing at rules.html#two"),
        ("index.html", "rules.html#", "rule.html#", "index.html: nothing at rule.html#one"),
        ("api.html", "i.svg", "j.svg", "api.html: nothing at _static/j.svg"),
        ("rules.html", "aten::a", "aten::ab", "rules.html: aten::a is missing"),
        ("api.html", "shift.", "shift ", "api.html: shiftcheck.shift is missing"),
    ],
)
def test_a_site_with_a_fault(tmp_path: Path, file: str, right: str, wrong: str, fault: str) -> None:
    right = right.removesuffix(".")
    assert right in SITE[file]
    wrong = wrong.replace("shift ", "shif")
    broken = SITE | {file: SITE[file].replace(right, wrong)}
    found = check_site.faults(site(tmp_path, broken), ["aten::a"], ["shiftcheck.shift"])
    assert found == [fault]
