"""Test the translation equivariance of PyTorch modules."""

from shiftcheck import datasets, models
from shiftcheck.check import check_equivariance, geometry
from shiftcheck.errors import (
    InconclusiveError,
    InputError,
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
    "check_equivariance",
    "check_invariance",
    "datasets",
    "geometry",
    "models",
    "register_rule",
    "shift",
]
