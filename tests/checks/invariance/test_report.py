"""The records: strict JSON, and what is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tests.checks.invariance.networks import Polyphase, classifier, perceptron, signals
from torch import nn

import shiftcheck
from shiftcheck.report import InvarianceReport
from shiftcheck.report.render import explain_invariance

REPORTS = {
    "pass": lambda: shiftcheck.check_invariance(classifier(), signals(3, 1, 12, 8)),
    "stride": lambda: shiftcheck.check_invariance(
        classifier(nn.MaxPool2d(2), padding="zeros"), signals(1, 1, 12, 8)
    ),
    "bound": lambda: shiftcheck.check_invariance(
        perceptron(96, 10), signals(3, 1, 14, 12), crop=(12, 8), max_relative_error=0.1
    ),
    "measured": lambda: shiftcheck.check_invariance(
        classifier(Polyphase()), signals(3, 1, 12, 8), fill=("zeros", "circular")
    ),
    "nan": lambda: shiftcheck.check_invariance(
        lambda x: (x.mean((2, 3)) / 0, x), signals(3, 1, 12, 8)
    ),
    "three axes": lambda: shiftcheck.check_invariance(
        classifier(axes=3, padding="zeros"), signals(2, 1, 5, 4, 6)
    ),
    "spatial": lambda: shiftcheck.check_invariance(nn.Conv2d(1, 1, 3), signals(3, 1, 12, 8)),
}


@pytest.fixture(params=REPORTS)
def report(request):
    return REPORTS[request.param]()


def test_json_is_strict_and_complete(report):
    def refuse(constant):
        raise AssertionError(constant)

    text = report.to_json()
    assert json.loads(text, parse_constant=refuse)["schema_version"] == 1
    assert InvarianceReport.from_json(text) == report


def test_message_is_short_and_ends_with_the_line_to_reproduce_it(report):
    lines = explain_invariance(report).splitlines()
    assert len(lines) <= 30
    assert all(len(line) <= 100 for line in lines)
    if report.verdict is not shiftcheck.report.InvarianceVerdict.INVARIANT:
        assert any(line.startswith("reproduce: shiftcheck.assert_invariant(") for line in lines)
    assert str(report).startswith(lines[0])


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": "1"}']
)
def test_text_that_is_no_report(text):
    with pytest.raises(shiftcheck.InputError):
        InvarianceReport.from_json(text)


def test_newer_schema_is_refused():
    with pytest.raises(shiftcheck.InputError, match="upgrade"):
        InvarianceReport.from_json('{"schema_version": 2}')


def test_report_of_equivariance_is_no_report_of_invariance():
    other = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.randn(1, 1, 8, 8))
    with pytest.raises(shiftcheck.InputError, match="invariance"):
        InvarianceReport.from_json(other.to_json())


def test_outputs_are_found_by_name():
    report = REPORTS["pass"]()
    assert report["output"] is report.outputs[0]
    with pytest.raises(KeyError, match="there are output"):
        report["logits"]


def test_line_to_reproduce_shows_the_same():
    with pytest.raises(shiftcheck.NotInvariantError) as raised:
        shiftcheck.assert_invariant(
            perceptron(96, 10), signals(3, 1, 14, 12), crop=(12, 8), max_relative_error=0.1
        )
    lines = str(raised.value).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("reproduce: "))
    call = " ".join(line.strip() for line in lines[start:]).removeprefix("reproduce: ")
    scope = {"shiftcheck": shiftcheck, "model": perceptron(96, 10), "x": signals(3, 1, 14, 12)}
    with pytest.raises(shiftcheck.NotInvariantError):
        eval(call, scope)


def test_worst_of_equally_bad_shifts_is_the_smallest():
    output = REPORTS["stride"]().outputs[0]
    same = [replace(s, relative_error=0.5 + 1e-7 * i) for i, s in enumerate(output.moved)]
    assert replace(output, shifts=tuple(same)).worst.shift == (1, 0)


def test_pass_that_was_measured_says_so():
    text = str(shiftcheck.check_invariance(classifier(Polyphase()), signals(3, 1, 12, 8)))
    assert "that other shifts agree was measured" in " ".join(text.split())
    assert "measured" not in str(REPORTS["pass"]())
