"""x by itself: what it gives there it must give in a batch, and shifted copies its shifts."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftcheck.measuring.measurements import NO_DOUBT, Doubt, OddOutput
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.precision import SINGLE
from shiftcheck.tracing.restoring.state import exchanged, weights_of
from shiftcheck.tracing.traced import OnRow, Row, Traced


@dataclass(frozen=True, kw_only=True, eq=False)
class Alone:
    """What the model gives for x by itself; ``odd``: the outputs that cannot be compared.

    ``rows``, ``traced``: its layers and the pass as it was traced, where shifted copies can go the
    same way without rules. ``layers``: what every layer gave, if that was kept.
    """

    outputs: tuple[torch.Tensor, ...] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    traced: Traced | None = None
    layers: Mapping[str, torch.Tensor] = field(default_factory=dict)
    odd: tuple[OddOutput, ...] = ()
    notes: tuple[str, ...] = ()
    doubt: Doubt = NO_DOUBT


def run_alone(passes: Passes, *, geometry: bool = False, keep_layers: bool = False) -> Alone:
    """The outputs for x by itself: in the batch, the base must come out the same.

    ``geometry``: read it on the way. ``keep_layers``: keep what every layer gives.

    What a model keeps must not come from what it saw before: it must give the same again, also
    after a shifted signal.
    """
    plan, originals = passes.plan, passes.originals
    before = _drawn_by_others()
    rows: dict[str, Row] = {}
    layers: dict[str, torch.Tensor] = {}

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        rows.setdefault(row.name, row)
        if keep_layers and row.name not in layers:
            layers[row.name] = tensor.clone()

    traced = _plain_run(passes, 0.0, on_row=on_row, geometry=geometry)
    outputs = tuple(tensor for _, tensor, _ in traced.outputs)
    random_ones = _drawn_by_others() != before
    keeps = originals.differs()
    if keeps and plan.shifts:
        originals.rewind()
        _plain_run(passes, 0.0, plan.shifts[0])
    doubt = Doubt()
    for _ in range((REPEATS if random_ones else 1) if random_ones or keeps else 0):
        again = _plain_run(passes, 0.0)
        tensors = [tensor for _, tensor, _ in again.outputs]
        doubt = doubt.then(compare_alone(passes, outputs, tensors, Reason.UNSTEADY))
    odd, notes = _set_apart(traced, plan)
    alone = Alone(outputs=outputs, odd=odd, notes=notes, doubt=doubt)
    if random_ones or keeps:
        return alone
    alone = replace(alone, layers=layers)
    return alone if traced.way is None else replace(alone, rows=rows, traced=traced)


def _set_apart(traced: Traced, plan: Plan) -> tuple[tuple[OddOutput, ...], tuple[str, ...]]:
    """The outputs that cannot be compared, and notes about those that nothing is told of."""
    odd, notes, lead = [], [], "output"
    for path, shape in traced.ignoring:
        if len(shape) >= len(plan.zero) + 2:
            odd.append(OddOutput(name=lead + path, shape=shape, reason=Reason.IGNORES))
        else:
            name = f"{lead + path!r} {list(shape)}"
            notes.append(f"left out: {name} does not depend on the input")
    odd += [
        OddOutput(name=lead + path, shape=(), reason=Reason.UNREAD) for path, _ in traced.unknown
    ]
    if traced.left_out:
        names = ", ".join(repr(lead + path) for path in traced.left_out)
        notes.append(f"outputs={list(plan.inputs.outputs)!r}: nothing is told of {names}")
    return tuple(odd), tuple(notes)


REPEATS = 8
"""How often a model that draws Python's or NumPy's random numbers must give the same again."""


def _drawn_by_others() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))


def _plain_run(
    passes: Passes,
    noise: float,
    shift: Shift | None = None,
    on_row: OnRow = lambda row, tensor: None,
    *,
    geometry: bool = False,
) -> Traced:
    """The model on x by itself; with ``noise``, every value of x is off by about so much."""
    plan = passes.plan
    with plan.inputs.without_gradients():
        values = plan.inputs.shifted(shift or plan.zero, plan.seed)
        if noise:
            values = [_perturbed(v, noise) for v in values]
        # which dimensions are circles tells the geometry
        return passes.run(values, on_row, geometry=plan.circular_padding or geometry)


def _perturbed(value: Any, noise: float) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    signs = torch.randint_like(value, 2) * 2 - 1
    return value * (1 + noise * signs)


def noise_floor(
    passes: Passes, suffices: Callable[[dict[str, float]], bool] = lambda floor: False
) -> dict[str, float]:
    """How far each output moves when every value of x and of the weights is off by one eps.

    The eps is that of the coarsest type on the way. Nothing is known, and so nothing is forgiven,
    where the same x gives something else again. ``suffices``: whether so much noise is enough.
    """
    plain, again = _plain_run(passes, 0.0), _plain_run(passes, 0.0)
    if not _same(plain, again):
        return {}
    eps = passes.eps
    floor = dict.fromkeys((row.name for row in output_rows(plain)), 0.0)
    for _ in range(2):
        if suffices(floor):
            break
        weights = weights_of(modules_of(passes.plan.model))
        with exchanged(weights, partial(_perturbed, noise=eps)):
            off = _plain_run(passes, eps)
        for row, (_, one, _), (_, two, _) in zip(
            output_rows(plain), plain.outputs, off.outputs, strict=True
        ):
            dense = one.layout == torch.strided and one.is_floating_point()
            if dense and one.shape == two.shape and one.numel():
                floor[row.name] = max(floor[row.name], float((one - two).abs().max()))
    return floor


def _same(one: Traced, other: Traced) -> bool:
    pairs = zip([t for _, t, _ in one.outputs], [t for _, t, _ in other.outputs], strict=False)
    equal = all(a.shape == b.shape and _close(a, b, 0.0) for a, b in pairs)
    return equal and len(one.outputs) == len(other.outputs)


def compare_alone(
    passes: Passes, alone: Sequence[torch.Tensor], again: Sequence[torch.Tensor], reason: Reason
) -> Doubt:
    """The doubt where an output is not what it was for x by itself, beyond its noise."""
    if len(again) != len(alone):
        return Doubt(reason)
    far = [
        (i, before, other)
        for i, (before, other) in enumerate(zip(alone, again, strict=True))
        if before.shape != other.shape or not _close(other, before, 0.0)
    ]
    if not far:
        return Doubt()
    alike = all(before.shape == other.shape for _, before, other in far)
    if reason is Reason.BATCH_COUPLED and passes.products and alike:
        return Doubt(unsure=True)  # exact products will tell

    def is_noise(floor: Mapping[str, float]) -> bool:
        floors = list(floor.values())
        return all(
            before.shape == other.shape
            and i < len(floors)
            and _close(other, before, NOISE_MARGIN * floors[i])
            for i, before, other in far
        )

    floors = noise_floor(passes, is_noise)
    noisy = is_noise(floors)
    reason = reason if floors else Reason.UNSTEADY  # x alone gives something else each time
    return Doubt(Reason.NONE if noisy else reason, unsure=passes.eps > SINGLE)


NOISE_MARGIN = 32.0
"""A gap of so many times the noise floor is still noise."""


def _close(one: torch.Tensor, other: torch.Tensor, noise: float) -> bool:
    if one.layout != torch.strided or one.is_complex() or not one.is_floating_point():
        return one.layout != torch.strided or bool(torch.equal(one, other))
    scale = float(other.nan_to_num().abs().max()) if other.numel() else 0.0
    slack = 64 * torch.finfo(one.dtype).eps * scale
    return bool(torch.allclose(one, other, rtol=0.0, atol=slack + noise, equal_nan=True))
