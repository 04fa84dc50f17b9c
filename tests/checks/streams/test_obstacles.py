"""What the causes of layers mean for a stream: each layer once, with what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcheck.checks.streams.obstacles import needs_of
from shiftcheck.lattice.axis import Axis, input_axis
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.report.streams import Memory
from shiftcheck.tracing.traced import Row


def axis(*, past: bool) -> Axis:
    plain = input_axis(8, circular=False)
    if not past:
        return plain
    return Axis(
        pixels=8,
        stride=plain.stride,
        lattice=1,
        first=np.array([-np.inf]),
        last=np.array([0.0]),
        valid=np.zeros(8, bool),
    )


def row(name: str, causes: tuple[Cause, ...], *, past: bool) -> Row:
    layout = Layout(((Factor("axis", 8, 0),),), (axis(past=past),), causes=causes)
    return Row(name=name, op=name, layout=layout)


def cause(kind: CauseKind, op: str, detail: str = "") -> Cause:
    return Cause(kind=kind, axis=0, layer="there", op=op, detail=detail)


def told(causes: tuple[Cause, ...], *, past: bool) -> list[Memory]:
    there = row("there", causes, past=past)
    return [need.memory for need in needs_of([there], [there], [there], 0, steady=True)]


@pytest.mark.parametrize(
    ("kinds", "op", "past", "memories"),
    [
        ((CauseKind.GLOBAL, CauseKind.MEASURED), "attention", True, [Memory.PAST]),
        ((CauseKind.MEASURED,), "attention", True, [Memory.PAST]),
        ((CauseKind.MEASURED,), "attention", False, [Memory.UNKNOWN]),
        ((CauseKind.MEASURED,), "my_filter", True, [Memory.UNKNOWN]),
        ((CauseKind.MIXING, CauseKind.UNSUPPORTED_OP), "linear", False, [Memory.FIXED_SIZE]),
        (
            (CauseKind.POSITION, CauseKind.UNSUPPORTED_OP),
            "add",
            False,
            [Memory.POSITION, Memory.UNKNOWN],
        ),
    ],
)
def test_a_layer_for_which_no_state_is_enough_is_not_unknown_besides(
    kinds: tuple[CauseKind, ...], op: str, past: bool, memories: list[Memory]
) -> None:
    assert told(tuple(cause(kind, op) for kind in kinds), past=past) == memories
