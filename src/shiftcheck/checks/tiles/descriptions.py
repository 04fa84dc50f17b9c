"""Whether the inputs and outputs that a description declares are those of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.checks.tiles.plan import tiling
from shiftcheck.checks.tiles.read_rdf import Described, read_rdf
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.bioimageio import DescribedAxis, DescribedTensor, aligned
from shiftcheck.report.descriptions import (
    CheckedInput,
    CheckedOutput,
    DescriptionCheck,
    DescriptionFault,
)
from shiftcheck.report.equivariance import Report
from shiftcheck.report.tiled_axes import Margins
from shiftcheck.report.tiles import TilingPlan

Key = tuple[str, str]
"""A tensor and one of its axes."""

Sizes = Mapping[Key, int]

MOST_SIZES = 9
"""So many of the sizes that are declared for an axis are looked at, from the least on."""

FEW = 3
"""And so many, where all of them are alike to the model."""

LARGER = (4, 16, 64, 256)
"""By so many steps an image is larger than the least one, on which the halo is looked at."""


@explaining_errors
def verify_bioimageio(rdf: Any, model: Model) -> DescriptionCheck:
    """Whether a bioimage.io description is right about sizes, strides and halos of a model.

    The sizes that it allows are given to the model, without values; the sizes of the outputs are
    compared with those that follow from scales and offsets, and the halo with that of the
    structure. Blocks are taken to lie side by side once the halo is cut off, the first one a halo
    before the image.

    Args:
        rdf: the model description of the version 0.5: a file (``rdf.yaml``), what was read from it,
            an object of ``bioimageio.spec``, or what ``to_bioimageio`` of a plan returns.
        model: any module or callable that takes the inputs in their order; it is looked at in eval
            mode, and left as it was found.

    Returns:
        What was looked at, and what is wrong with the description.

    Raises:
        InputError: the description cannot be read, or is of another version.
        ModelError: the model takes none of the sizes that are declared.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Conv2d(1, 1, 9, padding=4)
        >>> rdf = shiftcheck.tiling(model, (1, 1, 99, 99), tile=32).to_bioimageio().to_rdf()
        >>> rdf["outputs"][0]["axes"][3]["halo"] = 3
        >>> found = shiftcheck.verify_bioimageio(rdf, model)
        >>> found.right, found.faults, found.outputs[2].missing
        (False, ('halo too small',), 1)
    """
    return _Question(model, read_rdf(rdf)).answered()


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A run without values: the sizes of the inputs, and what the model made of them."""

    sizes: Sizes
    structure: Report


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """An axis of an input at some of its sizes."""

    key: Key
    seen: tuple[_Seen, ...]
    refused: tuple[int, ...]


