"""What a cause or a reason means, in a few lines."""

from __future__ import annotations

from difflib import get_close_matches

from shiftcheck.errors import InputError
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.reasons import Reason
from shiftcheck.report.words import Word


def explained(words: str) -> str:
    """The gist of a cause, such as ``STRIDE``, or of a reason, such as ``no valid region``.

    Raises InputError, with the nearest ones, for what is neither.
    """
    known: dict[str, Word] = {str(word).lower(): word for word in (*CauseKind, *Reason) if word}
    asked = " ".join(words.split()).lower()
    spaced = {text.replace("_", " "): word for text, word in known.items()}
    word = known.get(asked) or spaced.get(asked.replace("_", " "))
    if word is not None:
        return _of_cause(word) if isinstance(word, CauseKind) else _of_reason(Reason(word))
    near = get_close_matches(asked, known, n=3, cutoff=0.4) or list(known)
    there = ", ".join(repr(str(known[text])) for text in near)
    raise InputError(f"{words!r} is no cause and no reason: is it one of {there}?")


def _of_cause(kind: CauseKind) -> str:
    lines = [f"{kind}: {kind.meaning}.", f"In short: {kind.plain}."]
    if kind.remedy:
        lines.append(f"What may help: {kind.remedy}.")
    if kind.remedy_of_invariance:
        lines.append(f"Where an output is to stay the same: {kind.remedy_of_invariance}.")
    return "\n".join([*lines, "More: the page 'Causes' of the documentation."])


def _of_reason(reason: Reason) -> str:
    lines = [f"{reason}: {reason.plain}."]
    hints = [hint for hint in dict.fromkeys(reason.hints) if hint]
    lines += [f"What may help: {hint}." for hint in hints]
    return "\n".join([*lines, "More: the page 'Reasons' of the documentation."])
