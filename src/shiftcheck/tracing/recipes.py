"""How parts of a tensor were made, so that those that were made alike are known to be.

A tiled network does the same to each of its tiles. Two tensors have one recipe where the same
operations with the same other arguments were done to parts of one tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.lattice.layout import Layout, Recipe
from shiftcheck.tracing.memory import TensorMemory
from shiftcheck.tracing.operations import Operation
from shiftcheck.tracing.torch_internals import hash_of, tree_flatten, version_of


class Recipes:
    """The recipes of one pass; constants are kept, so that no other one has their id."""

    def __init__(self, memory: TensorMemory) -> None:
        self.memory = memory
        self.constants: dict[int, torch.Tensor] = {}

    def of(self, operation: Operation, parents: Sequence[Layout], place: int) -> Recipe | None:
        """The recipe of result number ``place``; None where it was not made of parts of one."""
        recipes = [p.recipe for p in parents]
        first = next((r for r in recipes if r is not None), None)
        if first is None or any(r is None or r.whole is not first.whole for r in recipes):
            return None
        known = [r for r in recipes if r is not None]
        common = {
            axis: start
            for axis, start in first.starts.items()
            if all(r.starts.get(axis) == start for r in known)
        }
        leaves, structure = tree_flatten((list(operation.args), dict(operation.kwargs)))
        parts = tuple(self._part(leaf, common) for leaf in leaves)
        if None in parts:
            return None
        try:
            steps = hash((operation.func, place, hash_of(structure), parts))
        except TypeError:
            return None
        return Recipe(first.whole, common, steps)

    def _part(self, leaf: Any, common: Mapping[int, Fraction]) -> object | None:
        """What tells one argument from another; None where that is not known."""
        if not isinstance(leaf, torch.Tensor):
            return type(leaf), leaf
        layout = self.memory.layout(leaf)
        if layout is not None:
            recipe = layout.recipe
            if recipe is None:
                return None
            apart = {a: s for a, s in recipe.starts.items() if a not in common}
            return Recipe, recipe.steps, frozenset(apart.items())
        if leaf.is_inference() or self.memory.constants.is_random(leaf):
            return None
        self.constants[id(leaf)] = leaf
        return torch.Tensor, id(leaf), version_of(leaf)
