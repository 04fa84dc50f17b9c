"""Remedies of invariance: each line that is shown as one passes when it is pasted."""

from __future__ import annotations

import re

import pytest
import torch
from tests.checks.invariance.networks import classifier, perceptron, signals
from torch import nn

import shiftcheck
from shiftcheck import NotInvariantError
from shiftcheck.report.render import explain_invariance
from shiftcheck.report.render.invariance import contents_of_invariance

X = signals(3, 1, 24, 20)
X *= 1 + 3 * signals(3, 1, 1, 1).abs()
POOLED = classifier(nn.MaxPool2d(2), padding="zeros")


class Placed(nn.Module):
    def forward(self, x):
        return x + torch.arange(x.shape[-2])[:, None] / 10


def remedies(report):
    sentences = contents_of_invariance(report).sentences
    return [sentence for sentence in sentences if sentence.startswith("remedy: ")]


@pytest.mark.parametrize("fill", ["circular", "zeros", "reflect"])
def test_the_bound_in_a_remedy_passes_and_a_smaller_one_does_not(fill):
    report = shiftcheck.check_invariance(POOLED, X, fill=fill)
    (trial,) = [t for t in report.trials if t.max_relative_error is not None]
    text = f"max_relative_error={trial.max_relative_error:g}"
    assert any(text in line for line in remedies(report))
    options = eval(f"dict({text})")
    shiftcheck.assert_invariant(POOLED, X, fill=fill, **options)
    less = 0.98 * report.relative_error
    with pytest.raises(NotInvariantError):
        shiftcheck.assert_invariant(POOLED, X, fill=fill, max_relative_error=less)


def test_the_shifts_in_a_remedy_pass():
    model = classifier(nn.MaxPool2d(2))
    found = re.search(
        r"shifts=(\[[^]]*\])", " ".join(remedies(shiftcheck.check_invariance(model, X)))
    )
    assert found
    shiftcheck.assert_invariant(model, X, shifts=eval(found[1]))


@pytest.mark.parametrize("where", [{"fill": "reflect"}, {"crop": (8, 8)}], ids=str)
def test_the_features_in_a_remedy_move_with_their_input(where):
    report = shiftcheck.check_invariance(POOLED, X, **where)
    assert report.equivariant_features == "4"
    (line,) = [line for line in remedies(report) if "assert_equivariant" in line]
    call = re.search(r"shiftcheck\.assert_equivariant\(.*\)", line)
    assert call
    eval(call[0], {"shiftcheck": shiftcheck, "model": POOLED, "x": X})


@pytest.mark.parametrize(
    ("model", "size"),
    [(perceptron(480, 10), (24, 20)), (classifier(Placed()), (24, 20))],
    ids=["no layer has axes", "a constant of the position"],
)
def test_features_that_do_not_pass_are_no_remedy(model, size):
    report = shiftcheck.check_invariance(model, signals(3, 1, *size), fill="reflect")
    assert report.equivariant_features == ""
    assert "assert_equivariant" not in explain_invariance(report)


def test_the_features_of_other_dimensions_are_named_with_them():
    conv = nn.Conv2d(24, 8, (1, 3), padding=(0, 1))
    model = nn.Sequential(
        nn.Flatten(1, 2), nn.Unflatten(1, (24, 1)), conv, nn.Flatten(), nn.Linear(160, 4)
    )
    report = shiftcheck.check_invariance(model, X, fill="reflect", spatial_dims=(3,))
    assert report.equivariant_features == "2"
    assert any("layer='2', spatial_dims=(3,))" in line for line in remedies(report))


def test_features_that_see_padding_everywhere_are_not_even_run(monkeypatch):
    def refused(*_):
        raise AssertionError

    monkeypatch.setattr("shiftcheck.checks.invariance.remedies.examine", refused)
    report = shiftcheck.check_invariance(POOLED, signals(3, 1, 6, 6), fill="reflect")
    assert report.equivariant_features == ""


def test_a_bound_with_which_nothing_could_be_told_is_no_remedy():
    model = classifier(padding="zeros")
    middle = model(X).mean(0).detach()
    report = shiftcheck.check_invariance(lambda x: (model(x) - middle).sign(), X)
    assert 0 < report.relative_error < 1
    assert all(trial.max_relative_error is None for trial in report.trials)


@pytest.mark.parametrize("fill", ["zeros", "reflect", "replicate", "fresh"])
def test_no_torus_is_offered_where_the_signal_has_edges(fill):
    for bound in (None, 0.05):
        report = shiftcheck.check_invariance(POOLED, X, fill=fill, max_relative_error=bound)
        text = explain_invariance(report)
        assert "torus" not in text
        assert "circular" not in text
        assert "periodic" not in text


def test_circular_padding_is_for_signals_that_are_periodic():
    report = shiftcheck.check_invariance(classifier(padding="zeros"), X)
    lines = [line for line in remedies(report) if "circular" in line]
    assert lines
    assert all("if the signal is periodic" in line for line in lines)


def test_a_model_that_a_shift_changes_as_much_as_a_signal_is_told_so():
    report = shiftcheck.check_invariance(perceptron(480, 10), signals(3, 1, 24, 20))
    assert report.relative_error >= 1
    assert all(trial.max_relative_error is None for trial in report.trials)
    assert "no bound helps" in explain_invariance(report)


def test_a_larger_image_is_never_advised():
    for model in (POOLED, classifier(padding="zeros"), perceptron(480, 10)):
        text = explain_invariance(shiftcheck.check_invariance(model, X, fill="zeros"))
        assert "larger" not in text


def test_a_trial_that_fails_at_once_still_tells_a_remedy_that_works_apart():
    report = shiftcheck.check_invariance(POOLED, X)
    tried = [(t.change.circular_padding, bool(t.change.multiples), t.works) for t in report.trials]
    assert tried[:3] == [(False, True, False), (True, False, False), (True, True, True)]
    assert report.untried == ()


def test_the_shifts_along_one_axis_are_told_once():
    model = classifier(nn.MaxPool1d(2), axes=1)
    (trial, _) = shiftcheck.check_invariance(model, signals(3, 1, 24)).trials
    assert trial.change.shifts == ((2,), (-2,))
