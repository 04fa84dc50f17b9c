"""The operations that pad, with circular padding in the place of their own.

What would the network do if it padded circularly? Each operation is written as torch's own one
without padding, on a signal that continues around the circle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.rules.common import per_axis
from shiftcheck.rules.sliding import Window, paddings, windows_of

Twin = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Side(Window):
    """What an operation reads along one dimension, and how much it pads there by itself."""

    dim: int
    circular: bool


def twin_of(
    packet: str, layout: Layout | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Twin | None:
    """The operation with circular padding along every circular axis; None where it pads none."""
    if layout is None or kwargs or not isinstance(args[0], torch.Tensor):
        return None
    name = packet.removeprefix("aten::")
    return MAKERS[name](name, layout, list(args)) if name in MAKERS else None


def around(x: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    """A tensor that continues around the circle along one dimension."""
    size = x.shape[dim]
    if max(before, after) > size:
        raise ValueError(f"{max(before, after)} samples of padding are more than one turn, {size}")
    if dim >= 2 and 3 <= x.ndim <= 5:
        amounts = [0] * (2 * (x.ndim - 2))
        at = 2 * (x.ndim - 1 - dim)
        amounts[at : at + 2] = before, after
        return torch.nn.functional.pad(x, amounts, mode="circular")
    parts = [x.narrow(dim, size - before, before)] if before else []
    parts += [x, *([x.narrow(dim, 0, after)] if after else [])]
    return torch.cat(parts, dim)


def _is_circle(layout: Layout, dim: int) -> bool:
    axis = layout.axis_in(dim)
    state = None if axis is None else layout.axes[axis]
    return isinstance(state, Axis) and state.circular


def _continued(x: torch.Tensor, sides: Sequence[Side]) -> torch.Tensor:
    """The signal, long enough around each circle for as many windows as with padding."""
    out = x
    for side in sides:
        if side.circular:
            size = x.shape[side.dim]
            after = side.extent(side.count(size)) + side.after - size
            out = around(out, side.dim, side.before, max(after, 0))
    return out


def _sides(layout: Layout, windows: Sequence[Window]) -> list[Side]:
    first = len(layout.dims) - len(windows)
    return [
        Side(**vars(w), dim=dim, circular=_is_circle(layout, dim))
        for dim, w in enumerate(windows, first)
    ]


def _pads_a_circle(sides: Sequence[Side]) -> bool:
    return any(side.circular and (side.before or side.after) for side in sides)


def _rest(sides: Sequence[Side]) -> list[int]:
    """The padding that stays the operation's own."""
    return [0 if side.circular else side.before for side in sides]


def _convolution(name: str, layout: Layout, args: list[Any]) -> Twin | None:
    if name.startswith("conv_transpose"):
        return _transposed(name, layout, args)
    given = [*args, *[None, 1, 0, 1, 1][len(args) - 2 :]]
    if name.endswith("convolution"):
        if given[6]:
            order = [0, 1, 2, 3, 4, 7, 8, 5]
            ndim = given[1].ndim - 2
            return _transposed(f"conv_transpose{ndim}d", layout, [given[i] for i in order])
        given = [*given[:6], given[8]]
    x, weight, bias, stride, padding, dilation, groups = given
    kernel = weight.shape[2:]
    before, after = paddings(padding, kernel, dilation)
    sides = _sides(layout, windows_of(kernel, stride, before, after, dilation))
    uneven = any(not s.circular and s.before != s.after for s in sides)
    if not _pads_a_circle(sides) or uneven:
        return None
    run = getattr(torch, f"conv{len(kernel)}d")
    return lambda: run(_continued(x, sides), weight, bias, stride, _rest(sides), dilation, groups)


