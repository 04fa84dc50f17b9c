"""What a pass without values says of one with values: of its constants, and of other threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shiftcheck.lattice.causes import opaque
from shiftcheck.report.causes import Cause
from shiftcheck.tracing.leaving.leaks import ELSEWHERE, UNKNOWN, leak
from shiftcheck.tracing.origins import Place
from shiftcheck.tracing.torch_internals import FakeTensorMode
from shiftcheck.tracing.traced import Traced


@dataclass(frozen=True, kw_only=True)
class Testimony:
    """What was seen of a pass without values.

    ``complete``: it came to its end, and all was followed. ``elsewhere``: a tensor was used in
    another thread. ``constants``: the places of those whose origin is known there.
    """

    complete: bool = False
    elsewhere: bool = False
    constants: frozenset[Place] = frozenset()


class WatchedFakes(FakeTensorMode):
    """Tensors without values that tell when another thread than that of the pass uses them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.home = threading.get_ident()
        self.elsewhere = False

    def dispatch(
        self,
        func: Any,
        types: Sequence[Any],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Any operation on one of them, in any thread."""
        self.elsewhere = self.elsewhere or threading.get_ident() != self.home
        return super().dispatch(func, types, args, kwargs)  # type: ignore[arg-type]


def cleared(traced: Traced, testimony: Testimony) -> Traced:
    """A pass as it is, where what is not known of it is harmless; else values may have left."""
    known = testimony.complete and traced.met.strangers <= testimony.constants
    if traced.met.strangers and not known:
        layer, op, _ = min(traced.met.strangers - testimony.constants or traced.met.strangers)
        name = op.removeprefix("aten::")
        return _leaking(
            traced,
            replace(leak(UNKNOWN), layer=layer or name, op=name),
        )
    if traced.handed_over and (testimony.elsewhere or not testimony.complete):
        return _leaking(
            traced,
            replace(leak(ELSEWHERE), layer="thread", op="thread"),
        )
    return traced


def _leaking(traced: Traced, cause: Cause) -> Traced:
    """The same with outputs of which nothing is known any more."""
    if traced.leak:
        return traced
    outputs = tuple(
        (path, tensor, opaque(tensor.shape, [layout], cause))
        for path, tensor, layout in traced.outputs
    )
    return replace(traced, outputs=outputs, leak=cause.op)
