"""Input sizes as text, and what a page shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.size_words import nearest_words, size_words
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet

USES = {
    "even": "even padding",
    "valid": "a valid region",
    "comparable": "enough to compare",
    "closed": "a closed circle",
}
"""What sizes are good for, by the field that holds them."""


def render_sizes(sizes: InputSizes) -> str:
    """What each axis takes, what that is good for, and the sizes nearest to the given one."""
    return "\n".join([headline_of_sizes(sizes), *wrapped(_sentences(sizes))])


def contents_of_sizes(sizes: InputSizes) -> Contents:
    """What a page or a notebook shows."""
    return Contents(
        headline=headline_of_sizes(sizes),
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


def headline_of_sizes(sizes: InputSizes) -> str:
    """One line: the model, and what it was asked."""
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
    if sizes.must_be_equal:
        yield "all axes must have the same size"
    if sizes.may_not_go_together:
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
