"""Every exception that the library raises."""

from __future__ import annotations


class ShiftcheckError(Exception):
    """The base of every error that this library raises."""


class InputError(ShiftcheckError, ValueError):
    """An argument cannot be used; the message names it, its value and the remedy."""


class ModelError(ShiftcheckError, RuntimeError):
    """The model cannot be run as asked; its own error, if any, is the cause of this one."""


class NotEquivariantError(ShiftcheckError, AssertionError):
    """A check found that the model is not equivariant."""


class NotInvariantError(ShiftcheckError, AssertionError):
    """A check found that the model is not invariant, or not as much as asked."""


class InconclusiveError(ShiftcheckError, AssertionError):
    """A check could not tell whether the model has the property; that never counts as a pass."""


class NotLinearError(ShiftcheckError, AssertionError):
    """A check found that the model is not linear, or linear only but for a constant part."""


class InfiniteSupportError(ShiftcheckError, AssertionError):
    """A linear and equivariant model sees all of an axis: no finite kernel is its convolution."""


class MissingExtraError(ShiftcheckError, ImportError):
    """A package of an extra is not installed; the message holds the line that installs it."""
