"""How an image is split over devices: which samples each layer needs of which shard."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Self

from shiftcheck.errors import InputError
from shiftcheck.report.base import AnyReport
from shiftcheck.report.placing import Span
from shiftcheck.report.words import Word

Bounds = tuple[int, int]
"""Start and stop, in samples."""


class Exchange(Word):
    """What a layer needs of other shards; ``meaning`` says it.

    Example:
        >>> from shiftcheck.report import Exchange
        >>> Exchange.STATISTIC, Exchange.STATISTIC.blocks, Exchange.EVERYTHING.blocks
        ('statistic', False, True)
    """

    meaning: str
    blocks: bool

    def __new__(cls, text: str, meaning: str = "", blocks: bool = False) -> Self:
        """A kind with its words."""
        member = str.__new__(cls, text)
        member._value_, member.meaning, member.blocks = text, meaning, blocks
        return member

    NOTHING = "nothing", "each shard has all that it needs"
    HALO = "halo", "each shard needs some samples of its neighbours"
    STATISTIC = (
        "statistic",
        "it needs a statistic of the whole axis: reduce that of each shard over all shards",
    )
    RUNNING = (
        "running",
        "it goes along the axis and carries a state: shards have to wait for each other",
        True,
    )
    SIZE = "size", "it computes with the size of the whole: give each shard that number", True
    EVERYTHING = "everything", "every sample depends on all shards", True
    UNKNOWN = "unknown", "what it does to shards is not known", True


class BorderMode(Word):
    """How a layer goes on beyond the two ends of the axis.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect")
        >>> shiftcheck.sharding(net, (1, 1, 64), 2, -1).layers[0].border
        'reflect'
    """

    NONE = ""
    CONSTANT = "constant"
    REPLICATE = "replicate"
    REFLECT = "reflect"
    CIRCULAR = "circular"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The samples of its own input that a layer reads for some samples of its output.

    ``start``, ``stop``: those that are there. ``before``, ``after``: so many more it looks beyond
    the two ends of the axis, where it goes on in its own way; on a circle they are those at the
    other end.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, stride=2, padding=1)
        >>> layer = shiftcheck.sharding(net, (1, 1, 64), 2, -1).layers[0]
        >>> layer.needs(16, 32)
        Reading(start=31, stop=64, before=0, after=0)
        >>> layer.needs(0, 16).before
        1
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class LayerShard:
    """One shard at a layer, in samples: those of the input it ``owns``, and of the output it gives.

    ``halo``: so many samples of the input it needs of the shards before and behind it.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, stride=2, padding=1)
        >>> shiftcheck.sharding(net, (1, 1, 64), 2, -1).layers[0].shards[1]
        LayerShard(owns=(32, 64), gives=(16, 32), halo=(1, 0))
    """

    owns: Bounds
    gives: Bounds
    halo: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ShardedLayer:
    """A layer, or a function, and what it needs along the axis that is cut.

    In samples of its own input: ``inputs``, how many there are; ``stride``, from one sample of the
    output to the next; ``period``: shards of the input begin at multiples of it where the layer
    itself is to be run on them; ``reads``: the first and the last that the samples of one period
    of the output read, sample ``q + len(reads)`` reads what ``q`` reads, ``period`` further on;
    ``halo``: what a shard needs of its neighbours on the left and on the right, at most.
    ``outputs``: the samples that it gives. ``offset``: it combines each sample with a constant that
    depends on the place, of which a shard takes its own part. ``statistic``: what is to be reduced.
    ``bytes``: of all halos together. ``detail``: why it needs more than a halo.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.ConvTranspose1d(1, 1, 4, stride=2, padding=1)
        >>> layer = shiftcheck.sharding(net, (1, 1, 64), 2, -1).layers[0]
        >>> layer.exchange, str(layer.stride), layer.halo, layer.bytes
        ('halo', '1/2', (1, 1), 8)
    """

    name: str
    op: str
    exchange: Exchange
    inputs: int = 0
    outputs: int = 0
    stride: Fraction | None = None
    period: int | None = None
    reads: tuple[Span, ...] = ()
    border: BorderMode = BorderMode.NONE
    halo: tuple[int, int] = (0, 0)
    shards: tuple[LayerShard, ...] = ()
    bytes: int = 0
    offset: bool = False
    statistic: str = ""
    detail: str = ""

    def needs(self, start: int, stop: int) -> Reading:
        """The samples of its input that the layer reads for the samples ``[start, stop)``.

        Exact for any of them, on the grid of shards or not.

        Raises:
            InputError: for samples that are not there, and for a layer that reads all of the axis.
        """
        if not 0 <= start < stop <= self.outputs:
            raise InputError(
                f"start={start}, stop={stop}: {self.name!r} gives samples 0 to {self.outputs}; give"
                " a part of them that is not empty"
            )
        if not self.reads or self.stride is None or not self.is_local:
            raise InputError(
                f"{self.name!r} needs {self.exchange} of other shards: {self.exchange.meaning}"
            )
        first, last = self._reach(start, stop)
        if first > last:
            return Reading(start=0, stop=0)
        return self._stored(first, last + 1)

    def halo_of(self, owns: Bounds, gives: Bounds) -> tuple[int, int]:
        """What a shard that owns some samples of the input, and gives some of the output, lacks.

        So many samples to the left and to the right of those that it owns.
        """
        read = self.needs(*gives)
        left, right = max(0, owns[0] - read.start), max(0, read.stop - owns[1])
        if self.border is BorderMode.CIRCULAR:
            left, right = left + read.before, right + read.after
        return left, right

    @property
    def is_local(self) -> bool:
        """Whether each sample reads a part of the axis only."""
        return all(math.isfinite(end) for span in self.reads for end in span if span[0] <= span[1])

    def _reach(self, start: int, stop: int) -> tuple[int, int]:
        """The first and the last sample that are read, beyond the ends as well."""
        phases = len(self.reads)
        ends = {*range(start, min(stop, start + phases)), *range(max(start, stop - phases), stop)}
        spans = [self._read(q) for q in sorted(ends)]
        seen = [span for span in spans if span[0] <= span[1]]
        if not seen:
            return 0, -1
        return int(min(span[0] for span in seen)), int(max(span[1] for span in seen))

    def _read(self, sample: int) -> Span:
        turns, phase = divmod(sample, len(self.reads))
        first, last = self.reads[phase]
        ahead = int(turns * len(self.reads) * (self.stride or 0))
        return first + ahead, last + ahead

    def _stored(self, first: int, stop: int) -> Reading:
        """The part of the samples ``[first, stop)`` that is there, and what lies beyond."""
        size = self.inputs
        before, after = max(0, -first), max(0, stop - size)
        low, high = max(0, min(first, size)), min(size, max(stop, 0))
        if self.border is BorderMode.REFLECT:
            low, high = _mirrored(first, stop, size)
        if self.border is BorderMode.REPLICATE and low >= high:
            low, high = (0, 1) if before else (size - 1, size)
        if low >= high:
            low = high = min(max(low, 0), size)
        return Reading(start=low, stop=high, before=before, after=after)


def _mirrored(first: int, stop: int, size: int) -> Bounds:
    """The samples that ``[first, stop)`` are where the signal is mirrored at both ends."""
    parts = [(max(first, 0), min(stop, size))]
    parts += [(max(1 - stop, 1), 1 - first)] if first < 0 else []
    parts += [(2 * size - 1 - stop, 2 * size - 1 - max(first, size))] if stop > size else []
    known = [(max(a, 0), min(b, size)) for a, b in parts if max(a, 0) < min(b, size)]
    return min(a for a, _ in known), max(b for _, b in known)


@dataclass(frozen=True, kw_only=True)
class ShardedOutput:
    """An output of the model and the parts of it that the shards give.

    ``dim``: the dimension that is cut, None where each shard has all of it. ``bounds``: where each
    shard begins, and where the last one ends.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.sharding(torch.nn.MaxPool2d(2), (1, 1, 32, 70), 2, -1)
        >>> plan.outputs[0].dim, plan.outputs[0].bounds
        (3, (0, 18, 35))
    """

    name: str
    shape: tuple[int, ...]
    dim: int | None
    bounds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShardingPlan(AnyReport):
    """How a model runs on shards of an image, layer by layer, to give what the whole gives.

    ``axis``: the dimension of the input that is cut, of ``pixels`` samples. ``period``: shards
    begin at its multiples. ``bounds``: where each shard begins, and where the last one ends, in
    pixels. ``least``: the least width of a shard, so that each layer finds its halo in the next
    shard; ``most``: so many shards there are at most.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, stride=2, padding=1), torch.nn.GroupNorm(2, 4),
        ...     torch.nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1),
        ... )
        >>> plan = shiftcheck.sharding(net, (1, 1, 64, 64), 4, -1)
        >>> plan.exact, plan.bounds
        (True, (0, 16, 32, 48, 64))
        >>> [(layer.name, layer.exchange, layer.halo) for layer in plan.layers]
        [('0', 'halo', (1, 0)), ('1', 'statistic', (0, 0)), ('2', 'halo', (1, 1))]
        >>> shiftcheck.report.ShardingPlan.from_json(plan.to_json()) == plan
        True
    """

    _called: ClassVar[str] = "plan of shards"

    axis: int
    pixels: int
    period: int
    bounds: tuple[int, ...]
    least: int
    most: int
    layers: tuple[ShardedLayer, ...]
    outputs: tuple[ShardedOutput, ...]
    model: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    dtype: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __post_init__(self) -> None:
        """A plan has no verdict, and no reason for one."""

    def __getitem__(self, name: str) -> ShardedLayer:
        """The layer of a name; raises KeyError with the names there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {', '.join(y.name for y in self.layers)}")

    @property
    def parts(self) -> int:
        """How many shards there are."""
        return len(self.bounds) - 1

    @property
    def blocking(self) -> tuple[ShardedLayer, ...]:
        """The layers for which halos and statistics are not enough."""
        return tuple(layer for layer in self.layers if layer.exchange.blocks)

    @property
    def exact(self) -> bool:
        """Whether halos and reduced statistics are enough to give what the whole gives."""
        return not self.blocking

    @property
    def statistics(self) -> tuple[ShardedLayer, ...]:
        """The layers that need a collective."""
        return tuple(y for y in self.layers if y.exchange is Exchange.STATISTIC)

    @property
    def halos(self) -> tuple[ShardedLayer, ...]:
        """The layers that need samples of neighbours."""
        return tuple(y for y in self.layers if y.exchange is Exchange.HALO)

    @property
    def bytes(self) -> int:
        """Of the halos of all layers, at all seams, in both directions."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each shard, in pixels."""
        return tuple(b - a for a, b in itertools.pairwise(self.bounds))

    @property
    def legal_starts(self) -> range:
        """Where shards may begin, in pixels."""
        return range(0, self.pixels, self.period)

    @property
    def remainder(self) -> int:
        """The pixels behind the last whole period, which the last shard has."""
        return self.pixels % self.period
