"""Whether a signal varies over space."""

from __future__ import annotations

from shiftcheck.measuring.signals.arguments import Inputs, Leaf
from shiftcheck.measuring.tolerance import CLEARLY, Tolerance
from shiftcheck.tracing.precision import eps_of


def varies_somewhere(inputs: Inputs) -> bool:
    """Whether something that is shifted varies over space, beyond rounding."""
    moved = [leaf for leaf in inputs.leaves if isinstance(leaf, Leaf) and leaf.role == "shifted"]
    return any(varies(leaf) for leaf in moved)


def varies(leaf: Leaf) -> bool:
    """Whether a signal varies over space, beyond rounding."""
    x = leaf.tensor.detach()
    noise = CLEARLY * Tolerance(eps=eps_of(x.dtype)).relative(None)
    if not x.is_floating_point():
        x = x.double()
    spread = x.amax(leaf.spatial) - x.amin(leaf.spatial)
    return bool((spread > noise * x.abs().amax(leaf.spatial)).any())
