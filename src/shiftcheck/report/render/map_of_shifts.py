"""The error over the shifts as a picture, in SVG that needs no script: for pages and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from shiftcheck.report.render.numbers import describe, gap

CELL, LABELS, TITLE = 28, 40, 18
"""Sizes in pixels: of a square, of the numbers beside it, and of the line above it."""

COLOUR = "#c2410c"
Errors = Mapping[tuple[float, ...], float | None]


def drawn_map(
    along: Sequence[Sequence[float]], errors: Errors, *, called: str, bound: float | None = None
) -> str:
    """A line over one axis, squares over two, and a picture of squares for each offset of a third.

    ``along``: the offsets of each axis. ``errors``: by shift. ``bound``: what passes.
    """
    most = max((error for error in errors.values() if error is not None), default=0.0)
    scale = max(most, bound or 0.0)
    if not scale:
        return ""
    if len(along) == 1:
        return _line(along[0], errors, called, scale, bound)
    *planes, rows, columns = along
    if len(planes) > 1:
        return ""
    titles = [f"first: {describe(p)}" for p in planes[0]] if planes else [""]
    first: Sequence[tuple[float, ...]] = [(p,) for p in planes[0]] if planes else [()]
    pictures = [
        _squares(rows, columns, errors, plane, title, called, scale, bound)
        for plane, title in zip(first, titles, strict=True)
    ]
    return "\n".join([*pictures, _key(called, most, bound)])


def _svg(width: float, height: float, label: str, inside: Sequence[str]) -> str:
    """A picture that gets smaller where there is less room."""
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" style="max-width:100%;height:auto" font-size="11"'
        f' font-family="sans-serif" fill="currentColor">{"".join(inside)}</svg>'
    )


def _squares(
    rows: Sequence[float],
    columns: Sequence[float],
    errors: Errors,
    plane: tuple[float, ...],
    title: str,
    called: str,
    scale: float,
    bound: float | None,
) -> str:
    above = TITLE * (2 if title else 1)
    parts = [f'<text x="{LABELS}" y="12">{escape(title)}</text>'] if title else []
    for j, n in enumerate(columns):
        x = LABELS + (j + 0.5) * CELL
        parts.append(f'<text x="{x:g}" y="{above - 5}" text-anchor="middle">{describe(n)}</text>')
    for i, m in enumerate(rows):
        y = above + i * CELL
        middle = f'x="{LABELS - 6}" y="{y + CELL / 2 + 4:g}" text-anchor="end"'
        parts.append(f"<text {middle}>{describe(m)}</text>")
        for j, n in enumerate(columns):
            place = f'x="{LABELS + j * CELL + 1}" y="{y + 1}" width="{CELL - 2}"'
            parts.append(_square(place, (*plane, m, n), errors, scale, bound))
    width, height = LABELS + len(columns) * CELL + 2, above + len(rows) * CELL + 2
    return _svg(width, height, f"{called}: {title or 'rows m, columns n'}", parts)


def _square(
    place: str, shift: tuple[float, ...], errors: Errors, scale: float, bound: float | None
) -> str:
    """A square, the darker the larger the error; framed where it exceeds the bound."""
    error = errors.get(shift)
    told = f"<title>shift {tuple(map(describe, shift))}: {gap(error)}</title>".replace("'", "")
    over = bound is not None and error is not None and error > bound
    frame = 'stroke="currentColor" stroke-width="2"' if over else f'stroke="{COLOUR}"'
    size = f'{place} height="{CELL - 2}"'
    if error is None:
        return f'<rect {size} fill="none" stroke="currentColor" stroke-dasharray="2">{told}</rect>'
    shade = error / scale
    return f'<rect {size} fill="{COLOUR}" fill-opacity="{shade:.3f}" {frame}>{told}</rect>'


def _key(called: str, most: float, bound: float | None) -> str:
    framed = "" if bound is None else f"; framed: more than the {gap(bound)} allowed"
    return (
        f"<p>{escape(called)} by shift, rows m and columns n: from 0 (no colour) to {gap(most)}"
        f" (full colour){framed}</p>"
    )


WIDTH, HEIGHT = 420, 160


def _line(
    offsets: Sequence[float], errors: Errors, called: str, scale: float, bound: float | None
) -> str:
    """The error over the shifts along the only axis."""
    low, high = min(offsets), max(offsets)
    room = WIDTH - 2 * LABELS

    def x(v: float) -> float:
        return LABELS + room * (v - low) / ((high - low) or 1)

    def y(error: float) -> float:
        return HEIGHT - TITLE - (HEIGHT - 2 * TITLE) * error / scale

    known = [(v, e) for v in offsets if (e := errors.get((v,))) is not None]
    points = " ".join(f"{x(v):.1f},{y(e):.1f}" for v, e in known)
    parts = [f'<polyline points="{points}" fill="none" stroke="{COLOUR}" stroke-width="2"/>']
    for v, e in known:
        told = f"<title>shift {describe(v)}: {gap(e)}</title>"
        parts.append(
            f'<circle cx="{x(v):.1f}" cy="{y(e):.1f}" r="3" fill="{COLOUR}">{told}</circle>'
        )
    parts += [
        f'<text x="{x(v):.1f}" y="{HEIGHT - 3}" text-anchor="middle">{describe(v)}</text>'
        for v in (low, 0, high)
        if low <= v <= high
    ]
    levels = [0.0, scale] if bound is None else [0.0, bound, scale]
    parts += [f'<text x="2" y="{y(e) + 4:.1f}">{gap(e)}</text>' for e in dict.fromkeys(levels)]
    if bound is not None:
        across = f'x1="{LABELS}" x2="{WIDTH - LABELS}" y1="{y(bound):.1f}" y2="{y(bound):.1f}"'
        parts.append(f'<line {across} stroke="currentColor" stroke-dasharray="4"/>')
    return _svg(WIDTH, HEIGHT, f"{called} over the shifts", parts)
