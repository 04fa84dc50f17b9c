"""What would make a check pass: each remedy is tried before anybody reads of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

import torch

from shiftcheck.checks.equivariance.examine import examine, with_shifts
from shiftcheck.checks.equivariance.too_little import smaller_shifts
from shiftcheck.checks.trials import until_one_works
from shiftcheck.measuring.effort import EffortSpentError
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.required_size import next_on_the_circle, next_that_fits, smallest_input
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change, LayerResult, Report, Trial, Verdict
from shiftcheck.report.left_out import LeftOut
from shiftcheck.report.reasons import BLIND, Reason
from shiftcheck.tracing.modules import in_dtype
from shiftcheck.tracing.precision import eps_of

MOST_LAYERS = 3
"""How many layers before the guilty one are tried as the last of a check."""

MOST_STEPS = 8
"""How many periods of layers are tried as what divides a size that would fit."""


def diagnosed(report: Report, plan: Plan) -> Report:
    """The report with what was tried to make it pass, and the input that would be large enough."""
    unmoved = report.reason in (Reason.IDENTITY, Reason.NEVER_MOVED) and not plan.shifts_given
    if report.reason == Reason.NO_REGION or unmoved:
        report = _with_needed(report, plan, unmoved=unmoved)
    trials = until_one_works(_changes(report, plan), partial(_tried, plan, report))
    if report.reason == Reason.TOO_LITTLE and not any(trial.works for trial in trials.outcomes):
        report = _with_needed(report, plan)
    return replace(
        report,
        trials=trials.outcomes,
        untried=trials.untried,
        left_out=(*report.left_out, *trials.left_out),
    )


def _with_needed(report: Report, plan: Plan, *, unmoved: bool = False) -> Report:
    """With the smallest input that leaves enough to compare; ``unmoved``: by steps of its lattice.

    Steps are told where not every larger size does.
    """
    try:
        smallest = smallest_input(plan, unmoved=unmoved)
    except EffortSpentError:
        return replace(report, left_out=(*report.left_out, LeftOut.SMALLEST_INPUT))
    if smallest is None or smallest.sizes == plan.inputs.pixels:
        return report
    steps = smallest.steps if any(n != 1 for n in smallest.steps) else ()
    return replace(report, needed=smallest.sizes, needed_steps=steps)


def _one_step(report: Report) -> tuple[int, ...]:
    """The smallest shift that is a whole number of samples of every output, along all axes."""
    strides = zip(*(output.stride for output in report.outputs), strict=True)
    return tuple(math.lcm(*(abs(s.numerator) for s in along if s)) for along in strides)


def _changes(report: Report, plan: Plan) -> Iterator[Change]:
    """What may help, the most telling first."""
    if report.verdict is Verdict.BROKEN:
        yield from _for_breaks(report, plan)
    else:
        yield from _for_doubts(report, plan)
    if any(c.kind == CauseKind.RESIZE and c.period is None for c in report.causes):
        yield from _sizes_that_fit(report, plan)
    if report.needed is None and report.reason != Reason.TOO_LITTLE:
        yield from _earlier_layers(report)


def _for_breaks(report: Report, plan: Plan) -> Iterator[Change]:
    padded = any(
        c.kind == CauseKind.PADDING and plan.inputs.circular[c.axis or 0] for c in report.causes
    )
    if padded:
        yield Change(circular_padding=True)
    multiples = _multiples(report, plan)
    if multiples and report.reason != Reason.AGAINST_RULES:
        yield Change(multiples=multiples)
        if padded:
            yield Change(circular_padding=True, multiples=multiples)
    if report.reason == Reason.LOW_PRECISION:
        yield from _finer(plan)
    if any(plan.inputs.circular) and len(plan.inputs.tensors) == 1:
        size = next_on_the_circle(plan)
        if size is not None and size != plan.inputs.pixels:
            yield Change(size=size)
            if padded:
                yield Change(size=size, circular_padding=True)


def _sizes_that_fit(report: Report, plan: Plan) -> Iterator[Change]:
    """The next size that the periods of the layers divide, where what is joined may fit together.

    Shifts that were chosen for this size are chosen anew.
    """
    if len(plan.inputs.tensors) > 1:
        return
    steps = sorted({p for row in report.layers for p in row.period if p})[:MOST_STEPS]
    fitting = next_that_fits(plan, steps)
    if fitting is None:
        return
    size, period = fitting
    given = plan.shifts_given and _are_multiples(plan.shifts, period)
    yield Change(size=size) if given else Change(size=size, multiples=period)


def _are_multiples(shifts: Iterable[Sequence[float]], period: Sequence[int]) -> bool:
    return all(v % p == 0 for shift in shifts for v, p in zip(shift, period, strict=True))


def _multiples(report: Report, plan: Plan) -> tuple[int, ...]:
    """The period of the outputs, unless every shift is a multiple of it already."""
    periods = [o.period for o in report.outputs if None not in o.period]
    if not periods or len(periods) < len(report.outputs):
        return ()
    least = tuple(max(p[a] or 1 for p in periods) for a in range(len(plan.inputs.pixels)))
    fits = all(p < n for p, n in zip(least, plan.inputs.pixels, strict=True))
    return least if fits and not _are_multiples(plan.shifts, least) else ()


def _for_doubts(report: Report, plan: Plan) -> Iterator[Change]:
    reason = report.reason
    unmoved = reason in (Reason.IDENTITY, Reason.NEVER_MOVED) and not plan.shifts_given
    if plan.inputs.followers and (unmoved or reason == Reason.UNSUPPORTED):
        yield Change(fixed=plan.inputs.followers)
    if reason in (Reason.OFF_LATTICE, Reason.IN_NOISE, Reason.MEASURED_GAP) and (
        multiples := _multiples(report, plan)
    ):
        yield Change(multiples=multiples)
    if reason == Reason.NOT_SPATIAL and report.guilty is not None and report.guilty.period:
        yield Change(multiples=(report.guilty.period,) * len(plan.inputs.pixels))
    if reason in (
        Reason.INVISIBLE,
        Reason.CONSTANT,
        Reason.CONSTANT_INPUT,
        Reason.SATURATED,
        Reason.DEAD,
        Reason.IN_NOISE,
    ):
        yield Change(signal=True)
    if reason in (Reason.UNCONFIRMED, Reason.NOT_FINITE, Reason.IN_NOISE, Reason.CHOSEN):
        yield from _finer(plan)
    if reason == Reason.TOO_LITTLE and (shifts := smaller_shifts(report, plan.shifts)):
        yield Change(shifts=shifts)
    if reason == Reason.TOO_TOLERANT:
        yield Change(tolerances=True)
    if reason == Reason.NEVER_MOVED:
        yield from _axes_alone(report)
    if reason in BLIND and plan.training:
        yield Change(evaluation=True)
    if reason == Reason.NO_REGION and report.needed is None and not all(plan.inputs.circular):
        yield Change(boundary=("circular",) * len(plan.inputs.pixels))
    if reason == Reason.IDENTITY and plan.shifts_given:
        yield Change(shifts=_along_each_axis(_one_step(report), plan))


def _finer(plan: Plan) -> Iterator[Change]:
    eps = eps_of(plan.inputs.dtype)
    for dtype in ("float32", "float64"):
        if eps_of(getattr(torch, dtype)) < eps:
            yield Change(dtype=dtype)


def _axes_alone(report: Report) -> Iterator[Change]:
    """Shifts along those axes alone that every output has."""
    axes = range(len(report.boundary))
    strides = [[o.stride[a] for o in report.outputs] for a in axes]
    for a in axes:
        step = max((abs(s.numerator) for s in strides[a] if s is not None), default=0)
        if step and None not in strides[a]:
            yield Change(shifts=(tuple(step if b == a else 0 for b in axes),))


def _earlier_layers(report: Report) -> Iterator[Change]:
    """The last layers before the guilty one that pass, the last first."""
    guilty = report.guilty.layer if report.guilty is not None else None
    before = list(takewhile(lambda row: not _is_of(row, guilty), report.layers))
    passing = [
        row.name
        for row in before
        if row.verdict is Verdict.EQUIVARIANT and None not in row.stride and "[" not in row.name
    ]
    for name in reversed(passing[-MOST_LAYERS:]):
        if name != report.layer:
            yield Change(layer=name)


def _is_of(row: LayerResult, layer: str | None) -> bool:
    return layer is not None and (row.name == layer or row.name.startswith(f"{layer}["))


def _tried(plan: Plan, before: Report, change: Change) -> Trial | None:
    """The outcome of the check with a change; None where the model does not run like that."""
    try:
        changed, notes = with_shifts(_changed(plan, change, _share(before, change)))
        report = examine(changed, notes).report
    except Exception:  # the model cannot be copied or run like that, whatever it raises
        return None
    assert report.verdict is not None
    return Trial(
        change=change,
        verdict=report.verdict,
        reason=report.reason,
        relative_error=report.relative_error,
        guilty=report.guilty,
    )


def _share(report: Report, change: Change) -> float:
    """The share of the layers that a pass goes through with a change."""
    names = [row.name for row in report.layers]
    return (names.index(change.layer) + 1) / len(names) if change.layer in names else 1.0


def _changed(plan: Plan, change: Change, share: float = 1.0) -> Plan:
    """The plan with a change applied; only the outputs are measured."""
    model, inputs = plan.model, plan.inputs
    moved = change.multiples or change.shifts
    if change.size or change.signal:
        inputs = _noise(inputs, change.size or inputs.pixels)
    if change.fixed:
        inputs = inputs.keeping(change.fixed)
    if change.boundary:
        circles = tuple(b == "circular" for b in change.boundary)
        inputs = replace(inputs, circular=circles, measured={})
    if change.dtype:
        dtype = getattr(torch, change.dtype)
        model, inputs = in_dtype(model, dtype), inputs.in_dtype(dtype)
    return replace(
        plan,
        model=model,
        inputs=inputs,
        shifts=change.shifts or _along_each_axis(change.multiples, plan) if moved else plan.shifts,
        shifts_given=bool(moved) or plan.shifts_given,
        layer=change.layer or plan.layer,
        training=plan.training and not change.evaluation,
        tolerances=None if change.tolerances else plan.tolerances,
        circular_padding=change.circular_padding,
        every_layer=False,
        explained=False,
        share=share,
        progress=False,
    )


def _along_each_axis(steps: tuple[int, ...], plan: Plan) -> tuple[tuple[int, ...], ...]:
    """One step forth along each axis that the plan moves, and all of them together."""
    axes = range(len(steps))
    moved = {a for s in plan.shifts for a, v in enumerate(s) if v} or set(axes)
    shifts = [tuple(steps[a] if a == b else 0 for b in axes) for a in axes if a in moved]
    together = tuple(steps[a] if a in moved else 0 for a in axes)
    return tuple(dict.fromkeys([*shifts, together]))


def _noise(inputs: Inputs, size: tuple[int, ...]) -> Inputs:
    """Noise in the place of the main input, of the given spatial size."""
    x = inputs.main.tensor
    shape = list(x.shape)
    for dim, n in zip(inputs.main.spatial, size, strict=True):
        shape[dim] = n
    generator = torch.Generator().manual_seed(0)
    if not x.is_floating_point():  # its own values, and where these are all the same, others
        least, most = (int(v) for v in (x.min().long(), x.max().long()))
        top = max(most, least + 1)
        whole = torch.randint(least, top + 1, shape, generator=generator, device="cpu")
        return inputs.with_main(whole.to(x.dtype).to(x.device))
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    return inputs.with_main(drawn.to(x.dtype).to(x.device))
