"""The derivative of a layer along the shifts: how fast the smallest one breaks equivariance.

``L h(z) = d/dv S_-v h(S_v z)`` at v = 0, which is ``J_h(z) D z - D h(z)`` with the Jacobian ``J``
of the layer, taken by forward-mode differentiation, and the derivative ``D`` of the shift itself.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.figures.velocity import NO_REGION, NOT_FOLLOWED, Field, NotMeasuredError
from shiftcheck.checks.prepare import prepared
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.gaps.arrange import arranged
from shiftcheck.measuring.model_errors import RaisedError
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.figures import LieDerivative
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.modules import (
    flat_outputs,
    is_leaf,
    modules_of,
    named_modules_of,
    takes_hooks,
)
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import tree_leaves, tree_map
from shiftcheck.tracing.traced import Row

NO_MOTION = "its output does not change along the shift"
BY_KEYWORD = "it is given tensors by keyword"


@explaining_errors
def lie_derivatives(
    model: Model,
    x: Any,
    *,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
) -> tuple[LieDerivative, ...]:
    """Measure the local equivariance error of every leaf module, and of every output at the end.

    Each leaf module is fed with what it meets in the network, moving exactly as a shift moves it,
    so errors do not travel; the outputs are those of the whole model. Circles are read as
    trigonometric polynomials, the plane under the Lanczos kernel (only samples count that see
    neither padding nor what the kernel lacks). It measures; it is no test.

    Args:
        model: a module, or a function of modules; it is run outside inference mode, without
            gradients, in eval mode, and left as it was found.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments.
        boundary, spatial_dims: as in ``check_equivariance``.

    Returns:
        A row for each leaf module, in the order of execution, and one for each output.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model raises or returns no tensor that depends on the input.

    After N. Gruver, M. Finzi, M. Goldblum, A. G. Wilson, *The Lie Derivative for Measuring Learned
    Equivariance* (2022).

    Example:
        >>> import torch, shiftcheck
        >>> x = torch.randn(1, 1, 32).double()
        >>> (row, out) = shiftcheck.lie_derivatives(torch.nn.Sequential(torch.nn.ReLU()), x)
        >>> row.name, row.relative[0] > 0.01
        ('0', True)
    """
    given = prepared(model, x, boundary, spatial_dims)
    model, inputs = given.model, given.inputs
    rows, outputs, _ = read_structure(model, inputs, layer=None, training=False, computed=True)
    field = Field(inputs.circular)
    along: dict[Name, list[_Along]] = {}
    with preserved(modules_of(model), inputs.tensors, training=False, model=model), torch.no_grad():
        for axis in range(len(inputs.pixels)):
            fed = _by_path(rows)
            with _measuring(model, field, axis, fed) as measured:
                _run(model, inputs)
            measured += _whole_model(model, inputs, field, axis, outputs)
            for name, result in measured:
                along.setdefault(name, []).append(result)
    return tuple(_record(name, op, results) for (name, op), results in along.items())


def _run(model: Model, inputs: Inputs) -> None:
    args, kwargs = inputs.call(inputs.shifted((0,) * len(inputs.pixels), 0))
    try:
        model(*args, **kwargs)
    except Exception as error:
        raise RaisedError(error, Plan(model=model, inputs=inputs)) from error


@dataclass(frozen=True, kw_only=True)
class _Along:
    """One layer along one axis."""

    mean_square: float | None = None
    relative: float | None = None
    share: float | None = None
    reason: str = ""


def _record(name: str, op: str, along: Sequence[_Along]) -> LieDerivative:
    return LieDerivative(
        name=name,
        op=op,
        mean_square=tuple(a.mean_square for a in along),
        relative=tuple(a.relative for a in along),
        share=tuple(a.share for a in along),
        reason=next((a.reason for a in along if a.reason), ""),
    )


def _by_path(rows: Sequence[Row]) -> dict[str, list[Row]]:
    by_path: dict[str, list[Row]] = {}
    for row in rows:
        if row.fed:
            by_path.setdefault(row.path, []).append(row)
    return by_path


Name = tuple[str, str]
"""What a layer is called, and its operation."""

Measured = list[tuple[Name, _Along]]


@contextmanager
def _measuring(
    model: Model, field: Field, axis: int, fed: Mapping[str, list[Row]]
) -> Iterator[Measured]:
    """Measure every leaf module just before it runs, on what it is about to be given."""
    measured: Measured = []
    calls: dict[str, int] = {}
    thread = threading.get_ident()

    def hook(path: str, module: torch.nn.Module) -> Callable[..., None]:
        def before(_: Any, args: Any, kwargs: Any) -> None:
            if threading.get_ident() != thread:  # somebody else runs the same module
                return
            calls[path] = calls.get(path, 0) + 1
            name = path if calls[path] == 1 else f"{path}#{calls[path]}"
            rows = fed.get(name)
            if rows:
                measured.extend(_measured(module.forward, args, kwargs, field, axis, rows))

        return before

    with ExitStack() as handles:
        for path, module in named_modules_of(model).items():
            if is_leaf(module) and path and takes_hooks(module):
                handle = module.register_forward_pre_hook(hook(path, module), with_kwargs=True)
                handles.callback(handle.remove)
        yield measured


def _measured(
    forward: Callable[..., Any],
    args: Any,
    kwargs: Any,
    field: Field,
    axis: int,
    rows: Sequence[Row],
) -> Measured:
    """One call of a leaf module, each of its outputs along one axis."""
    try:
        if any(isinstance(v, torch.Tensor) for v in tree_leaves(kwargs)):
            raise NotMeasuredError(BY_KEYWORD)
        signals = [s for s in rows[0].fed if s is not None]
        outputs = _with_velocity(forward, args, kwargs, rows[0].fed, field, axis)
        results = _each(outputs, rows, signals, field, axis)
    except NotMeasuredError as error:
        results = [_Along(reason=str(error))] * len(rows)
    return [((row.name, row.op), each) for row, each in zip(rows, results, strict=True)]


Dual = tuple[torch.Tensor, torch.Tensor]


def _with_velocity(
    forward: Callable[..., Any],
    args: Any,
    kwargs: Any,
    fed: Sequence[Layout | None],
    field: Field,
    axis: int,
) -> list[Dual]:
    """The outputs and their velocities, when the inputs move as a shift moves them."""
    signals = iter(fed)
    with _dual_level():

        def moving(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            signal = next(signals, None)
            copy = value.detach().clone()
            if signal is None or not copy.is_floating_point():
                return copy
            return forward_ad.make_dual(copy, field.of(copy, signal, axis))

        given = tree_map(moving, args)
        return _unpacked(_called(forward, given, kwargs))


@contextmanager
def _dual_level() -> Iterator[None]:
    """Forward-mode differentiation, for which attention is written out.

    Torch prepares it with functions that it warns of itself.
    """
    written_out = sdpa_kernel(SDPBackend.MATH)
    with written_out, forward_ad.dual_level(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script")
        yield


def _called(forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return forward(*args, **kwargs)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotMeasuredError(f"no forward-mode derivative: {line[:100]}") from error


def _unpacked(returned: Any) -> list[Dual]:
    duals = []
    for _, leaf in flat_outputs(returned):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            primal, tangent = forward_ad.unpack_dual(leaf)
            still = torch.zeros_like(primal) if tangent is None else tangent
            duals.append((primal.detach(), still.detach()))
    return duals


def _each(
    duals: Sequence[Dual], rows: Sequence[Row], fed: Sequence[Layout], field: Field, axis: int
) -> list[_Along]:
    """The outputs of one call, each against its own geometry."""
    if len(duals) != len(rows):
        raise NotMeasuredError(NOT_FOLLOWED)
    results = []
    for (primal, tangent), row in zip(duals, rows, strict=True):
        try:
            results.append(_compared(primal, tangent, row.layout, fed, field, axis))
        except NotMeasuredError as error:
            results.append(_Along(reason=str(error)))
    return results


def _compared(
    primal: torch.Tensor,
    tangent: torch.Tensor,
    signal: Layout,
    fed: Sequence[Layout],
    field: Field,
    axis: int,
) -> _Along:
    """``J D z`` against ``D h(z)``, in float64, over the samples that count."""
    state, places = field.known(signal, axis)
    index = field.compared(signal, fed, axis)
    if not len(index):
        return _Along(share=0.0, reason=NO_REGION)
    expected = field.of(primal.double(), signal, axis)
    dim = 2 + sorted(places).index(axis)
    kept = torch.from_numpy(index).to(primal.device)
    apart = arranged(tangent.double() - expected, signal, places).index_select(dim, kept)
    motion = arranged(expected, signal, places).index_select(dim, kept)
    error, speed = float(apart.square().mean()), float(motion.square().mean())
    share = len(index) / state.size
    if not math.isfinite(error + speed):
        return _Along(share=share, reason=Reason.NOT_FINITE)
    if speed == 0.0:
        return _Along(mean_square=error, share=share, reason=NO_MOTION)
    return _Along(mean_square=error, relative=math.sqrt(error / speed), share=share)


def _whole_model(
    model: Model,
    inputs: Inputs,
    field: Field,
    axis: int,
    outputs: Sequence[Row],
) -> Measured:
    """The outputs of the whole model, whose errors have travelled."""
    values = inputs.shifted((0,) * len(inputs.pixels), 0)
    leaves = [
        leaf if isinstance(leaf, Leaf) and leaf.role == "shifted" else None
        for leaf in inputs.leaves
    ]
    fed = [None if leaf is None else inputs.signal(leaf, 1) for leaf in leaves]
    moved = [s for s in fed if s is not None]
    try:
        duals = _outputs_of(model, inputs, values, fed, field, axis)
        results = _each(duals, outputs, moved, field, axis)
    except NotMeasuredError as error:
        results = [_Along(reason=str(error))] * len(outputs)
    return [((row.name, "output"), each) for row, each in zip(outputs, results, strict=True)]


def _outputs_of(
    model: Model,
    inputs: Inputs,
    values: Sequence[Any],
    fed: Sequence[Layout | None],
    field: Field,
    axis: int,
) -> list[Dual]:
    with _dual_level():
        given = [
            value if signal is None else forward_ad.make_dual(value, field.of(value, signal, axis))
            for value, signal in zip(values, fed, strict=True)
        ]
        args, kwargs = inputs.call(given)
        return _unpacked(_called(model, args, kwargs))
