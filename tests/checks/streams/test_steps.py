"""Steps that are held against their models: right ones pass, and faults are told apart."""

from __future__ import annotations

import pytest
from tests.networks.streamed import Case, right, wrong

import shiftcheck
from shiftcheck.report import StreamReport

RIGHT, WRONG = dict(right()), dict(wrong())


def found(case: Case) -> StreamReport:
    return shiftcheck.check_streamable(case.step, case.model, case.x, case.chunk, **case.given)


@pytest.mark.parametrize("name", RIGHT)
def test_right_steps_pass(name: str) -> None:
    report = found(RIGHT[name])
    assert (report.verdict, report.faults) == ("same", ()), report


@pytest.mark.parametrize("name", WRONG)
def test_a_fault_is_found_for_its_reason(name: str) -> None:
    report = found(WRONG[name])
    assert (report.verdict, report.faults) == ("different", WRONG[name].faults), report
