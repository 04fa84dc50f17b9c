"""Inside a test of hypothesis: which of its many runs is the one that a person reads of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any


def is_exploring() -> bool:
    """Whether hypothesis is looking for an example, and will run the simplest one once more."""
    control = sys.modules.get("hypothesis.control")
    if control is None or not control.currently_in_test_context():
        return False
    return not getattr(control.current_build_context(), "is_final", True)


@contextmanager
def unwatched() -> Iterator[None]:
    """Keep hypothesis from noting every line that runs here, as it does to explain a failure.

    None of them is the user's, and noted like that a check takes fifty times as long.
    """
    monitoring: Any = getattr(sys, "monitoring", None)
    tool, watcher = _tool(monitoring), sys.gettrace()
    events = monitoring.get_events(tool) if tool is not None else 0
    ours = _is_of_hypothesis(watcher)
    if ours:
        sys.settrace(None)
    if events:
        monitoring.set_events(tool, 0)
    try:
        yield
    finally:
        if events:
            monitoring.set_events(tool, events)
        if ours:
            sys.settrace(watcher)


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
