"""Assertions inside of hypothesis: many runs of a test, of which a person reads the last one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import Phase, given
from hypothesis import strategies as st

import _shiftcheck_listeners as listening
import shiftcheck
from shiftcheck import NotEquivariantError, Verdict
from shiftcheck.report import render
from shiftcheck.testing.exploring import Later, Unwatched, is_exploring

X = torch.randn(1, 1, 12, 14, generator=torch.Generator().manual_seed(0))
SOME = hypothesis.settings(max_examples=10, database=None, derandomize=True, deadline=None)
EXPLAINED = hypothesis.settings(SOME, phases=tuple(Phase))


def ramp(x: torch.Tensor) -> torch.Tensor:
    return x + torch.arange(x.shape[-1])


@pytest.fixture
def told() -> Iterator[list[listening.Outcome]]:
    outcomes: list[listening.Outcome] = []
    listening.listeners.append(outcomes.append)
    yield outcomes
    listening.listeners.remove(outcomes.append)


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    reports: list[Any] = []
    explain = render.explain
    monkeypatch.setattr(render, "explain", lambda r: reports.append(r) or explain(r))
    return reports


def fails(settings: hypothesis.settings = SOME) -> NotEquivariantError:
    @settings
    @given(st.integers(0, 100))
    def look(n: int) -> None:
        if n >= 7:
            shiftcheck.assert_equivariant(ramp, X + n, shifts=[(0, 1)])

    with pytest.raises(NotEquivariantError) as caught:
        look()
    return caught.value


def test_only_the_simplest_example_is_explained_and_told_of(
    told: list[listening.Outcome], explained: list[Any]
) -> None:
    error = fails()
    assert "first guilty layer" in str(error)
    assert "n=7" in "\n".join(error.__notes__)
    assert len(explained) <= 2  # hypothesis writes out what it expects to see again
    assert [outcome.report.verdict for outcome in told] == [Verdict.BROKEN]


def test_examples_that_pass_are_told_of(told: list[listening.Outcome]) -> None:
    @SOME
    @given(st.integers(0, 100))
    def look(n: int) -> None:
        shiftcheck.assert_equivariant(torch.relu, X + n, shifts=[(0, 1)])

    look()
    assert len(told) >= 10
    assert {outcome.report.verdict for outcome in told} == {Verdict.EQUIVARIANT}


def test_whoever_catches_an_error_on_the_way_reads_all_of_it() -> None:
    seen: list[bool] = []

    @SOME
    @given(st.integers(0, 3))
    def look(n: int) -> None:
        seen.append(is_exploring())
        with pytest.raises(
            NotEquivariantError, match=r"cause POSITION(?s:.*)reproduce: "
        ) as caught:
            shiftcheck.assert_equivariant(ramp, X, shifts=[(0, 1)])
        assert repr(caught.value) == f"NotEquivariantError({str(caught.value)!r})"

    look()
    assert all(seen)
    assert not is_exploring()


def test_the_last_run_is_no_exploring() -> None:
    seen: list[bool] = []

    @SOME
    @given(st.integers(0, 3))
    def look(n: int) -> None:
        seen.append(is_exploring())
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        look()
    assert seen[0]
    assert not seen[-1]


def test_hypothesis_points_at_no_line_of_the_library() -> None:
    notes = "\n".join(fails(EXPLAINED).__notes__)
    assert str(Path(shiftcheck.__file__).parent) not in notes
    assert "Explanation:" not in notes or "test_exploring.py" in notes


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="lines are told of in another way")
def test_who_else_is_told_of_lines_stays_so() -> None:
    def tracer(frame: Any, event: str, arg: Any) -> Any:
        return None

    before = sys.gettrace()
    try:
        for module, kept in (("coverage.tracer", True), ("hypothesis.internal", False)):
            tracer.__module__ = module
            sys.settrace(tracer)
            with Unwatched():
                assert (sys.gettrace() is tracer) is kept
            assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


def test_lines_are_not_told_of_by_number_either(monkeypatch: pytest.MonkeyPatch) -> None:
    events = {1: 5, 3: 7}
    tools = {1: "coverage", 3: "scrutineer"}
    monitoring = SimpleNamespace(
        get_tool=tools.get, get_events=events.get, set_events=events.__setitem__
    )
    monkeypatch.setattr(sys, "monitoring", monitoring, raising=False)
    with pytest.raises(ValueError), Unwatched():  # noqa: PT011, PT012
        assert events == {1: 5, 3: 0}
        raise ValueError
    assert events == {1: 5, 3: 7}


def test_a_message_is_made_once_and_only_if_it_is_read() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "off by one"

    error = NotEquivariantError(Later(make))
    assert not made
    assert str(error) == str(error) == "off by one"
    assert made == [1]
