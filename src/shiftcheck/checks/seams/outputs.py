"""The verdict on one output that was put together from tiles, and its faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shiftcheck.checks.seams.differences import (
    Along,
    Array,
    Difference,
    boxes,
    clean_lines,
    slices,
)
from shiftcheck.checks.seams.lines import Band, Found, along_axis
from shiftcheck.checks.seams.parts import Parts
from shiftcheck.checks.seams.running import Runner
from shiftcheck.report.seams import (
    Box,
    SeamAxis,
    TiledOutput,
    TilesVerdict,
    TilingFault,
    WrongPart,
)

PICTURE = 48
"""The cells of the picture along an axis, at most."""

SOME = 0.5
"""A layer that sees everything is felt in so large a part of the output."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The faults of an output, and where they are."""

    faults: tuple[TilingFault, ...]
    axes: tuple[SeamAxis, ...]
    parts: tuple[WrongPart, ...]


def told(name: str, diff: Difference, along: tuple[Along, ...], runner: Runner) -> TiledOutput:
    """What there is to say of an output of the right shape."""
    share = float(diff.wrong.mean()) if diff.wrong.size else 0.0
    index, whole, tiled, error, allowance = diff.worst()
    output = TiledOutput(
        name=name,
        shape=diff.shape,
        tiled_shape=diff.shape,
        verdict=TilesVerdict.DIFFERENT if share else TilesVerdict.SAME,
        error=error,
        allowance=allowance,
        index=index,
        whole=whole,
        tiled=tiled if math.isfinite(tiled) else None,
        share=share,
        picture=_picture(diff.error),
    )
    if not share:
        return output
    if not along:
        return replace(output, faults=(TilingFault.OTHER,))
    judged = _judged(Parts(diff=diff, name=name, along=along, runner=runner))
    faults = tuple(sorted(set(judged.faults), key=list(TilingFault).index))
    return replace(output, faults=faults, axes=judged.axes, parts=judged.parts)


def _judged(parts: Parts) -> Judged:
    diff = parts.diff
    found = [along_axis(diff, axis, along) for axis, along in enumerate(parts.along)]
    everywhere: Box = tuple((0, n) for n in diff.wrong.shape)
    if all((0, n) in f.wide for f, n in zip(found, diff.wrong.shape, strict=True)):
        return _records(parts, found, [_of_all(parts, everywhere)], [])
    faults: list[TilingFault] = []
    wrong: list[WrongPart] = []
    left = diff.wrong.copy()
    for axis, bands in enumerate(found):
        for band in bands.every():
            slab = tuple(band if a == axis else (0, n) for a, n in enumerate(diff.wrong.shape))
            left[slices(slab)] = False
            if parts.missing(slab):
                wrong.append(WrongPart(box=slab, fault=TilingFault.DROPPED))
            elif band in bands.wide:
                wrong.append(_unless_global(parts, parts.judged(slab, lines=_lines(diff, axis))))
            else:
                faults.append(_of_band(bands, band))
    wrong += [_unless_global(parts, parts.judged(box)) for box in boxes(left)]
    return _records(parts, found, _exchanged(wrong), faults)


def _records(
    parts: Parts, found: Sequence[Found], wrong: list[WrongPart], faults: list[TilingFault]
) -> Judged:
    edges = not any(p.fault in (TilingFault.GLOBAL, TilingFault.OTHER) for p in wrong)
    shape = parts.diff.wrong.shape
    axes = tuple(bands.of_axis(axis, shape[axis], edges=edges) for axis, bands in enumerate(found))
    return Judged(faults=(*faults, *(part.fault for part in wrong)), axes=axes, parts=tuple(wrong))


def _lines(diff: Difference, axis: int) -> Array:
    """Over space, the lines along an axis that lie in no seam of another."""
    chosen = clean_lines(diff, axis)
    others = tuple(n for a, n in enumerate(diff.wrong.shape) if a != axis)
    return np.broadcast_to(np.expand_dims(chosen.reshape(others), axis), diff.wrong.shape)


def _of_band(bands: Found, band: Band) -> TilingFault:
    if band in [(s.start, s.stop) for s in bands.border]:
        return TilingFault.BORDER
    return TilingFault.BLENDED if bands.blended else TilingFault.OVERLAP


def _unless_global(parts: Parts, part: WrongPart) -> WrongPart:
    """A layer that sees everything explains what nothing else does."""
    unknown = part.fault == TilingFault.OTHER
    endless = any(along.sees_everything for along in parts.along)
    return replace(part, fault=TilingFault.GLOBAL) if unknown and endless else part


def _of_all(parts: Parts, box: Box) -> WrongPart:
    """What happened where nothing is right."""
    part = _unless_global(parts, parts.judged(box))
    if part.fault != TilingFault.OTHER:
        return part
    spatial = parts.runner.inputs.main.spatial
    whole = parts.runner.inputs.main.tensor.shape
    for piece in parts.runner.pieces:
        for dim, along in zip(spatial, parts.along, strict=True):
            small = along.halo is not None and piece[dim] <= 2 * sum(along.halo)
            if small and piece[dim] < whole[dim]:
                return replace(part, fault=TilingFault.OVERLAP)
    return part


def _exchanged(wrong: list[WrongPart]) -> list[WrongPart]:
    """Parts that stand in each other's place are exchanged, not only displaced."""
    shifted = {p.shift: p for p in wrong if p.shift is not None}
    return [
        replace(p, fault=TilingFault.EXCHANGED)
        if p.shift is not None
        and tuple(-s for s in p.shift) in shifted
        and _meet(shifted[tuple(-s for s in p.shift)].box, p)
        else p
        for p in wrong
    ]


def _meet(other: Box, part: WrongPart) -> bool:
    """Whether what stands in a part came from another one."""
    shift = part.shift or ()
    return all(
        a - s < stop and start < b - s
        for (a, b), s, (start, stop) in zip(part.box, shift, other, strict=True)
    )


def _picture(error: Array) -> tuple[tuple[float, ...], ...]:
    """The largest errors in the cells of a coarse grid over the last two axes."""
    flat = error.reshape(-1, *error.shape[-2:]).max(axis=0) if error.ndim > 1 else error[None]
    if flat.ndim < 2 or not flat.size:
        return ()
    rows = np.array_split(flat, min(PICTURE, flat.shape[0]), axis=0)
    return tuple(
        tuple(float(cell.max()) for cell in np.array_split(row, min(PICTURE, row.shape[1]), axis=1))
        for row in rows
    )
