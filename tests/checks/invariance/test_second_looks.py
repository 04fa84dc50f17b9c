"""What is looked at again in float64, and what a trial leaves out: no verdict changes by it."""

from __future__ import annotations

import pytest
import torch
from tests.checks.invariance.networks import classifier, perceptron, signals
from torch import nn

import shiftcheck
from shiftcheck.checks.invariance import examine, remedies
from shiftcheck.report import InvarianceVerdict

X = signals(3, 1, 12, 8)
X *= torch.tensor([1.0, 3.0, 9.0])[:, None, None, None]


class Amplified(nn.Module):
    """Rounding of float32 becomes a gap of some percent; in float64 there is next to none."""

    def __init__(self, inner: nn.Module, share: float = 0.05) -> None:
        super().__init__()
        self.inner, self.share = inner, share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y * (1 + self.share * torch.frac(1e8 * y))


@pytest.fixture
def looks(monkeypatch):
    """The shifts that are looked at again, one entry for each time."""
    seen = []
    inner = examine.gaps_at

    def noted(passes, around, shifts, magnitudes):
        seen.append(tuple(shifts))
        return inner(passes, around, shifts, magnitudes)

    monkeypatch.setattr(examine, "gaps_at", noted)
    return seen


def test_of_many_large_gaps_the_largest_is_looked_at_again(looks):
    report = shiftcheck.check_invariance(perceptron(96, 10), X)
    output = report.outputs[0]
    assert report.verdict is InvarianceVerdict.NOT_INVARIANT
    assert len(looks[0]) == 1
    largest = max(output.moved, key=lambda s: s.gap)
    assert looks[0] == (largest.shift,)
    assert [s.shift for s in output.moved if s.float64_gap is not None] == [largest.shift]
    assert all(s.verdict is InvarianceVerdict.NOT_INVARIANT for s in output.moved)


def test_small_gaps_are_all_looked_at_again(looks):
    weights = 1 + 1e-3 * torch.arange(12)[:, None]
    report = shiftcheck.check_invariance(lambda x: (x.relu() * weights).mean((2, 3)), X)
    gaps = {s.shift: s.gap for s in report.outputs[0].moved if s.gap > s.allowance}
    assert gaps
    assert max(gaps.values()) < examine.COARSEST * 2.0**-23
    assert set(gaps) <= set(looks[0])


def test_where_the_largest_gap_is_rounding_the_others_are_looked_at_too(looks):
    report = shiftcheck.check_invariance(Amplified(classifier()), X)
    output = report.outputs[0]
    large = {s.shift for s in output.moved if s.gap > examine.COARSEST * 2.0**-23}
    assert len(large) > 1
    assert large <= {shift for shifts in looks for shift in shifts}
    assert report.verdict is InvarianceVerdict.INVARIANT


def test_a_trial_ends_at_the_first_shift_that_fails(monkeypatch):
    tried = []
    inner = remedies.examined

    def noted(question, structure, **how):
        findings = inner(question, structure, **how)
        tried.append((len(question.plan.shifts), len(findings.measured.visible)))
        return findings

    monkeypatch.setattr(remedies, "examined", noted)
    report = shiftcheck.check_invariance(classifier(nn.MaxPool2d(2), padding="zeros"), X)
    assert [t.works for t in report.trials][:3] == [False, False, True]
    assert tried == [(5, 1), (len(report.shifts), 1), (5, 5)]


def test_a_trial_that_ended_at_a_gap_of_rounding_goes_on(monkeypatch):
    inner = Amplified(classifier(nn.MaxPool2d(2)), 0.2)
    columns = torch.linspace(0, 1, 8)
    how = []
    known = remedies.examined

    def noted(question, structure, **options):
        how.append(options)
        return known(question, structure, **options)

    monkeypatch.setattr(remedies, "examined", noted)
    report = shiftcheck.check_invariance(
        lambda x: inner(x) + 0.05 * (x.relu() * columns).mean((1, 2, 3))[:, None], X
    )
    multiples = report.trials[0]
    assert multiples.change.multiples == (2, 2)
    assert how[:2] == [{"hasty": True}, {}]
    assert not multiples.works  # the columns break at (0, 2), which comes after (2, 0)


def test_the_copies_go_the_way_of_the_first_pass(monkeypatch):
    passes = []
    inner = shiftcheck.measuring.passes.Passes.run

    def noted(self, values, on_row, **how):
        passes.append(how)
        return inner(self, values, on_row, **how)

    monkeypatch.setattr(shiftcheck.measuring.passes.Passes, "run", noted)
    shiftcheck.check_invariance(classifier(), X)
    assert len(passes) == 1
