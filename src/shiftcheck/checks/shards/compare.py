"""Whether what a user makes of shards equals the whole, and why it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.circumstances import circumstances
from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.prepare import dims_without_channels, prepared, read_tolerances
from shiftcheck.checks.seams.digits import with_noise_of
from shiftcheck.checks.seams.running import Values, running
from shiftcheck.checks.seams.vacuity import Seen, on_other_values, spatial_of, why_nothing_is_told
from shiftcheck.checks.shards.cutting import Cut, read_cut
from shiftcheck.checks.shards.guesses import Guesses
from shiftcheck.checks.shards.judging import (
    Output,
    as_one_layer,
    as_rounded,
    exchanged_too_little,
    explained,
    faults_of_layer,
)
from shiftcheck.checks.shards.locating import Located, first_wrong
from shiftcheck.checks.shards.module_calls import by_shard, recorded
from shiftcheck.checks.shards.outputs import Together, agrees, put_together
from shiftcheck.checks.shards.plan import Question, read_question
from shiftcheck.checks.shards.running import Outputs, Ran, ShardRuns, broadcast
from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.axis import Axis
from shiftcheck.lattice.layout import Gone
from shiftcheck.measuring.plan import Model, Plan
from shiftcheck.report.reasons import Reason
from shiftcheck.report.seams import TilesVerdict
from shiftcheck.report.shards import Exchange, ShardedOutput
from shiftcheck.report.shards_compared import (
    MODULES,
    OUTPUTS,
    ShardedComparedOutput,
    ShardedComparison,
    ShardFault,
)
from shiftcheck.tracing.modules import is_leaf

KEPT = ("model", "input_shape", "spatial_dims", "dtype", "versions")


@explaining_errors
def check_sharded(
    model: Model,
    sharded: Callable[..., Any],
    x: Any,
    parts: int,
    axis: int = -1,
    *,
    bounds: Sequence[int] | None = None,
    distributed: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    spatial_dims: Sequence[int] | None = None,
) -> ShardedComparison:
    """Compare what shards give together with what the model gives on the whole.

    Where they differ, the first layer that does is named, with the halo that it was given and the
    one that it needs, as long as the shards run the modules of the model itself. Else the outputs
    alone tell where: that and a few runs of the model say why.

    Args:
        model: any module or callable; it is run in eval mode on all of x, and left as it was found.
        sharded: a callable that takes the list of shards and returns the list of their outputs. It
            may run twice, without gradients. With ``distributed``, it is called on every rank with
            its own shard, and returns its own output; a DTensor stands for its local part.
        x: a tensor or array ``[batch, channels, *spatial]``, or a tuple or dict of arguments. With
            ``distributed``, the same on every rank, or None on all but rank 0.
        parts: how many shards there are; with ``distributed``, as many as ranks.
        axis: the dimension of x that is cut, a spatial one, such as 3 or -1.
        bounds: where each shard begins, in pixels. When left out, as evenly as the period allows.
        distributed: whether ``torch.distributed`` is there and this is called on every rank.
        rtol, atol: what may differ, ``atol + rtol * max|y|`` with the maximum of each channel; both
            or neither. When left out, 64 eps of the type of the model's output.
        spatial_dims: the spatial dimensions of x; all from the third on when left out.

    Returns a record whose verdict is SAME, DIFFERENT with its faults, or INCONCLUSIVE with its
    reason. Outputs that are constant, dead, not finite or random are never the same, and neither is
    anything where shards that exchange nothing give the same, though the model has a halo.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where the model or the sharded callable raises.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 5, padding=2)
        >>> def with_one(shards):
        ...     a, b = shards
        ...     left = net(torch.cat([a, b[..., :1]], -1))[..., :-1]
        ...     return [left, net(torch.cat([a[..., -1:], b], -1))[..., 1:]]
        >>> found = shiftcheck.check_sharded(net, with_one, torch.randn(1, 1, 64), 2)
        >>> found.faults, found.guilty.given, found.guilty.needed
        (('halo too small',), (0, 1), (0, 2))
    """
    tolerances = read_tolerances(rtol, atol) or (None, None)
    if not callable(sharded):
        raise InputError(f"sharded={sharded!r}: give a callable that runs the model on shards")
    x = broadcast(x, parts) if distributed else x
    question = read_question(model, x, parts, axis, spatial_dims)
    cut = (
        question.legal_cut(parts, None)
        if bounds is None
        else read_cut(bounds, question.pixels, parts)
    )
    dims = dims_without_channels(x, spatial_dims)
    given = prepared(model, x, spatial_dims=dims, whole_numbers=True)
    seen = given.seen(given.inputs, x)
    with running(seen.model, sharded, seen.inputs, arrays=False) as runner:
        runs = ShardRuns(
            runner=runner, sharded=sharded, cut=cut, along=question.along, distributed=distributed
        )
        comparison = _Comparison(question=question, runs=runs, cut=cut, tolerances=tolerances)
        found = comparison.judged()
    how = circumstances(Plan(model=seen.model, inputs=seen.inputs))
    return replace(
        found,
        sharded=getattr(sharded, "__name__", type(sharded).__name__),
        notes=(*question.notes, *found.notes, *runner.originals.left),
        **{name: how[name] for name in KEPT},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Comparison:
    """What was asked, and the runs that answer it."""

    question: Question
    runs: ShardRuns
    cut: Cut
    tolerances: tuple[float | None, float | None]

    def judged(self) -> ShardedComparison:
        """The verdict over all outputs, and the first layer that differs."""
        whole, ran = self.runs.runner.on(), self.runs.run()
        if not whole:
            raise ModelError("the model returned no tensor: there is nothing to compare")
        for number, outputs in enumerate(ran.outputs):
            if set(outputs) != set(whole):
                raise ModelError(
                    f"shard {number} returned {_named(outputs)}, and the model {_named(whole)}:"
                    " return for each shard what the model returns"
                )
        together = {name: self._together(name, values, ran) for name, values in whole.items()}
        reasons = self._reasons(whole)
        differing = [
            name
            for name, each in together.items()
            if each.record.verdict is TilesVerdict.DIFFERENT and not reasons[name]
        ]
        located, by_modules = self._located() if differing else ([], False)
        records = [
            self._record(name, each, whole[name], reasons[name], located)
            for name, each in together.items()
        ]
        return self._comparison(records, located, by_modules=by_modules)

    # -- outputs -------------------------------------------------------------------------------

    def _together(self, name: str, values: Values, ran: Ran) -> Together:
        place = self._place(name, values)
        shards = [outputs.get(name) for outputs in ran.outputs]
        lengths = tuple(b - a for a, b in zip(place.bounds, place.bounds[1:], strict=False))
        how = place.dim, lengths, self.tolerances, self._inner(name, place)
        found = put_together(name, values, shards, *how)
        noisier = self._noisier(values, [shard for shard in shards if shard is not None])
        if noisier is None or found.record.faults or found.wrong is None:
            return found
        beside = put_together(name, noisier, shards, *how)
        if beside.record.verdict is TilesVerdict.DIFFERENT:
            return replace(beside, noisier=noisier)
        record = replace(found.record, faults=(ShardFault.PRECISION,), seams=())
        return replace(found, record=record)

    def _noisier(self, whole: Values, shards: Sequence[Values]) -> Values | None:
        """The whole with the noise of the shards, where these are of a coarser type."""
        given = self.tolerances[0] is not None
        return None if given else with_noise_of(whole, shards)

    def _inner(self, name: str, place: ShardedOutput) -> int:
        """The values of an output for each sample of the axis, along its dimension."""
        rows = [row for row in self.question.outputs if row.name == name]
        state = rows[0].layout.axes[self.question.along] if rows else None
        if not place.bounds or not isinstance(state, Axis):
            return 1
        return max(1, place.bounds[-1] // max(1, state.size))

    def _place(self, name: str, values: Values) -> ShardedOutput:
        """Which dimension of an output was cut; where the structure is lost, that of the input."""
        known = {o.name: o for o in self.question.plan(self.cut).outputs}
        found = known.get(name)
        lost = found is None or (found.dim is None and self._is_lost(name))
        if found is not None and not lost:
            return found
        rank, dim = values.array.ndim, self.question.dim
        same = rank == self.runs.runner.inputs.main.tensor.ndim
        if found is not None and not same and self._is_there(name):
            raise ModelError(
                f"{name} holds the axis that is cut in one dimension with others, so that shards of"
                " it cannot be put together: compare the model up to there, or cut another axis"
            )
        return ShardedOutput(name=name, shape=values.array.shape, dim=dim if same else None)

    def _is_lost(self, name: str) -> bool:
        rows = {row.name: row for row in self.question.outputs}
        whole = (Gone, type(None))
        return name not in rows or not isinstance(
            rows[name].layout.axes[self.question.along], whole
        )

    def _is_there(self, name: str) -> bool:
        rows = {row.name: row for row in self.question.outputs}
        return isinstance(rows[name].layout.axes[self.question.along], Axis)

    def _reasons(self, whole: Outputs) -> dict[str, Reason]:
        """Of each output why nothing is told, or NONE."""
        runner = self.runs.runner
        again, other = runner.on(), on_other_values(runner)
        return {
            name: why_nothing_is_told(
                Seen(
                    whole=values,
                    again=again.get(name),
                    other=other.get(name),
                    spatial=_spatial(values, len(runner.inputs.pixels)),
                    signal=runner.inputs.main.tensor,
                    axes=len(runner.inputs.pixels),
                ),
                *self.tolerances,
            )
            for name, values in whole.items()
        }

    def _record(
        self,
        name: str,
        each: Together,
        whole: Values,
        reason: Reason,
        located: Sequence[Located],
    ) -> ShardedComparedOutput:
        record = each.record
        if reason:
            return replace(
                record, verdict=TilesVerdict.INCONCLUSIVE, reason=reason, faults=(), seams=()
            )
        if record.verdict is TilesVerdict.SAME:
            return self._that_would_show(record, whole)
        output = self._output(name, each, whole)
        if record.faults and record.dim is not None:
            return record
        faults = faults_of_layer(located, self.cut, self.question.period)
        found = explained(output, self.question, self.cut)
        if faults and ShardFault.AVERAGED not in found.faults:
            if faults == (ShardFault.PADDING,) and exchanged_too_little(output):
                faults = (ShardFault.HALO,)  # what was exchanged at the input is used up before
            found = replace(found, faults=faults)
        if each.noisier is not None:
            return replace(found, faults=(*found.faults, ShardFault.PRECISION))
        return as_rounded(found, output)

    def _output(self, name: str, each: Together, whole: Values) -> Output:
        names = [row.name for row in self.question.outputs]
        number = names.index(name) if name in names else None
        layer = as_one_layer(self.question, number, name)
        guesses = self._guesses(name, each.record.dim)
        return Output(
            together=each,
            whole=each.noisier or whole,
            layer=layer,
            guesses=guesses,
            tolerances=self.tolerances,
        )

    def _guesses(self, name: str, dim: int | None) -> Guesses | None:
        stride = self._stride(name)
        if dim is None or not stride or stride < 0:
            return None
        known = {o.name: o for o in self.question.plan(self.cut).outputs}
        stride = stride / self._inner(name, known[name])
        return Guesses(
            runner=self.runs.runner,
            name=name,
            cut=self.cut,
            along=self.question.along,
            dim=dim,
            stride=stride,
            period=self.question.period,
        )

    def _that_would_show(
        self, record: ShardedComparedOutput, whole: Values
    ) -> ShardedComparedOutput:
        """The record, inconclusive where a fault of the exchange would not have been seen."""
        needs = {one.layer.exchange for one in self.question.layers} - {Exchange.NOTHING}
        guesses = self._guesses(record.name, record.dim)
        alone = guesses.alone() if needs and guesses is not None else None
        blind = self.runs.parts == 1 or (
            alone is not None
            and alone.shape == whole.array.shape
            and agrees(whole, replace(whole, array=alone), record.dim, self.tolerances)
        )
        if not (needs and blind):
            return record
        return replace(record, verdict=TilesVerdict.INCONCLUSIVE, reason=Reason.SEAMLESS)

    def _stride(self, name: str) -> Fraction | None:
        rows = [row for row in self.question.outputs if row.name == name]
        return getattr(rows[0].layout.axes[self.question.along], "stride", None) if rows else None

    # -- the first layer -----------------------------------------------------------------------

    def _located(self) -> tuple[list[Located], bool]:
        """The first layer that differs, and whether any was seen to run."""
        runner = self.runs.runner
        with recorded(runner.model) as calls:
            runner.on()
        shards = self.runs.run(recording=True)
        paired = by_shard(calls, shards.calls, self.runs.parts)
        model = runner.model
        layers = self.question.layers
        if isinstance(model, torch.nn.Module) and is_leaf(model):  # its rows are functions
            layers = (*layers, self.question.single(type(model).__name__))
        return list(first_wrong(paired, layers, self.cut)), bool(paired)

    def _comparison(
        self,
        records: Sequence[ShardedComparedOutput],
        located: Sequence[Located],
        *,
        by_modules: bool,
    ) -> ShardedComparison:
        verdict, reason = _overall(records)
        differs = verdict is TilesVerdict.DIFFERENT
        faults = [f for f in ShardFault if any(f in record.faults for record in records)]
        first = located[0] if located and differs else None
        notes = (
            (
                f"what {first.guilty.name!r} was given differs already: what comes before it was"
                " not seen to run as a module of the model",
            )
            if first is not None and first.fed_wrong
            else ()
        )
        return ShardedComparison(
            verdict=verdict,
            reason=reason,
            faults=tuple(faults) if differs else (),
            outputs=tuple(records),
            guilty=None if first is None else first.guilty,
            located=MODULES if by_modules else OUTPUTS,
            layers=tuple(
                one.layer.name
                for one in self.question.layers
                if one.layer.exchange is Exchange.STATISTIC or one.layer.exchange.blocks
            ),
            axis=self.question.dim,
            bounds=self.cut,
            period=self.question.period,
            distributed=self.runs.distributed,
            notes=notes,
        )


def _spatial(values: Values, axes: int) -> int:
    """How many axes at the end of an output are spatial; none of what was pooled to one sample."""
    found = spatial_of(values.array.ndim, axes)
    pooled = all(n == 1 for n in values.array.shape[values.array.ndim - found :])
    return 0 if pooled else found


def _named(outputs: Outputs) -> str:
    return ", ".join(outputs) or "no tensor"


def _overall(records: Sequence[ShardedComparedOutput]) -> tuple[TilesVerdict, Reason]:
    for verdict in (TilesVerdict.DIFFERENT, TilesVerdict.INCONCLUSIVE):
        for record in records:
            if record.verdict is verdict:
                return verdict, record.reason
    return TilesVerdict.SAME, Reason.NONE
