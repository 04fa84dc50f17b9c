"""Sizes in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shiftcheck.report.sizes import InputSizes, SizeSet

SHOWN = 6
"""So many sizes are listed one by one."""


def needed_words(sizes: InputSizes) -> str:
    """What sizes a model needs and the nearest to those given: ``multiples of 32: 224 or 256``.

    Where it takes the given size along some axis, what it needs along the others.
    """
    pairs = sizes.nearest(sizes.given)
    refused = [a for a, n in enumerate(sizes.given) if n not in sizes.axes[a].accepted]
    near: dict[str, dict[str, list[int]]] = {}
    for axis in refused:
        word = size_words(sizes.axes[axis].accepted)
        near.setdefault(word, {}).setdefault(_either(pairs[axis]), []).append(axis)
    everywhere = len(refused) == len(sizes.axes)
    return " and ".join(
        _needed(sizes.axes[next(iter(each.values()))[0]].accepted, word, each, everywhere)
        for word, each in near.items()
    )


def _needed(
    accepted: SizeSet, word: str, near: Mapping[str, Sequence[int]], everywhere: bool
) -> str:
    """The sizes of some axes, in a word, and the nearest of them by the axes that need them."""
    where = [
        size if everywhere and len(near) == 1 else f"{size} along axis {_listed(tuple(axes))}"
        for size, axes in near.items()
    ]
    told = ", ".join(where)
    return told if not accepted.starts else f"{word}: {told}"


def _either(pair: tuple[int | None, int | None]) -> str:
    return " or ".join(str(n) for n in dict.fromkeys(pair) if n is not None) or "none"


def nearest_words(sizes: InputSizes) -> str:
    """The nearest sizes that work, below and above the given one, such as ``224 or 256``."""
    pairs = sizes.nearest(sizes.given)
    each = [_either(pair) for pair in pairs]
    same = len(set(each)) == 1
    return each[0] if same else ", ".join(f"{words} along axis {a}" for a, words in enumerate(each))


def size_words(sizes: SizeSet) -> str:
    """A set of sizes in words, such as ``multiples of 32``.

    Example:
        >>> size_words(SizeSet(step=32, starts=(64,))), size_words(SizeSet(starts=(7,), most=9))
        ('multiples of 32 from 64 on', '7 to 9')
    """
    others = _listed(sizes.others)
    if not sizes.starts:
        return others if len(sizes.others) != 1 else f"{others} only"
    words = _regular(sizes)
    return f"{words}, and {others}" if others != "none" else words


def _regular(sizes: SizeSet) -> str:
    step, starts, most = sizes.step, sizes.starts, sizes.most
    first = min(starts)
    if step == 1:
        return f"every size from {first} on" if most is None else f"{first} to {most}"
    end = "" if most is None else f" to {most}"
    if len(starts) == 1 and first % step == 0:
        begin = "" if first == step else f" from {first}"
        return f"multiples of {step}{begin}" + (end or (" on" if begin else ""))
    rests = sorted({n % step for n in starts})
    some = ", ".join(str(n) for n in sizes.up_to(max(starts) + 2 * step)[:4])
    left = _listed(tuple(rests), "or")
    return f"{some}, ... ({left} above a multiple of {step}){end}"


def _listed(numbers: tuple[int, ...], word: str = "and") -> str:
    shown = [str(n) for n in numbers[:SHOWN]]
    if len(numbers) > SHOWN:
        return f"{', '.join(shown)}, ... {numbers[-1]}"
    if not shown:
        return "none"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"
