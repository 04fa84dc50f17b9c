"""Numbers as text, the same in tables and messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any


def describe(number: Any) -> str:
    """A pixel count as text: whole where it is whole, the word inf where it is not finite."""
    if number is None:
        return "-"
    if isinstance(number, float) and not math.isfinite(number):
        return "inf"
    return str(Fraction(number).limit_denominator(10**6))


def gap(value: float | None) -> str:
    """An error with two digits, a dash where nothing was compared."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.1e}"


def figure(value: float | None) -> str:
    """A quantity with three digits, a dash where there is none."""
    return "-" if value is None else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share of all, in percent."""
    return "-" if share is None else f"{100 * share:.1f} %"


def each(values: Sequence[Any]) -> str:
    """One entry for all axes where they agree, else joined by a cross."""
    texts = [describe(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def halo(values: Sequence[tuple[float, float] | None]) -> str:
    """Left and right halo, such as ``0+16``."""
    texts = ["-" if v is None else _sides(*v) for v in values]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def _sides(left: float, right: float) -> str:
    return f"{describe(left)}{'' if right < 0 else '+'}{describe(right)}"


def spans(values: Sequence[tuple[tuple[int, int], ...] | None]) -> str:
    """The runs of valid samples, such as ``2:30``; at most two of an axis."""
    texts = [_span(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def _span(runs: tuple[tuple[int, int], ...] | None) -> str:
    if runs is None:
        return "-"
    if not runs:
        return "none"
    shown = ",".join(f"{a}:{b}" for a, b in runs[:2])
    return shown if len(runs) <= 2 else f"{shown},.."


def size(shape: Sequence[int]) -> str:
    """A shape without its batch, joined by crosses."""
    return "x".join(str(n) for n in shape[1:]) or "scalar"


def count(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_in_bytes(number: int | None) -> str:
    """So many bytes, in a unit that suits."""
    if number is None:
        return "-"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"
