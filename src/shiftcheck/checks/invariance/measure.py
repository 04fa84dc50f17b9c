"""Running a model on shifted and on different signals, and how far its outputs are apart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

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
from shiftcheck.measuring.measurements import OddOutput
from shiftcheck.measuring.model_errors import LEAVES_TORCH, ValuesLeftError
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift, seed_of
from shiftcheck.measuring.signals.canvas import Surroundings
from shiftcheck.measuring.signals.surrogates import surrogate
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.measuring.unbatched import compare_alone, run_alone
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.traced import Row, Traced

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """What a run gave: by output, its variation and what was found under each shift.

    ``magnitudes``: by output, the largest magnitude of each channel for all those signals.
    ``odd``: outputs that cannot be compared. ``ignoring``: names and shapes of those that do not
    depend on the input. ``visible``: whether each shift changes the input. ``signals``: where the
    different ones come from. ``eps``: that of the coarsest type on the way.
    """

    shapes: Mapping[str, tuple[int, ...]]
    variations: Mapping[str, Variation]
    magnitudes: Mapping[str, torch.Tensor]
    distances: Mapping[str, Sequence[Found]]
    visible: Sequence[bool]
    signals: str
    odd: Sequence[OddOutput] = ()
    ignoring: Sequence[tuple[str, tuple[int, ...]]] = ()
    doubt: Reason = Reason.NONE
    notes: tuple[str, ...] = ()
    eps: float = 0.0


@dataclass(frozen=True, eq=False)
class Other:
    """Different signals in the place of the given ones, and those of the batch that do differ."""

    inputs: Inputs
    differing: tuple[int, ...]
    step: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Thrift:
    """What may be left out: ``enough`` ends the shifts, ``most_others`` are the other signals."""

    most_others: int = MOST_OTHERS
    enough: Callable[[Found, Variation], bool] = lambda found, variation: False


def measure(
    passes: Passes,
    surroundings: Surroundings,
    shifts: Sequence[Shift],
    thrift: Thrift | None = None,
) -> Measurement:
    """The outputs for x, for different signals, and for x under each of the shifts.

    The batch runs as it was given, once for each shift, so nothing rests on its elements being
    apart. Raises ModelError where the outputs change their number or shape.
    """
    plan, thrift = passes.plan, thrift or Thrift()
    alone = run_alone(passes, geometry=True)
    first = alone.traced or _traced(passes, surroundings.shifted(plan.zero, plan.seed))
    if first.leak in LEAVES_TORCH and first.ignoring:
        raise ValuesLeftError(f"values left torch by {first.leak}", first.leak_line)
    base, unreadable = _values(plan, _ends(first))
    signals, spreads = _spreads(passes, first, base, thrift.most_others)
    variations = {name: spread.result() for name, spread in spreads.items()}
    visible, moved = [], []
    for shift in shifts:
        values = surroundings.shifted(shift, plan.seed)
        visible.append(any(differing(plan.inputs, values)))
        copy = _again(passes, values, first, base)
        moved.append({n: _found(v, copy[n], spreads[n].magnitude) for n, v in base.items()})
        if any(thrift.enough(found, variations[name]) for name, found in moved[-1].items()):
            break
    again = _ends_again(passes, surroundings.shifted(plan.zero, plan.seed), first)
    repeated = [tensor for _, tensor in again]
    doubt = alone.doubt.then(compare_alone(passes, alone.outputs, repeated, Reason.UNSTEADY))
    return Measurement(
        shapes={name: tuple(values.tensor.shape) for name, values in base.items()},
        variations=variations,
        magnitudes={name: spread.magnitude for name, spread in spreads.items()},
        distances={name: [each[name] for each in moved] for name in base},
        visible=visible,
        signals=signals,
        odd=(*unreadable, *(odd for odd in alone.odd if odd.reason is Reason.UNREAD)),
        ignoring=[("output" + path, shape) for path, shape in first.ignoring],
        doubt=doubt.reason,
        notes=alone.notes,
        eps=passes.eps,
    )


def _spreads(
    passes: Passes, first: Traced, base: dict[str, Values], most: int
) -> tuple[str, dict[str, _Spread]]:
    """Where different signals come from, and how far each output is apart for them."""
    plan = passes.plan
    apart = all(values.leads for values in base.values())
    signals, others = other_signals(plan.inputs, plan.seed, apart=apart, most=most)
    spreads = {name: _Spread(values) for name, values in base.items()}
    for k, other in enumerate(others):
        unlike = _again(passes, other.inputs.shifted(plan.zero, plan.seed), first, base)
        for name, spread in spreads.items():
            spread.add(unlike[name], k, other)
    return signals, spreads


def gaps_at(
    passes: Passes,
    surroundings: Surroundings,
    shifts: Sequence[Shift],
    magnitudes: Mapping[str, torch.Tensor],
) -> list[dict[str, float]]:
    """The gap of each output under each of the shifts, relative to magnitudes that are known."""
    plan = passes.plan
    first = _traced(passes, surroundings.shifted(plan.zero, plan.seed), geometry=True)
    base, _ = _values(plan, _ends(first))
    gaps = []
    for shift in shifts:
        copy = _again(passes, surroundings.shifted(shift, plan.seed), first, base)
        gaps.append({n: _found(v, copy[n], magnitudes[n]).gap for n, v in base.items()})
    return gaps


def _traced(
    passes: Passes,
    values: list[Any],
    on_row: Callable[[Row, torch.Tensor], None] = lambda row, tensor: None,
    *,
    geometry: bool = False,
) -> Traced:
    plan = passes.plan
    with plan.inputs.without_gradients():
        return passes.run(values, on_row, geometry=geometry or plan.circular_padding)


Ends = Sequence[tuple[str, torch.Tensor]]
"""The outputs of a pass, with their names."""


def _ends(traced: Traced) -> Ends:
    pairs = zip(output_rows(traced), traced.outputs, strict=True)
    return [(row.name, tensor) for row, (_, tensor, _) in pairs]


def _ends_again(passes: Passes, values: list[Any], first: Traced) -> Ends:
    """The outputs for other values: on the way of the first pass, or traced where there is none."""
    with passes.plan.inputs.without_gradients():
        tensors = None if first.way is None else passes.run_again(first, values)
    if tensors is None:
        return _ends(_traced(passes, values))
    return [(name, tensor) for (name, _), tensor in zip(_ends(first), tensors, strict=True)]


def _values(plan: Plan, ends: Ends) -> tuple[dict[str, Values], list[OddOutput]]:
    """The values of every output that can be read, and the others."""
    lead = plan.inputs.main.tensor.shape[0]
    readable: dict[str, Values] = {}
    odd = []
    for name, tensor in ends:
        values = values_of(tensor, lead)
        if values is not None and values.tensor.numel():
            readable[name] = values
            continue
        reason = Reason.UNREAD if values is None else Reason.EMPTY
        odd.append(OddOutput(name=name, shape=tuple(tensor.shape), reason=reason))
    return readable, odd


def _again(
    passes: Passes, values: list[Any], first: Traced, base: dict[str, Values]
) -> dict[str, Values]:
    """The same outputs for other values."""
    readable, _ = _values(passes.plan, _ends_again(passes, values, first))
    for name, known in base.items():
        other = readable.get(name)
        if other is None or other.tensor.shape != known.tensor.shape:
            shape = "is missing" if other is None else f"has shape {tuple(other.tensor.shape)}"
            raise ModelError(
                f"output {name!r} has shape {tuple(known.tensor.shape)} for x and {shape} for"
                " another signal: shapes must not depend on the values"
            )
    return readable


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


def other_signals(
    inputs: Inputs, seed: int, *, apart: bool, most: int = MOST_OTHERS
) -> tuple[str, list[Other]]:
    """Different signals: those of the batch in each other's place, or drawn where all are alike.

    Where the outputs do not keep the elements of the batch ``apart``, they may well be the same in
    another order, so that all are drawn.
    """
    batch = inputs.main.tensor.shape[0]
    steps = range(1, min(batch // 2, most) + 1) if apart else ()
    rolled = [_other(inputs, inputs.mapped(_roll(k)), k) for k in steps]
    if any(o.differing for o in rolled):
        return "batch", rolled
    drawn = [inputs.mapped(_draw(seed_of(seed, (k,)))) for k in range(most)]
    return "drawn", [_other(inputs, other, 0) for other in drawn]


def _other(inputs: Inputs, other: Inputs, step: int) -> Other:
    apart = differing(inputs, other.leaves)
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


def differing(inputs: Inputs, values: Sequence[Any]) -> list[bool]:
    """For each element of the batch, whether it is another one than in ``values``."""
    out = [False] * inputs.main.tensor.shape[0]
    for leaf, value in zip(inputs.leaves, values, strict=True):
        if isinstance(leaf, Leaf) and leaf.role == "shifted":
            other = value.tensor if isinstance(value, Leaf) else value
            noise = Tolerance(eps=eps_of(leaf.tensor.dtype)).relative(None)
            one, others = (_wide(t).flatten(1) for t in (leaf.tensor, other))
            apart = (one - others).abs().amax(1) > noise * one.abs().amax(1)
            out = [known or bool(a) for known, a in zip(out, apart, strict=True)]
    return out


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of which differences can be taken."""
    return tensor.detach() if tensor.is_floating_point() else tensor.detach().double()


def same_from(passes: Passes, *, apart: bool) -> tuple[str, str]:
    """The first layer, and its operation, from which on different signals give the same.

    Of each layer some values are kept, evenly spaced.
    """
    plan = passes.plan
    _, others = other_signals(plan.inputs, plan.seed, apart=apart)
    runs = []
    for inputs in (plan.inputs, *(o.inputs for o in others if o.differing)):
        rows: dict[str, tuple[str, torch.Tensor]] = {}
        _traced(passes, inputs.shifted(plan.zero, plan.seed), _keep(rows))
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
