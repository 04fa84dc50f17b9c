"""The verdict on one output that was put together from tiles, and its faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from shiftcheck.checks.seams.choices import lines_of_choices, near
from shiftcheck.checks.seams.cropped import cropped
from shiftcheck.checks.seams.differences import (
    Along,
    Array,
    Difference,
    boxes,
    lines_between_seams,
    slices,
)
from shiftcheck.checks.seams.lines import Band, Found, along_axis
from shiftcheck.checks.seams.parts import Parts
from shiftcheck.checks.seams.running import Runner
from shiftcheck.report.seams import (
    Box,
    ComparedOutput,
    SeamAxis,
    TilesVerdict,
    TilingFault,
    WrongPart,
)

PICTURE = 48
"""The cells of the picture along an axis, at most."""

OVERLAPPING = 1.25
"""Tiles that read each pixel so often along an axis overlap by more than their borders make up."""

WHOLE_TILES = (
    TilingFault.OFF_GRID,
    TilingFault.DISPLACED,
    TilingFault.DROPPED,
    TilingFault.TURNED,
    TilingFault.EXCHANGED,
)
"""Faults of whole tiles: where such a part ends, a tile does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The faults of an output, and where they are."""

    faults: tuple[TilingFault, ...]
    axes: tuple[SeamAxis, ...]
    parts: tuple[WrongPart, ...]


def told(name: str, diff: Difference, along: tuple[Along, ...], runner: Runner) -> ComparedOutput:
    """What there is to say of an output of the right shape."""
    share = float(diff.wrong.mean()) if diff.wrong.size else 0.0
    index, whole, tiled, error, allowance = diff.worst()
    output = ComparedOutput(
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
    if not along:  # no place is left in it, so that it comes from all of the input
        return replace(output, faults=(TilingFault.GLOBAL,))
    parts = Parts(diff=diff, name=name, along=along, runner=runner)
    if diff.discrete:
        return _of_choices(output, parts)
    judged = _judged(parts)
    faults = tuple(sorted(set(judged.faults), key=list(TilingFault).index))
    return replace(output, faults=faults, axes=judged.axes, parts=judged.parts)


def _judged(parts: Parts) -> Judged:
    diff = parts.diff
    around = _around(diff)
    shift = parts.displaced(around)
    if shift is not None:
        part = WrongPart(box=around, fault=TilingFault.DISPLACED, shift=shift)
        return Judged(faults=(part.fault,), axes=(), parts=(part,))
    found = [
        along_axis(diff, axis, along, _tile(parts, axis), partial(cropped, parts, axis))
        for axis, along in enumerate(parts.along)
    ]
    everywhere: Box = tuple((0, n) for n in diff.wrong.shape)
    if all((0, n) in f.wide for f, n in zip(found, diff.wrong.shape, strict=True)):
        return _records(
            parts, found, [_explained(parts, parts.judged(everywhere), range(len(found)))], []
        )
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
                part = parts.judged(slab, lines=lines_between_seams(diff, axis))
                wrong.append(_explained(parts, part, [axis]))
            else:
                faults.append(_of_band(bands, band, blended=any(f.blended for f in found)))
    axes = range(len(found))
    wrong += [_explained(parts, parts.judged(box), axes) for box in boxes(left)]
    return _records(parts, found, _exchanged(wrong), faults)


def _around(diff: Difference) -> Box:
    """The box around all wrong places."""
    return tuple((int(p.min()), int(p.max()) + 1) for p in map(np.unique, np.nonzero(diff.wrong)))


def _of_choices(output: ComparedOutput, parts: Parts) -> ComparedOutput:
    """Of whole numbers: near which lines they differ, and which part of them does."""
    around = _around(parts.diff)
    fault = TilingFault.DROPPED if parts.missing(around) else TilingFault.CHOICES
    part = WrongPart(box=around, fault=fault)
    found = replace(output, faults=(fault,), parts=(part,))
    if fault is TilingFault.DROPPED:
        return found
    axes = [lines_of_choices(parts.diff, axis, one) for axis, one in enumerate(parts.along)]
    if not any(axis.lines for axis in axes):
        return found
    return replace(found, axes=tuple(axes), near_seams=near(parts.diff, axes, parts.along))


def _records(
    parts: Parts, found: Sequence[Found], wrong: list[WrongPart], faults: list[TilingFault]
) -> Judged:
    edges = all(part.fault in WHOLE_TILES for part in wrong)
    shape = parts.diff.wrong.shape
    axes = tuple(bands.of_axis(axis, shape[axis], edges=edges) for axis, bands in enumerate(found))
    return Judged(faults=(*faults, *(part.fault for part in wrong)), axes=axes, parts=tuple(wrong))


def _of_band(bands: Found, band: Band, *, blended: bool) -> TilingFault:
    if band in [(s.start, s.stop) for s in bands.border]:
        return TilingFault.BORDER
    return TilingFault.BLENDED if blended else TilingFault.OVERLAP


def _explained(parts: Parts, part: WrongPart, axes: Sequence[int]) -> WrongPart:
    """What nothing else explains may come from a layer that sees everything, or small tiles."""
    if part.fault != TilingFault.OTHER:
        return part
    if any(along.sees_everything for along in parts.along):
        return replace(part, fault=TilingFault.GLOBAL)
    if any(_too_small(parts, axis) for axis in axes):
        return replace(part, fault=TilingFault.OVERLAP)
    if any(_margins_meet(parts, axis) for axis in axes):
        return replace(part, fault=TilingFault.BLENDED)
    return part


def _tile(parts: Parts, axis: int) -> int | None:
    """The pixels of the largest piece on which the model was called, of those that are cut."""
    dim = parts.runner.inputs.main.spatial[axis]
    return max((piece[dim] for piece in _cut(parts, axis)), default=None)


def _cut(parts: Parts, axis: int) -> list[tuple[int, ...]]:
    """The pieces that do not hold all of an axis."""
    inputs = parts.runner.inputs
    dim = inputs.main.spatial[axis]
    return [piece for piece in parts.runner.pieces if piece[dim] < inputs.main.tensor.shape[dim]]


def _too_small(parts: Parts, axis: int) -> bool:
    """Whether a tile has hardly a sample that sees nothing beyond it."""
    tile, along = _tile(parts, axis), parts.along[axis]
    if tile is None or along.halo is None:
        return False
    return tile <= sum(along.halo) + (along.period or 1)


def _margins_meet(parts: Parts, axis: int) -> bool:
    """Whether tiles overlap so often that each sample lies in a margin of one of them."""
    tile, along = _tile(parts, axis), parts.along[axis]
    main = parts.runner.inputs.main
    if tile is None or along.halo is None:
        return False
    read = sum(math.prod(piece) for piece in _cut(parts, axis))
    times = float((read / max(1, main.tensor.numel())) ** (1 / len(main.spatial)))
    margins = sum(along.halo) + (along.period or 1)
    return times > OVERLAPPING and tile / times <= margins


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
    if error.ndim == 0:
        return ()
    flat = error.reshape(-1, *error.shape[-2:]).max(axis=0) if error.ndim > 1 else error[None]
    if flat.ndim < 2 or not flat.size:
        return ()
    return tuple(
        tuple(float(cell.max()) for cell in np.array_split(row, _cells(row.shape[1]), axis=1))
        for row in np.array_split(flat, _cells(flat.shape[0]), axis=0)
    )


def _cells(size: int) -> list[int]:
    """Where cells begin, but the first: spread evenly, so that each is drawn where it is."""
    cells = min(PICTURE, size)
    return [i * size // cells for i in range(1, cells)]
