"""What one operation does to a shift, found by experiments; nothing is known of the operation.

It is run on noise of its own, on the sizes it is given and on canvases with real content all
around. An experiment can miss a dependence that hides, never invent one, so whatever does not fit
together is refused: there is no answer then, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np
import torch

from shiftcheck.lattice.axis import Mask
from shiftcheck.tracing.probing.lab import (
    DRAWS,
    ROUNDING,
    Lab,
    Operation,
    Tensors,
    all_finite,
    lab_of,
    short,
    unequal,
)
from shiftcheck.tracing.probing.laws import AxisLaw, Law, NoAnswerError, Operand
from shiftcheck.tracing.restoring.generators import undisturbed

MODERATE = ((1.0, 0), (30.0, 0), (30.0, 1), (30.0, -1))
"""The same where larger values would drown the others in rounding."""

LONGEST_PERIOD = 32
"""The largest period that is looked for, in samples of the coarsest operand."""

MARGINS = (48, 144)
"""Content around the signal on a canvas; the second where something sees further than the first."""

FAR = 1024
"""How much further it is looked whether something sees beyond the canvas, where memory allows."""

MOST_VALUES = 2**22
"""The largest canvas, in values; what needs a larger one is not probed."""

FAR_ROUNDING = 4096.0
"""The same where the places themselves are large numbers, as on a far canvas."""


def measure_law(
    operation: Operation,
    operands: Sequence[Operand],
    *,
    circular: Sequence[bool],
    dtype: torch.dtype,
    device: torch.device,
) -> Law:
    """The law of one output of an operation of tensors.

    Args:
        operation: a function of tensors of the operands' shapes, and of larger ones.
        operands: the tensors that are shifted.
        circular: the axes on which every operand is one closed turn.
        dtype: of the noise where float64 is refused.
        device: of the noise.

    Raises:
        NoAnswerError: where the operation has no law that can be measured.
    """
    with undisturbed():
        lab = lab_of(operation, operands, dtype, device)
        shape = lab.repeatable()
        axes = [_AxisProbe(lab, a).law(ring) for a, ring in enumerate(circular)]
        if len({law.dim for law in axes}) < len(axes):
            raise NoAnswerError("two axes end up in one dimension")
        _check_together(lab, axes, DRAWS)
        if lab.dtype != dtype:  # what it does in float64 must be what it does in its own type
            _check_together(Lab(lab.operation, operands, dtype, device), axes, MODERATE)
        return Law(shape=shape, axes=tuple(axes))


def same_alone(operation: Operation, like: Sequence[torch.Tensor], copies: int) -> bool:
    """Whether copies along the first dimension of noise like tensors give what they give alone."""
    with undisturbed():
        generator = torch.Generator().manual_seed(1)
        for size in (1.0, 1e3):
            drawn = [torch.randn(t.shape, generator=generator, device="cpu") for t in like]
            whole = [(size * noise).to(like[0].device, like[0].dtype) for noise in drawn]
            together = operation([t.clone() for t in whole])
            if together.ndim == 0 or together.shape[0] % copies:
                return False
            for copy in (0, copies - 1):
                alone = operation([t.chunk(copies)[copy].clone() for t in whole])
                part = together.chunk(copies)[copy]
                if part.shape != alone.shape or bool(unequal(part, alone, ROUNDING).any()):
                    return False
    return True


class _AxisProbe:
    """The experiments along one axis."""

    def __init__(self, lab: Lab, axis: int) -> None:
        self.lab, self.axis = lab, axis
        self.margin = self.steps = self.samples = self.dim = 0

    def law(self, ring: bool) -> AxisLaw:
        """Everything along this axis; raises NoAnswerError."""
        alone = self.lab.run(self.noise(0))
        self._find_canvas(alone)
        valid = self._valid(alone)
        spans = tuple(self._spans(i, alone) for i in range(len(self.lab.operands)))
        law = AxisLaw(
            dim=self.dim,
            steps=self.steps,
            samples=self.samples,
            spans=spans,
            valid=valid,
            circle=False,
        )
        inside = law.inside(self.sizes, self.rates)
        if bool((inside & ~valid).any()):
            raise NoAnswerError(f"what it gives depends on the place along axis {self.axis}")
        return replace(law, valid=valid & inside, circle=ring and self._closes(alone))

    @property
    def sizes(self) -> list[int]:
        """The sizes of the operands along the axis."""
        return [o.shape[o.dims[self.axis]] for o in self.lab.operands]

    @property
    def rates(self) -> list[int]:
        """Samples of each operand in a step."""
        return [o.rates[self.axis] for o in self.lab.operands]

    @property
    def origin(self) -> int:
        """The sample on the canvas that corresponds to the first one of the signal alone."""
        return self.margin // self.steps * self.samples

    def noise(self, extra: int, size: float = 1.0, sign: int = 0) -> Tensors:
        """Operands longer by ``extra`` steps along this axis."""
        axes = range(len(self.lab.operands[0].dims))
        return self.lab.noise([extra if a == self.axis else 0 for a in axes], size, sign)

    def along(self, y: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Samples of an output."""
        return y.narrow(self.dim, start, stop - start)

    def differs(
        self, y: torch.Tensor, z: torch.Tensor, start: int, ahead: int, length: int, slack: float
    ) -> torch.Tensor:
        """Which of ``length`` samples of y from ``start`` are not those of z from ``ahead``.

        The scale of rounding is that of all of both.
        """
        one, other = self.along(y, start, start + length), self.along(z, ahead, ahead + length)
        if slack == 0:
            unlike = one != other
        else:
            dims = tuple(d for d in range(y.ndim) if d > 1 or d == self.dim)
            scale = torch.maximum(
                y.abs().amax(dims, keepdim=True), z.abs().amax(dims, keepdim=True)
            )
            unlike = ~((one - other).abs() <= slack * torch.finfo(y.dtype).eps * scale)
        return unlike.movedim(self.dim, 0).flatten(1).any(1) if y.ndim > 1 else unlike

    def _find_canvas(self, alone: torch.Tensor) -> None:
        """The shift that moves the output, on the smallest canvas on which no border is seen."""
        reason = ""
        for margin in MARGINS:
            try:
                if not self._find_steps(alone, margin):
                    reason = f"no shift of up to {LONGEST_PERIOD} samples along axis {self.axis}"
                    reason += " moves what it gives"
                elif self._far_from_the_border(alone):
                    return
                else:
                    reason = f"what it gives depends on the whole of axis {self.axis}"
            except NoAnswerError:
                raise
            except Exception as error:  # whatever an operation that is not ours may raise
                raise NoAnswerError(f"it takes this size only: {short(error)}") from error
        raise NoAnswerError(reason)

    # -- which shift becomes which ---------------------------------------------------------------

    def _find_steps(self, alone: torch.Tensor, margin: int) -> bool:
        """Whether a shift moves the output; the smallest one, and by how much."""
        room = LONGEST_PERIOD
        if self._values(margin + room) > MOST_VALUES:
            raise NoAnswerError("it is too large to be tried on a canvas")
        source = self.noise(2 * margin + 2 * room)
        still = self.lab.run(self._window(source, room, margin))
        self.dim = self._grown(alone, still)
        rate = Fraction(still.shape[self.dim] - alone.shape[self.dim], 2 * margin)
        if rate <= 0:
            raise NoAnswerError(f"it shrinks as axis {self.axis} grows")
        for steps in range(1, room + 1):
            moved = self.lab.run(self._window(source, room - steps, margin))
            fits = [w for w in _near(steps * rate) if self._moves(still, moved, w)]
            if len(fits) > 1:
                raise NoAnswerError("its output repeats itself")
            if fits and self._moves_always(steps, fits[0], margin):
                self.steps, self.samples = steps, fits[0]
                self.margin = -(-margin // steps) * steps
                return True
        return False

    def _window(self, source: Tensors, start: int, margin: int) -> Tensors:
        return self.lab.cut(source, self.axis, start, 2 * margin)

    def _grown(self, alone: torch.Tensor, larger: torch.Tensor) -> int:
        """The dimension of the output that grows with the axis."""
        if alone.ndim != larger.ndim:
            raise NoAnswerError("the rank of what it gives depends on the size")
        pairs = zip(alone.shape, larger.shape, strict=True)
        grown = [d for d, (n, m) in enumerate(pairs) if n != m]
        if len(grown) != 1:
            what = "no dimension" if not grown else "several dimensions"
            raise NoAnswerError(f"{what} of what it gives has the size of axis {self.axis}")
        return grown[0]

    def _moves(self, still: torch.Tensor, moved: torch.Tensor, by: int) -> bool:
        """Whether the middle of the output moves by so many samples."""
        length = still.shape[self.dim]
        low, high = length // 3, length - length // 3
        if by < 1 or by > low or moved.shape != still.shape:
            return False
        return not bool(self.differs(moved, still, low, low - by, high - low, ROUNDING).any())

    def _moves_always(self, steps: int, by: int, margin: int) -> bool:
        """The same for other signals, of other magnitudes, in both directions."""
        for size, sign in DRAWS:
            source = self.noise(2 * margin + 2 * steps, size, sign)
            ahead, still, back = (
                self.lab.run(self._window(source, start, margin), finite=size == 1.0)
                for start in (0, steps, 2 * steps)
            )
            if not all_finite(ahead, still, back):
                continue
            if not (self._moves(still, ahead, by) and self._moves(back, still, by)):
                return False
        return True

    # -- what lies beyond ------------------------------------------------------------------------

    def _region(self, alone: torch.Tensor) -> tuple[int, int]:
        """The samples of the canvas that are looked at: the signal's own and some around them."""
        around = self.origin // 2
        return self.origin - around, self.origin + alone.shape[self.dim] + around

    def _far_from_the_border(self, alone: torch.Tensor) -> bool:
        """Whether the region on the canvas ignores what lies beyond the canvas."""
        start, stop = self._region(alone)
        far = self._affordable()
        ahead = start + far // self.steps * self.samples
        for size, sign in DRAWS:
            canvas = self.noise(2 * self.margin)
            near = self.lab.run(canvas)
            wide = self.lab.surrounded(canvas, self.axis, far, size, sign)
            beyond = self.lab.run(wide, finite=size == 1.0)
            if stop > near.shape[self.dim] or ahead + stop - start > beyond.shape[self.dim]:
                raise NoAnswerError(f"the size of axis {self.axis} does not grow as it shifts")
            if not all_finite(beyond):
                continue
            if bool(self.differs(beyond, near, ahead, start, stop - start, FAR_ROUNDING).any()):
                return False
        return True

    def _affordable(self) -> int:
        """How far the far canvas reaches, a whole number of periods."""
        far = FAR
        while far > self.margin and self._values(far) > MOST_VALUES:
            far //= 2
        return -(-max(far, self.margin) // self.steps) * self.steps

    def _values(self, far: int) -> int:
        most = 0
        for operand, rate in zip(self.lab.operands, self.rates, strict=True):
            n = operand.shape[operand.dims[self.axis]]
            most = max(most, prod(operand.shape) // n * (n + 2 * far * rate))
        return most

    def _valid(self, alone: torch.Tensor) -> Mask:
        """The samples of the signal alone that are those on the canvas."""
        count = alone.shape[self.dim]
        valid = np.ones(count, dtype=bool)
        for inner_size, inner_sign in ((1.0, 0), (1e3, 0)):
            for size, sign in DRAWS:
                inner = self.noise(0, inner_size, inner_sign)
                canvas = self.lab.surrounded(inner, self.axis, self.margin, size, sign)
                both = self.lab.both(inner, canvas, usual=size == inner_size == 1.0)
                if both is not None:
                    apart = self.differs(*both, 0, self.origin, count, ROUNDING)
                    valid &= ~apart.cpu().numpy()
        return valid

    # -- what each sample sees -------------------------------------------------------------------

    def _spans(self, operand: int, alone: torch.Tensor) -> tuple[tuple[int, int] | None, ...]:
        """The first and last sample of an operand that each phase of the output sees."""
        for slack in (0.0, ROUNDING / 4):
            first = self._edges(operand, alone, slack, before=True)
            last = self._edges(operand, alone, slack, before=False)
            if first is not None and last is not None:
                break
        else:
            raise NoAnswerError(f"what it gives depends on the whole of axis {self.axis}")
        spans: list[tuple[int, int] | None] = []
        for a, b in zip(first, last, strict=True):
            if (a is None) != (b is None):
                raise NoAnswerError(f"what it sees along axis {self.axis} cannot be told")
            spans.append(None if a is None or b is None else (min(a, b), max(a, b)))
        return tuple(spans)

    def _edges(
        self, operand: int, alone: torch.Tensor, slack: float, *, before: bool
    ) -> list[int | None] | None:
        """The outermost sample that each phase sees; None where it lies beyond the region."""
        rate = self.rates[operand]
        advance = self.steps * rate
        middle = (self.margin + self.sizes[operand] // rate // 2) * rate
        edges: list[int | None] = [None] * self.samples
        start, stop = self._region(alone)
        draws = max(4, -(-len(DRAWS) * 2 // advance))
        for cut in range(middle, middle + advance):
            for draw in range(draws):
                number = cut * draws + draw
                seen = self._affected(operand, cut, number, (start, stop), slack, before)
                if len(seen) == 0:
                    continue
                last, first = stop - self.samples, start + self.samples
                if seen.max() >= last if before else seen.min() < first:
                    return None
                place = seen - self.origin
                edge = cut - self.margin * rate - place // self.samples * advance
                for phase, tap in zip(place % self.samples, edge - before, strict=True):
                    known, tap = edges[phase], int(tap)
                    worse = known is None or (tap < known if before else tap > known)
                    edges[phase] = tap if worse else known
        return edges

    def _affected(
        self,
        operand: int,
        cut: int,
        draw: int,
        region: tuple[int, int],
        slack: float,
        before: bool,
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """The samples of the region that change with everything before, or from, the cut."""
        base_size, base_sign = DRAWS[draw // 2 % len(DRAWS)]
        size, sign = DRAWS[draw % len(DRAWS)]
        base = self.noise(2 * self.margin, base_size, base_sign)
        other = self.noise(2 * self.margin, size, sign)
        dim = self.lab.operands[operand].dims[self.axis]
        length = base[operand].shape[dim]
        changed = list(base)
        source, rest = (other, base) if before else (base, other)
        changed[operand] = torch.cat(
            (source[operand].narrow(dim, 0, cut), rest[operand].narrow(dim, cut, length - cut)), dim
        )
        both = self.lab.both(base, changed, usual=size == base_size == 1.0)
        if both is None:
            return np.zeros(0, dtype=np.intp)
        start, stop = region
        apart = self.differs(*both, start, start, stop - start, slack)
        return start + np.flatnonzero(apart.cpu().numpy())

    # -- the circle ------------------------------------------------------------------------------

    def _closes(self, alone: torch.Tensor) -> bool:
        """Whether on one closed turn all of the output turns with the input."""
        count = alone.shape[self.dim]
        turns = {Fraction(n, self.steps * r) for n, r in zip(self.sizes, self.rates, strict=True)}
        if turns != {Fraction(count, self.samples)} or next(iter(turns)).denominator != 1:
            return False
        for size, sign in DRAWS:
            given = self.noise(0, size, sign)
            for way in (1, -1):
                turned = [
                    torch.roll(t, way * self.steps * rate, o.dims[self.axis])
                    for t, o, rate in zip(given, self.lab.operands, self.rates, strict=True)
                ]
                both = self.lab.both(given, turned, usual=size == 1.0)
                if both is None:
                    continue
                expected = torch.roll(both[0], way * self.samples, self.dim)
                if bool(self.differs(both[1], expected, 0, 0, count, ROUNDING).any()):
                    return False
        return True


def _near(number: Fraction) -> list[int]:
    """The whole numbers around a fraction that is known to about one."""
    low = number.numerator // number.denominator
    return [w for w in range(low - 1, low + 3) if w >= 1]


def _check_together(lab: Lab, laws: Sequence[AxisLaw], draws: Sequence[tuple[float, int]]) -> None:
    """Content on all sides at once: the samples that are valid on every axis are still the same."""
    margins = [law.steps * -(-_reach(law) // law.steps) for law in laws]
    for size, sign in draws:
        inner = lab.noise([0] * len(laws))
        canvas = inner
        for axis, margin in enumerate(margins):
            canvas = lab.surrounded(canvas, axis, margin, size, sign)
        y, z = lab.run(inner), lab.run(canvas, finite=size == 1.0)
        if tuple(y.shape[law.dim] for law in laws) != tuple(len(law.valid) for law in laws):
            raise NoAnswerError("the size of what it gives depends on the type")
        for law, margin in zip(laws, margins, strict=True):
            start = margin // law.steps * law.samples
            z = z.narrow(law.dim, start, len(law.valid))
        apart = unequal(y, z, ROUNDING) if all_finite(z) else torch.zeros_like(y, dtype=torch.bool)
        for law in laws:
            keep = torch.from_numpy(np.flatnonzero(law.valid)).to(apart.device)
            apart = apart.index_select(law.dim, keep)
        if bool(apart.any()):
            raise NoAnswerError("on a canvas in all directions it gives something else")


def _reach(law: AxisLaw) -> int:
    """Steps that lie within what any sample sees to one side, at most."""
    ends = [abs(e) for spans in law.spans for s in spans if s is not None for e in s]
    return max([law.steps, *ends]) + law.steps