class _Question:
    """A model, and what is said of its tensors."""

    def __init__(self, model: Model, told: Described) -> None:
        self.model, self.told = model, told
        spatial = [t for t in told.inputs if any(axis.spatial for axis in t.axes)]
        if not spatial:
            raise InputError("rdf: no input has an axis of space or time")
        self.main = spatial[0]
        self.dims = tuple(n for n, axis in enumerate(self.main.axes) if axis.spatial)
        self.axes = {(t.id, a.id): a for t in told.inputs for a in t.axes}
        self.free = [key for key, axis in self.axes.items() if axis.step is not None]

    def answered(self) -> DescriptionCheck:
        """Everything that is looked at."""
        base, first = self._base()
        self._check_outputs(first.structure)
        periods = {key: self._period(key, first.structure) for key in self.axes}
        tried = [self._tried(key, base, periods[key]) for key in self.free]
        plan, sizes = self._plan(base)
        seen = [first, *(s for each in tried for s in each.seen)]
        outputs = [
            self._output(tensor, number, plan, seen, periods)
            for number, tensor in enumerate(self.told.outputs)
        ]
        flat = tuple(axis for each in outputs for axis in each)
        inputs = tuple(self._input(key, tried, periods[key], plan) for key in self._blocked())
        every = {
            f for each in (*(i.faults for i in inputs), *(o.faults for o in flat)) for f in each
        }
        return DescriptionCheck(
            faults=tuple(fault for fault in DescriptionFault if fault in every),
            inputs=inputs,
            outputs=flat,
            layers=tuple(dict.fromkeys(b.layer or b.op for b in plan.blocking)),
            sizes=sizes,
            model=plan.model,
            notes=plan.notes,
            versions=plan.versions,
        )

    # -- the model at sizes ----------------------------------------------------------------------

    def _sizes(self, steps: Mapping[Key, int]) -> Sizes:
        """The size of each axis of the inputs, so many steps larger than the least."""
        found = {
            key: (axis.least or axis.size or 1) + (axis.step or 0) * steps.get(key, 0)
            for key, axis in self.axes.items()
            if axis.reference is None
        }
        for key, axis in self.axes.items():
            if axis.reference is not None:
                found[key] = self._referred(axis, found, f"{key[0]}.{key[1]}")
        return found

    def _referred(self, axis: DescribedAxis, sizes: Sizes, name: str) -> int:
        reference = axis.reference
        if reference is None or reference not in sizes:
            raise InputError(f"rdf: the size of {name} refers to {reference}, which has none")
        return axis.size_for(sizes[reference], self.axes[reference].scale)

    def _x(self, sizes: Sizes) -> Any:
        """The inputs at sizes, without values."""
        made = []
        for tensor in self.told.inputs:
            shape = [sizes[tensor.id, axis.id] for axis in tensor.axes]
            dtype = getattr(torch, tensor.dtype, None)
            if not isinstance(dtype, torch.dtype):
                raise InputError(f"rdf: {tensor.id} is of {tensor.dtype}, which torch has not")
            made.append(torch.empty(shape, dtype=dtype, device="meta"))
        return made[0] if len(made) == 1 else tuple(made)

    def _seen(self, steps: Mapping[Key, int]) -> _Seen:
        sizes = self._sizes(steps)
        structure = geometry(self.model, self._x(sizes), spatial_dims=self.dims)
        return _Seen(sizes=sizes, structure=structure)

    def _base(self) -> tuple[dict[Key, int], _Seen]:
        """The fewest steps, the same along all axes, with which the model takes the sizes."""
        for number in (*range(MOST_SIZES), *LARGER[1:]) if self.free else (0,):
            steps = dict.fromkeys(self.free, number)
            try:
                return steps, self._seen(steps)
            except ModelError as error:
                raised = error
        raise ModelError(f"the model takes none of the sizes that rdf declares: {raised}")

    def _tried(self, key: Key, base: Mapping[Key, int], period: int | None) -> _Tried:
        """An axis at its sizes from the least on, the others as they are in the base."""
        step = self.axes[key].step or 1
        alike = FEW if period is not None and step % period == 0 else MOST_SIZES
        seen, refused = [], []
        for number in range(alike):
            steps = {**base, key: number}
            try:
                seen.append(self._seen(steps))
            except ModelError:
                refused.append(self._sizes(steps)[key])
        return _Tried(key=key, seen=tuple(seen), refused=tuple(refused))

    def _plan(self, base: Mapping[Key, int]) -> tuple[TilingPlan, tuple[int, ...]]:
        """A plan of tiles of an image that is large enough for them, if any is."""
        for more in LARGER if self.free else (0,):
            sizes = self._sizes({key: number + more for key, number in base.items()})
            plan = tiling(self.model, self._x(sizes), spatial_dims=self.dims)
            if all(axis.step < axis.pixels for axis in plan.axes):
                break
        return plan, tuple(sizes[self.main.id, self.main.axes[d].id] for d in self.dims)

    # -- what follows ----------------------------------------------------------------------------

    def _number(self, key: Key) -> int | None:
        """Which spatial axis of the model an axis of the first image is."""
        ids = [(self.main.id, self.main.axes[d].id) for d in self.dims]
        return ids.index(key) if key in ids else None

    def _period(self, key: Key, structure: Report) -> int | None:
        number = self._number(key)
        if number is None:
            return None
        each = [row.period[number] for row in structure.outputs]
        known = [p for p in each if p is not None]
        return math.lcm(*known) if known and len(known) == len(each) else None

    def _check_outputs(self, structure: Report) -> None:
        """Raise InputError where outputs or their axes are not as many as the model returns."""
        found, told = structure.outputs, self.told.outputs
        if len(found) != len(told):
            raise InputError(
                f"rdf declares {len(told)} outputs, and the model returns {len(found)} that depend"
                " on its input: describe all of them, in their order"
            )
        for row, tensor in zip(found, told, strict=True):
            if len(row.shape) != len(tensor.axes):
                raise InputError(
                    f"rdf: output {tensor.id} has {len(tensor.axes)} axes, and the model returns"
                    f" shape {row.shape}: describe all of its axes, the batch as well"
                )

    def _blocked(self) -> list[Key]:
        """The axes of which blocks may be made: of several sizes, or with a halo."""
        halos = {a.reference for t in self.told.outputs for a in t.axes if a.halo}
        return [key for key in self.axes if key in self.free or key in halos]

    def _output(
        self,
        tensor: DescribedTensor,
        number: int,
        plan: TilingPlan,
        seen: Sequence[_Seen],
        periods: Mapping[Key, int | None],
    ) -> list[CheckedOutput]:
        """Each axis of an output, the batch left out."""
        name = seen[0].structure.outputs[number].name
        row = next((output for output in plan.outputs if output.name == name), None)
        found = []
        for dim, axis in enumerate(tensor.axes):
            if axis.type == "batch":
                continue
            along = row.dims.index(dim) if row is not None and dim in row.dims else None
            sized = self._of_another_size(axis, (number, dim), seen)
            margins = None if row is None or along is None else row.margins[along]
            halo = self._halo(axis, along, margins, plan)
            faults = [DescriptionFault.SIZES] if sized else []
            faults += [halo.fault] if halo.fault else []
            found.append(
                CheckedOutput(
                    tensor=tensor.id,
                    axis=axis.id,
                    halo=axis.halo,
                    needed=halo.needed,
                    enough=halo.enough,
                    scale=None if margins is None else margins.stride,
                    offset=None if margins is None else margins.extra,
                    faults=tuple(faults),
                    **sized,
                )
            )
        return found

    def _of_another_size(
        self, axis: DescribedAxis, place: tuple[int, int], seen: Sequence[_Seen]
    ) -> dict[str, int]:
        """The first size of an output that does not follow from the description."""
        number, dim = place
        for one in seen:
            size = one.structure.outputs[number].shape[dim]
            declared = axis.size
            if axis.reference is not None:
                declared = self._referred(axis, one.sizes, axis.id)
            if declared is not None and declared != size:
                pixels = one.sizes.get(axis.reference or ("", ""))
                given = {} if pixels is None else {"pixels": pixels}
                return {**given, "size": size, "declared": declared}
        return {}

    def _halo(
        self, axis: DescribedAxis, along: int | None, margins: Margins | None, plan: TilingPlan
    ) -> _Halo:
        """What is wrong at the ends of a block, and the halo that would do."""
        key = axis.reference
        blocked = bool(axis.halo) or (key is not None and key in self._blocked())
        if margins is None or along is None:
            unknown = axis.spatial and blocked
            return _Halo(fault=DescriptionFault.ANY_HALO if unknown else None)
        cut = plan.axes[along]
        if cut.step >= cut.pixels or not plan.exact or plan.statistics:
            return _Halo(fault=DescriptionFault.ANY_HALO if blocked else None)
        needed = margins.start, margins.tail
        enough = int(aligned(max(needed) * margins.stride, cut.step) / margins.stride)
        small = blocked and axis.halo < max(needed)
        fault = DescriptionFault.HALO if small else None
        return _Halo(needed=needed, enough=enough, fault=fault)

    def _input(
        self, key: Key, tried: Sequence[_Tried], period: int | None, plan: TilingPlan
    ) -> CheckedInput:
        """An axis of an input of which blocks may be made."""
        axis, number = self.axes[key], self._number(key)
        refused = next((one.refused for one in tried if one.key == key), ())
        least = axis.least or axis.size or 1
        begin, blocks = None, None
        faults = [DescriptionFault.REFUSED] if refused else []
        if number is not None and period is not None and plan.exact:
            halo, lost = self._cut_off(key, number, plan)
            begin, blocks = int(-halo), int(least - 2 * halo + lost)
            grid = (begin, blocks, axis.step or 0)
            faults += [DescriptionFault.GRID] if any(n % period for n in grid) else []
        return CheckedInput(
            tensor=key[0],
            axis=key[1],
            least=least,
            step=axis.step,
            period=period,
            refused=refused,
            blocks=blocks,
            begin=begin,
            faults=tuple(faults),
        )

    def _cut_off(self, key: Key, number: int, plan: TilingPlan) -> tuple[Fraction, Fraction]:
        """The pixels that the declared halo is, and those by which an output is larger anyway."""
        halo = lost = Fraction(0)
        for tensor, row in zip(self.told.outputs, plan.outputs, strict=False):
            for dim, margins in zip(row.dims, row.margins, strict=True):
                axis = tensor.axes[dim]
                if axis.reference == key and row.dims.index(dim) == number:
                    halo = max(halo, axis.halo * margins.stride)
                    lost = margins.extra * margins.stride
        return halo, lost


@dataclass(frozen=True, kw_only=True)
class _Halo:
    """The halo of an axis of an output."""

    needed: tuple[int, int] | None = None
    enough: int | None = None
    fault: DescriptionFault | None = None
