"""Pooling over windows, and adaptive pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from shiftcheck.lattice.axis import Axis, Taps, resample, window
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Layout, map_axes
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import need_layout, per_axis, reduce_over
from shiftcheck.rules.note_causes import note_edges, note_new_causes
from shiftcheck.rules.registry import register_rule

Ints = int | Sequence[int]


def _pool(
    x: object, ndim: int, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool
) -> Layout:
    layout = need_layout(x, "the input of a pool")
    kernels = per_axis(kernel, ndim)
    steps = per_axis(stride or kernel, ndim)
    pads, dilations = per_axis(padding, ndim), per_axis(dilation, ndim)
    every = range(len(layout.dims) - ndim, len(layout.dims))
    sides = list(zip(every, kernels, steps, pads, dilations, strict=True))
    sides = [side for side in sides if side[1:4] != (1, 1, 0)]  # the others stay as they are
    dims = tuple(side[0] for side in sides)
    layout = within_windows(layout, dims)

    def size(i: int) -> int:
        dim, kernel, step, padding, dilation = sides[i]
        span = dilation * (kernel - 1) + 1
        return pooled_size(layout.shape[dim], span, step, padding, ceil)

    def change(axis: Axis, i: int) -> Axis:
        _, kernel, step, padding, dilation = sides[i]
        taps = window(step, [j * dilation - padding for j in range(kernel)])
        return resample(axis, taps, size(i))

    out = map_axes(layout, dims, change, [size(i) for i in range(len(dims))])
    out = note_new_causes(layout, out)
    return note_edges(layout, out, dims, change, "windows that reach beyond the edge")


def pooled_size(size: int, span: int, step: int, padding: int, ceil: bool) -> int:
    """The number of windows; with ``ceil`` one may hang over, if it starts before the end."""
    room = size + 2 * padding - span
    windows = room // step + 1
    if ceil:
        windows = -(-room // step) + 1
        if (windows - 1) * step >= size + padding:
            windows -= 1
    return windows


def _register_window_pools(ndim: int) -> None:
    @register_rule(
        f"aten::max_pool{ndim}d", law="stride -> 1", source="torch.nn.MaxPool, shape section"
    )
    def max_pool(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
    ) -> Layout:
        return _pool(x, ndim, kernel_size, stride, padding, dilation, ceil_mode)

    @register_rule(f"aten::max_pool{ndim}d_with_indices", law="stride -> 1; the indices: none")
    def max_pool_with_indices(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
    ) -> tuple[Layout, Layout]:
        out = _pool(x, ndim, kernel_size, stride, padding, dilation, ceil_mode)
        steps = kernel_size if isinstance(stride, Sequence) and not stride else stride
        indices = _indices(out)
        assert isinstance(x, Layout)
        return out, PoolIndices(
            indices.dims,
            indices.axes,
            indices.causes,
            own=indices.dims,
            pooled=out,
            plane=x.shape[-ndim:],
            kernel=per_axis(kernel_size, ndim),
            steps=per_axis(steps, ndim),
            pads=per_axis(padding, ndim),
            dilations=per_axis(dilation, ndim),
        )

    @register_rule(
        f"aten::avg_pool{ndim}d", law="stride -> 1", source="torch.nn.AvgPool, shape section"
    )
    def avg_pool(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Layout:
        return _pool(x, ndim, kernel_size, stride, padding, 1, ceil_mode)

    @register_rule(f"aten::adaptive_avg_pool{ndim}d", f"aten::_adaptive_avg_pool{ndim}d", law=LAW)
    def adaptive_avg_pool(x: object, output_size: Ints) -> Layout:
        return _adaptive(x, ndim, output_size)

    @register_rule(f"aten::adaptive_max_pool{ndim}d", law=LAW)
    def adaptive_max_pool(x: object, output_size: Ints) -> tuple[Layout, Layout]:
        out = _adaptive(x, ndim, output_size)
        return out, _indices(out)


@dataclass(frozen=True, eq=False)
class PoolIndices(Layout):
    """The indices of a max pool into the plane of its input, with what is known of that pool."""

    own: tuple[Dim, ...] = ()
    pooled: Layout | None = None
    plane: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()

    @property
    def untouched(self) -> bool:
        """Whether nothing was done to them: any new layout has dimensions of its own."""
        return self.dims is self.own


def _indices(out: Layout) -> Layout:
    axes = [a for a, state in enumerate(out.axes) if isinstance(state, Axis)]
    return lose(out, axes, Cause(kind=CauseKind.INDEX, detail="indices count from a fixed place"))


LAW = "N/gcd(N, M) -> M/gcd(N, M) from N to M samples; to 1 sample: global"


def adaptive_taps(size: int, out: int) -> Taps:
    """Taps of an adaptive pool: output ``r`` reads inputs floor(r*N/M) to ceil((r+1)*N/M) - 1."""
    ratio = Fraction(size, out)
    phases = []
    for r in range(ratio.denominator):
        start = (r * ratio.numerator) // ratio.denominator
        stop = -((-(r + 1) * ratio.numerator) // ratio.denominator)
        phases.append(tuple(range(start, stop)))
    return Taps(num=ratio.numerator, phases=tuple(phases))


def _adaptive(x: object, ndim: int, output_size: Ints) -> Layout:
    layout = need_layout(x, "the input of a pool")
    dims = tuple(range(len(layout.dims) - ndim, len(layout.dims)))
    layout = within_windows(layout, dims)
    sizes = per_axis(output_size, ndim)

    single = [d for d, m in zip(dims, sizes, strict=True) if m == 1 and layout.shape[d] > 1]
    out = reduce_over(layout, single, True, "a global pool") if single else layout
    kept = [(d, m) for d, m in zip(dims, sizes, strict=True) if d not in single]

    def resized(axis: Axis, i: int) -> Axis:
        return resample(axis, adaptive_taps(axis.size, kept[i][1]), kept[i][1])

    out = map_axes(out, [d for d, _ in kept], resized, [m for _, m in kept])
    return note_new_causes(layout, out)


for _ndim in (1, 2, 3):
    _register_window_pools(_ndim)
