"""x by itself: what it gives there it must give in a batch, and shifted copies its shifts."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from shiftcheck.measuring.gaps.arrange import arranged, spatial_places
from shiftcheck.measuring.gaps.plan import Gap
from shiftcheck.measuring.layer_gaps import compare_copies, require_copies, without_copies
from shiftcheck.measuring.progress import tracked
from shiftcheck.measuring.run import SINGLE, Job, Measured, chunks_of, eps_of, guarded
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.measuring.structure_pass import output_rows
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.passes import Row, Traced
from shiftcheck.tracing.restoring.state import Originals, exchanged, weights_of


def run_alone(job: Job, originals: Originals) -> None:
    """Keep the outputs for x by itself: in the batch, the base must come out the same.

    What a model keeps must not come from what it saw before: it must give the same again, also
    after a shifted signal.
    """
    zero = (0,) * len(job.inputs.pixels)
    before = _drawn_by_others()
    traced = _plain_run(job, originals, 0.0)
    job.alone = [tensor for _, tensor, _ in traced.outputs]
    random_ones = _drawn_by_others() != before
    keeps = originals.differs()
    if keeps and job.shifts:
        originals.rewind()
        _plain_run(job, originals, 0.0, job.shifts[0])
    if random_ones or keeps:
        for _ in range(REPEATS if random_ones else 1):
            again = _plain_run(job, originals, 0.0)
            compare_alone(job, [t for _, t, _ in again.outputs], Reason.UNSTEADY, originals)
    rank, lead = len(zero) + 2, "output"
    for path, shape in traced.ignoring:
        if len(shape) >= rank:
            job.odd.append((lead + path, shape, Reason.IGNORES))
        else:
            name = f"{lead + path!r} {list(shape)}"
            job.notes.append(f"left out: {name} does not depend on the input")
    job.odd += [(lead + path, (), Reason.UNREAD) for path, _ in traced.unknown]
    if traced.left_out:
        names = ", ".join(repr(lead + path) for path in traced.left_out)
        job.notes.append(f"outputs={list(job.inputs.outputs)!r}: nothing is told of {names}")


REPEATS = 8
"""How often a model that draws Python's or NumPy's random numbers must give the same again."""


def _drawn_by_others() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))


def _plain_run(job: Job, originals: Originals, noise: float, shift: Shift | None = None) -> Traced:
    """The model on x by itself; with ``noise``, every value of x is off by about so much."""
    shift = shift or (0,) * len(job.inputs.pixels)
    with job.inputs.without_gradients():
        values = job.inputs.shifted(shift, job.seed)
        if noise:
            values = [_perturbed(v, noise) for v in values]
        known = job.circular_padding  # which dimensions are circles tells the geometry
        return guarded(job, values, 1, originals, lambda row, tensor: None, geometry=known)


def _perturbed(value: Any, noise: float) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    signs = torch.randint_like(value, 2) * 2 - 1
    return value * (1 + noise * signs)


def noise_floor(job: Job, originals: Originals) -> dict[str, float]:
    """How far each output moves when every value of x and of the weights is off by one eps.

    The eps is that of the coarsest type on the way. Nothing is known, and so nothing is forgiven,
    where the same x gives something else again.
    """
    plain, again = _plain_run(job, originals, 0.0), _plain_run(job, originals, 0.0)
    if not _same(plain, again):
        return {}
    floor = dict.fromkeys((row.name for row in output_rows(plain)), 0.0)
    for _ in range(2):
        with exchanged(weights_of(modules_of(job.model)), partial(_perturbed, noise=job.eps)):
            off = _plain_run(job, originals, job.eps)
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
    job: Job, outputs: Sequence[torch.Tensor], doubt: Reason, originals: Originals
) -> None:
    """Set the doubt where an output is not what it was for x by itself, beyond its noise."""
    if len(outputs) != len(job.alone):
        job.doubt = job.doubt or doubt
        return
    far = [
        i
        for i, (again, alone) in enumerate(zip(outputs, job.alone, strict=True))
        if again.shape != alone.shape or not _close(again, alone, 0.0)
    ]
    if not far:
        return
    alike = all(outputs[i].shape == job.alone[i].shape for i in far)
    if doubt == Reason.BATCH_COUPLED and job.products and alike:
        job.unsure = True  # exact products will tell
        return
    floors = list(noise_floor(job, originals).values())
    doubt = doubt if floors else Reason.UNSTEADY  # x alone gives something else each time
    for i in far:
        same = outputs[i].shape == job.alone[i].shape and i < len(floors)
        if not same or not _close(outputs[i], job.alone[i], NOISE_MARGIN * floors[i]):
            job.doubt = job.doubt or doubt
    job.unsure = job.unsure or job.eps > SINGLE


NOISE_MARGIN = 32.0
"""A gap of so many times the noise floor is still noise."""


def _close(one: torch.Tensor, other: torch.Tensor, noise: float) -> bool:
    if one.layout != torch.strided or one.is_complex() or not one.is_floating_point():
        return one.layout != torch.strided or bool(torch.equal(one, other))
    scale = float(other.nan_to_num().abs().max()) if other.numel() else 0.0
    slack = 64 * torch.finfo(one.dtype).eps * scale
    return bool(torch.allclose(one, other, rtol=0.0, atol=slack + noise, equal_nan=True))


def agrees_with_alone(
    job: Job, originals: Originals, max_batch: int | None, progress: bool
) -> bool:
    """Whether every copy gives the outputs for x by itself, shifted: x need not run beside them.

    Where one does not, the reason may be the batch, and all run again together with x. Coarse
    products nearly always are one.
    """
    told = job.doubt or job.products or len(job.shifts) < 2
    if told or job.every_layer or job.between or job.scene.sums:
        return False
    for chunk in tracked(chunks_of(job, max_batch, bases=0), progress):
        if len(chunk) < 2 or not _chunk_agrees(job, chunk, originals):
            job.rows.clear()
            job.outputs.clear()
            return False
    return True


def _chunk_agrees(job: Job, chunk: Sequence[Shift], originals: Originals) -> bool:
    def on_row(row: Row, tensor: torch.Tensor) -> None:
        job.rows.setdefault(row.name, Measured(row=row))

    with job.inputs.without_gradients():
        values = job.inputs.stacked(chunk, job.seed, base=False)
        traced = guarded(job, values, len(chunk), originals, on_row)
        rows = output_rows(traced)
        if len(rows) != len(job.alone):
            return False
        for row, (_, tensor, _), alone in zip(rows, traced.outputs, job.alone, strict=True):
            require_copies(row.layout)
            signal = without_copies(row.layout)
            dense = tensor.layout == torch.strided
            if not dense or signal.shape != alone.shape or tensor.dtype != alone.dtype:
                return False
            axes = len(job.scene.pixels)
            whole = arranged(tensor, row.layout, spatial_places(row.layout, axes))
            base = arranged(alone, signal, spatial_places(signal, axes))[0]
            gaps = compare_copies(job, job.outputs, row, base, whole, chunk, ends=True)
            if not all(_is_none(job, v, gap) for v, gap in zip(chunk, gaps, strict=True)):
                return False
    return True


def _is_none(job: Job, shift: Shift, gap: Gap) -> bool:
    """Whether a gap was measured, and is rounding in the type of x, whatever else is allowed."""
    if not any(shift):
        return True
    if gap.error is None or gap.relative is None:
        return False
    return gap.relative <= Tolerance(eps=eps_of(job.inputs.dtype)).relative(None)
