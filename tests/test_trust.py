"""The page of trust names tests that there are, and its numbers are those that were counted."""

from __future__ import annotations

import ast
import importlib
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
from tests.test_site import DOCS, load

ROOT = DOCS.parent
trust = importlib.import_module("benchmarks.trust")
counts = load("counts")
PAGE = (DOCS / "trust.md").read_text(encoding="utf-8")
STORED = json.loads(trust.STORED.read_text(encoding="utf-8"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions(path: str) -> set[str]:
    """The tests in a file, as pytest would find them."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {name for name in defined if name.startswith("test_")}


def section(title: str) -> str:
    """What stands under a heading of the page, with the headings below it."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


WAYS = re.split(r"^- ", section("How a pass could still be wrong"), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: re.findall(r"\*\*(.+?)\*\*", way, re.S)[0])
def test_every_way_to_be_wrong_is_watched_by_tests_that_there_are(way: str) -> None:
    watched = NAMED.findall(way.split("Watched by", 1)[1])
    assert watched
    for path, name in watched:
        assert name in functions(path), f"{path} has no {name}"


def test_the_list_is_no_shorter_than_it_was() -> None:
    assert len(WAYS) >= 20
    for path in re.findall(r"`(tests/[^`:]+|benchmarks/[^`]+)`", PAGE):
        assert (ROOT / path).exists(), path


def test_what_was_counted_is_what_there_is() -> None:
    assert list(STORED) == [family.key for family in trust.FAMILIES if family.key in STORED]
    for family in trust.FAMILIES:
        for test in family.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists()
            assert not name or name in functions(path), test


def test_the_page_shows_what_was_counted() -> None:
    text = counts.filled(PAGE)
    for family in trust.FAMILIES:
        row = f"| {family.name} | {family.against} | "
        if family.key not in STORED:
            assert f"{row}not counted yet |" in text
            continue
        count = STORED[family.key]
        assert count["cases"] >= count["tests"] > 0
        assert f"{row}{count['cases']:,}" in text
        if count["untold"]:
            assert f"{count['untold']} of them not told" in text
        assert count["date"] in text
    assert f"{sum(count['cases'] for count in STORED.values()):,} cases in all" in text
    with pytest.raises(ValueError, match="must hold"):
        counts.filled(PAGE.replace(counts.MARK, ""))


LEAST = {"programs": 4000, "oracle": 1000, "probing": 900, "faults": 100, "linear": 700}


@pytest.mark.parametrize("key", LEAST)
def test_there_are_as_many_as_there_were(key: str) -> None:
    if key not in STORED:
        pytest.skip("not counted yet: python benchmarks/trust.py " + key)
    assert STORED[key]["cases"] >= LEAST[key]


XML = """<testsuites><testsuite>
<testcase name="a"><properties><property name="cases" value="20"/>
<property name="untold" value="1"/></properties></testcase>
<testcase name="b"/><testcase name="c"><skipped/></testcase>
</testsuite></testsuites>"""


def test_cases_are_counted_and_failures_count_for_nothing() -> None:
    family = trust.Family(key="faults", name="n", against="a", tests=("t",))
    count = trust.counted(family, ET.fromstring(XML), 1.0)
    assert (count.cases, count.untold, count.tests) == (21, 1, 2)
    with pytest.raises(SystemExit, match="b: failure"):
        trust.counted(family, ET.fromstring(XML.replace('"b"/>', '"b"><failure/></testcase>')), 1.0)
    with pytest.raises(SystemExit, match="no test was run"):
        trust.counted(family, ET.fromstring("<testsuites/>"), 1.0)


def test_counts_are_stored_with_what_they_were_made_on(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(STORED), encoding="utf-8")
    family = trust.Family(key="faults", name="n", against="a", tests=("t",))
    trust.save(trust.counted(family, ET.fromstring(XML), 1.0), sweep=True, path=path)
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert list(stored) == list(STORED)
    assert {k: v for k, v in stored.items() if k != "faults"} == {
        k: v for k, v in STORED.items() if k != "faults"
    }
    assert stored["faults"]["cases"] == 21
    assert {"date", "torch", "python", "processor", "sweep"} <= stored["faults"].keys()
    assert "21, 1 of them not told" in counts.as_markdown(stored)
