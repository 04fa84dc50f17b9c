"""Test the translation equivariance of PyTorch modules."""

from typing import Any

from shiftcheck import datasets, models
from shiftcheck.budgets import budget_file
from shiftcheck.check import check_equivariance, geometry
from shiftcheck.convolved import as_convolution, impulse_response
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
from shiftcheck.impulse import ImpulseResponse
from shiftcheck.invariance import check_invariance
from shiftcheck.invariance_report import (
    InvarianceReport,
    InvarianceShift,
    InvarianceTrial,
    InvarianceVerdict,
    InvariantOutput,
)
from shiftcheck.invariance_testing import assert_invariant
from shiftcheck.layer_tests import parametrize_with_layers
from shiftcheck.lie_derivative import LieDerivative, lie_derivatives
from shiftcheck.linear_assertion import assert_linear
from shiftcheck.linear_report import (
    ConvolutionReport,
    Linearity,
    LinearityReport,
    LinearOutput,
    Superposition,
    Theorem,
)
from shiftcheck.linearity import check_linear
from shiftcheck.matrix import OperatorMatrix, operator_matrix
from shiftcheck.metrics import Metrics, equivariance_metrics
from shiftcheck.polyphase import PolyphaseConvolution
from shiftcheck.report import Cause, Change, Draw, LayerResult, Report, ShiftResult, Trial, Verdict
from shiftcheck.rules import register_rule
from shiftcheck.shifts import shift
from shiftcheck.testing import assert_equivariant
from shiftcheck.theorem import check_convolution

__version__ = "0.1.0"

__all__ = [
    "Cause",
    "Change",
    "ConvolutionReport",
    "Draw",
    "ImpulseResponse",
    "InconclusiveError",
    "InfiniteSupportError",
    "InputError",
    "InvarianceReport",
    "InvarianceShift",
    "InvarianceTrial",
    "InvarianceVerdict",
    "InvariantOutput",
    "LayerResult",
    "LieDerivative",
    "LinearOutput",
    "Linearity",
    "LinearityReport",
    "Metrics",
    "MissingExtraError",
    "ModelError",
    "NotEquivariantError",
    "NotInvariantError",
    "NotLinearError",
    "OperatorMatrix",
    "PolyphaseConvolution",
    "Report",
    "ShiftResult",
    "ShiftcheckError",
    "Superposition",
    "Theorem",
    "Trial",
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
    """What needs an extra is imported when asked for: strategies hypothesis, plot matplotlib."""
    if name in ("strategies", "plot"):
        from importlib import import_module

        return import_module(f"shiftcheck.{name}")
    raise AttributeError(f"module 'shiftcheck' has no attribute {name!r}")
