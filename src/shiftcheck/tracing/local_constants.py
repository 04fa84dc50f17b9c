"""Constants that local operations made of uniform ones: where their field leaves the window.

The count of samples under a padded box filter is the same everywhere but near both ends, where the
filter looks beyond what is stored. Such a constant is followed by the rules as a signal is: what
its own geometry calls not valid differs for that reason, and for no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from shiftcheck.lattice.axis import Axis, input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import AxisState, Layout
from shiftcheck.rules import Constant
from shiftcheck.tracing.by_tensor import ByTensor
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import FakeTensor, tensors_of, tree_map

MOST_LOOKED_AT = 2**16
"""Whether a tensor from before the run is uniform is not asked of one with more values."""

MOST_DIMS = 8
"""A tensor with more dimensions than that is not followed."""


class LocalConstants:
    """The geometry of each constant that was made of uniform ones by operations with a rule.

    Axis ``a`` is dimension ``-1 - a`` of the uniform constant; of the last ``axes`` dimensions,
    that is: those before hold channels. What was expanded is uniform along that dimension, whatever
    else it holds. ``constant``: how a rule sees any other tensor.
    ``shared``: whether two tensors are views of the same memory.
    """

    def __init__(
        self,
        untraced: Callable[[], AbstractContextManager[None]],
        constant: Callable[[torch.Tensor], Constant],
        shared: Callable[[torch.Tensor, torch.Tensor], bool],
    ) -> None:
        self.untraced, self.constant, self.shared = untraced, constant, shared
        self.axes = 0
        self.uniform = ByTensor()
        self.followed = ByTensor()

    def note_uniform(self, out: Any) -> None:
        """Remember that an operation makes tensors that are the same everywhere."""
        for tensor in tensors_of(out):
            self.uniform[tensor] = True

    def note(
        self,
        operation: Operation,
        ask: Callable[[Sequence[Any], Mapping[str, Any]], Any],
        out: Any,
    ) -> None:
        """Follow an operation on constants; ``ask`` asks its rule, if it has any."""
        given, made = operation.inputs, tensors_of(out)
        pointwise = operation.is_pointwise
        if len(made) != 1 or not given or any(t is made[0] for t in given):
            return
        spreads = pointwise or self.shared(given[0], made[0])
        if spreads and all(self._is_uniform(t) for t in given):
            self.note_uniform(out)
            return
        layouts = self._layouts(given, pointwise=pointwise)
        if not layouts or not _of_one_window(layouts.values()):
            return

        def known(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return layouts.get(id(value)) or self.constant(value)

        try:
            named = {k: tree_map(known, v) for k, v in operation.kwargs.items()}
            answer = ask(tree_map(known, list(operation.args)), named)
        except Exception:  # a rule that fails has no answer, whatever the failure
            return
        if isinstance(answer, Layout) and answer.shape == tuple(made[0].shape):
            self.followed[made[0]] = answer

    def _layouts(self, given: Sequence[torch.Tensor], *, pointwise: bool) -> dict[int, Layout]:
        """The operands that are followed; else the first one, where that is uniform."""
        layouts = {id(t): s for t in given if (s := self._repeated(t)) is not None}
        if layouts or pointwise or not self._is_uniform(given[0]):
            return layouts
        tensor = given[0]
        last = range(max(tensor.ndim - self.axes, 0), tensor.ndim)
        return {id(tensor): _along(tensor, last)}

    def _repeated(self, tensor: torch.Tensor) -> Layout | None:
        """What is followed, and what was expanded: it is the same along those dimensions."""
        known: Layout | None = self.followed.get(tensor)
        if known is not None or tensor.layout != torch.strided:
            return known
        dims = [d for d, n in enumerate(tensor.shape) if n > 1 and tensor.stride(d) == 0]
        return _along(tensor, dims) if dims else None

    def forget(self, written: Sequence[torch.Tensor]) -> None:
        """What shares its memory with a constant that is written to is no longer followed."""
        for tensor in written:
            for known in (self.uniform, self.followed):
                for other in [t for t in known if t is tensor or self.shared(t, tensor)]:
                    known.pop(other)

    def window(self, tensor: torch.Tensor, before: int, size: int, after: int) -> Axis | None:
        """The geometry along the middle of ``[before, size, after]``; None where not known."""
        layout = self.followed.get(tensor)
        if layout is None:
            return None
        for dim, n in enumerate(tensor.shape):
            outside = math.prod(tensor.shape[:dim]), math.prod(tensor.shape[dim + 1 :])
            if n == size and outside == (before, after):
                axis = layout.axis_in(dim)
                return None if axis is None else layout.geometry(axis)
        return None

    def _is_uniform(self, tensor: torch.Tensor) -> bool:
        if tensor in self.uniform:
            return True
        unknown = isinstance(tensor, FakeTensor | torch.nn.Parameter)
        if unknown or tensor.is_meta or not 0 < tensor.numel() <= MOST_LOOKED_AT:
            return False
        with self.untraced():
            return bool((tensor == tensor.flatten()[0]).all())


def _along(tensor: torch.Tensor, dims: Iterable[int]) -> Layout:
    """A constant that is the same along ``dims``, as a signal that has an axis in each of them."""
    states: list[AxisState] = [None] * MOST_DIMS
    layout = [plain(n) for n in tensor.shape]
    for dim in dims:
        axis, size = tensor.ndim - 1 - dim, tensor.shape[dim]
        if size > 1 and axis < MOST_DIMS:
            layout[dim] = (Factor("axis", size, axis),)
            states[axis] = input_axis(size, circular=False)
    return Layout(tuple(layout), tuple(states))


def _of_one_window(layouts: Any) -> bool:
    """Whether all signals come from uniform constants that were as large along each axis."""
    sizes: dict[int, set[int]] = {}
    for layout in layouts:
        for axis, state in enumerate(layout.axes):
            if isinstance(state, Axis):
                sizes.setdefault(axis, set()).add(state.pixels)
    return all(len(known) == 1 for known in sizes.values())
