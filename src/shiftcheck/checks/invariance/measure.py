"""Running a model on shifted and on different signals, and how far its outputs are apart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from shiftcheck.checks.equivariance.build_report import varies
from shiftcheck.checks.invariance.distances import (
    Values,
    agreement,
    distances,
    largest_gap,
    magnitude_of,
    norm_of_magnitudes,
    values_of,
)
from shiftcheck.errors import ModelError
from shiftcheck.measuring.run import Job, eps_of, guarded
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, seed_of
from shiftcheck.measuring.signals.canvas import Surroundings
from shiftcheck.measuring.signals.surrogates import surrogate
from shiftcheck.measuring.structure_pass import LEAVES_TORCH, ValuesLeftError, output_rows
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.measuring.unbatched import compare_alone, run_alone
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.passes import Row, Traced
from shiftcheck.tracing.restoring.state import Originals, preserved

MOST_OTHERS = 8
"""How many different signals each one is compared with, at most."""

SAMPLE = 4096
"""So many values of a layer are looked at to find where all signals become the same."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One output under one shift, as in the report; ``error``: the largest difference."""

    finite: bool
    distance: float = 0.0
    mean_distance: float = 0.0
    gap: float = 0.0
    error: float = 0.0
    agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One output for different signals: the median distance, over how many pairs, and its scale.

    ``magnitude``: the norm of a signal all of whose entries are as large as their channel gets;
    ``peak``: the largest entry; ``labels``: the entries are whole numbers; ``saturated``: they are
    all at the ends of what a softmax, sigmoid or tanh gives.
    """

    finite: bool
    labels: bool = False
    saturated: bool = False
    distance: float | None = None
    pairs: int = 0
    between: float | None = None
    magnitude: float = 0.0
    peak: float = 0.0


@dataclass(kw_only=True, eq=False)
class Measurement:
    """What a run gave: by output, its variation and what was found under each shift.

    ``odd``: outputs that cannot be compared, with their shape and the reason. ``ignoring``: those
    that do not depend on the input. ``visible``: whether each shift changes the input.
    ``constant``: the input does not vary over space. ``signals``: where the different ones come
    from. ``same_from``: the layer, and its operation, from which on all signals give the same.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    variations: dict[str, Variation] = field(default_factory=dict)
    found: dict[str, list[Found]] = field(default_factory=dict)
    odd: list[tuple[str, tuple[int, ...], Reason]] = field(default_factory=list)
    ignoring: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    visible: list[bool] = field(default_factory=list)
    constant: bool = False
    signals: str = ""
    doubt: Reason = Reason.NONE
    same_from: tuple[str, str] = ("", "")


@dataclass(frozen=True, eq=False)
class Other:
    """Different signals in the place of the given ones, and those of the batch that do differ."""

    inputs: Inputs
    differing: tuple[int, ...]
    step: int = 0


def measure(
    job: Job, surroundings: Surroundings, originals: Originals, shifts: Sequence[Any]
) -> Measurement:
    """The outputs for x, for different signals, and for x under each of the shifts.

    The batch runs as it was given, once for each shift, so nothing rests on its elements being
    apart. Raises ModelError where the outputs change their number or shape.
    """
    out = Measurement()
    zero = (0,) * len(job.inputs.pixels)
    run_alone(job, originals)
    first = _traced(job, surroundings.shifted(zero, job.seed), originals)
    if first.leak in LEAVES_TORCH and first.ignoring:
        raise ValuesLeftError(f"values left torch by {first.leak}")
    base = _values(job, first, out)
    out.odd += [(name, shape, reason) for name, shape, reason in job.odd if reason == Reason.UNREAD]
    out.ignoring = [("output" + path, shape) for path, shape in first.ignoring]
    apart = all(values.leads for values in base.values())
    out.signals, others = other_signals(job.inputs, job.seed, apart=apart)
    spreads = {name: _Spread(values) for name, values in base.items()}
    for k, other in enumerate(others):
        unlike = _again(job, other.inputs.shifted(zero, job.seed), originals, base)
        for name, spread in spreads.items():
            spread.add(unlike[name], k, other)
    out.shapes = {name: tuple(values.tensor.shape) for name, values in base.items()}
    out.variations = {name: spread.result() for name, spread in spreads.items()}
    out.constant = not any(varies(leaf) for leaf in _moving(job.inputs))
    out.found = {name: [] for name in base}
    for shift in shifts:
        moved = surroundings.shifted(shift, job.seed)
        out.visible.append(any(_differing(job.inputs, moved)))
        copy = _again(job, moved, originals, base)
        for name, values in base.items():
            out.found[name].append(_found(values, copy[name], spreads[name].magnitude))
    again = _traced(job, surroundings.shifted(zero, job.seed), originals)
    compare_alone(job, [t for _, t, _ in again.outputs], Reason.UNSTEADY, originals)
    out.doubt = job.doubt
    return out


