"""What a model raises, and what it returns that cannot be compared, with our sentence on top."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.plan import Plan
from shiftcheck.tracing.leaving.ways_out import OUT, TEXT
from shiftcheck.tracing.traced import Row, Traced

LEAVES_TORCH = ("numpy", "__array__", "__dlpack__")
"""How values leave torch for another library; a single value that is read decides something."""


class ValuesLeftError(ModelError):
    """Values left torch and came back, so no output can be traced to the input.

    ``line``: where in the user's files.
    """

    def __init__(self, message: str, line: str) -> None:
        self.line = line
        super().__init__(message + (f" at {line}" if line else ""))


class NoLayerError(InputError):
    """The layer up to which the model was to run was not met."""


def check_layer(traced: Traced, layer: str | None, rows: Sequence[Row]) -> None:
    """Raise NoLayerError where ``layer`` was not met; ``rows``: of the layers that were."""
    names = [row.name for row in rows]
    if layer is not None and not traced.stopped:
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.3)
        known = (
            f"the nearest names are {', '.join(near)}"
            if near
            else (f"there are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}")
        )
        raise NoLayerError(f"layer={layer!r} was not met in the forward pass; {known}")


def check_traced(traced: Traced, layer: str | None, rows: Sequence[Row]) -> None:
    """Raise NoLayerError where ``layer`` was not met, ModelError where nothing can be compared."""
    check_layer(traced, layer, rows)
    if not traced.outputs and traced.leak in OUT - TEXT:
        raise ValuesLeftError(
            "the model returned no tensor that depends on x: its values left torch by"
            f" {traced.leak}",
            traced.leak_line,
        )
    if not traced.outputs:
        what = "no tensor that depends on x" if traced.ignoring else "no tensor"
        others = next((f"a {kind}, and " for _, kind in traced.unknown), "")
        instead = "; if that is the model, give it itself" if others else ""
        raise ModelError(f"the model returned {others}{what}: there is nothing to compare{instead}")


class RaisedError(ModelError):
    """What the model raised, with our sentence on top, and what it was asked to do.

    ``rows``: the layers that ran before.
    """

    def __init__(self, error: Exception, plan: Plan, rows: Sequence[Row] = ()) -> None:
        self.plan, self.rows = plan, tuple(rows)
        shape = tuple(plan.inputs.main.tensor.shape)
        after = f" after layer {rows[-1].name!r}" if rows else ""
        super().__init__(
            f"the model raised {type(error).__name__} on an input of shape {shape}{after}: {error}"
        )


GRADIENTS = ("does not require grad", "Inference tensors", "inference tensor")
"""Words of torch about a model that needs gradients in its forward, where there are none."""


def needs_gradients(error: ModelError) -> bool:
    """Whether a model failed because it computes gradients in its forward."""
    return any(words in str(error.__cause__) for words in GRADIENTS)
