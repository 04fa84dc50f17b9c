"""A bar that shows how far a run is, where one was asked for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def tracked(items: Sequence[Item], progress: bool) -> Sequence[Item]:
    """The same items, and a progress bar while they are gone through."""
    if not progress:
        return items
    from rich.progress import track

    return track(items, description="shifts")  # type: ignore[return-value]


PATIENCE = 2.0
"""Seconds after which a terminal is told that the check goes on."""


@contextmanager
def shown_if_long(*, otherwise_shown: bool) -> Iterator[None]:
    """Tell a terminal that the check goes on, where it does not end soon and no bar says so."""
    if otherwise_shown or not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    waiting = threading.Thread(target=_show_until, args=(ended,), daemon=True)
    waiting.start()
    try:
        yield
    finally:
        ended.set()
        waiting.join()


def _show_until(ended: threading.Event) -> None:
    if ended.wait(PATIENCE):
        return
    from rich.console import Console

    with Console(stderr=True).status("shiftcheck: the check goes on"):
        ended.wait()
