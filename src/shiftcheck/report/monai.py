"""A plan of tiles as arguments of MONAI's sliding window."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from shiftcheck.errors import InputError
from shiftcheck.report.base import Shown
from shiftcheck.report.tiled_axes import TiledOutput
from shiftcheck.report.windows import (
    EXPONENTS,
    Cut,
    Interval,
    Span,
    exponent_of,
    found_for_all,
    interval_of,
    weights,
)

TOOL = "MONAI"


@dataclass(frozen=True, kw_only=True)
class MonaiWindows(Shown):
    """Arguments of ``monai.inferers.sliding_window_inference`` that give what the whole does.

    MONAI averages windows where they overlap, their wrong margins too. ``margins``: pixels at both
    ends of a window, along each axis, that therefore weigh ``2 ** -exponent``; no weights are given
    where there are none. ``overlap``: as a share of the window, of which MONAI makes ``interval``,
    the pixels from window to window. ``windows``: how many there are.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 1, 5, padding=2)
        >>> plan = shiftcheck.tiling(model, (1, 1, 200, 300), tile=(64, 100))
        >>> found = plan.to_monai()
        >>> found.roi_size, found.interval, found.margins, found.windows
        ((64, 100), (60, 96), ((2, 2), (2, 2)), 16)
        >>> sorted(found.arguments())
        ['mode', 'overlap', 'roi_size', 'roi_weight_map']
    """

    _called: ClassVar[str] = "record of windows for MONAI"

    roi_size: tuple[int, ...]
    overlap: tuple[float, ...]
    interval: tuple[int, ...]
    margins: tuple[Span, ...]
    exponent: int
    windows: int
    mode: str = "constant"
    model: str = ""
    input_shape: tuple[int, ...] = ()
    dtype: str = ""
    notes: tuple[str, ...] = ()
    schema_version: int = 1

    @property
    def weighted(self) -> bool:
        """Whether windows have margins that must not count."""
        return any(map(any, self.margins))

    def weight_map(self) -> np.ndarray[Any, Any]:
        """How much each place of a window counts, an array of the shape of ``roi_size``."""
        along = [
            weights(size, margins, self.exponent)
            for size, margins in zip(self.roi_size, self.margins, strict=True)
        ]
        return reduce(np.multiply.outer, along)

    def arguments(self) -> dict[str, Any]:
        """The keywords for ``sliding_window_inference``; x, model and batch size come besides."""
        found = {"roi_size": self.roi_size, "overlap": self.overlap, "mode": self.mode}
        return found | ({"roi_weight_map": self.weight_map()} if self.weighted else {})


def monai_windows(cut: Cut, model: str) -> MonaiWindows:
    """The arguments; raises InputError where no arguments of MONAI give the whole."""
    cut.check(TOOL)
    _check_type(cut.dtype)
    _check_outputs(cut)
    _check_residues(cut)
    found: list[Interval] = found_for_all(cut, TOOL, interval_of)
    sizes = tuple(axis.tile for axis in cut.axes)
    return MonaiWindows(
        roi_size=sizes,
        overlap=tuple(along.overlap for along in found),
        interval=tuple(along.interval for along in found),
        margins=tuple(along.margins for along in found),
        exponent=exponent_of(cut.dtype, len(cut.axes)),
        windows=math.prod(len(along.starts) for along in found),
        model=model,
        input_shape=cut.input_shape,
        dtype=cut.dtype,
        notes=tuple(_notes(cut, found)),
    )


def _notes(cut: Cut, found: Sequence[Interval]) -> list[str]:
    notes = [
        f"this holds for images of {' x '.join(str(axis.pixels) for axis in cut.axes)} pixels:"
        " where the last window begins depends on the size; make a plan for each",
        "the model is run as it is: set it to eval mode before",
    ]
    if any(any(along.margins) for along in found):
        notes.append(
            "without roi_weight_map, or with mode='gaussian' instead of it, wrong margins are"
            " averaged with right values, whatever the overlap"
        )
    return notes


def _check_type(dtype: str) -> None:
    if dtype not in EXPONENTS:
        raise InputError(
            f"x is of {dtype}, and MONAI adds up windows in the type of the image, which holds no"
            " weights that are small enough: convert x to float32, and make a plan for it"
        )


def _check_outputs(cut: Cut) -> None:
    """MONAI takes channels second, and resizes the weights from one output to the next."""
    resized = False
    for output in sorted(cut.outputs, key=_order):
        if cut.spatial_dims != output.dims or output.dims != tuple(range(2, len(output.shape))):
            raise InputError(
                f"{output.name} of shape {output.shape} has its places in the dimensions"
                f" {output.dims}: MONAI puts together [batch, channels, *spatial]; permute it in"
                " the model, or run shiftcheck.tiled(model, plan)"
            )
        full = all(
            margins.stride == 1 and not margins.extra
            for margins, axis in zip(output.margins, cut.axes, strict=True)
        )
        if full and resized:
            raise InputError(
                f"{output.name} is as large as the image and comes after a smaller or larger"
                " output, of which MONAI keeps the weights, so that it raises: return it before"
                " the others"
            )
        resized = resized or not full


def _order(output: TiledOutput) -> tuple[str, int]:
    """MONAI takes tensors in their order, and those of a dict by their names."""
    path = output.name.removeprefix("output")
    key = re.fullmatch(r"\['(.*)'\]", path)
    number = re.fullmatch(r"\[(\d+)\]", path)
    if path and key is None and number is None:
        raise InputError(
            f"{output.name} lies in a container inside of another one: MONAI takes a tensor, a"
            " tuple or a dict of tensors; return one of these"
        )
    return (key[1] if key else "", int(number[1]) if number else 0)


def _check_residues(cut: Cut) -> None:
    """All windows have one size, so that the last begins on the grid only if the sizes fit it."""
    for a, axis in enumerate(cut.axes):
        left = (axis.pixels - axis.tile) % axis.step
        if left and not axis.whole:
            near = axis.tile + left
            raise InputError(
                f"tile={cut.tile}: along axis {a} the last of MONAI's windows begins at"
                f" {axis.pixels - axis.tile}, which is no multiple of {axis.step}, where tiles may"
                f" begin: make a plan with a tile of {near}, or for an image of"
                f" {axis.pixels + axis.step - left} pixels"
            )
        for output in cut.outputs:
            margins = output.margins[a]
            if margins.extra or margins.samples * margins.stride != axis.pixels:
                raise InputError(
                    f"{output.name} has {margins.samples} samples for {axis.pixels} pixels along"
                    f" axis {a}, at {margins.stride} pixels for each: MONAI takes sizes of outputs"
                    " for parts or multiples of those of inputs, and would put it wrongly: run"
                    " shiftcheck.tiled(model, plan)"
                )
