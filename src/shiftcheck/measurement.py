"""Running a model on its shifted copies and comparing every layer inside the pass."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from shiftcheck.arrangement import arranged, place_in_tensor, spatial_places, valid_spans
from shiftcheck.between import measure_between, sums_of
from shiftcheck.compare import Base, measure
from shiftcheck.differences import maps
from shiftcheck.errors import InputError, ModelError, ShiftcheckError
from shiftcheck.inputs import Inputs, Shift
from shiftcheck.laws import Laws
from shiftcheck.layout import Signal
from shiftcheck.modules import modules_of
from shiftcheck.products import EPS as PRODUCT_EPS
from shiftcheck.regions import Gap, Map, Plan, Planner, Region, Scene
from shiftcheck.resampling import is_whole
from shiftcheck.rules import BatchCoupledError
from shiftcheck.state import Originals, exchanged, held, weights_of
from shiftcheck.structure import Model, call, check_traced, output_rows, raised
from shiftcheck.trace import OnRow, Row, Traced
from shiftcheck.verdict import APART, IGNORES, UNREAD, UNSTEADY

STACK = {"cpu": 2**20}
LARGE_STACK = 2**22
"""Input values that travel in one pass at most, unless one shift alone needs more.

On a CPU, so few that the activations stay in its cache: there a larger pass is slower.
"""


@dataclass(kw_only=True, eq=False)
class Measured:
    """A row and its gaps so far.

    ``peak``: the largest magnitude of the base. Of an output: how many of its channels are
    ``faint``, and the magnitude of the ``faintest`` of the others.
    """

    row: Row
    gaps: list[Gap] = field(default_factory=list)
    peak: float = 0.0
    channels: int = 0
    faint: int = 0
    faintest: float | None = None

    def see(self, base: Base, *, ends: bool) -> None:
        """Keep what is asked of the base later."""
        self.peak = base.peak
        if ends:
            self.channels, self.faint = base.scales.numel(), base.faint
            self.faintest = base.faintest


@dataclass(kw_only=True, eq=False)
class Job:
    """Everything that one check is about.

    ``circular_padding``: as if whatever pads a circle padded circularly. ``odd``: outputs that no
    signal leads to, with the reason. ``doubt``: why no comparison of this run can be trusted.
    ``dtypes``: of every tensor on the way. ``products``: the coarser types of its products.
    ``alone``: the outputs for x by itself. ``unsure``: in the batch they were as near to these as
    a type that is coarser than float32 can tell.
    """

    model: Model
    inputs: Inputs
    shifts: tuple[Shift, ...]
    seed: int
    layer: str | None
    training: bool
    every_layer: bool
    scene: Scene
    circular_padding: bool = False
    rows: dict[str, Measured] = field(default_factory=dict)
    outputs: dict[str, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    odd: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)
    doubt: str = ""
    dtypes: set[torch.dtype] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    unsure: bool = False
    alone: list[torch.Tensor] = field(default_factory=list)
    plans: dict[Any, Planner] = field(default_factory=dict)
    laws: Laws = field(default_factory=Laws)

    @property
    def between(self) -> bool:
        """Whether some shift is between pixels."""
        return not all(map(is_whole, self.shifts))

    @cached_property
    def first_along(self) -> frozenset[Shift]:
        """For each axis, the first of the shifts that moves only this one."""
        single = {a: s for s in reversed(self.shifts) if (a := _only_axis(s)) is not None}
        return frozenset(single.values())

    def planner(self, signal: Signal) -> Planner:
        """The plans of a signal, kept as long as the same geometry comes again."""
        dims = tuple(tuple((f.kind, f.size, f.axis) for f in dim) for dim in signal.dims)
        key = (dims, tuple(map(id, signal.axes)))
        if key not in self.plans:
            self.plans[key] = Planner(signal, self.scene)
        return self.plans[key]

    def fresh(self) -> Job:
        """The same job with nothing measured yet."""
        empty: dict[str, Any] = {"rows": {}, "outputs": {}, "plans": {}, "laws": Laws()}
        empty |= {"dtypes": set(), "products": set(), "unsure": False}
        return replace(self, notes=[], odd=[], alone=[], doubt="", **empty)

    @property
    def eps(self) -> float:
        """That of the coarsest type on the way, or of the input."""
        types = (*self.dtypes, self.inputs.main.tensor.dtype)
        return max([*map(eps_of, types), *(PRODUCT_EPS[name] for name in self.products)])


def plain_job(
    model: Model,
    inputs: Inputs,
    shifts: tuple[Shift, ...],
    scene: Scene,
    *,
    layer: str | None,
    seed: int,
) -> Job:
    """A job about the outputs of a model in eval mode."""
    return Job(
        model=model,
        inputs=inputs,
        shifts=shifts,
        seed=seed,
        layer=layer,
        training=False,
        every_layer=False,
        scene=scene,
    )


def _only_axis(shift: Shift) -> int | None:
    moved = [a for a, v in enumerate(shift) if v]
    return moved[0] if len(moved) == 1 else None


def run_all(job: Job, originals: Originals, max_batch: int | None, progress: bool) -> None:
    """Measure every layer at every shift, stacked, or one by one where the copies interfere."""
    chunks = chunks_of(job, max_batch)
    try:
        run_alone(job, originals)
        for chunk in _tracked(chunks, progress):
            _run_chunk(job, chunk, originals)
        return
    except BatchCoupledError as error:
        reason = str(error)
    except (ModelError, InputError):
        if len(job.shifts) == 0:
            raise
        reason = "the model raises on a batch of copies"
    job.rows.clear()
    job.outputs.clear()
    job.doubt, job.unsure = job.doubt if job.doubt == UNSTEADY else "", False
    _run_one_by_one(job, originals, progress)
    job.notes.append(f"the copies ran one at a time: {reason}")


def run_alone(job: Job, originals: Originals) -> None:
    """Keep the outputs for x by itself: in the batch, the base must come out the same.

    What a model keeps must not come from what it saw before: it must give the same again, also
    after a shifted signal.
    """
    zero = (0,) * len(job.inputs.pixels)
    before, state = _drawn_by_others(), held(modules_of(job.model))
    traced = _plain_run(job, originals, 0.0)
    job.alone = [tensor for _, tensor, _ in traced.outputs]
    random_ones = _drawn_by_others() != before
    keeps = held(modules_of(job.model)) != state
    if keeps and job.shifts:
        originals.rewind()
        _plain_run(job, originals, 0.0, job.shifts[0])
    if random_ones or keeps:
        for _ in range(REPEATS if random_ones else 1):
            again = _plain_run(job, originals, 0.0)
            compare_alone(job, [t for _, t, _ in again.outputs], UNSTEADY, originals)
    rank, lead = len(zero) + 2, "output"
    for path, shape in traced.ignoring:
        if len(shape) >= rank:
            job.odd.append((lead + path, shape, IGNORES))
    job.odd += [(lead + path, (), UNREAD) for path, _ in traced.unknown]


REPEATS = 8
"""How often a model that draws Python's or NumPy's random numbers must give the same again."""


def _drawn_by_others() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))


def _plain_run(job: Job, originals: Originals, noise: float, shift: Shift | None = None) -> Traced:
    """The model on x by itself; with ``noise``, every value of x is off by about so much."""
    shift = shift or (0,) * len(job.inputs.pixels)
    with job.inputs.without_gradients():
        values = job.inputs.shifted(shift, job.seed)
        if noise:
            values = [_perturbed(v, noise) for v in values]
        known = job.circular_padding  # which dimensions are circles tells the geometry
        return guarded(job, values, 1, originals, lambda row, tensor: None, geometry=known)


def _perturbed(value: Any, noise: float) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    signs = torch.randint_like(value, 2) * 2 - 1
    return value * (1 + noise * signs)


def noise_floor(job: Job, originals: Originals) -> dict[str, float]:
    """How far each output moves when every value of x and of the weights is off by one eps.

    The eps is that of the coarsest type on the way.

    Nothing is known, and so nothing is forgiven, where the same x gives something else again.
    """
    plain, again = _plain_run(job, originals, 0.0), _plain_run(job, originals, 0.0)
    if not _same(plain, again):
        return {}
    floor = dict.fromkeys((row.name for row in output_rows(plain)), 0.0)
    for _ in range(2):
        with exchanged(weights_of(modules_of(job.model)), partial(_perturbed, noise=job.eps)):
            off = _plain_run(job, originals, job.eps)
        for row, (_, one, _), (_, two, _) in zip(
            output_rows(plain), plain.outputs, off.outputs, strict=True
        ):
            dense = one.layout == torch.strided and one.is_floating_point()
            if dense and one.shape == two.shape and one.numel():
                floor[row.name] = max(floor[row.name], float((one - two).abs().max()))
    return floor


def eps_of(dtype: torch.dtype) -> float:
    """The distance from 1 to the next larger number of a type; 0 for whole numbers."""
    floating = dtype.is_floating_point or dtype.is_complex
    return float(torch.finfo(dtype).eps) if floating else 0.0


def _same(one: Traced, other: Traced) -> bool:
    pairs = zip([t for _, t, _ in one.outputs], [t for _, t, _ in other.outputs], strict=False)
    equal = all(a.shape == b.shape and _close(a, b, 0.0) for a, b in pairs)
    return equal and len(one.outputs) == len(other.outputs)


def compare_alone(
    job: Job, outputs: Sequence[torch.Tensor], doubt: str, originals: Originals
) -> None:
    """Set the doubt where an output is not what it was for x by itself, beyond its noise."""
    if len(outputs) != len(job.alone):
        job.doubt = job.doubt or doubt
        return
    far = [
        i
        for i, (again, alone) in enumerate(zip(outputs, job.alone, strict=True))
        if again.shape != alone.shape or not _close(again, alone, 0.0)
    ]
    if not far:
        return
    floors = list(noise_floor(job, originals).values())
    for i in far:
        same = outputs[i].shape == job.alone[i].shape and i < len(floors)
        if not same or not _close(outputs[i], job.alone[i], NOISE_MARGIN * floors[i]):
            job.doubt = job.doubt or doubt
    job.unsure = job.unsure or job.eps > SINGLE


SINGLE = 2.0**-23
"""The epsilon of float32."""

NOISE_MARGIN = 32.0
"""A gap of so many times the noise floor is still noise."""


def _close(one: torch.Tensor, other: torch.Tensor, noise: float) -> bool:
    if one.layout != torch.strided or one.is_complex() or not one.is_floating_point():
        return one.layout != torch.strided or bool(torch.equal(one, other))
    scale = float(other.nan_to_num().abs().max()) if other.numel() else 0.0
    slack = 64 * torch.finfo(one.dtype).eps * scale
    return bool(torch.allclose(one, other, rtol=0.0, atol=slack + noise, equal_nan=True))


def _tracked(chunks: Sequence[Any], progress: bool) -> Any:
    if not progress:
        return chunks
    from rich.progress import track

    return track(chunks, description="shifts")


def chunks_of(job: Job, max_batch: int | None) -> list[tuple[Shift, ...]]:
    """The shifts of each pass, about as many in each."""
    values = sum(t.numel() for t in job.inputs.tensors)
    room = STACK.get(job.inputs.main.tensor.device.type, LARGE_STACK)
    most = max(1, room // max(values, 1) - 1)
    most = most if max_batch is None else min(most, max_batch - 1)
    passes = max(1, math.ceil(len(job.shifts) / most))
    most = max(1, math.ceil(len(job.shifts) / passes))
    return [job.shifts[i : i + most] for i in range(0, len(job.shifts), most)]


def _run_chunk(job: Job, chunk: Sequence[Shift], originals: Originals) -> None:
    met: set[str] = set()

    def on_row(row: Row, tensor: torch.Tensor) -> None:
        if job.every_layer:
            met.add(row.name)
            _compare_stacked(job, job.rows, row, tensor, chunk, ends=False)
        elif row.name not in job.rows:
            job.rows[row.name] = Measured(row=row)

    with job.inputs.without_gradients():
        values = job.inputs.stacked(chunk, job.seed)
        traced = guarded(job, values, len(chunk) + 1, originals, on_row)
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            _compare_stacked(job, job.outputs, row, tensor, chunk, ends=True)
        copies = len(chunk) + 1
        bases = [_first_copy(tensor, signal, copies) for _, tensor, signal in traced.outputs]
        compare_alone(job, bases, APART, originals)
    if job.every_layer and met != set(job.rows):
        raise BatchCoupledError("the layers differ from pass to pass")


def guarded(
    job: Job,
    values: list[Any],
    copies: int,
    originals: Originals,
    on_row: OnRow,
    *,
    geometry: bool = True,
) -> Traced:
    """One traced pass; what the model raises gets our sentence above it."""
    rows: list[Row] = []

    def seen(row: Row, tensor: torch.Tensor) -> frozenset[int] | None:
        rows.append(row)
        return on_row(row, tensor)

    shape = tuple(job.inputs.main.tensor.shape)
    try:
        traced = call(
            job.model,
            job.inputs,
            values,
            copies=copies,
            layer=job.layer,
            originals=originals,
            on_row=seen,
            laws=job.laws,
            geometry=geometry,
            circular_padding=job.circular_padding,
        )
    except ShiftcheckError:
        raise
    except Exception as error:
        raise ModelError(raised(error, shape, rows)) from error
    check_traced(traced, job.layer, rows)
    job.dtypes |= traced.dtypes
    job.products |= traced.products
    return traced


def _compare_stacked(
    job: Job,
    into: dict[str, Measured],
    row: Row,
    tensor: torch.Tensor,
    chunk: Sequence[Shift],
    *,
    ends: bool,
) -> None:
    require_copies(row.signal)
    if tensor.layout != torch.strided:
        entry = into.setdefault(row.name, Measured(row=row))
        entry.gaps += [Gap(spatial=False, predicted=False)] * len(chunk)
        return
    whole = arranged(tensor, row.signal, spatial_places(row.signal, len(job.scene.pixels)))
    entry = into.setdefault(row.name, Measured(row=row))
    signal = without_copies(row.signal)
    planner = job.planner(signal)
    base = Base(whole[0], job.scene.tolerance, planner.valid, job.scene.allowed)
    if not entry.gaps:
        entry.see(base, ends=ends)
    plans = [planner.plan(shift) if any(shift) else Gap() for shift in chunk]
    steady = [None if isinstance(p, Gap) or p.between else p for p in plans]
    known = maps(whole[1:], whole[0], steady)
    for shift, placed, part, apart in zip(chunk, plans, whole[1:], known, strict=True):
        entry.gaps.append(_gap_of(job, signal, shift, base, part, placed, ends, apart))


def _first_copy(tensor: torch.Tensor, signal: Signal, copies: int) -> torch.Tensor:
    """What the first of the stacked copies gave; the copies lead their dimension."""
    if tensor.layout != torch.strided:
        return tensor
    dim = next(d for d, fs in enumerate(signal.dims) if any(f.kind == "copies" for f in fs))
    factors = [f.size for f in signal.dims[dim]]
    at = [f.kind for f in signal.dims[dim]].index("copies")
    whole = tensor.unflatten(dim, factors).select(dim + at, 0)
    rest = len(factors) - 1
    first: torch.Tensor = whole.flatten(dim, dim + rest - 1) if rest else whole.unsqueeze(dim)
    return first


def require_copies(signal: Signal) -> None:
    """Raise BatchCoupledError unless one dimension holds the copies, once."""
    if sum(f.kind == "copies" for dim in signal.dims for f in dim) != 1:
        raise BatchCoupledError("a layer mixes the elements of the batch")


def without_copies(signal: Signal) -> Signal:
    """The signal of one of the stacked copies."""
    dims = tuple(tuple(f for f in dim if f.kind != "copies") for dim in signal.dims)
    return replace(signal, dims=dims)


def _gap_of(
    job: Job,
    signal: Signal,
    shift: Shift,
    base: Base,
    copy: torch.Tensor,
    placed: Plan,
    ends: bool,
    apart: Map | None = None,
) -> Gap:
    if isinstance(placed, Gap):
        return placed
    if placed.between:
        gap = measure_between(base, copy, placed, null=ends)
        return _with_place(_with_sums(gap, job, base, copy, placed, ends), signal, shift)
    null = "measure" if ends else "same" if shift in job.first_along else ""
    gap = measure(base, copy, placed, border=job.every_layer, null=null, apart=apart)
    return _with_place(_with_sums(gap, job, base, copy, placed, ends), signal, shift)


def _with_sums(
    gap: Gap, job: Job, base: Base, copy: torch.Tensor, region: Region, ends: bool
) -> Gap:
    how = job.scene.sums
    if not how or not ends or gap.error is None:
        return gap
    return replace(gap, sums=sums_of(base, copy, region, every=how == "all"))


def _with_place(gap: Gap, signal: Signal, shift: Shift) -> Gap:
    if gap.worst is None:
        return gap
    places = spatial_places(signal, len(shift))
    return replace(gap, worst=place_in_tensor(gap.worst, signal, places))


def _run_one_by_one(job: Job, originals: Originals, progress: bool) -> None:
    bases: dict[tuple[str, str], Base] = {}
    zero = (0,) * len(job.inputs.pixels)

    def note(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        places = spatial_places(row.signal, len(zero))
        whole = arranged(tensor, row.signal, places)[0].clone()
        spans = valid_spans(row.signal, len(zero))
        base = Base(whole, job.scene.tolerance, spans, job.scene.allowed)
        into[row.name] = Measured(row=row)
        into[row.name].see(base, ends=kind == "output")
        if kind == "output" or job.every_layer:
            bases[kind, row.name] = base

    with job.inputs.without_gradients():
        values = job.inputs.shifted(zero, job.seed)
        traced = guarded(job, values, 1, originals, lambda r, t: note("row", job.rows, r, t))
        for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
            note("output", job.outputs, row, tensor)
        for shift in _tracked(job.shifts, progress):
            _run_single(job, shift, bases, originals)
        again = job.inputs.shifted(zero, job.seed)
        repeat = guarded(job, again, 1, originals, lambda row, tensor: None)
        job.alone = [tensor for _, tensor, _ in traced.outputs]
        compare_alone(job, [tensor for _, tensor, _ in repeat.outputs], UNSTEADY, originals)


def _run_single(
    job: Job, shift: Shift, bases: dict[tuple[str, str], Base], originals: Originals
) -> None:
    def compare(kind: str, into: dict[str, Measured], row: Row, tensor: torch.Tensor) -> None:
        base = bases.get((kind, row.name))
        if base is None:
            return
        copy = arranged(tensor, row.signal, spatial_places(row.signal, len(shift)))[0]
        if copy.shape != base.values.shape:
            raise ModelError(
                f"{row.name!r} has shape {into[row.name].row.signal.shape} for x and"
                f" {row.signal.shape} for x"
                f" shifted by {shift}: shapes must not depend on the values"
            )
        ends = kind == "output"
        placed = job.planner(row.signal).plan(shift) if any(shift) else Gap()
        gap = _gap_of(job, row.signal, shift, base, copy, placed, ends)
        into[row.name].gaps.append(gap)

    values = job.inputs.shifted(shift, job.seed)
    traced = guarded(job, values, 1, originals, lambda r, t: compare("row", job.rows, r, t))
    for row, (_, tensor, _) in zip(output_rows(traced), traced.outputs, strict=True):
        compare("output", job.outputs, row, tensor)
    expected = len(next(iter(job.outputs.values())).gaps)
    for entry in [*job.outputs.values(), *(job.rows.values() if job.every_layer else ())]:
        if len(entry.gaps) != expected:
            raise ModelError(
                f"{entry.row.name!r} was not met again for x shifted by {shift}: the model takes"
                " another way through its layers for other values"
            )
