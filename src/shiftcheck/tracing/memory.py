"""What is known of every tensor of a pass: signals, constants, and the memory that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from shiftcheck.lattice.causes import causes_at, opaque, with_causes
from shiftcheck.lattice.layout import Layout, Waves
from shiftcheck.lattice.notes import as_mask, with_other_dims
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules import BatchCoupledError, Constant, GeometryError
from shiftcheck.rules.canvases import Canvas, Patch, assembled
from shiftcheck.rules.note_causes import STAYS
from shiftcheck.rules.scattering import (
    closed_by_hand,
    framed_frequencies,
    more_frequencies_by_hand,
)
from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.constant_memory import ConstantMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import (
    is_fake,
    memory_of,
    tensors_of,
    without_torch_function,
)
from shiftcheck.tracing.views import Box, box_of


class TensorMemory:
    """The signal of each tensor that depends on the input, by the tensor itself and not its id.

    ``untraced``: a context in which operations are not followed.
    """

    def __init__(self, untraced: Callable[[], AbstractContextManager[None]]) -> None:
        self.untraced = untraced
        self.layouts = ByTensor()
        self.canvases = ByTensor()
        self.filled: dict[int, Any] = {}
        self.places: dict[int, _Views] | None = None
        self.blank = ByTensor()
        self.tainted: dict[int, tuple[Any, Layout, Cause]] = {}
        self.twins: dict[int, tuple[int, Any]] = {}
        self.constants = ConstantMemory(untraced, self.shared)

    def address(self, tensor: torch.Tensor) -> int:
        """The memory of a tensor; that of a tensor with values for what stands for it without."""
        memory = memory_of(tensor)
        return self.twins[memory][0] if memory in self.twins else memory

    def note_twin(self, tensor: torch.Tensor, out: Any) -> None:
        """Remember that ``out``, which has no values, is a view of a tensor that has."""
        for made in tensors_of(out) if not is_fake(tensor) else ():
            if is_fake(made) and dense(tensor, made):
                self.twins[memory_of(made)] = (memory_of(tensor), made.untyped_storage())

    def follow_memory(self) -> None:
        """Know a signal, too, by the place in memory that it has.

        Operations on tensors of a class of its own give another tensor than the one that was seen.
        """
        if self.places is None:
            self.places = {}
            for tensor, layout in list(self.layouts.items()):
                self.remember(tensor, layout)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor, or what has its memory, was met in an operation."""
        with without_torch_function():
            return tensor in self.layouts or memory_of(tensor) in (self.places or {})

    def remember(self, tensor: torch.Tensor, layout: Layout) -> None:
        """Give a tensor its signal."""
        self.layouts[tensor] = layout
        if self.places is not None and dense(tensor):
            views = _Views(StorageWeakRef(tensor.untyped_storage()))
            self.places.setdefault(memory_of(tensor), views).layouts[_view_of(tensor)] = layout

    def _by_place(self, tensor: torch.Tensor) -> Layout | None:
        """The signal of what has the place of a tensor in memory, if the tensor is not known."""
        if self.places is None:
            return None
        with without_torch_function():
            views, view = self.places.get(memory_of(tensor)), _view_of(tensor)
        if views is None or not views.layouts:
            return None
        known = views.layouts.get(view)
        if known is None:
            cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="another view of the same memory")
            known = opaque(tensor.shape, list(views.layouts.values()), cause)
        self.layouts[tensor] = known
        return known

    def shared(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors that live are views of the same memory."""
        return dense(one, other) and self.address(one) == self.address(other)

    def write(self, tensor: torch.Tensor, layout: Layout, by: Cause) -> None:
        """Give a tensor that was written to its new signal, and whatever shares its memory.

        What holds the tensor as a box has another signal inside it; anything else that shares the
        memory is lost. ``by``: what is to be said of it, with the layer that wrote.
        """
        blank = [t for t in list(self.blank) if t not in self.layouts]
        for other in [*self.layouts.keys(), *blank]:
            if other is not tensor and self.shared(other, tensor):
                inside = self._written_into(other, tensor, layout, by)
                causes = causes_at(inside.causes, by)  # the layer that wrote, where they have none
                self.remember(other, replace(inside, causes=causes))
        if tensor not in self.layouts:
            self.tainted[self.address(tensor)] = (tensor.untyped_storage(), layout, by)
        self.remember(tensor, layout)

    def _written_into(
        self, outer: torch.Tensor, view: torch.Tensor, layout: Layout, by: Cause
    ) -> Layout:
        before = self.canvases.pop(outer, None)
        if is_same_view(outer, view):
            return layout
        known = self.layouts.get(outer)
        box, parents = box_of(view, outer), [layout] if known is None else [known, layout]
        memory = self.address(outer)
        scribbled = memory in self.constants.changed and memory not in self.filled
        if box is None or (known is None and scribbled):
            return opaque(outer.shape, parents, by)
        dims = box.filled(layout.dims, ())
        part = with_other_dims(layout, dims) if box.missing else layout
        part = self._without_causes_of(part, self.layouts.get(view), known)
        patch = Patch(starts=box.starts, steps=box.steps, part=part)
        try:
            if any(isinstance(state, Waves) for state in part.axes):
                return self._more_frequencies(outer, known, part, box)
            closed = None if known is None else closed_by_hand(known, patch)
            if closed is not None:
                return closed
            canvas = before or Canvas(shape=tuple(outer.shape), base=known)
            self.canvases[outer] = canvas.with_patch(patch)
            return assembled(self.canvases[outer])
        except (GeometryError, BatchCoupledError) as error:
            self.canvases.pop(outer, None)
            return opaque(outer.shape, parents, replace(by, detail=f"{by.detail}: {error}"))

    def _without_causes_of(
        self, part: Layout, place: Layout | None, outer: Layout | None
    ) -> Layout:
        """What is written, without what was done to reach the place that it is written to."""
        kept = () if outer is None else outer.causes
        reached = () if place is None else [c for c in place.causes if c not in kept]
        causes = tuple(c for c in part.causes if c not in reached or c.kind in STAYS)
        return part if len(causes) == len(part.causes) else with_causes(part, causes)

    def _more_frequencies(
        self, outer: torch.Tensor, known: Layout | None, part: Layout, box: Box
    ) -> Layout:
        if set(box.steps) != {1}:
            raise GeometryError("frequencies are written at every so many places")
        if known is not None:
            return more_frequencies_by_hand(known, part, box.starts)
        return framed_frequencies(
            part,
            tuple(outer.shape),
            box.starts,
            zeros=lambda: self._is_zero_around(outer, part.shape, box.starts),
        )

    def _is_zero_around(
        self, outer: torch.Tensor, shape: Sequence[int], starts: Sequence[int]
    ) -> bool:
        if is_fake(outer) or outer.is_meta:
            return False
        with self.untraced():
            rest = outer.detach().clone()
            rest[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))] = 0
            return not bool(rest.any())

    def layout(self, tensor: torch.Tensor) -> Layout | None:
        """What is known of a tensor; None where it does not depend on the input."""
        known: Layout | None = self.layouts.get(tensor)
        if known is not None or not dense(tensor):
            return known
        known = self._by_place(tensor)
        if known is not None or not self.tainted:
            return known
        held = self.tainted.get(self.address(tensor))
        if held is None:
            return None
        return opaque(tensor.shape, [held[1]], held[2])

    def adopt(self, tensor: torch.Tensor, source: torch.Tensor) -> None:
        """Know of a tensor what is known of another one, whose values it has from now on."""
        layout = self.layout(source)
        if layout is not None:
            self.remember(tensor, layout)
            return
        self.layouts.pop(tensor, None)
        self.constants.adopt(tensor, source)

    def operand(self, value: Any) -> Any:
        """What a rule is given in the place of a value."""
        if not isinstance(value, torch.Tensor):
            return value
        layout = self.layout(value)
        if layout is None:
            return self.constants.constant(value)
        return as_mask(layout) if value.dtype is torch.bool else layout

    def note_constant(
        self, operation: Operation, out: Any, *, draws: bool, flat: bool, fills: bool
    ) -> None:
        """Follow an operation on constants.

        ``draws``: it draws random numbers. ``flat``: its values are the same everywhere; a
        pointwise one has such where its inputs have. ``fills``: it writes one value.
        """
        inputs, is_uniform, made = operation.inputs, self.constants.is_uniform, flat
        drawn = draws or any(map(self.constants.is_random, inputs))
        spreads = operation.is_pointwise
        flat = flat or (spreads and all(is_uniform(t) or t.numel() == 1 for t in inputs))
        for tensor in operation.written:
            self._changed(tensor, drawn, fills=fills and not drawn)
        for tensor in tensors_of(out):
            if not any(tensor is w for w in operation.written):
                part = any(is_uniform(t) and self.shared(t, tensor) for t in inputs)
                self.mark(tensor, is_random=drawn, uniform=(flat or part) and not drawn)
                if made:
                    self.blank[tensor] = True

    def mark(self, tensor: torch.Tensor, *, is_random: bool, uniform: bool) -> None:
        """Remember what cannot be read off a constant: that it is random, or without values."""
        if self.places is not None and dense(tensor):
            held = _Views(StorageWeakRef(tensor.untyped_storage()))
            self.places.setdefault(memory_of(tensor), held)
            if is_random:
                self.constants.drawn[memory_of(tensor)] = tensor.untyped_storage()
        if is_random:
            self.constants.random[tensor] = True
        if uniform and is_fake(tensor):
            self.constants.uniform[tensor] = True

    def _changed(self, tensor: torch.Tensor, drawn: bool, *, fills: bool) -> None:
        """Values were written into a constant: whatever shares its memory is no longer known."""
        storage, memory = tensor.untyped_storage(), memory_of(tensor)
        clean = memory not in self.constants.changed or memory in self.filled
        if fills and clean and self._fill(tensor):
            self.filled[memory] = storage
        else:
            self.filled.pop(memory, None)
        self.constants.changed[memory] = storage
        if drawn:
            self.constants.drawn[memory] = storage

    def _fill(self, view: torch.Tensor) -> bool:
        """Note a part of each blank tensor that one value fills; whether all of them have such."""
        for outer in [t for t in list(self.blank) if self.shared(t, view)]:
            box = box_of(view, outer)
            if box is None:
                return False
            part = Constant(tuple(box.filled(view.shape, 1)), lambda *_: 1)
            canvas = self.canvases.get(outer) or Canvas(shape=tuple(outer.shape), base=None)
            patch = Patch(starts=box.starts, steps=box.steps, part=part)
            try:
                self.canvases[outer] = canvas.with_patch(patch)
            except GeometryError:
                return False
        return True


@dataclass(frozen=True, eq=False)
class _Views:
    """The signals of what is in one memory, by their place; the memory is not used again."""

    held: StorageWeakRef
    layouts: dict[Any, Layout] = field(default_factory=dict)


def _view_of(tensor: torch.Tensor) -> Any:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype


def dense(*tensors: torch.Tensor) -> bool:
    """Whether all the tensors have a memory that can be looked at."""
    return all(t.layout == torch.strided for t in tensors)


def is_same_view(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of the same memory hold the same places of it in the same order."""
    return (
        one.shape == other.shape
        and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
        and one.dtype == other.dtype
    )
