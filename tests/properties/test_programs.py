"""What the library says of random programs against what the middle of their outputs does.

A pass of a program whose middle does not move with the input is false, and so is a break of one
whose middle does. Nobody may say of more than two in a hundred that it cannot tell.
"""

from __future__ import annotations

import pytest
import torch

import shiftcheck
from shiftcheck import Verdict

from .programs import BAD, GLOBAL, GOOD, MARGIN, Program, drawn, largest_gap, signal

SHIFTS = (1, -3, 4)
EXACT, CLEAR = 1e-11, 1e-8
"""A middle that agrees so far moves with the input; beyond this it does not."""


def judged(program):
    x = signal(1)
    report = shiftcheck.check_equivariance(program, x, shifts=[(v,) for v in SHIFTS])
    return report


def compare(seeds):
    """The programs that nothing could be told of; raises AssertionError for what is false."""
    untold, count = [], 0
    for seed in seeds:
        program = drawn(seed)
        gap = largest_gap(program, SHIFTS)
        if EXACT < gap < CLEAR:
            continue
        count += 1
        report = judged(program)
        moves = gap <= EXACT
        false = Verdict.BROKEN if moves else Verdict.EQUIVARIANT
        assert report.verdict is not false, f"{seed}: {program}, gap {gap:.1e}\n{report}"
        tellable = not any(name in GLOBAL for name, _, _ in program.steps)
        if report.verdict is Verdict.INCONCLUSIVE and tellable:
            untold.append((seed, moves, report.reason, program))
    return untold, count


def few(untold, count):
    assert len(untold) <= max(1, 0.02 * count), untold


def test_random_programs(record_property):
    untold, count = compare(range(60))
    record_property("cases", count)
    record_property("untold", len(untold))
    few(untold, count)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(20))
def test_many_random_programs(chunk, record_property):
    untold, count = compare(range(1000 + 210 * chunk, 1000 + 210 * (chunk + 1)))
    record_property("cases", count)
    record_property("untold", len(untold))
    few(untold, count)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("a", range(4))
def test_every_good_step_moves_and_passes(name, a):
    program = Program(((name, a, 3 * a + 1),))
    assert largest_gap(program, SHIFTS) <= EXACT
    assert judged(program).verdict is Verdict.EQUIVARIANT


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("a", range(4))
def test_every_bad_step_breaks_and_is_told(name, a):
    program = Program(((name, a, 3 * a + 1),))
    assert largest_gap(program, SHIFTS) > CLEAR
    assert judged(program).verdict is Verdict.BROKEN


@pytest.mark.parametrize("name", GLOBAL)
def test_a_global_step_never_passes(name):
    program = Program(((name, 5, 0),))
    assert largest_gap(program, SHIFTS) > CLEAR
    assert judged(program).verdict is not Verdict.EQUIVARIANT


def test_the_margin_is_as_wide_as_the_longest_program_sees():
    """Else an edge would be taken for a break."""
    widest = Program(tuple(("on_a_canvas", a, 2) for a in range(4)))
    assert largest_gap(widest, SHIFTS) <= EXACT
    assert signal(1).shape[-1] > 3 * MARGIN


def test_programs_are_the_same_each_time():
    assert drawn(7) == drawn(7)
    assert torch.equal(drawn(7)(signal(3)), drawn(7)(signal(3)))
