"""Whether the two ends of an image know nothing of each other, found by running the model.

What pads circularly, or rolls, fills the one end from the other. The structure says of both ends
only that they are no part of a plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.tiles.structure import OWN, Sizes, Structure, Structures, resized
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.tiles import dims_of, longest_run
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.tiles import TiledAxis
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


NEARBY = (
    "its own padding",
    "constant padding",
    "reflect padding",
    "replicate padding",
    "taps beyond the edge",
)
"""What is told of layers that fill in, beyond an edge, a constant or what is near to it."""


def may_wrap(layouts: Sequence[Layout], axis: int) -> bool:
    """Whether the structure leaves it open that one end is filled from the other."""
    causes = {c for layout in layouts for c in layout.causes if c.axis in (None, axis)}
    known = (CauseKind.PADDING, CauseKind.STRIDE)
    return any(
        c.kind not in known or (c.kind == CauseKind.PADDING and c.detail not in NEARBY)
        for c in causes
    )


@dataclass(frozen=True, kw_only=True)
class End:
    """An end of an image: its samples ``[first, last)``, which see no pixel beyond ``cut``."""

    first: int
    last: int
    cut: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """Both ends of a tensor along an axis, read off a window that is larger than a small image."""

    axis: Axis
    fewer: int

    def at(self, *, beginning: bool) -> End | None:
        """One of them, in samples and pixels of the small image; None where nothing is cut off."""
        run = longest_run(self.axis)
        size = self.axis.size - int(self.fewer / self.axis.stride)
        if run is None:
            return None
        first, last = (0, run[0]) if beginning else (size - self.axis.size + run[1], size)
        if first == last:
            return None
        places = np.arange(first, last)
        seen = self.axis.last_of(places).max() + 1
        if not beginning:
            seen = self.axis.first_of(places).min()
        if not np.isfinite(seen):  # it sees nothing
            return None
        cut = int(min(max(seen, 0), self.axis.pixels - self.fewer))
        return End(first=first, last=last, cut=cut)


def sizes_to_try(window: Structure, axes: Sequence[TiledAxis], along: int) -> Sizes:
    """A small image of which one end does not see all, along an axis; the others are as small."""
    sizes = []
    for a, (axis, large) in enumerate(zip(axes, window.sizes, strict=True)):
        least = axis.least + 2 * axis.step if a == along else axis.least
        small = least + (large - least) % axis.step
        sizes.append(large if axis.whole and axis.least >= axis.pixels else min(small, large))
    return tuple(sizes)


class _Trial:
    """The model on a small image, of which the values at one end are changed."""

    def __init__(self, structures: Structures, window: Structure, sizes: Sizes, axis: int) -> None:
        self.axis = axis
        self.inputs = resized(structures.inputs, sizes, (False,) * len(sizes))
        self.model = Seeking(structures.model, structures.pooled)
        rows = [*window.outputs, *(window.fed[n] for n in structures.pooled)]
        self.dims = {row.name: dims_of(row.layout)[axis] for row in rows}
        fewer = window.sizes[axis] - sizes[axis]
        self.ends = {
            row.name: Ends(axis=state, fewer=fewer)
            for row in rows
            if isinstance(state := row.layout.axes[axis], Axis)
        }

    def run(self, values: Values) -> dict[str, torch.Tensor]:
        """The outputs, and what statistics are taken of."""
        copies = [v.clone() if isinstance(v, torch.Tensor) else v for v in values]
        args, kwargs = self.inputs.call(copies)
        leaves = flat_outputs(self.model(*args, **kwargs))
        named = {f"output{path}".replace(OWN, "output", 1): leaf for path, leaf in leaves}
        return {name: named[name] for name in self.dims}

    def changes(self, values: Values, base: Mapping[str, torch.Tensor], *, beginning: bool) -> bool:
        """Whether an end changes with values that it does not see."""
        known = {n: e for n, both in self.ends.items() if (e := both.at(beginning=beginning))}
        if not known:
            return False
        cuts = [end.cut for end in known.values()]
        cut = max(cuts) if beginning else min(cuts)
        other = self.run(_changed(self.inputs, values, self.axis, cut, beginning))
        return any(_differ(base[n], other[n], self.dims[n], end) for n, end in known.items())


def wraps(structures: Structures, window: Structure, sizes: Sizes, axis: int) -> bool:
    """Whether one end of an image of these sizes changes with the values at the other."""
    trial, model = _Trial(structures, window, sizes, axis), structures.model
    with (
        preserved(modules_of(model), (), training=False, model=model) as originals,
        torch.inference_mode(),
        not_compiled(),
        Pooled({}, {}, originals.before_write),
    ):
        values = _noise(trial.inputs, home_of(model))
        base = trial.run(values)
        return any(trial.changes(values, base, beginning=at) for at in (True, False))


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


def _differ(one: torch.Tensor, other: torch.Tensor, dim: int, end: End) -> bool:
    """Whether a sample at an end has changed with values that it does not see."""
    one, other = (t.narrow(dim, end.first, end.last - end.first) for t in (one, other))
    if one.dtype == torch.bool:
        return not torch.equal(one, other)
    eps = eps_of(one.dtype) if one.is_floating_point() else 0.0
    gap, scale = (one - other).abs().max(), one.abs().max()
    return float(gap) > ALLOWED * eps * float(scale)
