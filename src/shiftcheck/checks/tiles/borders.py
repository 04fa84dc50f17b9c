"""Whether the two ends of an image know nothing of each other, found by running the model.

What pads circularly, or rolls, fills the one end from the other. The structure says of both ends
only that they are no part of a plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.tiles.structure import OWN, Structure, Structures, resized
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.tiles import dims_of, longest_run
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.pooling_statistics import Pooled, Seeking
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.uncompiled import not_compiled

OTHER = 3.0
"""How much larger the values are that are put in the place of others."""

ALLOWED = 64
"""Times the eps of its type that a sample may change by rounding alone."""

Values = list[Any]


@dataclass(frozen=True, kw_only=True)
class End:
    """An end of a window: its samples ``[first, last)``, which see no pixel beyond ``cut``."""

    first: int
    last: int
    cut: int
    beginning: bool


def axes_that_wrap(structures: Structures, window: Structure, axes: Sequence[int]) -> list[int]:
    """The axes of which one end changes with the values at the other."""
    inputs = resized(structures.inputs, window.sizes, (False,) * len(window.sizes))
    model = Seeking(structures.model, structures.pooled)
    rows = [*window.outputs, *(window.fed[n] for n in structures.pooled)]
    tensors = {row.name: row.layout for row in rows}

    def run(values: Values) -> dict[str, torch.Tensor]:
        args, kwargs = inputs.call(
            [v.clone() if isinstance(v, torch.Tensor) else v for v in values]
        )
        found = {f"output{path}": leaf for path, leaf in flat_outputs(model(*args, **kwargs))}
        named = {n.replace(OWN, "output", 1): leaf for n, leaf in found.items()}
        return {name: named[name] for name in tensors}

    with (
        preserved(
            modules_of(structures.model), (), training=False, model=structures.model
        ) as originals,
        torch.inference_mode(),
        not_compiled(),
        Pooled({}, {}, originals.before_write),
    ):
        values = _noise(inputs, home_of(structures.model))
        base = run(values)
        return [
            axis
            for axis in axes
            if any(
                _changes(base, run(_changed(inputs, values, axis, cut, side)), tensors, axis, side)
                for side, cut in _cuts(list(tensors.values()), axis)
            )
        ]


def _cuts(layouts: Sequence[Layout], axis: int) -> Iterator[tuple[bool, int]]:
    """For the beginning (True) and the end, the pixel that nothing at that end sees beyond."""
    for beginning in (True, False):
        ends = [e for layout in layouts if (e := _end(layout, axis, beginning)) is not None]
        if ends:
            cuts = [end.cut for end in ends]
            yield beginning, max(cuts) if beginning else min(cuts)


def _end(layout: Layout, axis: int, beginning: bool) -> End | None:
    state = layout.axes[axis]
    run = longest_run(state) if isinstance(state, Axis) else None
    if run is None or not isinstance(state, Axis):
        return None
    first, last = (0, run[0]) if beginning else (run[1], state.size)
    if first == last:
        return None
    places = np.arange(first, last)
    seen = state.last_of(places).max() + 1 if beginning else state.first_of(places).min()
    if not np.isfinite(seen):  # it sees nothing
        return None
    cut = int(min(max(seen, 0), state.pixels))
    return End(first=first, last=last, cut=cut, beginning=beginning)


def _noise(inputs: Inputs, home: torch.device) -> Values:
    """Values for a shape: those of the caller where the size is not that of the image."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Any) -> Any:
        if not isinstance(leaf, Leaf) or leaf.tensor.device.type != "meta":
            return leaf.tensor.detach() if isinstance(leaf, Leaf) else leaf
        if leaf.tensor.is_floating_point():
            values = torch.randn(leaf.tensor.shape, generator=generator, device="cpu")
        else:
            values = torch.randint(0, 2, leaf.tensor.shape, generator=generator, device="cpu")
        return values.to(device=home, dtype=leaf.tensor.dtype)

    return [drawn(leaf) for leaf in inputs.leaves]


def _changed(inputs: Inputs, values: Values, axis: int, cut: int, beginning: bool) -> Values:
    """The values with others from the pixel ``cut`` on, or before it."""
    out = []
    for leaf, value in zip(inputs.leaves, values, strict=True):
        if isinstance(leaf, Leaf) and leaf.spatial:
            dim = leaf.spatial[axis]
            at = round(cut * value.shape[dim] / inputs.pixels[axis])
            there = range(at, value.shape[dim]) if beginning else range(at)
            index = torch.tensor(list(there), dtype=torch.long, device=value.device)
            others = value.index_select(dim, index).flip(0, dim)
            others = OTHER * others if value.is_floating_point() else 1 - others
            value = value.index_copy(dim, index, others.to(value.dtype))
        out.append(value)
    return out


def _changes(
    base: Mapping[str, torch.Tensor],
    other: Mapping[str, torch.Tensor],
    tensors: Mapping[str, Layout],
    axis: int,
    beginning: bool,
) -> bool:
    """Whether a sample at an end has changed with values that it does not see."""
    for name, layout in tensors.items():
        end = _end(layout, axis, beginning)
        if end is None:
            continue
        dim = dims_of(layout)[axis]
        one, two = (t[name].narrow(dim, end.first, end.last - end.first) for t in (base, other))
        eps = eps_of(one.dtype) if one.is_floating_point() else 0.0
        gap, scale = (one - two).abs().max(), one.abs().max()
        if float(gap) > ALLOWED * eps * float(scale):
            return True
    return False
