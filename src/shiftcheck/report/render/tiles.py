"""A plan of tiles as text."""

from __future__ import annotations

from collections.abc import Callable

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, each, gap, halo
from shiftcheck.report.tiles import Blocking, Reach, TileSize, TilingPlan


def render_tiling(plan: TilingPlan) -> str:
    """Whether tiles give what the whole does, how they lie, what they cost, and what blocks."""
    sizes = [f"    {_size(size)}" for size in plan.sizes]
    lines = [
        headline_of_tiling(plan),
        *_sentences(plan),
        *(["sizes that work:", *sizes] if sizes else []),
    ]
    return "\n".join(wrapped(lines))


def headline_of_tiling(plan: TilingPlan) -> str:
    """The model, the size, and whether the tiles are exact."""
    shape = "x".join(map(str, plan.input_shape))
    return f"{plan.model} on {shape} in {count(plan.tiles, 'tile')}: {plan.exactness.upper()}"


def _sentences(plan: TilingPlan) -> list[str]:
    lines = [
        f"tile {each(plan.tile)}, halo {halo(plan.halo)}, tiles begin at multiples of"
        f" {each(plan.step)} (pixels)",
    ]
    if plan.memory is not None:
        bound = f", of {_bytes(plan.memory_bound)} allowed" if plan.memory_bound else ""
        lines.append(f"a tile needs about {_bytes(plan.memory)}{bound}")
    if plan.passes > 1:
        passes = "one pass" if plan.passes == 2 else f"{plan.passes - 1} passes"
        lines.append(
            f"{count(len(plan.statistics), 'statistic')} of the whole: {passes} over all tiles come"
            " before the one that writes"
        )
    lines += [_blocking(blocking) for blocking in plan.blocking]
    return [*lines, *(f"note: {note}" for note in plan.notes)]


def _blocking(blocking: Blocking) -> str:
    name = f"'{blocking.layer}' ({blocking.op})" if blocking.layer != blocking.op else blocking.op
    detail = f": {blocking.detail}" if blocking.detail else ""
    effect = ""
    if blocking.effect is not None:
        alone = "all that cannot be pooled change" if blocking.together else "tiles alone change"
        effect = f"; {alone} the output by {gap(blocking.effect)}"
    why = "" if blocking.reach is Reach.REDUCIBLE else f" ({blocking.kind}{detail})"
    return f"{name} is {blocking.reach}{why}: {blocking.reach.meaning}{effect}"


def _size(size: TileSize) -> str:
    memory = "" if size.memory is None else f", about {_bytes(size.memory)}"
    tile = each(size.tile)
    return f"{tile}: {count(size.tiles, 'tile')}, {size.read:.2f} pixels read for each{memory}"


def _bytes(number: int | None) -> str:
    if number is None:
        return "-"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def contents_of_tiling(plan: TilingPlan) -> Contents:
    """What a page shows of a plan."""
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    return Contents(
        headline=headline_of_tiling(plan),
        verdict=str(plan.exactness),
        sentences=tuple(_sentences(plan)),
        sheets=(
            Sheet.of("sizes that work", plan.sizes, OF_A_SIZE),
            Sheet.of("layers that block one pass", plan.blocking, OF_A_BLOCKING),
        ),
        made=(
            ("input", " x ".join(map(str, plan.input_shape))),
            ("type", plan.dtype),
            ("boundary", ", ".join(plan.boundary)),
            ("versions", versions),
        ),
    )


OF_A_SIZE: dict[str, Callable[[TileSize], str]] = {
    "tile": lambda s: each(s.tile),
    "tiles": lambda s: str(s.tiles),
    "pixels read for each": lambda s: f"{s.read:.2f}",
    "memory": lambda s: _bytes(s.memory),
}
OF_A_BLOCKING: dict[str, Callable[[Blocking], str]] = {
    "layer": lambda b: b.layer,
    "operation": lambda b: b.op,
    "class": lambda b: str(b.reach),
    "why": lambda b: b.detail or b.kind,
    "effect": lambda b: gap(b.effect),
}
