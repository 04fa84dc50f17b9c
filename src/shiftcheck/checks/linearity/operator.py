"""A model as a map from one signal to tensors, and its copies in other types."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.model_errors import (
    LEAVES_TORCH,
    RaisedError,
    ValuesLeftError,
    needs_gradients,
)
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.restoring.state import Originals, preserved
from shiftcheck.tracing.traced import Traced

EXACT = torch.float64


@dataclass(frozen=True, eq=False)
class Response:
    """What a model made of one signal.

    ``tensors``: the outputs by name, in float64 on the CPU, complex ones as pairs of real numbers.
    ``ignoring``: the names of those that do not depend on the signal. ``unread``: the names of what
    is no dense tensor. ``dtypes``: the types on the way. ``leak``: how values were read, if so, and
    ``leak_line`` where.
    """

    tensors: dict[str, torch.Tensor]
    ignoring: tuple[str, ...]
    unread: tuple[str, ...]
    dtypes: frozenset[torch.dtype]
    leak: str
    leak_line: str = ""


@dataclass(eq=False)
class Operator:
    """A model, or its part up to a layer, that is called with one signal.

    ``left_at``: where values were found to leave torch, so that it is looked at from outside.
    """

    model: Model
    inputs: Inputs
    layer: str | None
    originals: Originals
    left_at: str = ""

    def __call__(self, signal: torch.Tensor) -> Response:
        """The response to a signal ``[any batch, channels, *spatial]`` of any floating type.

        Raises ModelError where the model raises or returns nothing that depends on the signal.
        """
        like = self.inputs.main.tensor
        given = with_signal(self.inputs, signal.to(like.dtype).to(like.device))
        try:
            return self._run(given)
        except ValuesLeftError as error:
            if self.layer is not None:
                raise
            self.left_at = error.line
            self.model = BlackBox(self.model, arrays=False)
        except ModelError as error:
            if given.gradients or not needs_gradients(error):
                raise
            self.inputs = replace(self.inputs, gradients=True)
        return self(signal)

    def _run(self, given: Inputs) -> Response:
        values = given.shifted((0,) * len(given.pixels), 0)
        if isinstance(self.model, BlackBox):
            return self._whole(given, values)
        plan = Plan(model=self.model, inputs=given, layer=self.layer)
        with given.without_gradients():
            traced = Passes(plan, self.originals).run(
                values, lambda row, tensor: None, geometry=False
            )
        if traced.leak in LEAVES_TORCH and self.layer is None:
            raise ValuesLeftError(f"values left torch by {traced.leak}", traced.leak_line)
        return _response(traced)

    def _whole(self, given: Inputs, values: list[Any]) -> Response:
        args, kwargs = given.call(values)
        try:
            with given.without_gradients():
                returned = self.model(*args, **kwargs)
        except Exception as error:
            raise RaisedError(error, Plan(model=self.model, inputs=given)) from error
        leaves = [("output" + path, leaf) for path, leaf in flat_outputs(returned)]
        tensors = {name: leaf for name, leaf in leaves if isinstance(leaf, torch.Tensor)}
        if not tensors:
            raise ModelError("the model returned no tensor: there is nothing to compare")
        dense = {name: t for name, t in tensors.items() if t.layout == torch.strided}
        return Response(
            {name: comparable(t) for name, t in dense.items()},
            (),
            tuple(name for name in tensors if name not in dense),
            frozenset({given.main.tensor.dtype, *(t.dtype for t in dense.values())}),
            "",
        )


def _response(traced: Traced) -> Response:
    tensors = {"output" + path: tensor for path, tensor, _ in traced.outputs}
    dense = {name: t for name, t in tensors.items() if t.layout == torch.strided}
    unread = [name for name in tensors if name not in dense]
    return Response(
        {name: comparable(t) for name, t in dense.items()},
        tuple("output" + path for path, _ in traced.ignoring),
        (*unread, *("output" + path for path, _ in traced.unknown)),
        traced.dtypes,
        traced.leak,
        traced.leak_line,
    )


def comparable(tensor: torch.Tensor) -> torch.Tensor:
    """The values in float64 on the CPU, as a tensor of its own that is no inference tensor."""
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return real.detach().cpu().to(EXACT).clone()


def with_signal(inputs: Inputs, signal: torch.Tensor) -> Inputs:
    """The same arguments with another signal."""
    leaf = replace(inputs.main, tensor=signal)
    leaves = tuple(leaf if given is inputs.main else given for given in inputs.leaves)
    return replace(inputs, leaves=leaves, main=leaf)


def only_signal(inputs: Inputs) -> None:
    """Raise InputError unless the arguments hold one tensor, with values."""
    tensors = [leaf for leaf in inputs.leaves if isinstance(leaf, Leaf)]
    if len(tensors) > 1:
        raise InputError(
            f"x holds {len(tensors)} tensors: linearity is a property in one signal; fix the"
            " others, for example lambda x: model(x, other)"
        )


@contextmanager
def operated(model: Model, inputs: Inputs, *, layer: str | None) -> Iterator[Operator]:
    """The model as an operator in eval mode; what it touches is put back, also on exceptions."""
    with preserved(modules_of(model), inputs.tensors, training=False, model=model) as originals:
        yield Operator(model, inputs, layer, originals)


def in_type(operator: Operator, dtype: torch.dtype) -> Operator | None:
    """The operator on a copy of the model in another type; None where that is not possible.

    It is not where the model cannot be copied, does not run in that type, or computes in another
    one on the way whatever it is given.
    """
    signal = operator.inputs.main.tensor
    if signal.dtype == dtype:
        chosen = operator
    else:
        try:
            model = converted(operator.model, dtype)
            inputs = with_signal(operator.inputs, signal.to(dtype))
            chosen = Operator(model, inputs, operator.layer, operator.originals)
        except Exception:  # what cannot be copied has no second witness, and the report says so
            return None
    try:
        dtypes = chosen(chosen.inputs.main.tensor).dtypes
    except ModelError:
        if chosen is operator:
            raise
        return None
    return chosen if all(t == dtype for t in dtypes if _counts(t, dtype)) else None


def _counts(one: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether a type on the way is a coarser one than the wanted one."""
    floating = one.is_floating_point or one.is_complex
    return floating and torch.finfo(one).eps > torch.finfo(wanted).eps


def converted(model: Any, dtype: torch.dtype) -> Any:
    """A copy of a module in another type; a plain function is its own copy."""
    if isinstance(model, torch.nn.Module):
        return copy.deepcopy(model).to(dtype)
    if modules_of(model):
        raise TypeError("a function that refers to modules has no copy in another type")
    return model
