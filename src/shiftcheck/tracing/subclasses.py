"""Tensors of other people's classes: moved as plain ones, and given to the model as they were."""

from __future__ import annotations

import torch

from shiftcheck.errors import InputError
from shiftcheck.tracing.torch_internals import without_subclasses

PLAIN = (torch.Tensor, torch.nn.Parameter)


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no class of its own."""
    return type(tensor) in PLAIN


def plain_of(tensor: torch.Tensor) -> torch.Tensor:
    """The same values without a class of their own, where that does not carry out operations."""
    if is_plain(tensor) or _acts(tensor):
        return tensor
    with without_subclasses():
        return tensor.as_subclass(torch.Tensor)


def require_values(tensor: torch.Tensor) -> None:
    """Raise InputError for a class that carries out its operations itself."""
    if _acts(tensor):
        raise InputError(
            f"x is a {type(tensor).__name__}, which carries out its operations itself and may hold"
            " no values that could be moved: give a plain tensor"
        )


def _acts(tensor: torch.Tensor) -> bool:
    return type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def dressed(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Plain values as a tensor of the class of another one, with its attributes."""
    if is_plain(like):
        return values
    with without_subclasses():
        made = values.as_subclass(type(like))
    made.__dict__.update(vars(like))
    return made
