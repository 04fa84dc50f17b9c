"""A bar that shows how far a run is, where one was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def tracked(items: Sequence[Item], progress: bool) -> Sequence[Item]:
    """The same items, and a progress bar while they are gone through."""
    if not progress:
        return items
    from rich.progress import track

    return track(items, description="shifts")  # type: ignore[return-value]
