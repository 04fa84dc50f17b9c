"""What a row shows in each column, in words and numbers; the record stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult, Verdict
from shiftcheck.report.reasons import SKIPPED, TOO_FEW, Reason
from shiftcheck.report.render.folding import Group
from shiftcheck.report.render.numbers import each, gap, halo, size, spans

NOT_COMPARED = "not compared"
PARTLY_COMPARED = "partly compared"

OF_THE_TEST = frozenset({*SKIPPED, *TOO_FEW, Reason.NEVER_MOVED})
"""Reasons that lie in the shifts and the size of the input, and say nothing of the layer."""


def verdict_word(row: LayerResult) -> str:
    """The verdict of a row, or that there was nothing, or not enough, to compare it by.

    What is inconclusive for any other reason stays so, as is a layer that has lost its axes other
    than by a mean over all places.
    """
    if row.verdict is None:
        return NOT_COMPARED
    harmless = OF_THE_TEST | {Reason.NOT_SPATIAL} if row.reduced else OF_THE_TEST
    open_ones = [s.reason for s in row.shifts if s.verdict is Verdict.INCONCLUSIVE]
    if row.verdict is not Verdict.INCONCLUSIVE or not harmless.issuperset((row.reason, *open_ones)):
        return str(row.verdict)
    return NOT_COMPARED if all(s.error is None for s in row.shifts) else PARTLY_COMPARED


def common_word(rows: Sequence[LayerResult]) -> str:
    """The word for several rows: the worst verdict that one of them has."""
    words = {verdict_word(row) for row in rows}
    for verdict in (Verdict.BROKEN, Verdict.INCONCLUSIVE):
        if verdict in words:
            return str(verdict)
    return words.pop() if len(words) == 1 else PARTLY_COMPARED


def cells_of(row: LayerResult) -> dict[str, str]:
    """The text of every column of a row."""
    return {
        "layer": row.name,
        "shape": size(row.shape),
        "stride": each(row.stride),
        "period": each(row.period),
        "field": each(row.receptive_field),
        "halo": halo(row.halo),
        "valid": spans(row.valid),
        "error": gap(row.relative_error),
        "border": gap(row.border_error),
        "compared": _compared(row),
        "verdict": verdict_word(row),
        "remarks": "; ".join(_remarks(row)),
        "cause": ", ".join(_why(row)),
    }


def cells_of_group(group: Group) -> dict[str, str]:
    """The cells of a row; of several rows, the geometry of the last and the worst verdict."""
    if len(group.rows) == 1:
        return cells_of(group.last)
    word = common_word(group.rows)
    reasons = (row.reason for row in group.rows if verdict_word(row) == word)
    texts = [*_kinds(group.rows), *list(filter(None, reasons))[:1]]
    return {**cells_of(group.last), "verdict": word, "cause": ", ".join(texts)}


def _compared(row: LayerResult) -> str:
    done = sum(s.error is not None for s in row.shifts)
    return f"{done}/{len(row.shifts)}" if row.shifts else "-"


def _kinds(rows: Iterable[LayerResult]) -> list[str]:
    causes = (cause for row in rows for cause in row.causes)
    return list(dict.fromkeys(c.kind for c in causes if c.kind != CauseKind.MEASURED))


def _why(row: LayerResult, *more: str) -> list[str]:
    """The causes that arise in a row, the reason of its verdict, and whether it was measured."""
    kinds = _kinds([row])
    said = row.reason is Reason.UNSUPPORTED and CauseKind.UNSUPPORTED_OP in kinds
    reason = [row.reason] if row.reason and not said else []
    return [*kinds, *reason, *more, *(["measured"] if row.measured else [])]


def _remarks(row: LayerResult) -> list[str]:
    """The same, and how many shifts fit no sample of it."""
    skipped = sum(s.reason is Reason.OFF_LATTICE for s in row.shifts)
    told = not skipped or row.reason is Reason.OFF_LATTICE
    return _why(row) if told else _why(row, f"{skipped} off the lattice")
