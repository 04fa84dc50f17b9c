"""What a property test was asked for, and how it gets ready to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.samples import DTYPES
from shiftcheck.strategies.accepted_sizes import (
    Accepted,
    farthest_by_default,
    find_sizes,
    listed_sizes,
)
from shiftcheck.strategies.arguments import axes_of, boundary_of, channels_of, per_axis
from shiftcheck.strategies.examples import Scene
from shiftcheck.strategies.question import Arguments, Question


@dataclass(frozen=True, kw_only=True, eq=False)
class Promise:
    """The arguments of a property test; ``options`` are those of the check."""

    model: Callable[..., Any]
    factory: bool
    ndim: int | None
    channels: tuple[int, ...] | None
    sizes: tuple[tuple[int, ...], ...] | None
    farthest: Any
    lattice: Any
    boundary: Any
    kinds: tuple[str, ...]
    dtype: torch.dtype | None
    arguments: Arguments | None
    options: dict[str, Any]

    def prepared(self) -> Scene:
        """Build the model where a factory was given, and find the sizes that it accepts."""
        model = self._built()
        axes = self.ndim or (len(self.sizes[0]) if self.sizes else axes_of(None, model))
        weight = _first_floating(model)
        dims = self.options["spatial_dims"]
        question = Question(
            model=model,
            ndim=axes,
            boundary=boundary_of(self.boundary, axes),
            layer=self.options["layer"],
            spatial_dims=None if dims is None else tuple(dims),
            training=self.options["training"],
            fixed=self.options["fixed"],
            outputs=self.options["outputs"],
            dtype=self.dtype or (torch.get_default_dtype() if weight is None else weight.dtype),
            device=torch.device("cpu") if weight is None else weight.device,
            arguments=self.arguments,
        )
        counts = self.channels or channels_of(None, model)
        room = None if self.farthest is None else per_axis("max", self.farthest, axes, least=0)
        steps = None if self.lattice is None else per_axis("lattice", self.lattice, axes, least=1)
        if self.sizes is None:
            accepted = find_sizes(question, counts, room, steps)
        else:
            accepted = listed_sizes(question, counts, self.sizes)
        return self._scene(accepted, steps or accepted.lattice, room)

    def _scene(
        self, accepted: Accepted, lattice: tuple[int, ...], room: tuple[int, ...] | None
    ) -> Scene:
        farthest = []
        for axis, step in enumerate(lattice):
            most = farthest_by_default(step) if room is None else room[axis]
            if 0 < most < step:
                raise InputError(
                    f"max={self.farthest!r}: along axis {axis} the lattice is {step}; give at least"
                    " that, or 0 to leave the axis alone"
                )
            reached = accepted.farthest(axis, step, most) if most else 0
            if most and not reached:
                raise InputError(
                    f"lattice={lattice}: no size was found at which a shift by {step} along axis"
                    f" {axis} leaves something to compare; give sizes= that do"
                )
            farthest.append(reached)
        if not any(farthest):
            raise InputError(f"max={self.farthest!r}: no axis is moved")
        made = _name(self.model).replace("<lambda>", "factory")
        return Scene(
            found=accepted,
            lattice=lattice,
            farthest=tuple(farthest),
            kinds=self.kinds,
            factory=made if self.factory else "",
            options=self.options,
        )

    def _built(self) -> Callable[..., Any]:
        if not self.factory:
            return self.model
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.options["seed"])
            model = self.model()
        if not callable(model):
            raise InputError(
                f"model: the factory {_name(self.model)} returned a {type(model).__name__}, which"
                " cannot be called: return a module, or give a function of the signal"
            )
        return model  # type: ignore[no-any-return]


def _first_floating(model: Any) -> torch.Tensor | None:
    if not isinstance(model, torch.nn.Module):
        return None
    return next((p for p in model.parameters() if p.dtype in DTYPES), None)


def _name(model: Any) -> str:
    return str(getattr(model, "__name__", type(model).__name__))
