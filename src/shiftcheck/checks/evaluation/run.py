"""The items of a set of data, block after block: shared, kept from time to time, and merged."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.checks.evaluation.accumulators import State, merged
from shiftcheck.checks.evaluation.asked import Asked
from shiftcheck.checks.evaluation.batches import Block, Data
from shiftcheck.checks.evaluation.checkpoint import Checkpoint, Saved
from shiftcheck.checks.evaluation.measuring_items import Measuring
from shiftcheck.checks.evaluation.shards import Processes
from shiftcheck.checks.tiles.bar import Bar
from shiftcheck.errors import InputError
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved

TOGETHER = 16
"""So many blocks are merged at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What is measured, of which data, by whom; ``every``: seconds between two checkpoints."""

    asked: Asked
    data: Data
    processes: Processes
    checkpoint: Checkpoint | None
    every: float
    progress: bool | None


def measured(run: Run, key: str) -> State:
    """What all processes found of all items; raises where one of them is lost."""
    others = run.processes
    try:
        others.agree(key)
        state = _Going(run).go()
        everything = merged(others.gather(state))
    except BaseException as error:
        others.fail(error)
        raise
    if run.checkpoint is not None:
        run.checkpoint.delete()
    others.part()
    return everything


class _Going:
    """How far this process has come."""

    def __init__(self, run: Run) -> None:
        self.run = run
        saved = run.checkpoint.read() if run.checkpoint else Saved(keys={})
        self.done, self.state, self.seen = saved.done, saved.state, saved.seen
        self.parts: list[State] = []
        self.kept = time.monotonic()

    def go(self) -> State:
        """All blocks that are left."""
        asked, processes = self.run.asked, self.run.processes
        modules = modules_of(asked.model)
        shown = self.run.progress if processes.rank == 0 else False
        try:
            with (
                preserved(modules, (), training=asked.training, model=asked.model) as originals,
                Bar(self._left(), shown=shown, what="items") as bar,
            ):
                measuring = Measuring(asked, originals, processes.beat)
                for block in self._blocks():
                    self.parts.append(measuring.block(block))
                    self.done += 1
                    bar.advance(len(block.items), self._told if bar.wanted else None)
                    self._keep_if_due()
                if not self._folded().items:
                    measuring.give_up()
        except BaseException:
            self._keep()
            raise
        if processes.size > 1:  # the others may take long
            self._keep()
        return self._folded()

    def _left(self) -> int | None:
        """How many items are left, as far as that is known."""
        data = self.run.data
        if data.numbers is None or data.blocks is None:
            return None if data.length is None else data.length - self.state.items
        blocks = self.run.processes.share(data.blocks)[self.done :]
        return min(len(blocks) * data.batch_size, len(data.numbers))

    def _blocks(self) -> Iterator[Block]:
        data, processes = self.run.data, self.run.processes
        if data.blocks is not None:
            yield from data.take(processes.share(data.blocks)[self.done :])
        else:
            yield from self._of_stream(data.take(()))

    def _of_stream(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks that come after those that are done, which have to be the same again."""
        before, number = "", -1
        for number, block in enumerate(blocks):
            before = _marked(before, block)
            if number + 1 == self.done and before != self.seen:
                raise InputError(
                    f"checkpoint: the loader gives other items than before, within its first"
                    f" {self.done} batches: give one that keeps its order, or delete the file"
                )
            if number >= self.done:
                yield block
                self.seen = before
        if number + 1 < self.done:
            raise InputError(
                f"checkpoint: the loader gives {number + 1} batches, and {self.done} are done:"
                " give the same again, or delete the file"
            )

    def _folded(self) -> State:
        if self.parts:
            self.state, self.parts = merged([self.state, *self.parts]), []
        return self.state

    def _told(self) -> str:
        """The figures so far."""
        means = [
            f"{t.what} {t.pairs.total.over(t.pairs.count):.2e}"
            for t in self._folded().tallies
            if t.pairs.count
        ]
        corrupt = [f"{self.state.corrupt} corrupt"] if self.state.corrupt else []
        return ", ".join([*means[:3], *corrupt])

    def _keep_if_due(self) -> None:
        self.run.processes.beat()
        if len(self.parts) >= TOGETHER:
            self._folded()
        if time.monotonic() - self.kept >= self.run.every:
            self._keep()

    def _keep(self) -> None:
        if self.run.checkpoint is None:
            return
        self.kept = time.monotonic()
        keys = self.run.checkpoint.keys
        saved = Saved(keys=keys, done=self.done, state=self._folded(), seen=self.seen)
        self.run.checkpoint.write(saved)


def _marked(before: str, block: Block) -> str:
    """What tells the items up to a block from others, by the first item of each block."""
    mark = hashlib.sha256(f"{before} {len(block.items)}".encode())
    for _, leaf in leaves_of(block.items[0].value) if block.items else ():
        mark.update(_bytes(leaf))
    return mark.hexdigest()


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach().cpu().contiguous()
        return leaf.reshape(-1).view(torch.uint8).numpy().tobytes() if leaf.numel() else b""
    return repr(leaf).encode()
