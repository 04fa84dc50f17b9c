"""One call of a model, followed by the tracer, on values or without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from shiftcheck.measuring.model_errors import check_traced
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.follower import go_again
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.rows import tensors_at
from shiftcheck.tracing.testimony import Testimony, WatchedFakes, cleared
from shiftcheck.tracing.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    default_device,
    unset_fake_temporarily,
)
from shiftcheck.tracing.traced import Given, Manner, OnRow, Row, Traced
from shiftcheck.tracing.tracer import run
from shiftcheck.tracing.without_values import quiet


def call(
    plan: Plan,
    values: list[Any],
    *,
    copies: int,
    originals: Originals,
    on_row: OnRow,
    memo: Memo | None = None,
    geometry: bool = True,
) -> Traced:
    """Run the model on a flat list of its arguments, following their layouts."""
    inputs = plan.inputs
    args, kwargs = inputs.call(values)
    memo = memo or Memo()
    layouts = [
        (value, memo.again((id(leaf), copies), [leaf], partial(inputs.signal, leaf, copies)))
        for leaf, value in zip(inputs.leaves, values, strict=True)
        if isinstance(leaf, Leaf) and leaf.role not in ("fixed", "still")
    ]
    manner = Manner(
        stacked=copies > 1,
        layer=plan.layer,
        geometry=geometry,
        circular_padding=plan.circular_padding,
        wanted=inputs.outputs,
        alone=plan.alone,
    )
    traced = run(
        plan.model,
        Given(args=args, kwargs=kwargs, layouts=layouts),
        manner,
        on_row=on_row,
        on_write=originals.before_write,
        memo=memo,
        measured=inputs.measured,
    )
    known = traced.leak or not (traced.met.strangers or traced.handed_over)
    if known or isinstance(plan.model, BlackBox) or any(isinstance(v, FakeTensor) for v in values):
        return traced
    testimony = memo.again(("testimony", plan.layer), [plan.model], lambda: _testify(plan))
    return cleared(traced, testimony)


def again(
    plan: Plan, values: list[Any], traced: Traced, originals: Originals
) -> list[torch.Tensor] | None:
    """The outputs for other values, on the way of a pass that was traced, without rules."""
    args, kwargs = plan.inputs.call(values)
    paths = [path for path, _, _ in traced.outputs]
    return go_again(
        plan.model,
        Given(args=args, kwargs=kwargs, layouts=()),
        traced,
        originals.before_write,
        lambda returned: tensors_at(returned, plan.inputs.outputs, paths),
    )


def rows_of(
    plan: Plan,
    values: list[Any],
    originals: Originals,
    met: Callable[[Row], None] = lambda _: None,
) -> tuple[list[Row], Traced]:
    """Every row of one pass, in the order in which they were met; errors are the model's own.

    ``met``: is told of each, so that those are known which came before an error.
    """
    rows: list[Row] = []

    def on_row(row: Row, _: torch.Tensor) -> None:
        rows.append(row)
        met(row)

    traced = call(plan, values, copies=1, originals=originals, on_row=on_row)
    check_traced(traced, plan.layer, rows)
    return rows, traced


def _testify(plan: Plan) -> Testimony:
    """What a pass without values tells of the constants and the threads of a model."""
    home = home_of(plan.model)
    fake = WatchedFakes(allow_non_fake_inputs=True)
    plain = replace(plan, circular_padding=False)
    with preserved(modules_of(plan.model), plan.inputs.tensors, training=True) as originals:
        try:
            with plan.inputs.without_gradients(), fake, quiet():
                values = [faked(leaf, fake, home) for leaf in plan.inputs.leaves]
                _, traced = rows_of(plain, values, originals)
        except Exception:  # the model cannot do without values: it tells nothing
            return Testimony(elsewhere=fake.elsewhere)
    known = frozenset() if traced.leak else traced.met.known
    return Testimony(complete=not traced.leak, elsewhere=fake.elsewhere, constants=known)


def home_of(model: Model) -> torch.device:
    """Where a signal belongs of which only the shape is given: the device of the model."""
    parameters = (p for module in modules_of(model) for p in module.parameters(False))
    device = next((p.device for p in parameters), default_device())
    return torch.device("cpu") if device.type == "meta" else device


def has_values(model: Model) -> bool:
    """Whether a model can be run: none of its parameters and buffers is a shape alone."""
    modules = modules_of(model)
    held = (t for m in modules for t in (*m.parameters(False), *m.buffers(False)))
    return not any(t.is_meta for t in held)


def faked(leaf: Any, mode: FakeTensorMode, home: torch.device) -> Any:
    """An argument without values; what is a constant keeps them, as they tell something."""
    if not isinstance(leaf, Leaf):
        return leaf
    if leaf.tensor.device.type == "meta":
        return torch.empty(leaf.tensor.shape, dtype=leaf.tensor.dtype, device=home)
    if leaf.role == "still":  # a constant, of which the values tell
        with unset_fake_temporarily(), torch.inference_mode(False):
            return leaf.tensor.detach().clone()
    return mode.from_tensor(leaf.tensor.detach().clone())
