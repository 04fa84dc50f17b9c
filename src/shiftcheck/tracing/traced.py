"""One forward pass: what is asked of it, what is seen on its way, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from shiftcheck.lattice.layout import AxisState, Layout
from shiftcheck.tracing.choosing import Entry
from shiftcheck.tracing.numbers_given import Number
from shiftcheck.tracing.origins import NOTHING_MET, Met
from shiftcheck.tracing.way import Way


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What a model is called with, and the layout of each tensor of it that is followed."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    layouts: Sequence[tuple[torch.Tensor, Layout]]

    @cached_property
    def axes(self) -> tuple[AxisState, ...]:
        """The axes of the signal; of several tensors, those that the later ones have."""
        axes: tuple[AxisState, ...] = ()
        for _, layout in self.layouts:
            axes = tuple(a or b for a, b in zip(layout.axes, axes, strict=False)) or layout.axes
        return axes

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The axes in the order of the dimensions of the first tensor that has any."""
        orders = (layout.axes_in(range(len(layout.dims))) for _, layout in self.layouts)
        return next(filter(None, orders), ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Manner:
    """How a pass is run.

    ``stacked``: the batch holds copies, which must stay apart. ``layer``: stop after that layer,
    whose output is then the output. Without ``geometry``, the layouts only say which tensors depend
    on the input. With ``circular_padding``, whatever pads an axis that is a circle pads it
    circularly. ``wanted``: the outputs that count, by name or position; all where there are none.
    ``alone``: each layer begins anew, so that its geometry tells what it reads of its own input.
    """

    stacked: bool
    layer: str | None = None
    geometry: bool = True
    circular_padding: bool = False
    wanted: Sequence[Entry] = ()
    alone: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A layer as it was met: its name, operation, and what is known of its output.

    ``strayed``: the copies that were fed with something else than an exact shift. ``fed``: for each
    tensor that a module was given by position, its signal, or None of one that no signal led to;
    empty in passes of stacked copies. ``parents``: the same of an operation that is a layer itself.
    ``numbers``: those that operations were given since the row before, and in it.
    """

    name: str
    op: str
    layout: Layout
    path: str = ""
    strayed: frozenset[int] = frozenset()
    fed: tuple[Layout | None, ...] = ()
    parents: tuple[Layout, ...] = ()
    numbers: tuple[Number, ...] = ()

    @property
    def entering(self) -> tuple[Layout | None, ...]:
        """What is known of each tensor that entered the layer, whether a module or an operation."""
        return (*self.fed, *self.parents)


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """What a pass returned: the output tensors that depend on the input, with their signals.

    ``ignoring``: the shapes of the others. ``unknown``: the types of what is no tensor at all.
    ``left_out``: the paths of tensors that were not among the outputs asked for. ``order``: the
    axes in the order of the dimensions of the input.
    ``leak``: the operation by which values were read from a tensor, if any were, and ``leak_line``
    where in the user's files. ``dtypes``: of every tensor on the way. ``products``: the coarser
    types that products of float32 may use. ``met``: the constants on the way. ``handed_over``:
    whether another thread was given work. ``way``: its operations, where they can be gone again
    without rules.
    """

    outputs: tuple[tuple[str, torch.Tensor, Layout], ...]
    ignoring: tuple[tuple[str, tuple[int, ...]], ...]
    unknown: tuple[tuple[str, str], ...]
    stopped: bool
    leak: str = ""
    leak_line: str = ""
    dtypes: frozenset[torch.dtype] = frozenset()
    products: frozenset[str] = frozenset()
    met: Met = NOTHING_MET
    handed_over: bool = False
    left_out: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    way: Way | None = None


class Stop(BaseException):
    """Ends the forward pass after the asked layer; no except Exception of a model catches it."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs


OnRow = Callable[[Row, torch.Tensor], frozenset[int] | Layout | None]
"""Looks at a layer's output. What it returns, if anything, says that it put the exact shifts of the
base in the place of the copies, all but these; the layers that follow then start anew from there. A
layout is taken for that of the output by the layers that follow.
"""
