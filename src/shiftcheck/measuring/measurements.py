"""What was measured: frozen, and not yet judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from shiftcheck.measuring.gaps.regions import Gap
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.traced import Row


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerGaps:
    """A layer or an output, with its gap under each shift.

    ``peak``: the largest magnitude of the base. Of an output: how many of its ``channels`` are
    ``faint``, and the magnitude of the ``faintest`` of the others.
    """

    row: Row
    gaps: tuple[Gap, ...] = ()
    peak: float = 0.0
    channels: int = 0
    faint: int = 0
    faintest: float | None = None

    def with_gaps(self, *gaps: Gap) -> LayerGaps:
        """The same layer, under further shifts."""
        return replace(self, gaps=(*self.gaps, *gaps))


Measured = Mapping[str, LayerGaps]
"""Layers or outputs by name, in the order in which they were met."""


@dataclass(frozen=True, kw_only=True)
class OddOutput:
    """An output that cannot be compared, and why."""

    name: str
    shape: tuple[int, ...]
    reason: Reason


@dataclass(frozen=True)
class Doubt:
    """Why no comparison of a run can be trusted, if so.

    ``unsure``: in the batch the outputs were as near to those for x by itself as a type that is
    coarser than float32 can tell.
    """

    reason: Reason = Reason.NONE
    unsure: bool = False

    def then(self, later: Doubt) -> Doubt:
        """Both; the first reason counts."""
        return Doubt(self.reason or later.reason, self.unsure or later.unsure)


NO_DOUBT = Doubt()


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What a plan gave.

    ``odd``: outputs that no signal leads to. ``leak``: how values left in some pass. ``dtypes``: of
    every tensor on the way. ``products``: the coarser types of its products. ``eps``: that of the
    coarsest type on the way, or of the input.
    """

    rows: Measured
    outputs: Measured
    notes: tuple[str, ...] = ()
    odd: tuple[OddOutput, ...] = ()
    doubt: Doubt = NO_DOUBT
    leak: str = ""
    dtypes: frozenset[torch.dtype] = frozenset()
    products: frozenset[str] = field(default_factory=frozenset)
    eps: float = 0.0
