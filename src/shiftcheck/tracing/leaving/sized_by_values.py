"""Operations whose result has a size that tells of the values of an argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import overload_name, packet_name, tags_of, tensors_of

Chosen = Callable[..., Any]
"""Takes the arguments of an operation and gives those whose values decide the size."""


def _masks(_: Any, indices: Any, *__: Any, **___: Any) -> Any:
    kinds = (torch.bool, torch.uint8)
    return [i for i in indices if isinstance(i, torch.Tensor) and i.dtype in kinds]


def _selecting_mask(_: Any, mask: Any, *__: Any, **___: Any) -> Any:
    return mask


def _classes(x: Any, num_classes: int = -1) -> Any:
    return [] if num_classes >= 0 else x


def _repeats(repeats: Any, *, output_size: int | None = None) -> Any:
    return repeats if output_size is None else []


def _repeats_of(
    _: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    return repeats if output_size is None else []


def _places_of_cuts(_: Any, places: Any, *__: Any, **___: Any) -> Any:
    return places


def _all(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


DECIDING: Mapping[str, Chosen] = {
    "aten::index.Tensor": _masks,
    "aten::masked_select.default": _selecting_mask,
    "aten::one_hot.default": _classes,
    "aten::repeat_interleave.Tensor": _repeats,
    "aten::repeat_interleave.self_Tensor": _repeats_of,
    "aten::tensor_split.tensor_indices_or_sections": _places_of_cuts,
}
"""The operations for which not every argument does, and those that lack torch's tag."""


@functools.cache
def deciding(func: Any) -> Chosen | None:
    """What gives the arguments that decide the size of a result; None where shapes alone do."""
    overload = overload_name(func) or "default"
    named = DECIDING.get(f"{packet_name(func)}.{overload}")
    return named or (_all if torch.Tag.dynamic_output_shape in tags_of(func) else None)


def tensors_deciding(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[torch.Tensor]:
    """The tensors whose values decide the size of what an operation returns."""
    chosen = deciding(func)
    return [] if chosen is None else tensors_of(chosen(*args, **kwargs))
