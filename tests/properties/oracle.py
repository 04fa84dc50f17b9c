"""What a local network does along one axis, found by experiments in float64 alone.

The network is run on its own size and on canvases with real content all around. Where both give
the same value whatever surrounds the input, the sample is one of the infinite plane. Nothing is
known here about layers, padding or receptive fields: everything is observed.

Each experiment can only miss a dependence that hides (behind a maximum, a saturation, a product
with zero), never invent one: a mask may have too many valid samples, a halo be too narrow, and a
period too short, but not the other way round. Many draws of several magnitudes and signs keep this
rare. One canvas grows along one axis only; the other axes keep their size, and so their padding.
"""

from dataclasses import dataclass
from fractions import Fraction

import torch

# Rounding stays below 1e-14 of the largest value. Real differences are above 1e-10, but for those
# behind a saturated function, which other draws show larger.
TOLERANCE = 1e-12
LARGEST_MARGIN = 400
# Magnitudes of what surrounds the input, or of what changes one pixel, and its sign (0: mixed).
DRAWS = tuple((size, sign) for size in (1.0, 30.0, 1000.0) for sign in (0, 0, 1, -1))


class OracleError(Exception):
    """The experiments give no answer for this network."""


@dataclass(frozen=True)
class Truth:
    """One axis: input pixels per sample, least period, valid samples, pixels seen to each side."""

    stride: Fraction
    period: int
    mask: tuple[bool, ...]
    halo: tuple[Fraction, Fraction]


def truth(f, shape, axis, multiple, seed=0, *, mixes=False):
    """Observe ``f`` along a spatial axis; ``multiple`` is a shift under which it is equivariant.

    ``mixes``: the network adds all values of a run before it tells them apart, as a Fourier
    transform does, so that each sample has the rounding of the largest value on the canvas. What
    lies around is then told from the rest by draws of its own size.

    A wrong ``multiple`` raises OracleError, as does a network whose border reaches everywhere.
    """
    with torch.no_grad():
        return Experiment(f, shape, axis, multiple, seed, mixes=mixes).result()


def truths(f, shape, multiples, seed=0):
    """The truth of every spatial axis."""
    return [truth(f, shape, axis, multiple, seed) for axis, multiple in enumerate(multiples)]


