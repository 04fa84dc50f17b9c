"""Where a traceback of a property test points: to the line of the user's function."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from shiftcheck.strategies.users_line import in_the_line_of


def wrapped(function: Any) -> Any:
    return in_the_line_of(function, lambda: ValueError("found"))


@wrapped
def single() -> None:
    """One decorator."""


@wrapped
@wrapped
def double() -> None:
    """Two of them."""


def test_the_line_is_that_of_the_definition() -> None:
    for function in (single, double):
        with pytest.raises(ValueError, match="found") as caught:
            function()
        *_, here, last = traceback.extract_tb(caught.value.__traceback__)
        assert (here.filename, here.name) == (__file__, "test_the_line_is_that_of_the_definition")
        assert last.filename == __file__
        assert last.name == function.__name__
        assert last.line == f"def {function.__name__}() -> None:"
        assert function.__doc__ in ("One decorator.", "Two of them.")


def test_nothing_is_raised_where_there_is_no_error() -> None:
    assert in_the_line_of(single, lambda: None)() is None  # type: ignore[func-returns-value]


def test_a_function_without_a_source_has_its_first_line() -> None:
    names: dict[str, Any] = {}
    exec(compile("\n\ndef made():\n    pass", "<nowhere>", "exec"), names)
    with pytest.raises(ValueError, match="found") as caught:
        wrapped(names["made"])()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno, last.name) == ("<nowhere>", 3, "made")
