"""Why shards do not give what the whole gives, by the first layer that differs or by the output."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shiftcheck.checks.seams.digits import holds_fewer_digits
from shiftcheck.checks.seams.running import Values
from shiftcheck.checks.shards.cutting import Cut, off_grid
from shiftcheck.checks.shards.guesses import Guesses
from shiftcheck.checks.shards.locating import Located
from shiftcheck.checks.shards.outputs import Array, Together, Wrong, agrees
from shiftcheck.checks.shards.plan import Question
from shiftcheck.lattice.axis import Axis
from shiftcheck.report.shards import Exchange, ShardedLayer
from shiftcheck.report.shards_compared import ShardedComparedOutput, ShardFault, ShardSeam

SETTLED = (ShardFault.LENGTHS, ShardFault.ORDER)
"""Faults that the outputs show by themselves."""


def faults_of_layer(
    located: Sequence[Located], cut: Cut, period: int | None
) -> tuple[ShardFault, ...]:
    """Why the first layer that differs does so, on the shards on which it does."""
    found = dict.fromkeys(f for one in located for f in _of_layer(one, cut, period))
    return tuple(sorted(found, key=list(ShardFault).index))


def _of_layer(one: Located, cut: Cut, period: int | None) -> Iterator[ShardFault]:
    guilty, layer = one.guilty, one.layer
    if one.fed_wrong:
        return
    if layer.exchange is Exchange.STATISTIC:
        yield ShardFault.COLLECTIVE
    elif layer.exchange.blocks:
        yield ShardFault.GLOBAL
    elif guilty.everywhere:
        off = period is not None and bool(off_grid(cut, period))
        yield ShardFault.OFF_GRID if off else ShardFault.OTHER
    elif guilty.given is None or guilty.needed is None:
        yield ShardFault.HALO
    else:
        shard = layer.shards[guilty.shard]
        yield from _of_sides(one, shard.gives[1] == layer.outputs, first=shard.gives[0] == 0)


def _of_sides(one: Located, last: bool, *, first: bool) -> Iterator[ShardFault]:
    """The fault at each side; what is missing there, was padded in its place."""
    guilty = one.guilty
    assert guilty.given is not None
    assert guilty.needed is not None
    sides = zip((guilty.left, guilty.right), guilty.given, guilty.needed, strict=True)
    for (wrong, given, needed), outer in zip(sides, (first, last), strict=True):
        if not wrong:
            continue
        if given < needed:
            yield ShardFault.HALO if given else ShardFault.PADDING
        elif outer:
            yield ShardFault.BORDER
        else:
            yield ShardFault.OTHER


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """An output that differs, and what there is to explain it by.

    ``whole``: its values. ``layer``: the whole model, as one layer from its input to this output.
    """

    together: Together
    whole: Values
    layer: ShardedLayer
    guesses: Guesses | None
    tolerances: tuple[float | None, float | None]


def explained(output: Output, question: Question, cut: Cut) -> ShardedComparedOutput:
    """The record of an output with its faults, by what it shows and by runs of the model."""
    record, wrong = output.together.record, output.together.wrong
    if record.faults and record.dim is not None:
        return record
    if wrong is None or (output.layer.reads and len(wrong.lines) != output.layer.outputs):
        return replace(record, faults=(_of_everything(question, _unplaced(record)),))
    faults = dict.fromkeys(_of_output(output, wrong, question, cut))
    record = replace(record, faults=tuple(sorted(faults, key=list(ShardFault).index)))
    if ShardFault.COLLECTIVE in faults or ShardFault.GLOBAL in faults:
        return replace(record, seams=())
    if ShardFault.HALO in faults or ShardFault.PADDING in faults:
        seams = tuple(_with_missing(seam, output.layer, wrong, cut) for seam in record.seams)
        record = replace(record, seams=seams)
    return record


def as_rounded(record: ShardedComparedOutput, output: Output) -> ShardedComparedOutput:
    """The record, where nothing but the type of the values explains it with that as its fault."""
    joined, whole = output.together.joined, output.whole.array
    if record.faults != (ShardFault.OTHER,) or joined is None or record.error is None:
        return record
    if not holds_fewer_digits(whole, joined, record.error):
        return record
    return replace(record, faults=(ShardFault.PRECISION,), seams=())


def _unplaced(record: ShardedComparedOutput) -> ShardFault:
    """The fault of an output of which it is not known where it is wrong."""
    return ShardFault.REPLICAS if record.dim is None else ShardFault.OTHER


def _of_output(output: Output, wrong: Wrong, question: Question, cut: Cut) -> Iterator[ShardFault]:
    reaches = [_reach(output.layer, wrong, cut, i) for i in range(len(cut) - 1)]
    sides = [wrong.of_shard(i) for i in range(len(cut) - 1)]
    pairs = list(zip(sides, reaches, strict=True))
    if any(reach is None or side[0] > reach[0] or side[1] > reach[1] for side, reach in pairs):
        yield from _far_from_seams(output, question, cut)
        return
    ends = sides[0][0], sides[-1][1]
    if any(ends):
        yield ShardFault.BORDER
    if any(seam.left or seam.right for seam in wrong.seams()):
        yield _at_seams(output)


def _far_from_seams(output: Output, question: Question, cut: Cut) -> Iterator[ShardFault]:
    """Faults by which more differs than what sees beyond a seam."""
    joined, guesses = output.together.joined, output.guesses
    if off_grid(cut, question.period):
        yield ShardFault.OFF_GRID
        return
    if joined is not None and guesses is not None and output.layer.is_local:
        most = min(b - a for a, b in itertools.pairwise(cut))
        if _some(guesses.averaged(most), joined, output):
            yield ShardFault.AVERAGED
            return
    yield _of_everything(question, ShardFault.OTHER)


def _of_everything(question: Question, other: ShardFault) -> ShardFault:
    """The fault where samples differ everywhere, by what the model needs of all shards."""
    needs = [one.layer.exchange for one in question.layers]
    if any(need.blocks for need in needs):
        return ShardFault.GLOBAL
    return ShardFault.COLLECTIVE if Exchange.STATISTIC in needs else other


def _at_seams(output: Output) -> ShardFault:
    """The fault of what differs next to seams alone."""
    joined, guesses = output.together.joined, output.guesses
    if joined is None or guesses is None:
        return ShardFault.HALO
    alone = guesses.alone()
    if alone is not None and _same(alone, joined, output):
        return ShardFault.PADDING
    if exchanged_too_little(output):
        return ShardFault.HALO
    return ShardFault.AVERAGED if _is_averaged(output) else ShardFault.HALO


def exchanged_too_little(output: Output) -> bool:
    """Whether the output is that of shards that were given some pixels of others, and too few."""
    joined, guesses = output.together.joined, output.guesses
    if joined is None or guesses is None:
        return False
    alone = guesses.alone()
    if alone is not None and _same(alone, joined, output):  # nothing came from another shard
        return False
    return _some((found for _, found in guesses.with_halos(output.layer.halo)), joined, output)


def _is_averaged(output: Output) -> bool:
    """Whether the output is that of shards which overlap and are averaged where they do."""
    joined, guesses, halo = output.together.joined, output.guesses, output.layer.halo
    if joined is None or guesses is None or not output.layer.is_local:
        return False
    return _some(guesses.averaged(2 * max(halo) + 2 * guesses.period), joined, output)


def _some(found: Iterator[Array], joined: Array, output: Output) -> bool:
    return any(_same(each, joined, output) for each in found)


def _same(one: Array, other: Array, output: Output) -> bool:
    dim = output.together.record.dim
    held = replace(output.whole, array=one)
    return one.shape == other.shape and agrees(
        held, replace(output.whole, array=other), dim, output.tolerances
    )


def _reach(layer: ShardedLayer, wrong: Wrong, cut: Cut, number: int) -> tuple[int, int] | None:
    """So many samples of a shard see pixels beyond it, left and right; None where all do."""
    if not layer.reads or not layer.is_local:
        return None
    start, stop = wrong.starts[number], wrong.starts[number + 1]
    owns = cut[number], cut[number + 1]
    left = right = 0
    while start + left < stop and _lacks(layer, owns, start + left)[0]:
        left += 1
    while stop - right > start and _lacks(layer, owns, stop - right - 1)[1]:
        right += 1
    return left, right


def _lacks(layer: ShardedLayer, owns: tuple[int, int], sample: int) -> tuple[int, int]:
    """The pixels that a sample sees beyond a shard, those beyond the image as well."""
    read = layer.needs(sample, sample + 1)
    left = max(0, owns[0] - read.start) if owns[0] else read.before
    right = max(0, read.stop - owns[1]) if owns[1] < layer.inputs else read.after
    return left, right


def _with_missing(seam: ShardSeam, layer: ShardedLayer, wrong: Wrong, cut: Cut) -> ShardSeam:
    """The seam with the pixels that the shards at both sides lack at least."""
    if not layer.reads or not layer.is_local:
        return seam
    pixel, start = cut[seam.number], wrong.starts[seam.number]
    before = [layer.needs(q, q + 1).stop - pixel for q in range(start - seam.left, start)]
    behind = [pixel - layer.needs(q, q + 1).start for q in range(start, start + seam.right)]
    missing = _span(before), _span(behind)
    return replace(seam, missing=missing)


def _span(needs: Sequence[int]) -> int:
    """From the most that is needed at a side down to the least that was not there."""
    known = [need for need in needs if need > 0]
    return max(known) - min(known) + 1 if known else 0


def as_one_layer(question: Question, number: int | None, name: str) -> ShardedLayer:
    """The whole model as one layer, from its input to one of its outputs."""
    row = None if number is None else question.outputs[number]
    state = None if row is None else row.layout.axes[question.along]
    if not isinstance(state, Axis):
        return ShardedLayer(name=name, op="output", exchange=Exchange.UNKNOWN)
    seen = np.isfinite(state.first).all() and np.isfinite(state.last).all()
    halo = state.halo if seen else (0.0, 0.0)
    return ShardedLayer(
        name=name,
        op="output",
        exchange=Exchange.HALO if seen else Exchange.EVERYTHING,
        inputs=question.pixels,
        outputs=state.size,
        stride=state.stride,
        period=state.lattice,
        reads=tuple(zip(state.first.tolist(), state.last.tolist(), strict=True)),
        halo=(math.ceil(max(0.0, halo[0])), math.ceil(max(0.0, halo[1]))),
    )
