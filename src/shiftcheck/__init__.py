"""Test the translation equivariance of PyTorch modules."""

from shiftcheck import datasets, models
from shiftcheck.budgets import budget_file
from shiftcheck.check import check_equivariance, geometry
from shiftcheck.errors import (
    InconclusiveError,
    InputError,
    MissingExtraError,
    ModelError,
    NotEquivariantError,
    ShiftcheckError,
)
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
    "LayerResult",
    "MissingExtraError",
    "ModelError",
    "NotEquivariantError",
    "Report",
    "ShiftResult",
    "ShiftcheckError",
    "Trial",
    "Verdict",
    "assert_equivariant",
    "budget_file",
    "check_equivariance",
    "datasets",
    "geometry",
    "models",
    "parametrize_with_layers",
    "register_rule",
    "shift",
]
