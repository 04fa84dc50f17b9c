"""Blocks of items measured: what each gave, and which could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftcheck.checks.evaluation.accumulators import (
    KEPT_ERRORS,
    Corrupt,
    State,
    Tally,
    merged,
    tally_of,
)
from shiftcheck.checks.evaluation.asked import HALO, MOVING, Asked, Way
from shiftcheck.checks.evaluation.batches import Block, Item
from shiftcheck.checks.evaluation.comparing import Answered, Batch, Moved, Question
from shiftcheck.checks.evaluation.edges_of_items import halo_tallies
from shiftcheck.checks.evaluation.plan import SizePlan, read_size
from shiftcheck.checks.evaluation.questions import OF_LAYERS, QUESTIONS
from shiftcheck.checks.evaluation.stacking import (
    Like,
    alike,
    among,
    joined,
    on_device,
    require_finite,
    signature,
)
from shiftcheck.checks.invariance.measure import differing
from shiftcheck.checks.prepare import prepared
from shiftcheck.errors import InputError, ModelError, ShiftcheckError
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.choose_shifts import input_steps
from shiftcheck.measuring.model_errors import RaisedError, needs_gradients
from shiftcheck.measuring.passes import Passes
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs, Shift
from shiftcheck.measuring.signals.places import Places
from shiftcheck.measuring.signals.read_arguments import check_shifts
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.restoring.state import Originals
from shiftcheck.tracing.rows import tensors_at
from shiftcheck.tracing.traced import Row


@dataclass(frozen=True, kw_only=True, eq=False)
class OneWay:
    """What is known of items of one size that are shifted in one way."""

    way: Way
    size: SizePlan
    places: Places


IN_VAIN = 8
"""So many items are tried, where the model raises on each and has run on none."""

SIZES = 64
"""So many sizes of items are remembered."""


class Measuring:
    """Measures one block after another; ``originals`` puts back what the model writes."""

    def __init__(
        self, asked: Asked, originals: Originals, before_pass: Callable[[], None] = lambda: None
    ) -> None:
        self.asked, self.originals, self.before_pass = asked, originals, before_pass
        self.model = asked.model
        self.home = home_of(asked.model)
        self.gradients = False
        self.failed: list[NamedItemError] | None = []
        self.known: dict[Any, tuple[OneWay, ...]] = {}
        self.template: Inputs | None = None

    def block(self, block: Block) -> State:
        """What is found of all items of a block."""
        parts: list[State] = []
        groups: dict[Any, list[tuple[int, Inputs | Like]]] = {}
        for item in block.items:
            try:
                read = self._read(item)
            except Exception as error:  # whatever it is, the item is named
                if isinstance(error, InputError) and self.template is None:
                    raise
                parts.append(self._corrupt(item.number, "data", error))
                continue
            groups.setdefault(signature(read), []).append((item.number, read))
        for key, group in groups.items():
            parts += self._group(key, group)
        return merged(parts)

    def _corrupt(self, number: int, where: str, error: Exception) -> State:
        named_error = NamedItemError(number, where, error)
        if self.asked.stop:
            raise named_error from error
        if where == "model" and self.failed is not None:
            self.failed.append(named_error)
            if len(self.failed) >= IN_VAIN:
                self.give_up()
        told = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        named = (Corrupt(item=number, where=where, error=told),)
        return State(corrupt=1, corrupt_items=named[:KEPT_ERRORS])

    def _read(self, item: Item) -> Inputs | Like:
        """The arguments of one item; raises what is wrong with them."""
        if item.error is not None:
            raise item.error
        x = self.asked.select(item.value)
        for _, leaf in leaves_of(x):
            if isinstance(leaf, torch.Tensor):
                require_finite(leaf)
        known = self.template
        if known is not None and known.kind == "single" and alike(x, known.main.tensor):
            return Like(known, x)
        given = prepared(
            self.model,
            on_device(x, self.home),
            self.asked.ways[0].boundary,
            self.asked.spatial_dims,
            fixed=self.asked.fixed,
            outputs=self.asked.outputs,
            whole_numbers=True,
        )
        if self.asked.shifts.given:
            check_shifts(self.asked.shifts.given, given.inputs)
        self.asked.shifts.require_axes(len(given.inputs.pixels))
        self.template = given.inputs
        return given.inputs

    def give_up(self) -> None:
        """Raise what the first item raised, where the model could not be run on any."""
        if self.failed:
            raise self.failed[0] from self.failed[0].__cause__

    def _group(self, key: Any, group: Sequence[tuple[int, Inputs | Like]]) -> Iterator[State]:
        """What is found of items of one size; where one raises, of each by itself."""
        numbers = tuple(number for number, _ in group)
        try:
            inputs = joined([read for _, read in group], self.home)
            ways = self._ways(key, joined([group[0][1]], self.home))
            if len(group) == 1 or not any(one.size.alone for one in ways):
                yield self._measured(ways, numbers, inputs)
                return
        except ModelError as error:  # what else is raised is not the model's
            if len(group) == 1:
                yield self._corrupt(numbers[0], "model", error)
                return
        for single in group:
            yield from self._group(key, [single])

    def _ways(self, key: Any, inputs: Inputs) -> tuple[OneWay, ...]:
        """What is known of the size of an item, read off it where nothing is."""
        if key not in self.known:
            if len(self.known) >= SIZES:
                self.known.pop(next(iter(self.known)))
            try:
                self.known[key] = self._looked_at(inputs)
            except ModelError as error:
                if self.gradients or not needs_gradients(error):
                    raise
                self.gradients = True
                self.known[key] = self._looked_at(inputs)
        return self.known[key]

    def _looked_at(self, inputs: Inputs) -> tuple[OneWay, ...]:
        ways = []
        for way in self.asked.ways:
            circular = _circles(way.boundary, len(inputs.pixels))
            mine = replace(inputs, circular=circular, gradients=self.gradients, measured={})
            plan = self._plan(mine, self._first_shift(mine))
            size = read_size(plan, self.originals, layers=self.asked.layers)
            places = Places(mine, lambda i, s, way=way: way.moved(i, s, self.asked.seed))  # type: ignore[misc]
            ways.append(OneWay(way=way, size=size, places=places))
        return tuple(ways)

    def _first_shift(self, inputs: Inputs) -> Shift:
        """A small shift, which tells whether what is beside an item makes a difference to it."""
        given = self.asked.shifts.given
        steps = zip(input_steps(inputs), inputs.pixels, strict=True)
        return given[0] if given else tuple(step if step < n else 0 for step, n in steps)

    def _plan(self, inputs: Inputs, *shifts: Shift) -> Plan:
        return Plan(
            model=self.model,
            inputs=inputs,
            shifts=shifts,
            shifts_given=True,
            seed=self.asked.seed,
            layer=self.asked.layer,
            training=self.asked.training,
            every_layer=self.asked.layers,
        )

    def _measured(self, ways: Sequence[OneWay], numbers: tuple[int, ...], inputs: Inputs) -> State:
        """What is found of items that travel in one batch."""
        first = ways[0].size
        pixels = inputs.pixels
        shifts = [self.asked.shifts.of(n, first.units, pixels) for n in numbers]
        tallies = []
        zero = (0,) * len(pixels)
        base = self._outputs(first, inputs, inputs.shifted(zero, self.asked.seed), len(numbers))
        for one in ways:
            batch = Batch(items=numbers, inputs=inputs, size=one.size)
            questions = _questions(one, batch, base)
            self._moved(one, batch, questions, shifts)
            self.noted([q for _, q in questions])
            tallies += [q.tally(place) for place, (_, q) in enumerate(questions)]
            if HALO in one.way.what:
                tallies += self._halos(one, batch, base)
            tallies += _odd(one, numbers, shifts)
        self.failed = None
        return State(
            items=len(numbers),
            pairs=0 if self.asked.what == (HALO,) else sum(map(len, shifts)),
            shapes=(tuple(inputs.main.tensor.shape[1:]),),
            notes=tuple(sorted({note for one in ways for note in one.size.notes})),
            tallies=tuple(tallies),
        )

    def noted(self, answered: Sequence[Answered]) -> None:
        """What was answered of each item; whoever keeps that writes this anew."""

    def _halos(self, one: OneWay, batch: Batch, base: dict[str, torch.Tensor]) -> list[Tally]:
        """How far the unknown outside is felt in items that travel in one batch."""
        circular = one.size.inputs.circular
        inputs = replace(batch.inputs, circular=circular, gradients=self.gradients, measured={})
        plan = replace(self._plan(inputs), max_batch=self.asked.shifts.draws or 1)
        items = len(batch.items)
        return halo_tallies(
            plan,
            batch,
            base,
            lambda values: self._outputs(one.size, batch.inputs, values, items),
            self.asked.tolerance,
            self.noted,
        )

    def _moved(
        self,
        one: OneWay,
        batch: Batch,
        questions: Sequence[tuple[str, Question]],
        shifts: Sequence[Sequence[Shift]],
    ) -> None:
        """Each item under its first shift, then each under its second, and so on."""
        if not questions:
            return
        blind = all(question.reason for _, question in questions)
        for k in range(max(map(len, shifts), default=0)):
            rows = tuple(r for r, of_item in enumerate(shifts) if len(of_item) > k)
            each = tuple(shifts[r][k] for r in rows)
            moved = Moved(rows=rows, shifts=each, visible=(True,) * len(rows))
            if blind:
                for _, question in questions:
                    question.leave(moved)
                continue
            some = batch.inputs if len(rows) == len(batch.items) else among(batch.inputs, rows)
            values = one.places.moved(some, each)
            if any(what not in MOVING for what in one.way.what):
                moved = replace(moved, visible=tuple(differing(some, values)))
            given = self._outputs(one.size, some, values, len(rows))
            for name, question in questions:
                question.add(moved, given[name])

    def _outputs(
        self, size: SizePlan, inputs: Inputs, values: list[Any], items: int
    ) -> dict[str, torch.Tensor]:
        """The outputs by name, and the layers where they are asked for."""
        self.before_pass()
        with size.inputs.without_gradients():
            if self.asked.layers or self.asked.layer is not None:
                return self._followed(size, inputs, values)
            args, kwargs = inputs.call(values)
            try:
                returned = self.model(*args, **kwargs)
            except Exception as error:
                raise RaisedError(error, self._plan(inputs)) from error
        tensors = tensors_at(returned, size.inputs.outputs, size.paths)
        if tensors is None:
            raise ModelError("the model returned other outputs than for the first item of its size")
        for seen, tensor in zip(size.outputs, tensors, strict=True):
            if tuple(tensor.shape) != seen.in_batch(items).shape:
                raise ModelError(
                    f"{seen.name!r} has shape {tuple(tensor.shape)} for {items} items, and"
                    f" {seen.layout.shape} for one: shapes must not depend on the values"
                )
        return {seen.name: t for seen, t in zip(size.outputs, tensors, strict=True)}

    def _followed(
        self, size: SizePlan, inputs: Inputs, values: list[Any]
    ) -> dict[str, torch.Tensor]:
        """The same in a pass that knows the layers by name, as far as each was met before."""
        met: dict[str, torch.Tensor] = {}

        def keep(row: Row, tensor: torch.Tensor) -> None:
            if row.name in size.layers:
                met[row.name] = tensor.detach().clone()

        passes = Passes(self._plan(inputs), self.originals)
        traced = passes.run(values, keep, geometry=False)
        if len(traced.outputs) != len(size.outputs) or len(met) != len(size.layers):
            raise ModelError("the model went another way than for the first item of its size")
        pairs = zip(size.outputs, traced.outputs, strict=True)
        return met | {seen.name: tensor for seen, (_, tensor, _) in pairs}


OF_WHOLE_NUMBERS = (
    "\nThe items have dtype {dtype}: where the model takes floating numbers, convert them to"
    " x.float() / 255, in evaluate with select=lambda batch: batch.float() / 255"
)


class NamedItemError(ModelError):
    """An item that could not be measured, where that ends the evaluation."""

    def __init__(self, number: int, where: str, error: Exception) -> None:
        self.number = number
        did = "could not be read" if where == "data" else "could not be run"
        kind = "" if isinstance(error, ShiftcheckError) else f"{type(error).__name__}: "
        told = str(error)
        if isinstance(error, RaisedError):
            dtype = error.plan.inputs.main.tensor.dtype
            told += "" if dtype.is_floating_point else OF_WHOLE_NUMBERS.format(dtype=dtype)
        super().__init__(f"item {number} {did}: {kind}{told}")


def _questions(
    one: OneWay, batch: Batch, base: dict[str, torch.Tensor]
) -> list[tuple[str, Question]]:
    """Each question about each output, and about each layer where those are asked for."""
    found = []
    for what in (w for w in one.way.what if w != HALO):
        layers = one.size.layers.values() if what in OF_LAYERS else ()
        for seen in (*one.size.outputs, *layers):
            found.append((seen.name, QUESTIONS[what](batch, seen, base[seen.name])))
    return found


def _odd(one: OneWay, numbers: Sequence[int], shifts: Sequence[Sequence[Shift]]) -> Iterator[Tally]:
    """Nothing is told of outputs that cannot be compared, and that is told."""
    each = [(n, s) for n, of_item in zip(numbers, shifts, strict=True) for s in of_item]
    for what in one.way.what:
        for place, odd in enumerate(one.size.odd):
            pairs = [(n, shift, odd.reason) for n, shift in each]
            yield tally_of(what, odd.name, "output", pairs, place=LAST + place)


LAST = 10**6
"""Behind all outputs and layers."""


def _circles(boundary: Any, axes: int) -> tuple[bool, ...]:
    each = boundary if isinstance(boundary, list | tuple) else (boundary,) * axes
    return tuple(kind == "circular" for kind in each)
