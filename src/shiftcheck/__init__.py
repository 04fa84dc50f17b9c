"""Test the translation equivariance of PyTorch modules."""

from typing import Any

from shiftcheck import datasets, models
from shiftcheck.budgets import budget_file
from shiftcheck.check import check_equivariance, geometry
from shiftcheck.errors import (
    InconclusiveError,
    InputError,
    MissingExtraError,
    ModelError,
    NotEquivariantError,
    NotInvariantError,
    ShiftcheckError,
)
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
from shiftcheck.report import Cause, Change, Draw, LayerResult, Report, ShiftResult, Trial, Verdict
from shiftcheck.rules import register_rule
from shiftcheck.shifts import shift
from shiftcheck.testing import assert_equivariant

__version__ = "0.1.0"

__all__ = [
    "Cause",
    "Change",
    "Draw",
    "InconclusiveError",
    "InputError",
    "InvarianceReport",
    "InvarianceShift",
    "InvarianceTrial",
    "InvarianceVerdict",
    "InvariantOutput",
    "LayerResult",
    "MissingExtraError",
    "ModelError",
    "NotEquivariantError",
    "NotInvariantError",
    "Report",
    "ShiftResult",
    "ShiftcheckError",
    "Trial",
    "Verdict",
    "assert_equivariant",
    "assert_invariant",
    "budget_file",
    "check_equivariance",
    "check_invariance",
    "datasets",
    "geometry",
    "models",
    "parametrize_with_layers",
    "register_rule",
    "shift",
]


def __getattr__(name: str) -> Any:
    """``shiftcheck.strategies`` is imported when asked for: it needs hypothesis."""
    if name == "strategies":
        from importlib import import_module

        return import_module("shiftcheck.strategies")
    raise AttributeError(f"module 'shiftcheck' has no attribute {name!r}")