def measured_in(
    job: Job, surroundings: Surroundings, model: Any, dtype: torch.dtype
) -> tuple[Job, Measurement]:
    """The same measurement of another model, in another floating type."""
    around = surroundings.mapped(lambda inputs: inputs.in_dtype(dtype))
    own = replace(job, model=model, inputs=around.inputs).fresh()
    with preserved(modules_of(model), [], training=job.training, model=model) as originals:
        return own, measure(own, around, originals, job.shifts)


def _traced(
    job: Job,
    values: list[Any],
    originals: Originals,
    on_row: Callable[[Row, torch.Tensor], None] = lambda row, tensor: None,
) -> Traced:
    with job.inputs.without_gradients():
        return guarded(job, values, 1, originals, on_row, geometry=job.circular_padding)


def _values(job: Job, traced: Traced, out: Measurement) -> dict[str, Values]:
    """The values of every output that can be read; the others are noted."""
    lead = job.inputs.main.tensor.shape[0]
    found: dict[str, Values] = {}
    for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
        values = values_of(tensor, lead)
        if values is None or not values.tensor.numel():
            reason = Reason.UNREAD if values is None else Reason.EMPTY
            out.odd.append((row.name, tuple(tensor.shape), reason))
        else:
            found[row.name] = values
    return found


def _again(
    job: Job, values: list[Any], originals: Originals, base: dict[str, Values]
) -> dict[str, Values]:
    """The same outputs for other values."""
    found = _values(job, _traced(job, values, originals), Measurement())
    for name, known in base.items():
        other = found.get(name)
        if other is None or other.tensor.shape != known.tensor.shape:
            shape = "is missing" if other is None else f"has shape {tuple(other.tensor.shape)}"
            raise ModelError(
                f"output {name!r} has shape {tuple(known.tensor.shape)} for x and {shape} for"
                " another signal: shapes must not depend on the values"
            )
    return found


def _found(one: Values, other: Values, magnitude: torch.Tensor) -> Found:
    if not (one.finite and other.finite):
        return Found(finite=False)
    apart = distances(one, other)
    return Found(
        finite=True,
        distance=float(apart.max()),
        mean_distance=float(apart.mean()),
        gap=largest_gap(one, other, magnitude),
        error=float((one.tensor - other.tensor).abs().max()),
        agreement=agreement(one, other),
    )


class _Spread:
    """How far one output is apart for different signals, which come one after another."""

    def __init__(self, base: Values) -> None:
        self.base = base
        self.finite, self.saturated = base.finite, base.saturated
        self.magnitude = magnitude_of(base)
        self.apart: list[float] = []
        self.same: list[float] = []
        self.pairs: set[tuple[int, ...]] = set()

    def add(self, values: Values, k: int, other: Other) -> None:
        """Compare with the k-th of the different signals."""
        base = self.base
        self.finite = self.finite and values.finite
        self.saturated = self.saturated and values.saturated
        self.magnitude = torch.maximum(self.magnitude, magnitude_of(values))
        chosen = list(other.differing) if base.leads else [0] * bool(other.differing)
        each = distances(base, values)
        self.apart += [float(each[b]) for b in chosen]
        between = agreement(base, values, chosen)
        self.same += [] if between is None else [between] * len(chosen)
        self.pairs |= {_pair(b, k, other.step, base.lead) for b in chosen}

    def result(self) -> Variation:
        """What is known of it after all of them."""
        if not self.finite:
            return Variation(finite=False, labels=self.base.labels)
        return Variation(
            finite=True,
            labels=self.base.labels,
            saturated=self.saturated,
            distance=statistics.median(self.apart) if self.apart else None,
            pairs=len(self.pairs),
            between=statistics.fmean(self.same) if self.same else None,
            magnitude=norm_of_magnitudes(self.magnitude, self.base),
            peak=float(self.magnitude.max()),
        )


