"""Whether values left the operations that are followed, and by which of them."""

from __future__ import annotations

from dataclasses import replace
from types import CodeType

import torch

from shiftcheck.lattice.causes import Site
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.tracing.frames import Frames
from shiftcheck.tracing.leaving.sized_by_values import tensors_deciding
from shiftcheck.tracing.leaving.user_lines import user_line
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import tags_of, without_modes
from shiftcheck.tracing.without_values import shapes_decide, shapes_forbid

FOLLOWS = "what follows may depend on it"

READ = f"a value is read from a tensor: {FOLLOWS}"
SIZED = f"the size of its result depends on values: {FOLLOWS}"
RAISED = f"it raised on these values and the model went on: {FOLLOWS}"
ELSEWHERE = f"a tensor is used in another thread: {FOLLOWS}"
UNKNOWN = f"a tensor of unknown origin: {FOLLOWS}"


def leak(detail: str) -> Cause:
    """The cause that values were not followed."""
    return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail, form=CauseForm.LEAK)


class Leaks:
    """How values left; what was noted first counts, and is the ``cause``."""

    def __init__(self, frames: Frames, memory: TensorMemory, pass_of: CodeType) -> None:
        """``pass_of``: the code that calls the model."""
        self.frames, self.memory, self.pass_of = frames, memory, pass_of
        self.cause: Cause | None = None

    def note(self, layer: str, op: str, detail: str = READ) -> None:
        """Values left in an operation of a layer."""
        self._note(leak(detail), layer, op)

    def _note(self, cause: Cause, layer: str, op: str) -> None:
        if self.cause is None:
            self.cause = replace(cause, layer=layer, op=op, line=user_line(self.pass_of))

    def read(self, op: str) -> None:
        """A value leaves torch, by a way that the dispatcher does not see."""
        outer = self.frames.outer
        self.note(outer.name if outer else op, op)

    def look_at_size(self, operation: Operation, site: Site) -> None:
        """The size of a result that depends on the input is known to Python, as a number is."""
        deciding = tensors_deciding(operation.func, operation.args, operation.kwargs)
        if any(self.memory.layout(t) is not None for t in deciding):
            self.note(site.layer, site.op, SIZED)

    def look_at_unknown_size(self, operation: Operation, site: Site, unknown: Cause) -> None:
        """The size of what has no rule may depend on values, or it may be a value that is read."""
        with without_modes():
            if not shapes_decide(operation.func, operation.args, operation.kwargs):
                reads = torch.Tag.data_dependent_output in tags_of(operation.func)
                self._note(leak(READ) if reads else unknown, site.layer, site.op)

    def look_at_error(self, operation: Operation, site: Site) -> None:
        """The model may catch what an operation raises, and so know of its values."""
        with without_modes():
            if not shapes_forbid(operation.func, operation.args, operation.kwargs):
                self.note(site.layer, site.op, RAISED)
