"""Several processes that share an evaluation: who does what, who is still there, and the merging.

Each tells in the store of torch.distributed that it is alive, and at the end what it found. So a
process that is gone is noticed by all others, whatever the backend, and slow ones are waited for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch.distributed as dist

from shiftcheck.checks.evaluation.accumulators import State
from shiftcheck.errors import InputError, ProcessLostError
from shiftcheck.report.serialization import from_strict_json, to_strict_json
from shiftcheck.tracing.torch_internals import default_store

PAUSE = 1.0
"""Seconds between two signs of life, and between two looks at those of the others."""

POLL = 0.05
"""Seconds between two looks while nothing else is to be done."""

FAREWELL = 10.0
"""Seconds that a process waits at most for the others to have read what it found."""


class Store(Protocol):
    """What is used of a store of torch.distributed."""

    def set(self, key: str, value: str) -> None:
        """Write a value."""

    def get(self, key: str) -> bytes:
        """Read a value that is there."""

    def check(self, keys: list[str]) -> bool:
        """Whether all of these are there."""

    def add(self, key: str, amount: int) -> int:
        """Add to a number, and give it."""


class Processes:
    """One of several processes; of one alone, nothing is told to anybody."""

    def __init__(self, rank: int, size: int, store: Store | None, timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.store: Any = store
        self.beats, self.told = 0, 0.0
        self.known: dict[int, tuple[bytes, float]] = {}
        self.call = 0 if self.store is None else self.store.add(f"shiftcheck/{rank}/calls", 1)

    def share(self, blocks: int) -> range:
        """The blocks of this process: every so-many-th."""
        return range(self.rank, blocks, self.size)

    def agree(self, key: str) -> None:
        """Wait for all, and raise InputError where one of them evaluates something else."""
        if self.store is None:
            return
        self._tell("key", key)
        keys = self._all("key", lambda text: text)
        others = [rank for rank, other in enumerate(keys) if other != key]
        if others:
            raise InputError(
                f"process {self.rank} of {self.size} evaluates another model, question or data than"
                f" {_named(others)}: give all of them the same"
            )

    def beat(self) -> None:
        """Tell that this process is alive, and look after the others, if it is time."""
        now = time.monotonic()
        if self.store is None or now - self.told < PAUSE:
            return
        self.told = now
        self.beats += 1
        self._guarded(lambda: self._tell("beat", str(self.beats)))
        self._look(range(self.size))

    def fail(self, error: BaseException) -> None:
        """Tell the others that this process ends here."""
        if self.store is None or isinstance(error, ProcessLostError):
            return
        try:
            self._tell("failed", f"{type(error).__name__}: {error}")
        except RuntimeError:  # nobody is there to be told
            return

    def gather(self, state: State) -> list[State]:
        """What each of the processes found, in their order."""
        if self.store is None:
            return [state]
        self._tell("state", to_strict_json(state, None))
        found = self._all("state", lambda text: from_strict_json(State, text, "state"))
        self._guarded(lambda: self._tell("read", ""))
        return found

    def part(self) -> None:
        """Wait a little until the others have read, too: the store may end with this process."""
        until = time.monotonic() + FAREWELL
        keys = [self._key("read", rank) for rank in range(self.size)]
        try:
            while self.store is not None and time.monotonic() < until:
                if self.store.check(keys):
                    return
                time.sleep(POLL)
        except RuntimeError:  # the store has ended: who holds it waited for this process
            return

    def _key(self, name: str, rank: int) -> str:
        return f"shiftcheck/{self.call}/{rank}/{name}"

    def _tell(self, name: str, text: str) -> None:
        self.store.set(self._key(name, self.rank), text)

    def _all(self, name: str, read: Callable[[str], Any]) -> list[Any]:
        """What all of them told, once they have."""
        waiting = list(range(self.size))
        while waiting:
            waiting = [r for r in waiting if not self._there(name, r)]
            if waiting:
                self.beat()
                self._look(waiting)
                time.sleep(POLL)
        keys = [self._key(name, rank) for rank in range(self.size)]
        return [read(self._guarded(lambda key=key: self.store.get(key)).decode()) for key in keys]  # type: ignore[misc]

    def _there(self, name: str, rank: int) -> bool:
        return bool(self._guarded(lambda: self.store.check([self._key(name, rank)])))

    def _look(self, ranks: Sequence[int]) -> None:
        """Raise ProcessLostError where one of these has failed, or is silent for too long."""
        now = time.monotonic()
        for rank in ranks:
            if rank == self.rank:
                continue
            if self._there("failed", rank):
                text = self._guarded(lambda r=rank: self.store.get(self._key("failed", r)))  # type: ignore[misc]
                raise ProcessLostError(
                    f"process {rank} of {self.size} failed: {text.decode()}{AGAIN}"
                )
            if self._there("state", rank):
                continue
            beat = b""
            if self._there("beat", rank):
                beat = self._guarded(lambda r=rank: self.store.get(self._key("beat", r)))  # type: ignore[misc]
            before = self.known.get(rank)
            if before is None or before[0] != beat:
                self.known[rank] = beat, now
            elif now - before[1] > self.timeout:
                raise ProcessLostError(
                    f"process {rank} of {self.size} has given no sign of life for"
                    f" {self.timeout:g} seconds (timeout={self.timeout:g}){AGAIN}"
                )

    def _guarded(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except RuntimeError as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ProcessLostError(
                f"the store of torch.distributed is gone, and with it the process that held it"
                f" ({first}){AGAIN}"
            ) from error


AGAIN = "; start all processes again: with checkpoint=, they go on where they were"


def _named(ranks: Sequence[int]) -> str:
    return f"process {ranks[0]}" if len(ranks) == 1 else f"processes {', '.join(map(str, ranks))}"


def processes(distributed: bool | None, timeout: float) -> Processes:
    """All that torch.distributed knows of, or this one alone.

    Raises InputError where a launcher started several, and they do not know of each other.
    """
    ready = dist.is_available() and dist.is_initialized()
    if distributed is False or (not ready and distributed is None and _launched() < 2):
        return Processes(0, 1, None, timeout)
    if not ready:
        raise InputError(
            f"distributed={distributed!r}: torch.distributed is not initialised, and there are"
            f" {_launched()} processes (WORLD_SIZE): call torch.distributed.init_process_group()"
            " before, or give distributed=False to have each evaluate everything"
        )
    size = dist.get_world_size()
    store = default_store() if size > 1 else None
    return Processes(dist.get_rank(), size, store, timeout)


def _launched() -> int:
    given = os.environ.get("WORLD_SIZE", "1")
    return int(given) if given.isdigit() and "RANK" in os.environ else 1
