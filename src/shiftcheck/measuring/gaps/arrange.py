"""A tensor as ``[copies, everything else, *spatial]``, whatever its dimensions hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.factors import Dim, Factor, size_of
from shiftcheck.lattice.gather import runs
from shiftcheck.lattice.joined import main_piece, narrowed
from shiftcheck.lattice.layout import Layout, Lost


def arranged(tensor: torch.Tensor, layout: Layout, places: dict[int, int]) -> torch.Tensor:
    """The tensor as ``[copies, everything else, *spatial]``, each spatial axis a dimension.

    Of pieces that were joined, only the one that holds an axis: the others have no place.
    """
    factors = all_factors(layout)
    order, copies, rest = _order(factors, places)
    count, others = (math.prod(factors[i].size for i in part) for part in (copies, rest))
    sizes = [factors[i].size for i in order[len(copies) + len(rest) :]]
    return _opened(tensor, layout).permute(order).reshape(count, others, *sizes)


def put_back(
    values: torch.Tensor, tensor: torch.Tensor, layout: Layout, places: dict[int, int]
) -> None:
    """Write values that are arranged to their places in the tensor."""
    order, _, _ = _order(all_factors(layout), places)
    target = _opened(tensor, layout).permute(order)
    target.copy_(values.reshape(target.shape))


def _order(
    factors: Sequence[Factor], places: dict[int, int]
) -> tuple[list[int], list[int], list[int]]:
    """The order of the factors of an arranged tensor; those of the copies, those of the rest."""
    spatial = [places[a] for a in sorted(places)]
    copies = [i for i, f in enumerate(factors) if f.kind == "copies"]
    rest = [i for i in range(len(factors)) if i not in spatial and i not in copies]
    return [*copies, *rest, *spatial], copies, rest


def _opened(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """A view of the tensor with a dimension for each factor."""
    joined = [f for dim in layout.dims for f in dim]
    whole = tensor
    if any(f.kind == "joined" for f in joined):
        whole = tensor.reshape([f.size for f in joined])
        for i, factor in enumerate(joined):
            if factor.kind == "joined":
                start, piece = main_piece(factor)
                whole = whole.narrow(i, start, size_of(piece))
    return whole.reshape([f.size for f in all_factors(layout)])


def place_in_tensor(
    worst: tuple[int, ...], layout: Layout, places: dict[int, int]
) -> tuple[int, ...]:
    """An index ``(everything else, *spatial)`` of the arranged tensor as one of the tensor."""
    factors = all_factors(layout)
    spatial = [places[a] for a in sorted(places)]
    rest = [i for i in range(len(factors)) if i not in spatial]
    split = np.unravel_index(worst[0], tuple(factors[i].size for i in rest)) if rest else ()
    at = dict(zip([*rest, *spatial], [*map(int, split), *worst[1:]], strict=True))
    digits = iter([at[i] for i in range(len(factors))])
    return tuple(_index_in(dim, digits) for dim in layout.dims)


def _index_in(dim: Dim, digits: Iterator[int]) -> int:
    """An index of a dimension from those of its factors, in their order."""
    value = 0
    for factor in dim:
        if factor.kind == "joined":
            start, piece = main_piece(factor)
            value = value * factor.size + start + _index_in(piece, digits)
        else:
            value = value * factor.size + next(digits)
    return value


def all_factors(layout: Layout) -> list[Factor]:
    """The factors of every dimension; of joined pieces, those of the one that holds an axis."""
    return [f for dim in layout.dims for f in narrowed(dim)]


def spatial_places(layout: Layout, axes: int) -> dict[int, int]:
    """The factor that is each spatial axis; a lost one is looked for in the last ``axes``."""
    factors = all_factors(layout)
    places = {f.axis: i for i, f in enumerate(factors) if f.kind == "axis"}
    if len(layout.dims) != axes + 2:
        return places
    starts = np.cumsum([0, *(len(narrowed(d)) for d in layout.dims)])
    for axis in range(axes):
        dim = layout.dims[2 + axis]
        if axis not in places and isinstance(layout.axes[axis], Lost) and _is_plain(dim):
            places[axis] = int(starts[2 + axis])
    return places


def _is_plain(dim: Sequence[object]) -> bool:
    return len(dim) == 1 and getattr(dim[0], "kind", "") == "plain"


def is_flattened(layout: Layout) -> bool:
    """Whether a dimension holds a spatial axis together with channels, as after a flatten."""
    kinds = [{f.kind for f in narrowed(dim)} for dim in layout.dims]
    return any({"axis", "plain"} <= k and "copies" not in k for k in kinds)


def size_at(layout: Layout, place: int) -> int:
    """The size of a factor by its place."""
    return all_factors(layout)[place].size


def valid_spans(layout: Layout, axes: int) -> list[tuple[int, int]]:
    """From the first to the last valid sample of each spatial axis; all of it where none is."""
    spans = []
    places = spatial_places(layout, axes)
    for axis in sorted(places):
        state = layout.axes[axis]
        size = size_at(layout, places[axis])
        spans_of_axis = runs(state.valid) if isinstance(state, Axis) and not state.circular else ()
        spans.append((spans_of_axis[0][0], spans_of_axis[-1][1]) if spans_of_axis else (0, size))
    return spans
