"""What is given as a model: whether it is one, and what to give where it is none."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from shiftcheck.errors import InputError

ANY = "give a module or a function"


def check_model(model: Any) -> None:
    """Raise InputError, with what to give, for what makes a model, holds some, or is none."""
    if instead := _instead(model):
        raise InputError(f"model={_called(model)} {instead}")


def _instead(model: Any) -> str:
    """What it is and what to give for it; empty for what can be called with a signal."""
    if isinstance(model, type):
        return _of_class(model, _call_of(model, model.__name__))
    if isinstance(model, functools.partial):
        made = _innermost(model)
        return _of_partial(model, made) if isinstance(made, type) else ""
    if isinstance(model, torch.nn.Module):
        return _of_module(model)
    return "" if callable(model) else _of_value(model)


def _of_class(made: type, instance: str) -> str:
    if issubclass(made, torch.autograd.Function):
        return f"is a class of torch.autograd.Function: give {made.__name__}.apply"
    if not _defines_call(made):
        return f"is a class, and what it makes cannot be called: {ANY}"
    return f"is a class: give an instance: {instance}"


def _of_partial(model: functools.partial[Any], made: type) -> str:
    return f"makes a {made.__name__} and is none: give an instance: {_called(model)}()"


def _defines_call(made: type) -> bool:
    """Whether instances can be called, as opposed to the class alone."""
    return any("__call__" in vars(base) for base in made.__mro__)


def _of_module(module: torch.nn.Module) -> str:
    forward = getattr(module, "forward", None)
    if getattr(forward, "__func__", None) is not torch.nn.Module.forward:
        return ""
    parts = list(module.named_children())
    if not parts:
        return f"has no forward: {ANY}"
    key = parts[0][0]
    one = f"model[{int(key) if key.isdecimal() else repr(key)}]"
    in_a_row = ", or all in a row: torch.nn.Sequential(*model)"
    listed = isinstance(module, torch.nn.ModuleList)
    part = one if listed or isinstance(module, torch.nn.ModuleDict) else f"model.{key}"
    return f"has no forward: give one of its modules, such as {part}{in_a_row if listed else ''}"


def _of_value(value: Any) -> str:
    if value is None:
        return f"cannot be called: {ANY}; a function that makes the model has to return it"
    if isinstance(value, str | os.PathLike):
        return f"is a name and no model: load what is meant, and {ANY}"
    if isinstance(value, torch.Tensor):
        return f"cannot be called: {ANY} first, and the input after it"
    tensors = isinstance(value, Mapping) and value.values()
    if tensors and all(isinstance(v, torch.Tensor) for v in tensors):
        return (
            "holds weights and no model: build the model, load them with"
            " model.load_state_dict(...), and give it"
        )
    holds = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | Sequence) and any(map(callable, holds)):
        return "holds models: check each of them"
    return f"cannot be called: {ANY}"


def _called(model: Any) -> str:
    """A name for what was given, of one line."""
    if isinstance(model, type):
        return model.__name__
    if isinstance(model, functools.partial):
        given = [*map(_short, model.args), *(f"{k}={_short(v)}" for k, v in model.keywords.items())]
        return f"partial({', '.join([_called(model.func), *given])})"
    if callable(model) and hasattr(model, "__name__"):
        return str(model.__name__)
    return _short(model)


def _short(value: Any) -> str:
    """The value where it is written shortly, or else its type."""
    plain = isinstance(value, str | int | float | complex | os.PathLike | None)
    text = repr(value) if plain else ""
    return text if 0 < len(text) <= LONG else f"<{type(value).__name__}>"


LONG = 60


def _innermost(model: functools.partial[Any]) -> Any:
    made: Any = model
    while isinstance(made, functools.partial):
        made = made.func
    return made


def _call_of(function: Callable[..., Any], name: str) -> str:
    """A call that makes an instance, with the arguments that it cannot do without."""
    return f"{name}({', '.join(f'{key}=...' for key in wanted_by(function))})"


def wanted_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments that a function cannot do without; none where it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(p.name for p in parameters if p.default is p.empty and p.kind not in optional)
