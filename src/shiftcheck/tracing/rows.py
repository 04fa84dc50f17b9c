"""Layers are looked at where their outputs are there, and so is what the model returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.lattice.alone import alone
from shiftcheck.lattice.causes import opaque
from shiftcheck.lattice.layout import Layout, valid_everywhere
from shiftcheck.tracing.answers import Results
from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.choosing import Entry, chosen, output_places
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.frames import Frame
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.modules import flat_outputs
from shiftcheck.tracing.numbers_given import Number, numbers_of
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.subclasses import plain_of
from shiftcheck.tracing.torch_internals import tensors_of, without_modes, without_torch_function
from shiftcheck.tracing.traced import Given, OnRow, Row, Traced

NONE: frozenset[int] = frozenset()


class Strays:
    """The copies of each tensor, by number, that are no exact shifts of the base any more."""

    def __init__(self, memory: TensorMemory) -> None:
        self.memory = memory
        self.known = ByTensor()

    def of(self, tensor: torch.Tensor) -> frozenset[int]:
        """Those of a tensor."""
        strayed: frozenset[int] = self.known.get(tensor, NONE)
        return strayed

    def note(self, tensor: torch.Tensor, strayed: frozenset[int]) -> None:
        """Know those of a tensor."""
        if strayed:
            self.known[tensor] = strayed
        else:
            self.known.pop(tensor, None)

    def follow(self, operation: Operation, out: Any) -> None:
        """What comes from a copy that is no exact shift is none either."""
        if not self.known:
            return
        strayed = NONE.union(*map(self.of, operation.inputs))
        for tensor in tensors_of(out):
            self.note(tensor, strayed)
        for tensor in operation.written:
            for other in list(self.memory.layouts) if strayed else ():
                if self.memory.shared(other, tensor):
                    self.note(other, strayed | self.of(other))


class Rows:
    """Gives every layer to ``on_row``; ``given``: the signal. ``anew``: each begins anew."""

    def __init__(
        self, on_row: OnRow, memory: TensorMemory, memo: Memo, given: Given, *, anew: bool
    ) -> None:
        self.on_row, self.memory, self.memo, self.axes = on_row, memory, memo, given.axes
        self.anew = anew
        self.numbers: list[Number] = []
        self.strays = Strays(memory)

    def note(self, operation: Operation, *, constants: bool) -> None:
        """Keep the numbers of an operation for the row that follows, or those of ``constants``."""
        self.numbers += numbers_of(operation, self.memory.constants if constants else None)

    def emit(self, frame: Frame, output: Any) -> None:
        """Have each tensor looked at that a layer gave."""
        simple = isinstance(output, torch.Tensor)
        leaves = [output] if simple else [leaf for _, leaf in flat_outputs(output)]
        tensors = [t for t in leaves if isinstance(t, torch.Tensor)]
        layouts, name = self.memory.layouts, frame.name
        tracked = [t for t in tensors if self.memory.layout(t) is not None and t in layouts]
        numbers, self.numbers = tuple(self.numbers), []
        for i, tensor in enumerate(tracked):
            if tensor.is_quantized:  # it is looked at where it is a number again
                continue
            row = Row(
                name=name if len(tracked) == 1 else f"{name}[{i}]",
                op=frame.op,
                layout=self.memo.settled(layouts[tensor], name, frame.op),
                path=name,
                strayed=self.strays.of(tensor),
                fed=frame.fed,
                parents=frame.parents,
                numbers=numbers,
            )
            with without_torch_function(), without_modes():
                left = self.on_row(row, tensor)
            if isinstance(left, Layout):
                layouts[tensor] = left
            elif left is not None:
                self._start_anew(tensor, left)
            if self.anew:
                layouts[tensor] = alone(layouts[tensor])

    def _start_anew(self, tensor: torch.Tensor, strayed: frozenset[int]) -> None:
        """Follow a tensor as if it came from nowhere: all its samples are valid."""
        layout = self.memory.layouts[tensor]
        self.memory.layouts[tensor] = self.memo.again(
            (id(layout), "anew"), [layout], lambda: valid_everywhere(layout, self.axes)
        )
        self.strays.note(tensor, strayed)


NO_OUTPUT = (str, bytes, int, float, complex, type(None))
"""What is no tensor, and holds none."""


def traced_outputs(
    results: Results, returned: Any, wanted: Sequence[Entry], *, stopped: bool
) -> Traced:
    """The tensors that were followed, with names by their place in what the model returned."""
    outputs, ignoring, unknown = [], [], []
    leak = results.leaks.cause
    leaves, left_out = leaves_wanted(returned, wanted)
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            layout = results.memory.layout(leaf)
            if layout is None:
                ignoring.append((path, tuple(leaf.shape)))
                continue
            if leak is not None:
                layout = opaque(leaf.shape, [layout], leak)
            layout = results.memo.settled(layout, "output", "output")
            plain = plain_of(leaf.dequantize() if leaf.is_quantized else leaf)
            outputs.append((path, plain, layout))
        elif not isinstance(leaf, NO_OUTPUT):
            unknown.append((path, type(leaf).__name__))
    return Traced(
        outputs=tuple(outputs),
        ignoring=tuple(ignoring),
        unknown=tuple(unknown),
        stopped=stopped,
        leak=leak.op if leak is not None else "",
        leak_line=leak.line if leak is not None else "",
        left_out=left_out,
    )


def tensors_at(
    returned: Any, wanted: Sequence[Entry], paths: Sequence[str]
) -> list[torch.Tensor] | None:
    """The tensors at the paths of a pass that returned the same; None where they are not there."""
    at = dict(leaves_wanted(returned, wanted)[0])
    leaves = [at.get(path) for path in paths]
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if len(tensors) < len(leaves):
        return None
    return [plain_of(t.dequantize() if t.is_quantized else t) for t in tensors]


def leaves_wanted(
    returned: Any, wanted: Sequence[Entry]
) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    """The leaves of what a model returned that count, by their paths, and the paths of others.

    Raises InputError where one was asked for that is not there.
    """
    if not wanted:
        return flat_outputs(returned), ()
    leaves = leaves_of(returned, hidden=True)
    leaves = [(steps, leaf) for steps, leaf in leaves if not isinstance(leaf, NO_OUTPUT)]
    places = output_places([steps for steps, _ in leaves], returned)
    kept, left_out = [], []
    for counts, place, (_, leaf) in zip(
        chosen("outputs", wanted, places), places, leaves, strict=True
    ):
        path = place.name.removeprefix("output")
        if counts:
            kept.append((path, leaf))
        else:
            left_out.append(path)
    return kept, tuple(left_out)
