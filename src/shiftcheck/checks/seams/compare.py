"""Whether what a user puts together from tiles equals the whole, and why it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import prepared, read_tolerances
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.checks.seams.differences import Along, difference
from shiftcheck.checks.seams.digits import with_noise_of
from shiftcheck.checks.seams.outputs import told
from shiftcheck.checks.seams.running import Runner, Values, running
from shiftcheck.checks.seams.vacuity import Seen, on_other_values, spatial_of, why_nothing_is_told
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult, Report
from shiftcheck.report.reasons import Reason
from shiftcheck.report.seams import ComparedOutput, TiledComparison, TilesVerdict, TilingFault

KEPT = ("model", "input_shape", "spatial_dims", "boundary", "dtype", "versions")


@explaining_errors
def compare_tiled(
    model: Model,
    tiled: Callable[..., Any],
    x: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    boundary: str | Sequence[str] = "valid",
    spatial_dims: Sequence[int] | None = None,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> TiledComparison:
    """Compare what is put together from tiles with what the model gives on the whole.

    Where they differ, the seams are found from the difference, and the structure of the model and
    a few runs of it tell why: an overlap that is too small and by how much, tiles off the grid, a
    layer that sees everything, another continuation at the border, a tile that is missing, turned
    or in another place.

    Args:
        model: any module or callable; it is run in eval mode and left as it was found.
        tiled: a callable that takes what the model takes and runs it tile by tile, in whatever way.
            It is called once, without gradients, on a copy of x: an array where x is one.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments. The
            model has to run on the whole of it.
        rtol, atol: what may differ, ``atol + rtol * max|y|`` with the maximum of each channel; both
            or neither. When left out, 64 eps of the type of the model's output.
        boundary: ``"circular"`` for an image that closes on itself, once or for each spatial axis:
            tiles then have to go on at the other end, and where the circle closes is a seam.
        spatial_dims: the spatial dimensions of x; all from the third on when left out.
        fixed: names or positions of arguments that are no image to be cut, such as a template.
        outputs: names or positions of the outputs that are compared; all when left out. The tiled
            callable returns all outputs of the model, or these alone.

    Returns a record whose verdict is SAME, DIFFERENT with its faults, or INCONCLUSIVE with its
    reason. Outputs that are constant, dead, not finite or random are never the same, and neither is
    anything where the model was called on the whole only.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model or the tiled callable raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 9, padding=4)
        >>> def tiled(x):
        ...     starts = range(0, 64, 16)
        ...     return torch.cat([net(x[..., max(0, s - 3) : s + 19])
        ...                       [..., s and 3 :][..., :16] for s in starts], -1)
        >>> found = shiftcheck.compare_tiled(net, tiled, torch.randn(1, 1, 64))
        >>> found.faults, found.outputs[0].axes[0].lines, found.missing, found.overlap
        (('overlap too small',), (16, 32, 48), ((1, 1),), ((4, 4),))
    """
    tolerances = read_tolerances(rtol, atol)
    if not callable(tiled):
        raise InputError(f"tiled={tiled!r}: give a callable that runs the model tile by tile")
    how: Keywords = {"spatial_dims": spatial_dims, "fixed": fixed, "outputs": outputs}
    given = prepared(model, x, boundary, whole_numbers=True, **how)
    seen = given.seen(given.inputs, x)
    structure, notes = _structure(model, x, {"boundary": boundary, **how})
    arrays = _holds_arrays(x)
    with running(seen.model, tiled, seen.inputs, arrays=arrays) as runner:
        question = _Question(runner, structure, tolerances or (None, None))
        compared = question.outputs()
    verdict, reason = _overall(compared)
    found = [fault for fault in TilingFault if any(fault in o.faults for o in compared)]
    told = circumstances(Plan(model=seen.model, inputs=seen.inputs))
    return TiledComparison(
        verdict=verdict,
        reason=reason,
        faults=tuple(found),
        outputs=compared,
        layers=_seeing_everything(structure),
        tiled=getattr(tiled, "__name__", type(tiled).__name__),
        pieces=tuple(dict.fromkeys(runner.pieces)),
        notes=(*notes, *runner.originals.left),
        **_overlaps(structure, len(seen.inputs.pixels)),
        **{name: told[name] for name in KEPT},
    )


def _holds_arrays(x: Any) -> bool:
    values = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
    return any(isinstance(value, np.ndarray) for value in values)


Keywords = dict[str, Any]


def _structure(model: Model, x: Any, how: Keywords) -> tuple[Report | None, tuple[str, ...]]:
    try:
        return geometry(model, x, **how), ()
    except ModelError as error:
        why = str(error).splitlines()[0]
        return None, (f"the structure of the model could not be read: {why}",)


# -- the structure -----------------------------------------------------------------------------


def _along(output: LayerResult, axis: int, *, circular: bool = False) -> Along:
    return Along(
        circular=circular,
        placement=output.placement[axis] if axis < len(output.placement) else None,
        stride=output.stride[axis],
        period=output.period[axis],
        halo=output.halo[axis],
    )


def _overlaps(structure: Report | None, axes: int) -> dict[str, Any]:
    """The halo, the period and the overlap that would do, for all outputs together."""
    halos: list[tuple[float, float] | None] = []
    periods: list[int | None] = []
    overlaps: list[tuple[int, int] | None] = []
    for axis in range(axes):
        each = [_along(o, axis) for o in (structure.outputs if structure else ())]
        known = [a for a in each if a.halo is not None]
        whole = bool(each) and len(known) == len(each)
        halos.append(
            (max(a.halo[0] for a in known if a.halo), max(a.halo[1] for a in known if a.halo))
            if whole
            else None
        )
        every = [a.period for a in each]
        counted = [p for p in every if p is not None]
        periods.append(math.lcm(*counted) if counted and len(counted) == len(every) else None)
        overlaps.append(_rounded(halos[-1], periods[-1]))
    return {"halo": tuple(halos), "period": tuple(periods), "overlap": tuple(overlaps)}


def _rounded(halo: tuple[float, float] | None, period: int | None) -> tuple[int, int] | None:
    if halo is None or period is None or not all(map(math.isfinite, halo)):
        return None
    left, right = (max(0, math.ceil(h / period) * period) for h in halo)
    return left, right


def _seeing_everything(structure: Report | None) -> tuple[str, ...]:
    """The layers that make the halo endless, the first one where none says so."""
    if structure is None:
        return ()
    guilty = [c.layer for c in structure.causes if c.kind == CauseKind.GLOBAL]
    if guilty:
        return tuple(dict.fromkeys(guilty))
    endless = [
        layer.name
        for layer in structure.layers
        if any(h is not None and not all(map(math.isfinite, h)) for h in layer.halo)
    ]
    return tuple(endless[:1])


# -- the runs ----------------------------------------------------------------------------------


class _Question:
    """What was asked: the runs, and what the structure says of each output."""

    def __init__(
        self,
        runner: Runner,
        structure: Report | None,
        tolerances: tuple[float | None, float | None],
    ) -> None:
        self.runner = runner
        self.rows = {row.name: row for row in structure.outputs} if structure else {}
        self.rtol, self.atol = tolerances

    def outputs(self) -> tuple[ComparedOutput, ...]:
        """Every output of the model, against that of the same name from tiles."""
        whole = self.runner.on()
        if not whole:
            raise ModelError("the model returned no tensor: there is nothing to compare")
        again, other = self.runner.on(), on_other_values(self.runner)
        tiled = self.runner.in_tiles(len(whole))
        if len(tiled) != len(whole):
            raise ModelError(
                f"the tiled callable returned {len(tiled)} outputs, the model {len(whole)}: return"
                " what the model returns"
            )
        pairs = zip(whole.items(), tiled.values(), strict=True)
        return tuple(
            self._output(name, values, from_tiles, again.get(name), other.get(name))
            for (name, values), from_tiles in pairs
        )

    def _output(
        self, name: str, whole: Values, tiled: Values, again: Values | None, other: Values | None
    ) -> ComparedOutput:
        shape, tiled_shape = whole.array.shape, tiled.array.shape
        if shape != tiled_shape:
            return ComparedOutput(
                name=name,
                shape=shape,
                tiled_shape=tiled_shape,
                verdict=TilesVerdict.DIFFERENT,
                faults=(TilingFault.SHAPE,),
            )
        reason = self._reason(whole, again, other)
        if reason:
            return ComparedOutput(
                name=name,
                shape=shape,
                tiled_shape=tiled_shape,
                verdict=TilesVerdict.INCONCLUSIVE,
                reason=reason,
            )
        spatial = self._spatial(len(shape))
        row = self.rows.get(name)
        closes = self.runner.inputs.circular
        along = tuple(
            _along(row, a, circular=closes[a]) if row else Along(circular=closes[a])
            for a in range(spatial)
        )
        return self._told(name, whole, tiled, along)

    def _told(
        self, name: str, whole: Values, tiled: Values, along: tuple[Along, ...]
    ) -> ComparedOutput:
        """The verdict by the noise of the model's type, and the faults besides a coarser one."""
        tolerances = self.rtol, self.atol
        diff = difference(whole, tiled, len(along), *tolerances)
        noisier = None if self.rtol is not None else with_noise_of(whole, [tiled])
        if noisier is None or not diff.wrong.any():
            return told(name, diff, along, self.runner)
        beside = difference(noisier, tiled, len(along), *tolerances)
        if not beside.wrong.any():
            return replace(told(name, diff, (), self.runner), faults=(TilingFault.PRECISION,))
        found = told(name, beside, along, self.runner)
        return replace(found, faults=(*found.faults, TilingFault.PRECISION))

    def _spatial(self, rank: int) -> int:
        return spatial_of(rank, len(self.runner.inputs.pixels))

    def _reason(self, whole: Values, again: Values | None, other: Values | None) -> Reason:
        seen = Seen(
            whole=whole,
            again=again,
            other=other,
            spatial=self._spatial(whole.array.ndim),
            signal=self.runner.inputs.main.tensor,
            axes=len(self.runner.inputs.pixels),
        )
        reason = why_nothing_is_told(seen, self.rtol, self.atol)
        return reason or (Reason.UNCUT if self._uncut() else Reason.NONE)

    def _uncut(self) -> bool:
        """Whether every piece on which the model was seen to be called is as large as the whole."""
        inputs, pieces = self.runner.inputs, self.runner.pieces
        whole = inputs.main.tensor.shape
        return bool(pieces) and all(
            piece[d] >= whole[d] for piece in pieces for d in inputs.main.spatial
        )


def _overall(outputs: Sequence[ComparedOutput]) -> tuple[TilesVerdict, Reason]:
    for verdict in (TilesVerdict.DIFFERENT, TilesVerdict.INCONCLUSIVE):
        for output in outputs:
            if output.verdict is verdict:
                return verdict, output.reason
    return TilesVerdict.SAME, Reason.NONE
