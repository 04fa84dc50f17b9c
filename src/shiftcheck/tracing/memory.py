"""What is known of every tensor of a pass: signals, constants, and the memory that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from shiftcheck.lattice.causes import causes_at, opaque, with_causes
from shiftcheck.lattice.layout import Layout, Waves
from shiftcheck.lattice.notes import as_mask, with_other_dims
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules import BatchCoupledError, Constant, GeometryError
from shiftcheck.rules.canvases import Canvas, Patch, assembled
from shiftcheck.rules.note_causes import STAYS
from shiftcheck.rules.operands import HIDES
from shiftcheck.rules.scattering import (
    closed_by_hand,
    framed_frequencies,
    more_frequencies_by_hand,
)
from shiftcheck.tracing.local_constants import LocalConstants
from shiftcheck.tracing.torch_internals import (
    is_fake,
    memory_of,
    tree_leaves,
    tree_map,
    without_torch_function,
)
from shiftcheck.tracing.views import Box, box_of

MOST_REPLAYED = 2**16
"""A constant with more values than that is not made again."""

MOST_VALUES = 2**20
"""A constant with more values than that is not looked into."""

LONGEST_STEP = 64
"""The longest step after which the values of a constant are looked at for a repetition."""


class Ledger:
    """The signal of each tensor that depends on the input, by the tensor itself and not its id.

    ``untraced``: a context in which operations are not followed.
    """

    def __init__(self, untraced: Callable[[], AbstractContextManager[None]]) -> None:
        self.untraced = untraced
        self.layouts: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.canvases: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.filled: dict[int, Any] = {}
        self.places: dict[int, _Views] | None = None
        self.uniform: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.random: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.real: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.blank: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.tainted: dict[int, tuple[Any, Layout, Cause]] = {}
        self.changed: dict[int, Any] = {}
        self.drawn: dict[int, Any] = {}
        self.forgotten: dict[int, Any] = {}
        self.twins: dict[int, tuple[int, Any]] = {}
        self.local = LocalConstants(untraced, self.constant, self.shared)

    def memory(self, tensor: torch.Tensor) -> int:
        """The memory of a tensor; that of a tensor with values for what stands for it without."""
        own = memory_of(tensor)
        return self.twins[own][0] if own in self.twins else own

    def note_twin(self, tensor: torch.Tensor, out: Any) -> None:
        """Remember that ``out``, which has no values, is a view of a tensor that has."""
        for made in tree_leaves(out) if not is_fake(tensor) else ():
            if isinstance(made, torch.Tensor) and is_fake(made) and dense(tensor, made):
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
            own = _Views(StorageWeakRef(tensor.untyped_storage()))
            self.places.setdefault(memory_of(tensor), own).layouts[_view_of(tensor)] = layout

    def _by_place(self, tensor: torch.Tensor) -> Layout | None:
        """The signal of what has the place of a tensor in memory, if the tensor is not known."""
        if self.places is None:
            return None
        with without_torch_function():
            views, own = self.places.get(memory_of(tensor)), _view_of(tensor)
        if views is None or not views.layouts:
            return None
        known = views.layouts.get(own)
        if known is None:
            cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="another view of the same memory")
            known = opaque(tensor.shape, list(views.layouts.values()), cause)
        self.layouts[tensor] = known
        return known

    def shared(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors that live are views of the same memory."""
        return dense(one, other) and self.memory(one) == self.memory(other)

    def write(self, tensor: torch.Tensor, layout: Layout, by: Cause) -> None:
        """Give a tensor that was written to its new signal, and whatever shares its memory.

        What holds the tensor as a box has another signal inside it; anything else that shares the
        memory is lost. ``by``: what is to be said of it, with the layer that wrote.
        """
        blank = [t for t in list(self.blank) if t not in self.layouts]
        for other in [*self.layouts.keys(), *blank]:
            if other is not tensor and self.shared(other, tensor):
                found = self._written_into(other, tensor, layout, by)
                self.remember(other, _by(found, by))
        if tensor not in self.layouts:
            self.tainted[self.memory(tensor)] = (tensor.untyped_storage(), layout, by)
        self.remember(tensor, layout)

    def _written_into(
        self, outer: torch.Tensor, view: torch.Tensor, layout: Layout, by: Cause
    ) -> Layout:
        before = self.canvases.pop(outer, None)
        if is_same_view(outer, view):
            return layout
        known = self.layouts.get(outer)
        box, parents = box_of(view, outer), [layout] if known is None else [known, layout]
        memory = self.memory(outer)
        scribbled = memory in self.changed and memory not in self.filled
        if box is None or (known is None and scribbled):
            return opaque(outer.shape, parents, by)
        dims = list(layout.dims)
        for d in box.missing:
            dims.insert(d, ())
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
        real = None if is_fake(outer) else outer
        if real is None or real.is_meta:
            return False
        with self.untraced():
            rest = real.detach().clone()
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
        held = self.tainted.get(self.memory(tensor))
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
        for known in (self.uniform, self.random, self.real):
            known.pop(tensor, None)
            if source in known:
                known[tensor] = known[source]

    def operand(self, value: Any) -> Any:
        """What a rule is given in the place of a value."""
        if not isinstance(value, torch.Tensor):
            return value
        layout = self.layout(value)
        if layout is None:
            return self.constant(value)
        return as_mask(layout) if value.dtype is torch.bool else layout

    def constant(self, tensor: torch.Tensor) -> Constant:
        """A tensor that does not depend on the input, as a rule sees it."""
        uniform, is_random = self.is_uniform(tensor), self.is_random(tensor)

        def repeats(before: int, size: int, after: int) -> int | None:
            if uniform:
                return 1
            real = self.real_of(tensor)
            with self.untraced():
                return None if real is None else _repeats(real, before, size, after)

        def part(before: int, size: int, after: int, start: int, length: int) -> Constant:
            if uniform:
                return replace(whole, shape=(before, length, after))
            real = self.real_of(tensor)
            if real is None:
                return Constant((before, length, after), lambda *_: None, random=is_random)
            with self.untraced():
                values = real.detach().reshape(before, size, after)
                piece = self.constant(values[:, start : start + length])
                return replace(piece, random=is_random, parameter=whole.parameter)

        def mask() -> NDArray[np.float64] | None:
            real = None if uniform or is_random else self.real_of(tensor)
            with self.untraced():
                return None if real is None else _mask(real)

        whole = Constant(
            shape=tuple(tensor.shape),
            repeats=repeats,
            parameter=isinstance(tensor, torch.nn.Parameter),
            random=is_random,
            part=part,
            mask=mask,
            values=lambda: self._values(tensor),
            window=lambda *middle: self.local.window(tensor, *middle),
        )
        return whole

    def _values(self, tensor: torch.Tensor) -> NDArray[Any] | None:
        """The values of a constant; None where they are random, too many, or not known."""
        if self.is_random(tensor) or tensor.numel() > MOST_VALUES:
            return None
        real = self.real_of(tensor)
        with self.untraced():
            return None if real is None else _to_numpy(real)

    def real_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """A tensor with the values that a constant would have; None where they are not known."""
        if memory_of(tensor) in self.forgotten:
            return None
        if not is_fake(tensor):
            return None if tensor.is_meta else tensor
        known: torch.Tensor | None = self.real.get(tensor)
        return known

    def replay(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        written: Sequence[torch.Tensor],
    ) -> None:
        """Do an operation on small constants without values again, on tensors that have values.

        A list of indices that a model makes on its way is known so, in a pass without values, too.
        """
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        made = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if not any(is_fake(t) for t in [*tensors, *made]):
            return
        small = all(t.numel() <= MOST_REPLAYED for t in [*made, *written])
        real = {id(t): self.real_of(t) for t in tensors}
        if not small or any(t is None for t in real.values()):
            self.forgotten.update({memory_of(t): t.untyped_storage() for t in written})
            return

        def known(value: Any) -> Any:
            return real[id(value)] if isinstance(value, torch.Tensor) else value

        with self.untraced():
            again = func(*tree_map(known, list(args)), **{k: known(v) for k, v in kwargs.items()})
        values = [t for t in tree_leaves(again) if isinstance(t, torch.Tensor)]
        self.real.update({t: v for t, v in zip(made, values, strict=True) if is_fake(t)})

    def note_constant(
        self,
        inputs: Iterable[torch.Tensor],
        out: Any,
        written: Sequence[torch.Tensor],
        *,
        draws: bool,
        flat: bool,
        spreads: bool,
        fills: bool,
    ) -> None:
        """Follow an operation on constants.

        ``draws``: it draws random numbers. ``flat``: its values are the same everywhere, or
        (``spreads``) they are where those of its inputs are. ``fills``: it writes one value.
        """
        constants, made = list(inputs), flat
        drawn = draws or any(self.is_random(t) for t in constants)
        flat = flat or (spreads and all(self.is_uniform(t) or t.numel() == 1 for t in constants))
        for tensor in written:
            self._changed(tensor, drawn, fills=fills and not drawn)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and not any(tensor is w for w in written):
                part = any(self.is_uniform(t) and self.shared(t, tensor) for t in constants)
                self.mark(tensor, is_random=drawn, uniform=(flat or part) and not drawn)
                if made:
                    self.blank[tensor] = True

    def mark(self, tensor: torch.Tensor, *, is_random: bool, uniform: bool) -> None:
        """Remember what cannot be read off a constant: that it is random, or without values."""
        if self.places is not None and dense(tensor):
            held = _Views(StorageWeakRef(tensor.untyped_storage()))
            self.places.setdefault(memory_of(tensor), held)
            if is_random:
                self.drawn[memory_of(tensor)] = tensor.untyped_storage()
        if is_random:
            self.random[tensor] = True
        if uniform and is_fake(tensor):
            self.uniform[tensor] = True

    def _changed(self, tensor: torch.Tensor, drawn: bool, *, fills: bool) -> None:
        """Values were written into a constant: whatever shares its memory is no longer known."""
        storage, memory = tensor.untyped_storage(), memory_of(tensor)
        clean = memory not in self.changed or memory in self.filled
        if fills and clean and self._fill(tensor):
            self.filled[memory] = storage
        else:
            self.filled.pop(memory, None)
        self.changed[memory] = storage
        if drawn:
            self.drawn[memory] = storage

    def _fill(self, view: torch.Tensor) -> bool:
        """Note a part of each blank tensor that one value fills; whether all of them have such."""
        for outer in [t for t in list(self.blank) if self.shared(t, view)]:
            box = box_of(view, outer)
            if box is None:
                return False
            shape = list(view.shape)
            for d in box.missing:
                shape.insert(d, 1)
            part = Constant(tuple(shape), lambda *_: 1)
            canvas = self.canvases.get(outer) or Canvas(shape=tuple(outer.shape), base=None)
            try:
                self.canvases[outer] = canvas.with_patch(
                    Patch(starts=box.starts, steps=box.steps, part=part)
                )
            except GeometryError:
                return False
        return True

    def is_random(self, tensor: torch.Tensor) -> bool:
        """Whether random numbers went into a constant."""
        return tensor in self.random or (bool(self.drawn) and memory_of(tensor) in self.drawn)

    def is_uniform(self, tensor: torch.Tensor) -> bool:
        """Whether a constant without values is known to be the same everywhere."""
        return tensor in self.uniform and memory_of(tensor) not in self.changed


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


