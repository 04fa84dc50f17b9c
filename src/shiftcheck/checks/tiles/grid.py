"""The grid on which tiles may begin, their margins, and the sizes that work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shiftcheck.checks.tiles.structure import Sizes, Structure, Structures
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.causes import with_cause
from shiftcheck.lattice.tiles import (
    begins_alike,
    ends_alike,
    halo_of,
    is_tileable,
    margins_of,
    period_of,
    reach_of,
    whole_margins,
)
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.tiles import Margins, TiledAxis
from shiftcheck.tracing.numbers_given import same_numbers
from shiftcheck.tracing.traced import Row

MOST_STEPS = 64
"""The grid is at most so many periods of the lattice: what pads to a multiple asks for that."""

MOST_REFUSED = 16
"""Beyond powers of two, steps are tried until what was refused cost so many whole passes."""

TRIES = 8
"""So many sizes are tried, the least first."""

ROUNDS = 4
"""So often a window that leaves nothing between its margins is enlarged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The tiles that work along each axis, as yet one that holds the whole.

    ``margins``: for each tensor those along every axis. ``first_other``: for an axis without tiles,
    the first layer that does something else at other sizes of the image, None where its causes tell
    why. ``window``: what has margins as the image has them.
    """

    axes: tuple[TiledAxis, ...]
    margins: tuple[tuple[Margins, ...], ...]
    first_other: Mapping[int, Row | None]
    window: Structure | None


class Grids:
    """Finds the grid along each axis that can be cut."""

    def __init__(self, structures: Structures, whole: Structure) -> None:
        self.structures, self.whole = structures, whole
        self.sizes = whole.sizes
        self.circular = structures.inputs.circular
        self.layouts = whole.layouts(structures.pooled)
        self.periods = [period_of(self.layouts, a) for a in range(len(self.sizes))]
        self.reach = [reach_of(self.layouts, a) for a in range(len(self.sizes))]
        self.like, self.multiple = list(self.periods), 1
        self.steps = list(self.periods)
        self.refused: Sizes | None = None
        self.first_other: dict[int, Row | None] = {
            a: None
            for a in range(len(self.sizes))
            if not all(is_tileable(layout, a, circular=self.circular[a]) for layout in self.layouts)
        }

    def grid(self, wanted: Sizes | None = None) -> Grid:
        """The grid; for tiles of the wanted sizes, where they work."""
        window = self._settle_steps()
        tiled = [a for a in range(len(self.sizes)) if window and a not in self.first_other]
        residues = self._residues(window, tiled, wanted) if window else {}
        axes, margins = [], []
        for a, pixels in enumerate(self.sizes):
            if a not in residues:
                axes.append(untiled(pixels, circular=self.circular[a]))
                margins.append([whole_margins(s.axes[a]) for s in self.layouts])
                continue
            residue, along = residues[a]
            axes.append(self._axis(a, residue, along))
            margins.append(along)
        each = tuple(zip(*margins, strict=True)) if self.layouts else ()
        settled = self._from_the_least(axes, each)
        return Grid(axes=settled, margins=each, first_other=self.first_other, window=window)

    # -- steps -----------------------------------------------------------------------------------

    def _settle_steps(self) -> Structure | None:
        """Find steps by which windows of the image are alike; a window that ends as it does."""
        while True:
            for a in range(len(self.sizes)):
                too_large = self.steps[a] > max(self.sizes[a] - 1, 1)
                closes = self._closes(a, self.steps[a])
                if too_large or not closes or self.steps[a] > MOST_STEPS * self.periods[a]:
                    self.first_other.setdefault(a, self._last_row())
            free = [a for a in range(len(self.sizes)) if a not in self.first_other]
            if not free:
                return None
            window = self.window([n % step for n, step in zip(self.sizes, self.steps, strict=True)])
            other = self._others(window, free)
            if not other:
                return window
            if self.refused is None:
                self._double(other)
            else:
                self._try_next_multiple(free)

    def _closes(self, axis: int, step: int) -> bool:
        """Whether a whole number of steps leads around, where an axis is a circle."""
        return not self.circular[axis] or self.sizes[axis] % step == 0

    def _most(self, axis: int) -> int:
        """The widest step that is tried along an axis."""
        return min(MOST_STEPS * self.periods[axis], self.sizes[axis] - 1)

    def _double(self, other: Mapping[int, Row]) -> None:
        """Double the steps along axes where a layer is not alike; to none are they wide enough."""
        for a, row in other.items():
            self.like[a] *= 2
            self.steps[a] = self.like[a] * self.multiple
            if self.steps[a] > self._most(a):
                self.first_other[a] = row

    def _try_next_multiple(self, free: Sequence[int]) -> None:
        """After a refusal, take the next multiple, the same along all axes that can be cut.

        Powers of two come first: many models ask for these, and larger windows come with them
        where a model takes no small image. Then what divides the sizes of the image, and then all
        others, as some ask for 14 and a remainder.
        """
        room = {a: self._most(a) // self.like[a] for a in free}
        narrowest = min(room.values())
        order = [n for n in self._multiples(free) if n <= narrowest]
        if self._refusals_cost() > MOST_REFUSED:
            order = [n for n in order if n.bit_count() == 1]
        before = order.index(self.multiple) if self.multiple in order else len(order)
        later = order[before + 1 :]
        if not later:
            refused = self._last_row(self.refused)
            self.first_other.update({a: refused for a in free if room[a] == narrowest})
        self.multiple = later[0] if later else 1
        for a in free:
            self.steps[a] = self.like[a] * self.multiple

    def _multiples(self, free: Sequence[int]) -> list[int]:
        """The multiples in the order in which they are tried; on a circle those that close it."""
        common = math.gcd(*self.sizes)

        def later(number: int) -> tuple[bool, bool, int]:
            divides = any(common % (self.like[a] * number) == 0 for a in free)
            return number.bit_count() > 1, not divides, number

        closing = (
            n
            for n in range(1, MOST_STEPS + 1)
            if all(self._closes(a, self.like[a] * n) for a in free)
        )
        return sorted(closing, key=later)

    def _refusals_cost(self) -> float:
        """What the passes cost that were refused, in passes of the whole model."""
        ran = self.structures.layers_before_refusals()
        return ran / max(1, len(self.whole.rows))

    def _last_row(self, refused: Sizes | None = None) -> Row:
        """The layer that raised at sizes the model refused, or the last that does anything."""
        rows = self.whole.rows
        ran = () if refused is None else self.structures.ran_before_refusing(refused)
        as_here = [row.name for row in ran] == [row.name for row in rows[: len(ran)]]
        if refused is not None and as_here and len(ran) < len(rows):
            told = " x ".join(map(str, refused))
            return noted(
                rows[len(ran)], CauseKind.POSITION, f"not reached on {told}: the model raises"
            )
        return ([r for r in rows if r.layout.causes] or rows or self.whole.outputs)[-1]

    def _others(self, window: Structure | None, free: Sequence[int]) -> dict[int, Row]:
        """Of each axis the first layer that differs from the image in a window, or a larger one."""
        if window is None:
            return dict.fromkeys(free, self._last_row(self.refused))
        sizes = [
            n + s * (a in free)
            for a, (n, s) in enumerate(zip(window.sizes, self.steps, strict=True))
        ]
        larger = self.structures.at(tuple(sizes))
        if larger is None:
            self.refused = tuple(sizes)
            return dict.fromkeys(free, self._last_row(self.refused))
        found: dict[int, Row] = {}
        for a in free:
            for one, other in ((window, self.whole), (window, larger)):
                row = first_unlike(one, other, a, ends=True)
                if row is not None:
                    found.setdefault(a, row)
        return found

    def window(self, residues: Sequence[int]) -> Structure | None:
        """A window of sizes with these residues in which all tensors are right in the middle."""
        reach, self.refused = list(self.reach), None
        for _ in range(ROUNDS):
            sizes = []
            for a, step in enumerate(self.steps):
                least = 2 * reach[a] + 2 * step
                sizes.append(least + (residues[a] - least) % step)
                if a in self.first_other:
                    sizes[a] = self.sizes[a]
            found = self.structures.at(tuple(sizes))
            if found is None:
                self.refused = tuple(sizes)
                return None
            narrow = [
                a
                for a in range(len(sizes))
                if a not in self.first_other
                and None in self._margins(found, a)
                and self._obeys(found, a)
            ]
            if not narrow:
                return found
            for a in narrow:
                reach[a] = 2 * sizes[a]
        return None

    def _obeys(self, window: Structure, axis: int) -> bool:
        """Whether all tensors have the strides and lattices that they have on the image."""
        pairs = zip(window.layouts(self.structures.pooled), self.layouts, strict=True)
        return all(
            isinstance(here := s.axes[axis], Axis)
            and isinstance(there := t.axes[axis], Axis)
            and (here.stride, here.lattice) == (there.stride, there.lattice)
            for s, t in pairs
        )

    def _margins(self, window: Structure, axis: int) -> list[Margins | None]:
        layouts = window.layouts(self.structures.pooled)
        return [
            margins_of(here, whole)
            for s, t in zip(layouts, self.layouts, strict=True)
            if isinstance(here := s.axes[axis], Axis) and isinstance(whole := t.axes[axis], Axis)
        ]

    # -- sizes -----------------------------------------------------------------------------------

    def _residues(
        self, window: Structure, tiled: Sequence[int], wanted: Sizes | None
    ) -> dict[int, tuple[int, list[Margins]]]:
        """Of each axis the residue that sizes of tiles have, and the margins in them.

        Those of the wanted tiles, or none, or that of the image.
        """
        own = [n % step for n, step in zip(self.sizes, self.steps, strict=True)]
        asked = [t % s for t, s in zip(wanted or (0,) * len(own), self.steps, strict=True)]
        found = {a: (own[a], self._known(window, a)) for a in tiled}
        for choice in (asked, [0] * len(own)):
            if choice == own:
                continue
            other = self.window(choice)
            if other is None:
                continue
            for a in tiled:
                alike = first_unlike(window, other, a, ends=False) is None
                if alike and found[a][0] != asked[a]:
                    found[a] = choice[a], self._known(other, a)
        return found

    def _known(self, window: Structure, axis: int) -> list[Margins]:
        return [m for m in self._margins(window, axis) if m is not None]

    def _axis(self, axis: int, residue: int, margins: Sequence[Margins]) -> TiledAxis:
        pixels, step = self.sizes[axis], self.steps[axis]
        halo = halo_of(margins)
        least = sum(halo) + step
        least += (residue - least) % step
        return TiledAxis(
            pixels=pixels,
            circular=self.circular[axis],
            step=step,
            halo=halo,
            residue=residue,
            least=least,
            tile=pixels,
        )

    def _from_the_least(
        self, axes: Sequence[TiledAxis], margins: Sequence[Sequence[Margins]]
    ) -> tuple[TiledAxis, ...]:
        """The axes with the least sizes that are what the margins were found for."""
        least = list(axes)
        for _ in range(TRIES):
            small = [a if a.least >= a.pixels else replace(a, tile=a.least) for a in least]
            failing = self.failing(small, margins)
            if not failing:
                break
            for a in failing:
                axis = least[a]
                least[a] = replace(axis, least=axis.least + axis.step)
        return tuple(replace(axis, tile=axis.pixels) for axis in least)

    def failing(self, axes: Sequence[TiledAxis], margins: Sequence[Sequence[Margins]]) -> list[int]:
        """The axes of which a tile is not what the margins were found for: all, or the last."""
        cut = [a for a, axis in enumerate(axes) if not axis.whole]
        regular = tuple(axis.tile for axis in axes)
        last = tuple(
            axis.pixels if axis.whole else axis.size_at(axis.starts_of(axis.tile)[-1], axis.tile)
            for axis in axes
        )
        found = set()
        for sizes, ends in ((regular, False), (last, True)):
            there = self.structures.at(sizes)
            if there is None:
                return cut
            for a in cut:
                if ends and axes[a].circular:
                    continue
                along = [each[a] for each in margins]
                unlike = first_unlike(there, self.whole, a, ends=ends) is not None
                unlike = unlike or is_emptied(there, self.whole, a)
                if unlike or (not ends and self._margins(there, a) != along):
                    found.add(a)
        return sorted(found)


def first_unlike(one: Structure, other: Structure, axis: int, *, ends: bool) -> Row | None:
    """The first layer that is not alike in two structures along an axis; None where all are."""
    pairs = zip(
        [*one.rows, *one.outputs, *one.fed.values()],
        [*other.rows, *other.outputs, *other.fed.values()],
        strict=False,
    )
    for row, twin in pairs:
        here, there = row.layout.axes[axis], twin.layout.axes[axis]
        if row.name == twin.name and not same_numbers(row.numbers, twin.numbers):
            return sized(row)
        named = row.name == twin.name and begins_alike(here, there)
        if not named or (ends and not ends_alike(here, there)):
            return row
    more, fewer = sorted((one, other), key=lambda s: -len(s.rows))
    return more.rows[-1] if len(more.rows) > len(fewer.rows) else None


def sized(row: Row) -> Row:
    """The layer, with the cause that it is given the size of the image as a number."""
    return noted(row, CauseKind.GLOBAL, "a number that follows from the size of the image")


def noted(row: Row, kind: CauseKind, detail: str) -> Row:
    """The layer, with a further cause."""
    cause = Cause(kind=kind, detail=detail, layer=row.path or row.name, op=row.op)
    return replace(row, layout=with_cause(row.layout, cause))


def is_emptied(one: Structure, other: Structure, axis: int) -> bool:
    """Whether a layer has no sample in one structure, and some in the other.

    What a model does then is not told by a run without values, which may pass where one with
    values raises.
    """
    return any(
        isinstance(here := row.layout.axes[axis], Axis)
        and isinstance(there := twin.layout.axes[axis], Axis)
        and here.size == 0 < there.size
        for row, twin in zip(one.rows, other.rows, strict=False)
    )


def untiled(pixels: int, *, circular: bool) -> TiledAxis:
    """An axis along which one tile holds all."""
    return TiledAxis(
        pixels=pixels,
        circular=circular,
        step=pixels,
        halo=(0, 0),
        residue=0,
        least=pixels,
        tile=pixels,
    )


def with_tile(axes: Sequence[TiledAxis], tile: Sequence[int]) -> tuple[TiledAxis, ...]:
    """The same axes with tiles of a size."""
    return tuple(
        replace(axis, tile=min(size, axis.pixels), starts=axis.starts_of(size))
        for axis, size in zip(axes, tile, strict=True)
    )
