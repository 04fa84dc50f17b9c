"""What a property test looks at: examples, and what is simpler than one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.measuring.signals.samples import sample_signal
from shiftcheck.report.equivariance import Report
from shiftcheck.strategies.accepted_sizes import Accepted

SEEDS = 8
"""So many seeds are tried in the place of the drawn one."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """What is drawn: a shift in pixels, and the channels, sizes, kind and seed of a signal."""

    shift: tuple[int, ...]
    channels: int
    sizes: tuple[int, ...]
    kind: str
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A model that is ready to be asked, the sizes it accepts and how far signals are shifted.

    ``factory`` is the name of what made the model, if anything did; ``options`` are the check's.
    """

    found: Accepted
    lattice: tuple[int, ...]
    farthest: tuple[int, ...]
    kinds: tuple[str, ...]
    factory: str
    options: dict[str, Any]

    def simplest(self) -> Iterator[Example]:
        """One step along each axis at the smallest size, the smallest step first."""
        movable = [axis for axis, most in enumerate(self.farthest) if most]
        for axis in sorted(movable, key=lambda axis: self.lattice[axis]):
            shift = _along(axis, self.lattice[axis], self.lattice)
            yield Example(
                shift=shift,
                channels=self.found.channels[0],
                sizes=self.found.smallest_for(shift),
                kind=self.kinds[0],
                seed=0,
            )

    def coarser(self, lattice: tuple[int, ...]) -> Scene | None:
        """The same with a coarser lattice; None where no size leaves enough for one step of it."""
        steps = (_along(axis, step, lattice) for axis, step in enumerate(lattice))
        moved = [v for v, most in zip(steps, self.farthest, strict=True) if most]
        room = all(map(self.found.has_room, moved))
        return replace(self, lattice=lattice) if room else None

    def run(self, example: Example, measure: Any) -> Report:
        """Check the model on one example."""
        question = self.found.question
        signal = sample_signal(
            (question.batch, example.channels, *example.sizes),
            kind=example.kind,
            seed=example.seed,
            dtype=question.dtype,
        )
        return check_equivariance(
            question.model,
            question.inputs(signal),
            shifts=[example.shift],
            boundary=question.boundary,
            measure=measure,
            **self.options,
        )

    def written(self, example: Example) -> str:
        """The lines that make the model and the signal of an example again, and check them."""
        question = self.found.question
        shape = (question.batch, example.channels, *example.sizes)
        dtype = "" if question.dtype is torch.float32 else f", dtype={question.dtype}"
        signal = (
            f"shiftcheck.strategies.sample_signal({shape}, kind={example.kind!r},"
            f" seed={example.seed}{dtype})"
        )
        seed = self.options["seed"]
        made = [f"torch.manual_seed({seed}); model = {self.factory}()"] if self.factory else []
        x = signal if question.arguments is None else f"arguments({signal})"
        return "\n".join([*made, f"x = {x}", self._call(example)])

    def _call(self, example: Example) -> str:
        """The assertion of an example, with the arguments that are not those by default."""
        kinds = self.found.question.boundary
        open_ends = set(kinds) == {"valid"}
        boundary = kinds[0] if len(set(kinds)) == 1 else kinds
        options = {
            "shifts": [example.shift],
            "boundary": None if open_ends else boundary,
            **{name: value for name, value in self.options.items() if name != "seed"},
        }
        given = [f", {k}={v!r}" for k, v in options.items() if v not in (None, False, (), [])]
        rest = "".join([*given, f", seed={self.options['seed']}"])
        return f"shiftcheck.assert_equivariant(model, x{rest})"

    def simpler(self, example: Example) -> Iterator[Example]:
        """Examples to try in its place, the most welcome first; one part is changed at a time."""
        for shift in self._simpler_shifts(example.shift):
            if all(abs(v) < n for v, n in zip(shift, example.sizes, strict=True)):
                yield replace(example, shift=shift)
        for channels in self.found.channels:
            if channels < example.channels:
                yield replace(example, channels=channels)
        for sizes in self._smaller_sizes(example):
            yield replace(example, sizes=sizes)
        for kind in self.kinds[: self.kinds.index(example.kind)]:
            yield replace(example, kind=kind)
        for seed in range(min(example.seed, SEEDS)):
            yield replace(example, seed=seed)

    def _simpler_shifts(self, shift: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """First those along one axis, shorter ones first; then with one entry nearer to zero."""
        single = sum(map(bool, shift)) == 1
        for length in range(1, sum(map(abs, shift)) if single else max(self.farthest) + 1):
            for axis, step in enumerate(self.lattice):
                if length % step == 0 and length <= self.farthest[axis]:
                    yield _along(axis, length, shift)
                    yield _along(axis, -length, shift)
        if single:
            length = sum(map(abs, shift))
            ways = [_along(a, v, shift) for a in range(len(shift)) for v in (length, -length)]
            yield from (way for way in ways[: ways.index(shift)] if self._is_drawn(way))
            return
        for axis, entry in enumerate(shift):
            for nearer in range(0, abs(entry), self.lattice[axis]):
                signed = nearer if entry > 0 else -nearer
                yield tuple(signed if a == axis else v for a, v in enumerate(shift))

    def _is_drawn(self, shift: tuple[int, ...]) -> bool:
        limits = zip(shift, self.lattice, self.farthest, strict=True)
        return all(v % step == 0 and abs(v) <= most for v, step, most in limits)

    def _smaller_sizes(self, example: Example) -> Iterator[tuple[int, ...]]:
        if self.found.whole is not None:
            whole = self.found.whole_for(example.shift)
            yield from whole[: whole.index(example.sizes)] if example.sizes in whole else ()
            return
        for axis, v in enumerate(example.shift):
            for n in self.found.lengths_for(axis, v):
                if n < example.sizes[axis]:
                    yield tuple(n if a == axis else m for a, m in enumerate(example.sizes))


def _along(axis: int, entry: int, like: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(entry if a == axis else 0 for a in range(len(like)))