def _by(layout: Layout, layer: Cause) -> Layout:
    """The signal with the layer of every cause that has none yet."""
    return replace(layout, causes=causes_at(layout.causes, layer))


def is_same_view(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of the same memory hold the same places of it in the same order."""
    return (
        one.shape == other.shape
        and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
        and one.dtype == other.dtype
    )


def _mask(tensor: torch.Tensor) -> NDArray[np.float64] | None:
    """All values where some hide what they are added to, as in an additive mask; else None."""
    if not tensor.is_floating_point() or not bool((tensor <= HIDES).any()):
        return None
    return np.asarray(tensor.detach().double().cpu().numpy())


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    whole = tensor.detach().cpu()
    narrow = whole.is_floating_point() and whole.dtype != torch.float64
    return np.copy((whole.double() if narrow else whole).numpy())


def _repeats(tensor: torch.Tensor, before: int, size: int, after: int) -> int | None:
    """The smallest step after which the middle of ``[before, size, after]`` repeats."""
    if is_fake(tensor) or tensor.is_meta:
        return None
    values = tensor.detach().reshape(before, size, after)
    for step in range(1, min(size // 2, LONGEST_STEP) + 1):
        if torch.equal(values[:, step:], values[:, :-step]):
            return step
    return 1 if size == 1 else size
