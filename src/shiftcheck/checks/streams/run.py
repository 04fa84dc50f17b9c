"""A model that runs on a stream, window by window, with as much memory however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.prepare import prepared
from shiftcheck.checks.streams.time_axis import time_axis
from shiftcheck.checks.tiles.fingerprint import fingerprint
from shiftcheck.checks.tiles.grid import Grids, first_unlike
from shiftcheck.checks.tiles.structure import Structures
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.streams import StreamingPlan
from shiftcheck.report.tiles import Margins, TiledAxis
from shiftcheck.tracing.containers import with_leaves
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import uncompiled
from shiftcheck.tracing.uncompiled import not_compiled

LONG = 2**14
"""Samples that a window advances by, where nothing is said, unless it reads far beyond them."""

READ = 8
"""A window advances by so many times what it reads beside."""


def streamed(model: Model, plan: StreamingPlan, *, chunk: int | None = None) -> StreamedModel:
    """The model as a callable that runs over a stream of chunks, as a plan says.

    What it yields, put together along time, is what the model returns on the whole, its beginning
    and its end included. It keeps no state in any layer: each window reads again what lies before
    it, so that nothing has to be written for the model, and memory does not grow.

    Args:
        model: the module or callable that the plan was made for; it is run in eval mode, and left
            as it was found.
        plan: what ``streaming`` gave.
        chunk: samples of the input that a window advances by, a multiple of the period; what comes
            may be cut in any way.

    Returns:
        A callable that takes a stream, and yields what the model gives.

    Raises:
        InputError: for a plan of another model, one without a finite look-back, or a chunk off the
            grid.

    Example:
        >>> import torch, shiftcheck
        >>> model, x = torch.nn.Conv1d(1, 1, 7, padding=3), torch.randn(1, 1, 10_000)
        >>> run = shiftcheck.streamed(model, shiftcheck.streaming(model, x), chunk=512)
        >>> y = torch.cat(list(run(x.split(700, -1))), -1)
        >>> torch.allclose(y, model(x), atol=1e-6)
        True
    """
    model = uncompiled(model)
    if not callable(model):
        raise InputError(f"model={model!r} cannot be called: give a module or a function")
    if not isinstance(plan, StreamingPlan):
        raise InputError(
            f"plan={plan!r} is a {type(plan).__name__}: give what shiftcheck.streaming(model, x)"
            " gave"
        )
    if plan.keep is None:
        guilty = ", ".join(f"{n.layer} ({n.memory})" for n in (plan.obstacles or plan.layers))
        raise InputError(
            f"plan has no finite look-back because of {guilty}: no window of the input is enough;"
            " carry the state of each layer in a step of your own, and hold it against the model"
            " with shiftcheck.assert_streamable"
        )
    if fingerprint(model) != plan.fingerprint:
        raise InputError(
            f"plan is for a {plan.model} of other modules or weights than this model: make one with"
            " shiftcheck.streaming(model, x)"
        )
    return StreamedModel(model, plan, chunk)


class StreamedModel:
    """A model that runs on a stream; made by ``streamed``.

    ``chunk``: samples that a window advances by; ``window``: those that it reads.

    Example:
        >>> import torch, shiftcheck
        >>> pool = torch.nn.AvgPool1d(4)
        >>> run = shiftcheck.streamed(pool, shiftcheck.streaming(pool, (1, 1, 1000)), chunk=64)
        >>> [y.shape[-1] for y in run(torch.randn(1, 1, 200).split(50, -1))]
        [16, 16, 16, 2]
    """

    def __init__(self, model: Model, plan: StreamingPlan, chunk: int | None) -> None:
        self.model: Model = model
        self.plan: StreamingPlan = plan
        self.along: TiledAxis
        self.margins: tuple[Margins, ...]
        self.structures: Structures
        self.along, self.margins, self.structures = _grid(model, plan)
        self.axis: int = plan.spatial_dims.index(plan.axis)
        beside = self.along.least
        self.chunk: int = _read_chunk(chunk, self.along.step, max(LONG, READ * beside))
        size = self.chunk + sum(self.along.halo)
        self.window: int = size + (self.along.residue - size) % self.along.step

    def __call__(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """What the model gives for all chunks together, piece by piece.

        Args:
            chunks: tensors or arrays of one shape but for time, in which they may be of any length.

        Raises:
            InputError: for a chunk of another shape than the plan's.
            ModelError: where the model raises, or returns something else than the plan says.
        """
        held: list[torch.Tensor] = []
        size, start, as_arrays = 0, 0, False
        for number, given in enumerate(chunks):
            chunk, as_arrays = self._read(given, number), isinstance(given, np.ndarray)
            held, size = [*held, chunk], size + chunk.shape[self.plan.axis]
            while size >= max(self.window, self.chunk + self.along.least):
                signal = torch.cat(held, self.plan.axis)
                window = signal.narrow(self.plan.axis, 0, self.window)
                yield _shown(self._piece(window, start, last=False), as_arrays)
                rest = signal.narrow(self.plan.axis, self.chunk, size - self.chunk).clone()
                held, size, start = [rest], size - self.chunk, start + self.chunk
        if size:
            self._check_end(start, size)
            yield _shown(self._piece(torch.cat(held, self.plan.axis), start, last=True), as_arrays)

    def _read(self, given: Any, number: int) -> torch.Tensor:
        chunk = torch.from_numpy(given) if isinstance(given, np.ndarray) else given
        wanted, axis = self.plan.input_shape, self.plan.axis
        if not isinstance(chunk, torch.Tensor) or chunk.ndim != len(wanted):
            what = (
                f"has shape {tuple(chunk.shape)}"
                if isinstance(chunk, torch.Tensor)
                else (f"is a {type(given).__name__}")
            )
            raise InputError(
                f"chunks: number {number} {what}: give tensors of {len(wanted)} dimensions, time"
                f" along dimension {axis}"
            )
        other = [d for d, n in enumerate(wanted) if d not in (0, axis) and chunk.shape[d] != n]
        if other:
            raise InputError(
                f"chunks: number {number} has shape {tuple(chunk.shape)}, and the plan is for"
                f" {wanted}: only the batch and time, dimension {axis}, may differ"
            )
        return chunk.detach()

    def _check_end(self, start: int, size: int) -> None:
        """The stream has to end as the whole does: as a longer window does that ends there."""
        if not start:
            return
        sizes = list(self.structures.inputs.pixels)
        found = []
        for length in (size, size + self.along.step * max(1, self.chunk // self.along.step)):
            sizes[self.axis] = length
            found.append(self.structures.at(tuple(sizes)))
        here, there = found
        row = None if None in found else first_unlike(here, there, self.axis, ends=True)  # type: ignore[arg-type]
        if None in found or row is not None:
            name = "the model" if row is None else repr(row.name)
            raise ModelError(
                f"a stream of {start + size} samples: {name} does something else at that length:"
                f" end it at a multiple of {self.along.step}"
            )

    def _piece(self, window: torch.Tensor, start: int, *, last: bool) -> Any:
        """The part of the outputs on a window that no other window gives."""
        returned = self._run(window)
        leaves = flat_outputs(returned)
        tensors = [leaf for _, leaf in leaves if isinstance(leaf, torch.Tensor)]
        if len(tensors) != len(self.margins):
            raise ModelError(
                f"the model returned {len(tensors)} tensors on a window, and the plan says"
                f" {len(self.margins)}: make a plan for this model"
            )
        parts = iter(
            self._cut(tensor, margins, output.dim, start, last=last)
            for tensor, margins, output in zip(
                tensors, self.margins, self.plan.outputs, strict=True
            )
        )
        new = [next(parts) if isinstance(leaf, torch.Tensor) else leaf for _, leaf in leaves]
        return new[0] if isinstance(returned, torch.Tensor) else with_leaves(returned, new)

    def _cut(
        self, tensor: torch.Tensor, margins: Margins, dim: int | None, start: int, *, last: bool
    ) -> torch.Tensor:
        assert dim is not None
        first = margins.start if start else 0
        stop = int(self.chunk / margins.stride) + margins.start
        stop = tensor.shape[dim] if last else stop
        return tensor.narrow(dim, first, stop - first)

    def _run(self, window: torch.Tensor) -> Any:
        modules = modules_of(self.model)
        try:
            with (
                preserved(modules, (), training=False, model=self.model),
                torch.inference_mode(),
                not_compiled(),
            ):
                return self.model(window)
        except Exception as error:
            raise ModelError(
                f"the model raised {type(error).__name__} on a window of shape"
                f" {tuple(window.shape)}: {error}"
            ) from error


def _shown(piece: Any, as_arrays: bool) -> Any:
    if not as_arrays:
        return piece
    leaves = [leaf for _, leaf in flat_outputs(piece)]
    new = [leaf.numpy() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    return new[0] if isinstance(piece, torch.Tensor) else with_leaves(piece, new)


def _read_chunk(chunk: int | None, step: int, long: int) -> int:
    if chunk is None:
        return -(-long // step) * step
    good = isinstance(chunk, int) and not isinstance(chunk, bool) and chunk >= 1
    if not good:
        raise InputError(f"chunk={chunk!r}: give a whole number of samples, such as {step}")
    if chunk % step:
        near = sorted({chunk // step * step, -(-chunk // step) * step} - {0})
        raise InputError(
            f"chunk={chunk}: the model's chunks are multiples of {step} samples: give"
            f" {' or '.join(map(str, near))}"
        )
    return chunk


def _grid(model: Model, plan: StreamingPlan) -> tuple[TiledAxis, tuple[Margins, ...], Structures]:
    """The windows along time, and where each output is right in them."""
    x = torch.empty(plan.input_shape, dtype=getattr(torch, plan.dtype), device="meta")
    given = prepared(model, x, spatial_dims=plan.spatial_dims, whole_numbers=True, values=False)
    at = time_axis(given.inputs, plan.axis)
    structures = Structures(given.model, given.inputs)
    grids = Grids(structures, structures.whole())
    for other in range(len(given.inputs.pixels)):
        if other != at:
            grids.first_other[other] = None
    grid = grids.grid()
    if at in grid.first_other or grid.window is None:
        row = grid.first_other.get(at)
        name = "a layer" if row is None else f"layer {row.name!r}"
        raise InputError(
            f"plan: {name} does something else at another length than {plan.input_shape[plan.axis]}"
            " samples, so that no window gives what the whole does: make a plan on a longer x, or"
            " carry the states of the layers in a step of your own"
        )
    return grid.axes[at], tuple(each[at] for each in grid.margins), structures
