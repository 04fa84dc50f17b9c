"""Convolutions and transposed convolutions in 1, 2 and 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shiftcheck.lattice.axis import Axis, GeometryError, Taps, resample, window
from shiftcheck.lattice.layout import Layout, map_axes
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import CauseForm
from shiftcheck.rules.common import mix, need_layout, no_layout, per_axis
from shiftcheck.rules.note_causes import note_edges, note_new_causes
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule

ARITHMETIC = "Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016"

Ints = int | Sequence[int]


@register_rule(
    "aten::conv1d",
    "aten::conv2d",
    "aten::conv3d",
    law="stride -> 1; 1 -> 1 at stride 1, for any kernel, dilation and groups",
    source=ARITHMETIC,
)
def convolution(
    x: object,
    weight: object,
    bias: object = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Layout:
    """A cross-correlation with the weight ``[out, in / groups, *kernel]``."""
    layout, kernels = _operands(x, weight, bias)
    kernel = kernels.shape[2:]
    ndim = len(kernel)
    steps, dilations = per_axis(stride, ndim), per_axis(dilation, ndim)
    before, after = _paddings(padding, kernel, dilations)
    dims = _spatial(layout, ndim)

    def size(i: int) -> int:
        span = dilations[i] * (kernel[i] - 1) + 1
        n = layout.shape[dims[i]]
        return (n + before[i] + after[i] - span) // steps[i] + 1

    def change(axis: Axis, i: int) -> Axis:
        taps = window(steps[i], [j * dilations[i] - before[i] for j in range(kernel[i])])
        return resample(axis, taps, size(i))

    sides = zip(kernel, steps, before, after, strict=True)
    idle = [d for d, side in zip(dims, sides, strict=True) if side == (1, 1, 0, 0)]
    return _convolved(layout, kernels, dims, change, size, idle, out_channels=0)


@register_rule(
    "aten::conv_transpose1d",
    "aten::conv_transpose2d",
    "aten::conv_transpose3d",
    law="1 -> stride, for any output_padding",
    source=ARITHMETIC,
)
def transposed_convolution(
    x: object,
    weight: object,
    bias: object = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Layout:
    """The adjoint of a convolution with the weight ``[in, out / groups, *kernel]``."""
    layout, kernels = _operands(x, weight, bias)
    kernel = kernels.shape[2:]
    ndim = len(kernel)
    steps, pads = per_axis(stride, ndim), per_axis(padding, ndim)
    extra, dilations = per_axis(output_padding, ndim), per_axis(dilation, ndim)
    dims = _spatial(layout, ndim)

    def size(i: int) -> int:
        span = dilations[i] * (kernel[i] - 1) + 1
        return (layout.shape[dims[i]] - 1) * steps[i] - 2 * pads[i] + span + extra[i]

    def change(axis: Axis, i: int) -> Axis:
        return resample(axis, spread(steps[i], kernel[i], dilations[i], pads[i]), size(i))

    sides = zip(kernel, steps, pads, extra, strict=True)
    idle = [d for d, side in zip(dims, sides, strict=True) if side == (1, 1, 0, 0)]
    return _convolved(layout, kernels, dims, change, size, idle, out_channels=1, groups=groups)


@register_rule(
    "aten::convolution", "aten::_convolution", law="as conv and conv_transpose", source=ARITHMETIC
)
def any_convolution(
    x: object,
    weight: object,
    bias: object,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    *_: bool,
) -> Layout:
    """The one operation that all convolutions become outside inference mode."""
    if transposed:
        return transposed_convolution(
            x, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return convolution(x, weight, bias, stride, padding, dilation, groups)


def spread(step: int, kernel: int, dilation: int, padding: int) -> Taps:
    """Taps of a transposed convolution: output ``r`` reads ``(r + padding - j*dilation)/step``."""
    phases = []
    for r in range(step):
        reads = [r + padding - j * dilation for j in range(kernel)]
        phases.append(tuple(at // step for at in reads if at % step == 0))
    return Taps(num=1, phases=tuple(phases))


def _operands(x: object, weight: object, bias: object) -> tuple[Layout, Constant]:
    layout = need_layout(x, "the input of a convolution")
    no_layout(weight, "the weight of a convolution")
    no_layout(bias, "the bias of a convolution")
    assert isinstance(weight, Constant)
    return layout, weight


def _spatial(layout: Layout, ndim: int) -> tuple[int, ...]:
    rank = len(layout.dims)
    if rank == ndim + 1 and len(layout.axes) < ndim:
        raise GeometryError("the input is taken for one without a batch: add it with x[None]")
    return tuple(range(rank - ndim, rank))


def _paddings(
    padding: Ints | str, kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if padding == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = tuple(t // 2 for t in total)
        return before, tuple(t - b for t, b in zip(total, before, strict=True))
    assert not isinstance(padding, str)
    both = per_axis(padding, len(kernel))
    return both, both


def _convolved(
    layout: Layout,
    weight: Constant,
    dims: Sequence[int],
    change: Callable[[Axis, int], Axis],
    size: Callable[[int], int],
    idle: Sequence[int],
    *,
    out_channels: int,
    groups: int = 1,
) -> Layout:
    """Channels mixed, and ``change`` along ``dims``; whatever the ``idle`` ones hold stays."""
    channels = weight.shape[out_channels] * groups
    mixed = mix(layout, dims[0] - 1, channels, "a convolution")
    active = [i for i, d in enumerate(dims) if d not in idle]
    places = [dims[i] for i in active]

    def along(axis: Axis, i: int) -> Axis:
        return change(axis, active[i])

    given = within_windows(mixed, places)
    out = note_new_causes(layout, map_axes(given, places, along, [size(i) for i in active]))
    return note_edges(given, out, places, along, "its own padding", CauseForm.OWN_PADDING)
