"""The page of the costs is the one that the benchmark writes from the results that are stored."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


costs, measure = module("costs"), module("measure")
STORED = measure.Results.load(costs.STORED)


def test_the_page_shows_what_is_stored() -> None:
    assert costs.PAGE.read_text(encoding="utf-8") == costs.page(STORED)


def test_the_readme_shows_what_is_stored() -> None:
    text = costs.README.read_text(encoding="utf-8")
    assert text == costs.readme(STORED, text)
    assert text.count("times |") == 10


def test_what_is_stored_covers_the_page() -> None:
    assert {figure.group for figure in STORED.figures} == set(costs.TITLES)
    assert STORED.rounds >= 5
    assert STORED.processor
    assert all(f.runs >= 5 for f in STORED.figures if f.seconds is not None)


def figure(value: float, bound: float | None = 1.4, unit: str = "times the bare pass") -> object:
    return measure.Figure(
        group="passing", network="net", what="report", value=value, unit=unit, bound=bound
    )


@pytest.mark.parametrize(("value", "bound", "missed"), [(1.5, 1.4, True), (1.4, 1.4, False),
                                                        (9.0, None, False)])  # fmt: skip
def test_a_bound_is_missed_above_it(value: float, bound: float | None, missed: bool) -> None:
    results = replace(STORED, figures=(figure(value, bound),))
    assert results.missed == (["net: report"] if missed else [])
    assert ("missed**" in costs.page(results)) is missed
    assert ("- net: report" in costs.page(results)) is missed


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    STORED.save(path)
    assert measure.Results.load(path) == STORED
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert {"processor", "threads", "torch", "date", "clock", "figures"} <= set(entries)
    assert {"value", "bound", "missed", "seconds"} <= set(entries["figures"][0])


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0204, "s", "20.4 ms"),
        (0.996, "s", "1.00 s"),
        (12.345, "s", "12.35 s"),
        (1.234, "times the bare pass", "1.23 times"),
        (73.4, "MB", "73 MB"),
    ],
)
def test_values_bear_their_unit(value: float, unit: str, shown: str) -> None:
    assert costs.value_of(figure(value, None, unit)) == shown


def test_works_take_turns_after_a_round_that_is_not_timed() -> None:
    done: list[str] = []
    now = iter(range(100))
    works = {name: lambda name=name: done.append(name) for name in "abc"}
    took = measure.in_turn(works, 2, lambda: float(next(now)))
    assert "".join(done) == "abc" * 3
    assert took == {name: [1.0, 1.0] for name in "abc"}


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    assert measure.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


@pytest.mark.parametrize("strict", [False, True])
def test_the_command_fails_for_a_missed_bound_only_if_asked_to(
    strict: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("hypothesis")
    bench, path = module("bench"), tmp_path / "costs.json"
    replace(STORED, figures=(figure(2.0),)).save(path)
    monkeypatch.setattr(costs, "STORED", path)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--stored", *(["--strict"] if strict else [])])
    if strict:
        with pytest.raises(SystemExit) as ended:
            bench.main()
        assert ended.value.code == 1
    else:
        bench.main()
