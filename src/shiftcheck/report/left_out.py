"""What a check leaves out where finding it out would cost too much."""

from __future__ import annotations

from shiftcheck.report.words import Word


class LeftOut(Word):
    """A part of the explanation that was not worked out.

    Example:
        >>> import shiftcheck
        >>> str(shiftcheck.report.LeftOut.SMALLEST_INPUT)
        'the smallest input that would do'
    """

    LOCAL_ERRORS = "what each layer does to exactly shifted inputs"
    SMALLEST_INPUT = "the smallest input that would do"
    FURTHER_CHANGES = "further changes"
