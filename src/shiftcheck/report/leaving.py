"""What is said where values leave the operations that are followed, and how that is told."""

from __future__ import annotations

from shiftcheck.report import Cause

FOLLOWS = "what follows may depend on it"
"""How every detail ends that says so: the cause of a leak is known by it."""

READ = f"a value is read from a tensor: {FOLLOWS}"
SIZED = f"the size of its result depends on values: {FOLLOWS}"
RAISED = f"it raised on these values and the model went on: {FOLLOWS}"
ELSEWHERE = f"a tensor is used in another thread: {FOLLOWS}"
UNKNOWN = f"a tensor of unknown origin: {FOLLOWS}"


def is_leak(cause: Cause) -> bool:
    """Whether a cause says that values were not followed, and not that an operation is unknown."""
    return cause.kind == "UNSUPPORTED_OP" and cause.detail.endswith(FOLLOWS)
