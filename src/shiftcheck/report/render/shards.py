"""A plan of shards as text, and what a page shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count
from shiftcheck.report.shards import BorderMode, Exchange, ShardedLayer, ShardingPlan

SHOWN = 24
"""So many layers that need something are listed in a text."""


def render_sharding(plan: ShardingPlan) -> str:
    """Whether shards give what the whole does, where they begin, and what each layer needs."""
    lines = [headline_of_sharding(plan), *_sentences(plan)]
    needing = [y for y in plan.layers if y.exchange is not Exchange.NOTHING]
    if needing:
        lines.append("what layers need of other shards, in samples of their own input:")
        lines += [f"    {_layer(layer)}" for layer in needing[:SHOWN]]
    if len(needing) > SHOWN:
        lines.append(f"    and {count(len(needing) - SHOWN, 'more layer')}, in plan.layers")
    return "\n".join(wrapped([*lines, *(f"note: {note}" for note in plan.notes)]))


def headline_of_sharding(plan: ShardingPlan) -> str:
    """The model, the size, the cut, and whether the shards can be exact."""
    shape = "x".join(map(str, plan.input_shape))
    cut = f"{count(plan.parts, 'shard')} along dimension {plan.axis}"
    return f"{plan.model} on {shape}, {cut}: {_exactness(plan).upper()}"


def _exactness(plan: ShardingPlan) -> str:
    if not plan.exact:
        return "not exact by halos and statistics"
    if plan.statistics:
        halos = "halos and " if plan.halos else ""
        return f"exact with {halos}{count(len(plan.statistics), 'statistic')}"
    return "exact with halos" if plan.halos else "exact without an exchange"


def _sentences(plan: ShardingPlan) -> Iterator[str]:
    starts = ", ".join(map(str, plan.bounds[:-1]))
    widths = sorted(set(plan.widths))
    wide = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
    yield f"shards begin at {starts} and are {wide} wide, of {plan.pixels} (pixels)"
    grid = f"shards begin at multiples of {plan.period}" if plan.period > 1 else "any start will do"
    rest = f"; the last one has the {plan.remainder} left over" if plan.remainder else ""
    yield f"{grid}{rest}; the least width is {plan.least}, {count(plan.most, 'shard')} at most"
    if plan.bytes:
        yield f"all halos together: {_size(plan.bytes)} for one pass"
    for layer in plan.blocking:
        detail = f" ({layer.detail})" if layer.detail else ""
        yield f"{_named(layer)}: {layer.exchange.meaning}{detail}"


def _named(layer: ShardedLayer) -> str:
    return layer.name if layer.name == layer.op else f"{layer.name!r} ({layer.op})"


def _layer(layer: ShardedLayer) -> str:
    return f"{_named(layer)}: {_need(layer)}"


def _need(layer: ShardedLayer) -> str:
    if layer.exchange is Exchange.HALO:
        left, right = layer.halo
        around = ", around the ends as well" if layer.border is BorderMode.CIRCULAR else ""
        return f"halo {left} left, {right} right{around}, {_size(layer.bytes)}"
    if layer.exchange is Exchange.STATISTIC:
        return f"{layer.statistic} over all shards"
    return str(layer.exchange)


def _size(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def contents_of_sharding(plan: ShardingPlan) -> Contents:
    """What a page shows of a plan."""
    versions = ", ".join(f"{name} {version}" for name, version in plan.versions.items())
    return Contents(
        headline=headline_of_sharding(plan),
        verdict=_exactness(plan),
        sentences=tuple(_sentences(plan)),
        sheets=(Sheet.of("layers", plan.layers, OF_A_LAYER),),
        made=(
            ("input", " x ".join(map(str, plan.input_shape))),
            ("type", plan.dtype),
            ("versions", versions),
            *(("note", note) for note in plan.notes),
        ),
    )


OF_A_LAYER: dict[str, Callable[[ShardedLayer], str]] = {
    "layer": lambda y: y.name,
    "operation": lambda y: y.op,
    "exchange": lambda y: str(y.exchange),
    "halo": lambda y: f"{y.halo[0]}, {y.halo[1]}" if y.exchange is Exchange.HALO else "-",
    "period": lambda y: "-" if y.period is None else str(y.period),
    "at the ends": lambda y: str(y.border) or "-",
    "bytes": lambda y: _size(y.bytes) if y.bytes else "-",
    "why": lambda y: y.detail or y.statistic or "-",
}
