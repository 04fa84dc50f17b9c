"""What a gap may be: the noise of a type, or what the user allows."""

from __future__ import annotations

from dataclasses import dataclass

NOISE = {2.0**-52: 64.0, 2.0**-23: 64.0, 2.0**-10: 16.0, 2.0**-7: 16.0}
"""Allowed relative gap in units of the epsilon of the dtype; the worst seen for one layer is 4."""

CLEARLY = 8.0
"""With the shift left out, the gap must exceed the allowance by this factor."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What passes: the noise of ``eps``, or the user's ``atol + rtol * scale``."""

    eps: float
    rtol: float | None = None
    atol: float | None = None

    @property
    def given(self) -> bool:
        """Whether the user gave tolerances of his own."""
        return self.rtol is not None

    def relative(self, scale: float | None) -> float:
        """The largest relative gap that passes for a channel of magnitude ``scale``."""
        if self.rtol is None or self.atol is None:
            return NOISE.get(self.eps, 64.0) * self.eps
        return self.rtol + (self.atol / scale if scale else 0.0)
