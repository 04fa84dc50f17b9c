"""How a model on shards differs from the model on the whole: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned
from shiftcheck.report.seams import TilesVerdict
from shiftcheck.report.words import Fault

MODULES, OUTPUTS = "modules", "outputs"
"""By what the first difference was looked for."""

Pair = tuple[int, int]
"""To the left and to the right."""


class ShardFault(Fault):
    """Why shards do not give what the whole gives, with what mends it; the gravest first.

    Example:
        >>> from shiftcheck.report import ShardFault
        >>> ShardFault.HALO, ShardFault.HALO.remedy
        ('halo too small', 'exchange what plan.layers tells, to the left and to the right')
    """

    LENGTHS = (
        "wrong lengths",
        "the shards of the output together have not the length of the whole",
        "give the samples of plan.outputs: crop what halos add, pad at the true border only",
    )
    ORDER = (
        "wrong order",
        "the shards of the output stand in another order",
        "put each shard where it came from",
    )
    COLLECTIVE = (
        "missing collective",
        "a statistic of the whole axis was taken of each shard alone",
        "reduce the sums over all shards before they are used",
    )
    GLOBAL = (
        "a layer sees everything",
        "a layer depends on all of the axis, and no halo is enough for it",
        "gather all shards before that layer, or leave it out",
    )
    OFF_GRID = (
        "shards off the grid",
        "a shard begins between the places that the strides keep",
        "begin each shard at a multiple of the period, in pixels",
    )
    PADDING = (
        "border padding in the middle",
        "a shard goes on beyond the seam as the layer does at the border of the image",
        "put the samples of the neighbour there, and pad at the true border only",
    )
    HALO = (
        "halo too small",
        "next to a seam the output depends on samples that the shard was not given",
        "exchange what plan.layers tells, to the left and to the right",
    )
    AVERAGED = (
        "overlap averaged",
        "next to a seam values of two shards are averaged, of which one is wrong",
        "take each sample of the output from one shard",
    )
    BORDER = (
        "outer border",
        "at the border of the image, shards are continued in another way than the whole is",
        "have the first and the last shard padded there as the layer pads the whole",
    )
    REPLICAS = (
        "replicas differ",
        "an output without the axis that was cut is not the same on all shards",
        "reduce over all shards what it is made of",
    )
    PRECISION = (
        "coarser type",
        "the values hold no more digits than a coarser floating type has",
        "compute and return shards in the type of the whole, or state rtol and atol",
    )
    OTHER = (
        "something else",
        "the structure of the model does not explain it",
        "look at what is done to each shard before and after the model",
    )


@dataclass(frozen=True, kw_only=True)
class ShardSeam:
    """One seam of an output, at sample ``at``, between shard ``number - 1`` and the next one.

    ``left`` and ``right``: so many samples before and behind it are wrong. ``missing``: so many
    pixels, or samples of the guilty layer's input, the shards before and behind it lack; None where
    that is not known.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 5, padding=2)
        >>> each = lambda shards: [net(x) for x in shards]
        >>> found = shiftcheck.check_sharded(net, each, torch.randn(1, 1, 64), 2)
        >>> seam = found.outputs[0].seams[0]
        >>> seam.at, seam.left, seam.right, seam.missing
        (32, 2, 2, (2, 2))
    """

    number: int
    at: int
    left: int
    right: int
    missing: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class ShardedComparedOutput(Reasoned):
    """One output, put together from shards, against the whole.

    ``dim``: the dimension that was cut, None where each shard has all of it. ``lengths``: of each
    shard along it, ``expected``: by the plan. ``error``: the largest difference, relative to the
    largest magnitude of its channel; ``allowance``: what may be there. ``share``: of the wrong
    places. ``order``: which part of the whole each shard holds, where they are out of order.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 5, padding=2)
        >>> def swapped(shards):
        ...     return net(torch.cat(shards, -1)).split(32, -1)[::-1]
        >>> found = shiftcheck.check_sharded(net, swapped, torch.randn(1, 1, 64), 2)
        >>> found.outputs[0].faults, found.outputs[0].order
        (('wrong order',), (1, 0))
    """

    name: str
    shape: tuple[int, ...]
    dim: int | None
    verdict: TilesVerdict
    reason: Reason = Reason.NONE
    faults: tuple[ShardFault, ...] = ()
    lengths: tuple[int, ...] = ()
    expected: tuple[int, ...] = ()
    error: float | None = None
    allowance: float | None = None
    share: float = 0.0
    order: tuple[int, ...] = ()
    seams: tuple[ShardSeam, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GuiltyLayer:
    """The first layer that differs on a shard.

    ``shard``: on which. ``left``, ``right``: so many of its samples next to the seam before and
    behind it are wrong. ``given``: the halo that it was given there; ``needed``: by the plan, both
    in samples of its own input. ``everywhere``: wrong samples are not next to seams alone.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 1), torch.nn.Conv1d(2, 1, 5, padding=2))
        >>> each = lambda shards: [net(x) for x in shards]
        >>> found = shiftcheck.check_sharded(net, each, torch.randn(1, 1, 64), 2)
        >>> found.guilty.name, found.guilty.given, found.guilty.needed, found.guilty.right
        ('1', (0, 0), (0, 2), 2)
    """

    name: str
    op: str
    shard: int
    left: int = 0
    right: int = 0
    given: Pair | None = None
    needed: Pair | None = None
    everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class ShardedComparison(AnyReport):
    """What a model gives on shards, against what it gives on the whole.

    ``faults``: the causes, the gravest first. ``guilty``: the first layer that differs, where the
    shards were seen to run the same modules; ``located``: ``"modules"`` then, else ``"outputs"``.
    ``axis``: the dimension of the input that was cut; ``bounds``: where each shard began, and where
    the last one ended. ``period``: shards begin at its multiples. ``layers``: those that need a
    collective, or all of the axis.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> each = lambda shards: [net(x) for x in shards]
        >>> found = shiftcheck.check_sharded(net, each, torch.randn(1, 1, 32, 64), 2, axis=3)
        >>> found.verdict, found.faults, found.located
        ('different', ('border padding in the middle',), 'modules')
    """

    _called: ClassVar[str] = "comparison of shards"

    verdict: TilesVerdict
    reason: Reason = Reason.NONE
    faults: tuple[ShardFault, ...] = ()
    outputs: tuple[ShardedComparedOutput, ...] = ()
    guilty: GuiltyLayer | None = None
    located: str = OUTPUTS
    layers: tuple[str, ...] = ()
    axis: int = -1
    bounds: tuple[int, ...] = ()
    period: int | None = None
    distributed: bool = False
    model: str = ""
    sharded: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    dtype: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def by_modules(self) -> bool:
        """Whether the shards were seen to run the modules of the model."""
        return self.located == MODULES

    @property
    def parts(self) -> int:
        """How many shards there were."""
        return len(self.bounds) - 1
