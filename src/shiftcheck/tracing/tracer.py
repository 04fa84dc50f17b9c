"""One forward pass with the geometry of every tensor followed through every operation.

The only owner of the dispatch mode and of torch's semi-private names.
"""

from __future__ import annotations

import functools
import itertools
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils.weak import WeakTensorKeyDictionary

from shiftcheck.errors import ModelError
from shiftcheck.lattice.causes import Site, causes_at, opaque, with_cause
from shiftcheck.lattice.layout import AxisState, Layout, Recipe, no_longer_uniform, valid_everywhere
from shiftcheck.lattice.notes import as_slice, by_recipe, noted
from shiftcheck.lattice.windows import settled
from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.rules import (
    BatchCoupledError,
    Constant,
    pointwise,
)
from shiftcheck.rules.fft import refuse_frequencies
from shiftcheck.rules.mirrored import note_mirrored
from shiftcheck.rules.note_causes import note_missing_causes
from shiftcheck.rules.registry import Entry as Rule
from shiftcheck.rules.registry import find_entry
from shiftcheck.rules.scores import Done, followed
from shiftcheck.tracing.black_box import Whole
from shiftcheck.tracing.choosing import Entry, chosen, output_places
from shiftcheck.tracing.circular_padding import twin_of
from shiftcheck.tracing.containers import leaves_of
from shiftcheck.tracing.draws import Draws, generator_of, is_off
from shiftcheck.tracing.higher_order import COMPOSED, is_higher_order, steps_of
from shiftcheck.tracing.leaving.handing_over import noticing
from shiftcheck.tracing.leaving.sized_by_values import deciding, tensors_deciding
from shiftcheck.tracing.leaving.ways_out import WaysOut, is_tensors
from shiftcheck.tracing.leaving.words import RAISED, READ, SIZED, UNKNOWN, leak
from shiftcheck.tracing.memo import Laws
from shiftcheck.tracing.memory import Ledger, is_same_view
from shiftcheck.tracing.modules import flat_outputs, is_leaf, named_modules_of
from shiftcheck.tracing.origins import FRESH, NOTHING_MET, Met, Origins
from shiftcheck.tracing.precision import coarse_products
from shiftcheck.tracing.probing.experiments import NoAnswerError
from shiftcheck.tracing.probing.prober import Prober, Subject, subject_of
from shiftcheck.tracing.recipes import Recipes
from shiftcheck.tracing.subclasses import is_plain, plain_of
from shiftcheck.tracing.torch_internals import (
    ASK_ABOUT_MEMORY,
    TorchDispatchMode,
    arguments_of,
    is_fake,
    is_mutable,
    overload_name,
    packet_name,
    returns_of,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
    without_modes,
    without_torch_function,
)
from shiftcheck.tracing.without_values import shapes_decide, shapes_forbid

LOCAL = frozenset(
    f"aten::{name}" for name in ("conv1d", "conv2d", "conv3d", "batch_norm", "linear", "layer_norm")
)
"""Operations whose results depend on the input wherever their first operand does."""

