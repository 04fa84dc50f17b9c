"""The input sizes that a model accepts and at which a check can tell something, by its geometry."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.outlook import Outlook, outlook, stretch_of
from shiftcheck.lattice.sizes import Smallest, smallest_below, smallest_sizes
from shiftcheck.measuring.signals.samples import is_whole
from shiftcheck.strategies.question import Question, Seen, Sizes

BASES = (64, 32, 128, 48, 60, 96, 256, 16, 24, 224, 28, 512, 240, 384, 1024, 8, 12, 6, 4, 3, 2)
"""Sizes of one kind after another that are tried until the model accepts one."""

EVERY = 200
"""Up to this size every one is tried where the model accepts none of BASES."""

ASKED = 20
"""Sizes below this one are asked for one by one where no other way leads to the smallest."""

LIMIT = 2048
"""A size that suffices is looked for up to this one."""

REACH = {1: 48, 2: 24, 3: 8}
"""How far, in pixels, the sizes go beyond the smallest that suffices, by the number of axes."""

ROOM = 256
"""So many pixels beyond the smallest are tried for a large shift, however large it is."""

STEPS, PIXELS = 8, 16
"""The default largest shift: so many steps of the lattice, or fewer that make so many pixels."""


def farthest_by_default(step: int) -> int:
    """The largest shift that is drawn where the user does not say."""
    return max(2, min(STEPS, PIXELS // step)) * step


@dataclass(frozen=True, kw_only=True, eq=False)
class Accepted:
    """The answer: sizes, channel counts, and the shift that the strides of the outputs ask.

    ``probed`` is the channel count with which the sizes were found, one of ``channels``.
    ``smallest``: the smallest sizes, and the steps by which larger ones follow. ``lengths`` hold,
    for each axis, the sizes at which a shift by ``lattice`` tells something; where none does
    (``comparable`` is False), those that the model accepts at all. ``whole``, if not None, holds
    the only combinations.
    """

    question: Question
    base: Sizes
    probed: int
    channels: tuple[int, ...]
    lattice: Sizes
    smallest: Smallest
    lengths: tuple[tuple[int, ...], ...]
    comparable: bool
    whole: tuple[Sizes, ...] | None = None

    def lengths_for(self, axis: int, pixels: int) -> list[int]:
        """The sizes of an axis at which a shift by ``pixels`` tells something."""
        least = self.least_for(axis, pixels)
        return [n for n in self.lengths[axis] if n >= least]

    def least_for(self, axis: int, pixels: int) -> int:
        """A size from which on a shift by ``pixels`` leaves enough of an axis.

        Each period of further pixels makes as many samples more valid as it has.
        """
        more = abs(pixels) + 1
        seen = self.question.ask(self.probed, self.smallest.sizes)
        if not pixels or not self.comparable or not isinstance(seen, Seen):
            return more
        size = self.smallest.sizes[axis]
        for layout in seen.outputs:
            stretch = stretch_of(layout.axes[axis], abs(pixels))
            if stretch is not None and stretch.enough is not None:
                wanted = max(0, stretch.enough - stretch.count) * abs(stretch.stride)
                more = max(more, size + math.ceil(wanted / stretch.lattice) * stretch.lattice)
        return more

    def whole_for(self, shift: Sequence[int]) -> list[Sizes]:
        """The only combinations at which ``shift`` tells something."""
        return [
            sizes
            for sizes in self.whole or ()
            if all(n > abs(v) for n, v in zip(sizes, shift, strict=True))
            and all(self._leaves(sizes, axis, v) for axis, v in enumerate(shift))
        ]

    def _leaves(self, sizes: Sizes, axis: int, pixels: int) -> bool:
        if not self.comparable or not pixels:
            return True
        if self.lengths:
            return sizes[axis] >= self.least_for(axis, pixels)
        return self.question.leaves(self.probed, sizes, axis, pixels)

    def has_room(self, shift: Sequence[int]) -> bool:
        """Whether there is a size at which ``shift`` tells something."""
        if self.whole is not None:
            return bool(self.whole_for(shift))
        return all(self.lengths_for(axis, v) for axis, v in enumerate(shift))

    def smallest_for(self, shift: Sequence[int]) -> Sizes:
        """The first of the sizes at which ``shift`` tells something."""
        if self.whole is not None:
            return self.whole_for(shift)[0]
        return tuple(self.lengths_for(axis, v)[0] for axis, v in enumerate(shift))

    def farthest(self, axis: int, step: int, most: int) -> int:
        """The largest multiple of ``step``, at most ``most``, for which there is a size."""
        for pixels in range(most // step * step, 0, -step):
            if self.has_room(_with((0,) * len(self.base), axis, pixels)):
                return pixels
        return 0


def find_sizes(
    question: Question,
    channels: Sequence[int],
    room: Sequence[int] | None,
    steps: Sequence[int] | None = None,
) -> Accepted:
    """Look for the sizes and channel counts of a model; ``channels`` are those to choose from.

    ``room``: the largest shift, in pixels, for each axis; a default one where it is None. Shifts
    are multiples of ``steps``, of the outputs' strides where that is None.

    Raises InputError where the model accepts none of the sizes tried.
    """
    base = _find_base(question, channels, _candidates(question), grown=True)
    if base.comparable and base.smallest is None:
        below = smallest_below(_look(question, base.channels), base.sizes)
        base = replace(base, smallest=below or _by_asking(question, base))
    accepted = _answer(question, base, channels)
    first, smallest = accepted.probed, accepted.smallest
    square = question.ndim > 1 and _only_squares(question, first, smallest, accepted.lattice)
    lengths = []
    for axis, step in enumerate(steps or accepted.lattice):
        most = farthest_by_default(step) if room is None else room[axis]
        asked = min(ROOM, max(0, accepted.least_for(axis, most) - smallest.sizes[axis]))
        works = _working(accepted, axis, square=square)
        start, by = smallest.sizes[axis], smallest.steps[axis]
        lengths.append(_lengths(works, start, by, asked, REACH[question.ndim]))
    common = sorted(set(lengths[0]).intersection(*lengths))
    whole = tuple((n,) * question.ndim for n in common) if square else None
    return replace(accepted, lengths=tuple(lengths), whole=whole)


def listed_sizes(question: Question, channels: Sequence[int], sizes: Sequence[Sizes]) -> Accepted:
    """The answer where the sizes are given; raises InputError where the model accepts none."""
    accepted = _answer(question, _find_base(question, channels, sizes), channels)
    return replace(accepted, whole=tuple(sizes))


def _look(question: Question, channels: int) -> Callable[[Sizes], list[Outlook | None] | None]:
    """What a pass at some sizes tells of one step of the lattice along each axis."""

    def look(sizes: Sizes) -> list[Outlook | None] | None:
        seen = question.ask(channels, sizes)
        if not isinstance(seen, Seen):
            return None
        return [
            outlook([stretch_of(layout.axes[axis], step) for layout in seen.outputs])
            for axis, step in enumerate(seen.steps)
        ]

    return look


def _working(accepted: Accepted, axis: int, *, square: bool) -> Callable[[int], bool]:
    """Whether another size of an axis works, the others being the smallest."""
    question, first = accepted.question, accepted.probed
    lost = question.loses(first, accepted.base)

    def works(n: int) -> bool:
        sizes = (n,) * question.ndim if square else _with(accepted.smallest.sizes, axis, n)
        if not lost and question.loses(first, sizes):
            return False  # as where an axis of size 1 is stretched
        if accepted.comparable:
            return question.leaves(first, sizes, axis, accepted.lattice[axis])
        return question.accepts(first, sizes)

    return works


def _answer(question: Question, base: _Base, channels: Sequence[int]) -> Accepted:
    first = base.channels
    seen = question.ask(first, base.sizes)
    assert isinstance(seen, Seen)
    smallest = base.smallest or Smallest(sizes=base.sizes, steps=(0,) * question.ndim)
    small = smallest.sizes
    return Accepted(
        question=question,
        base=base.sizes,
        probed=first,
        channels=tuple(sorted(n for n in channels if n == first or question.welcomes(n, small))),
        lattice=seen.steps,
        smallest=smallest,
        lengths=(),
        comparable=base.comparable,
    )


def _with(base: Sizes, axis: int, size: int) -> Sizes:
    return tuple(size if a == axis else n for a, n in enumerate(base))


@dataclass(frozen=True, kw_only=True)
class _Base:
    """Sizes that the model accepts with some channels, and whether something is compared there.

    ``smallest``: the smallest that do, where they were looked for.
    """

    sizes: Sizes
    channels: int
    comparable: bool
    smallest: Smallest | None = None


def _find_base(
    question: Question, channels: Sequence[int], bases: Sequence[Sizes], *, grown: bool = False
) -> _Base:
    """The first of some sizes at which something can be compared; else one that is accepted.

    ``grown``: where a size is accepted and leaves too little, a larger one is looked for.
    """
    accepted: _Base | None = None
    errors: list[ModelError] = []
    for place, sizes in enumerate(bases):
        if accepted is not None and place >= len(BASES):
            break
        for count in channels if place < len(BASES) else channels[:1]:
            answer = question.ask(count, sizes)
            if isinstance(answer, ModelError):
                errors.append(answer)
                continue
            works = all(question.leaves(count, sizes, a, v) for a, v in enumerate(answer.steps))
            found = _Base(sizes=sizes, channels=count, comparable=works)
            if grown and accepted is None and not works:
                found = _grown(question, found)
            if found.comparable:
                return found
            accepted = accepted or found
            break
    if accepted is not None:
        return accepted
    tried = f"{len(bases)} sizes from {min(bases)} to {max(bases)}"
    raise InputError(
        f"model: it accepts none of {tried} with {listed(channels)} channels; give sizes= and"
        f" channels=. The first error was: {errors[0]}"
    ) from errors[0]


def _grown(question: Question, base: _Base) -> _Base:
    """The smallest sizes that leave enough, where those of a base do not; the base if none do."""
    look = _look(question, base.channels)
    larger = smallest_sizes(look, base.sizes, range(question.ndim), LIMIT)
    if larger is None:
        return base
    return replace(base, sizes=larger.sizes, comparable=True, smallest=larger)


def _by_asking(question: Question, base: _Base) -> Smallest | None:
    """The first of the smallest sizes that works, for a model whose geometry tells of no other."""
    first, lost = base.channels, question.loses(base.channels, base.sizes)
    for n in range(1, min(ASKED, *base.sizes)):
        sizes = (n,) * question.ndim
        seen = question.ask(first, sizes)
        if not isinstance(seen, Seen) or (not lost and question.loses(first, sizes)):
            continue
        if all(question.leaves(first, sizes, a, v) for a, v in enumerate(seen.steps)):
            return Smallest(sizes=sizes, steps=(0,) * question.ndim)
    return None


def _candidates(question: Question) -> list[Sizes]:
    """Sizes to try: usual ones, those of the model's parameters, and every one that is small."""
    every = [n for n in range(2, EVERY) if n not in BASES]
    equal = [(n,) * question.ndim for n in (*BASES, *every)]
    stored = [tuple(p.shape)[-question.ndim :] for p in _stored(question.model)]
    held = [sizes for sizes in stored if len(sizes) == question.ndim and min(sizes) > 1]
    return list(dict.fromkeys([*equal[: len(BASES)], *held, *equal]))


