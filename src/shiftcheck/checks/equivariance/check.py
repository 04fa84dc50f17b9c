"""The checks: choose shifts, run the model on the shifted copies, judge what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from shiftcheck.checks.black_boxes import NOTE, leaves_torch, seen_as
from shiftcheck.checks.equivariance.build_report import causes_of, circumstances, layer_result
from shiftcheck.checks.equivariance.examine import Asked, examine, with_shifts
from shiftcheck.checks.equivariance.randomized_weights import check_randomized
from shiftcheck.checks.equivariance.remedies import diagnosed
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.gaps.plan import Scene
from shiftcheck.measuring.run import Job, eps_of
from shiftcheck.measuring.signals.arguments import Inputs, check_shifts, read_inputs
from shiftcheck.measuring.signals.interpolation import REACH
from shiftcheck.measuring.structure_pass import (
    Model,
    ValuesLeftError,
    needs_gradients,
    read_structure,
)
from shiftcheck.measuring.tolerance import Tolerance
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.choosing import parameters_of, read_outputs
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.torch_internals import uncompiled


def check_equivariance(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    shifts: Sequence[Any] | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    max_batch: int | None = None,
    progress: bool = False,
    training: bool = False,
    measure: Literal["layers", "outputs"] = "layers",
    weights: Literal["own", "randomized"] = "own",
    draws: int = 3,
    interpolation: Literal["lanczos", "linear"] = "lanczos",
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> Report:
    """Compare ``model(S x)`` with ``S model(x)`` for every layer, over the valid region.

    Args:
        model: any module or callable; it is left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments; of
            floating or whole numbers, or truth values.
        layer: check up to this layer; what follows is not run.
        shifts: pixels, one tuple for each shift; chosen from the geometry when left out. Where one
            of them is fractional, as ``(0.5, 0)``, input and outputs are interpolated; that
            measures, and only with tolerances passes or fails.
        boundary: ``"valid"`` (a window onto an infinite plane) or ``"circular"`` (a torus, shifted
            with torch.roll), once or for each spatial axis.
        spatial_dims: the spatial dimensions; all from the third on when left out.
        rtol, atol: what passes, ``atol + rtol * max|y|`` of a channel; both or neither.
        seed: of the fresh content that a shift brings in, and of the chosen shifts.
        max_batch: copies, with the base, that travel in one pass at most.
        progress: show a progress bar.
        training: leave the training flags as they are; else the model is checked in eval mode.
        measure: ``"layers"`` or only the ``"outputs"``.
        weights: the model's ``"own"``, or ``"randomized"`` ones: normal noise with the mean and the
            standard deviation of each parameter. What is found then is a property of the
            architecture, and not of these weights.
        draws: how many times randomised weights are drawn; the worst verdict counts.
        interpolation: how a plane is read between pixels, as in ``shift``; circles are read as
            trigonometric polynomials.
        fixed: the arguments that stand still while the others move, by name or position, as
            ``("template",)`` or ``(1,)``; a part of one as ``"batch['template']"``.
        outputs: those of several outputs that count, by their names in the report, their keys or
            their positions, as ``["output[0]"]``, ``["map"]`` or ``[0]``; all when left out.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.check_equivariance(
        ...     torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 12, 13)
        ... )
        >>> report.verdict
        <Verdict.EQUIVARIANT: 'equivariant'>
    """
    _check_options(
        layer=layer,
        seed=seed,
        max_batch=max_batch,
        training=training,
        measure=measure,
        weights=weights,
        draws=draws,
        interpolation=interpolation,
    )
    tolerances = _tolerances(rtol, atol)
    model = uncompiled(model)
    inputs = checked_inputs(
        model, x, boundary, spatial_dims, fixed=fixed, outputs=outputs, whole_numbers=True
    )
    inputs = replace(inputs, interpolation=interpolation)
    chosen = check_shifts(shifts, inputs, between=True) if shifts is not None else None
    model = seen_as(model, inputs, x, training=training)
    asked = Asked(
        tolerances=tolerances,
        shifts=chosen is not None,
        max_batch=max_batch,
        progress=progress,
    )
    job = Job(
        model=model,
        inputs=inputs,
        shifts=chosen or (),
        seed=seed,
        layer=layer,
        training=training,
        every_layer=measure == "layers",
        scene=Scene(
            pixels=inputs.pixels,
            circular=inputs.circular,
            interpolation=interpolation,
            tolerance=(tolerances["rtol"], tolerances["atol"]) if tolerances else None,
            allowed=Tolerance(eps=eps_of(inputs.dtype)).relative(None),
        ),
    )

    def check(callable_: Model) -> Report:
        def with_inputs(given: Inputs) -> Report:
            one = replace(job, model=callable_, inputs=given).fresh()
            return _check(one, asked)

        return with_gradients_if_needed(with_inputs, inputs)

    def check_as_it_is() -> Report:
        return _as_whole_if_needed(check, model, layer)

    if weights == "own":
        return check_as_it_is()
    return check_randomized(check_as_it_is, modules_of(model), seed, draws)


def _as_whole_if_needed(
    check: Callable[[Model], Report], model: Model, layer: str | None
) -> Report:
    """Look at a callable from outside alone where its values leave torch and come back."""
    if layer is not None or isinstance(model, BlackBox):
        return check(model)
    try:
        report = check(model)
    except ValuesLeftError:
        return _noted(check(BlackBox(model, arrays=False)))
    if not leaves_torch(report):
        return report
    whole = check(BlackBox(model, arrays=False))
    return report if whole.reason in (Reason.UNSUPPORTED, Reason.LEFT_TORCH) else _noted(whole)


def _noted(report: Report) -> Report:
    return replace(report, notes=(*report.notes, NOTE))


def _check(job: Job, asked: Asked) -> Report:
    """Choose shifts where none were given, run, judge, and try what may help."""
    job = with_shifts(job, asked)
    report = examine(job, asked)
    if report.verdict is Verdict.EQUIVARIANT or not job.every_layer or job.between:
        return report
    return diagnosed(report, job, asked)


def with_gradients_if_needed(checked: Callable[[Inputs], Report], inputs: Inputs) -> Report:
    """What is found of the inputs, outside inference mode where the model needs gradients."""
    try:
        return checked(inputs)
    except ModelError as error:
        if not needs_gradients(error):
            raise
    report = checked(replace(inputs, gradients=True))
    note = "the model computes gradients in its forward: it ran outside inference mode"
    return replace(report, notes=(*report.notes, note))


def geometry(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    training: bool = False,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> Report:
    """The stride, period, halo, valid region and causes of every layer, from shapes alone.

    Args:
        model: any module or callable.
        x: the input, or its shape ``(batch, channels, *spatial)``; nothing is computed.
        layer, boundary, spatial_dims, training, fixed, outputs: as in ``check_equivariance``.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> g = shiftcheck.geometry(torch.nn.Conv2d(1, 1, 5, stride=2), (1, 1, 32, 32))
        >>> [str(s) for s in g.outputs[0].stride], g.outputs[0].receptive_field
        (['2', '2'], (5.0, 5.0))
    """
    if _is_shape(x):
        if min(x) < 0:
            raise InputError(f"x={tuple(x)}: a shape has no negative sizes")
        x = torch.empty(tuple(x), dtype=_dtype_of(model), device="meta")
    model = uncompiled(model)
    inputs = checked_inputs(
        model, x, boundary, spatial_dims, fixed=fixed, outputs=outputs, whole_numbers=True
    )
    model = seen_as(model, inputs, x, training=training)
    return with_gradients_if_needed(lambda given: _structure(model, given, layer, training), inputs)


def _structure(model: Model, inputs: Inputs, layer: str | None, training: bool) -> Report:
    rows, outputs, notes = read_structure(model, inputs, layer=layer, training=training)
    results = [layer_result(row) for row in rows]
    ends = [layer_result(row) for row in outputs]
    return Report(
        verdict=None,
        reason=Reason.NONE,
        layers=tuple(results),
        outputs=tuple(ends),
        causes=causes_of(outputs),
        notes=tuple(notes),
        **circumstances(model, inputs, layer, 0),
    )


def _check_options(**options: Any) -> None:
    for name, value in options.items():
        if not VALID[name](value):
            raise InputError(f"{name}={value!r}: give {MEANT[name]}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


VALID: dict[str, Callable[[Any], bool]] = {
    "layer": lambda v: v is None or (isinstance(v, str) and v != ""),
    "seed": _is_whole,
    "max_batch": lambda v: v is None or (_is_whole(v) and v >= 2),
    "training": lambda v: isinstance(v, bool),
    "measure": lambda v: v in ("layers", "outputs"),
    "weights": lambda v: v in ("own", "randomized"),
    "draws": lambda v: _is_whole(v) and v >= 1,
    "interpolation": lambda v: v in REACH,
}
MEANT = {
    "layer": "the name of a layer, or None",
    "seed": "a whole number",
    "max_batch": "a whole number of at least 2 (the base and a copy), or None",
    "training": "True or False",
    "measure": "'layers' or 'outputs'",
    "weights": "'own' or 'randomized'",
    "draws": "a whole number of at least 1",
    "interpolation": "'lanczos' or 'linear'",
}


def _tolerances(rtol: float | None, atol: float | None) -> dict[str, float]:
    if (rtol is None) != (atol is None):
        raise InputError(f"rtol={rtol}, atol={atol}: give both or neither")
    if rtol is None or atol is None:
        return {}
    if not all(isinstance(t, int | float) for t in (rtol, atol)):
        raise InputError(f"rtol={rtol!r}, atol={atol!r}: give two numbers")
    if not (rtol >= 0 and atol >= 0 and math.isfinite(rtol + atol)):
        raise InputError(f"rtol={rtol}, atol={atol}: give finite numbers of at least 0")
    return {"rtol": float(rtol), "atol": float(atol)}


def checked_inputs(
    model: Model,
    x: Any,
    boundary: Any,
    spatial_dims: Any,
    *,
    fixed: Any = (),
    outputs: Any = None,
    whole_numbers: bool = False,
) -> Inputs:
    """The arguments; raises InputError for what cannot be used, or not with this model."""
    if not callable(model):
        raise InputError(f"model={model!r} cannot be called: give a module or a function")
    inputs = read_inputs(
        x,
        boundary=boundary,
        spatial_dims=spatial_dims,
        fixed=fixed,
        parameters=parameters_of(model),
        whole_numbers=whole_numbers,
    )
    inputs = replace(inputs, outputs=read_outputs(outputs), computed_in=_dtype_of(model))
    _check_initialised(model)
    _check_dimensions(model, inputs)
    _check_device(model, inputs)
    return inputs


def _check_initialised(model: Model) -> None:
    for module in modules_of(model):
        for tensor in (*module.parameters(False), *module.buffers(False)):
            if torch.nn.parameter.is_lazy(tensor):
                raise InputError(
                    f"model: {type(module).__name__} has parameters without a size yet: call the"
                    " model once on an input before it is checked"
                )


def _check_dimensions(model: Model, inputs: Inputs) -> None:
    kinds = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
    modules = modules_of(model)
    used = {d for d, kind in kinds.items() if any(isinstance(m, kind) for m in modules)}
    axes, shape = len(inputs.pixels), tuple(inputs.main.tensor.shape)
    if used and axes < min(used) and len(shape) == axes + 2:
        raise InputError(
            f"x has shape {shape}, but the model has {min(used)}-D convolutions: give"
            " [batch, channels, *spatial]; a batch dimension is added with x[None]"
        )


def _check_device(model: Model, inputs: Inputs) -> None:
    x = inputs.main.tensor
    for module in modules_of(model):
        for parameter in module.parameters(False):
            if parameter.device != x.device and x.device.type != "meta":
                raise InputError(
                    f"x is on {x.device}, the model's parameters are on {parameter.device}: move"
                    f" one of them, for example x.to('{parameter.device}')"
                )


def _is_shape(x: Any) -> bool:
    return (
        isinstance(x, tuple | list | torch.Size)
        and bool(x)
        and all(isinstance(n, int) and not isinstance(n, bool) for n in x)
    )


def _dtype_of(model: Model) -> torch.dtype:
    for module in modules_of(model):
        for parameter in module.parameters(False):
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.get_default_dtype()