def _pair(b: int, k: int, step: int, batch: int) -> tuple[int, ...]:
    """What tells a pair from others: in a batch, the two of them in any order."""
    if not step:
        return b, batch + k
    partner = (b - step) % batch
    return min(b, partner), max(b, partner)


def other_signals(inputs: Inputs, seed: int, *, apart: bool) -> tuple[str, list[Other]]:
    """Different signals: those of the batch in each other's place, or drawn where all are alike.

    Where the outputs do not keep the elements of the batch ``apart``, they may well be the same in
    another order, so that all are drawn.
    """
    batch = inputs.main.tensor.shape[0]
    steps = range(1, min(batch // 2, MOST_OTHERS) + 1) if apart else ()
    rolled = [_other(inputs, inputs.mapped(_roll(k)), k) for k in steps]
    if any(o.differing for o in rolled):
        return "batch", rolled
    drawn = [inputs.mapped(_draw(seed_of(seed, (k,)))) for k in range(MOST_OTHERS)]
    return "drawn", [_other(inputs, other, 0) for other in drawn]


def _other(inputs: Inputs, other: Inputs, step: int) -> Other:
    apart = _differing(inputs, other.leaves)
    return Other(other, tuple(b for b, differs in enumerate(apart) if differs), step)


def _roll(step: int) -> Callable[[Leaf], Leaf]:
    def change(leaf: Leaf) -> Leaf:
        moves = leaf.role == "shifted"
        return replace(leaf, tensor=leaf.tensor.roll(step, 0)) if moves else leaf

    return change


def _draw(seed: int) -> Callable[[Leaf], Leaf]:
    def change(leaf: Leaf) -> Leaf:
        if leaf.role != "shifted":
            return leaf
        generator = torch.Generator().manual_seed(seed)
        return replace(leaf, tensor=surrogate(leaf.tensor, leaf.spatial, generator))

    return change


def _moving(inputs: Inputs) -> list[Leaf]:
    return [leaf for leaf in inputs.leaves if isinstance(leaf, Leaf) and leaf.role == "shifted"]


def _differing(inputs: Inputs, values: Sequence[Any]) -> list[bool]:
    """For each element of the batch, whether it is another one than in ``values``."""
    out = [False] * inputs.main.tensor.shape[0]
    for leaf, value in zip(inputs.leaves, values, strict=True):
        if isinstance(leaf, Leaf) and leaf.role == "shifted":
            other = value.tensor if isinstance(value, Leaf) else value
            noise = Tolerance(eps=eps_of(leaf.tensor.dtype)).relative(None)
            own, others = (_wide(t).flatten(1) for t in (leaf.tensor, other))
            apart = (own - others).abs().amax(1) > noise * own.abs().amax(1)
            out = [known or bool(a) for known, a in zip(out, apart, strict=True)]
    return out


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of which differences can be taken."""
    return tensor.detach() if tensor.is_floating_point() else tensor.detach().double()


def same_from(job: Job, originals: Originals, *, apart: bool) -> tuple[str, str]:
    """The first layer, and its operation, from which on different signals give the same.

    Of each layer some values are kept, evenly spaced.
    """
    _, others = other_signals(job.inputs, job.seed, apart=apart)
    zero = (0,) * len(job.inputs.pixels)
    runs = []
    for inputs in (job.inputs, *(o.inputs for o in others if o.differing)):
        rows: dict[str, tuple[str, torch.Tensor]] = {}
        _traced(job, inputs.shifted(zero, job.seed), originals, _keep(rows))
        runs.append(rows)
    first = ("", "")
    for name, (op, values) in reversed(runs[0].items()):
        if not all(name in r and _alike(values, r[name][1]) for r in runs[1:]):
            break
        first = (name, op)
    return first


def _keep(rows: dict[str, tuple[str, torch.Tensor]]) -> Callable[[Row, torch.Tensor], None]:
    def note(row: Row, tensor: torch.Tensor) -> None:
        if tensor.layout == torch.strided:
            flat = tensor.detach().reshape(-1)
            rows[row.name] = row.op, flat[:: max(1, len(flat) // SAMPLE)].clone()

    return note


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return torch.equal(one, other)
    rounding = 4 * torch.finfo(one.dtype).eps * torch.maximum(one.abs(), other.abs())
    return bool(((one - other).abs() <= rounding).all())
