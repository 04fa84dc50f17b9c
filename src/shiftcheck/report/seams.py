"""How tiled inference differs from the whole: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned
from shiftcheck.report.words import Fault, Word

Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis."""


class TilesVerdict(Word):
    """What came of a comparison of tiles with the whole.

    Example:
        >>> from shiftcheck.report import TilesVerdict
        >>> TilesVerdict.SAME, TilesVerdict.SAME == "same"
        ('same', True)
    """

    SAME = "same"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


class TilingFault(Fault):
    """Why tiles do not give what the whole gives, with what mends it.

    Example:
        >>> from shiftcheck.report import TilingFault
        >>> TilingFault.OFF_GRID, TilingFault.OFF_GRID.remedy
        ('tiles off the grid', 'begin each tile at a multiple of the period, in pixels')
    """

    SHAPE = (
        "another shape",
        "what was put together has not the shape of the whole",
        "put the tiles together to the size of the output on the whole",
    )
    GLOBAL = (
        "a layer sees everything",
        "a layer depends on all of its input, so each tile is another input to it",
        "no overlap mends that: use statistics of the whole, or leave that layer out",
    )
    OFF_GRID = (
        "tiles off the grid",
        "the strides of the model meet other pixels in a tile that begins there",
        "begin each tile at a multiple of the period, in pixels",
    )
    OVERLAP = (
        "overlap too small",
        "next to a seam the output depends on pixels that the tile does not hold",
        "let each tile read more pixels, and cut off what they make of the output",
    )
    BLENDED = (
        "margins blended",
        "the wrong margins of overlapping tiles are averaged with right values",
        "cut the margins off before the tiles are blended, or do not blend",
    )
    DISPLACED = (
        "displaced",
        "values stand at another place than on the whole: a tile is cropped or put wrongly",
        "crop from each tile what its margins make of the output, and put it where it came from",
    )
    DROPPED = (
        "tile missing",
        "nothing was written there: the values are constant, or not finite",
        "have tiles cover all of the image, the last one along each axis too",
    )
    TURNED = (
        "tile turned",
        "a tile stands there with its axes exchanged or mirrored",
        "keep the order of the axes of each tile",
    )
    EXCHANGED = (
        "tiles exchanged",
        "two tiles stand in each other's place",
        "put each tile where it came from",
    )
    BORDER = (
        "outer border",
        "at the border of the image, tiles are continued in another way than the whole is",
        "let border tiles end where the image ends, so that the model pads there",
    )
    PRECISION = (
        "coarser type",
        "the values hold no more digits than a coarser floating type has",
        "compute and store tiles in the type of the whole",
    )
    CHOICES = (
        "whole numbers differ",
        "the output is a choice, such as of a class: that choices differ near seams tells where"
        " tiles meet, and not why",
        "compare the scores that the choice is made from",
    )
    OTHER = (
        "something else",
        "the structure of the model does not explain it",
        "look at what is done to each tile before and after the model, such as scaling it by its"
        " own statistics",
    )


