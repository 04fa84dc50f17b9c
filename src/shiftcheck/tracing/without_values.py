"""An operation on tensors that have only a shape: what it does then, values do not decide."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import (
    LOG_WITHOUT_VALUES,
    NOT_KNOWN_WITHOUT_VALUES,
    FakeTensorMode,
    tree_map,
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's log of what fails on tensors without values: values are tried next."""
    logger = logging.getLogger(LOG_WITHOUT_VALUES)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def tried(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """What an operation raises on tensors of the same shapes without values, if anything."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def faked(value: Any) -> Any:
        return mode.from_tensor(value) if type(value) is torch.Tensor else value

    try:
        with mode, quiet():
            given, named = tree_map(faked, (list(args), dict(kwargs)))
            func(*given, **named)
    except Exception as error:  # whatever it is: the caller asks for it
        return error
    return None


def shapes_decide(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation needs no values to tell the size of what it gives."""
    return tried(func, args, kwargs) is None


def shapes_forbid(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation that raised an error would have raised one on any values."""
    error = tried(func, args, kwargs)
    return error is not None and not isinstance(error, NOT_KNOWN_WITHOUT_VALUES)
