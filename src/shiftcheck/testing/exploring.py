"""Inside a test of hypothesis: which of its many runs is the one that a person reads of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property


def is_exploring() -> bool:
    """Whether hypothesis is looking for an example, and will run the simplest one once more."""
    control = sys.modules.get("hypothesis.control")
    if control is None or not control.currently_in_test_context():
        return False
    return not getattr(control.current_build_context(), "is_final", True)


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
