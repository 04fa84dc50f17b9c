"""Tensors in the words of the bioimage.io resource description, and what a plan says of them.

Source: the model description 0.5 of ``bioimageio.spec``. The size of an output axis is ``size of
the reference * scale of the reference / scale + offset``, rounded down; ``halo`` samples are cut
off at both of its ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from shiftcheck.errors import InputError
from shiftcheck.report.base import Shown
from shiftcheck.report.tiled_axes import Margins, TiledAxis, TiledOutput
from shiftcheck.report.windows import Cut

SPACE = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
"""The names of spatial axes, by their number."""

TYPES = {
    *("float32", "float64", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
"""The types of values that a description may name."""


@dataclass(frozen=True, kw_only=True)
class DescribedAxis:
    """An axis of a tensor.

    Its size is a fixed ``size``, or ``least`` and any number of ``step`` more, or follows from that
    of the tensor and axis in ``reference``, with an ``offset``. ``scale``: the width of a sample.
    ``halo``: samples that are cut off at both ends.

    Example:
        >>> from shiftcheck.report import DescribedAxis
        >>> DescribedAxis(type="space", id="y", least=32, step=8).to_dict()
        {'type': 'space', 'id': 'y', 'size': {'min': 32, 'step': 8}, 'scale': 1.0}
    """

    type: str
    id: str
    size: int | None = None
    least: int | None = None
    step: int | None = None
    reference: tuple[str, str] | None = None
    offset: int = 0
    scale: float = 1.0
    halo: int = 0

    @property
    def is_batch(self) -> bool:
        """Whether it counts the elements of a batch."""
        return self.type == "batch"

    @property
    def spatial(self) -> bool:
        """Whether it is an axis of space or time."""
        return self.type in ("space", "time")

    def size_for(self, referred: int, scale: float) -> int:
        """The size that follows from ``referred``, that of the axis it refers to, and its scale."""
        return int(referred * scale / self.scale + self.offset)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a description."""
        if self.is_batch:
            return {"type": "batch"}
        found: dict[str, Any] = {"type": self.type, "id": self.id}
        if self.type == "channel":
            return {**found, "channel_names": [f"channel{n}" for n in range(self.size or 0)]}
        if self.reference is not None:
            tensor, axis = self.reference
            found["size"] = {"tensor_id": tensor, "axis_id": axis, "offset": self.offset}
        elif self.least is not None:
            found["size"] = {"min": self.least, "step": self.step}
        else:
            found["size"] = self.size
        if self.spatial:
            found["scale"] = self.scale
        return found | ({"halo": self.halo} if self.halo else {})


@dataclass(frozen=True, kw_only=True)
class DescribedTensor:
    """An input or an output; ``dtype``: of its values.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.tiling(torch.nn.Conv1d(1, 2, 5, padding=2), (1, 1, 400), tile=64)
        >>> [axis.id for axis in plan.to_bioimageio().outputs[0].axes]
        ['batch', 'channel', 'x']
    """

    id: str
    axes: tuple[DescribedAxis, ...]
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a description."""
        axes = [axis.to_dict() for axis in self.axes]
        return {"id": self.id, "axes": axes, "data": {"type": self.dtype}}


@dataclass(frozen=True, kw_only=True)
class TensorsDescription(Shown):
    """The inputs and outputs of a model in the words of bioimage.io, as a plan of tiles has them.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.MaxPool2d(2),
        ...     torch.nn.ConvTranspose2d(4, 1, 2, stride=2),
        ... )
        >>> found = shiftcheck.tiling(net, (1, 1, 1000, 1200), tile=128).to_bioimageio()
        >>> found.to_rdf()["inputs"][0]["axes"][2]
        {'type': 'space', 'id': 'y', 'size': {'min': 6, 'step': 2}, 'scale': 1.0}
        >>> found.to_rdf()["outputs"][0]["axes"][2]["halo"]
        2
    """

    _called: ClassVar[str] = "description of tensors"

    inputs: tuple[DescribedTensor, ...]
    outputs: tuple[DescribedTensor, ...]
    model: str = ""
    notes: tuple[str, ...] = ()
    schema_version: int = 1

    def to_rdf(self) -> dict[str, Any]:
        """``inputs`` and ``outputs`` as they stand in a description."""
        return {
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "outputs": [tensor.to_dict() for tensor in self.outputs],
        }


# -- what a plan says ------------------------------------------------------------------------------


def aligned(pixels: Fraction | int, step: int) -> int:
    """The least whole number of steps that holds so many pixels."""
    return math.ceil(Fraction(pixels) / step) * step


def needed(margins: Margins) -> int:
    """The samples that are wrong at an end of a block, at the worse of both."""
    return max(margins.start, margins.tail)


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A block along an axis: its least size, the step of sizes, and the pixels that are cut off."""

    least: int | None
    step: int
    halo: int


