"""The arguments that the strategies have in common, looked at by name and value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.samples import is_whole
from shiftcheck.strategies.accepted_sizes import likely_channels, number_of_axes


def axes_of(ndim: Any, model: Any = None) -> int:
    """The number of spatial axes: the given one, or that of the model's layers."""
    if ndim is None and model is not None:
        return number_of_axes(model)
    if not is_whole(ndim) or not 1 <= ndim <= 3:
        raise InputError(f"ndim={ndim!r}: give the number of spatial axes, 1, 2 or 3")
    return int(ndim)


def per_axis(name: str, value: Any, ndim: int, *, least: int) -> tuple[int, ...]:
    """A whole number for each axis, from one for all or one for each."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    entries = tuple(value) if several else (value,) * ndim
    if len(entries) != ndim or not all(is_whole(n) and n >= least for n in entries):
        raise InputError(
            f"{name}={value!r}: give a whole number of at least {least}, or one for each of the"
            f" {ndim} spatial axes"
        )
    return entries


def boundary_of(boundary: Any, ndim: int) -> tuple[str, ...]:
    """The boundary of each axis."""
    several = isinstance(boundary, list | tuple)
    entries = tuple(boundary) if several else (boundary,) * ndim
    if len(entries) != ndim or any(b not in ("valid", "circular") for b in entries):
        raise InputError(
            f"boundary={boundary!r}: give 'valid' or 'circular', or one of them for each of the"
            f" {ndim} spatial axes"
        )
    return entries


def channels_of(channels: Any, model: Any) -> tuple[int, ...]:
    """The channel counts to choose from: the given ones, or those that the model may take."""
    if channels is None:
        return likely_channels(model)
    several = isinstance(channels, Sequence) and not isinstance(channels, str)
    entries = tuple(channels) if several else (channels,)
    if not entries or not all(is_whole(n) and n >= 1 for n in entries):
        raise InputError(f"channels={channels!r}: give a whole number of at least 1, or several")
    return entries


def shift_of(shift: Any, ndim: int) -> tuple[int, ...]:
    """A shift as a tuple of whole pixels that is not zero."""
    several = isinstance(shift, Sequence) and not isinstance(shift, str)
    entries = tuple(shift) if several else ()
    if len(entries) != ndim or not all(is_whole(v) for v in entries) or not any(entries):
        raise InputError(
            f"shift={shift!r}: give whole pixels for each of the {ndim} spatial axes, not all zero"
        )
    return entries


def is_factory(model: Any) -> bool:
    """Whether calling ``model`` without arguments makes the model, as opposed to being one."""
    if isinstance(model, torch.nn.Module):
        return False
    return isinstance(model, type) or not required_of(model)


def required_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments that a function cannot do without; ("",) where it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ("",)
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(p.name for p in parameters if p.default is p.empty and p.kind not in optional)


def checked_sizes(sizes: Any, ndim: int | None) -> tuple[tuple[int, ...], ...]:
    """The spatial sizes as tuples, all of the same length."""
    several = isinstance(sizes, Sequence) and not isinstance(sizes, str)
    entries = [tuple(s) if isinstance(s, Sequence) else () for s in sizes] if several else []
    counts = {len(entry) for entry in entries}
    if len(counts) != 1 or not counts <= {1, 2, 3} or not counts <= {ndim or min(counts)}:
        raise InputError(
            f"sizes={sizes!r}: give a list of spatial sizes, such as [(32, 40), (33, 41)], with one"
            " entry for each axis"
        )
    if not all(is_whole(n) and n >= 1 for entry in entries for n in entry):
        raise InputError(f"sizes={sizes!r}: give whole numbers of at least 1")
    return tuple(entries)