def _stored(model: Any) -> list[torch.Tensor]:
    """The parameters and buffers that may be laid over an image."""
    if not isinstance(model, torch.nn.Module):
        return []
    return [*model.parameters(), *model.buffers()]


def listed(counts: Sequence[int]) -> str:
    """Counts in words."""
    return " or ".join(map(str, counts))


PROBED = (1, 2, 4, 8, 16, 32)
"""Pixels beyond the smallest size at which a model is asked that takes sizes in steps."""


def _lengths(
    works: Callable[[int], bool], smallest: int, step: int, room: int, span: int
) -> tuple[int, ...]:
    """The sizes of an axis from the smallest on, by the step in which they are known to work.

    The other ones are asked for where any of them works; those that differ by whole steps are
    alike. A ``step`` of 0: no two are.
    """
    known = [step * n for n in _spread(-(-room // step), span // step)] if step else []
    others = [n for n in _spread(room, span) if not step or n % step]
    asked = cache(lambda first: works(smallest + first))
    if any(asked(n) for n in PROBED if not step or n % step):
        alike: dict[int, int] = {}
        first = {n: alike.setdefault(n % step, n) if step else n for n in others}
        known += [n for n in others if asked(first[n])]
    return (smallest, *(smallest + n for n in sorted(known)))


DENSE = 20


def _spread(room: int, span: int) -> list[int]:
    """Pixels to add to the smallest size: the first ones, some more, and some around ``room``."""
    some, far = set(range(1, DENSE)), DENSE
    while far <= room + span:
        some.add(far)
        far += 1 + far // 7  # odd and even ones
    around = {*range(room - 2, room + span // 2)} if room > DENSE else set()
    return sorted(n for n in some | around if 0 < n <= room + span)


def _only_squares(question: Question, channels: int, smallest: Smallest, lattice: Sizes) -> bool:
    """Whether other sizes are accepted only where they are the same along all axes."""
    base = smallest.sizes
    near = (lattice[0] * k for k in (1, 2, 4, 8))
    steps = dict.fromkeys(n for n in (math.lcm(*smallest.steps), *near, 8, 16, 32, base[0]) if n)

    def accepts(axes: Sequence[int], more: int) -> bool:
        larger = tuple(n + more if a in axes else n for a, n in enumerate(base))
        return question.accepts(channels, larger)

    every = range(len(base))
    for more in steps:
        if any(accepts((axis,), more) for axis in every):
            return False
        if accepts(every, more):
            return True
    return False


KINDS_OF_LAYERS = re.compile(r"(?:Conv|ConvTranspose|Pool|Norm|Pad|Dropout)([123])d$")


def number_of_axes(model: Any) -> int:
    """The number of spatial axes that the layers of a module are made for.

    Raises InputError where they do not tell.
    """
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    names = [type(module).__name__.removeprefix("Lazy") for module in modules]
    numbers = {int(match[1]) for name in names if (match := KINDS_OF_LAYERS.search(name))}
    if len(numbers) == 1:
        return numbers.pop()
    said = f"layers for {listed(sorted(numbers))} axes" if numbers else "no layer that tells"
    raise InputError(
        f"ndim=None: the model has {said}; give the number of spatial axes, such as ndim=2"
    )


def likely_channels(model: Any) -> tuple[int, ...]:
    """The channel counts to try: what the first layer that has channels takes, and small ones."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    named = ("in_channels", "num_features", "num_channels")
    counts = (getattr(module, name, None) for module in modules for name in named)
    first = [count for count in counts if isinstance(count, int) and is_whole(count)][:1]
    return tuple(dict.fromkeys([*first, 1, 2, 3, 4]))