def _transposed(name: str, layout: Layout, args: list[Any]) -> Twin | None:
    """What a transposed convolution writes beyond one edge comes in again at the other."""
    given = [*args, *[None, 1, 0, 0, 1, 1][len(args) - 2 :]]
    x, weight, bias, stride, padding, extra, groups, dilation = given
    sides = _sides(layout, windows_of(weight.shape[2:], stride, padding, dilation=dilation))
    reach = [-(-(s.span - 1) // s.step) if s.circular else 0 for s in sides]
    if not any(reach):
        return None
    crop = [s.before + r * s.step for s, r in zip(sides, reach, strict=True)]

    def run() -> torch.Tensor:
        long = x
        for side, more in zip(sides, reach, strict=True):
            long = around(long, side.dim, more, more)
        out: torch.Tensor = getattr(torch, name)(
            long, weight, bias, stride, crop, extra, groups, dilation
        )
        return out

    return run


def _pool(name: str, layout: Layout, args: list[Any]) -> Twin | None:
    ndim = int(name[-2])
    average = name.startswith("avg")
    defaults: list[Any] = [(), 0, False, True, None] if average else [(), 0, 1, False]
    given = [*args, *defaults[len(args) - 2 :]]
    x, kernel, stride, padding = given[:4]
    kernel = per_axis(kernel, ndim)
    steps = kernel if isinstance(stride, Sequence) and not stride else per_axis(stride, ndim)
    dilation = 1 if average else given[4]
    ceil = given[4] if average else given[5]
    windows = windows_of(kernel, steps, padding, dilation=dilation, ceil=bool(ceil))
    sides = _sides(layout, windows)
    if average and not given[5] and any(s.before and not s.circular for s in sides):
        return None
    if not _pads_a_circle(sides):
        return None
    rest: list[Any] = [ceil, True, given[6]] if average else [dilation, ceil]
    run = getattr(torch.nn.functional if average else torch, f"{name[:3]}_pool{ndim}d")
    return lambda: run(_continued(x, sides), kernel, steps, _rest(sides), *rest)


def _pad(name: str, layout: Layout, args: list[Any]) -> Twin | None:
    x, amounts, *rest = args
    mode = rest[0] if name == "pad" and rest else "constant"
    rank = len(layout.dims)
    dims = [rank - 1 - i for i in range(len(amounts) // 2)]
    pairs = {d: (amounts[2 * i], amounts[2 * i + 1]) for i, d in enumerate(dims)}
    moved = [d for d in dims if _is_circle(layout, d) and max(pairs[d]) > 0]
    crops = any(min(pairs[d]) < 0 for d in moved)  # before it pads: torch's own circular mode too
    if not moved or (mode == "circular" and not crops):
        return None
    others = [0 if d in moved else n for d in dims for n in pairs[d]]

    def run() -> torch.Tensor:
        out: torch.Tensor = x
        for dim in moved:
            before, after = pairs[dim]
            out = around(out, dim, max(before, 0), max(after, 0))
            kept = out.shape[dim] + min(before, 0) + min(after, 0)
            out = out.narrow(dim, max(-before, 0), kept)
        if any(others):
            out = getattr(torch.ops.aten, name)(out, others, *rest)
        return out

    return run


def _unfold(name: str, layout: Layout, args: list[Any]) -> Twin | None:
    x, kernel, dilation, padding, stride = args
    sides = _sides(layout, windows_of(per_axis(kernel, 2), stride, padding, dilation=dilation))
    if not _pads_a_circle(sides):
        return None
    return lambda: torch.nn.functional.unfold(
        _continued(x, sides), kernel, dilation, tuple(_rest(sides)), stride
    )


NAMES: dict[Callable[[str, Layout, list[Any]], Twin | None], Sequence[str]] = {
    _convolution: ("conv{}d", "conv_transpose{}d", "convolution", "_convolution"),
    _pool: ("max_pool{}d", "avg_pool{}d"),
    _pad: ("pad", "constant_pad_nd", "reflection_pad{}d", "replication_pad{}d"),
    _unfold: ("im2col",),
}
MAKERS = {
    name.format(n): make for make, names in NAMES.items() for name in names for n in (1, 2, 3)
}
