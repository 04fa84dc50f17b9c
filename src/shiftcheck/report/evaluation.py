"""What a model does over a whole set of data: counts, sums and the worst cases, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned

Shift = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """How many values lie from ``low`` to below ``high``; of the first bin both are 0.

    Example:
        >>> from shiftcheck.report import Bin
        >>> Bin(low=0.1, high=1.0, count=3).count
        3
    """

    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Values by their number, mean, extremes and quantiles; None where there are none.

    ``quantiles``: shares of the values, and what so many are at most, to one percent of it.
    ``histogram``: bins that grow by the same factor, ten for each power of ten, without empty ones;
    the first one holds the zeros.

    Example:
        >>> from shiftcheck.report import Distribution
        >>> Distribution(count=4, mean=0.5, quantiles=((0.5, 0.4), (0.99, 1.1))).quantile(0.99)
        1.1
    """

    count: int = 0
    mean: float | None = None
    smallest: float | None = None
    largest: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    histogram: tuple[Bin, ...] = ()

    def quantile(self, share: float) -> float | None:
        """What this share of the values is at most; None for a share that was not kept."""
        return dict(self.quantiles).get(share)


@dataclass(frozen=True, kw_only=True)
class OverShift:
    """The values of all items under one shift.

    Of an effective halo, the errors at one distance from an edge: ``(3, 0)`` is three pixels inside
    of the first edge of the first axis, and ``(-3, 0)`` of its last.

    Example:
        >>> from shiftcheck.report import OverShift
        >>> OverShift(shift=(0, 1), count=10, mean=0.25, largest=0.75).mean
        0.25
    """

    shift: Shift
    count: int
    mean: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """One of the largest values, with the number of the item and the shift that give it.

    ``replay``: a line of Python that looks at this case alone; in it, ``model`` and ``data`` are
    those that were evaluated.

    Example:
        >>> from shiftcheck.report import WorstCase
        >>> WorstCase(value=0.5, item=7341, shift=(0, 1), replay="...").item
        7341
    """

    value: float
    item: int
    shift: Shift
    replay: str = ""


@dataclass(frozen=True, kw_only=True)
class Unmeasured(Reasoned):
    """Pairs of an item and a shift that gave no value, and are in no mean: why, and how many.

    ``items``: how many items have such a pair, of which ``first`` are the first numbers.

    Example:
        >>> from shiftcheck.report import Reason, Unmeasured
        >>> Unmeasured(reason=Reason.DEAD, pairs=8, items=2, first=(3, 17)).reason
        'dead output'
    """

    reason: Reason
    pairs: int
    items: int
    first: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quantity(Reasoned):
    """One quantity of one output, or layer, over all items and shifts.

    ``what``: the quantity, as it was asked for; ``measures`` says in words what its values are.
    ``pairs``: the values of all pairs of an item and a shift, or, of an effective halo, of an item
    and one of its sides; ``items``: the largest of each item. ``figures``: what else is made of the
    sums of all pairs, by name. ``reason``: why there is nothing to tell of it, if so.

    Example:
        >>> import torch, shiftcheck
        >>> conv = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> report = shiftcheck.evaluate(conv, torch.rand(6, 1, 16, 18), progress=False)
        >>> report.quantities[0].what, report.quantities[0].pairs.largest < 1e-5
        ('equivariance', True)
    """

    what: str
    output: str
    op: str = "output"
    measures: str = ""
    pairs: Distribution = Distribution()
    items: Distribution = Distribution()
    shifts: tuple[OverShift, ...] = ()
    worst: tuple[WorstCase, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)
    reason: Reason = Reason.NONE


@dataclass(frozen=True, kw_only=True)
class CorruptItem:
    """An item that could not be measured; ``where``: ``"data"`` or ``"model"``, which raised.

    Example:
        >>> from shiftcheck.report import CorruptItem
        >>> CorruptItem(item=7341, where="data", error="OSError: truncated").item
        7341
    """

    item: int
    where: str
    error: str
    replay: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A small picture of an item among the worst cases, as the model is given it.

    ``png``: the file in base64, of at most 64 x 64 pixels, black for ``low`` and white for
    ``high``, the extremes of what is shown. ``shown``: which part of the item that is.

    Example:
        >>> from shiftcheck.report import Picture
        >>> Picture(item=7, png="", low=0.0, high=1.0, shown="channel 0 of 5").shown
        'channel 0 of 5'
    """

    item: int
    png: str
    low: float
    high: float
    shown: str = ""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport(AnyReport):
    """What ``evaluate`` found over a set of data.

    ``items``: how many were measured; ``corrupt`` of them could not be, and the first are in
    ``corrupt_items``. ``pairs``: of an item and a shift, so many were run. ``length``: of the set
    of data, None where it has none. ``repeated``: how often the sampler gave an item again, which
    was counted once. ``fingerprint``: of the model, the question and the data, as in a checkpoint.
    ``pictures``: of the worst items, where they were asked for. ``reason``: why nothing was
    measured at all, if so. It holds no times, so that the same question gives the same report.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> data = torch.rand(20, 1, 8, 8)
        >>> report = shiftcheck.evaluate(net, data, what="invariance", shifts=[(0, 1)])
        >>> report.items, report["invariance"].pairs.count
        (20, 20)
        >>> shiftcheck.report.EvaluationReport.from_json(report.to_json()) == report
        True
    """

    _called: ClassVar[str] = "evaluation report"

    what: tuple[str, ...]
    quantities: tuple[Quantity, ...] = ()
    items: int = 0
    pairs: int = 0
    corrupt: int = 0
    corrupt_items: tuple[CorruptItem, ...] = ()
    length: int | None = None
    repeated: int = 0
    reason: Reason = Reason.NONE
    model: str = ""
    input_shapes: tuple[tuple[int, ...], ...] = ()
    spatial_dims: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()
    shifts: tuple[Shift, ...] = ()
    draws: int = 0
    max_shift: tuple[int, ...] = ()
    batch_size: int = 0
    processes: int = 1
    dtype: str = ""
    device: str = ""
    seed: int = 0
    fingerprint: str = ""
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __getitem__(self, what: str | tuple[str, str]) -> Quantity:
        """A quantity by its name, of the first output, or by its name and that of an output."""
        name, output = what if isinstance(what, tuple) else (what, None)
        for quantity in self.quantities:
            if quantity.what == name and output in (None, quantity.output):
                return quantity
        there = ", ".join(f"{q.what!r} of {q.output!r}" for q in self.quantities) or "none"
        raise KeyError(f"no quantity {what!r}: there is {there}")
