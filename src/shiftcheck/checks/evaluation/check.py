"""A model over a whole set of data: the geometry read once, then bare passes on shifted batches."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from _shiftcheck_options import is_number
from shiftcheck.checks.evaluation.accumulators import State
from shiftcheck.checks.evaluation.asked import HALO, Asked
from shiftcheck.checks.evaluation.batches import read_data, selection
from shiftcheck.checks.evaluation.checkpoint import Checkpoint
from shiftcheck.checks.evaluation.item_shifts import ItemShifts
from shiftcheck.checks.evaluation.keys import keys_of, one_key
from shiftcheck.checks.evaluation.pictures import with_pictures
from shiftcheck.checks.evaluation.run import Run, measured
from shiftcheck.checks.evaluation.shards import processes
from shiftcheck.checks.evaluation.summary import MEASURES, corrupt_items, quantity_of
from shiftcheck.checks.figures.edges import check_edges
from shiftcheck.checks.given_model import check_model
from shiftcheck.checks.prepare import check_options, dtype_of
from shiftcheck.errors import InputError
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.canvas import read_fill
from shiftcheck.report.evaluation import EvaluationReport, Shift
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.choosing import parameters_of
from shiftcheck.tracing.torch_internals import uncompiled


def evaluate(
    model: Model,
    loader: Any,
    what: str | Sequence[str] = "equivariance",
    *,
    shifts: Sequence[Any] | None = None,
    draws: int = 4,
    max_shift: int | Sequence[int] | None = None,
    boundary: str | Sequence[str] = "valid",
    fill: str | Sequence[str] | None = None,
    spatial_dims: Sequence[int] | None = None,
    select: Any = None,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
    layer: str | None = None,
    layers: bool = False,
    peak: float | None = None,
    tolerance: float = 0.01,
    items: Sequence[int] | None = None,
    batch_size: int | None = None,
    errors: Literal["count", "raise"] = "count",
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    distributed: bool | None = None,
    timeout: float = 300.0,
    seed: int = 0,
    training: bool = False,
    pictures: bool = False,
    progress: bool | None = None,
) -> EvaluationReport:
    """Measure over a whole set of data how far a model is from moving, or staying, with its input.

    The geometry is read once for each size of the items. Then the model runs bare on batches of
    items, as they are and each under its shifts; what is found is counted and summed, so that the
    memory does not grow with the data.

    Args:
        model: any module or callable; it is left as it was found, and run on its own device.
        loader: a ``DataLoader``, a ``Dataset``, a tensor or array ``[items, channels, *spatial]``,
            or what yields batches. The items of a set of data are looked up by their numbers: in
            which order a loader gives them makes no difference.
        what: one or several of ``"equivariance"`` (the gap of each output, as in
            ``check_equivariance``), ``"eq_t"`` (its squares, as in ``equivariance_metrics``),
            ``"invariance"`` (the distance of outputs without places, as in ``check_invariance``),
            ``"classes"`` (whether the largest score stays the same), ``"class_maps"`` (the share of
            the places whose class is another one than that of the shifted output) and
            ``"effective_halo"`` (how far the unknown outside is felt, as in ``effective_halo``,
            ``draws`` of each side).
        shifts: whole pixels, one tuple for each shift, which every item gets; when left out, each
            gets ``draws`` shifts of its own, which depend on the seed and its number alone.
        draws: how many shifts each item gets.
        max_shift: the largest drawn shift in pixels, once or for each axis; an eighth of the size
            when left out. Where outputs move with the input, whole samples of them are drawn.
        boundary: where outputs move with the input: ``"valid"`` or ``"circular"``, once or for each
            axis; where all are circular there is no edge, and so no effective halo.
        fill: of invariance and classes: what enters, as in ``check_invariance``.
        spatial_dims, fixed, outputs, layer, training: as in ``check_equivariance``.
        select: the model's input in what the data gives: a key, a position, or a function from a
            batch of one item to the arguments. When left out, a tensor itself, the first of several
            parts, and of a dict what the model has names for.
        layers: whether equivariance is measured of every layer, too. The passes are then followed,
            which costs more than bare ones.
        peak: the range that the decibels of EQ-T are relative to; that of all outputs when left
            out.
        tolerance: the relative error, above 0 and below 1, that an effective halo allows.
        items: the numbers of those that are looked at; all when left out.
        batch_size: that of the loader, or 64, when left out.
        errors: where an item raises, ``"count"`` names it in the report and goes on, ``"raise"``
            ends.
        checkpoint: a file in which is kept how far the evaluation has come, so that the same call
            goes on after it was stopped; each of several processes has its own beside it. It is
            deleted at the end.
        checkpoint_every: seconds between two checkpoints.
        distributed: whether the processes of ``torch.distributed`` share the items and all get the
            report of all; where it is initialised, when left out.
        timeout: seconds without a sign of life after which another process counts as lost.
        seed: of the drawn shifts, of fresh content, and of what the data draws.
        pictures: whether small pictures of the worst items, at most eight, are kept in the report,
            for its page; their items are looked up once more at the end.
        progress: show a progress bar; when left out, on a terminal and on runs of some seconds.

    Returns:
        The figures over all items, and the items in which they are worst.

    Raises:
        InputError: for arguments that cannot be used.
        ModelError: where an item raises and ``errors="raise"``, or none can be measured.
        ProcessLostError: where another process failed or is lost.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv2d(1, 2, 3, stride=2, padding=1)
        >>> report = shiftcheck.evaluate(net, torch.rand(20, 1, 16, 18), shifts=[(2, 0), (0, 4)])
        >>> report.items, report["equivariance"].pairs.count
        (20, 40)
    """
    check_options(
        seed=seed, layer=layer, training=training, draws=draws, peak=peak, boundary=boundary
    )
    asked_for = _questions(what)
    if HALO in asked_for:
        check_edges(boundary)
    _positive("checkpoint_every", checkpoint_every, least=0.0)
    _positive("timeout", timeout)
    model = uncompiled(model)
    check_model(model)
    data = read_data(loader, batch_size, items, seed)
    asked = Asked(
        model=model,
        what=asked_for,
        shifts=read_shifts(shifts, draws, max_shift, seed),
        select=selection(select, parameters_of(model)),
        selected=select,
        boundary=boundary,
        fill=read_fill(fill, None),
        spatial_dims=spatial_dims,
        fixed=fixed,
        outputs=outputs,
        layer=layer,
        layers=bool(_flag("layers", layers)),
        seed=seed,
        training=training,
        tolerance=read_share("tolerance", tolerance),
        stop=_one_of("errors", errors, ("count", "raise")) == "raise",
    )
    together = processes(_flag("distributed", distributed, none=True), timeout)
    if data.numbers is None and together.size > 1:
        raise InputError(
            f"loader={type(loader).__name__} yields batches that have no numbers, so"
            f" {together.size} processes cannot share them: give a set of data with an index"
        )
    keys = keys_of(asked, data, select)
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(Path(checkpoint), keys, rank=together.rank, processes=together.size)
    run = Run(
        asked=asked,
        data=data,
        processes=together,
        checkpoint=kept,
        every=checkpoint_every,
        progress=_flag("progress", progress, none=True),
    )
    pictured = _flag("pictures", pictures)
    state = measured(run, one_key(keys))
    report = _report(run, state, peak, one_key(keys))
    if not pictured:
        return report
    return with_pictures(report, loader, asked, stream=data.numbers is None)


def _report(run: Run, state: State, peak: float | None, key: str) -> EvaluationReport:
    """What was kept, as a report."""
    asked, data = run.asked, run.data

    def replay(what: str, item: int, shift: Shift | None) -> str:
        told = f", {what!r}" if what else f", {_shown(asked.what)}, errors='raise'"
        by = "" if shift is None or what == HALO else f", shifts=[{shift}]"
        by += f", draws={asked.shifts.draws}" if what == HALO else ""
        return f"shiftcheck.evaluate(model, data{told}, items=[{item}]{by}{more})"

    more = "".join(f", {name}={value}" for name, value in _keywords(run).items())
    order = {what: i for i, what in enumerate(asked.what)}
    tallies = sorted(state.tallies, key=lambda t: (order[t.what], t.place))
    shifts = asked.shifts
    return EvaluationReport(
        what=asked.what,
        quantities=tuple(quantity_of(tally, replay, peak) for tally in tallies),
        items=state.items,
        pairs=state.pairs,
        corrupt=state.corrupt,
        corrupt_items=corrupt_items(state, replay),
        length=data.length,
        repeated=data.repeated,
        reason=Reason.NONE if state.items else Reason.NO_ITEMS,
        model=getattr(asked.model, "__name__", type(asked.model).__name__),
        input_shapes=state.shapes,
        boundary=_entries(asked.boundary),
        fill=_entries(asked.fill),
        shifts=shifts.given,
        draws=0 if shifts.given else shifts.draws,
        max_shift=shifts.reach or (),
        batch_size=data.batch_size,
        dtype=str(dtype_of(asked.model)).removeprefix("torch."),
        device=str(home_of(asked.model)),
        seed=asked.seed,
        fingerprint=key,
        processes=run.processes.size,
        notes=(*data.notes, *state.notes),
        versions={"torch": torch.__version__, "numpy": np.__version__},
    )


def _keywords(run: Run) -> dict[str, str]:
    """The keywords that were not left out, as they are written in a call."""
    asked = run.asked
    select = asked.selected
    given = {
        "boundary": (asked.boundary, "valid"),
        "fill": (asked.fill, "circular"),
        "spatial_dims": (asked.spatial_dims, None),
        "fixed": (tuple(asked.fixed), ()),
        "outputs": (asked.outputs, None),
        "layer": (asked.layer, None),
        "layers": (asked.layers, False),
        "seed": (asked.seed, 0),
        "training": (asked.training, False),
        "tolerance": (asked.tolerance, 0.01),
        "select": ("" if callable(select) else select, None),
    }
    told = {name: repr(value) for name, (value, usual) in given.items() if value != usual}
    return told | ({"select": "select"} if callable(select) else {})


def _shown(what: tuple[str, ...]) -> str:
    return repr(what[0]) if len(what) == 1 else repr(list(what))


def _entries(kinds: Any) -> tuple[str, ...]:
    return tuple(kinds) if isinstance(kinds, list | tuple) else (kinds,)


def _questions(what: Any) -> tuple[str, ...]:
    asked = (what,) if isinstance(what, str) else tuple(what)
    if not asked or any(w not in MEASURES for w in asked):
        known = ", ".join(map(repr, MEASURES))
        raise InputError(f"what={what!r}: give one or several of {known}")
    return tuple(dict.fromkeys(asked))


def read_shifts(given: Any, draws: int, max_shift: Any, seed: int) -> ItemShifts:
    """The shifts that every item gets, or how each gets its own; raises InputError."""
    if given is None:
        return ItemShifts(seed=seed, draws=draws, reach=_reach(max_shift))
    if max_shift is not None:
        raise InputError(f"shifts={given!r}, max_shift={max_shift!r}: give one of them")
    listed = given.tolist() if isinstance(given, torch.Tensor | np.ndarray) else given
    listed = listed if isinstance(listed, list | tuple) else []
    entries = [tuple(s) if isinstance(s, list | tuple) else (s,) for s in listed]
    whole = all(isinstance(v, int) and not isinstance(v, bool) for s in entries for v in s)
    moving = tuple(dict.fromkeys(s for s in entries if any(s)))
    if not whole or not moving:
        raise InputError(
            f"shifts={given!r}: give a list of shifts by whole pixels that are not all zero, such"
            " as [(1, 0), (0, 1)]; between pixels, equivariance_metrics measures single inputs"
        )
    return ItemShifts(seed=seed, given=moving)


def _reach(max_shift: Any) -> Any:
    if max_shift is None:
        return None
    entries = tuple(max_shift) if isinstance(max_shift, list | tuple) else (max_shift,)
    if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in entries) or (
        not any(entries)
    ):
        raise InputError(f"max_shift={max_shift!r}: give whole pixels, once or for each axis")
    return entries


def _flag(name: str, value: Any, *, none: bool = False) -> Any:
    if not isinstance(value, bool) and not (none and value is None):
        raise InputError(f"{name}={value!r}: give True or False{', or None' if none else ''}")
    return value


def read_share(name: str, value: Any) -> float:
    """A number above 0 and below 1; raises InputError for others."""
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f"{name}={value!r}: give a number above 0 and below 1")
    return float(value)


def _positive(name: str, value: Any, least: float | None = None) -> None:
    if not is_number(value) or value < 0 or (value == 0 and least is None):
        what = "above 0" if least is None else f"of at least {least:g}"
        raise InputError(f"{name}={value!r}: give a number of seconds {what}")


def _one_of(name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise InputError(f"{name}={value!r}: give one of {', '.join(map(repr, known))}")
    return str(value)
