"""Windows that slide along a dimension: how many there are, and which samples each reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftcheck.lattice.axis import Axis, Taps, resample, window
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.windows import within_windows
from shiftcheck.report.causes import CauseForm
from shiftcheck.rules.common import per_axis
from shiftcheck.rules.note_causes import noted_change

Ints = int | Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of ``kernel`` samples, ``dilation`` apart, that advances by ``step`` samples.

    ``before`` and ``after``: the padding. ``ceil``: the last window may hang over, if it starts
    before the end.

    Example:
        >>> halving = Window(kernel=3, step=2, before=1, after=1)
        >>> halving.count(8), halving.extent(4), halving.reads
        (4, 7, Taps(num=2, phases=((-1, 0, 1),)))
    """

    kernel: int
    step: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    @property
    def span(self) -> int:
        """How many samples there are from the first that is read to the last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def idle(self) -> bool:
        """Whether each sample is a window of its own."""
        return (self.kernel, self.step, self.before, self.after) == (1, 1, 0, 0)

    @property
    def reads(self) -> Taps:
        """What each window reads."""
        return self.reads_by(range(self.kernel))

    def reads_by(self, entries: Sequence[int]) -> Taps:
        """What each window reads by some entries of the kernel."""
        return window(self.step, [j * self.dilation - self.before for j in entries])

    @property
    def adds(self) -> Taps:
        """Which windows each sample is the sum of, where windows are put back and overlap."""
        return self.adds_by(range(self.kernel))

    def adds_by(self, entries: Sequence[int]) -> Taps:
        """The same, by some entries of the kernel."""
        phases = []
        for r in range(self.step):
            reads = [r + self.before - j * self.dilation for j in entries]
            phases.append(tuple(at // self.step for at in reads if at % self.step == 0))
        return Taps(num=1, phases=tuple(phases))

    def count(self, size: int) -> int:
        """The number of windows over so many samples."""
        room = size + self.before + self.after - self.span
        if not self.ceil:
            return room // self.step + 1
        count = -(-room // self.step) + 1
        return count - 1 if (count - 1) * self.step >= size + self.before else count

    def extent(self, count: int) -> int:
        """The number of samples, without the padding, that so many windows cover."""
        return (count - 1) * self.step + self.span - self.before - self.after


def windows_of(
    kernel: Sequence[int],
    step: Ints = 1,
    before: Ints = 0,
    after: Ints | None = None,
    dilation: Ints = 1,
    ceil: bool = False,
) -> tuple[Window, ...]:
    """The window along each dimension; as much padding ``after`` it as ``before`` by default."""
    given = (step, before, before if after is None else after, dilation)
    each = zip(kernel, *(per_axis(v, len(kernel)) for v in given), strict=True)
    return tuple(
        Window(kernel=k, step=s, before=b, after=a, dilation=d, ceil=ceil) for k, s, b, a, d in each
    )


def paddings(padding: Ints | str, kernel: Sequence[int], dilation: Ints) -> tuple[Ints, Ints]:
    """The padding before and after, where that of a convolution may be a word."""
    if not isinstance(padding, str):
        return padding, padding
    spans = [w.span - 1 for w in windows_of(kernel, dilation=dilation)]
    total = spans if padding == "same" else [0] * len(kernel)
    return [t // 2 for t in total], [t - t // 2 for t in total]


def slid(
    layout: Layout,
    taps: Sequence[Taps | None],
    sizes: Sequence[int],
    detail: str,
    form: CauseForm = CauseForm.PLAIN,
    since: Layout | None = None,
) -> Layout:
    """The layout after windows along the last dimensions, of which those with None stay.

    ``since``: the layout that the causes are new to, if it is an earlier one.
    """
    moved = [i for i, reads in enumerate(taps) if reads is not None]
    dims = [len(layout.dims) - len(taps) + i for i in moved]
    given = within_windows(layout, dims)

    def change(axis: Axis, i: int) -> Axis:
        reads = taps[moved[i]]
        assert reads is not None
        return resample(axis, reads, sizes[moved[i]])

    new = [sizes[i] for i in moved]
    return noted_change(given, dims, change, new, detail, form, since)
