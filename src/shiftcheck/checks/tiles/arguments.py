"""The arguments of a tiled call: cut for each tile, and never read as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.tiles.cutting import Tile, cropped
from shiftcheck.checks.tiles.files import settle
from shiftcheck.errors import InputError
from shiftcheck.report.tiles import TilingPlan
from shiftcheck.tracing.containers import leaves_of, with_leaves

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""Types between which only the memory that is needed differs."""

LOOKED_AT = 2**12
"""Values of the image that tell it from another one."""


class Arguments:
    """What the model is called with: the image, and what goes along with it."""

    def __init__(self, x: Any, plan: TilingPlan, device: torch.device) -> None:
        self.plan: TilingPlan = plan
        self.device: torch.device = device
        self.kind: str = (
            "dict" if isinstance(x, Mapping) else "tuple" if isinstance(x, tuple) else ""
        )
        self.whole: Any = dict(x) if isinstance(x, Mapping) else x
        self.leaves: list[Any] = [leaf for _, leaf in leaves_of(self.whole)]
        images = [leaf for leaf in self.leaves if self._is_image(leaf)]
        if not images:
            raise InputError(self._told(x))
        self.image: Any = images[0]
        dtype = _dtype_of(self.image)
        both_float = dtype in FLOATING and plan.dtype in FLOATING
        if dtype != plan.dtype and not (both_float and plan.memory_bound is None):
            raise InputError(
                f"x has dtype {dtype}, the plan is for {plan.dtype}: convert x, or make a plan for"
                " its type"
            )

    @property
    def of_arrays(self) -> bool:
        """Whether the image is an array."""
        return isinstance(self.image, np.ndarray)

    def _is_image(self, leaf: Any) -> bool:
        return isinstance(leaf, torch.Tensor | np.ndarray) and tuple(leaf.shape) == (
            self.plan.input_shape
        )

    def _goes_along(self, leaf: Any) -> bool:
        """Whether something has the places of the image, so that it is cut as the image is.

        One of another resolution has them too, as the plan takes it: an image for each of the
        batch that is larger than one pixel.
        """
        if not isinstance(leaf, torch.Tensor | np.ndarray):
            return False
        wanted, dims = self.plan.input_shape, self.plan.spatial_dims
        if leaf.ndim != len(wanted):
            return False
        if all(leaf.shape[d] == wanted[d] for d in dims):
            return True
        real = not np.iscomplexobj(leaf) if isinstance(leaf, np.ndarray) else not leaf.is_complex()
        larger = any(leaf.shape[d] > 1 or wanted[d] == 1 for d in dims)
        return real and larger and leaf.shape[0] == wanted[0]

    def _told(self, x: Any) -> str:
        shape = getattr(x, "shape", None)
        given = f"has shape {tuple(shape)}" if shape is not None else f"is a {type(x).__name__}"
        wanted = self.plan.input_shape
        return (
            f"x {given}, the plan is for images of shape {wanted}: give such a tensor or array,"
            " or make a plan for this shape"
        )

    def of(self, tile: Tile) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the model for one tile."""
        return self._call([self._cut(leaf, tile) for leaf in self.leaves])

    def all(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the whole image."""
        return self._call([self._tensor(leaf) for leaf in self.leaves])

    def _call(self, values: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        whole = with_leaves(self.whole, values)
        if self.kind == "dict":
            return (), dict(whole)
        return (tuple(whole) if self.kind == "tuple" else (whole,)), {}

    def _cut(self, leaf: Any, tile: Tile) -> Any:
        if not self._goes_along(leaf):
            return self._tensor(leaf)
        return self._tensor(cropped(leaf, self.plan.spatial_dims, tile))

    def _tensor(self, value: Any) -> Any:
        """A tensor of its own where the device is: a model may write to what it is given."""
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value, order="C"))
            return value.to(self.device)
        return value.detach().clone() if isinstance(value, torch.Tensor) else value

    def mark(self) -> str:
        """What tells these arguments from others, by some of their values."""
        told = hashlib.sha256()
        for leaf in self.leaves:
            if not isinstance(leaf, torch.Tensor | np.ndarray):
                told.update(repr(leaf).encode())
                continue
            told.update(f"{tuple(leaf.shape)} {_dtype_of(leaf)}".encode())
            told.update(_some(leaf))
        settle(self.leaves)
        return told.hexdigest()


def _dtype_of(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _some(value: Any) -> bytes:
    """Some values, evenly spread, without reading the others."""
    total = max(1, int(np.prod(value.shape)))
    chosen = np.unique(np.linspace(0, total - 1, min(total, LOOKED_AT)).astype(np.int64))
    places = np.unravel_index(chosen, tuple(value.shape) or (1,))
    if isinstance(value, torch.Tensor):
        if value.ndim == 0:
            return repr(value.item()).encode()
        index = tuple(torch.as_tensor(p, device=value.device) for p in places)
        return value.detach()[index].cpu().double().numpy().tobytes()
    return np.ascontiguousarray(value[places] if value.ndim else value).tobytes()
