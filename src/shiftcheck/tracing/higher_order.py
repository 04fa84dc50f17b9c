"""Operations that take functions: what they do, in operations that can be followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import COMPOSITE_KERNEL, HigherOrderOperator, way_of_scan


def is_higher_order(func: Any) -> bool:
    """Whether an operation takes functions, and has no schema."""
    return isinstance(func, HigherOrderOperator)


def steps_of(func: Any) -> Callable[..., Any] | None:
    """A function that does the same by calling what it is given; None where none is known.

    A predicate is a value that is read, as in any branch that Python takes.
    """
    if func.name() in STEPS:
        return STEPS[func.name()]
    if func.name() in COMPOSED:
        kernel: Callable[..., Any] | None = func.py_kernels.get(COMPOSITE_KERNEL)
        return kernel
    return None


COMPOSED = ("flex_attention", "map_impl", "associative_scan")
"""Those that torch itself writes in ordinary operations, for tensors of any device."""


def branch(
    predicate: Any,
    if_true: Callable[..., Any],
    if_false: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """What torch.cond does."""
    return (if_true if bool(predicate) else if_false)(*operands)


def loop(
    condition: Callable[..., Any],
    body: Callable[..., Any],
    carried: Sequence[Any],
    others: Sequence[Any] = (),
) -> Any:
    """What a while_loop does."""
    held = tuple(carried)
    while bool(condition(*held, *others)):
        made = body(*held, *others)
        held = tuple(made) if isinstance(made, list | tuple) else (made,)
    return held


def scan(
    step: Callable[..., Any],
    carried: Sequence[Any],
    rows: Sequence[torch.Tensor],
    *rest: Any,
    **named: Any,
) -> Any:
    """What a scan does; what it makes is stacked along the first dimension."""
    dim, backwards, others = way_of_scan(*rest, **named)
    held, made = list(carried), []
    places = range(rows[0].shape[dim])
    for place in reversed(places) if backwards else places:
        out = list(step(*held, *(row.select(dim, place) for row in rows), *others))
        held = out[: len(held)]
        made.append(out[len(held) :])
    columns = zip(*(reversed(made) if backwards else made), strict=True)
    return [*held, *(torch.stack(column) for column in columns)]


def called(function: Callable[..., Any], *operands: Any, **_: Any) -> Any:
    """What those do that only say how a function is to be compiled."""
    return function(*operands)


STEPS: dict[str, Callable[..., Any]] = {
    "cond": branch,
    "while_loop": loop,
    "scan": scan,
    "invoke_subgraph": lambda function, _, *operands: function(*operands),
    "strict_mode": lambda function, operands: function(*operands),
    "tag_activation_checkpoint": called,
    "wrap": called,
}
