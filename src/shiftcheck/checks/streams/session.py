"""Runs of a step over a signal in chunks, each from the state in which it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.streams.calling import Running, Stepping, tensors_of
from shiftcheck.errors import ModelError, ShiftcheckError
from shiftcheck.measuring.model_errors import RaisedError
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.writes import WatchedWrites

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Channel:
    """An output that is followed: its dimension of time, and what it is on the whole.

    ``number``: among those that are followed; ``place``: among all that the model returns, of
    which there are ``every``.
    """

    name: str
    number: int
    place: int
    every: int
    dim: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, kw_only=True, eq=False)
class Streamed:
    """What a step gave for one sequence.

    ``lengths``: of the chunks, in samples of the input. ``pieces``: for each output what each call
    gave, the flush last where there is one. ``error``: what the step raised at the chunk after
    those. ``written``: the first chunk to which the step wrote; ``shared``: the first whose output
    changed afterwards. ``carries``: whether it takes a state and hands it on.
    """

    lengths: tuple[int, ...]
    pieces: tuple[tuple[torch.Tensor, ...], ...]
    flushed: bool = False
    error: Exception | None = None
    written: int | None = None
    shared: int | None = None
    carries: bool = False

    def counts(self, channel: Channel) -> list[int]:
        """How many samples each call gave."""
        return [piece.shape[channel.dim] for piece in self.pieces[channel.number]]

    def whole(self, channel: Channel) -> torch.Tensor:
        """All that came, put together along time."""
        pieces = self.pieces[channel.number]
        return torch.cat(pieces, channel.dim) if pieces else torch.empty(0, device="cpu")


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """Where a step is held against a model: both, the arguments, and which axis is time."""

    model: Model
    stepping: Stepping
    inputs: Inputs
    axis: int
    channels: tuple[Channel, ...] = ()
    arrays: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The samples of the signal along time."""
        return self.inputs.pixels[self.axis]

    @property
    def dim(self) -> int:
        """The dimension of the input that is time."""
        return self.inputs.main.spatial[self.axis]

    @contextmanager
    def quiet(self, *, gradients: bool = False) -> Iterator[None]:
        """Everything in eval mode and put back afterwards, whatever happens."""
        roots = (self.model, *self.stepping.parts)
        modules = {id(m): m for root in roots for m in modules_of(root)}
        tensors = self.inputs.tensors
        with preserved(list(modules.values()), tensors, training=False, model=roots) as originals:
            watched = WatchedWrites(originals.before_write)
            with torch.set_grad_enabled(gradients), not_compiled(), watched:
                yield
        self.left.extend(n for n in originals.left if n not in self.left)

    def values(self, main: torch.Tensor | None = None) -> list[Any]:
        """The arguments, copied; ``main``: another signal in the place of the given one."""

        def value(leaf: Any) -> Any:
            if not isinstance(leaf, Leaf):
                return leaf
            tensor = main if main is not None and leaf is self.inputs.main else leaf.tensor
            return leaf.dressed(tensor.detach().clone())

        return [value(leaf) for leaf in self.inputs.leaves]

    def on_the_whole(self, main: torch.Tensor | None = None) -> list[tuple[str, torch.Tensor]]:
        """The tensors that the model returns on all of the signal, with their paths."""
        args, kwargs = self.inputs.call(self.values(main))
        try:
            with self.quiet():
                returned = self.model(*args, **kwargs)
        except ShiftcheckError:
            raise
        except Exception as error:
            raise RaisedError(error, Plan(model=self.model, inputs=self.inputs)) from error
        leaves = [(path, tensors_of(leaf)) for path, leaf in flat_outputs(returned)]
        return [(path, found[0].detach().clone()) for path, found in leaves if found]

    def chunk(self, values: Sequence[Any], start: int, stop: int) -> list[Any]:
        """The arguments from one sample to another; what has no time is given as it is."""

        def cut(leaf: Any, value: Any) -> Any:
            if not isinstance(leaf, Leaf) or leaf.role != "shifted":
                return value
            dim = leaf.spatial[self.axis]
            size = leaf.tensor.shape[dim]
            if size == 1 != self.length:
                return value
            first, last = (n * size // self.length for n in (start, stop))
            return value.narrow(dim, first, last - first)

        return [cut(leaf, value) for leaf, value in zip(self.inputs.leaves, values, strict=True)]

    def running(self) -> Running:
        """The step at the beginning of a sequence."""
        return Running(
            self.stepping,
            arguments=len(self.inputs.call(self.values())[0]),
            outputs=len(self.channels),
            arrays=self.arrays,
        )

    def stream(
        self,
        lengths: Sequence[int],
        main: torch.Tensor | None = None,
        *,
        before: torch.Tensor | None = None,
        ends: bool = True,
    ) -> Streamed:
        """Run the step over the signal, and flush it where the signal ends.

        ``before``: another signal that goes through it first.
        """
        with self.quiet(), ExitStack() as stack:
            running = self.running()
            if self.stepping.make_step is not None:
                made = modules_of(running.step)
                stack.enter_context(preserved(made, (), training=False, model=running.step))
            if before is not None:
                _gone_through(self, running, lengths, before)
                if self.stepping.make_step is not None:
                    running = self.running()
                    made = modules_of(running.step)
                    stack.enter_context(preserved(made, (), training=False, model=running.step))
                else:
                    running.begin(self.stepping.state)
            return _Sequence(self, running, lengths, main).go(ends=ends)


def _gone_through(stage: Stage, running: Running, lengths: Sequence[int], main: Any) -> None:
    """Have another sequence go through a step, not to its end."""
    values, start = stage.values(main), 0
    for length in lengths[: max(1, len(lengths) // 2)]:
        args, kwargs = stage.inputs.call(stage.chunk(values, start, start + length))
        running.go(args, kwargs)
        start += length


class _Sequence:
    """One sequence: what came so far."""

    def __init__(
        self, stage: Stage, running: Running, lengths: Sequence[int], main: torch.Tensor | None
    ) -> None:
        self.stage, self.running, self.lengths = stage, running, tuple(lengths)
        self.given = stage.values(main)
        self.pieces: list[list[torch.Tensor]] = [[] for _ in stage.channels]
        self.held: list[list[torch.Tensor]] = []
        self.written: int | None = None

    def go(self, *, ends: bool) -> Streamed:
        """All chunks, and the flush."""
        start, done, error, flushed = 0, 0, None, False
        for number, length in enumerate(self.lengths):
            try:
                self._chunk(number, start, start + length)
            except ShiftcheckError:
                raise
            except Exception as raised:  # whatever a step may raise
                error = raised
                break
            start, done = start + length, done + 1
        if error is None and ends:
            flushed = self._flush()
        return Streamed(
            lengths=self.lengths[:done],
            pieces=tuple(tuple(pieces) for pieces in self.pieces),
            flushed=flushed,
            error=error,
            written=self.written,
            shared=self._shared(),
            carries=bool(self.running.carries),
        )

    def _chunk(self, number: int, start: int, stop: int) -> None:
        values = self.stage.chunk(self.given, start, stop)
        chunk = [v.clone() if isinstance(v, torch.Tensor) else v for v in values]
        args, kwargs = self.stage.inputs.call(chunk)
        returned = self.running.go(args, kwargs)
        pairs = zip(chunk, values, strict=True)
        tensors = [(a, b) for a, b in pairs if isinstance(a, torch.Tensor)]
        if self.written is None and not all(torch.equal(a, b) for a, b in tensors):
            self.written = number
        self._keep(returned, f"for chunk {number}")

    def _flush(self) -> bool:
        try:
            returned = self.running.flush()
        except ShiftcheckError:
            raise
        except Exception as error:
            raise ModelError(f"flush raised {type(error).__name__}: {error}") from error
        if returned is not None:
            self._keep(returned, "from flush")
        return returned is not None

    def _keep(self, returned: Any, what: str) -> None:
        found = _chosen(returned, self.stage.channels, what)
        self.held.append(found)
        for pieces, tensor in zip(self.pieces, found, strict=True):
            pieces.append(tensor.detach().clone())

    def _shared(self) -> int | None:
        """The first call of which the output is another one now than it was."""
        for number, held in enumerate(self.held):
            now = zip(held, (pieces[number] for pieces in self.pieces), strict=True)
            if not all(_same(a, b) for a, b in now):
                return number
        return None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(
        ((one == other) | ((one != one) & (other != other))).all()
    )


def _chosen(returned: Any, channels: Sequence[Channel], what: str) -> list[torch.Tensor]:
    """The outputs that are followed, checked; raises ModelError for what cannot be one."""
    if returned is None:
        return [_nothing(channel) for channel in channels]
    found = tensors_of(returned)
    if len(found) != len(channels) and len(found) == channels[0].every:
        found = [found[c.place] for c in channels]
    if len(found) != len(channels):
        many = f"{len(found)} tensors" if found else f"a {type(returned).__name__} without tensors"
        raise ModelError(
            f"the step returned {many} {what}, and the model gives {len(channels)} along time:"
            " return what the model returns, as tensors; where it hands a state on, return"
            " (outputs, state)"
        )
    for channel, tensor in zip(channels, found, strict=True):
        _check_shape(channel, tensor, what)
    return found


def _nothing(channel: Channel) -> torch.Tensor:
    """What a step gives that returned None: no sample yet."""
    shape = [0 if d == channel.dim else n for d, n in enumerate(channel.shape)]
    return torch.empty(shape, dtype=channel.dtype, device=channel.device)


def _check_shape(channel: Channel, tensor: torch.Tensor, what: str) -> None:
    shape, wanted = tuple(tensor.shape), channel.shape
    alike = len(shape) == len(wanted) and all(
        n == m for d, (n, m) in enumerate(zip(shape, wanted, strict=True)) if d != channel.dim
    )
    if not alike:
        free = ", ".join("time" if d == channel.dim else str(n) for d, n in enumerate(wanted))
        raise ModelError(
            f"the step returned a tensor of shape {shape} {what}: the {channel.name} of the model"
            f" has shape {wanted}, so return [{free}]"
        )
