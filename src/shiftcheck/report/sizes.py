"""Which input sizes a model takes, and what each is good for: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from shiftcheck.errors import InputError
from shiftcheck.report.base import Shown

Wanted = Literal["accepted", "even", "valid", "comparable", "closed"]
"""What sizes may be asked for."""

WANTED: tuple[Wanted, ...] = ("accepted", "even", "valid", "comparable", "closed")

FURTHER = 2
"""So many steps beyond its beginning a set of sizes shows all that it is."""


@dataclass(frozen=True, kw_only=True)
class SizeSet:
    """Sizes of one axis: from each of ``starts`` on in steps of ``step``, and some ``others``.

    ``most``: the largest of those in steps; None where none was found that is too large.

    Example:
        >>> sizes = SizeSet(step=32, starts=(32,))
        >>> 224 in sizes, 225 in sizes, sizes.least, sizes.nearest(225)
        (True, False, 32, (224, 256))
    """

    step: int = 1
    starts: tuple[int, ...] = ()
    most: int | None = None
    others: tuple[int, ...] = ()

    def __contains__(self, size: object) -> bool:
        if not isinstance(size, int):
            return False
        regular = self.most is None or size <= self.most
        steps = any(size >= n and (size - n) % self.step == 0 for n in self.starts)
        return (regular and steps) or size in self.others

    def __bool__(self) -> bool:
        return bool(self.starts or self.others)

    @property
    def least(self) -> int | None:
        """The smallest size, None where there is none."""
        return min((*self.starts, *self.others), default=None)

    def nearest(self, size: int) -> tuple[int | None, int | None]:
        """The largest size up to ``size`` and the smallest from it on; None where there is none."""
        return self._below(size), self._above(size)

    def _below(self, size: int) -> int | None:
        top = size if self.most is None else min(size, self.most)
        steps = [n + (top - n) // self.step * self.step for n in self.starts if n <= top]
        return max((*steps, *(n for n in self.others if n <= size)), default=None)

    def _above(self, size: int) -> int | None:
        steps = [n + max(0, -(-(size - n) // self.step)) * self.step for n in self.starts]
        fitting = [n for n in steps if self.most is None or n <= self.most]
        return min((*fitting, *(n for n in self.others if n >= size)), default=None)

    def up_to(self, limit: int) -> tuple[int, ...]:
        """All sizes up to ``limit``, in order."""
        return tuple(n for n in range(1, limit + 1) if n in self)

    def simplest(self) -> SizeSet:
        """The same sizes by the smallest step that gives them."""
        start, most = max(self.starts, default=0), self.most
        end = start + FURTHER * self.step if most is None else min(start + 2 * self.step, most)
        wanted = set(self.up_to(end))
        for step in (m for m in range(1, self.step) if self.step % m == 0):
            firsts = {n % step: n for n in sorted(self.starts, reverse=True)}
            simpler = SizeSet(step=step, starts=tuple(sorted(firsts.values())), most=self.most)
            regular = set(simpler.up_to(end))
            if regular <= wanted and wanted - regular <= set(self.others):
                rest = tuple(n for n in self.others if n not in simpler)
                return SizeSet(step=step, starts=simpler.starts, most=self.most, others=rest)
        rest = tuple(n for n in self.others if n not in SizeSet(step=self.step, starts=self.starts))
        return SizeSet(step=self.step, starts=self.starts, most=self.most, others=rest)


@dataclass(frozen=True, kw_only=True)
class AxisSizes:
    """The sizes of one spatial axis, in pixels.

    ``accepted``: the model takes them. Of these, ``even``: every layer with a stride reaches as far
    beyond one edge as beyond the other. ``valid``: some sample of every output is free of padding;
    ``comparable``: enough of them for a fair comparison; both None where no output has the axis, it
    was not looked at, or its strides depend on the size, so that nothing follows for other sizes.
    ``closed``: on a circular axis, every layer holds a whole number of
    samples around it; None on an open one. ``period``: sizes so far apart are alike. ``sampled``:
    not every size of a period was run, for there are too many.

    Example:
        >>> import torch, shiftcheck
        >>> axis = shiftcheck.input_sizes(torch.nn.MaxPool2d(2), (1, 1, 16, 16)).axes[0]
        >>> axis.accepted.least, axis.even.step, axis.even.least, axis.period
        (2, 2, 2, 2)
    """

    accepted: SizeSet
    even: SizeSet
    valid: SizeSet | None = None
    comparable: SizeSet | None = None
    closed: SizeSet | None = None
    period: int = 1
    sampled: bool = False


@dataclass(frozen=True, kw_only=True)
class InputSizes(Shown):
    """Which spatial sizes a model takes, axis by axis, and what each is good for.

    ``base``: the sizes that the other axes had while one was looked at. ``joint``: how the axes
    depend on each other. ``"independent"``: any sizes go together. ``"equal"``: all axes must have
    the same one. ``"unknown"``: not all go together, so only those are claimed that differ from the
    base along one axis. ``together``: sizes below it, along two axes at once, need not go together.
    ``passes``: how often the model was run, ``limit``: up to which size it was looked for one that
    is too large.

    Example:
        >>> import torch, shiftcheck
        >>> sizes = shiftcheck.input_sizes(torch.nn.PixelUnshuffle(4), (1, 3, 64, 64))
        >>> sizes.accepts((32, 100)), sizes.accepts((32, 101)), sizes.nearest((225, 64))
        (True, False, ((224, 228), (64, 64)))
    """

    _called: ClassVar[str] = "record of input sizes"

    axes: tuple[AxisSizes, ...]
    base: tuple[int, ...]
    joint: str = "independent"
    together: int = 1
    model: str = ""
    given: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()
    passes: int = 0
    limit: int = 0
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def must_be_equal(self) -> bool:
        """Whether all axes must have the same size."""
        return self.joint == "equal"

    @property
    def may_not_go_together(self) -> bool:
        """Whether sizes are known for one axis at a time only."""
        return self.joint == "unknown"

    def accepts(self, sizes: int | Sequence[int]) -> bool:
        """Whether the model is known to take these spatial sizes, one for all axes or one each."""
        return self.fits(sizes, "accepted")

    def fits(self, sizes: int | Sequence[int], wanted: Wanted) -> bool:
        """Whether these spatial sizes are known to be what is ``wanted``, such as ``"even"``."""
        each = self._each(sizes)
        if self.must_be_equal and len(set(each)) > 1:
            return False
        differing = sum(n != b for n, b in zip(each, self.base, strict=True))
        if self.may_not_go_together and differing > 1:
            return False
        small = [n < max(self.together, b) for n, b in zip(each, self.base, strict=True)]
        if min(each) < self.together and sum(small) > 1:
            return False
        return all(n in self._of(axis, wanted) for axis, n in enumerate(each))

    def nearest(
        self, sizes: int | Sequence[int], wanted: Wanted = "accepted"
    ) -> tuple[tuple[int | None, int | None], ...]:
        """For each axis the nearest working size below and above, or the size itself, twice.

        Where all axes must have the same size, below the smallest of them and above the largest.

        Args:
            sizes: spatial sizes in pixels, one for all axes or one each.
            wanted: ``"accepted"``, ``"even"``, ``"valid"``, ``"comparable"`` or ``"closed"``.

        Raises:
            InputError: ``wanted`` is none of these, or ``sizes`` has not one for each axis.

        Example:
            >>> import torch, shiftcheck
            >>> sizes = shiftcheck.input_sizes(torch.nn.MaxPool1d(3), (1, 1, 30))
            >>> sizes.nearest(32), sizes.nearest(32, "even")
            (((32, 32),), ((30, 33),))
        """
        each = self._each(sizes)
        if self.must_be_equal:
            found = self._of(0, wanted)
            return ((found.nearest(min(each))[0], found.nearest(max(each))[1]),) * len(each)
        return tuple(self._of(axis, wanted).nearest(n) for axis, n in enumerate(each))

    def _each(self, sizes: int | Sequence[int]) -> tuple[int, ...]:
        each = (sizes,) * len(self.axes) if isinstance(sizes, int) else tuple(sizes)
        if len(each) != len(self.axes):
            raise InputError(f"sizes={sizes!r}: give one for each of {len(self.axes)} axes")
        return each

    def _of(self, axis: int, wanted: Wanted) -> SizeSet:
        if wanted not in WANTED:
            raise InputError(f"wanted={wanted!r}: give one of {', '.join(map(repr, WANTED))}")
        found: SizeSet | None = getattr(self.axes[axis], wanted)
        return SizeSet() if found is None else found
