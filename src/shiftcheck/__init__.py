"""Test the translation equivariance of PyTorch modules."""

from typing import Any

from shiftcheck import datasets, models, report
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.checks.figures.lie_derivative import lie_derivatives
from shiftcheck.checks.figures.metrics import equivariance_metrics
from shiftcheck.checks.invariance.check import check_invariance
from shiftcheck.checks.linearity.check import check_linear
from shiftcheck.checks.linearity.impulses import ImpulseResponse
from shiftcheck.checks.linearity.kernel import as_convolution, impulse_response
from shiftcheck.checks.linearity.matrix import OperatorMatrix, operator_matrix
from shiftcheck.checks.linearity.theorem import check_convolution
from shiftcheck.checks.linearity.torch_modules import PolyphaseConvolution
from shiftcheck.checks.read_geometry import geometry
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
)
from shiftcheck.measuring.signals.shifting import shift
from shiftcheck.report.equivariance import Report, Verdict
from shiftcheck.rules import register_rule
from shiftcheck.testing.assertions import assert_equivariant
from shiftcheck.testing.budgets import budget_file
from shiftcheck.testing.invariance import assert_invariant
from shiftcheck.testing.layers import parametrize_with_layers
from shiftcheck.testing.linearity import assert_linear

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
    "Verdict",
    "as_convolution",
    "assert_equivariant",
    "assert_invariant",
    "assert_linear",
    "budget_file",
    "check_convolution",
    "check_equivariance",
    "check_invariance",
    "check_linear",
    "datasets",
    "equivariance_metrics",
    "geometry",
    "impulse_response",
    "lie_derivatives",
    "models",
    "operator_matrix",
    "parametrize_with_layers",
    "register_rule",
    "shift",
]


def __getattr__(name: str) -> Any:
    """What needs an extra is imported when asked for: strategies hypothesis, plot matplotlib.

    The records of ``shiftcheck.report`` are found here too, which is their earlier place.
    """
    if name in ("strategies", "plot"):
        from importlib import import_module

        return import_module(f"shiftcheck.{name}")
    if name in report.__all__:
        return getattr(report, name)
    raise AttributeError(f"module 'shiftcheck' has no attribute {name!r}")
