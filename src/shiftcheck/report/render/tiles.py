"""A plan of tiles as text."""

from __future__ import annotations

from collections.abc import Callable

from shiftcheck.report.equivariance import LayerResult, Report
from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, describe, each, gap, halo, size_in_bytes
from shiftcheck.report.tiled_axes import TiledAxis
from shiftcheck.report.tiles import Blocking, Reach, TileSize, TilingPlan

NAMED = 3
"""So many layers with a statistic are named where pooling is not enough."""


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
        bound = f", of {size_in_bytes(plan.memory_bound)} allowed" if plan.memory_bound else ""
        lines.append(f"a tile needs about {size_in_bytes(plan.memory)}{bound}")
    if plan.passes > 1 and plan.exact:
        passes = "one pass" if plan.passes == 2 else f"{plan.passes - 1} passes"
        come = "comes" if plan.passes == 2 else "come"
        lines.append(
            f"{count(len(plan.statistics), 'statistic')} of the whole: {passes} over all tiles"
            f" {come} before the one that writes"
        )
    lines += _layers(plan)
    return [*lines, *(f"note: {note}" for note in plan.notes)]


def _layers(plan: TilingPlan) -> list[str]:
    """The layers that block; statistics in one line where pooling them is not enough."""
    pooled = [b for b in plan.blocking if b.reach is Reach.REDUCIBLE]
    others = [_blocking(b) for b in plan.blocking if b.reach is not Reach.REDUCIBLE]
    if plan.exact or len(pooled) <= NAMED:
        return [*others, *map(_blocking, pooled)]
    names = list(dict.fromkeys(b.layer for b in pooled))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    told = ", ".join(f"'{name}'" for name in names[:NAMED]) + more
    effects = [b.effect for b in pooled if b.effect is not None]
    by = f"; tiles alone change the output by up to {gap(max(effects))}" if effects else ""
    return [
        *others,
        f"{count(len(pooled), 'statistic')} of the whole besides, which can be pooled over the"
        f" tiles, of {told}{by}",
    ]


def _blocking(blocking: Blocking) -> str:
    name = f"'{blocking.layer}' ({blocking.op})" if blocking.layer != blocking.op else blocking.op
    detail = f": {blocking.detail}" if blocking.detail else ""
    effect = ""
    if blocking.effect is not None:
        alone = "all that cannot be pooled change" if blocking.together else "tiles alone change"
        effect = f"; {alone} the output by {gap(blocking.effect)}"
    known = blocking.kind and blocking.reach is not Reach.REDUCIBLE
    why = f" ({blocking.kind}{detail})" if known else ""
    return f"{name} is {blocking.reach}{why}: {blocking.reach.meaning}{effect}"


def _size(size: TileSize) -> str:
    memory = "" if size.memory is None else f", about {size_in_bytes(size.memory)}"
    tile = each(size.tile)
    return f"{tile}: {count(size.tiles, 'tile')}, {size.read:.2f} pixels read for each{memory}"


def contents_of_tiling(plan: TilingPlan) -> Contents:
    """What a page shows of a plan."""
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    return Contents(
        headline=headline_of_tiling(plan),
        verdict=str(plan.exactness),
        sentences=tuple(_sentences(plan)),
        sheets=(
            Sheet.of("sizes that work", plan.sizes, OF_A_SIZE),
            Sheet.of("tiles along each axis", tuple(enumerate(plan.axes)), OF_AN_AXIS),
            Sheet.of("layers that block one pass", plan.blocking, OF_A_BLOCKING),
        ),
        made=(
            ("input", " x ".join(map(str, plan.input_shape))),
            ("type", plan.dtype),
            ("boundary", ", ".join(plan.boundary)),
            ("versions", versions),
        ),
    )


def sheet_of_margins(report: Report) -> Sheet:
    """How far from the edges of a tile each output is right, as far as its row tells."""
    rows = [
        (output, axis)
        for output in report.outputs
        for axis, stride in enumerate(output.stride)
        if stride is not None
    ]
    return Sheet.of("margins of tiles", rows, OF_A_MARGIN)


def _margin(output: LayerResult, axis: int, side: int) -> str:
    pair, period = output.halo[axis], output.period[axis]
    different = bool(output.different and output.different[axis])
    endless = pair is None or pair[side] == float("inf")
    if period is None or different or endless:
        return "no margin is enough"
    return describe(pair[side]) if pair is not None else "-"


OF_A_MARGIN: dict[str, Callable[[tuple[LayerResult, int]], str]] = {
    "output": lambda at: at[0].name,
    "axis": lambda at: str(at[1]),
    "begin at multiples of": lambda at: describe(at[0].period[at[1]]),
    "wrong at the beginning": lambda at: _margin(*at, 0),
    "wrong at the end": lambda at: _margin(*at, 1),
}
OF_AN_AXIS: dict[str, Callable[[tuple[int, TiledAxis]], str]] = {
    "axis": lambda at: str(at[0]),
    "pixels": lambda at: str(at[1].pixels),
    "tile": lambda at: str(at[1].tile),
    "halo": lambda at: halo([at[1].halo]),
    "begin at multiples of": lambda at: "-" if at[1].whole else str(at[1].step),
    "tiles": lambda at: str(len(at[1].starts)),
    "closed": lambda at: "yes" if at[1].circular else "no",
}
OF_A_SIZE: dict[str, Callable[[TileSize], str]] = {
    "tile": lambda s: each(s.tile),
    "tiles": lambda s: str(s.tiles),
    "pixels read for each": lambda s: f"{s.read:.2f}",
    "memory": lambda s: size_in_bytes(s.memory),
}
OF_A_BLOCKING: dict[str, Callable[[Blocking], str]] = {
    "layer": lambda b: b.layer,
    "operation": lambda b: b.op,
    "class": lambda b: str(b.reach),
    "why": lambda b: b.detail or b.kind,
    "effect": lambda b: gap(b.effect),
}
