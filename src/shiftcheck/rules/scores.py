"""What operations make of scores and weights of pairs, by the name of the operation.

Rules answer for the layout alone. Here is said of which operations it is known what they do to each
pair; after any other, every sample is taken to depend on all that it may be related to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shiftcheck.lattice.factors import Dim, flat, size_of
from shiftcheck.lattice.layout import Layout, Made, Pairs
from shiftcheck.lattice.notes import noted
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.pairs import (
    with_added,
    with_factor,
    with_filled,
    with_number,
    with_pointwise,
    with_softmax,
    with_triangle,
)
from shiftcheck.rules.turned import PLACEWISE

MOST_REGROUPED = 2**24
"""Values of what was added to scores, written out for every head of a batch, that are followed."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on a tensor that relates ``pairs``: what it was given, and what it gave."""

    pairs: Pairs
    given: Sequence[Any]
    named: Mapping[str, Any]
    before: Layout
    after: Layout

    @property
    def leading(self) -> tuple[Dim, ...]:
        """The dimensions before those of the places."""
        return self.after.dims[:-2]

    @property
    def constants(self) -> list[Constant]:
        """The tensors that do not depend on the input."""
        return [x for x in (*self.given, *self.named.values()) if isinstance(x, Constant)]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument, wherever it was given."""
        return self.given[place] if place < len(self.given) else self.named.get(name, default)


Change = Callable[[Step], Pairs | None]


@dataclass(frozen=True, eq=False)
class Done:
    """An operation by its name, what it was given, and a way to do it again, ``untraced``."""

    packet: str
    given: Sequence[Any]
    named: Mapping[str, Any]
    call: Callable[..., Any] | None = None
    untraced: Callable[[], AbstractContextManager[None]] = nullcontext

    def made(self, index: int | None = None) -> Made:
        """How its result was made, or one of several."""
        assert self.call is not None
        return Made(self.packet, self.call, self.untraced, self.given, self.named, index)


def followed(done: Done, answer: Any, *, tagged: bool) -> Any:
    """A rule's answer, with what is known beside the layout; ``tagged``: it is pointwise.

    That is what it relates, and how it was made place by place.
    """
    if done.call is not None and done.packet in PLACEWISE:
        answer = _with_origin(done, answer)
    layouts = [x for x in (*done.given, *done.named.values()) if isinstance(x, Layout)]
    if len(layouts) != 1 or layouts[0].pairs is None or not isinstance(answer, Layout):
        return answer
    before, known = layouts[0], layouts[0].pairs
    change = CHANGES.get(done.packet.rstrip("_"), _pointwise if tagged else None)
    apart = change not in BEFORE_PLACES and answer.dims[-2:] != known.places
    if change is None or apart:
        return answer
    pairs = change(Step(known, done.given, done.named, before, answer))
    return answer if pairs is None else noted(answer, pairs=pairs, made=answer.made)


def _with_origin(done: Done, answer: Any) -> Any:
    if isinstance(answer, Layout):
        if any(f.kind == "key" for dim in answer.dims for f in flat(dim)):
            return answer  # what is related already is told no places any more
        same = any(answer is x for x in done.given)
        out = replace(answer) if same else answer  # of which nothing else is known, as before
        return noted(out, made=done.made())
    if not isinstance(answer, (list, tuple)):
        return answer
    return tuple(
        noted(one, made=done.made(i)) if isinstance(one, Layout) else one
        for i, one in enumerate(answer)
    )


def _pointwise(step: Step) -> Pairs | None:
    return with_pointwise(step.pairs, step.constants, step.leading)


def _same(step: Step) -> Pairs | None:
    return step.pairs


def _other_leading(step: Step) -> Pairs | None:
    """What is known of each pair does not depend on the dimensions before; what was added may."""
    bias = step.pairs.bias
    alone = bias is None or math.prod(bias.shape[:-2]) == 1
    return step.pairs if alone else None


def _regrouped(step: Step) -> Pairs | None:
    """The dimensions before those of the places in another grouping, in the same order."""
    bias = step.pairs.bias
    if bias is None or math.prod(bias.shape[:-2]) == 1:
        return step.pairs
    if any(x.dims[-2:] != step.pairs.places for x in (step.before, step.after)):
        return None
    before, after = ([size_of(d) for d in x.dims[:-2]] for x in (step.before, step.after))
    if math.prod(before) != math.prod(after) or bias.ndim != len(before) + 2:
        return None
    each = np.broadcast_to(bias, (*before, *bias.shape[-2:]))
    if each.size > MOST_REGROUPED:
        return None
    return replace(step.pairs, bias=each.reshape(*after, *bias.shape[-2:]))


def _sum(sign: float) -> Change:
    """A sum with something, or a difference; it is added as it is, or subtracted."""

    def change(step: Step) -> Pairs | None:
        first = step.given[0] is step.before
        other = step.argument(1, "other") if first else step.given[0]
        if step.named.get("alpha", 1) != 1 or (sign < 0 and not first):
            return _pointwise(step)
        if _number(other) is not None:
            return step.pairs if step.pairs.stage == "scores" else None
        return with_added(step.pairs, other, step.leading, sign=sign)

    return change


def _multiplied(step: Step) -> Pairs | None:
    others = [x for x in (*step.given, *step.named.values()) if x is not step.before]
    number = _number(others[0])
    if number is not None:
        return with_number(step.pairs, number)
    return with_factor(step.pairs, others[0], step.leading)


def _divided(step: Step) -> Pairs | None:
    number = _number(step.argument(1, "other"))
    if step.given[0] is step.before and number and "rounding_mode" not in step.named:
        return with_number(step.pairs, 1 / number)
    return _pointwise(step)


def _filled(step: Step) -> Pairs | None:
    where, value = step.argument(1, "mask"), _number(step.argument(2, "value"))
    if step.given[0] is not step.before or value is None or not isinstance(where, Constant):
        return None
    return with_filled(step.pairs, where, value, step.leading)


def _chosen(step: Step) -> Pairs | None:
    """``where(condition, scores, value)``, or the value first."""
    where, one, other = (step.argument(i, n) for i, n in enumerate(("condition", "self", "other")))
    if not isinstance(where, Constant):
        return None
    first = one is step.before
    value = _number(other if first else one)
    if value is None:
        return _pointwise(step)
    return with_filled(step.pairs, where, value, step.leading, elsewhere=first)


def _softmax(step: Step) -> Pairs | None:
    dim = step.argument(1, "dim")
    last = dim in (-1, len(step.before.dims) - 1)
    return with_softmax(step.pairs) if last else None


def _dropout(step: Step) -> Pairs | None:
    return step.pairs if step.after is step.before else None


def _triangle(upper: bool) -> Change:
    def change(step: Step) -> Pairs | None:
        return with_triangle(step.pairs, int(step.argument(1, "diagonal", 0)), upper=upper)

    return change


def _number(value: Any) -> float | None:
    """A number, or the only one that a constant holds."""
    if isinstance(value, Constant) and math.prod(value.shape) == 1 and not value.random:
        values = value.values()
        value = None if values is None or np.iscomplexobj(values) else values.item()
    return float(value) if isinstance(value, int | float) else None


BEFORE_PLACES = (_other_leading, _regrouped)
"""What changes the dimensions before those of the places, and may end in others than these."""

CHANGES: dict[str, Change] = {
    "aten::add": _sum(1),
    "aten::sub": _sum(-1),
    "aten::subtract": _sum(-1),
    "aten::mul": _multiplied,
    "aten::multiply": _multiplied,
    "aten::div": _divided,
    "aten::divide": _divided,
    "aten::true_divide": _divided,
    "aten::masked_fill": _filled,
    "aten::where": _chosen,
    "aten::dropout": _dropout,
    "aten::tril": _triangle(upper=False),
    "aten::triu": _triangle(upper=True),
    **{f"aten::{name}": _softmax for name in ("softmax", "_softmax", "_safe_softmax")},
    **{
        f"aten::{name}": _same
        for name in (
            *("contiguous", "clone", "detach", "alias", "lift_fresh", "to", "_to_copy"),
            *("float", "double", "half", "bfloat16"),
        )
    },
    **{
        f"aten::{name}": _regrouped
        for name in (
            *("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"),
        )
    },
    **{f"aten::{name}": _other_leading for name in ("expand", "permute", "transpose", "movedim")},
}
"""What is done to each pair; any other operation that is pointwise is a function of a score."""
