"""Where the samples of tiles go: tensors that are made, or arrays that the caller gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.tiles.cutting import Tile
from shiftcheck.errors import InputError, ModelError
from shiftcheck.lattice.tiles import NOWHERE
from shiftcheck.report.tiles import TiledOutput, TilingPlan
from shiftcheck.tracing.containers import leaves_of, with_leaves
from shiftcheck.tracing.modules import flat_outputs


class Stitching:
    """Puts together what the model returned on each tile.

    ``strict``: what depends on no place has to be the same on all tiles.
    """

    def __init__(self, plan: TilingPlan, out: Any, *, as_arrays: bool, strict: bool = True) -> None:
        self.plan, self.as_arrays, self.strict = plan, as_arrays, strict
        self.given = _by_name(plan, out)
        self.wholes: dict[str, Any] = dict(self.given)
        self.returned: Any = None
        self.others: dict[str, torch.Tensor] = {}

    def add(self, tile: Tile, returned: Any) -> None:
        """The samples that a tile writes."""
        found = {f"output{path}": leaf for path, leaf in flat_outputs(returned)}
        if self.returned is None:
            self.returned = returned
        for output in self.plan.outputs:
            part = found.pop(output.name, None)
            if not isinstance(part, torch.Tensor):
                raise ModelError(f"the model returned no {output.name} on tile {tile.numbers}")
            self._check(output, part, tile)
            whole = self._whole(output, part)
            for source, target in tile.moves(output, part.ndim):
                _put(whole, target, part[source])
        self._keep_others(found, tile)

    def _check(self, output: TiledOutput, part: torch.Tensor, tile: Tile) -> None:
        shape = list(output.shape)
        for dim, samples in zip(output.dims, tile.samples(output), strict=True):
            if dim != NOWHERE:
                shape[dim] = samples
        if list(part.shape) != shape:
            raise ModelError(
                f"{output.name} has shape {tuple(part.shape)} on tile {tile.numbers}, the plan says"
                f" {tuple(shape)}: make a plan for this model"
            )

    def _whole(self, output: TiledOutput, part: torch.Tensor) -> Any:
        whole = self.wholes.get(output.name)
        if whole is None:
            whole = self.wholes[output.name] = torch.empty(
                output.shape, dtype=part.dtype, device=part.device
            )
        dtype, given = _name(part.dtype), _name(whole.dtype)
        if dtype != given and output.name in self.given:
            raise InputError(
                f"out has dtype {given}, but {output.name} is of {dtype}: give an out of {dtype}"
            )
        if dtype != given:
            raise ModelError(
                f"{output.name} is of {dtype} on this tile and of {given} on another one: the type"
                " of an output may not depend on the values; convert it inside the model"
            )
        return whole

    def _keep_others(self, found: Mapping[str, Any], tile: Tile) -> None:
        """What depends on no place is the same for all tiles."""
        tensors = {name: leaf for name, leaf in found.items() if isinstance(leaf, torch.Tensor)}
        if not self.others:
            self.others = tensors
            return
        for name, leaf in tensors.items() if self.strict else ():
            known = self.others.get(name)
            same = known is not None and known.shape == leaf.shape
            if not same or not torch.allclose(known, leaf, equal_nan=True):  # type: ignore[arg-type]
                raise ModelError(
                    f"{name} depends on no place of x, and differs on tile {tile.numbers}: it"
                    " depends on the size, or on the values in another way than by statistics"
                )

    def result(self) -> Any:
        """The whole, in the containers in which the model returns it."""
        wholes = {name: self._shown(whole) for name, whole in self.wholes.items()}
        if self.returned is None:
            return next(iter(wholes.values())) if len(wholes) == 1 else wholes
        leaves = leaves_of(self.returned)
        names = ["output" + "".join(step.written for step in steps) for steps, _ in leaves]
        new = [wholes.get(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)]
        return with_leaves(self.returned, new)

    def _shown(self, whole: Any) -> Any:
        as_array = self.as_arrays and isinstance(whole, torch.Tensor)
        return whole.cpu().numpy() if as_array and whole.dtype != torch.bfloat16 else whole

    @property
    def file(self) -> str | None:
        """The first file that is written to."""
        files = [w.filename for w in self.given.values() if isinstance(w, np.memmap)]
        return next((str(f) for f in files if f is not None), None)

    @property
    def newly_made(self) -> bool:
        """Whether a file was made for this run, and holds nothing of an earlier one."""
        return any(isinstance(w, np.memmap) and w.mode == "w+" for w in self.given.values())


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _put(whole: torch.Tensor | np.ndarray[Any, Any], target: Any, part: torch.Tensor) -> None:
    view = whole[target]
    if isinstance(view, torch.Tensor):
        view.copy_(part)
    else:
        np.copyto(view, part.cpu().numpy())


def _by_name(plan: TilingPlan, out: Any) -> dict[str, Any]:
    """What the caller gave for each output; raises InputError for what does not fit."""
    if out is None:
        return {}
    names = [output.name for output in plan.outputs]
    several: Sequence[Any] = list(out) if isinstance(out, tuple | list) else [out]
    if isinstance(out, Mapping):
        given = dict(out)
    elif len(several) == len(names):
        given = dict(zip(names, several, strict=True))
    else:
        raise InputError(
            f"out holds {len(several)} arrays, the model has {len(names)} outputs"
            f" ({', '.join(names)}): give one for each, in this order or in a dict by name"
        )
    shapes = {output.name: output.shape for output in plan.outputs}
    for name, array in given.items():
        if name not in shapes:
            raise InputError(f"out names {name!r}: the outputs are {', '.join(names)}")
        if not isinstance(array, torch.Tensor | np.ndarray):
            raise InputError(
                f"out holds a {type(array).__name__} for {name}: give a tensor or an array of shape"
                f" {shapes[name]}"
            )
        if tuple(array.shape) != shapes[name]:
            raise InputError(
                f"out has shape {tuple(array.shape)}, {name} has {shapes[name]}: give that shape"
            )
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise InputError(f"out for {name} cannot be written to: open it with mode='r+'")
    return given
