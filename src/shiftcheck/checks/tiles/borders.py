"""Whether the two ends of an image know nothing of each other, found by running the model.

What pads circularly, or rolls, fills the one end from the other. The structure says of both ends
only that they are no part of a plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.tiles.structure import OWN, Sizes, Structure, Structures, resized
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.tiles import dims_of, longest_run
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.tiles import TiledAxis
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.pooling_statistics import Pooled, Seeking
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.uncompiled import not_compiled

OTHER = 3.0
"""How much larger the values are that are put in the place of others."""

MAGNITUDES = (1.0, 2.0**12, 2.0**-8)
"""Noise is drawn at each of these: behind a threshold, much of a model is dead on values of one."""

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

AROUND = ("circular", "roll")
"""Words of what is told of layers that fill in what is at the other end."""


class Wraps(StrEnum):
    """What runs tell of the two ends of an image."""

    NO = "no"
    YES = "yes"
    UNSEEN = "unseen"
    """Neither end changed with anything, so that a change by the other could not be seen."""


def open_causes(layouts: Sequence[Layout], axis: int) -> list[Cause]:
    """The causes by which one end may be filled from the other, as far as the structure tells.

    Those first that are known to go around.
    """
    causes = dict.fromkeys(c for s in layouts for c in s.causes if c.axis in (None, axis))
    found = [
        c
        for c in causes
        if c.kind not in (CauseKind.PADDING, CauseKind.STRIDE)
        or (c.kind == CauseKind.PADDING and c.detail not in NEARBY)
    ]
    return sorted(found, key=lambda c: not goes_around(c))


def goes_around(cause: Cause) -> bool:
    """Whether a cause says that one end is filled from the other."""
    return cause.kind == CauseKind.PADDING and any(word in cause.detail for word in AROUND)


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

    def sees(self, values: Values, *, suspect: bool) -> Wraps:
        """What a run on some values, and runs on others at either end or everywhere, tell.

        The ends of a ``suspect`` have to change with something, of others the outputs as a whole,
        which may well hold a border of zeros.
        """
        base = self.run(values)
        both = [(beginning, self._known(beginning=beginning)) for beginning in (True, False)]
        for beginning, known in both:
            cuts = [end.cut for end in known.values()]
            if not cuts:
                continue
            cut = max(cuts) if beginning else min(cuts)
            other = self.run(_changed(self.inputs, values, self.axis, cut, beginning))
            if any(self._differ(base, other, name, end) for name, end in known.items()):
                return Wraps.YES
        everywhere = self.run(_changed(self.inputs, values, self.axis, 0, beginning=True))
        looked_at = [
            (
                name,
                end if suspect else replace(end, first=0, last=base[name].shape[self.dims[name]]),
            )
            for _, known in both
            for name, end in known.items()
        ]
        seen = all(self._differ(base, everywhere, name, end) for name, end in looked_at)
        return Wraps.NO if seen else Wraps.UNSEEN

    def _known(self, *, beginning: bool) -> dict[str, End]:
        return {n: e for n, both in self.ends.items() if (e := both.at(beginning=beginning))}

    def _differ(
        self, one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], name: str, at: End
    ) -> bool:
        return _differ(one[name], other[name], self.dims[name], at)


def wraps(structures: Structures, window: Structure, sizes: Sizes, axis: int) -> Wraps:
    """Whether one end of an image of these sizes changes with the values at the other.

    Tried on a part of the caller's values, where there are any, and on noise.
    """
    trial, model = _Trial(structures, window, sizes, axis), structures.model
    suspect = any(map(goes_around, open_causes(window.layouts(structures.pooled), axis)))
    found = Wraps.UNSEEN
    with (
        preserved(modules_of(model), (), training=False, model=model) as originals,
        torch.inference_mode(),
        not_compiled(),
        Pooled({}, {}, originals.before_write),
    ):
        for values in draws(structures.inputs, trial.inputs, home_of(model)):
            try:
                told = trial.sees(values, suspect=suspect)
            except Exception:  # a model need not take all values: then these tell nothing
                continue
            if told is Wraps.YES:
                return told
            found = told if told is Wraps.NO else found
    return found


def draws(given: Inputs, small: Inputs, home: torch.device) -> Iterator[Values]:
    """The values that a small image is tried with."""
    leaves = [leaf for leaf in given.leaves if isinstance(leaf, Leaf) and leaf.spatial]
    if not any(leaf.tensor.is_meta for leaf in leaves):
        yield [_part(one, other) for one, other in zip(given.leaves, small.leaves, strict=True)]
    real = any(leaf.tensor.is_floating_point() for leaf in leaves)
    for magnitude in MAGNITUDES if real else MAGNITUDES[:1]:
        yield _noise(small, home, magnitude)


def _part(given: Any, small: Any) -> Any:
    """The first values of an argument, in the size of a small image."""
    if not isinstance(given, Leaf):
        return given
    shape = small.tensor.shape
    return given.tensor.detach()[tuple(slice(0, n) for n in shape)].clone()


def _noise(inputs: Inputs, home: torch.device, magnitude: float) -> Values:
    """Values for a shape: those of the caller where the size is not that of the image."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Any) -> Any:
        if not isinstance(leaf, Leaf) or leaf.tensor.device.type != "meta":
            return leaf.tensor.detach() if isinstance(leaf, Leaf) else leaf
        if leaf.tensor.is_floating_point():
            values = magnitude * torch.randn(leaf.tensor.shape, generator=generator, device="cpu")
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
            others = _others(value.index_select(dim, index), dim)
            value = value.index_copy(dim, index, others)
        out.append(value)
    return out


def _others(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Other values in the place of these; whole numbers stay within the least and the largest."""
    turned = values.flip(0, dim)
    if values.is_floating_point() or not values.numel():
        return OTHER * turned
    wide = turned.to(torch.int64)
    return (wide.min() + wide.max() - wide).to(values.dtype)


def _differ(one: torch.Tensor, other: torch.Tensor, dim: int, end: End) -> bool:
    """Whether a sample at an end has changed; what is small is told by its own channel's scale."""
    one, other = (t.narrow(dim, end.first, end.last - end.first) for t in (one, other))
    if not (one.is_floating_point() or one.is_complex()):
        return not torch.equal(one, other)
    finite = one.isfinite() & other.isfinite()
    if not torch.equal(one.isfinite(), other.isfinite()):
        return True
    gaps = torch.where(finite, (one - other).abs(), 0.0)
    scales = torch.where(finite, one.abs(), 0.0)
    within = [d for d in range(one.ndim) if d != 1 or d == dim]
    gap, scale = (t.amax(within) if within else t for t in (gaps, scales))
    return bool((gap > ALLOWED * eps_of(one.dtype) * scale).any())