def describe_tensors(cut: Cut, model: str, *, whole: bool) -> TensorsDescription:
    """The tensors of a plan; ``whole``: the model takes one size only.

    Raises InputError where blocks of no size begin on the grid.
    """
    each = range(len(cut.axes))
    blocks = [_block(cut, number, whole=whole) for number in each]
    parts = math.lcm(*(_odd_part(m.stride.denominator) for o in cut.outputs for m in o.margins))
    ids = SPACE.get(len(cut.axes)) or tuple(f"x{n}" for n in each)
    along = [
        DescribedAxis(
            type="space",
            id=name,
            size=axis.pixels if block.least is None else None,
            least=block.least,
            step=None if block.least is None else block.step,
            scale=float(parts),
        )
        for name, axis, block in zip(ids, cut.axes, blocks, strict=True)
    ]
    dtype = cut.dtype if cut.dtype in TYPES else "float32"
    main = DescribedTensor(
        id="input", axes=tuple(_dims(cut.input_shape, cut.spatial_dims, along)), dtype=dtype
    )
    outputs = []
    for output, name in zip(cut.outputs, _names(cut.outputs), strict=True):
        axes = [
            _output_axis(one, m, block, parts)
            for one, m, block in zip(along, output.margins, blocks, strict=True)
        ]
        floating = dtype if dtype.startswith("float") else "float32"
        described = tuple(_dims(output.shape, output.dims, axes))
        outputs.append(DescribedTensor(id=name, axes=described, dtype=floating))
    return TensorsDescription(
        inputs=(main,), outputs=tuple(outputs), model=model, notes=tuple(_notes(cut, blocks))
    )


def _block(cut: Cut, number: int, *, whole: bool) -> _Block:
    axis, each = cut.axes[number], [output.margins[number] for output in cut.outputs]
    if whole or axis.step >= axis.pixels:
        return _Block(least=None, step=axis.step, halo=0)
    halo = aligned(max([Fraction(0), *(needed(m) * m.stride for m in each)]), axis.step)
    left = {(axis.residue + m.extra * m.stride) % axis.step for m in each}
    if left != {0} or axis.residue:
        raise InputError(
            f"the tiles of the plan leave {axis.residue} along axis {number} when divided by"
            f" {axis.step}, and blocks of such a size that lie side by side begin between the"
            f" multiples of {axis.step}: no halo makes them exact; make a plan with a tile that is"
            f" a multiple of {axis.step}, or where the model takes no such size, run"
            " shiftcheck.tiled(model, plan)"
        )
    fewest = max(axis.least, 2 * halo + axis.step + _lost(each, axis))
    least = fewest + (axis.residue - fewest) % axis.step
    return _Block(least=least, step=axis.step, halo=halo)


def _lost(each: Sequence[Margins], axis: TiledAxis) -> int:
    """The pixels by which the outputs of a block are smaller than it."""
    return aligned(max([Fraction(0), *(-m.extra * m.stride for m in each)]), axis.step)


def _odd_part(number: int) -> int:
    while number % 2 == 0:
        number //= 2
    return number


def _output_axis(one: DescribedAxis, m: Margins, block: _Block, parts: int) -> DescribedAxis:
    return DescribedAxis(
        type="space",
        id=one.id,
        size=None if block.least is not None else m.samples,
        reference=("input", one.id) if block.least is not None else None,
        offset=math.ceil(m.extra) if block.least is not None else 0,
        scale=float(m.stride * parts),
        halo=int(block.halo / m.stride),
    )


def _dims(
    shape: Sequence[int], dims: Sequence[int], along: Sequence[DescribedAxis]
) -> Iterator[DescribedAxis]:
    """The axes of a tensor: the first is the batch, and one that is not spatial the channels."""
    spatial = dict(zip(dims, along, strict=True))
    others = [dim for dim in range(1, len(shape)) if dim not in spatial]
    for dim, size in enumerate(shape):
        if dim in spatial:
            yield spatial[dim]
        elif dim == 0:
            yield DescribedAxis(type="batch", id="batch")
        elif len(others) == 1:
            yield DescribedAxis(type="channel", id="channel", size=size)
        else:
            yield DescribedAxis(type="index", id=f"index{dim}", size=size)


def _names(outputs: Sequence[TiledOutput]) -> list[str]:
    """Identifiers made of the places of outputs."""
    found = []
    for output in outputs:
        path = output.name.removeprefix("output")
        inner = re.sub(r"[^a-z0-9_]+", "_", path.lower()).strip("_")
        name = inner if inner[:1].isalpha() else f"output{inner}"
        found.append(name[:32])
    if len(set(found)) < len(found) or "input" in found:
        found = [f"output{number}" for number in range(len(outputs))]
    return found


def _notes(cut: Cut, blocks: Sequence[_Block]) -> list[str]:
    notes = []
    if any(block.halo for block in blocks):
        notes.append(
            "at the border of an image, tools fill in a halo where the model fills in by itself:"
            " there, values differ from those of the whole"
        )
    if any(axis.circular for axis in cut.axes):
        notes.append("no tool goes on at the other end of an image that closes on itself")
    if any(m.extra for output in cut.outputs for m in output.margins):
        notes.append(
            "an output is not a plain multiple or part of the image: tools place it in its middle"
        )
    return notes
