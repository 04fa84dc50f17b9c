"""One forward pass with the geometry of every tensor followed through every operation.

The only owner of the dispatch mode and of torch's semi-private names.
"""

from __future__ import annotations

import itertools
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
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from shiftcheck.layout import Signal, no_longer_uniform, opaque, settled, with_cause
from shiftcheck.ledger import Ledger, is_fake
from shiftcheck.modules import flat_outputs, is_leaf, named_modules_of
from shiftcheck.report import Cause
from shiftcheck.rules import BatchCoupledError, Constant, find_rule, pointwise
from shiftcheck.rules.registry import is_told_uniform, keeps_uniform

NOT_TENSORS = "a value is read from a tensor: what follows may depend on it"
RANDOM = "random numbers are drawn"
FACTORIES = frozenset(
    f"aten::{stem}{like}"
    for stem in ("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty")
    for like in ("", "_like")
) | {"aten::scalar_tensor"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A layer as it was met: its name, operation, and what is known of its output."""

    name: str
    op: str
    signal: Signal
    path: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """What a pass returned: the output tensors that depend on the input, with their signals.

    ``ignoring``: the shapes of the others. ``unknown``: the types of what is no tensor at all.
    """

    outputs: tuple[tuple[str, torch.Tensor, Signal], ...]
    ignoring: tuple[tuple[str, tuple[int, ...]], ...]
    unknown: tuple[tuple[str, str], ...]
    stopped: bool


class Stop(BaseException):
    """Ends the forward pass after the asked layer; no except Exception of a model catches it."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs


OnRow = Callable[[Row, torch.Tensor], None]


def run(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    signals: Sequence[tuple[torch.Tensor, Signal]],
    stacked: bool,
    on_row: OnRow,
    on_write: Callable[[torch.Tensor], None],
    layer: str | None = None,
) -> Traced:
    """Run the model, calling ``on_row`` with each layer's output while it is there.

    ``stacked``: the batch holds copies, which must stay apart; raises BatchCoupledError where the
    model mixes them. ``layer``: stop after that layer, whose output is then the output.
    """
    tracer = _Tracer(named_modules_of(model), on_row, on_write, stacked, layer)
    for tensor, signal in signals:
        tracer.signals[tensor] = signal
    stopped = False
    try:
        with tracer.watching_modules(), _Reads(tracer), tracer:
            returned = model(*args, **kwargs)
    except Stop as stop:
        returned, stopped = stop.outputs, True
    if tracer.coupled is not None:  # the model may have caught it
        raise tracer.coupled
    return tracer.outputs(returned, stopped)


@dataclass
class _Frame:
    path: str
    leaf: bool
    name: str
    op: str


class _Tracer(TorchDispatchMode):
    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module],
        on_row: OnRow,
        on_write: Callable[[torch.Tensor], None],
        stacked: bool,
        layer: str | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.modules = {id(m): name for name, m in reversed(list(modules.items()))}
        self.on_row, self.on_write = on_row, on_write
        self.stacked, self.layer = stacked, layer
        self.ledger = Ledger(_disabled)
        self.signals = self.ledger.signals
        self.leak: Cause | None = None
        self.coupled: BatchCoupledError | None = None
        self.frames: list[_Frame] = []
        self.counts: Counter[str] = Counter()
        self.taken = set(modules)

    # -- modules ---------------------------------------------------------------------------------

    @contextmanager
    def watching_modules(self) -> Iterator[None]:
        """Know which module is running; the handles are global and removed at the end."""
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: torch.nn.Module, _: Any) -> None:
        path = self.modules.get(id(module))
        if path is None:
            return
        leaf = is_leaf(module) and path != ""
        self.frames.append(_Frame(path, leaf, self._call_name(path), type(module).__name__))

    def _leave(self, module: torch.nn.Module, _: Any, output: Any) -> None:
        path = self.modules.get(id(module))
        if path is None:
            return
        while self.frames and self.frames[-1].path != path:
            self.frames.pop()
        if not self.frames:
            return
        frame = self.frames.pop()
        if frame.leaf and not any(f.leaf for f in self.frames):
            self._emit(frame.name, frame.op, output)
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

    def _emit(self, name: str, op: str, output: Any) -> None:
        tensors = [t for t in tree_leaves(output) if isinstance(t, torch.Tensor)]
        tracked = [t for t in tensors if t in self.signals]
        for i, tensor in enumerate(tracked):
            label = name if len(tracked) == 1 else f"{name}[{i}]"
            signal = _stamped(settled(self.signals[tensor]), name, op, op)
            row = Row(name=label, op=op, signal=signal, path=name)
            with _disabled():
                self.on_row(row, tensor)

    # -- operations ------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # asks about a tensor, such as for its device
            return func(*args, **kwargs)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        written = _written(func, args, kwargs)
        for tensor in written:
            if tensor not in self.signals:
                with _disabled():
                    self.on_write(tensor)
        parents = [s for s in (self.ledger.signal(t) for t in inputs) if s is not None]
        packet, overload = _names(func)
        if not parents or packet in FACTORIES:
            out = _constant_of(func, args, kwargs, inputs)
            draws = torch.Tag.nondeterministic_seeded in func.tags
            if not draws:
                self.ledger.replay(func, args, kwargs, out, written)
            self.ledger.note_constant(
                inputs,
                out,
                written,
                draws=draws,
                flat=packet in FACTORIES,
                spreads=_is_pointwise(func),
            )
            return out
        return self._follow(func, packet, overload, args, kwargs, parents, written, inputs)

    def _follow(
        self,
        func: Any,
        packet: str,
        overload: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        parents: Sequence[Signal],
        written: Sequence[torch.Tensor],
        inputs: Sequence[torch.Tensor],
    ) -> Any:
        op = packet.removeprefix("aten::").rstrip("_")
        outer = next((f for f in self.frames if f.leaf), None)
        name = outer.name if outer else self._function_name(op)
        rule = _rule_for(func, packet, overload)
        if rule is None and not written:
            self.frames.append(_Frame(outer.path if outer else "", True, name, op))
            try:
                with self:
                    out = func.decompose(*args, **kwargs)
            finally:
                self.frames.pop()
            if out is not NotImplemented:
                self._finish(name, op, out, outer)
                return out
        found = self._law(func, rule, args, kwargs, parents)
        out = func(*args, **kwargs)
        drawn = any(self.ledger.is_random(t) for t in inputs)
        uniform = any(self.ledger.is_uniform(t) for t in inputs)
        self._attach(name, op, packet, found, parents, out, written, drawn, uniform)
        self._finish(name, op, out, outer)
        return out

    def _finish(self, name: str, op: str, out: Any, outer: _Frame | None) -> None:
        if outer is not None:
            return
        self._emit(name, op, out)
        if self.layer is not None and name == self.layer:
            raise Stop(out)

    def _law(
        self,
        func: Any,
        rule: Callable[..., Any] | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        parents: Sequence[Signal],
    ) -> Any:
        """The rule's signals, or the cause for which there are none."""
        if rule is None:
            if torch.Tag.nondeterministic_seeded in func.tags:
                return Cause(kind="STOCHASTIC", detail=RANDOM)
            return Cause(kind="UNSUPPORTED_OP", detail=f"no rule for {func}")
        try:
            given = tree_map(self.ledger.operand, list(args))
            named = {k: tree_map(self.ledger.operand, v) for k, v in kwargs.items()}
            if not is_told_uniform(rule):
                given, named = tree_map(_not_told, (given, named))
            return rule(*given, **named)
        except BatchCoupledError as error:
            if self.stacked:
                self.coupled = error
                raise
            return Cause(kind="BATCH_COUPLED", detail=str(error))
        except Exception as error:  # a rule that fails has no answer, whatever the failure
            return Cause(kind="UNSUPPORTED_OP", detail=f"{func}: {error}")

    def _attach(
        self,
        name: str,
        op: str,
        packet: str,
        found: Any,
        parents: Sequence[Signal],
        out: Any,
        written: Sequence[torch.Tensor],
        drawn: bool,
        uniform: bool,
    ) -> None:
        tensors = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        results = [found] if isinstance(found, Signal) else found
        if isinstance(results, Cause):
            results = [opaque(t.shape, parents, results) for t in tensors]
        if not tensors:
            self._leak(name, op)
            return
        if isinstance(results, Constant):
            for tensor in tensors:
                self.ledger.mark(tensor, is_random=results.random, uniform=uniform)
            return
        if len(results) != len(tensors):
            detail = f"the rule answers for {len(results)} outputs, torch gives {len(tensors)}"
            cause = Cause(kind="UNSUPPORTED_OP", detail=detail)
            results = [opaque(t.shape, parents, cause) for t in tensors]
        for tensor, signal in zip(tensors, results, strict=True):
            signal = _matching(signal, tensor, parents)
            if drawn:
                signal = with_cause(signal, Cause(kind="STOCHASTIC", detail=RANDOM))
            if self.leak is not None:
                signal = opaque(tensor.shape, [signal], self.leak)
            signal = _stamped(signal, name, op, packet)
            if any(tensor is w for w in written):
                self.ledger.write(tensor, signal)
            else:
                self.signals[tensor] = signal

    def depends_on_input(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is followed."""
        return self.ledger.signal(tensor) is not None

    def read(self, tensor: torch.Tensor, op: str) -> None:
        """A value leaves torch, by a way that the dispatcher does not see."""
        outer = next((f for f in self.frames if f.leaf), None)
        self._leak(outer.name if outer else op, op)

    def _leak(self, name: str, op: str) -> None:
        cause = Cause(kind="UNSUPPORTED_OP", layer=name, op=op, detail=NOT_TENSORS)
        self.leak = self.leak or cause

    def outputs(self, returned: Any, stopped: bool) -> Traced:
        """The tensors in whatever the model returned, with names by their place in it."""
        found, ignoring, unknown = [], [], []
        for path, leaf in flat_outputs(returned):
            if isinstance(leaf, torch.Tensor):
                signal = self.ledger.signal(leaf)
                if signal is None:
                    ignoring.append((path, tuple(leaf.shape)))
                    continue
                if self.leak is not None:
                    signal = opaque(leaf.shape, [signal], self.leak)
                signal = _stamped(settled(signal), "output", "output", "output")
                found.append((path, leaf, signal))
            elif leaf is not None and not isinstance(leaf, str | bytes | int | float | complex):
                unknown.append((path, type(leaf).__name__))
        return Traced(
            outputs=tuple(found), ignoring=tuple(ignoring), unknown=tuple(unknown), stopped=stopped
        )


READERS = frozenset(
    getattr(torch.Tensor, name)
    for name in ("numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage")
)


class _Reads(TorchFunctionMode):
    """Notices what never reaches the dispatcher: values that leave torch."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in READERS and self.tracer.depends_on_input(args[0]):
            self.tracer.read(args[0], func.__name__)
        return func(*args, **(kwargs or {}))


def _stamped(signal: Signal, name: str, op: str, operation: str) -> Signal:
    causes = tuple(
        c if c.layer else replace(c, layer=name, op=op, operation=operation) for c in signal.causes
    )
    return replace(signal, causes=causes)


def _matching(signal: Any, tensor: torch.Tensor, parents: Sequence[Signal]) -> Signal:
    """The signal, if it is one of the tensor's shape and masks; else nothing is known."""
    if not isinstance(signal, Signal):
        detail = f"the rule answered {type(signal).__name__}, no Signal"
    elif tensor.layout != torch.strided:
        detail = f"a tensor of layout {tensor.layout}"
    elif signal.shape != tuple(tensor.shape):
        detail = f"the rule says shape {signal.shape}, torch says {tuple(tensor.shape)}"
    else:
        return signal
    return opaque(tensor.shape, parents, Cause(kind="UNSUPPORTED_OP", detail=detail))


def _constant_of(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[torch.Tensor]
) -> Any:
    """What does not depend on the input, with real values and as an ordinary tensor.

    A model may keep it in a cache, which must be of use after the check.
    """
    if any(is_fake(t) or t.is_inference() for t in inputs):
        return func(*args, **kwargs)
    with _disabled(), torch.inference_mode(False), torch.no_grad():
        return func(*args, **kwargs)


def _names(func: Any) -> tuple[str, str]:
    return str(func._schema.name), str(func._overloadname)


def _rule_for(func: Any, packet: str, overload: str) -> Callable[..., Any] | None:
    namespace, _, stem = packet.partition("::")
    plain = f"{namespace}::{stem.rstrip('_')}" if not stem.startswith("_") else packet.rstrip("_")
    exact = find_rule(f"{plain}.{overload}", overload)
    if exact is not None:
        return exact
    return pointwise_rule if _is_pointwise(func) else find_rule(plain, overload)


def _is_pointwise(func: Any) -> bool:
    """Whether torch says so of an operation, or of what it does when not in place."""
    tags = {*func.tags, *getattr(_out_of_place(func), "tags", ())}
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def _out_of_place(func: Any) -> Any:
    stem = func._schema.name.partition("::")[2]
    if not func._schema.is_mutable or not stem.endswith("_"):
        return None
    packet = getattr(getattr(torch.ops, func.namespace), stem.rstrip("_"), None)
    return getattr(packet, func._overloadname, None)


def _not_told(operand: Any) -> Any:
    return no_longer_uniform(operand) if isinstance(operand, Signal) else operand


@keeps_uniform
def pointwise_rule(*operands: Any, **named: Any) -> Any:
    """The law of everything that carries torch's tag for pointwise operations."""
    named.pop("out", None)
    return pointwise(*operands, *named.values())


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    if not func._schema.is_mutable:
        return []
    found = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[i] if i < len(args) else kwargs.get(argument.name)
        found += [t for t in tree_leaves(value) if isinstance(t, torch.Tensor)]
    return found


def _disabled() -> Any:
    return torch.utils._python_dispatch._disable_current_modes()
