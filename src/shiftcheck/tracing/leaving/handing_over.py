"""Work that a thread hands to another one, where nothing is followed."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.pool import Pool
from typing import Any

WAYS: tuple[tuple[type, str], ...] = (
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (queue.Queue, "put"),
    (Pool, "apply_async"),
    (Pool, "_map_async"),
    (Pool, "imap"),
    (Pool, "imap_unordered"),
)
"""How work reaches a thread that is new, or one that waits for it."""

_lock = threading.Lock()
_plain: dict[tuple[type, str], Any] = {}
_notices: list[tuple[int, Callable[[], None]]] = []


@contextmanager
def noticing(notice: Callable[[], None]) -> Iterator[None]:
    """Call ``notice`` whenever this thread hands work to another one."""
    entry = (threading.get_ident(), notice)
    with _lock:
        if not _notices:
            _watch()
        _notices.append(entry)
    try:
        yield
    finally:
        with _lock:
            _notices.remove(entry)
            if not _notices:
                _leave()


def _watch() -> None:
    for owner, name in WAYS:
        _plain[owner, name] = vars(owner)[name]
        setattr(owner, name, _noticed(_plain[owner, name]))


def _leave() -> None:
    for (owner, name), plain in _plain.items():
        setattr(owner, name, plain)
    _plain.clear()


def _noticed(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def handed(*args: Any, **kwargs: Any) -> Any:
        for thread, notice in list(_notices):
            if thread == threading.get_ident():
                notice()
        return plain(*args, **kwargs)

    return handed
