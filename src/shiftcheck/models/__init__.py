"""Two networks to try the checks on: one that convolutions make equivariant, and one without."""

from shiftcheck.models.lenet import LeNet, lenet
from shiftcheck.models.mlp import MLP, mlp

__all__ = ["MLP", "LeNet", "lenet", "mlp"]
