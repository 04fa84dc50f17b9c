"""The sizes that a model takes, found from few passes without values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftcheck.errors import ModelError
from shiftcheck.lattice.accepted import Found, Seen, accepted_sizes
from shiftcheck.lattice.size_uses import closed_sizes, comparable_sizes, even_sizes, valid_sizes
from shiftcheck.lattice.sizes import with_sizes
from shiftcheck.measuring.model_errors import NoLayerError, needs_gradients
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.sized_passes import SizedPasses, Sizes
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet
from shiftcheck.tracing.modules import modules_of

LIMIT = 2048
"""Up to this size, or twice the given one, it is looked for sizes that are too large."""

BASES = (64, 32, 128, 48, 60, 96, 256, 16, 24, 224, 28, 512, 240, 384, 1024, 8, 12, 6, 4, 3, 2, 1)
"""Sizes of one kind after another that are tried until the model takes one."""

EVERY = 200
"""Up to this size every one is tried where the model takes none of BASES."""

REAL = 2**18
"""A pass on so many values is a matter of course."""

REAL_TRIES = 12
"""So often a model that fails without values is tried on some."""


def sizes_taken(plan: Plan, model: Model) -> InputSizes:
    """What a plan's model takes; ``model`` is what the record is called after.

    Raises ModelError where it took none of the sizes that were tried, and NoLayerError where it ran
    to its end without the layer of the plan.
    """
    passes, base, first = _started(plan)
    axes, tied = _all_axes(passes, base)
    if not passes.real and _fails_on_values(passes, base, axes, tied=tied):
        passes = passes.on_values
        axes, tied = _all_axes(passes, base)
    together = 1 if tied else _together(passes, base, axes)
    names = ("valid", "circular")
    notes = [FIRST.format(first)] if first else []
    notes += [ON_VALUES] if passes.real else []
    return InputSizes(
        axes=axes,
        base=base,
        joint="equal" if tied else "unknown" if together is None else "independent",
        together=together or 1,
        model=getattr(model, "__name__", type(model).__name__),
        given=plan.inputs.pixels,
        boundary=tuple(names[c] for c in plan.inputs.circular),
        passes=passes.count,
        limit=_limit(passes, base),
        notes=tuple(notes),
        versions={"torch": torch.__version__, "numpy": np.__version__},
    )


FIRST = "at the given size the model raised {}"
ON_VALUES = "the model was run on values: without them it does not do the same"


@dataclass(frozen=True, kw_only=True)
class _Along:
    """Asks for sizes of one axis, the others as in ``base``, or for all of them ``tied``."""

    passes: SizedPasses
    base: Sizes
    axis: int
    tied: bool

    def __call__(self, size: int) -> Seen:
        if size > _limit(self.passes, self.base) and self.passes.real:
            return Seen(taken=False)
        sizes = (
            (size,) * len(self.base) if self.tied else with_sizes(self.base, [self.axis], [size])
        )
        return self.passes.at(sizes).seen[self.axis]


def _limit(passes: SizedPasses, base: Sizes) -> int:
    most = max(LIMIT, 2 * max(base))
    if not passes.real:
        return most
    values = passes.plan.inputs.main.tensor.numel() // max(1, math.prod(passes.plan.inputs.pixels))
    others = math.prod(base) // min(base)
    return max(2 * max(base), min(most, 4 * REAL // max(1, values * others)))


def _started(plan: Plan) -> tuple[SizedPasses, Sizes, str]:
    """Passes with or without values, sizes that the model takes, and its error at those given."""
    passes = SizedPasses(plan)
    errors: list[Exception] = []
    for sizes in _candidates(plan):
        found = passes.at(sizes)
        if found.taken:
            return passes, sizes, _first_line(passes.at(plan.inputs.pixels).error)
        assert found.error is not None
        if isinstance(found.error, NoLayerError):
            raise found.error
        errors.append(found.error)
        if needs_gradients_of(found.error, plan):
            break
    real = passes.on_values
    for sizes in [s for s in _candidates(plan) if math.prod(s) <= REAL][:REAL_TRIES]:
        if not passes.real and real.at(sizes).taken:
            return real, sizes, _first_line(real.at(plan.inputs.pixels).error)
    error = passes.at(plan.inputs.pixels).error or errors[0]
    raise ModelError(
        f"the model took none of {len(errors)} sizes; on an input of shape"
        f" {tuple(plan.inputs.main.tensor.shape)} it raised {type(error).__name__}: {error}"
    ) from error


def needs_gradients_of(error: Exception, plan: Plan) -> bool:
    """Whether the model failed because it computes gradients in its forward."""
    wrapped = ModelError(str(error))
    wrapped.__cause__ = error
    return not plan.inputs.gradients and needs_gradients(wrapped)


def _first_line(error: Exception | None) -> str:
    if error is None:
        return ""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _candidates(plan: Plan) -> Iterator[Sizes]:
    """A round size near the given one, that itself, usual ones, and then every one."""
    given = plan.inputs.pixels
    axes = len(given)
    nice = -(-max(given) // 64) * 64
    equal = [nice, *BASES, *(n for n in range(2, EVERY) if n not in BASES)]
    sizes = [(nice,) * axes, given, *((n,) * axes for n in equal[: len(BASES) + 1])]
    sizes += [s for s in _stored(plan.model, axes) if min(s) > 1]
    sizes += [(n,) * axes for n in equal]
    return iter(dict.fromkeys(s for s in sizes if min(s) >= 1))


def _stored(model: Model, axes: int) -> list[Sizes]:
    """The sizes of parameters and buffers that may be laid over an image."""
    tensors = [t for m in modules_of(model) for t in (*m.parameters(False), *m.buffers(False))]
    return [tuple(t.shape)[-axes:] for t in tensors if t.dim() >= axes]


def _all_axes(passes: SizedPasses, base: Sizes) -> tuple[tuple[AxisSizes, ...], bool]:
    """The sizes of every axis, and whether all axes must have the same one."""
    found: list[Found] = []
    limit = _limit(passes, base)
    for axis in range(len(base)):
        ask = _Along(passes=passes, base=base, axis=axis, tied=False)
        alike = found[0] if found and _alike(ask, found[0], passes, base) else None
        found.append(alike or accepted_sizes(ask, base[axis], limit))
    tied = _tied(passes, base, found)
    asks = [_Along(passes=passes, base=base, axis=a, tied=bool(tied)) for a in range(len(base))]
    pairs = zip(tied or found, asks, strict=True)
    return tuple(_axis_sizes(f, ask, passes) for f, ask in pairs), bool(tied)


def _tied(passes: SizedPasses, base: Sizes, alone: Sequence[Found]) -> list[Found]:
    """The sizes that are accepted for all axes at once and for none alone; empty without such."""
    if len(base) == 1 or len(set(base)) > 1 or not all(found.finite for found in alone):
        return []
    found = []
    near = (alone[0].period, -alone[0].period, 64, base[0])
    more = [n for n in (base[0] + step for step in near) if n > 0 and n not in alone[0].accepted]
    if not any(passes.at((n,) * len(base)).taken for n in more):
        return []
    for axis in range(len(base)):
        ask = _Along(passes=passes, base=base, axis=axis, tied=True)
        found.append(accepted_sizes(ask, base[0], _limit(passes, base)))
    return found


def _axis_sizes(found: Found, ask: _Along, passes: SizedPasses) -> AxisSizes:
    ring = passes.plan.inputs.circular[ask.axis]
    return AxisSizes(
        accepted=found.accepted,
        even=even_sizes(found),
        valid=valid_sizes(found, ask),
        comparable=comparable_sizes(found, ask),
        closed=closed_sizes(found) if ring else None,
        period=found.period,
        sampled=found.sampled,
    )


def _alike(ask: _Along, first: Found, passes: SizedPasses, base: Sizes) -> bool:
    """Whether another axis, of the same size, does at some sizes what the first did."""
    circular = passes.plan.inputs.circular
    here, there = (passes.at(base).seen[a] for a in (0, ask.axis))
    if base[0] != base[ask.axis] or circular[0] != circular[ask.axis] or first.sampled:
        return False
    if here.layers != there.layers or here.stretches != there.stretches:
        return False
    accepted, step = first.accepted, first.accepted.step
    least = accepted.least or 1
    near = [least, least - 1, least + step, base[0] + 1, base[0] + step, base[0] + step // 2]
    refused = [n for n in first.seen if n not in accepted]
    more = [accepted.most, (accepted.most or 0) + 1] if accepted.most else []
    asked = [*near, *refused[:2], *refused[-1:], *more]
    return all(ask(n).taken == (n in accepted) for n in asked if n is not None and n >= 1)


def _together(passes: SizedPasses, base: Sizes, axes: Sequence[AxisSizes]) -> int | None:
    """The size from which on sizes that are accepted alone are so together; None without one."""
    if len(base) == 1:
        return 1

    def go_together(least: int) -> bool:
        each = [_some(axis.accepted, n, least) for axis, n in zip(axes, base, strict=True)]
        places = ((0, 0), (1, 1), (0, 1), (1, 0), (2, 2), (2, 3), (3, 2), (4, 2))
        tried = [
            tuple(some[place[a % 2] % len(some)] for a, some in enumerate(each)) for place in places
        ]
        return all(passes.at(sizes).taken for sizes in dict.fromkeys(tried))

    if go_together(1):
        return 1
    low, high = 1, min(base)
    if not go_together(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if go_together(middle) else (middle, high)
    return high


def _some(sizes: SizeSet, base: int, least: int) -> list[int]:
    """Of the sizes from ``least`` on, the first ones and some near the base."""
    places = (least, least + 1, base + 1, base + base // 2, 2 * base + 1)
    near = [n for place in places for n in sizes.nearest(place)[::-1] if n is not None]
    return list(dict.fromkeys(n for n in near if n >= least)) or [base]


def _fails_on_values(
    passes: SizedPasses, base: Sizes, axes: Sequence[AxisSizes], *, tied: bool
) -> bool:
    """Whether a pass on values tells another thing than one without, at the ends of some axis."""
    real = passes.on_values
    for axis, found in enumerate(axes):
        limit = found.accepted.most or _limit(passes, base)
        for n in (found.accepted.least, found.accepted.nearest(limit)[0]):
            sizes = (n or 1,) * len(base) if tied else with_sizes(base, [axis], [n or 1])
            if math.prod(sizes) <= REAL and not real.at(sizes).taken:
                return True
    return False
