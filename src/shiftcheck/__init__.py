"""Test the translation equivariance of PyTorch modules.

What is public is imported when it is asked for, so that importing the package costs nothing.
"""

import gc
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftcheck import datasets as datasets
    from shiftcheck import models as models
    from shiftcheck import report as report
    from shiftcheck.checks.equivariance.check import check_equivariance
    from shiftcheck.checks.figures.edges import effective_halo
    from shiftcheck.checks.figures.lie_derivative import lie_derivatives
    from shiftcheck.checks.figures.metrics import equivariance_metrics
    from shiftcheck.checks.find_sizes import input_sizes
    from shiftcheck.checks.invariance.check import check_invariance
    from shiftcheck.checks.linearity.check import check_linear
    from shiftcheck.checks.linearity.impulses import ImpulseResponse
    from shiftcheck.checks.linearity.kernel import as_convolution, impulse_response
    from shiftcheck.checks.linearity.matrix import OperatorMatrix, operator_matrix
    from shiftcheck.checks.linearity.theorem import check_convolution
    from shiftcheck.checks.linearity.torch_modules import PolyphaseConvolution
    from shiftcheck.checks.read_geometry import geometry
    from shiftcheck.checks.seams.compare import compare_tiled
    from shiftcheck.checks.tiles.plan import tiling
    from shiftcheck.checks.tiles.run import TiledModel, tiled
    from shiftcheck.errors import (
        InconclusiveError,
        InfiniteSupportError,
        InputError,
        MissingExtraError,
        ModelError,
        NotEquivariantError,
        NotInvariantError,
        NotLinearError,
        ShiftcheckError,
        TilesDifferError,
    )
    from shiftcheck.measuring.signals.shifting import shift
    from shiftcheck.report.equivariance import Report, Verdict
    from shiftcheck.report.tiles import TilingPlan
    from shiftcheck.rules import register_rule
    from shiftcheck.testing.assertions import assert_equivariant
    from shiftcheck.testing.budgets import budget_file
    from shiftcheck.testing.invariance import assert_invariant
    from shiftcheck.testing.layers import parametrize_with_layers
    from shiftcheck.testing.linearity import assert_linear
    from shiftcheck.testing.tiles import assert_tiled_equals_whole

__version__ = "0.1.0"

__all__ = [
    "ImpulseResponse",
    "InconclusiveError",
    "InfiniteSupportError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "NotEquivariantError",
    "NotInvariantError",
    "NotLinearError",
    "OperatorMatrix",
    "PolyphaseConvolution",
    "Report",
    "ShiftcheckError",
    "TiledModel",
    "TilesDifferError",
    "TilingPlan",
    "Verdict",
    "as_convolution",
    "assert_equivariant",
    "assert_invariant",
    "assert_linear",
    "assert_tiled_equals_whole",
    "budget_file",
    "check_convolution",
    "check_equivariance",
    "check_invariance",
    "check_linear",
    "compare_tiled",
    "datasets",
    "effective_halo",
    "equivariance_metrics",
    "geometry",
    "impulse_response",
    "input_sizes",
    "lie_derivatives",
    "models",
    "operator_matrix",
    "parametrize_with_layers",
    "register_rule",
    "shift",
    "tiled",
    "tiling",
]

_HOMES = {
    "ImpulseResponse": "checks.linearity.impulses",
    "InconclusiveError": "errors",
    "InfiniteSupportError": "errors",
    "InputError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "NotEquivariantError": "errors",
    "NotInvariantError": "errors",
    "NotLinearError": "errors",
    "OperatorMatrix": "checks.linearity.matrix",
    "PolyphaseConvolution": "checks.linearity.torch_modules",
    "Report": "report.equivariance",
    "ShiftcheckError": "errors",
    "TiledModel": "checks.tiles.run",
    "TilingPlan": "report.tiles",
    "TilesDifferError": "errors",
    "Verdict": "report.equivariance",
    "as_convolution": "checks.linearity.kernel",
    "assert_equivariant": "testing.assertions",
    "assert_invariant": "testing.invariance",
    "assert_linear": "testing.linearity",
    "assert_tiled_equals_whole": "testing.tiles",
    "budget_file": "testing.budgets",
    "check_convolution": "checks.linearity.theorem",
    "check_equivariance": "checks.equivariance.check",
    "check_invariance": "checks.invariance.check",
    "check_linear": "checks.linearity.check",
    "compare_tiled": "checks.seams.compare",
    "effective_halo": "checks.figures.edges",
    "equivariance_metrics": "checks.figures.metrics",
    "geometry": "checks.read_geometry",
    "impulse_response": "checks.linearity.kernel",
    "input_sizes": "checks.find_sizes",
    "lie_derivatives": "checks.figures.lie_derivative",
    "operator_matrix": "checks.linearity.matrix",
    "parametrize_with_layers": "testing.layers",
    "register_rule": "rules",
    "shift": "measuring.signals.shifting",
    "tiled": "checks.tiles.run",
    "tiling": "checks.tiles.plan",
}
"""The module that defines each public name: the imports above, which only type checkers see."""

_MODULES = (
    "checks",
    "datasets",
    "errors",
    "lattice",
    "measuring",
    "models",
    "plot",
    "report",
    "rules",
    "strategies",
    "testing",
    "tracing",
)


def __getattr__(name: str) -> Any:
    """Import what is asked for, once; strategies need hypothesis then, and plot matplotlib.

    The records of ``shiftcheck.report`` are found here too, which is their earlier place.
    """
    if name in _MODULES:
        return _imported(f"shiftcheck.{name}")
    home = _HOMES.get(name)
    if home is None and not name.startswith("_"):
        home = "report" if name in _imported("shiftcheck.report").__all__ else None
    if home is None:
        raise AttributeError(f"module 'shiftcheck' has no attribute {name!r}")
    value = globals()[name] = getattr(_imported(f"shiftcheck.{home}"), name)
    return value


def _imported(name: str) -> ModuleType:
    """A module; garbage waits so long, as looking through all that torch holds takes as long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if collecting:
            gc.enable()


def __dir__() -> list[str]:
    """All public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
