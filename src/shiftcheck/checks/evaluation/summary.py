"""From what was kept of a set of data to what its report says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from shiftcheck.checks.evaluation.accumulators import PER_DECADE, Spread, State, Tally
from shiftcheck.report.evaluation import (
    Bin,
    CorruptItem,
    Distribution,
    OverShift,
    Quantity,
    Shift,
    Unmeasured,
    WorstCase,
)
from shiftcheck.report.reasons import Reason

SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

Replay = Callable[[str, int, Shift | None], str]
"""A line that looks at one item, under one shift or all of its own."""


def distribution(spread: Spread) -> Distribution:
    """What is told of values."""
    if not spread.count:
        return Distribution()
    return Distribution(
        count=spread.count,
        mean=spread.total.over(spread.count),
        smallest=spread.smallest,
        largest=spread.largest,
        quantiles=tuple((share, quantile(spread, share)) for share in SHARES),
        histogram=_histogram(spread),
    )


def quantile(spread: Spread, share: float) -> float:
    """What a share of the values is at most, to one percent of it.

    Example:
        >>> quantile(Spread.of([1.0, 2.0, 4.0]), 0.5)
        2.014
    """
    rank = max(1, math.ceil(share * spread.count))
    if rank <= spread.zeros:
        return 0.0
    seen = spread.zeros
    for bucket, count in spread.buckets:
        seen += count
        if seen >= rank:
            middle = float(f"{10.0 ** ((bucket + 0.5) / PER_DECADE):.4g}")
            return min(max(middle, spread.smallest), spread.largest)
    return spread.largest


COARSE = PER_DECADE // 10
"""So many buckets are one bin."""


def _histogram(spread: Spread) -> tuple[Bin, ...]:
    bins: dict[int, int] = {}
    for bucket, count in spread.buckets:
        bins[bucket // COARSE] = bins.get(bucket // COARSE, 0) + count
    zeros = (Bin(low=0.0, high=0.0, count=spread.zeros),) if spread.zeros else ()
    return zeros + tuple(
        Bin(low=_edge(k), high=_edge(k + 1), count=count) for k, count in sorted(bins.items())
    )


def _edge(number: int) -> float:
    return float(f"{10.0 ** (number * COARSE / PER_DECADE):.4g}")


MEASURES = {
    "equivariance": "largest gap |model(S x) - S model(x)| of a channel over its largest magnitude",
    "eq_t": "||model(S x) - S model(x)|| / ||S model(x)|| over the compared samples",
    "invariance": "Euclidean distance of model(S x) from model(x)",
    "classes": "1 where the largest score of model(S x) is that of another class, else 0",
    "class_maps": "share of the compared places of which model(S x) has another class than"
    " S model(x)",
    "effective_halo": "pixels from the edge of a tile within which the error is too large",
}


def quantity_of(tally: Tally, replay: Replay, peak: float | None) -> Quantity:
    """What is told of one quantity of one output."""
    figures, reason = FIGURES.get(tally.what, _no_figures)(tally, peak)
    if not tally.pairs.count and not reason:
        most = max(tally.missing, key=lambda m: m.pairs, default=None)
        reason = Reason.NO_ITEMS if most is None else Reason(most.reason)
    return Quantity(
        what=tally.what,
        output=tally.output,
        op=tally.op,
        measures=MEASURES[tally.what],
        pairs=distribution(tally.pairs),
        items=distribution(tally.items),
        shifts=tuple(
            OverShift(
                shift=at.shift,
                count=at.count,
                mean=at.total.over(at.count),
                largest=at.largest,
            )
            for at in tally.shifts
        ),
        worst=tuple(
            WorstCase(
                value=w.value,
                item=w.item,
                shift=w.shift,
                replay=replay(tally.what, w.item, w.shift),
            )
            for w in tally.worst
            if w.value > 0
        ),
        unmeasured=tuple(
            Unmeasured(reason=m.reason, pairs=m.pairs, items=m.items, first=m.first)
            for m in tally.missing
        ),
        figures=figures,
        reason=reason,
    )


Figures = tuple[Mapping[str, float | None], Reason]


def _no_figures(tally: Tally, peak: float | None) -> Figures:
    return {}, Reason.NONE


def _of_eq_t(tally: Tally, peak: float | None) -> Figures:
    """The decibels of all squares together; EQ-T where the peak is that of the images."""
    sums, samples = dict(tally.sums), dict(tally.counts).get("samples", 0)
    if not samples:
        return {}, Reason.NONE
    lows, highs = dict(tally.lows), dict(tally.highs)
    top = peak if peak is not None else highs["range"] - lows["range"]
    mean = sums["error"].over(samples)
    signal = sums["signal"].value
    return {
        "psnr": _decibels(top, mean),
        "peak": top,
        "mean_squared_error": mean,
        "relative_l2": math.sqrt(sums["error"].value / signal) if signal > 0 else None,
        "max_gap": highs["largest"],
        "samples": float(samples),
    }, Reason.NONE


def _decibels(peak: float, mean_squared_error: float) -> float | None:
    if not peak > 0:
        return None
    if mean_squared_error == 0.0:
        return math.inf
    return 10 * math.log10(peak**2 / mean_squared_error)


def _of_invariance(tally: Tally, peak: float | None) -> Figures:
    """The distance between different items, and that under a shift relative to it."""
    between = distance_between(tally)
    if between is None or not tally.pairs.count:
        return {"between_items": between}, Reason.NONE
    if between == 0.0:
        return {"between_items": 0.0}, Reason.CONSTANT
    return {
        "between_items": between,
        "relative_mean": tally.pairs.total.over(tally.pairs.count) / between,
        "relative_largest": tally.pairs.largest / between,
    }, Reason.NONE


def distance_between(tally: Tally) -> float | None:
    """The root mean square of the distance between two different items, as they are.

    Over all pairs of ``n`` items the mean of ``||y_i - y_j||^2`` is ``2 n / (n - 1)`` times the
    summed variance of the entries. None for fewer than two items, or too many entries.
    """
    count, sums = dict(tally.counts).get("items", 0), dict(tally.sums)
    entries = int(dict(tally.highs).get("entries", 0.0))
    if count < 2 or "entry 0000" not in sums:
        return None
    total = Fraction(0)
    for i in range(entries):
        first, second = (
            Fraction(sums[f"{name} {i:04}"].units, 1 << 1074) for name in ("entry", "square")
        )
        total += second - first * first / count
    return math.sqrt(max(0.0, float(2 * total / (count - 1))))


def _of_classes(tally: Tally, peak: float | None) -> Figures:
    """The share of pairs and of items whose class stays; of no meaning where there is one class."""
    classes = [n for name, n in tally.counts if name.startswith("class ")]
    if not tally.pairs.count:
        return {}, Reason.NONE
    changed = tally.pairs.total.over(tally.pairs.count)
    never = 1.0 - tally.items.total.over(tally.items.count)
    figures = {
        "consistency": 1.0 - changed,
        "always_the_same": never,
        "classes": float(len(classes)),
        "largest_class": max(classes) / sum(classes),
    }
    return figures, Reason.CONSTANT if len(classes) < 2 and changed == 0.0 else Reason.NONE


def _of_class_maps(tally: Tally, peak: float | None) -> Figures:
    """The share of the places whose class stays, on average and at the least."""
    places = [n for name, n in tally.counts if name.startswith("class ")]
    if not tally.pairs.count or not places:
        return {}, Reason.NONE
    figures = {
        "consistency": 1.0 - tally.pairs.total.over(tally.pairs.count),
        "least_consistency": 1.0 - tally.pairs.largest,
        "classes": float(len(places)),
        "largest_class": max(places) / sum(places),
    }
    agree = len(places) < 2 and tally.pairs.largest == 0.0
    return figures, Reason.CONSTANT if agree else Reason.NONE


FIGURES: dict[str, Callable[[Tally, float | None], Figures]] = {
    "eq_t": _of_eq_t,
    "invariance": _of_invariance,
    "classes": _of_classes,
    "class_maps": _of_class_maps,
}


def corrupt_items(state: State, replay: Replay) -> tuple[CorruptItem, ...]:
    """The first items that could not be measured."""
    return tuple(
        CorruptItem(item=c.item, where=c.where, error=c.error, replay=replay("", c.item, None))
        for c in state.corrupt_items
    )
