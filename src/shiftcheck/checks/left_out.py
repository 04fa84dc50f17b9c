"""Outputs whose axes were reduced: which of them a verdict may leave out."""

from __future__ import annotations

from collections.abc import Iterable

from shiftcheck.lattice.layout import Gone, Layout, Lost
from shiftcheck.measuring.signals.arguments import Shift
from shiftcheck.report.causes import Cause, CauseKind

UNSHOWN = (CauseKind.MEASURED, CauseKind.UNSUPPORTED_OP)
"""Causes after which the structure shows nothing of what came before."""


def is_reduced_alike(layout: Layout, shifts: Iterable[Shift] = ()) -> bool:
    """Whether all axes that are missing were reduced, and nothing before depends on the place.

    At ``shifts`` off the lattice of what was reduced, it does depend on it.
    """
    if any(isinstance(s, Lost) for s in layout.axes):
        return False
    gone = [(a, s) for a, s in enumerate(layout.axes) if isinstance(s, Gone)]
    if any(s.broken or s.anchored for _, s in gone):
        return False
    if gone and any(c.kind in UNSHOWN for c in layout.causes):
        return False
    return not any(v[a] % s.lattice for v in shifts for a, s in gone)


TO_PLACES = (CauseKind.POSITION, CauseKind.MIXING, CauseKind.INDEX)
"""Causes that tell one place from another."""


def what_tells_places_apart(layout: Layout, shifts: Iterable[Shift]) -> Cause | None:
    """Why an output that was reduced is not left out; None where no cause says more."""
    causes = [c for c in layout.causes if not c.latent]
    placed = next((c for c in causes if c.kind in TO_PLACES), None)
    if placed is not None:
        return placed
    gone = [(a, s.lattice) for a, s in enumerate(layout.axes) if isinstance(s, Gone)]
    coarse = [a for a, lattice in gone if any(v[a] % lattice for v in shifts)]
    return next((c for c in causes if c.period and c.axis in coarse), None)
