"""Where the samples of a layer stand over the pixels of the input, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Span = tuple[float, float]
"""From the first pixel to the one behind the last; infinite where all of a side is seen."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the samples of a layer stand along one axis, in pixels; pixel 0 has its centre at 0.

    ``offset``: the centre of the receptive field of sample 0, None where that is infinite or empty.
    ``origins``: sample ``q`` stands at ``origin + q * stride`` where every branch that leads here
    agrees; the least and the greatest origin of a branch, the phases of a period averaged. They
    differ where branches were joined whose centres differ. ``fields``: the first and the last pixel
    that the samples of one period see on the infinite plane; sample ``q + len(fields)`` sees what
    sample ``q`` sees, ``len(fields) * stride`` pixels further on. ``samples``: how many there are.

    Example:
        >>> import torch, shiftcheck
        >>> row = shiftcheck.geometry(torch.nn.MaxPool2d(2), (1, 1, 16, 20)).layers[0]
        >>> along = row.placement[1]
        >>> along.samples, str(along.offset), along.field(3), str(along.centre(3))
        (10, '1/2', (6, 8), '13/2')
        >>> along.extent  # from edge to edge, as matplotlib's imshow takes it
        (-0.5, 19.5)
    """

    samples: int
    stride: Fraction
    offset: Fraction | None
    origins: tuple[Fraction, Fraction]
    fields: tuple[Span, ...]

    @property
    def aligned(self) -> bool:
        """Whether all branches that lead here have the same centres."""
        return self.origins[0] == self.origins[1]

    @property
    def extent(self) -> tuple[float, float]:
        """Where the cells of the samples begin and end, in pixels, to draw them over an image.

        Where branches differ, in the middle between the outermost two.
        """
        origin, half = sum(self.origins) / 2, self.stride / 2
        return float(origin - half), float(origin + self.samples * self.stride - half)

    def field(self, sample: int) -> Span | None:
        """The pixels that a sample sees, from the first to the one behind the last.

        They may lie outside of the image, where padding is. Pixels between them may be unseen, as
        in a dilated kernel. None for a sample that sees nothing.
        """
        turns, phase = divmod(sample, len(self.fields))
        first, last = self.fields[phase]
        ahead = turns * len(self.fields) * self.stride
        return None if first > last else (_moved(first, ahead), _moved(last + 1, ahead))

    def centre(self, sample: int) -> Fraction | None:
        """The middle of what a sample sees, None where that is infinite or empty."""
        field = self.field(sample)
        if field is None or not all(map(math.isfinite, field)):
            return None
        return Fraction(int(field[0]) + int(field[1]) - 1, 2)

    def seeing(self, pixel: int, turn: int | None = None) -> tuple[tuple[int, int], ...]:
        """The stored samples whose field holds a pixel, as runs (start, stop).

        ``turn``: the pixels in one turn of a circle, where the axis is one.
        """
        return _runs([q for q in range(self.samples) if self._sees(q, pixel, turn)])

    def _sees(self, sample: int, pixel: int, turn: int | None) -> bool:
        field = self.field(sample)
        if field is None:
            return False
        start, stop = field
        if turn is None or not math.isfinite(start):
            return start <= pixel < stop
        return start + (pixel - start) % turn < stop


@dataclass(frozen=True, kw_only=True)
class Located:
    """What one sample of a layer sees of the input, along each axis.

    ``field``: its pixels from the first to the one behind the last, which may lie outside of the
    image. ``centre``: their middle; half a pixel where they are even in number. None along an axis
    that the layer has lost, or of which the sample sees nothing; without a centre where it sees
    all of a side.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.geometry(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 1, 16, 20))
        >>> seen = report.locate("conv2d", (0, 7))
        >>> seen.field, [str(c) for c in seen.centre]
        (((-1, 2), (6, 9)), ['0', '7'])
    """

    layer: str
    index: tuple[int, ...]
    field: tuple[Span | None, ...]
    centre: tuple[Fraction | None, ...]


def located(layer: str, placement: Sequence[Placement | None], index: Sequence[int]) -> Located:
    """What the sample at ``index`` sees, by the placement of its layer."""
    pairs = list(zip(placement, index, strict=True))
    return Located(
        layer=layer,
        index=tuple(index),
        field=tuple(None if p is None else p.field(q) for p, q in pairs),
        centre=tuple(None if p is None else p.centre(q) for p, q in pairs),
    )


def _moved(pixel: float, ahead: Fraction) -> float:
    return int(pixel) + int(ahead) if math.isfinite(pixel) else pixel


def _runs(samples: Sequence[int]) -> tuple[tuple[int, int], ...]:
    starts = [q for i, q in enumerate(samples) if not i or samples[i - 1] != q - 1]
    stops = [
        q + 1 for i, q in enumerate(samples) if i + 1 == len(samples) or samples[i + 1] != q + 1
    ]
    return tuple(zip(starts, stops, strict=True))
