"""The runs of a comparison: the model on the whole, and what the user makes of its shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.distributed as dist

from shiftcheck.checks.seams.running import Runner, Values, read_outputs
from shiftcheck.checks.shards.cutting import Cut, cut_of
from shiftcheck.checks.shards.module_calls import Call, recorded
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.signals.arguments import Leaf
from shiftcheck.tracing.containers import with_leaves
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.writes import WatchedWrites

Outputs = dict[str, Values]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ran:
    """What came of all shards: the outputs of each, and the modules that it was seen to call."""

    outputs: tuple[Outputs, ...]
    calls: tuple[Call, ...] | tuple[tuple[Call, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardRuns:
    """Runs the sharded callable: all shards here, or that of this rank with those of the others."""

    runner: Runner
    sharded: Callable[..., Any]
    cut: Cut
    along: int
    distributed: bool

    @property
    def parts(self) -> int:
        """How many shards there are."""
        return len(self.cut) - 1

    def shard(self, number: int) -> Any:
        """A shard of the arguments, of the kind that they have."""
        inputs = self.runner.inputs
        values = [self._part(leaf, number) for leaf in inputs.leaves]
        whole = with_leaves(inputs.structure, values)
        if inputs.kind == "dict":
            return dict(whole)
        return tuple(whole) if inputs.kind == "tuple" else whole

    def _part(self, leaf: Any, number: int) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        tensor = leaf.tensor.detach()
        if leaf.spatial:
            dim = leaf.spatial[self.along]
            size = tensor.shape[dim]
            cut = cut_of(self.cut, Fraction(self.cut[-1], size), size)
            tensor = tensor.narrow(dim, cut[number], cut[number + 1] - cut[number])
        return leaf.dressed(tensor.clone())

    def run(self, *, recording: bool = False) -> Ran:
        """The outputs of every shard, with the calls of modules where these are recorded."""
        model = self.runner.model if recording else None
        if not self.distributed:
            given = [self.shard(i) for i in range(self.parts)]
            with recorded(model, self.sharded) as calls:
                returned = self._called(given)
            return Ran(outputs=tuple(self._each(returned)), calls=tuple(calls))
        failure, own = "", Ran(outputs=(), calls=())
        try:
            with recorded(model, self.sharded) as calls:
                own = Ran(
                    outputs=(read_outputs(self._called(self.shard(dist.get_rank()))),),
                    calls=tuple(calls),
                )
        except ModelError as error:  # the other ranks are told, so that none waits for this one
            failure = str(error)
        return self._gathered(own, failure)

    def _gathered(self, own: Ran, failure: str) -> Ran:
        every: list[Any] = [None] * self.parts
        dist.all_gather_object(every, (own.outputs, own.calls, failure))
        for rank, (_, _, told) in enumerate(every):
            if told:
                raise ModelError(f"rank {rank}: {told}")
        return Ran(
            outputs=tuple(outputs[0] for outputs, _, _ in every),
            calls=tuple(tuple(calls) for _, calls, _ in every),
        )

    def _called(self, given: Any) -> Any:
        gradients = self.runner.inputs.gradients
        watched = WatchedWrites(self.runner.originals.before_write)
        try:
            with torch.set_grad_enabled(gradients), not_compiled(), watched:
                return self.sharded(given)
        except Exception as error:
            raise ModelError(
                f"the sharded callable raised {type(error).__name__}: {error}"
            ) from error

    def _each(self, returned: Any) -> Sequence[Outputs]:
        if not isinstance(returned, list | tuple) or len(returned) != self.parts:
            what = f"{len(returned)} outputs" if isinstance(returned, list | tuple) else "one thing"
            raise ModelError(
                f"the sharded callable returned {what} ({type(returned).__name__}) for"
                f" {self.parts} shards: return a list of as many outputs, in the order of the"
                " shards"
            )
        return [read_outputs(output) for output in returned]


def broadcast(x: Any, parts: Any) -> Any:
    """The arguments of rank 0 where others have none; raises InputError where ranks are amiss."""
    if not (dist.is_available() and dist.is_initialized()):
        raise InputError(
            "distributed=True: no process group is there; call torch.distributed.init_process_group"
            " on every rank first, or leave distributed out to run all shards in one process"
        )
    ranks = dist.get_world_size()
    if parts != ranks:
        raise InputError(f"parts={parts!r}: there are {ranks} ranks, give parts={ranks}")
    lacking: list[Any] = [None] * ranks
    dist.all_gather_object(lacking, x is None)
    if lacking[0]:
        raise InputError("x is None on rank 0: give the whole input there, or on every rank")
    if not any(lacking):
        return x
    held = [x if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(held, src=0)
    return held[0] if x is None else x
