"""A layout with one thing changed, and all others as they were."""

from __future__ import annotations

from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Gone, Layout
from shiftcheck.report.causes import Cause

ROW, COLUMN = input_axis(6, circular=False), input_axis(5, circular=False)
LAYOUT = Layout(
    (plain(3), (Factor("axis", 6, 0),), (Factor("axis", 5, 1),)),
    (ROW, COLUMN),
    (Cause(kind="STRIDE"),),
)


def test_another_state_of_one_axis_leaves_the_rest() -> None:
    gone = Gone(exact=True)
    out = LAYOUT.with_state(0, gone)
    assert out.axes == (gone, COLUMN)
    assert (out.dims, out.causes) == (LAYOUT.dims, LAYOUT.causes)
    assert LAYOUT.axes == (ROW, COLUMN)


def test_other_factors_along_a_dimension_leave_all_states() -> None:
    for dim in (1, -2):
        out = LAYOUT.with_factors(dim, plain(4))
        assert out.shape == (3, 4, 5)
        assert (out.axes, out.causes) == (LAYOUT.axes, LAYOUT.causes)
