"""Convolutions and transposed convolutions in 1, 2 and 3 dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from shiftcheck.lattice.axis import GeometryError, Taps
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import CauseForm
from shiftcheck.rules.common import mix, need_layout, no_layout, per_axis
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.sliding import Ints, paddings, slid, windows_of
from shiftcheck.rules.weights import Entries, channels_of, mixed_by, taken

ARITHMETIC = "Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016"


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
    before, after = paddings(padding, kernel, dilation)
    windows = windows_of(kernel, stride, before, after, dilation)
    sizes = [w.count(n) for w, n in zip(windows, layout.shape[-len(kernel) :], strict=True)]
    entries = taken(kernels, kernel)
    taps = [None if w.idle else w.reads_by(e) for w, e in zip(windows, entries, strict=True)]
    channels = channels_of(kernels, groups, transposed=False)
    return _convolved(layout, kernels.shape[0], channels, taps, sizes)


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
    windows = windows_of(kernel, stride, padding, dilation=dilation)
    extra = per_axis(output_padding, len(kernel))
    given = list(zip(windows, layout.shape[-len(kernel) :], extra, strict=True))
    sizes = [w.extent(n) + more for w, n, more in given]
    entries = zip(given, taken(kernels, kernel), strict=True)
    taps = [None if w.idle and not more else w.adds_by(e) for (w, _, more), e in entries]
    channels = channels_of(kernels, groups, transposed=True)
    return _convolved(layout, kernels.shape[1] * groups, channels, taps, sizes)


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


def _operands(x: object, weight: object, bias: object) -> tuple[Layout, Constant]:
    layout = need_layout(x, "the input of a convolution")
    no_layout(weight, "the weight of a convolution")
    no_layout(bias, "the bias of a convolution")
    assert isinstance(weight, Constant)
    return layout, weight


def _convolved(
    layout: Layout,
    channels: int,
    read: Entries | None,
    taps: Sequence[Taps | None],
    sizes: Sequence[int],
) -> Layout:
    """Channels mixed, and windows along the dimensions after them; those with None stay.

    ``read``: which channels each reads, where that is known.
    """
    rank, ndim = len(layout.dims), len(sizes)
    if rank == ndim + 1 and len(layout.axes) < ndim:
        raise GeometryError("the input is taken for one without a batch: add it with x[None]")
    mixed = mix(layout, rank - ndim - 1, channels, "a convolution")
    mixed = mixed_by(layout, mixed, rank - ndim - 1, read)
    return slid(mixed, taps, sizes, "its own padding", CauseForm.OWN_PADDING, since=layout)
