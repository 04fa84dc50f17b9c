"""Hypothesis strategies for signals, shifts and sizes, and a property test of a whole model.

Needs hypothesis: ``pip install 'torch-shiftcheck[hypothesis]'``. Importing it registers torch's
random numbers with hypothesis, which then seeds them for every example and puts them back after it.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "hypothesis":
        raise
    from shiftcheck.errors import MissingExtraError

    raise MissingExtraError(
        "shiftcheck.strategies needs hypothesis, which is not installed:"
        " pip install 'torch-shiftcheck[hypothesis]'"
    ) from None

from shiftcheck.measuring.signals.samples import sample_signal
from shiftcheck.strategies.drawing import boundaries, shifts, signals, sizes
from shiftcheck.strategies.property_test import equivariant
from shiftcheck.strategies.randomness import register

register()

__all__ = ["boundaries", "equivariant", "sample_signal", "shifts", "signals", "sizes"]