@dataclass(frozen=True, kw_only=True)
class Seam:
    """A band across the output in which tiles and whole differ, along one axis.

    ``start`` and ``stop``: samples of the output; a seam where a circle closes begins below 0.
    ``line``: the sample with which the next tile begins, as far as the band and the structure tell;
    None at the outer border. ``missing``: pixels that the tiles before and behind it lack, where
    the overlap is too small. ``error``: the largest in the band, relative to the channel.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 5, padding=2)
        >>> halves = lambda x: torch.cat([net(x[..., :32]), net(x[..., 32:])], -1)
        >>> found = shiftcheck.compare_tiled(net, halves, torch.randn(1, 1, 64))
        >>> seam = found.outputs[0].axes[0].seams[0]
        >>> seam.start, seam.stop, seam.line, seam.missing
        (30, 34, 32, (2, 2))
    """

    start: int
    stop: int
    line: int | None = None
    missing: tuple[int, int] | None = None
    error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SeamAxis:
    """The seams of an output along an axis.

    ``lines``: the samples with which tiles begin, the first one left out. ``step``: from line to
    line, None where they are not regular or fewer than two. ``profile``: the largest relative error
    at each sample, where seams of other axes are not.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> tiles = lambda x: torch.cat([net(t) for t in x.split(16, -1)], -1)
        >>> found = shiftcheck.compare_tiled(net, tiles, torch.randn(1, 1, 64))
        >>> found.outputs[0].axes[0].lines, found.outputs[0].axes[0].step
        ((16, 32, 48), 16)
    """

    axis: int
    seams: tuple[Seam, ...] = ()
    lines: tuple[int, ...] = ()
    step: int | None = None
    profile: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WrongPart:
    """A part of the output that is wrong as a whole: one tile, a row of tiles, or everything.

    ``box``: start and stop along each axis. ``shift``: by how many samples it is displaced.

    Example:
        >>> import torch, shiftcheck
        >>> def forgets_the_last(x):
        ...     return torch.nn.functional.pad(x[..., :48], (0, 16)).exp()
        >>> found = shiftcheck.compare_tiled(torch.exp, forgets_the_last, torch.randn(1, 1, 64))
        >>> found.outputs[0].parts[0].box, found.outputs[0].parts[0].fault
        (((48, 64),), 'tile missing')
    """

    box: Box
    fault: TilingFault
    shift: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedOutput(Reasoned):
    """One output, put together from tiles, against the whole.

    ``error``: the largest difference, relative to the largest magnitude of its channel on the
    whole, and ``allowance``: what may be there; ``index``: where it exceeds that most, with the
    values ``whole`` and ``tiled``, None for no
    finite number. ``share``: of the places at which it does. ``near_seams``, of whole numbers such
    as classes: the part of the places that differ which lies so near to seams that a cut can have
    changed it, and the part of all places that does. ``picture``: the
    largest errors in a coarse grid of the last two axes.

    Example:
        >>> import torch, shiftcheck
        >>> x = torch.randn(1, 1, 64)
        >>> found = shiftcheck.compare_tiled(torch.exp, lambda x: x.exp() * 1.5, x)
        >>> round(found.outputs[0].error, 3), found.outputs[0].share
        (0.5, 1.0)
    """

    name: str
    shape: tuple[int, ...]
    tiled_shape: tuple[int, ...]
    verdict: TilesVerdict
    reason: Reason = Reason.NONE
    faults: tuple[TilingFault, ...] = ()
    error: float | None = None
    allowance: float | None = None
    index: tuple[int, ...] = ()
    whole: float | None = None
    tiled: float | None = None
    share: float = 0.0
    axes: tuple[SeamAxis, ...] = ()
    parts: tuple[WrongPart, ...] = ()
    picture: tuple[tuple[float, ...], ...] = ()
    near_seams: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TiledComparison(AnyReport):
    """What a model gives tile by tile, against what it gives on the whole.

    ``faults``: the causes, the gravest first. ``layers``: those that see everything, so that no
    tiles are exact. In pixels, along each axis: ``halo``, ``period``, and ``overlap``, the pixels
    that each tile has to read beyond what it writes, to the left and to the right: the halo,
    rounded up to the period. None where there is none, or the structure could not be read.
    ``pieces``: the shapes of the inputs on which the model was called by the tiled callable, where
    that was seen.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv2d(1, 2, 5, padding=2)
        >>> halves = lambda x: torch.cat([net(x[..., :32]), net(x[..., 32:])], -1)
        >>> found = shiftcheck.compare_tiled(net, halves, torch.randn(1, 1, 32, 64))
        >>> found.verdict, found.faults, found.overlap
        ('different', ('overlap too small',), ((2, 2), (2, 2)))
    """

    _called: ClassVar[str] = "comparison of tiles"

    verdict: TilesVerdict
    reason: Reason = Reason.NONE
    faults: tuple[TilingFault, ...] = ()
    outputs: tuple[ComparedOutput, ...] = ()
    layers: tuple[str, ...] = ()
    halo: tuple[tuple[float, float] | None, ...] = ()
    period: tuple[int | None, ...] = ()
    overlap: tuple[tuple[int, int] | None, ...] = ()
    pieces: tuple[tuple[int, ...], ...] = ()
    model: str = ""
    tiled: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()
    dtype: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def missing(self) -> tuple[tuple[int, int] | None, ...]:
        """Pixels by which the overlap is too small along each axis; None where it is not known."""
        found: list[tuple[int, int] | None] = []
        for axis in range(len(self.spatial_dims)):
            every = [
                seam.missing
                for output in self.outputs
                for along in output.axes[axis : axis + 1]
                for seam in along.seams
                if seam.missing is not None
            ]
            found.append((max(m[0] for m in every), max(m[1] for m in every)) if every else None)
        return tuple(found)
