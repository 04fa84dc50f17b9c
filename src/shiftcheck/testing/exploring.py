"""Inside a test of hypothesis: which of its many runs is the one that a person reads of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any


def is_exploring() -> bool:
    """Whether hypothesis is looking for an example, and will run the simplest one once more."""
    control = sys.modules.get("hypothesis.control")
    if control is None or not control.currently_in_test_context():
        return False
    return not getattr(control.current_build_context(), "is_final", True)


class Unwatched:
    """Keeps hypothesis from noting every line that runs inside, as it does to explain a failure.

    None of them is the user's, and noted like that a check takes fifty times as long. This is a
    class, as the lines of contextlib, which everybody runs, would lead hypothesis here.
    """

    def __enter__(self) -> None:
        self._watcher = sys.gettrace()
        if _is_of_hypothesis(self._watcher):
            sys.settrace(None)
        monitoring: Any = getattr(sys, "monitoring", None)
        self._tool = _tool(monitoring)
        if self._tool is not None:
            self._events = monitoring.get_events(self._tool)
            monitoring.set_events(self._tool, 0)

    def __exit__(self, *error: object) -> None:
        if self._tool is not None:
            monitoring: Any = getattr(sys, "monitoring", None)
            monitoring.set_events(self._tool, self._events)
        if _is_of_hypothesis(self._watcher):
            sys.settrace(self._watcher)


def _tool(monitoring: Any) -> int | None:
    """The number under which hypothesis is told of lines, from Python 3.12 on."""
    numbers = range(6) if monitoring is not None else ()
    return next((n for n in numbers if monitoring.get_tool(n) == "scrutineer"), None)


def _is_of_hypothesis(watcher: Any) -> bool:
    """Whether that is who is told of lines, before Python 3.12."""
    return str(getattr(watcher, "__module__", "")).startswith("hypothesis.")


class Later:
    """A message that is made when somebody reads it: of most failing examples, nobody does.

    Example:
        >>> str(Later(lambda: "off by one"))
        'off by one'
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    @cached_property
    def _text(self) -> str:
        return self._make()

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return repr(self._text)
