"""A progress bar over tiles or items, which shows itself on runs that take some seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Self

PATIENCE = 2.0
"""Seconds after which a bar is shown."""

PAUSE = 1.0
"""Seconds between two notes of how far a run has come."""


class Bar:
    """Counts tiles, or ``what`` else; ``shown``: always, never, or (None) on a terminal when long.

    ``total``: how many there are, None where that is not known.
    """

    def __init__(self, total: int | None, *, shown: bool | None, what: str = "tiles") -> None:
        self.total, self.done, self.what = total, 0, what
        self.wanted = sys.stderr.isatty() if shown is None else shown
        self.patience = 0.0 if shown else PATIENCE
        self.began = self.noted = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, by: int = 1, told: Callable[[], str] | None = None) -> bool:
        """A tile is done; whether it is time to note how far the run has come.

        ``told``: gives what is shown beside the bar from time to time.
        """
        self.done += by
        now = time.monotonic()
        if self.wanted and self.bar is None and now - self.began >= self.patience:
            self._show()
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done)
        if now - self.noted < PAUSE:
            return False
        self.noted = now
        if self.bar is not None and told is not None:
            self.bar.update(self.task, description=f"{self.what}: {told()}")
        return True

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Left

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task(self.what, total=self.total)
        self.bar.start()