NONE: frozenset[int] = frozenset()
WRITTEN = "written through a view of the same memory"
RANDOM = "random numbers are drawn"
NOT_ASKED = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="the geometry was not asked for")
FILLS = ("aten::fill_", "aten::zero_")
FACTORIES = frozenset(
    f"aten::{stem}{like}"
    for stem in ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty")
    for like in ("", "_like")
) | {"aten::scalar_tensor"}
SHAPED_DRAWS = frozenset(f"aten::{name}_like" for name in ("rand", "randn", "randint"))
"""Operations that draw as many random numbers as a tensor has values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A layer as it was met: its name, operation, and what is known of its output.

    ``strayed``: the copies that were fed with something else than an exact shift. ``fed``: for each
    tensor that a module was given by position, its signal, or None of one that no signal led to;
    empty in passes of stacked copies.
    """

    name: str
    op: str
    layout: Layout
    path: str = ""
    strayed: frozenset[int] = frozenset()
    fed: tuple[Layout | None, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """What a pass returned: the output tensors that depend on the input, with their signals.

    ``ignoring``: the shapes of the others. ``unknown``: the types of what is no tensor at all.
    ``left_out``: the paths of tensors that were not among the outputs asked for. ``order``: the
    axes in the order of the dimensions of the input.
    ``leak``: the operation by which values were read from a tensor, if any were. ``dtypes``: of
    every tensor on the way. ``products``: the coarser types that products of float32 may use.
    ``met``: the constants on the way. ``handed_over``: whether another thread was given work.
    """

    outputs: tuple[tuple[str, torch.Tensor, Layout], ...]
    ignoring: tuple[tuple[str, tuple[int, ...]], ...]
    unknown: tuple[tuple[str, str], ...]
    stopped: bool
    leak: str = ""
    dtypes: frozenset[torch.dtype] = frozenset()
    products: frozenset[str] = frozenset()
    met: Met = NOTHING_MET
    handed_over: bool = False
    left_out: tuple[str, ...] = ()
    order: tuple[int, ...] = ()


class Stop(BaseException):
    """Ends the forward pass after the asked layer; no except Exception of a model catches it."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs


OnRow = Callable[[Row, torch.Tensor], frozenset[int] | None]
"""Looks at a layer's output. What it returns, if anything, says that it put the exact shifts of the
base in the place of the copies, all but these; the layers that follow then start anew from there.
"""


def run(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    layouts: Sequence[tuple[torch.Tensor, Layout]],
    stacked: bool,
    on_row: OnRow,
    on_write: Callable[[torch.Tensor], None],
    layer: str | None = None,
    laws: Laws | None = None,
    geometry: bool = True,
    measured: dict[Any, Any] | None = None,
    circular_padding: bool = False,
    wanted: Sequence[Entry] = (),
) -> Traced:
    """Run the model, calling ``on_row`` with each layer's output while it is there.

    ``stacked``: the batch holds copies, which must stay apart; raises BatchCoupledError where the
    model mixes them. ``layer``: stop after that layer, whose output is then the output. ``laws``:
    what the rules answered in an earlier pass of this model; ``measured``: what was measured of
    operations without a rule. Without ``geometry``, the signals only say which tensors depend on
    the input. With ``circular_padding``, whatever pads an axis that is a circle pads it circularly.
    ``wanted``: the outputs that count, by name or position; all where there are none.
    """
    tracer = _Tracer(named_modules_of(model), on_row, on_write, stacked, layer, laws or Laws())
    tracer.geometry, tracer.circular_padding = geometry, circular_padding
    tracer.prober = Prober(without_modes, measured)
    if any(not is_plain(tensor) and not is_fake(tensor) for tensor, _ in layouts):
        tracer.ledger.follow_memory()
    given = [leaf for _, leaf in leaves_of([list(args), dict(kwargs)])]
    tracer.arguments = [leaf for leaf in given if isinstance(leaf, torch.Tensor)]
    with without_modes():
        tracer.draws.begin()
    tracer.origins.without_values = any(is_fake(tensor) for tensor, _ in layouts)
    tracer.origins.note((args, kwargs))
    for tensor, layout in layouts:
        tracer.ledger.remember(tensor, layout)
        tracer.order = tracer.order or layout.axes_in(range(len(layout.dims)))
        tracer.given = tuple(a or b for a, b in zip(layout.axes, tracer.given, strict=False)) or (
            layout.axes
        )
    stopped = False
    try:
        with (
            _not_compiled(),
            tracer.watching_modules(),
            WaysOut(tracer),
            noticing(tracer.hand_over),
            tracer,
        ):
            whole = isinstance(model, Whole)
            returned = tracer.follow_whole(model, args, kwargs) if whole else model(*args, **kwargs)
    except Stop as stop:
        returned, stopped = stop.outputs, True
    if tracer.coupled is not None:  # the model may have caught it
        raise tracer.coupled
    return tracer.outputs(returned, stopped, wanted)


@contextmanager
def _not_compiled() -> Iterator[None]:
    """Run compiled parts of a model as they were before, and without a word about hooks."""
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are")
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        yield


@dataclass
class _Frame:
    path: str
    leaf: bool
    name: str
    op: str
    fed: tuple[Layout | None, ...] = ()


class _Tracer(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module],
        on_row: OnRow,
        on_write: Callable[[torch.Tensor], None],
        stacked: bool,
        layer: str | None,
        laws: Laws,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.every_module = list(modules.values())
        self.arguments: list[torch.Tensor] = []
        self.modules = {id(m): name for name, m in reversed(list(modules.items()))}
        self.on_row, self.on_write = on_row, on_write
        self.stacked, self.layer, self.laws = stacked, layer, laws
        self.laws.watch(modules.values())
        self.geometry = True
        self.circular_padding = False
        self.ledger = Ledger(without_modes)
        self.draws = Draws(laws.generators)
        self.origins = Origins(self.laws.own)
        self.handed_over = False
        self.layouts = self.ledger.layouts
        self.recipes = Recipes(self.ledger)
        self.prober = Prober(without_modes)
        self.dtypes: set[torch.dtype] = set()
        self.singles: set[tuple[str, str]] = set()
        self.given: tuple[AxisState, ...] = ()
        self.order: tuple[int, ...] = ()
        self.strays: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.leak: Cause | None = None
        self.dispatched = 0
        self.coupled: BatchCoupledError | None = None
        self.frames: list[_Frame] = []
        self.counts: Counter[str] = Counter()
        self.taken = set(modules)
        self.thread = threading.get_ident()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What is traced is never compiled, so nothing needs to be wrapped to say so."""
        return False

    # -- modules ---------------------------------------------------------------------------------

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Know which module is running; the handles are global and removed at the end.

        Other threads meet them too, and may run the same modules: that is none of ours.
        """
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: torch.nn.Module, args: Any) -> None:
        path = self._path(module)
        if path is None:
            return
        leaf = is_leaf(module) and path != ""
        fed = self._fed(args) if leaf and self.geometry and not self.stacked else ()
        self.frames.append(_Frame(path, leaf, self._call_name(path), type(module).__name__, fed))

    def _path(self, module: torch.nn.Module) -> str | None:
        return self.modules.get(id(module)) if threading.get_ident() == self.thread else None

    def _fed(self, args: Any) -> tuple[Layout | None, ...]:
        given = [t for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
        layouts = [self.ledger.layout(t) for t in given]
        return tuple(None if s is None else settled(s) for s in layouts)

    def _leave(self, module: torch.nn.Module, _: Any, output: Any) -> None:
        path = self._path(module)
        if path is None:
            return
        while self.frames and self.frames[-1].path != path:
            self.frames.pop()
        if not self.frames:
            return
        frame = self.frames.pop()
        if frame.leaf and not any(f.leaf for f in self.frames):
            self._emit(frame.name, frame.op, output, frame.fed)
        if self.layer is not None and frame.name == self.layer:
            raise Stop(output)

    def _call_name(self, path: str) -> str:
        self.counts[path] += 1
        calls = self.counts[path]
        return path if calls == 1 else f"{path}#{calls}"

    # -- rows ------------------------------------------------------------------------------------

    def _function_name(self, op: str) -> str:
        path = next((f.path for f in reversed(self.frames)), "")
        stem = f"{path}.{op}" if path else op
        for number in itertools.count(self.counts["op " + stem]):
            name = f"{stem}_{number}" if number else stem
            if name not in self.taken:
                self.counts["op " + stem] = number + 1
                return name
        raise AssertionError

    def _emit(self, name: str, op: str, output: Any, fed: tuple[Layout | None, ...] = ()) -> None:
        simple = isinstance(output, torch.Tensor)
        leaves = [output] if simple else [leaf for _, leaf in flat_outputs(output)]
        tensors = [t for t in leaves if isinstance(t, torch.Tensor)]
        tracked = [t for t in tensors if self.ledger.layout(t) is not None and t in self.layouts]
        for i, tensor in enumerate(tracked):
            if tensor.is_quantized:  # it is looked at where it is a number again
                continue
            label = name if len(tracked) == 1 else f"{name}[{i}]"
            layout = self._settled(self.layouts[tensor], name, op)
            strayed = self.strays.get(tensor, NONE)
            row = Row(name=label, op=op, layout=layout, path=name, strayed=strayed, fed=fed)
            with without_torch_function(), without_modes():
                left = self.on_row(row, tensor)
            if left is not None:
                self._start_anew(tensor, left)

    def _start_anew(self, tensor: torch.Tensor, strayed: frozenset[int]) -> None:
        """Follow a tensor as if it came from nowhere: all its samples are valid."""
        layout = self.layouts[tensor]
        self.layouts[tensor] = self.laws.again(
            (id(layout), "anew"), [layout], lambda: valid_everywhere(layout, self.given)
        )
        self._stray(tensor, strayed)

    def _stray(self, tensor: torch.Tensor, strayed: frozenset[int]) -> None:
        if strayed:
            self.strays[tensor] = strayed
        else:
            self.strays.pop(tensor, None)

    def _led_astray(
        self, inputs: Sequence[torch.Tensor], out: Any, written: Sequence[torch.Tensor]
    ) -> None:
        """What comes from a copy that is no exact shift is none either."""
        if not self.strays:
            return
        strayed = NONE.union(*(self.strays.get(t, NONE) for t in inputs))
        for tensor in [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]:
            self._stray(tensor, strayed)
        for tensor in written:
            for other in list(self.layouts) if strayed else ():
                if self.ledger.shared(other, tensor):
                    self._stray(other, strayed | self.strays.get(other, NONE))

    # -- operations ------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if is_higher_order(func):
            return self._higher_order(func, args, kwargs)
        if func.namespace == "prim" or packet_name(func) in ASK_ABOUT_MEMORY:
            return func(*args, **kwargs)
        self.dispatched += 1
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        self._recognise(inputs)
        written = _written(func, args, kwargs)
        for tensor in written:
            if tensor not in self.layouts:
                self.laws.forget()
                with without_modes():
                    self.on_write(tensor)
        layouts = [self.ledger.layout(t) for t in inputs]
        parents = [s for s in layouts if s is not None]
        packet, overload = _names(func)
        if not parents or packet in FACTORIES or packet in SHAPED_DRAWS:
            return self._made(func, packet, args, kwargs, inputs, written)
        if packet == "aten::copy_" and is_same_view(*inputs) and self.ledger.shared(*inputs):
            return func(*args, **kwargs)  # as the last step of y[..., :3] += 1 does
        if len(parents) != len(inputs):
            self._look_at_origins(packet, inputs, layouts)
        return self._follow(func, packet, overload, args, kwargs, parents, written, inputs)

    def _made(
        self,
        func: Any,
        packet: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[torch.Tensor],
        written: Sequence[torch.Tensor],
    ) -> Any:
        """Follow an operation on constants, or of which only shapes matter."""

        def compute() -> Any:
            return _constant_of(func, args, kwargs, inputs)

        draws = torch.Tag.nondeterministic_seeded in func.tags
        random, out = (
            self._drawn(func, args, kwargs, inputs, compute) if draws else (False, compute())
        )
        if not random:
            self.ledger.replay(func, args, kwargs, out, written)
        self.ledger.note_constant(
            inputs,
            out,
            written,
            draws=random,
            flat=packet in FACTORIES,
            spreads=_is_pointwise(func),
            fills=packet in FILLS,
        )
        self._note_local(func, args, kwargs, out, written, draws=draws)
        shapes_matter = packet in FACTORIES or packet in SHAPED_DRAWS or packet == FRESH
        if not shapes_matter and (deciding(func) is not None or not is_tensors(out)):
            self._look_at_origins(packet, inputs, [None] * len(inputs))
        if shapes_matter or not self.origins.any_strangers(inputs):
            self.origins.note(out)
        else:
            self.origins.write(written)
        return out

    def _look_at_origins(
        self, packet: str, inputs: Sequence[torch.Tensor], layouts: Sequence[Layout | None]
    ) -> None:
        """A constant of unknown origin may be anything, whatever it is combined with."""
        constants = [
            (i, t) for i, (t, s) in enumerate(zip(inputs, layouts, strict=True)) if s is None
        ]
        path = self.frames[-1].name if self.frames else ""
        if self.origins.meet(path, packet, constants):
            op = packet.removeprefix("aten::")
            self._leak(path or op, op, UNKNOWN)

    def _drawn(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[torch.Tensor],
        compute: Callable[[], Any],
    ) -> tuple[bool, Any]:
        """What an operation gives that may draw, and whether that would be something else again."""
        if is_off(func, args, kwargs):
            return False, compute()
        placed = inputs[0].device if inputs else kwargs.get("device") or torch.get_default_device()
        generator = generator_of(kwargs, torch.device(placed))
        if generator is None:
            return True, compute()
        with without_torch_function(), without_modes():
            outlives = self.draws.outlives(generator)
        out = compute()
        with without_torch_function(), without_modes():
            self.draws.drew(generator, outlives=outlives)
        return outlives, out

    def _note_local(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        written: Sequence[torch.Tensor],
        *,
        draws: bool,
    ) -> None:
        """Follow what local operations make of constants that are the same everywhere."""
        local, (packet, overload) = self.ledger.local, _names(func)
        local.axes = len(self.given)
        if written or draws:
            local.forget(written)
        elif packet in FACTORIES:
            if "empty" not in packet:
                local.note_uniform(out)
        elif (rule := _rule_for(func, packet, overload)) is not None:
            ask = functools.partial(_answer, rule)
            local.note(ask, args, kwargs, out, pointwise=_is_pointwise(func))

    def _recognise(self, inputs: Sequence[torch.Tensor]) -> None:
        """Know tensors of a class of their own by their memory; one of no origin says nothing."""
        for tensor in inputs:
            if is_plain(tensor) or is_fake(tensor):
                continue
            self.ledger.follow_memory()
            met = self.ledger.layout(tensor) is not None or self.ledger.knows(tensor)
            if not met and not self._existed(tensor):
                self.read(f"a {type(tensor).__name__}")

    def _existed(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was there before the model ran."""
        kept = (t for m in self.every_module for t in (*m.parameters(False), *m.buffers(False)))
        return any(tensor is t for t in (*self.arguments, *kept))

    def _follow(
        self,
        func: Any,
        packet: str,
        overload: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        parents: Sequence[Layout],
        written: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
    ) -> Any:
        op = packet.removeprefix("aten::").rstrip("_")
        outer = next((f for f in self.frames if f.leaf), None)
        name = outer.name if outer else self._function_name(op)
        rule = _rule_for(func, packet, overload)
        if deciding(func) is not None:
            self._look_at_size(func, args, kwargs, name, op)
        parts = functools.partial(func.decompose, *args, **kwargs)
        twin = None
        if self.circular_padding:
            twin = twin_of(packet, self.ledger.layout(inputs[0]), args, kwargs)
        if twin is not None or (rule is None and not written):
            frame = _Frame(outer.path if outer else "", True, name, op)
            out = self._inside(frame, twin or parts, twin is None and self.circular_padding)
            if out is not NotImplemented:
                self._finish(name, op, out, outer)
                return out
        if self.geometry or not (rule is POINTWISE or packet in LOCAL):
            found = self._law(func, rule, args, kwargs)
        else:
            found = NOT_ASKED
        if rule is None and isinstance(found, Cause) and found.kind == CauseKind.UNSUPPORTED_OP:
            self._look_at_unknown_size(func, args, kwargs, name, op, found)
        compute = functools.partial(func, *args, **kwargs)
        try:
            if torch.Tag.nondeterministic_seeded in func.tags:
                _, out = self._drawn(func, args, kwargs, inputs, compute)
            else:
                out = compute()
        except Exception:
            self._look_at_error(func, args, kwargs, name, op)
            raise
        if any(r.alias_info is not None for r in returns_of(func)):
            self.ledger.note_twin(inputs[0], out)
        out = _itself(func, out, written)
        drawn = any(self.ledger.is_random(t) for t in inputs)
        uniform = any(self.ledger.is_uniform(t) for t in inputs)
        recipe = functools.partial(self.recipes.of, func, args, kwargs, parents)
        self._attach(name, op, packet, found, parents, out, written, drawn, uniform, recipe)
        self._led_astray(inputs, out, written)
        self._finish(name, op, out, outer)
        return out

    def _higher_order(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Follow the functions that an operation calls; where it cannot be seen, nothing is known.

        What it is given may be written to, and the functions may know any tensor.
        """
        steps = steps_of(func)
        op = func.name()
        outer = next((f for f in self.frames if f.leaf), None)
        if steps is not None and op in COMPOSED:
            name = outer.name if outer else self._function_name(op)
            frame = _Frame(outer.path if outer else "", True, name, op)
            out = self._inside(frame, lambda: steps(*args, **kwargs), self.circular_padding)
            self._finish(name, op, out, outer)
            return out
        if steps is not None:
            with self:
                return steps(*args, **kwargs)
        name = outer.name if outer else self._function_name(op)
        cause = Cause(
            kind=CauseKind.UNSUPPORTED_OP, layer=name, op=op, detail=f"functions given to {op}"
        )
        out = func(*args, **kwargs)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        parents = [s for s in map(self.ledger.layout, given) if s is not None]
        parents = parents or [Layout((), self.given)]
        for tensor in [*given, *(t for t in tree_leaves(out) if isinstance(t, torch.Tensor))]:
            self.ledger.write(tensor, opaque(tensor.shape, parents, cause), cause)
        self._finish(name, op, out, outer)
        return out

    def _look_at_size(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str, op: str
    ) -> None:
        """The size of a result that depends on the input is known to Python, as a number is."""
        if any(map(self.depends_on_input, tensors_deciding(func, args, kwargs))):
            self._leak(name, op, SIZED)

    def _look_at_unknown_size(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        name: str,
        op: str,
        unknown: Cause,
    ) -> None:
        with without_modes():
            if not shapes_decide(func, args, kwargs):
                reads = torch.Tag.data_dependent_output in func.tags
                self._leak_as(unknown if not reads else leak(READ), name, op)

    def _look_at_error(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        name: str,
        op: str,
    ) -> None:
        """The model may catch what an operation raises, and so know of its values."""
        with without_modes():
            if not shapes_forbid(func, args, kwargs):
                self._leak(name, op, RAISED)

    def _inside(self, frame: _Frame, steps: Callable[[], Any], circular_padding: bool) -> Any:
        """Follow what one operation consists of, as parts of the layer that it is."""
        self.frames.append(frame)
        before, self.circular_padding = self.circular_padding, circular_padding
        try:
            with self:
                return steps()
        finally:
            self.frames.pop()
            self.circular_padding = before

    def _finish(self, name: str, op: str, out: Any, outer: _Frame | None) -> None:
        if outer is not None:
            return
        self._emit(name, op, out)
        if self.layer is not None and name == self.layer:
            raise Stop(out)

    def _law(
        self, func: Any, rule: Rule | None, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """The rule's signals, or the cause for which there are none."""
        if rule is None:
            if torch.Tag.nondeterministic_seeded in func.tags:
                return Cause(kind=CauseKind.STOCHASTIC, detail=RANDOM)
            return self._probed(
                f"no rule for {func}",
                lambda: self._subject(func, args, kwargs),
                CauseForm.NO_RULE,
            )
        try:
            with without_torch_function():
                asked = self.laws.asked(func, args, kwargs, self.ledger)
            if asked is None:
                return self._ask(func, rule, args, kwargs)
            return self.laws.again(*asked, lambda: self._ask(func, rule, args, kwargs))
        except BatchCoupledError as error:
            if self.stacked:
                self.coupled = error
                raise
            return Cause(kind=CauseKind.BATCH_COUPLED, detail=str(error))
        except Exception as error:  # a rule that fails has no answer, whatever the failure
            return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=f"{func}: {error}")

    def _ask(self, func: Any, rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        given = tree_map(self.ledger.operand, list(args))
        named = {k: tree_map(self.ledger.operand, v) for k, v in kwargs.items()}
        answer = _answer(rule, given, named)
        done = Done(_names(func)[0], given, named, func, without_modes)
        return followed(done, answer, tagged=_is_pointwise(func))

    def _probed(
        self, lacking: str, subject: Callable[[], Subject], form: CauseForm = CauseForm.PLAIN
    ) -> Any:
        """The measured signals of what has no rule, or the cause for which there are none."""
        try:
            return self.prober.answer(subject())
        except NoAnswerError as reason:
            detail = f"{lacking}, and probing fails: {reason}"
            return Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail, form=form)
        except BatchCoupledError as error:
            self.coupled = error
            raise

    def _subject(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Subject:
        """An operation as something that can be called on other tensors."""
        if is_mutable(func) or any(r.alias_info is not None for r in returns_of(func)):
            raise NoAnswerError("it shares memory with its arguments")
        leaves, structure = tree_flatten((list(args), dict(kwargs)))
        return subject_of(func, leaves, structure, str(func), self.ledger)

    def follow_whole(self, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a callable that torch does not see into, as one operation."""
        if self.stacked:
            self.coupled = BatchCoupledError("the callable is probed as a whole")
            raise self.coupled
        name = self._function_name("callable")
        leaves, structure = tree_flatten((list(args), dict(kwargs)))
        parents = [s for t in leaves if isinstance(t, torch.Tensor) and (s := self.layouts.get(t))]
        with without_torch_function(), without_modes():
            again = [t.clone() if isinstance(t, torch.Tensor) else t for t in leaves]
            given = tree_unflatten(again, structure)
        with without_modes():
            out = model(*given[0], **given[1])
        found = self._probed(
            "a callable that torch does not see into",
            lambda: subject_of(model, leaves, structure, "callable", self.ledger),
        )
        self._attach(name, "callable", "callable", found, parents, out, (), False, False)
        self._finish(name, "callable", out, None)
        return out

    def _attach(
        self,
        name: str,
        op: str,
        packet: str,
        found: Any,
        parents: Sequence[Layout],
        out: Any,
        written: Sequence[torch.Tensor],
        drawn: bool,
        uniform: bool,
        recipe: Callable[[int], Recipe | None] = lambda _: None,
    ) -> None:
        tensors = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        if any(t.is_nested for t in tensors):
            raise ModelError(f"layer {name!r} gives a nested tensor, which has no grid: pad it")
        returned = len(tensors)
        tensors += [w for w in written if not any(w is t for t in tensors)]
        results = [found] if isinstance(found, Layout) else found
        if isinstance(results, Cause):
            results = [opaque(t.shape, parents, results) for t in tensors]
        if not returned and (out is not None or not written):
            self._leak(name, op)
        if isinstance(results, Constant):
            for tensor in tensors:
                self.ledger.mark(tensor, is_random=results.random, uniform=uniform)
            self.origins.note(tensors)
            return
        results = _for_each(results, tensors, returned, parents)
        parts = any(p.recipe is not None for p in parents)
        recipes = [recipe(i) if parts else None for i in range(len(results))]
        self.dtypes.update(t.dtype for t in tensors)
        self.singles.update((packet, t.device.type) for t in tensors if t.dtype is torch.float32)
        for tensor, layout, made_by in zip(tensors, results, recipes, strict=True):
            layout = note_missing_causes(parents, _matching(layout, tensor, parents))
            layout = note_mirrored(parents, layout)
            if drawn:
                layout = with_cause(layout, Cause(kind=CauseKind.STOCHASTIC, detail=RANDOM))
            if self.leak is not None:
                layout = opaque(tensor.shape, [layout], self.leak)
            new = not any(layout is p for p in parents)
            layout = self._stamped(layout, name, op, packet, made_by, new=new)
            if any(tensor is w for w in written):
                by = Cause(kind=CauseKind.UNSUPPORTED_OP, detail=WRITTEN)
                self.ledger.write(tensor, layout, replace(by, layer=name, op=op, operation=packet))
            else:
                self.ledger.remember(tensor, layout)

    def _settled(self, layout: Layout, name: str, op: str) -> Layout:
        """What the tensor is where it is looked at; the same in every pass."""
        whole: Layout = self.laws.again((id(layout),), [layout], lambda: settled(layout))
        return layout if whole is layout else self._stamped(whole, name, op, op)

    def _stamped(
        self,
        layout: Layout,
        name: str,
        op: str,
        operation: str,
        recipe: Recipe | None = None,
        *,
        new: bool = False,
    ) -> Layout:
        """The signal, its new causes with their place; a signal of its own for every place."""

        def stamp() -> Layout:
            site = Site(layer=name, op=op, operation=operation)
            out = replace(layout, causes=causes_at(layout.causes, site))
            source = layout.source if new else None
            if source is not None:
                out = as_slice(out, source.whole, source.dim, source.chosen)
            made_by = (layout.recipe if new else None) or recipe
            out = out if made_by is None else by_recipe(out, made_by)
            return noted(out, pairs=layout.pairs, made=layout.made) if new else out

        stamped: Layout = self.laws.again((id(layout), name, op, operation), [layout], stamp)
        return stamped

    def depends_on_input(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is followed."""
        return self.ledger.layout(tensor) is not None

    def hand_over(self) -> None:
        """Another thread is given something to do, which is not followed."""
        self.handed_over = True

    def adopt(self, tensor: torch.Tensor, source: torch.Tensor) -> None:
        """A tensor has the values of another one, by a way that the dispatcher does not see."""
        self.laws.forget()
        self.ledger.adopt(tensor, source)
        if not self.origins.is_stranger(source):
            self.origins.note(tensor)

    def read(self, op: str) -> None:
        """A value leaves torch, by a way that the dispatcher does not see."""
        outer = next((f for f in self.frames if f.leaf), None)
        self._leak(outer.name if outer else op, op)

    def _leak(self, name: str, op: str, detail: str = READ) -> None:
        self._leak_as(leak(detail), name, op)

    def _leak_as(self, cause: Cause, name: str, op: str) -> None:
        self.leak = self.leak or replace(cause, layer=name, op=op)

    def outputs(self, returned: Any, stopped: bool, wanted: Sequence[Entry]) -> Traced:
        """The tensors in whatever the model returned, with names by their place in it."""
        found, ignoring, unknown = [], [], []
        leaves, left_out = _wanted(returned, wanted)
        for path, leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                layout = self.ledger.layout(leaf)
                if layout is None:
                    ignoring.append((path, tuple(leaf.shape)))
                    continue
                if self.leak is not None:
                    layout = opaque(leaf.shape, [layout], self.leak)
                layout = self._settled(layout, "output", "output")
                plain = plain_of(leaf.dequantize() if leaf.is_quantized else leaf)
                found.append((path, plain, layout))
            elif not isinstance(leaf, NO_OUTPUT):
                unknown.append((path, type(leaf).__name__))
        return Traced(
            outputs=tuple(found),
            ignoring=tuple(ignoring),
            unknown=tuple(unknown),
            stopped=stopped,
            leak=self.leak.op if self.leak is not None else "",
            dtypes=frozenset(self.dtypes),
            products=coarse_products(self.singles),
            met=self.origins.met,
            handed_over=self.handed_over,
            left_out=left_out,
            order=self.order,
        )


def _wanted(
    returned: Any, wanted: Sequence[Entry]
) -> tuple[list[tuple[str, Any]], tuple[str, ...]]:
    """The leaves of what a model returned that count, by their paths, and the paths of others.

    Raises InputError where one was asked for that is not there.
    """
    if not wanted:
        return flat_outputs(returned), ()
    leaves = leaves_of(returned, hidden=True)
    leaves = [(steps, leaf) for steps, leaf in leaves if not isinstance(leaf, NO_OUTPUT)]
    places = output_places([steps for steps, _ in leaves], returned)
    kept, left_out = [], []
    for counts, place, (_, leaf) in zip(
        chosen("outputs", wanted, places), places, leaves, strict=True
    ):
        path = place.name.removeprefix("output")
        if counts:
            kept.append((path, leaf))
        else:
            left_out.append(path)
    return kept, tuple(left_out)


NO_OUTPUT = (str, bytes, int, float, complex, type(None))
"""What is no tensor, and holds none."""


def _for_each(
    results: Any, tensors: Sequence[torch.Tensor], returned: int, parents: Sequence[Layout]
) -> list[Any]:
    """The rule's answers: for what is returned, and for what is only written, where it has any.

    Answers that end with ``...`` leave the rest open: nothing is known of it.
    """
    answers = list(results)
    if answers and answers[-1] is ...:
        cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail="what is returned beside the result")
        rest = tensors[len(answers) - 1 :]
        return answers[:-1] + [opaque(t.shape, parents, cause) for t in rest]
    if len(answers) == len(tensors):
        return answers
    detail = f"the rule answers for {len(answers)} outputs, torch gives {returned}"
    if len(answers) == returned:
        detail = "the rule does not say what becomes of a tensor that is written to"
    cause = Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail)
    kept = returned if len(answers) == returned else 0
    return answers[:kept] + [opaque(t.shape, parents, cause) for t in tensors[kept:]]


def _matching(layout: Any, tensor: torch.Tensor, parents: Sequence[Layout]) -> Layout:
    """The signal, if it is one of the tensor's shape and masks; else nothing is known."""
    if not isinstance(layout, Layout):
        detail = f"the rule answered {type(layout).__name__}, no Layout"
    elif tensor.layout != torch.strided:
        detail = f"a tensor of layout {tensor.layout}"
    elif layout.shape != tuple(tensor.shape):
        detail = f"the rule says shape {layout.shape}, torch says {tuple(tensor.shape)}"
    else:
        return layout
    return opaque(tensor.shape, parents, Cause(kind=CauseKind.UNSUPPORTED_OP, detail=detail))


def _constant_of(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[torch.Tensor]
) -> Any:
    """What does not depend on the input, with real values and as an ordinary tensor.

    A model may keep it in a cache, which must be of use after the check.
    """
    if any(map(is_fake, inputs)):
        return func(*args, **kwargs)
    if any(t.is_inference() for t in inputs):
        with without_modes():
            return func(*args, **kwargs)
    with without_modes(), torch.inference_mode(False), torch.no_grad():
        return func(*args, **kwargs)


def _names(func: Any) -> tuple[str, str]:
    return packet_name(func), overload_name(func)


def _rule_for(func: Any, packet: str, overload: str) -> Rule | None:
    tagged = _is_pointwise(func)
    return find_entry(packet, overload, tagged=tagged) or (POINTWISE if tagged else None)


@functools.cache
def _is_pointwise(func: Any) -> bool:
    """Whether torch says so of an operation, or of what it does when not in place."""
    tags = {*func.tags, *getattr(_out_of_place(func), "tags", ())}
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def _out_of_place(func: Any) -> Any:
    stem = packet_name(func).partition("::")[2]
    if not is_mutable(func) or not stem.endswith("_"):
        return None
    packet = getattr(getattr(torch.ops, func.namespace), stem.rstrip("_"), None)
    return getattr(packet, overload_name(func), None)


def _answer(rule: Rule, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What a rule says of operands that stand for tensors."""
    if not rule.keeps_uniform:
        given, named = tree_map(_not_told, (list(given), dict(named)))
    if not rule.keeps_frequencies:
        refuse_frequencies(given, named)
    return rule.rule(*given, **named)


def _not_told(operand: Any) -> Any:
    if not isinstance(operand, Layout):
        return operand
    told = no_longer_uniform(operand)
    return operand if told is operand else noted(told, pairs=operand.pairs, made=operand.made)


def pointwise_rule(*operands: Any, **named: Any) -> Any:
    """The law of everything that carries torch's tag for pointwise operations."""
    named.pop("out", None)
    return pointwise(*operands, *named.values())


POINTWISE = Rule(rule=pointwise_rule, law="1 -> 1", source="", keeps_uniform=True)


UNDECLARED = ("aten::batch_norm", "aten::native_batch_norm", "aten::instance_norm")
"""In training they write to running statistics, their arguments 3 and 4, and do not say so."""


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    if packet_name(func) in UNDECLARED and args[5]:
        return [t for t in args[3:5] if isinstance(t, torch.Tensor)]
    if not is_mutable(func):
        return []
    found = []
    for i, argument in enumerate(arguments_of(func)):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[i] if i < len(args) else kwargs.get(argument.name)
        found += [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
    return found


def _itself(func: Any, out: Any, written: Sequence[torch.Tensor]) -> Any:
    """What an operation in place returns: the tensor that it wrote to, with values or without.

    Given a tensor with values, a pass without them returns another one.
    """
    returns = returns_of(func)
    if len(written) != 1 or len(returns) != 1 or not isinstance(out, torch.Tensor):
        return out
    alias = returns[0].alias_info
    same = alias is not None and alias.is_write and out.shape == written[0].shape
    return written[0] if same else out
