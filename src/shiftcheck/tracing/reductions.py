"""Reductions whose result over a whole is made of those over its parts, such as mean and variance.

The sums are taken in float64. A reduction is recognised by its operation and the dimensions that it
is over; whether these are spatial, the caller knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import arguments_of, packet_name

AT_ONCE = 2**20
"""Values that are turned to float64 at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistic:
    """What is known of some values: how many there are, and one or two sums of them.

    ``kind``: "moments" has the mean and the sum of squared distances from it; "sum", "maximum" and
    "minimum" speak for themselves; "powers" is the sum of a power of the magnitudes.
    """

    kind: str
    count: int
    first: torch.Tensor
    second: torch.Tensor

    def on(self, device: torch.device) -> Statistic:
        """The same on a device."""
        return replace(self, first=self.first.to(device), second=self.second.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduction:
    """An operation that sees all of ``x`` along ``dims`` only through a statistic of it.

    ``view``: the shape in which the statistic is taken, as a group norm has one; ``over``: the
    dimensions of that view. ``finish`` makes the result of the operation from ``x`` and the
    statistic.
    """

    op: str
    x: torch.Tensor
    dims: tuple[int, ...]
    kind: str
    over: tuple[int, ...]
    finish: Callable[[torch.Tensor, Statistic], Any]
    groups: int = 0
    power: float = 1.0

    def of(self, part: torch.Tensor) -> Statistic:
        """The statistic of a part of ``x``, cut along ``dims``."""
        values = part.unflatten(1, (self.groups, -1)) if self.groups else part
        return statistic_of(values, self.over, self.kind, self.power)

    def unknown(self) -> Statistic:
        """A statistic to go on with where none is known: of mean 0 and variance 1."""
        shape = list(self.x.unflatten(1, (self.groups, -1)).shape if self.groups else self.x.shape)
        for dim in self.over:
            shape[dim] = 1
        zeros = torch.zeros(shape, dtype=torch.float64, device=self.x.device)
        ones = torch.ones(shape, dtype=torch.float64, device=self.x.device)
        first = zeros if self.kind == "moments" else ones
        return Statistic(kind=self.kind, count=1, first=first, second=ones)


def statistic_of(x: torch.Tensor, dims: Sequence[int], kind: str, power: float) -> Statistic:
    """The statistic of values over dimensions, which are kept with size 1; a piece at a time."""
    if x.numel() > AT_ONCE and max(x.shape) > 1:
        dim = max(range(x.ndim), key=lambda d: x.shape[d])
        parts = [statistic_of(part, dims, kind, power) for part in x.tensor_split(2, dim)]
        return merged(parts) if dim in dims else beside(parts, dim)
    over = list(dims)
    values = x if kind in ("maximum", "minimum") else x.to(torch.float64)
    if kind == "moments":
        mean = values.mean(over, keepdim=True)
        first, second = mean, (values - mean).square().sum(over, keepdim=True)
    elif kind == "sum":
        first = second = values.sum(over, keepdim=True)
    elif kind == "powers":
        first = second = values.abs().pow(power).sum(over, keepdim=True)
    else:
        first = second = (
            values.amax(over, keepdim=True)
            if kind == "maximum"
            else values.amin(over, keepdim=True)
        )
    count = math.prod(x.shape[d] for d in over)
    return Statistic(kind=kind, count=count, first=first, second=second)


def beside(parts: Sequence[Statistic], dim: int) -> Statistic:
    """The statistics of values that stand side by side."""
    return Statistic(
        kind=parts[0].kind,
        count=parts[0].count,
        first=torch.cat([part.first for part in parts], dim),
        second=torch.cat([part.second for part in parts], dim),
    )


def merged(parts: Sequence[Statistic]) -> Statistic:
    """The statistic of all values together."""
    return reduce(_with, parts)


def _with(one: Statistic, other: Statistic) -> Statistic:
    count = one.count + other.count
    if one.kind == "moments":
        apart, share = other.first - one.first, other.count / count
        first = one.first + apart * share
        second = one.second + other.second + apart.square() * (one.count * share)
    elif one.kind == "maximum":
        first = second = torch.maximum(one.first, other.first)
    elif one.kind == "minimum":
        first = second = torch.minimum(one.first, other.first)
    else:
        first = second = one.first + other.first
    return Statistic(kind=one.kind, count=count, first=first, second=second)


def reduction_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Reduction | None:
    """The reduction that an operation is; None where it is none that is known here."""
    read = READERS.get(packet_name(func))
    if read is None:
        return None
    declared = arguments_of(func)
    given = {a.name: a.default_value for a in declared}
    given.update(zip((a.name for a in declared), args, strict=False))
    given.update(kwargs)
    return read(packet_name(func).removeprefix("aten::"), given)


Given = Mapping[str, Any]
NORMS = ("group_norm", "instance_norm", "batch_norm", "layer_norm")


def _normalised(
    x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, given: Given, shape: Sequence[int]
) -> torch.Tensor:
    """Values less their mean, over their deviation, times the weight, plus the bias."""
    scale = (variance + given["eps"]).rsqrt()
    weight, bias = given["weight"], given["bias"]
    if weight is not None:
        scale = scale * weight.reshape(shape).to(scale.dtype)
    offset = -mean * scale
    if bias is not None:
        offset = offset + bias.reshape(shape).to(scale.dtype)
    return torch.addcmul(offset.to(x.dtype), x, scale.to(x.dtype))


def _norm(op: str, given: Given) -> Reduction | None:
    x = given["input"]
    spatial = tuple(range(2, x.ndim))
    groups, over = 0, spatial
    if op == "instance_norm" and not given["use_input_stats"]:
        return None
    if op == "batch_norm":
        if not given["training"] and given["running_mean"] is not None:
            return None
        over = (0, *spatial)
    if op == "group_norm":
        groups = given["num_groups"]
        over = tuple(range(2, x.ndim + 1))
    per_channel = (1, -1, *[1] * len(spatial))
    dims = over if not groups else (1, *spatial)

    def finish(x: torch.Tensor, known: Statistic) -> torch.Tensor:
        mean, variance = known.first, known.second / known.count
        if groups:
            size = x.shape[1] // groups
            full = (x.shape[0], x.shape[1], *[1] * len(spatial))
            mean = mean.expand(-1, -1, size, *[-1] * len(spatial)).reshape(full)
            variance = variance.expand(-1, -1, size, *[-1] * len(spatial)).reshape(full)
        return _normalised(x, mean, variance, given, per_channel)

    return Reduction(op=op, x=x, dims=dims, kind="moments", over=over, finish=finish, groups=groups)


def _layer_norm(op: str, given: Given) -> Reduction | None:
    x, sizes = given["input"], tuple(given["normalized_shape"])
    dims = tuple(range(x.ndim - len(sizes), x.ndim))

    def finish(x: torch.Tensor, known: Statistic) -> torch.Tensor:
        return _normalised(x, known.first, known.second / known.count, given, sizes)

    return Reduction(op=op, x=x, dims=dims, kind="moments", over=dims, finish=finish)


def _pool(op: str, given: Given) -> Reduction | None:
    x = given["self"]
    axes = int(op[-2])
    sizes = given["output_size"]
    wanted = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if any(size != 1 for size in wanted):
        return None
    dims = tuple(range(x.ndim - axes, x.ndim))
    largest = "max" in op

    def finish(x: torch.Tensor, known: Statistic) -> Any:
        out = known.first.to(x.dtype)
        # The place of the maximum is not known; whatever asks for it there is told so by torch.
        return (out, torch.full_like(out, -1, dtype=torch.int64)) if largest else out

    kind = "maximum" if largest else "moments"
    return Reduction(op=op, x=x, dims=dims, kind=kind, over=dims, finish=finish)


def _over(op: str, given: Given) -> Reduction | None:
    """A mean, a sum, an extreme value, a variance or a norm over some dimensions."""
    x, dim = given["self"], given.get("dim")
    if x.ndim == 0 or not (x.is_floating_point() or op in ("amax", "amin", "max", "min")):
        return None
    entries = [dim] if isinstance(dim, int) else list(dim or range(x.ndim))
    if not all(isinstance(d, int) for d in entries) or ("dim" in given and op in ("max", "min")):
        return None
    dims = tuple(sorted(d % x.ndim for d in entries))
    kind, power = KINDS[op], 1.0
    if kind == "powers":
        order = given.get("ord", given.get("p", 2))
        power = float(2 if order is None else order)
        if not 0 < power < math.inf:
            return None
    keeps, to = given.get("keepdim", False), given.get("dtype") or x.dtype
    correction = given.get("correction")

    def finish(x: torch.Tensor, known: Statistic) -> torch.Tensor:
        out = known.first
        if op in ("var", "std"):
            out = known.second / max(0.0, known.count - (1 if correction is None else correction))
            out = out.sqrt() if op == "std" else out
        out = out.pow(1 / power) if kind == "powers" else out
        return (out if keeps else out.squeeze(dims)).to(to)

    return Reduction(op=op, x=x, dims=dims, kind=kind, over=dims, finish=finish, power=power)


KINDS = {
    "mean": "moments",
    "var": "moments",
    "std": "moments",
    "sum": "sum",
    "amax": "maximum",
    "max": "maximum",
    "amin": "minimum",
    "min": "minimum",
    "linalg_vector_norm": "powers",
    "norm": "powers",
}
READERS: Mapping[str, Callable[[str, Given], Reduction | None]] = {
    **{f"aten::{op}": _norm for op in ("group_norm", "instance_norm", "batch_norm")},
    "aten::layer_norm": _layer_norm,
    **{f"aten::adaptive_avg_pool{n}d": _pool for n in (1, 2, 3)},
    **{f"aten::adaptive_max_pool{n}d": _pool for n in (1, 2, 3)},
    **{f"aten::{op}": _over for op in KINDS},
}
