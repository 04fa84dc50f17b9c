"""What a layer makes of a signal and of the shifted signal, with where the two can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import prepared
from shiftcheck.errors import InputError
from shiftcheck.lattice.gather import runs
from shiftcheck.measuring.gaps.arrange import arranged, spatial_places
from shiftcheck.measuring.gaps.compare_between import moved
from shiftcheck.measuring.gaps.regions import Placed, Planner, Region, whole_index
from shiftcheck.measuring.layer_gaps import require_copies, without_copies
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.measuring.signals.arguments import Inputs, Leaf, Shift
from shiftcheck.measuring.signals.read_arguments import check_shifts
from shiftcheck.measuring.signals.shifting import shift
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.traced import Row

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """One layer under one shift: what is compared, as arrays ``[channels, *spatial]``.

    ``signal``, ``shifted_signal``: the first element of the batch, before and after the shift.
    ``base``: ``phi(f)``. ``expected``: ``S phi(f)``, NaN where nothing is stored to be moved there.
    ``found``: ``phi(S f)``. ``valid``: for each spatial axis the runs (start, stop) of samples that
    are compared.
    """

    layer: str
    shift: tuple[float, ...]
    signal: Values
    shifted_signal: Values
    base: Values
    expected: Values
    found: Values
    valid: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def difference(self) -> Values:
        """``phi(S f) - S phi(f)``, NaN where nothing is stored to compare with."""
        return self.found - self.expected


@explaining_errors
def feature_maps(
    model: Model,
    x: Any,
    shifts: Sequence[Any],
    layer: str,
    *,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    seed: int = 0,
    fill: str = "fresh",
    between: bool = False,
    elements: int = 1,
) -> tuple[FeatureMaps, ...]:
    """The feature maps of one layer at every shift, in whole pixels, of the first batch element.

    ``fill``: what enters at the border, as in ``shift``. ``between``: where a shift is no whole
    number of samples, move the map between them. ``elements``: of the first few elements of the
    batch, whose channels then follow each other.

    Raises InputError where the layer is unknown, has no spatial axes, or, unless ``between``, a
    shift is no whole number of its samples.
    """
    given = prepared(model, x, boundary, spatial_dims)
    inputs = given.inputs.mapped(lambda leaf: replace(leaf, tensor=leaf.tensor[:elements]))
    chosen = check_shifts(shifts, inputs)
    plan = Plan(
        model=given.seen(inputs, inputs.main.tensor).model,
        inputs=inputs,
        shifts=chosen,
        seed=seed,
        layer=layer,
        between_samples=between,
    )
    seen: list[tuple[Row, torch.Tensor]] = []

    def keep(row: Row, tensor: torch.Tensor) -> None:
        if row.path == layer or row.name == layer:
            seen[:] = [(row, tensor.detach().clone())]

    modules = modules_of(plan.model)
    kept = preserved(modules, inputs.tensors, training=False, model=plan.model)
    with kept as originals, inputs.without_gradients():
        values = _filled(inputs, chosen, fill) if fill != "fresh" else inputs.stacked(chosen, seed)
        Passes(plan, originals).run(values, keep, copies=len(chosen) + 1)
    (row, tensor) = seen[0]
    return _parts(row, tensor, plan, values)


def _parts(
    row: Row, tensor: torch.Tensor, plan: Plan, values: Sequence[Any]
) -> tuple[FeatureMaps, ...]:
    require_copies(row.layout)
    axes = len(plan.zero)
    places = spatial_places(row.layout, axes)
    if len(places) != axes:
        raise InputError(f"layer={plan.layer!r} has no spatial axes: give one before it")
    whole = arranged(tensor, row.layout, places).double().cpu()
    signals = _signals(plan.inputs, values, len(plan.shifts) + 1)
    planner = Planner(without_copies(row.layout), plan.scene)
    parts = []
    for i, by in enumerate(plan.shifts, 1):
        region = planner.region(by)
        if not isinstance(region, Region):
            raise InputError(
                f"shift={by} is no whole number of samples of layer={plan.layer!r}: use multiples"
                " of its stride"
            )
        here, there = whole_index(region)
        expected = torch.full_like(whole[0], torch.nan)
        expected[here] = (
            moved(whole[0], region.along, every=True) if region.between else whole[0][there]
        )
        parts.append(
            FeatureMaps(
                layer=row.name,
                shift=by,
                signal=signals[0],
                shifted_signal=signals[i],
                base=whole[0].numpy(),
                expected=expected.numpy(),
                found=whole[i].numpy(),
                valid=tuple(map(_runs_of, region.along)),
            )
        )
    return tuple(parts)


def _filled(inputs: Inputs, shifts: Sequence[Shift], fill: str) -> list[Any]:
    """The arguments with their copies along the batch, shifted with another fill."""
    zero = (0,) * len(inputs.pixels)

    def copies(leaf: Any) -> Any:
        if not isinstance(leaf, Leaf) or leaf.role == "fixed":
            return leaf.tensor if isinstance(leaf, Leaf) else leaf
        if leaf.role != "shifted":
            return torch.cat([leaf.tensor] * (len(shifts) + 1))
        every = (
            shift(leaf.tensor, inputs.offset_of(leaf, v), fill=fill, spatial_dims=leaf.spatial)
            for v in (zero, *shifts)
        )
        return torch.cat(list(every))

    return [copies(leaf) for leaf in inputs.leaves]


def _signals(inputs: Inputs, values: Sequence[Any], copies: int) -> list[Values]:
    """The first tensor of the arguments, ``[channels, *spatial]``, of the base and each copy."""
    place = next(i for i, leaf in enumerate(inputs.leaves) if leaf is inputs.main)
    last = tuple(range(-len(inputs.main.spatial), 0))
    parts = values[place].chunk(copies)
    ahead = [part[0].movedim([d - 1 for d in inputs.main.spatial], last) for part in parts]
    sizes = [part.shape[-len(last) :] for part in ahead]
    return [p.reshape(-1, *n).double().cpu().numpy() for p, n in zip(ahead, sizes, strict=True)]


def _runs_of(placed: Placed) -> tuple[tuple[int, int], ...]:
    span = placed.valid[0]
    if not isinstance(span, torch.Tensor):
        return ((span[0], span[0] + span[1]),) if span[1] else ()
    mask = np.zeros(int(span.max()) + 1, dtype=bool)
    mask[span.numpy()] = True
    return runs(mask)
