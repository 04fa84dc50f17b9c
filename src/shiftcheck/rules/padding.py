"""Padding of the last dimensions, and its negative: cropping."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.lattice.axis import Axis, GeometryError, resample, window
from shiftcheck.lattice.frequencies import more_frequencies
from shiftcheck.lattice.layout import Layout, Waves, map_axes
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import CauseForm
from shiftcheck.rules.common import need_layout
from shiftcheck.rules.note_causes import note_edges
from shiftcheck.rules.registry import register_rule


def _pad(x: object, pad: Sequence[int], mode: str, value: float | None = None) -> Layout:
    layout = need_layout(x, "the padded tensor")
    padded = len(pad) // 2
    rank = len(layout.dims)
    dims = [rank - 1 - i for i in range(padded) if (pad[2 * i], pad[2 * i + 1]) != (0, 0)]
    if layout.holds_copies(dims):
        raise GeometryError("the batch is padded")
    for d in [d for d in dims if layout.dims[d] and layout.dims[d][0].kind == "frequency"]:
        if mode != "constant" or value:
            raise GeometryError("frequencies are padded with something else than zero")
        side = pad[2 * (rank - 1 - d) :]
        layout = more_frequencies(layout, d, side[0], side[1])
        dims.remove(d)
    if value and any(isinstance(state, Waves) for state in layout.axes):
        raise GeometryError("something else than zero is put beside the frequencies of a signal")
    layout = within_windows(layout, dims)
    sides = {rank - 1 - i: (pad[2 * i], pad[2 * i + 1]) for i in range(padded)}
    sizes = [layout.shape[d] + sum(sides[d]) for d in dims]

    def change(axis: Axis, i: int) -> Axis:
        left, right = sides[dims[i]]
        if mode == "circular":  # what is cropped on one side does not come back on the other
            axis = _cropped(axis, max(-left, 0), max(-right, 0))
            left = max(left, 0)
        return resample(axis, window(1, [-left]), sizes[i], wrap=mode == "circular")

    out = map_axes(layout, dims, change, sizes)
    crops = mode == "circular" and any(min(sides[d]) < 0 for d in dims)
    if crops:
        what, form = "circular padding of what a crop left", CauseForm.AFTER_A_CROP
    else:
        what, form = f"{mode} padding", CauseForm.OWN_PADDING
    return note_edges(layout, out, dims, change, what, form)


def _cropped(axis: Axis, left: int, right: int) -> Axis:
    if not left and not right:
        return axis
    return resample(axis, window(1, [left]), axis.size - left - right)


@register_rule(
    "aten::pad",
    law="1 -> 1; the padded samples are not valid, except circular ones on one turn of a circle",
    source="torch.nn.functional.pad",
    keeps_frequencies=True,
)
def pad(
    x: object, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Layout:
    """Padding in any mode; negative amounts crop, before anything is wrapped around."""
    return _pad(x, pad, mode, value)


@register_rule("aten::constant_pad_nd", law="as pad", keeps_frequencies=True)
def constant_pad(x: object, pad: Sequence[int], value: float = 0) -> Layout:
    """Padding with a constant."""
    return _pad(x, pad, "constant", value)


@register_rule(*(f"aten::reflection_pad{n}d" for n in (1, 2, 3)), law="as pad")
def reflection_pad(x: object, padding: Sequence[int]) -> Layout:
    """Padding with the mirrored signal."""
    return _pad(x, padding, "reflect")


@register_rule(*(f"aten::replication_pad{n}d" for n in (1, 2, 3)), law="as pad")
def replication_pad(x: object, padding: Sequence[int]) -> Layout:
    """Padding with the edge's value."""
    return _pad(x, padding, "replicate")
