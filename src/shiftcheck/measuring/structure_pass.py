"""What the structure alone says: a pass without values, or one on few."""

from __future__ import annotations

from typing import Any

import torch

from shiftcheck.errors import ShiftcheckError
from shiftcheck.measuring.call import faked, home_of, rows_of
from shiftcheck.measuring.effort import charge
from shiftcheck.measuring.model_errors import RaisedError
from shiftcheck.measuring.outputs import output_rows
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.remembered import once
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.torch_internals import fake_mode
from shiftcheck.tracing.traced import Row, Traced
from shiftcheck.tracing.without_values import quiet

FEW = 2**18
"""Input values that are computed with sooner than torch imports what it needs without values."""


def read_structure(
    model: Model,
    inputs: Inputs,
    *,
    layer: str | None,
    training: bool,
    computed: bool = False,
    alone: bool = False,
) -> tuple[list[Row], list[Row], list[str]]:
    """Every row and output of one pass on fake tensors, or on real ones where that fails.

    ``computed``: whether the caller runs the model on these values anyway; where they are few, the
    structure is then read off them. ``alone``: each layer is told from its own input. With notes:
    why a pass without values failed, and what could not be put back.
    """
    plan = Plan(model=model, inputs=inputs, layer=layer, training=training, alone=alone)
    computed = computed and _has_few_values(plan)

    def read() -> tuple[list[Row], list[Row], list[str]]:
        charge()
        modules, tensors = modules_of(model), inputs.tensors
        with preserved(modules, tensors, training=training, model=model) as originals:
            seen = _on_few_values(plan, originals) if computed else None
            rows, traced, notes = seen or _read(plan, originals)
            outputs = output_rows(traced)
        return rows, outputs, [*notes, *originals.left]

    by_values = computed or isinstance(model, BlackBox)
    rows, outputs, notes = once(plan, read, by_values=by_values, home=home_of(model))
    return list(rows), list(outputs), list(notes)


def _has_few_values(plan: Plan) -> bool:
    """Whether it is next to nothing to compute with the values that are there."""
    tensors = plan.inputs.tensors
    few = sum(t.numel() for t in tensors) <= FEW and all(t.device.type != "meta" for t in tensors)
    return few and not isinstance(plan.model, BlackBox)


def _on_few_values(plan: Plan, originals: Originals) -> tuple[list[Row], Traced, list[str]] | None:
    """The pass on the values that are there; None where it is better done without them.

    So it is where the values decide something, or the model raises, which is told with more.
    """
    inputs = plan.inputs
    try:
        with inputs.without_gradients():
            rows, traced = rows_of(plan, inputs.shifted(plan.zero, 0), originals)
    except ShiftcheckError:
        raise
    except Exception:  # whatever it is, the pass without values meets it as well
        originals.rewind()
        return None
    if traced.leak:
        originals.rewind()
        return None
    return rows, traced, []


def _read(plan: Plan, originals: Originals) -> tuple[list[Row], Traced, list[str]]:
    home, inputs = home_of(plan.model), plan.inputs
    if isinstance(plan.model, BlackBox):
        with torch.inference_mode():
            values = [_drawn(leaf, home) for leaf in inputs.leaves]
            return *_with_values(plan, values, originals), []
    met: list[Row] = []
    try:
        fake = fake_mode()
        with inputs.without_gradients(), fake, quiet():
            values = [faked(leaf, fake, home) for leaf in inputs.leaves]
            return *rows_of(plan, values, originals, met.append), []
    except ShiftcheckError:
        raise
    except Exception as error:
        if inputs.main.tensor.device.type == "meta":
            raise RaisedError(error, plan, met) from error
        note = f"the structure comes from a real run: without values the model raised {error}"
    originals.rewind()
    with inputs.without_gradients():
        values = inputs.shifted(plan.zero, 0)
        rows, traced = _with_values(plan, values, originals)
    return rows, traced, [note.splitlines()[0][:200]]


def _with_values(plan: Plan, values: list[Any], originals: Originals) -> tuple[list[Row], Traced]:
    met: list[Row] = []
    try:
        return rows_of(plan, values, originals, met.append)
    except ShiftcheckError:
        raise
    except Exception as error:
        raise RaisedError(error, plan, met) from error


def _drawn(leaf: Any, home: torch.device) -> Any:
    """A tensor to run on where shapes alone do not do: the caller's, or noise for a shape."""
    if not isinstance(leaf, Leaf):
        return leaf
    if leaf.tensor.device.type != "meta":
        return leaf.dressed(leaf.tensor.detach().clone())
    if not leaf.tensor.is_floating_point():
        return torch.randint(0, 2, leaf.tensor.shape, device=home).to(leaf.tensor.dtype)
    return torch.randn(leaf.tensor.shape, dtype=leaf.tensor.dtype, device=home)
