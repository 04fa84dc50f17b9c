"""Operations on what does not depend on the input: carried out, and what is known of it noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from shiftcheck.lattice.layout import Layout
from shiftcheck.tracing.answers import ask
from shiftcheck.tracing.draws import Draws, generator_of, is_off
from shiftcheck.tracing.leaving.leaks import UNKNOWN, Leaks
from shiftcheck.tracing.leaving.sized_by_values import deciding
from shiftcheck.tracing.leaving.ways_out import is_tensors
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.origins import FRESH, Origins
from shiftcheck.tracing.torch_internals import default_device, without_modes, without_torch_function

FILLS = ("aten::fill_", "aten::zero_")
FACTORIES = frozenset(
    f"aten::{stem}{like}"
    for stem in ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty")
    for like in ("", "_like")
) | {"aten::scalar_tensor"}
SHAPED_DRAWS = frozenset(f"aten::{name}_like" for name in ("rand", "randn", "randint"))
"""Operations that draw as many random numbers as a tensor has values."""

OF_SHAPES = FACTORIES | SHAPED_DRAWS
"""Operations to which no more than the shape of a tensor matters."""


class Constants:
    """Follows the constants of one pass.

    ``draws``: what was drawn at random. ``origins``: where they come from. ``leaks`` is told of
    those of which that is not known.
    """

    def __init__(self, memory: TensorMemory, draws: Draws, origins: Origins, leaks: Leaks) -> None:
        self.memory, self.draws, self.origins, self.leaks = memory, draws, origins, leaks

    def made(self, operation: Operation) -> Any:
        """What an operation gives on constants, or one to which only shapes matter."""
        packet, inputs, written = operation.packet, operation.inputs, operation.written
        random, out = self.drawn(operation, operation.constant)
        if not random:
            self.memory.constants.replay(operation, out)
        self.memory.note_constant(
            operation, out, draws=random, flat=packet in FACTORIES, fills=packet in FILLS
        )
        self._note_local(operation, out)
        shapes_matter = packet in OF_SHAPES or packet == FRESH
        if not shapes_matter and (deciding(operation.func) is not None or not is_tensors(out)):
            self.meet(operation, [None] * len(inputs))
        if shapes_matter or not self.origins.any_strangers(inputs):
            self.origins.note(out)
        else:
            self.origins.write(written)
        return out

    def meet(self, operation: Operation, layouts: Sequence[Layout | None]) -> None:
        """A constant of unknown origin may be anything, whatever it is combined with."""
        pairs = enumerate(zip(operation.inputs, layouts, strict=True))
        constants = [(i, tensor) for i, (tensor, layout) in pairs if layout is None]
        frame = self.leaks.frames.innermost
        layer = frame.name if frame else ""
        if self.origins.meet(layer, operation.packet, constants):
            op = operation.packet.removeprefix("aten::")
            self.leaks.note(layer or op, op, UNKNOWN)

    def drawn(self, operation: Operation, compute: Callable[[], Any]) -> tuple[bool, Any]:
        """What an operation gives that may draw, and whether that would be something else again."""
        kwargs, inputs = operation.kwargs, operation.inputs
        if not operation.draws or is_off(operation.func, operation.args, kwargs):
            return False, compute()
        placed = inputs[0].device if inputs else kwargs.get("device") or default_device()
        generator = generator_of(kwargs, torch.device(placed))
        if generator is None:
            return True, compute()
        with without_torch_function(), without_modes():
            outlives = self.draws.outlives(generator)
        out = compute()
        with without_torch_function(), without_modes():
            self.draws.drew(generator, outlives=outlives)
        return outlives, out

    def _note_local(self, operation: Operation, out: Any) -> None:
        """Follow what local operations make of constants that are the same everywhere."""
        local = self.memory.constants.local
        if operation.written or operation.draws:
            local.forget(operation.written)
        elif operation.packet in FACTORIES:
            if "empty" not in operation.packet:
                local.note_uniform(out)
        elif operation.rule is not None:
            local.note(operation, partial(ask, operation.rule), out)
