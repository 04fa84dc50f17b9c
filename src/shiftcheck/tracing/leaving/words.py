"""What is said where values leave the operations that are followed."""

from __future__ import annotations

from shiftcheck.report.causes import Cause, CauseForm, CauseKind

FOLLOWS = "what follows may depend on it"

READ = f"a value is read from a tensor: {FOLLOWS}"
SIZED = f"the size of its result depends on values: {FOLLOWS}"
RAISED = f"it raised on these values and the model went on: {FOLLOWS}"
ELSEWHERE = f"a tensor is used in another thread: {FOLLOWS}"
UNKNOWN = f"a tensor of unknown origin: {FOLLOWS}"


def leak(detail: str) -> Cause:
    """The cause that values were not followed."""
    return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail, form=CauseForm.LEAK)