class Experiment:
    """The runs that find out about one axis.

    ``margin`` pixels of content lie before and after the input on a canvas; ``turn`` is the output
    shift that belongs to the input shift ``multiple``, and ``origin`` the sample on the canvas that
    corresponds to the first one of the input alone.
    """

    def __init__(self, f, shape, axis, multiple, seed, *, mixes=False):
        self.mixes = mixes
        self.f, self.shape, self.dim, self.multiple = f, shape, axis + 2, multiple
        self.generator = torch.Generator().manual_seed(seed)
        self.size = shape[self.dim]
        self.samples = f(self.content(self.size, 1)).shape[self.dim]
        self.margin = multiple * -(-max(12, 2 * multiple) // multiple)
        while not (self.find_turn() and self.far_from_the_border()):
            self.margin *= 2
            if self.margin > LARGEST_MARGIN:
                raise OracleError(f"no canvas of up to {LARGEST_MARGIN} pixels is large enough")

    @property
    def origin(self):
        return self.margin // self.multiple * self.turn

    @property
    def stride(self):
        return Fraction(self.multiple, self.turn)

    def result(self):
        period = self.period()
        return Truth(self.stride, period, tuple(self.mask().tolist()), self.halo(period))

    def content(self, length, batch, size=1.0, sign=0):
        """Random values of one magnitude, ``length`` pixels of them along the axis."""
        shape = [batch, *self.shape[1:]]
        shape[self.dim] = length
        values = size * torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return values.abs() * sign if sign else values

    def surrounded(self, inner, margin, size=1.0, sign=0):
        """A canvas with ``margin`` more pixels of content on both sides."""
        sides = [self.content(margin, inner.shape[0], size, sign) for _ in range(2)]
        return torch.cat((sides[0], inner, sides[1]), dim=self.dim)

    def along(self, tensor, start, stop):
        return tensor.narrow(self.dim, start, stop - start)

    def differs(self, y, z, largest=1.0):
        """Per batch element and sample along the axis: whether any channel differs.

        ``largest``: the magnitude of the largest values that the runs were given.
        """
        others = tuple(d for d in range(2, y.ndim))
        scale = z.abs().amax(others, keepdim=True) * (largest if self.mixes else 1.0)
        unequal = ~((y - z).abs() <= TOLERANCE * scale)
        return unequal.movedim(self.dim, 1).flatten(2).any(2)

    def moved(self, canvas, shifts):
        """The canvas moved by each of the shifts, with new content where it left."""
        copies = [canvas]
        for v in shifts:
            kept = self.along(canvas, 0, canvas.shape[self.dim] - v)
            copies.append(torch.cat((self.content(v, 1), kept), dim=self.dim))
        return torch.cat(copies)

    def find_turn(self):
        """Whether the middle of the output moves as a whole, by one single distance."""
        canvas = self.content(self.size + 2 * self.margin, 1)
        still, moved = self.f(self.moved(canvas, [self.multiple])).split(1)
        length = still.shape[self.dim]
        low, high = length // 3, length - length // 3
        fits = []
        for w in range(-low, low + 1):
            wanted = self.along(still, low - w, high - w)
            if not self.differs(self.along(moved, low, high), wanted).any():
                fits.append(w)
        if len(fits) > 1:
            raise OracleError("the output repeats itself: its shift cannot be told")
        self.turn = fits[0] if fits else 0
        return self.turn > 0

    def far_from_the_border(self):
        """Whether the samples around the origin ignore what lies beyond the canvas."""
        start, stop = self.origin - self.turn, self.origin + max(self.samples, self.turn)
        if start < 0:
            return False
        canvas = self.content(self.size + 2 * self.margin, 1)
        near = self.f(canvas)
        self.check_size(near)
        if stop > near.shape[self.dim]:
            return False
        for size, sign in DRAWS:
            far = self.f(self.surrounded(canvas, self.margin, size, sign))
            wanted = self.along(near, start, stop)
            found = self.along(far, start + self.origin, stop + self.origin)
            if self.differs(found, wanted, size).any():
                return False
        return True

    def check_size(self, y):
        if y.shape[self.dim] != self.samples + 2 * self.origin:
            raise OracleError(
                f"a canvas of {self.size} + 2 * {self.margin} pixels gives {y.shape[self.dim]}"
                f" samples, not {self.samples} + 2 * {self.origin}"
            )

    def period(self):
        """The least shift that the interior follows by a whole number of samples."""
        canvas = self.content(self.size + 2 * self.margin, 1)
        whole = [v for v in range(1, self.multiple + 1) if (v / self.stride).denominator == 1]
        still, *moved = self.f(self.moved(canvas, whole)).split(1)
        start, stop = self.origin, self.origin + max(self.samples, self.turn)
        for v, y in zip(whole, moved, strict=True):
            w = int(v / self.stride)
            wanted = self.along(still, start - w, stop - w)
            if not self.differs(self.along(y, start, stop), wanted).any():
                return v
        raise OracleError(f"a shift by {self.multiple} is not followed")

    def mask(self):
        """Which samples keep their value when the input goes on, however it goes on."""
        valid = torch.ones(self.samples, dtype=torch.bool)
        for size, sign in DRAWS:
            for inner_size in (1.0, 3.0):
                inner = self.content(self.size, 2, inner_size)
                alone = self.f(inner)
                amid = self.f(self.surrounded(inner, self.margin, size, sign))
                amid = self.along(amid, self.origin, self.origin + self.samples)
                valid &= ~self.differs(amid, alone, size).any(0)
        return valid

    def halo(self, period):
        """The farthest pixels to the left and the right whose change changes a sample."""
        turn = int(period / self.stride)
        reach = self.reach(period, turn)
        first, last = max(0, self.margin - reach), self.margin + period + reach
        pixels = range(first, min(last, self.size + 2 * self.margin))
        seen = torch.zeros(len(pixels), turn, dtype=torch.bool)
        for size, sign in DRAWS:
            seen |= self.changed(pixels, turn, size, sign)
        return self.extent(pixels, seen)

    def extent(self, pixels, seen):
        left, right = [], []
        for p in range(seen.shape[1]):
            hits = [pixels[i] for i in seen[:, p].nonzero().flatten().tolist()]
            if hits:
                position = (self.origin + p) * self.stride
                left.append(position - hits[0])
                right.append(hits[-1] - position)
        if not left:
            raise OracleError("the output depends on nothing")
        return max(left), max(right)

    def reach(self, period, turn):
        """A distance beyond which no pixel matters to the samples of one period."""
        reach = 8
        while reach < self.margin:
            inner = self.content(period + 2 * reach, 1)
            canvases = [self.in_place(inner, reach, size, sign) for size, sign in DRAWS]
            out = self.f(torch.cat(canvases))
            out = self.along(out, self.origin, self.origin + turn)
            if not self.differs(out, out[:1], max(size for size, _ in DRAWS)).any():
                return reach
            reach *= 2
        return self.size + 2 * self.margin

    def in_place(self, inner, reach, size, sign):
        """A canvas with fixed content around the origin and new content elsewhere."""
        canvas = self.content(self.size + 2 * self.margin, 1, size, sign)
        start = self.margin - reach
        stop = min(start + inner.shape[self.dim], canvas.shape[self.dim])
        self.along(canvas, start, stop).copy_(self.along(inner, 0, stop - start))
        return canvas

    def changed(self, pixels, turn, size, sign):
        """For each pixel (row): which samples of one period its change changes."""
        canvas = self.content(self.size + 2 * self.margin, 1)
        copies = canvas.repeat(len(pixels) + 1, *[1] * (canvas.ndim - 1))
        extra = self.content(1, len(pixels), size, sign)
        for row, pixel in enumerate(pixels):
            self.along(copies[row + 1 : row + 2], pixel, pixel + 1).add_(extra[row : row + 1])
        out = self.along(self.f(copies), self.origin, self.origin + turn)
        return self.differs(out[1:], out[:1], size)
