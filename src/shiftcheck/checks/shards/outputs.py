"""One output, put together from shards, against that of the whole: where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shiftcheck.checks.seams.differences import Difference, difference
from shiftcheck.checks.seams.running import Values
from shiftcheck.report.seams import TilesVerdict
from shiftcheck.report.shards_compared import ShardedComparedOutput, ShardFault, ShardSeam

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Wrong:
    """Where an output is wrong along the axis that was cut.

    ``starts``: of the shards in it, and its size. ``lines``: which samples are wrong somewhere.
    """

    starts: tuple[int, ...]
    lines: Array

    def of_shard(self, number: int) -> tuple[int, int]:
        """So many samples at both ends of a shard hold all that is wrong in either half."""
        own = self.lines[self.starts[number] : self.starts[number + 1]]
        half = (len(own) + 1) // 2
        left, right = np.flatnonzero(own[:half]), np.flatnonzero(own[half:][::-1])
        return (
            int(left.max()) + 1 if len(left) else 0,
            int(right.max()) + 1 if len(right) else 0,
        )

    def seams(self) -> tuple[ShardSeam, ...]:
        """The seams next to which something is wrong."""
        each = [self.of_shard(i) for i in range(len(self.starts) - 1)]
        found = (
            ShardSeam(number=i, at=self.starts[i], left=each[i - 1][1], right=each[i][0])
            for i in range(1, len(each))
        )
        return tuple(seam for seam in found if seam.left or seam.right)


@dataclass(frozen=True, kw_only=True, eq=False)
class Together:
    """An output of all shards; ``wrong`` is None where nothing is, or its place is not known.

    ``noisier``: the whole with the noise of a coarser type, by which more than that is wrong.
    """

    record: ShardedComparedOutput
    joined: Array | None = None
    wrong: Wrong | None = None
    noisier: Values | None = None


def put_together(
    name: str,
    whole: Values,
    shards: Sequence[Values | None],
    dim: int | None,
    expected: tuple[int, ...],
    tolerances: tuple[float | None, float | None],
    inner: int = 1,
) -> Together:
    """Compare one output; ``dim``: what was cut, None where each shard has all of it.

    ``inner``: the values along it for each sample of the axis.
    """
    record = ShardedComparedOutput(
        name=name, shape=whole.array.shape, dim=dim, verdict=TilesVerdict.SAME, expected=expected
    )
    held = [values for values in shards if values is not None]
    if len(held) < len(shards):
        return Together(record=_faulty(record, ShardFault.LENGTHS))
    if dim is None:
        return Together(record=_replicas(record, whole, held, tolerances))
    fits = all(_fits(values.array.shape, whole.array.shape, dim) for values in held)
    lengths = tuple(v.array.shape[dim] if dim < v.array.ndim else 0 for v in held)
    record = replace(record, lengths=lengths)
    if not fits or sum(lengths) != whole.array.shape[dim] or any(n % inner for n in lengths):
        return Together(record=_faulty(record, ShardFault.LENGTHS))
    joined = np.concatenate([values.array for values in held], axis=dim)
    gap = _gap(whole, replace(held[0], array=joined), dim, tolerances)
    record = _measured(record, gap)
    if not gap.wrong.any():
        return Together(record=record, joined=joined)
    record = replace(record, verdict=TilesVerdict.DIFFERENT)
    order = _order(whole, held, dim, tolerances)
    if order:
        record = replace(_faulty(record, ShardFault.ORDER), order=order)
        return Together(record=record, joined=joined)
    starts = (0, *(int(n) // inner for n in np.cumsum(lengths)))
    lines = np.asarray(gap.wrong.any(axis=tuple(range(gap.wrong.ndim - 1))))
    wrong = Wrong(starts=starts, lines=np.asarray(lines.reshape(-1, inner).any(axis=1)))
    return Together(record=replace(record, seams=wrong.seams()), joined=joined, wrong=wrong)


def _faulty(record: ShardedComparedOutput, *faults: ShardFault) -> ShardedComparedOutput:
    return replace(record, verdict=TilesVerdict.DIFFERENT, faults=faults)


def _fits(shape: tuple[int, ...], whole: tuple[int, ...], dim: int) -> bool:
    """Whether a shard has the shape of the whole in all other dimensions."""
    rest = [d for d in range(len(whole)) if d != dim]
    return len(shape) == len(whole) and all(shape[d] == whole[d] for d in rest)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gap:
    """The difference of two outputs; ``wrong``: which values, the axis that was cut being last."""

    diff: Difference
    wrong: Array


def _gap(
    whole: Values, other: Values, dim: int | None, tolerances: tuple[float | None, float | None]
) -> Gap:
    """Compare two outputs of one shape, channel by channel."""
    one, two = (
        v if dim is None else replace(v, array=np.moveaxis(v.array, dim, -1))
        for v in (whole, other)
    )
    diff = difference(one, two, max(0, one.array.ndim - 2), *tolerances)
    with np.errstate(invalid="ignore"):
        gap = np.abs(diff.whole - diff.tiled)
    wrong: Array = ~(gap <= diff.allowed)
    return Gap(diff=diff, wrong=wrong.reshape(one.array.shape))


def agrees(
    one: Values, other: Values, dim: int | None, tolerances: tuple[float | None, float | None]
) -> bool:
    """Whether two outputs of one shape agree within what is allowed."""
    return not _gap(one, other, dim, tolerances).wrong.any()


def _measured(record: ShardedComparedOutput, gap: Gap) -> ShardedComparedOutput:
    _, _, _, error, allowance = gap.diff.worst()
    finite = error if math.isfinite(error) else None
    return replace(record, error=finite, allowance=allowance, share=float(gap.wrong.mean()))


def _replicas(
    record: ShardedComparedOutput,
    whole: Values,
    held: Sequence[Values],
    tolerances: tuple[float | None, float | None],
) -> ShardedComparedOutput:
    """An output that does not have the axis: every shard has to have all of it."""
    if any(values.array.shape != whole.array.shape for values in held):
        return _faulty(record, ShardFault.LENGTHS)
    measured = [_measured(record, _gap(whole, v, None, tolerances)) for v in held]
    worst = max(measured, key=lambda m: (m.share, m.error or 0.0))
    return _faulty(worst, ShardFault.REPLICAS) if worst.share else worst


def _order(
    whole: Values,
    held: Sequence[Values],
    dim: int,
    tolerances: tuple[float | None, float | None],
) -> tuple[int, ...]:
    """Which part of the whole each shard holds, where all do, in another order; else nothing."""
    lengths = [values.array.shape[dim] for values in held]
    left = list(range(len(held)))
    order: list[int] = []
    for values in held:
        found = next((j for j in left if _holds(whole, values, dim, j, lengths, tolerances)), None)
        if found is None:
            return ()
        order.append(found)
        left.remove(found)
    return tuple(order)


def _holds(
    whole: Values,
    values: Values,
    dim: int,
    number: int,
    lengths: Sequence[int],
    tolerances: tuple[float | None, float | None],
) -> bool:
    if lengths[number] != values.array.shape[dim]:
        return False
    start = sum(lengths[:number])
    part = whole.array.take(range(start, start + lengths[number]), axis=dim)
    return agrees(replace(whole, array=part), values, dim, tolerances)
