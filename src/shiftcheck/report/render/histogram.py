"""How many values lie where, as bars in SVG that need no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from shiftcheck.report.evaluation import Bin
from shiftcheck.report.render.map_of_shifts import COLOUR
from shiftcheck.report.render.numbers import gap

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 560, 190, 8, 34, 18
"""Sizes in pixels: of the picture, and of its margins."""

FLOOR = BELOW - 16
"""Pixels between the bars' feet and the numbers of the axis."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar from one place on the axis to another, with what a pointer is told."""

    start: float
    stop: float
    count: int
    told: str


def drawn_histogram(bins: Sequence[Bin], called: str, counted: str) -> str:
    """Bars over a logarithmic axis; zeros have a place of their own at its left.

    ``called``: what the values are; ``counted``: what has them, such as ``"items"``.
    """
    some = [b for b in bins if b.count]
    if not some:
        return ""
    powers = [(math.log10(b.low), math.log10(b.high), b) for b in some if b.high > 0]
    low = math.floor(min((p[0] for p in powers), default=0.0) + 1e-3)
    high = max(low + 1, math.ceil(max((p[1] for p in powers), default=0.0) - 1e-3))
    zeros = [b for b in some if b.high == 0]
    begin = low - (high - low) / 8 if zeros else float(low)
    bars = [_bar(a, z, b.count, f"{gap(b.low)} to {gap(b.high)}", counted) for a, z, b in powers]
    ticks = [(float(k), f"1e{k:d}") for k in range(low, high + 1, max(1, (high - low) // 8))]
    for b in zeros:
        bars.append(_bar(begin, begin + (low - begin) / 2, b.count, "0", counted))
        ticks.append((begin + (low - begin) / 4, "0"))
    return _picture(bars, ticks, (begin, float(high)), called)


def drawn_bars(named: Sequence[tuple[str, int]], called: str, counted: str) -> str:
    """A bar for each name."""
    bars = [_bar(i + 0.2, i + 0.8, n, name, counted) for i, (name, n) in enumerate(named)]
    ticks = [(i + 0.5, f"{name}: {n}") for i, (name, n) in enumerate(named)]
    return _picture(bars, ticks, (0.0, float(len(named))), called)


def _bar(start: float, stop: float, count: int, where: str, counted: str) -> Bar:
    return Bar(start=start, stop=stop, count=count, told=f"{where}: {count} {counted}")


def _picture(
    bars: Sequence[Bar],
    ticks: Sequence[tuple[float, str]],
    ends: tuple[float, float],
    called: str,
) -> str:
    most = max(bar.count for bar in bars) or 1

    def x(place: float) -> float:
        return LEFT + (WIDTH - 2 * LEFT) * (place - ends[0]) / (ends[1] - ends[0])

    parts = [*_drawn(bars, most, x), *_axis(ticks, x)]
    parts.append(f'<text x="{LEFT}" y="12">{most}</text>')
    return (
        f'<svg role="img" aria-label="{escape(called)}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' width="{WIDTH}" style="max-width:100%;height:auto" font-size="11"'
        f' font-family="sans-serif" fill="currentColor">{"".join(parts)}</svg>'
    )


def _drawn(bars: Sequence[Bar], most: int, x: Callable[[float], float]) -> Iterator[str]:
    room = HEIGHT - ABOVE - BELOW
    for bar in bars:
        tall = max(1.0, room * bar.count / most) if bar.count else 0.0
        left, right = x(bar.start), x(bar.stop)
        yield (
            f'<rect x="{left:.1f}" y="{HEIGHT - BELOW - tall:.1f}" height="{tall:.1f}"'
            f' width="{max(1.0, right - left - 1):.1f}" fill="{COLOUR}">'
            f"<title>{escape(bar.told)}</title></rect>"
        )


def _axis(ticks: Sequence[tuple[float, str]], x: Callable[[float], float]) -> Iterator[str]:
    foot = HEIGHT - BELOW
    yield f'<path d="M{LEFT} {foot}H{WIDTH - LEFT}" stroke="currentColor"/>'
    for place, text in ticks:
        at = min(max(x(place), LEFT + 14), WIDTH - LEFT - 14)
        yield f'<text x="{at:.1f}" y="{foot + FLOOR}" text-anchor="middle">{escape(text)}</text>'
