"""The questions that are asked with shifts, by name."""

from __future__ import annotations

from shiftcheck.checks.evaluation.class_maps import ClassMaps
from shiftcheck.checks.evaluation.comparing import (
    Classes,
    EqT,
    Equivariance,
    Invariance,
    Question,
)

QUESTIONS: dict[str, type[Question]] = {
    q.what: q for q in (Equivariance, Invariance, Classes, ClassMaps, EqT)
}

OF_LAYERS = (Equivariance.what, EqT.what)
"""Those that are asked of every layer, too, where that is wanted."""
