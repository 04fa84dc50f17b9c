"""Whether scores depend on the distance alone although queries and keys were told their places.

Rotary positions turn each query and each key by an angle of its place, so only the difference of
two places is left in their product. That is looked for where it counts, in the product: the tensors
that the queries and keys were made of, place by place, are taken to be the same at every place, and
the scores that come of it are compared with those one place further on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import AxisState, Layout, Made
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules.operands import Constant

PLACEWISE = frozenset(
    f"aten::{name}"
    for name in (
        *("add", "sub", "mul", "div", "neg", "rsub", "multiply", "subtract", "negative"),
        *("cat", "concat", "concatenate", "stack", "slice", "select", "narrow", "split", "chunk"),
        *("split_with_sizes", "unbind", "view", "reshape", "_unsafe_view", "flatten", "unflatten"),
        *("squeeze", "unsqueeze", "expand", "permute", "transpose", "movedim", "swapaxes", "mT"),
        *("view_as_complex", "view_as_real", "complex", "real", "imag", "conj", "resolve_conj"),
        *("clone", "contiguous", "alias", "to", "_to_copy", "float", "double", "type_as"),
    )
)
"""Operations that compute each place from the same place, unless they change the axis itself."""

CONVERSIONS = frozenset(
    f"aten::{name}" for name in ("to", "_to_copy", "float", "double", "type_as")
)
"""Operations that only change the type: what is compared stays as precise as it is."""

MOST_VALUES = 2**24
"""Queries, keys or scores with more values than that are not looked into."""

EPS = float(np.finfo(np.float64).eps)
"""The rounding of float64."""

SLACK = 8
"""How many roundings of its table an angle may be off, times the number of places."""


class NotKnownError(Exception):
    """The values cannot be made again."""


@dataclass
class _Replay:
    """Makes a tensor again, of others that are the same at every place of the axes."""

    axes: tuple[int, ...]
    generator: torch.Generator
    eps: float = EPS
    made: dict[int, Any] = field(default_factory=dict)
    roots: list[Layout] = field(default_factory=list)

    def of(self, layout: Layout) -> Any:
        if id(layout) not in self.made:
            self.made[id(layout)] = self._again(layout)
        return self.made[id(layout)]

    def _again(self, layout: Layout) -> Any:
        made = layout.made
        if made is None:
            self.roots.append(layout)
            return self._alike(layout)
        parents = [x for x in _leaves((made.given, made.named)) if isinstance(x, Layout)]
        if not all(_same_places(p, layout, self.axes) for p in parents):
            raise NotKnownError
        if _rounds(made):
            raise NotKnownError
        if made.packet in CONVERSIONS:
            return self.of(parents[0])
        given = self._values(made.given)
        out = made.call(*given, **self._values(made.named))
        out = out if made.index is None else out[made.index]
        if tuple(out.shape) != layout.shape:
            raise NotKnownError
        return out

    def _values(self, value: Any) -> Any:
        if isinstance(value, Layout):
            return self.of(value)
        if isinstance(value, Constant):
            return self._constant(value)
        if isinstance(value, (list, tuple)):
            return [self._values(v) for v in value]
        if isinstance(value, Mapping):
            return {k: self._values(v) for k, v in value.items()}
        return value

    def _constant(self, constant: Constant) -> torch.Tensor:
        values = constant.values()
        if values is None:
            raise NotKnownError
        wide = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
        narrow = wide.astype(np.complex64 if np.iscomplexobj(values) else np.float32)
        if bool((narrow == wide).all()) and values.dtype.kind in "fc" and values.size > 1:
            self.eps = max(self.eps, float(np.finfo(np.float32).eps))
        return torch.from_numpy(wide)

    def _alike(self, root: Layout) -> torch.Tensor:
        """Noise that is the same at every place."""
        if math.prod(root.shape) > MOST_VALUES:
            raise NotKnownError
        factors = [f for dim in root.dims for f in dim]
        if any(f.kind not in ("copies", "axis", "plain", "uniform") for f in factors):
            raise NotKnownError
        if not all(isinstance(root.axes[a], Axis) for a in self.axes):
            raise NotKnownError
        full = [f.size for f in factors]
        once = [
            1 if f.kind == "uniform" or (f.kind == "axis" and f.axis in self.axes) else f.size
            for f in factors
        ]
        noise = torch.randn(once, generator=self.generator, dtype=torch.float64, device="cpu")
        return noise.expand(full).reshape(root.shape).clone()


@dataclass(frozen=True, eq=False)
class Untold:
    """Queries and keys as if they had not been told their places.

    ``exact``: the scores are those of the distance alone; else they are so but for the rounding of
    the constants that tell the places.
    """

    queries: Layout
    keys: Layout
    exact: bool


def by_distance_alone(
    queries: Layout, keys: Layout, axes: Sequence[int], *, keys_last: bool
) -> Untold | None:
    """The same without their places, None where scores depend on these, or it cannot be found out.

    ``keys_last``: the places of the keys are their last dimension, and not the one before.
    """
    made = queries.made or keys.made
    if made is None:
        return None
    sides = [_Replay(tuple(axes), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    try:
        with made.untraced():
            q, k = (side.of(s) for side, s in zip(sides, (queries, keys), strict=True))
            k = k.transpose(-2, -1) if keys_last else k
            gap = _gap(q, k, [(queries.axes[a], keys.axes[a]) for a in axes])
    except NotKnownError:
        return None
    rounding = SLACK * max(queries.geometry(a).size for a in axes)
    if not gap <= rounding * max(side.eps for side in sides):
        return None
    exact = gap <= rounding * EPS
    return Untold(_untold(queries, sides[0]), _untold(keys, sides[1]), exact)


def _gap(q: torch.Tensor, k: torch.Tensor, states: Sequence[tuple[AxisState, AxisState]]) -> float:
    """How much scores differ from those one place further on along some axis, at most."""
    circles = [all(isinstance(s, Axis) and s.one_turn for s in pair) for pair in states]
    sizes = [s.size for s, _ in states if isinstance(s, Axis)]
    if torch.is_complex(q) or torch.is_complex(k) or math.prod(sizes) ** 2 > MOST_VALUES:
        raise NotKnownError
    leading = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    q, k = (x.expand(*leading, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in (q, k))
    greatest = 0.0
    for one, other in zip(q, k, strict=True):
        scores = (one @ other.transpose(0, 1)).reshape(*sizes, *sizes)
        scale = float(scores.abs().max())
        for a, circle in enumerate(circles):
            gap = scores.roll((-1, -1), (a, len(sizes) + a)) - scores
            for dim in () if circle else (a, len(sizes) + a):
                gap = gap.narrow(dim, 0, sizes[a] - 1)
            if not math.isfinite(scale) or scale == 0:
                raise NotKnownError
            greatest = max(greatest, float(gap.abs().amax()) / scale if gap.numel() else 0.0)
    return greatest


def _untold(layout: Layout, side: _Replay) -> Layout:
    """The layout with what is known of the tensors that it was made of."""
    out = layout
    for a in side.axes:
        before = (root.axes[a] for root in side.roots)
        broken = any(isinstance(s, Axis) and s.broken for s in before)
        out = out.with_state(a, replace(layout.geometry(a), broken=broken))
    known = [c for root in side.roots for c in root.causes]
    causes = tuple(c for c in layout.causes if c in known or not _of_places(c, side.axes))
    return replace(out, causes=causes)


def _of_places(cause: Cause, axes: Sequence[int]) -> bool:
    return cause.kind == CauseKind.POSITION and cause.axis in axes


def _rounds(made: Made) -> bool:
    """Whether values become whole numbers, which noise could not tell from what they were."""
    types = [x for x in _leaves((made.given, made.named)) if isinstance(x, torch.dtype)]
    whole = any(not (t.is_floating_point or t.is_complex) for t in types)
    return whole or made.named.get("rounding_mode") is not None


def _same_places(one: Layout, other: Layout, axes: Sequence[int]) -> bool:
    """Whether each sample of one stands where that of the other does, and sees the same."""
    for a in axes:
        before, after = one.axes[a], other.axes[a]
        if not isinstance(before, Axis) or not isinstance(after, Axis):
            return False
        if before.size != after.size or before.stride != after.stride:
            return False
        here = np.arange(before.size)
        same = np.array_equal(before.first_of(here), after.first_of(here))
        if not (same and np.array_equal(before.last_of(here), after.last_of(here))):
            return False
    return True


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
