"""One forward pass with the geometry of every tensor followed through every operation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftcheck.lattice.alone import alone
from shiftcheck.lattice.causes import Site, opaque
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.windows import settled
from shiftcheck.report.causes import Cause, CauseKind
from shiftcheck.rules import BatchCoupledError
from shiftcheck.tracing.answers import Answers, Result, Results
from shiftcheck.tracing.black_box import BLACK_BOX, BlackBox
from shiftcheck.tracing.circular_padding import twin_of
from shiftcheck.tracing.constants import OF_SHAPES, Constants
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.draws import Draws
from shiftcheck.tracing.frames import Fed, Frame, Frames
from shiftcheck.tracing.higher_order import COMPOSED, is_higher_order, steps_of
from shiftcheck.tracing.leaving.handing_over import noticing
from shiftcheck.tracing.leaving.leaks import Leaks
from shiftcheck.tracing.leaving.ways_out import WaysOut, not_noticed
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.memory import TensorMemory, is_same_view
from shiftcheck.tracing.modules import named_modules_of
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.origins import Origins
from shiftcheck.tracing.precision import coarse_products
from shiftcheck.tracing.probing.prober import Prober
from shiftcheck.tracing.recipes import Recipes
from shiftcheck.tracing.rows import Rows, traced_outputs
from shiftcheck.tracing.subclasses import is_plain
from shiftcheck.tracing.torch_internals import (
    ASK_ABOUT_MEMORY,
    Mode,
    is_fake,
    tensors_of,
    tree_flatten,
    tree_unflatten,
    without_modes,
    without_torch_function,
)
from shiftcheck.tracing.traced import Given, Manner, OnRow, Stop, Traced
from shiftcheck.tracing.uncompiled import not_compiled
from shiftcheck.tracing.way import WayMarks


def run(
    model: Callable[..., Any],
    given: Given,
    how: Manner,
    *,
    on_row: OnRow,
    on_write: Callable[[torch.Tensor], None],
    memo: Memo | None = None,
    measured: dict[Any, Any] | None = None,
) -> Traced:
    """Run the model, calling ``on_row`` with each layer's output while it is there.

    ``on_write``: called with each tensor that is not followed, just before it is written to.
    ``memo``: what the rules answered in an earlier pass of this model; ``measured``: what was
    measured of operations without a rule. Raises BatchCoupledError where copies are mixed.
    """
    prober = Prober(without_modes, measured)
    tracer = _Tracer(model, given, how, memo or Memo(), prober, on_row, on_write)
    stopped = False
    try:
        with (
            not_compiled(),
            tracer.frames.watching(tracer.fed, tracer.left),
            WaysOut(tracer),
            noticing(tracer.hand_over),
            tracer,
        ):
            if isinstance(model, BlackBox):
                returned = tracer.follow_black_box(model, given)
            else:
                returned = model(*given.args, **given.kwargs)
    except Stop as stop:
        returned, stopped = stop.outputs, True
    if tracer.answers.coupled is not None:  # the model may have caught it
        raise tracer.answers.coupled
    return tracer.traced(returned, stopped)


class _Tracer(Mode):
    """The dispatch mode: it meets every operation, and every module that ends."""

    def __init__(
        self,
        model: Callable[..., Any],
        given: Given,
        how: Manner,
        memo: Memo,
        prober: Prober,
        on_row: OnRow,
        on_write: Callable[[torch.Tensor], None],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        modules = named_modules_of(model)
        memo.watch(modules.values())
        leaves = [leaf for _, leaf in leaves_of([list(given.args), dict(given.kwargs)])]
        arguments = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        self.from_before = [*arguments, *memo.of_model.values()]
        self.given, self.how, self.memo, self.on_write = given, how, memo, on_write
        self.circular_padding = how.circular_padding
        self.memory = TensorMemory(without_modes)
        self.origins = Origins(memo.of_model)
        self.frames = Frames(modules)
        self.recipes = Recipes(self.memory)
        self.leaks = Leaks(self.frames, self.memory, run.__code__)
        self.answers = Answers(self.memory, memo, prober, how)
        self.constants = Constants(self.memory, Draws(memo.generators), self.origins, self.leaks)
        self.results = Results(self.memory, self.origins, self.leaks, memo)
        self.rows = Rows(on_row, self.memory, memo, given, anew=how.alone)
        self.dispatched, self.handed_over = 0, False
        self.marks = WayMarks()
        self._begin()

    def _begin(self) -> None:
        """Know what the model is given."""
        followed = [tensor for tensor, _ in self.given.layouts]
        if any(not is_plain(tensor) and not is_fake(tensor) for tensor in followed):
            self.memory.follow_memory()
        with without_modes():
            self.constants.draws.begin()
        self.memory.constants.local.axes = len(self.given.axes)
        self.origins.without_values = any(map(is_fake, followed))
        plainly = self.how.geometry and not (self.how.stacked or self.how.circular_padding)
        self.marks.lost = not plainly or not all(map(is_plain, followed))
        self.origins.note((self.given.args, self.given.kwargs))
        for tensor, layout in self.given.layouts:
            self.memory.remember(tensor, alone(layout) if self.how.alone else layout)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is traced is never compiled, so nothing needs to be wrapped to say so."""
        return False

    # -- layers ----------------------------------------------------------------------------------

    def fed(self, args: Any) -> Fed:
        """What is known of each tensor that a layer is given; nothing in passes of copies."""
        if not self.how.geometry or self.how.stacked:
            return ()
        layouts = map(self.memory.layout, tensors_of(args))
        return tuple(None if s is None else settled(s) for s in layouts)

    def left(self, frame: Frame, output: Any) -> None:
        """A module has ended."""
        if frame.leaf and self.frames.outer is None:
            self.rows.emit(frame, output)
        self._stop_after(frame, output)

    def _frame(self, op: str, parents: Sequence[Layout] = ()) -> Frame:
        """A call of an operation: a layer of its own, or a part of the one that is running."""
        outer = self.frames.outer
        if outer is not None:
            return Frame(outer.path, True, outer.name, op, part=True)
        name = self.frames.name_of_function(op)
        return Frame("", True, name, op, parents=() if self.how.stacked else tuple(parents))

    def _finish(self, frame: Frame, out: Any) -> None:
        if not frame.part:
            self.rows.emit(frame, out)
            self._stop_after(frame, out)

    def _stop_after(self, frame: Frame, output: Any) -> None:
        if self.how.layer is not None and frame.name == self.how.layer:
            raise Stop(output)

    def _inside(self, frame: Frame, steps: Callable[[], Any], circular_padding: bool) -> Any:
        """Follow what one operation consists of, as parts of the layer that it is."""
        before, self.circular_padding = self.circular_padding, circular_padding
        try:
            with self.frames.inside(frame), self:
                return steps()
        finally:
            self.circular_padding = before

    # -- operations ------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        operation = Operation(func, args, kwargs or {})
        if is_higher_order(func):
            self.marks.lost = True
            return self._higher_order(operation)
        if func.namespace == "prim" or operation.packet in ASK_ABOUT_MEMORY:
            return operation()
        self.dispatched += 1
        self._recognise(operation.inputs)
        outside = [t for t in operation.written if t not in self.memory.layouts]
        for tensor in outside:
            self.memo.forget()
            with without_modes():
                self.on_write(tensor)
        layouts = [self.memory.layout(t) for t in operation.inputs]
        constant = operation.packet in OF_SHAPES or not any(layouts)
        if self.marks.lost or self.frames.inside_operation:
            return self._carried_out(operation, layouts, constant=constant)
        try:
            out = self._carried_out(operation, layouts, constant=constant)
        except Stop as stop:
            self.marks.note(operation, stop.outputs, constant=constant, outside=bool(outside))
            raise
        self.marks.note(operation, out, constant=constant, outside=bool(outside))
        return out

    def _carried_out(
        self, operation: Operation, layouts: Sequence[Layout | None], *, constant: bool
    ) -> Any:
        """What an operation gives; ``layouts``: what is known of each tensor that it is given."""
        if constant:
            return self.constants.made(operation)
        inputs = operation.inputs
        is_copy = operation.packet == "aten::copy_"
        if is_copy and is_same_view(*inputs) and self.memory.shared(*inputs):
            return operation()  # as the last step of y[..., :3] += 1 does
        parents = [s for s in layouts if s is not None]
        if len(parents) != len(inputs):
            self.constants.meet(operation, layouts)
        return self._follow(operation, parents)

    def _recognise(self, inputs: Sequence[torch.Tensor]) -> None:
        """Know tensors of a class of their own by their memory; one of no origin says nothing."""
        for tensor in inputs:
            if is_plain(tensor) or is_fake(tensor):
                continue
            self.memory.follow_memory()
            met = self.memory.layout(tensor) is not None or self.memory.knows(tensor)
            if not met and not any(tensor is t for t in self.from_before):
                self.read(f"a {type(tensor).__name__}")

    def _follow(self, operation: Operation, parents: Sequence[Layout]) -> Any:
        if not self.how.stacked and not self.frames.inside_operation:
            self.rows.note(operation, constants=self.origins.without_values)
        frame = self._frame(operation.op, parents)
        site = Site(frame.name, frame.op, operation.packet)
        self.leaks.look_at_size(operation, site)
        parts, circular_padding = self._parts(operation)
        out = NotImplemented
        if parts is not None:
            out = self._inside(frame, parts, circular_padding)
        if out is NotImplemented:
            out = self._as_one(operation, site, parents)
        self._finish(frame, out)
        return out

    def _parts(self, operation: Operation) -> tuple[Callable[[], Any] | None, bool]:
        """What does the same in other operations, and whether these have to pad circularly."""
        func, args, kwargs = operation.func, operation.args, operation.kwargs
        if self.circular_padding:
            layout = self.memory.layout(operation.inputs[0])
            twin = twin_of(operation.packet, layout, args, kwargs)
            if twin is not None:
                return twin, False
        if operation.rule is not None or operation.written:
            return None, False
        return functools.partial(func.decompose, *args, **kwargs), self.circular_padding

    def _as_one(self, operation: Operation, site: Site, parents: Sequence[Layout]) -> Any:
        """Follow an operation by what is said of it as a whole."""
        answer, inputs = self.answers.about(operation), operation.inputs
        unknown = isinstance(answer, Cause) and answer.kind == CauseKind.UNSUPPORTED_OP
        if unknown and operation.rule is None:
            self.leaks.look_at_unknown_size(operation, site, answer)
        try:
            _, out = self.constants.drawn(operation, operation)
        except Exception:
            self.leaks.look_at_error(operation, site)
            raise
        if operation.shares_memory:
            self.memory.note_twin(inputs[0], out)
        out = operation.itself(out)
        result = Result(
            site=site,
            out=out,
            answer=answer,
            parents=parents,
            written=operation.written,
            random=any(map(self.memory.constants.is_random, inputs)),
            uniform=any(map(self.memory.constants.is_uniform, inputs)),
            recipe=functools.partial(self.recipes.of, operation, parents),
        )
        self.results.remember(result)
        self.rows.strays.follow(operation, out)
        return out

    def _higher_order(self, operation: Operation) -> Any:
        """Follow the functions that an operation calls; where it cannot be seen, nothing is known.

        What it is given may be written to, and the functions may know any tensor.
        """
        steps, op = steps_of(operation.func), operation.func.name()
        if steps is not None and op not in COMPOSED:
            with self:
                return steps(*operation.args, **operation.kwargs)
        frame = self._frame(op)
        if steps is not None:
            parts = functools.partial(steps, *operation.args, **operation.kwargs)
            out = self._inside(frame, parts, self.circular_padding)
        else:
            out = operation()
            self._lose(frame, [*operation.inputs, *tensors_of(out)], operation)
        self._finish(frame, out)
        return out

    def _lose(self, frame: Frame, tensors: Sequence[torch.Tensor], operation: Operation) -> None:
        """Nothing is known any more of what an operation was given, nor of what it gave."""
        detail = f"functions given to {frame.op}"
        cause = Cause(kind=CauseKind.UNSUPPORTED_OP, layer=frame.name, op=frame.op, detail=detail)
        layouts = map(self.memory.layout, operation.inputs)
        parents = [s for s in layouts if s is not None] or [Layout((), self.given.axes)]
        for tensor in tensors:
            self.memory.write(tensor, opaque(tensor.shape, parents, cause), cause)

    def follow_black_box(self, model: BlackBox, given: Given) -> Any:
        """Run a callable that torch does not see into, as one operation."""
        self.marks.lost = True
        if self.how.stacked:
            raise self.answers.couple(BatchCoupledError("the callable is probed as a whole"))
        frame = self._frame(BLACK_BOX)
        leaves, structure = tree_flatten((list(given.args), dict(given.kwargs)))
        layouts = (self.memory.layouts.get(t) for t in leaves if isinstance(t, torch.Tensor))
        parents = [s for s in layouts if s]
        with without_torch_function(), without_modes():
            again = [t.clone() if isinstance(t, torch.Tensor) else t for t in leaves]
            args, kwargs = tree_unflatten(again, structure)
        with without_modes():
            out = model(*args, **kwargs)
        with self.frames.unwatched(), not_noticed():
            answer = self.answers.about_callable(model, leaves, structure)
        site = Site(frame.name, BLACK_BOX, BLACK_BOX)
        self.results.remember(Result(site=site, out=out, answer=answer, parents=parents))
        self._finish(frame, out)
        return out

    # -- what the dispatcher does not see --------------------------------------------------------

    def depends_on_input(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is followed."""
        return self.memory.layout(tensor) is not None

    def hand_over(self) -> None:
        """Another thread is given something to do, which is not followed."""
        self.handed_over = True

    def adopt(self, tensor: torch.Tensor, source: torch.Tensor) -> None:
        """A tensor has the values of another one, by a way that the dispatcher does not see."""
        self.memo.forget()
        self.memory.adopt(tensor, source)
        if not self.origins.is_stranger(source):
            self.origins.note(tensor)

    def read(self, op: str) -> None:
        """A value leaves torch, by a way that the dispatcher does not see."""
        self.leaks.read(op)

    def traced(self, returned: Any, stopped: bool) -> Traced:
        """What the pass returned, and what was met on its way."""
        traced = traced_outputs(self.results, returned, self.how.wanted, stopped=stopped)
        lost = traced.leak or self.handed_over
        outputs = [tensor for _, tensor, _ in traced.outputs]
        return replace(
            traced,
            dtypes=frozenset(self.results.dtypes),
            products=coarse_products(self.results.singles),
            met=self.origins.met,
            handed_over=self.handed_over,
            order=self.given.order,
            way=None if lost else self.marks.way(outputs, stopped=stopped),
        )
