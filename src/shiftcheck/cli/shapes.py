"""Shapes that were given without a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from shiftcheck.checks.explained import unexplained
from shiftcheck.checks.prepare import dtype_of
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.cli.options import NO_SHAPE
from shiftcheck.errors import InputError, ShiftcheckError
from shiftcheck.tracing.modules import modules_of

Shape = tuple[int, ...]
Model = Callable[..., Any]

CONVOLUTIONS: dict[type, int] = {
    torch.nn.Conv1d: 1,
    torch.nn.Conv2d: 2,
    torch.nn.Conv3d: 3,
    torch.nn.ConvTranspose1d: 1,
    torch.nn.ConvTranspose2d: 2,
    torch.nn.ConvTranspose3d: 3,
}


def completed(
    model: Model,
    inputs: Sequence[Any],
    spatial_dims: Sequence[int] | None,
    *,
    axes_matter: bool = True,
    any_size: bool = False,
    has_axis: bool = False,
) -> Sequence[Any]:
    """The inputs, with a batch of one before the shapes that the model takes only so.

    ``spatial_dims``: where these were given, shapes are complete. Says on the error output what was
    added; raises InputError where the model takes a shape both ways, if its ``axes_matter``, or
    neither way, where it need not take the size: ``any_size``. ``has_axis``: where an axis is meant
    two sizes may be batch and time.
    """
    shapes = [entry for entry in inputs if isinstance(entry, tuple)]
    short = [shape for shape in shapes if _may_lack_batch(model, shape)]
    if not short:
        return inputs
    whole = [(1, *s) if isinstance(s, tuple) and s in short else s for s in inputs]
    if has_axis and spatial_dims is None and _is_batch_and_time(model, shapes, whole):
        return inputs
    lack = _lack_batch_at_any_size if any_size else _lack_batch
    if spatial_dims is None and lack(model, inputs, whole, short, axes_matter):
        for shape in short:
            print(
                f"shiftcheck: --shape {_written(shape)} has no batch: read as"
                f" {_written((1, *shape))}",
                file=sys.stderr,
            )
        return whole
    for shape in shapes:
        if len(shape) < (3 if spatial_dims is None else 2):
            raise InputError(f"--shape: {_written(shape)!r} {NO_SHAPE}")
    return inputs


def _axes_of(model: Model) -> int | None:
    """The number of spatial axes of all convolutions of a model; None where they do not tell."""
    known = (CONVOLUTIONS.get(type(module)) for module in modules_of(model))
    kinds = {axes for axes in known if axes is not None}
    return kinds.pop() if len(kinds) == 1 else None


def _may_lack_batch(model: Model, shape: Shape) -> bool:
    axes = _axes_of(model)
    return len(shape) < 4 or len(shape) == (axes or 0) + 1


def _lack_batch(
    model: Model,
    given: Sequence[Any],
    whole: Sequence[Any],
    short: Sequence[Shape],
    axes_matter: bool,
) -> bool:
    """Whether the model runs on the shapes with a batch, and not on those that were given."""
    axes = _axes_of(model)
    if axes is not None and all(len(shape) == axes + 1 for shape in short):
        return True
    as_given = _runs(model, given)
    if as_given and axes is not None:
        return False
    with_batch = _runs(model, whole)
    if as_given and with_batch and axes_matter:
        raise _either_way(short[0], "both")
    return with_batch and not as_given


def _lack_batch_at_any_size(
    model: Model,
    given: Sequence[Any],
    whole: Sequence[Any],
    short: Sequence[Shape],
    axes_matter: bool,
) -> bool:
    """The same for shapes whose sizes the model need not take."""
    axes = _axes_of(model)
    if axes is not None:
        return all(len(shape) == axes + 1 for shape in short)
    if all(len(shape) < 3 for shape in short):
        return True
    if _lack_batch(model, given, whole, short, axes_matter):
        return True
    if not _runs(model, given) and not any(isinstance(entry, Path) for entry in given):
        raise _either_way(short[0], "neither at this size")
    return False


def _either_way(shape: Shape, takes: str) -> InputError:
    return InputError(
        f"--shape {_written(shape)} may be batch, channels and one size, or channels and two sizes,"
        f" and the model takes {takes}: write the batch too, --shape {_written((1, *shape))}, or"
        " say that nothing is missing with --spatial-dims 2"
    )


def _is_batch_and_time(model: Model, shapes: Sequence[Shape], whole: Sequence[Any]) -> bool:
    """Whether the model runs on shapes of two sizes as they are, and not on them as channels."""
    if any(len(shape) != 2 for shape in shapes) or _runs(model, whole):
        return False
    return _runs(model, shapes, spatial_dims=(1,))


def _runs(model: Model, inputs: Sequence[Any], spatial_dims: Shape | None = None) -> bool:
    """Whether the structure can be read at these shapes; files are not looked at."""
    shapes = [entry for entry in inputs if isinstance(entry, tuple)]
    least = 3 if spatial_dims is None else 2
    if len(shapes) < len(inputs) or min(map(len, shapes)) < least:
        return False
    signals = tuple(torch.empty(s, dtype=dtype_of(model), device="meta") for s in shapes)
    try:
        with unexplained():
            x = signals if len(signals) > 1 else signals[0]
            geometry(model, x, spatial_dims=spatial_dims)
    except ShiftcheckError:
        return False
    return True


def _written(shape: Shape) -> str:
    return ",".join(map(str, shape))
