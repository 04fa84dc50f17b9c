"""Input sizes as text, and what a page shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet

SHOWN = 6
"""So many sizes are listed one by one."""

USES = {
    "even": "even padding",
    "valid": "a valid region",
    "comparable": "enough to compare",
    "closed": "a closed circle",
}
"""What sizes are good for, by the field that holds them."""


def render_sizes(sizes: InputSizes) -> str:
    """What each axis takes, what that is good for, and the sizes nearest to the given one."""
    return "\n".join([_headline(sizes), *wrapped(_sentences(sizes))])


def contents_of_sizes(sizes: InputSizes) -> Contents:
    """What a page or a notebook shows."""
    return Contents(
        headline=_headline(sizes),
        verdict="",
        sentences=tuple(_sentences(sizes)),
        sheets=(
            Sheet.of(
                "Sizes",
                [(str(a), axis) for a, axis in enumerate(sizes.axes)],
                {
                    "axis": lambda row: row[0],
                    "accepted": lambda row: size_words(row[1].accepted),
                    **{use: _shows(name) for name, use in USES.items()},
                },
            ),
        ),
        made=tuple(("note", note) for note in sizes.notes),
    )


def _shows(name: str) -> Callable[[tuple[str, AxisSizes]], str]:
    def show(row: tuple[str, AxisSizes]) -> str:
        found = getattr(row[1], name)
        return "-" if found is None else size_words(found)

    return show


def _headline(sizes: InputSizes) -> str:
    given = " x ".join(map(str, sizes.given))
    takes = "takes" if sizes.accepts(sizes.given) else "does not take"
    return f"{sizes.model} {takes} {given}: what sizes it takes, from {sizes.passes} passes"


def _sentences(sizes: InputSizes) -> Iterator[str]:
    first = sizes.axes[0]
    same = all(axis == first for axis in sizes.axes)
    for a, axis in enumerate(sizes.axes[:1] if same else sizes.axes):
        where = "every axis" if same and len(sizes.axes) > 1 else f"axis {a}"
        yield f"{where}: {size_words(axis.accepted)}"
        yield from (f"    {use}: {words}" for use, words in _uses(axis))
    if sizes.joint == "equal":
        yield "all axes must have the same size"
    if sizes.joint == "unknown":
        base = " x ".join(map(str, sizes.base))
        yield f"not all of these go together: one axis at a time is known, the others as in {base}"
    if sizes.together > 1:
        yield f"sizes below {sizes.together} along two axes at once need not go together"
    if not sizes.accepts(sizes.given):
        yield f"nearest: {nearest_words(sizes)}"
    if any(axis.sampled for axis in sizes.axes):
        yield "not every size of a period was run: others may be accepted besides"
    yield from (f"note: {note}" for note in sizes.notes)


def _uses(axis: AxisSizes) -> Iterator[tuple[str, str]]:
    for name, use in USES.items():
        found: SizeSet | None = getattr(axis, name)
        if found is not None:
            yield use, "all of these" if found == axis.accepted else size_words(found)


def nearest_words(sizes: InputSizes) -> str:
    """The nearest sizes that work, below and above the given one, such as ``224 or 256``."""
    pairs = sizes.nearest(sizes.given)
    each = [" or ".join(str(n) for n in dict.fromkeys(p) if n is not None) or "none" for p in pairs]
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
