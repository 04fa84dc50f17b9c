"""The modules of a model, and the leaves of what it returns."""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.pooling_statistics import Seeking
from shiftcheck.tracing.restoring.state import exchanged
from shiftcheck.tracing.torch_internals import tensors_in


def modules_of(model: Any) -> list[torch.nn.Module]:
    """Every module that a model consists of, those that a plain function refers to included."""
    return list({id(m): m for m in named_modules_of(model).values()}.values())


def named_modules_of(model: Any) -> dict[str, torch.nn.Module]:
    """The modules of a model by name; in a function, behind the name of the variable."""
    if isinstance(model, BlackBox | InOtherType | Seeking):
        return named_modules_of(model.function)
    if isinstance(model, torch.nn.Module):
        return dict(model.named_modules())
    modules: dict[str, torch.nn.Module] = {}
    for variable, value in _referred(model):
        if isinstance(value, torch.nn.Module):
            for name, module in value.named_modules():
                label = f"{variable}.{name}" if name and variable else name or variable
                while label in modules and modules[label] is not module:
                    label += "'"
                modules[label] = module
    return modules


def _referred(function: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """The variables that a function, partial or bound method refers to, and what they refer to."""
    if depth == 0:
        return
    if isinstance(function, functools.partial):
        for value in (function.func, *function.args, *function.keywords.values()):
            yield "", value
            yield from _referred(value, depth - 1)
    if isinstance(function, types.MethodType):
        yield "", function.__self__
        if not isinstance(function.__self__, torch.nn.Module):
            yield from getattr(function.__self__, "__dict__", {}).items()
        yield from _referred(function.__func__, depth - 1)
    if isinstance(function, types.FunctionType):
        try:
            names = inspect.getclosurevars(function)
        except ValueError:  # a cell that is still empty
            return
        for variable, value in {**names.globals, **names.nonlocals}.items():
            yield variable, value
            yield from _referred(value, depth - 1)
    plain = isinstance(function, types.FunctionType | types.MethodType | functools.partial)
    if callable(function) and not plain and not isinstance(function, torch.nn.Module):
        yield from getattr(function, "__dict__", {}).items()


def names_of(model: Any, tensors: Iterable[torch.Tensor]) -> list[str]:
    """The names of those of the tensors that are parameters or buffers of the model."""
    wanted = {id(t) for t in tensors}
    return [
        f"{path}.{name}" if path else name
        for path, module in named_modules_of(model).items()
        for name, tensor in tensors_in(module)
        if tensor is not None and id(tensor) in wanted
    ]


def is_leaf(module: torch.nn.Module) -> bool:
    """Whether a module counts as one layer: no children, or attention as a whole."""
    children = {name for name, _ in module.named_children()} - {"parametrizations"}
    return not children or isinstance(module, torch.nn.MultiheadAttention)


def takes_hooks(module: torch.nn.Module) -> bool:
    """Whether hooks can be put on a module: TorchScript takes none, and calls its parts itself."""
    return not isinstance(module, torch.jit.ScriptModule)


def flat_outputs(returned: Any) -> list[tuple[str, Any]]:
    """Every leaf of a nested output with its path; containers of any class are looked into."""
    leaves = leaves_of(returned, hidden=True)
    return [("".join(step.written for step in steps), leaf) for steps, leaf in leaves]


def in_dtype(model: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """The model in another floating type: a copy of a module, or the function in that type.

    What a module keeps besides parameters and buffers stays in the type that it has.
    """
    if isinstance(model, torch.nn.Module):
        new = copy.deepcopy(model)
        return new.double() if dtype is torch.float64 else new.to(dtype)
    if isinstance(model, BlackBox):
        return BlackBox(in_dtype(model.function, dtype), arrays=model.arrays)
    return InOtherType(model, dtype) if modules_of(model) else model


class InOtherType:
    """A function whose modules compute in another floating type for as long as a call takes."""

    def __init__(self, function: Callable[..., Any], dtype: torch.dtype) -> None:
        self.function, self.dtype = function, dtype
        self.__name__ = str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns while its modules are in the other type."""
        modules = modules_of(self.function)
        tensors = [t for m in modules for t in (*m.parameters(False), *m.buffers(False))]
        with exchanged(tensors, lambda values: values.to(self.dtype)):
            return self.function(*args, **kwargs)
