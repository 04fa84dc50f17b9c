"""Checks take turns: what they set is of the whole process, or of a model that others share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Turn:
    """A lock of the process, and a new one in a process that was forked from it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Forget who held the lock: that thread is not in the new process."""
        self.lock = threading.RLock()


_turn = _Turn()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for the checks of other threads; a check inside a check does not wait for itself."""
    lock = _turn.lock
    with lock:
        yield
