"""A comparison of shards with the whole as text, and what a page shows of it."""

from __future__ import annotations

from collections.abc import Iterator

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, gap
from shiftcheck.report.shards_compared import (
    GuiltyLayer,
    ShardedComparedOutput,
    ShardedComparison,
    ShardFault,
    ShardSeam,
)


def render_sharded(found: ShardedComparison) -> str:
    """What differs and why, at which layer, and at which seams."""
    return "\n".join([headline_of_sharded(found), *wrapped(_sentences(found))])


def headline_of_sharded(found: ShardedComparison) -> str:
    """One line: the model, the sharded callable, the verdict and the faults."""
    shape = "x".join(map(str, found.input_shape))
    why = ", ".join(found.faults) or found.reason
    verdict = found.verdict.upper() + (f", {why}" if why else "")
    where = "on ranks" if found.distributed else "in one process"
    return f"{found.model} on {shape}, {count(found.parts, 'shard')} {where}: {verdict}"


def contents_of_sharded(found: ShardedComparison) -> Contents:
    """What a page or a notebook shows."""
    rows = tuple(
        (
            f"{output.name}, seam {seam.number}",
            str(seam.at),
            str(seam.left),
            str(seam.right),
            _pair(seam.missing),
        )
        for output in found.outputs
        for seam in output.seams
    )
    head = ("", "at sample", "wrong before", "wrong behind", "missing")
    return Contents(
        headline=headline_of_sharded(found),
        verdict=str(found.verdict),
        sentences=tuple(_sentences(found)),
        sheets=(Sheet(title="Seams", head=head, rows=rows),) if rows else (),
        made=tuple(("note", note) for note in found.notes),
    )


def _pair(pair: tuple[int, int] | None) -> str:
    return "-" if pair is None else f"{pair[0]}, {pair[1]}"


def _sentences(found: ShardedComparison) -> Iterator[str]:
    if found.reason:
        yield f"reason: {found.reason.plain}"
    if found.guilty is not None:
        yield from _of_guilty(found.guilty)
    elif found.faults:
        yield (
            "which layer differs first is not known: the shards were not seen to run the modules of"
            " the model"
            if not found.by_modules
            else "no module differs before the outputs do"
        )
    for output in found.outputs:
        yield from _of_output(output, several=len(found.outputs) > 1)
    for fault in found.faults:
        yield f"{fault}: {fault.plain}; {fault.remedy}"
    starts = ", ".join(map(str, found.bounds[:-1]))
    grid = f", shards may begin at multiples of {found.period}" if found.period else ""
    yield f"shards begin at {starts} of {found.bounds[-1]} along dimension {found.axis}{grid}"
    if found.layers and found.faults:
        yield f"these need all shards: {', '.join(found.layers)}"
    yield from (f"note: {note}" for note in found.notes)


def _of_guilty(guilty: GuiltyLayer) -> Iterator[str]:
    sides = [
        f"{count(number, 'sample')} next to the seam on the {side}"
        for side, number in (("left", guilty.left), ("right", guilty.right))
        if number
    ]
    wrong = "wrong in more than its margins" if guilty.everywhere else f"wrong in {_and(sides)}"
    yield (
        f"first layer that differs: {guilty.name!r} ({guilty.op}), on shard {guilty.shard}:"
        f" {wrong if sides or guilty.everywhere else 'wrong'}"
    )
    if guilty.given is not None and guilty.needed is not None:
        yield (
            f"{guilty.name!r} was given a halo of {_sides(guilty.given)} there, and needs"
            f" {_sides(guilty.needed)} (samples of its own input)"
        )


def _sides(pair: tuple[int, int]) -> str:
    return f"{pair[0]} on the left and {pair[1]} on the right"


def _and(parts: list[str]) -> str:
    return " and ".join(parts)


def _of_output(output: ShardedComparedOutput, *, several: bool) -> Iterator[str]:
    name = f"{output.name}: " if several else ""
    if ShardFault.LENGTHS in output.faults:
        yield (
            f"{name}the shards have lengths {_list(output.lengths)}, together"
            f" {sum(output.lengths)}; {_list(output.expected)} make the whole of"
            f" {sum(output.expected)}"
        )
        return
    if several and output.reason:
        yield f"{name}{output.reason}"
    if output.error is None:
        return
    yield (
        f"{name}largest difference {gap(output.error)} of its channel, allowed"
        f" {gap(output.allowance)}; {output.share:.1%} of the places differ"
    )
    if output.order:
        yield f"{name}the shards hold the parts {_list(output.order)} of the whole"
    yield from (f"{name}{_seam(seam)}" for seam in output.seams)


def _seam(seam: ShardSeam) -> str:
    missing = ""
    if seam.missing is not None and any(seam.missing):
        missing = (
            f"; too small by at least {seam.missing[0]} on the right of the shard before it and by"
            f" {seam.missing[1]} on the left of the one behind it"
        )
    return f"seam at sample {seam.at}: {seam.left} wrong before it, {seam.right} behind it{missing}"


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
