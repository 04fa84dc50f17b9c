"""Which sizes to give in the place of one at which the model raised, from few passes.

Nothing is measured, and every size that is told was run. What ``input_sizes`` tells takes more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shiftcheck.lattice.accepted import common_period
from shiftcheck.lattice.sizes import prime_factors, with_sizes
from shiftcheck.measuring.attempts import Attempt, attempt, sizes_mend
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.sized_passes import SizedPasses, Sizes, resized
from shiftcheck.report.size_words import needed_words
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet

MOST = 512
SQUARES = (28, 32, 64, 128, 224, 256, 299, 512)
"""Sizes for which networks are made."""

STEPS = (2, 4, 8, 16, 32)
"""What sizes often have to be multiples of."""

STEPS_SAID = 4
"""So many numbers that an error is about are tried as such, too."""

PASSES = 20
"""So many passes are spent on one error at most."""

EVERY = SizeSet(starts=(1,))
"""Along an axis that is not the matter."""


class EnoughError(Exception):
    """More passes would be needed."""


class SizesTried:
    """A model at other sizes, each of them run once, without rules and without values."""

    def __init__(self, plan: Plan, here: Attempt) -> None:
        self.plan, self.given = plan, plan.inputs.pixels
        self.known: dict[Sizes, Attempt] = {self.given: here}
        self.passes = 0

    def at(self, sizes: Sequence[int]) -> Attempt:
        """The pass at some sizes; raises EnoughError where there were too many."""
        key = tuple(sizes)
        if key not in self.known:
            if self.passes >= PASSES:
                raise EnoughError
            self.passes += 1
            try:
                self.known[key] = attempt(self.plan, resized(self.plan.inputs, key))
            except ValueError as error:  # what moves along has no whole number of samples
                self.known[key] = Attempt(error)
        return self.known[key]

    def runs(self, sizes: Sequence[int]) -> bool:
        """Whether the model runs at some sizes."""
        return min(sizes) >= 1 and self.at(sizes).runs


def size_that_runs(tried: SizesTried) -> Sizes | None:
    """Sizes at which the model runs, near the given ones if may be; None where it is hopeless.

    An empty tuple where another size may do, and none was found.
    """
    here, elsewhere = tried.known[tried.given], _elsewhere(tried.given)
    there = tried.at(elsewhere)
    about = there.runs or _about_sizes(here, there)
    if not (about or _given_sizes(here, there)):
        return None
    try:
        found = next((s for s in _likely_sizes(tried.given, here) if tried.runs(s)), None)
    except EnoughError:
        found = None
    if found is None and not about:
        return None
    return found or (elsewhere if there.runs else ())


def _given_sizes(here: Attempt, there: Attempt) -> bool:
    """Whether the function that raised is given numbers that follow from the size, as a view is."""
    return (
        here.call is not None
        and there.call is not None
        and here.call.function == there.call.function
        and here.call.whole_numbers != there.call.whole_numbers
    )


def _about_sizes(here: Attempt, there: Attempt) -> bool:
    """Whether what is raised at two sizes may not be raised at another one."""
    if here.call is not None:
        return sizes_mend(here.call, there.call)
    return str(here.error) != str(there.error)


def _elsewhere(given: Sizes) -> Sizes:
    """A larger size that differs along every axis."""
    return tuple(64 * (-(-n // 32) + axis) for axis, n in enumerate(given))


def _likely_sizes(given: Sizes, here: Attempt) -> Iterator[Sizes]:
    """Sizes that may do: multiples, of powers of two and what the error is about, and squares.

    The nearest come first.
    """
    said = [int(n) for n in re.findall(r"\d+", str(here.error)) if len(n) < 4]
    met = {n for n in [*said, *here.numbers] if 1 < n <= MOST}
    near = [tuple(-(-n // step) * step for n in given) for step in STEPS]
    near += [tuple(-(-n // step) * step for n in given) for step in sorted(met)[:STEPS_SAID]]
    squares = [(n,) * len(given) for n in {*SQUARES, *met}]

    def distance(sizes: Sizes) -> int:
        return sum(abs(a - b) for a, b in zip(sizes, given, strict=True))

    for sizes in dict.fromkeys([*near, *sorted(squares, key=distance)]):
        if sizes != given:
            yield sizes


def needed_sizes(tried: SizesTried, taken: Sizes) -> str:
    """What the model needs that runs at ``taken``, in words; empty where few sizes do not tell.

    The nearest sizes that are told were run, and so were some between them, which it refuses.
    """
    try:
        return _needed(tried, taken)
    except EnoughError:
        return ""


def _needed(tried: SizesTried, taken: Sizes) -> str:
    given = tried.given
    refused = [
        axis
        for axis, n in enumerate(given)
        if n != taken[axis] and not tried.runs(with_sizes(taken, [axis], [n]))
    ]
    found = _rules(tried, taken, refused)
    if not refused or len(found) < len(refused):
        return _tied(tried, taken) if len(set(taken)) == 1 < len(taken) else ""
    axes = tuple(
        AxisSizes(accepted=found.get(a, Rule(EVERY)).sizes, even=SizeSet())
        for a in range(len(given))
    )
    sizes = InputSizes(axes=axes, base=taken, joint="independent", given=given)
    pairs = [sizes.nearest(given)[a] if a in found else (given[a],) * 2 for a in range(len(given))]
    for side in (0, 1):
        nearest = [p[side] if p[side] is not None else p[1 - side] for p in pairs]
        if not tried.runs([n or 0 for n in nearest]):
            return ""
    verb = "needs" if all(rule.all_of_them for rule in found.values()) else "takes"
    return f"The model {verb} {needed_words(sizes)}"


@dataclass(frozen=True)
class Rule:
    """The sizes that work along an axis; ``all_of_them``, or some."""

    sizes: SizeSet
    all_of_them: bool = True


def _tied(tried: SizesTried, taken: Sizes) -> str:
    """What is said where all axes must have the same size, which may be any near that taken."""
    axes, more = len(taken), taken[0] + 1
    if tried.runs(with_sizes(taken, [0], [more])) or not tried.runs((more,) * axes):
        return ""
    ways = [(n,) * axes for n in sorted(set(tried.given)) if tried.runs((n,) * axes)]
    told = " or ".join(" x ".join(map(str, sizes)) for sizes in ways)
    return f"The model needs the same size along all axes{told and ': '}{told}"


def _rules(tried: SizesTried, taken: Sizes, axes: Sequence[int]) -> dict[int, Rule]:
    """The rule of each axis, where one is found; axes that stand alike have the same steps."""
    seen = SizedPasses(tried.plan).at(taken).seen
    steps: list[tuple[int, int | None]] = []  # of an axis
    found: dict[int, Rule] = {}
    for axis in axes:
        along = _Along(tried=tried, taken=taken, axis=axis, given=tried.given[axis])
        alike = [
            (other, step)
            for other, step in steps
            if seen[other].layers == seen[axis].layers and taken[other] == taken[axis]
        ]
        twin = next((o for o, _ in alike if tried.given[o] == along.given), None)
        if twin is not None:
            rule = found.get(twin)
        else:
            period = common_period(seen[axis], None) if seen[axis].taken else 1
            step = alike[0][1] if alike else along.step(period)
            steps.append((axis, step))
            rule = along.rule(step, period)
        if rule is None:
            break
        found[axis] = rule
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Along:
    """Asks for sizes along one axis, the others as taken."""

    tried: SizesTried
    taken: Sizes
    axis: int
    given: int

    @property
    def base(self) -> int:
        """The size that is known to do."""
        return self.taken[self.axis]

    def runs(self, size: int) -> bool:
        """Whether the model runs at a size of this axis."""
        return self.tried.runs(with_sizes(self.taken, [self.axis], [size]))

    def rule(self, step: int | None, period: int) -> Rule | None:
        """The sizes that work in such steps; None where that cannot be told from few.

        They are all there are only where the ``period`` of the structure explains the steps.
        """
        if step is None:
            return None
        if step == 1:
            return self._bounded()
        below = self.given - (self.given - self.base) % step
        above = self._nearest(below + step, step, up=True)
        lower = self._nearest(below, step, up=False)
        if above is None and lower is None:
            return None
        beside = (below if lower else below + step) + 1, (below + step if above else below) - 1
        if any(self.runs(n) for n in beside if n != self.given):
            return self._of_both_ends(lower, above)
        explained = period % step == 0
        if not explained and not self._goes_on(lower, above, step):
            return Rule(SizeSet(others=tuple(n for n in (lower, above) if n)), all_of_them=False)
        first = self.base % step or step
        if lower is None:
            return Rule(SizeSet(step=step, starts=(above or 0,)), explained)
        most = lower if above is None else None
        return Rule(SizeSet(step=step, starts=(first,), most=most), explained)

    def _goes_on(self, lower: int | None, above: int | None, step: int) -> bool:
        """Whether one more size in such steps does, as none does of the powers of two."""
        more = above + step if above is not None else (lower or 0) - step
        return more < 1 or self.runs(more)

    def step(self, period: int) -> int | None:
        """The least step in which sizes work from the base on; ``period``: of the structure."""
        near = max((s for s in (1, *STEPS) if self.base % s == 0), default=1)
        for step in dict.fromkeys((period, near)):
            side = next((s for s in (1, -1) if self.runs(self.base + s * step)), None)
            if side is None:
                continue
            for prime in prime_factors(step):
                parts = range(1, prime)
                if all(self.runs(self.base + side * k * step // prime) for k in parts):
                    step //= prime
            return step
        return None

    def _nearest(self, size: int, step: int, *, up: bool) -> int | None:
        """The nearest size, in steps towards the base or away from it, at which the model runs."""
        if self.runs(size):
            return size
        towards = (self.base > size) == up and self.base != size
        if not towards:
            return None
        refused, runs = 0, abs(self.base - size) // step
        sign = 1 if up else -1
        while runs - refused > 1:
            middle = (refused + runs) // 2
            if self.runs(size + sign * middle * step):
                runs = middle
            else:
                refused = middle
        return size + sign * runs * step

    def _bounded(self) -> Rule | None:
        """Every size does, from a least one on or up to a largest one."""
        nearest = self._nearest(self.given, 1, up=self.base > self.given)
        if nearest is None:
            return None
        if nearest > self.given:
            return Rule(SizeSet(starts=(nearest,)))
        if nearest <= self.base:
            return None
        every = self.runs(1)
        return Rule(SizeSet(starts=(1 if every else self.base,), most=nearest), every)

    def _of_both_ends(self, lower: int | None, above: int | None) -> Rule | None:
        """The sizes nearest to the given one, of those that touch the regular ones."""
        ends = [
            self.given + sign * self._first(abs(end - self.given), sign)
            for sign, end in ((-1, lower), (1, above))
            if end is not None
        ]
        return Rule(SizeSet(others=tuple(sorted(ends))), all_of_them=False)

    def _first(self, far: int, sign: int) -> int:
        """How far from the given size the model runs from there on to one that is ``far``."""
        refused, runs = 0, far
        while runs - refused > 1:
            middle = (refused + runs) // 2
            if self.runs(self.given + sign * middle):
                runs = middle
            else:
                refused = middle
        return runs
