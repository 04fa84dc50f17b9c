"""Pooling over windows, and adaptive pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from shiftcheck.lattice.axis import Axis, Taps, resample
from shiftcheck.lattice.causes import lose
from shiftcheck.lattice.factors import Dim
from shiftcheck.lattice.layout import Layout, map_axes
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.common import need_layout, per_axis, reduce_over
from shiftcheck.rules.note_causes import note_new_causes
from shiftcheck.rules.registry import register_rule
from shiftcheck.rules.sliding import Ints, Window, slid, windows_of

SHAPE = "torch.nn.{}Pool, shape section"


def _windows(
    ndim: int, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil: bool
) -> tuple[Window, ...]:
    steps = stride or kernel
    return windows_of(per_axis(kernel, ndim), steps, padding, dilation=dilation, ceil=ceil)


def _pool(x: object, windows: Sequence[Window]) -> Layout:
    layout = need_layout(x, "the input of a pool")
    sizes = [w.count(n) for w, n in zip(windows, layout.shape[-len(windows) :], strict=True)]
    taps = [None if w.idle else w.reads for w in windows]
    return slid(layout, taps, sizes, "windows that reach beyond the edge")


def _register_max_pools(ndim: int) -> None:
    @register_rule(f"aten::max_pool{ndim}d", law="stride -> 1", source=SHAPE.format("Max"))
    def max_pool(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
    ) -> Layout:
        return _pool(x, _windows(ndim, kernel_size, stride, padding, dilation, ceil_mode))

    @register_rule(f"aten::max_pool{ndim}d_with_indices", law="stride -> 1; the indices: none")
    def max_pool_with_indices(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
    ) -> tuple[Layout, Layout]:
        windows = _windows(ndim, kernel_size, stride, padding, dilation, ceil_mode)
        out = _pool(x, windows)
        assert isinstance(x, Layout)
        known = _indices(out)
        plane = x.shape[-ndim:]
        return out, PoolIndices(
            known.dims, known.axes, known.causes, known.dims, out, plane, windows
        )


def _register_average_pool(ndim: int) -> None:
    @register_rule(f"aten::avg_pool{ndim}d", law="stride -> 1", source=SHAPE.format("Avg"))
    def avg_pool(
        x: object,
        kernel_size: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Layout:
        return _pool(x, _windows(ndim, kernel_size, stride, padding, 1, ceil_mode))


def _register_adaptive_pools(ndim: int) -> None:
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
    windows: tuple[Window, ...] = ()

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
    _register_max_pools(_ndim)
    _register_average_pool(_ndim)
    _register_adaptive_pools(_ndim)
