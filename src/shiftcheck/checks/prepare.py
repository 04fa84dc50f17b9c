"""What every check begins with: its options, its arguments, and how the model is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch

from _shiftcheck_options import problem
from shiftcheck.checks.black_boxes import note, seen_as
from shiftcheck.checks.given_model import check_model
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.model_errors import ValuesLeftError, needs_gradients
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.measuring.signals.read_arguments import read_inputs, shape_of_signal
from shiftcheck.report.causes import Cause
from shiftcheck.tracing.black_box import BLACK_BOX, BlackBox
from shiftcheck.tracing.choosing import parameters_of, read_outputs
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.torch_internals import uncompiled


def check_options(**options: Any) -> None:
    """Raise InputError for the first option that cannot be used."""
    for name, value in options.items():
        if sentence := problem(name, value):
            raise InputError(sentence)


def read_tolerances(rtol: float | None, atol: float | None) -> tuple[float, float] | None:
    """What passes, where the user says so; raises InputError for one without the other."""
    if (rtol is None) != (atol is None):
        raise InputError(f"rtol={rtol}, atol={atol}: give both or neither")
    if rtol is None or atol is None:
        return None
    if not all(isinstance(t, int | float) for t in (rtol, atol)):
        raise InputError(f"rtol={rtol!r}, atol={atol!r}: give two numbers")
    if problem("rtol", rtol) or problem("atol", atol):
        raise InputError(f"rtol={rtol}, atol={atol}: give finite numbers of at least 0")
    return float(rtol), float(atol)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A model as it is looked at, and its arguments."""

    model: Model
    inputs: Inputs

    def seen(self, inputs: Inputs, x: Any, *, training: bool = False) -> Prepared:
        """The same, with a function of arrays as the black box that it is."""
        return Prepared(model=seen_as(self.model, inputs, x, training=training), inputs=inputs)


def prepared(
    model: Model,
    x: Any,
    boundary: Any = "valid",
    spatial_dims: Any = None,
    *,
    fixed: Any = (),
    outputs: Any = None,
    whole_numbers: bool = False,
    values: bool = True,
) -> Prepared:
    """The model that was given, uncompiled, and its arguments.

    ``values``: the arguments must have some. Raises InputError for what cannot be used, or not with
    this model.
    """
    model = uncompiled(model)
    check_model(model)
    inputs = read_inputs(
        x,
        boundary=boundary,
        spatial_dims=spatial_dims,
        fixed=fixed,
        parameters=parameters_of(model),
        whole_numbers=whole_numbers,
    )
    if values and inputs.main.tensor.device.type == "meta":
        raise InputError(
            "x is on the device 'meta', where nothing has a value: give values, or look at the"
            " structure alone with shiftcheck.geometry"
        )
    inputs = replace(inputs, outputs=read_outputs(outputs), computed_in=dtype_of(model))
    _check_initialised(model)
    _check_dimensions(model, inputs)
    _check_device(model, inputs)
    return Prepared(model=model, inputs=inputs)


def dims_without_channels(x: Any, given: Sequence[int] | None) -> Sequence[int] | None:
    """The spatial dimensions that were given; where a signal is ``[batch, time]``, the time.

    For checks that are told which axis is meant: elsewhere two dimensions are an image.
    """
    if given is not None:
        return given
    rank = len(x) if is_shape(x) else len(shape_of_signal(x))
    return (1,) if rank == 2 else None


def signal_shape(model: Model, x: Any, fixed: Any) -> tuple[int, ...]:
    """The shape of that argument of a model of which an axis is meant; see ``prepared``."""
    model = uncompiled(model)
    check_model(model)
    return shape_of_signal(x, fixed, parameters_of(model))


def is_shape(x: Any) -> bool:
    """Whether an input is given by its shape alone."""
    return (
        isinstance(x, tuple | list | torch.Size)
        and bool(x)
        and all(isinstance(n, int) and not isinstance(n, bool) for n in x)
    )


class WithNotes(Protocol):
    """A frozen record that holds notes."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say beside the result."""


Noted = TypeVar("Noted", bound=WithNotes)
GRADIENTS = "the model computes gradients in its forward: it ran outside inference mode"


def noted(report: Noted, note: str) -> Noted:
    """The report with a further note."""
    record: Any = report
    changed: Noted = replace(record, notes=(*report.notes, note))
    return changed


def from_outside(report: Noted, line: str) -> Noted:
    """A report of a callable as one operation, which says where its values leave torch."""
    told = noted(report, note(line))
    record: Any = told
    guilty = record.guilty
    if not isinstance(guilty, Cause) or guilty.layer != BLACK_BOX:
        return told
    changed: Noted = replace(record, guilty=replace(guilty, line=line))
    return changed


def line_of(report: Any) -> str:
    """Where values leave torch, as far as the report says so."""
    return report.guilty.line if isinstance(report.guilty, Cause) else ""


def with_gradients_if_needed(check: Callable[[bool], Noted]) -> Noted:
    """What a check gives, outside inference mode (True) where the model needs gradients."""
    try:
        return check(False)
    except ModelError as error:
        if not needs_gradients(error):
            raise
    return noted(check(True), GRADIENTS)


def planned_with_gradients_if_needed(plan: Plan, check: Callable[[Plan], Noted]) -> Noted:
    """What a check of a plan gives, outside inference mode where the model needs gradients."""
    return with_gradients_if_needed(
        lambda gradients: check(replace(plan, inputs=replace(plan.inputs, gradients=gradients)))
    )


def as_black_box_if_needed(
    check: Callable[[Model], Noted],
    model: Model,
    layer: str | None,
    leaves: Callable[[Noted], bool] = lambda report: False,
    blind: Callable[[Noted], bool] = lambda report: False,
) -> Noted:
    """Look at a callable from outside alone where its values leave torch and come back.

    ``leaves``: whether a report says that they do. ``blind``: whether the look from outside tells
    nothing, so that the first report is the better one.
    """
    if layer is not None or isinstance(model, BlackBox):
        return check(model)
    try:
        report = check(model)
    except ValuesLeftError as error:
        return from_outside(check(BlackBox(model, arrays=False)), error.line)
    if not leaves(report):
        return report
    outside = check(BlackBox(model, arrays=False))
    return report if blind(outside) else from_outside(outside, line_of(report))


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


def dtype_of(model: Model) -> torch.dtype:
    """The type of the first floating parameter; the default one where there is none."""
    for module in modules_of(model):
        for parameter in module.parameters(False):
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.get_default_dtype()
