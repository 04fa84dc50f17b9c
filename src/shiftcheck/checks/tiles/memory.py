"""The memory that a tile needs, counted without values, and the largest tile within a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shiftcheck.checks.tiles.structure import Sizes, resized
from shiftcheck.errors import InputError
from shiftcheck.measuring.call import faked, home_of
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.report.tiles import TiledAxis, tile_of_about
from shiftcheck.tracing.live_memory import LiveMemory
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.pooling_statistics import Pooled
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import fake_mode
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.without_values import quiet

REST, RESERVE = 4, 2**26
"""What torch and the allocator keep beside: one part in so many, and so many bytes."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """The bytes that a pass needs at once, and the shape and type of each tensor it returns."""

    bytes: int
    shapes: tuple[tuple[str, tuple[int, ...], str], ...]


class Needs:
    """What passes on images of several sizes need, each counted once."""

    def __init__(self, model: Model, inputs: Inputs) -> None:
        self.model, self.inputs = model, inputs
        self.known: dict[Sizes, Need | None] = {}

    def of(self, sizes: Sizes) -> Need | None:
        """What a pass needs; None where the model cannot do without values."""
        if sizes not in self.known:
            self.known[sizes] = self._counted(sizes)
        return self.known[sizes]

    def bytes_of(self, sizes: Sizes) -> int | None:
        """The bytes alone."""
        need = self.of(sizes)
        return None if need is None else need.bytes

    def _counted(self, sizes: Sizes) -> Need | None:
        inputs = resized(self.inputs, sizes, self.inputs.circular)
        home, fake = home_of(self.model), fake_mode()
        modules = modules_of(self.model)
        with preserved(modules, (), training=False, model=self.model) as originals:
            kept = Pooled({}, {}, originals.before_write)
            try:
                with torch.inference_mode(), not_compiled(), fake, quiet(), kept:
                    values = [faked(leaf, fake, home) for leaf in inputs.leaves]
                    args, kwargs = inputs.call(values)
                    counting = LiveMemory([v for v in values if isinstance(v, torch.Tensor)])
                    with counting:
                        returned = self.model(*args, **kwargs)
                    shapes = [
                        (f"output{path}", tuple(leaf.shape), str(leaf.dtype))
                        for path, leaf in flat_outputs(returned)
                        if isinstance(leaf, torch.Tensor)
                    ]
            except Exception:  # it needs values, or does not take the size
                return None
        with_rest = counting.peak + counting.peak // REST + RESERVE
        return Need(bytes=with_rest, shapes=tuple(shapes))


def largest_within(axes: Sequence[TiledAxis], needs: Needs, bound: int) -> Sizes:
    """The largest tile that needs at most ``bound`` bytes; raises InputError where none does."""
    every = tuple(axes)
    step = min(axis.step for axis in every)
    low = min(axis.least for axis in every)
    high = max(axis.pixels for axis in every)
    smallest = needs.bytes_of(tile_of_about(every, low))
    if smallest is None:
        raise InputError(
            f"memory={bound}: what a tile needs cannot be counted, as the model needs values: give"
            " a tile"
        )
    if smallest > bound:
        raise InputError(
            f"memory={bound} bytes is too little: the smallest tile, {tile_of_about(every, low)},"
            f" needs {smallest} bytes (about {smallest / 2**20:.0f} MiB); give at least that, or a"
            " smaller batch"
        )
    if (needs.bytes_of(tile_of_about(every, high)) or bound + 1) <= bound:
        return tile_of_about(every, high)
    low, high = 0, max(1, (high - low) // step)
    least = min(axis.least for axis in every)
    while high - low > 1:
        middle = (low + high) // 2
        fits = (needs.bytes_of(tile_of_about(every, least + middle * step)) or bound + 1) <= bound
        low, high = (middle, high) if fits else (low, middle)
    return tile_of_about(every, least + low * step)
