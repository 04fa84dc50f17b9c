"""Causes and reasons: one list of each, with their words."""

from __future__ import annotations

import ast
import copy
import json
import pickle
from pathlib import Path

import pytest

import shiftcheck
from shiftcheck import InputError
from shiftcheck.report import Cause, CauseForm, CauseKind, Reason, Report, ShiftResult, Verdict

SOURCES = sorted(Path(shiftcheck.__file__).parent.rglob("*.py"))
REPORT = Path(shiftcheck.__file__).parent / "report"


def test_a_reason_is_its_text_wherever_it_is_shown() -> None:
    reason = Reason.NO_REGION
    assert (f"{reason}", repr(reason), json.dumps(reason)) == (
        "no valid region",
        "'no valid region'",
        '"no valid region"',
    )
    assert reason == "no valid region"
    assert not Reason.NONE


@pytest.mark.parametrize("word", [Reason.DEAD, CauseKind.STRIDE, CauseForm.LEAK])
def test_a_word_is_one_object(word: Reason) -> None:
    assert copy.deepcopy(word) is word
    assert pickle.loads(pickle.dumps(word)) is word


def test_records_take_the_text_of_a_reason() -> None:
    result = ShiftResult(shift=(1,), verdict=Verdict.INCONCLUSIVE, reason="dead output")
    assert result.reason is Reason.DEAD
    assert Cause(kind="STRIDE").kind is CauseKind.STRIDE


def test_texts_that_are_no_reason_are_refused() -> None:
    with pytest.raises(InputError, match="'tired' is none of 'identity shift', "):
        ShiftResult(shift=(1,), verdict=Verdict.INCONCLUSIVE, reason="tired")
    with pytest.raises(InputError, match="'ODD' is none of 'PADDING', "):
        Cause(kind="ODD")


def test_a_report_with_an_unknown_reason_is_not_read() -> None:
    text = Report(verdict=None, reason="", layers=(), outputs=()).to_json()
    with pytest.raises(InputError, match="'tired' is none of"):
        Report.from_json(text.replace('"reason": ""', '"reason": "tired"'))


def test_reasons_that_occur_in_a_check_of_invariance_have_a_hint() -> None:
    assert all(r.hints.invariance != "" for r in Reason)
    assert {Reason.STILL_SPATIAL, Reason.EMPTY} <= {r for r in Reason if r.hints.invariance}


def test_every_kind_of_cause_has_a_meaning() -> None:
    assert all(kind.meaning for kind in CauseKind)


def test_each_text_stands_in_one_place() -> None:
    """A reason or a kind that is written out elsewhere would be matched by its text."""
    texts = {str(r) for r in Reason if r} | {str(k) for k in CauseKind}
    for path in SOURCES:
        if path in (REPORT / "reasons.py", REPORT / "causes.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert node.value not in texts, f"{path.name}:{node.lineno}: {node.value!r}"


def test_renderings_decide_by_no_text() -> None:
    """They compare with members of enumerations, never with a string that stands there."""
    for path in (REPORT / "render").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                for side in (node.left, *node.comparators):
                    assert not _is_word(side), f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asked = node.func.attr in ("startswith", "endswith")
                assert not asked, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


ASKED_OF_OTHERS = ("float64", "circular", "valid", "layer")
"""A type, a boundary, the heading of a column: no words of what was found."""


def _is_word(node: ast.expr) -> bool:
    values = node.elts if isinstance(node, ast.Tuple | ast.Set | ast.List) else [node]
    texts = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return any(text and text not in ASKED_OF_OTHERS for text in texts)
