"""What a step is held against: the outputs that have a time axis, and a batch of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from shiftcheck.checks.streams.session import Channel, Stage
from shiftcheck.measuring.signals.arguments import Leaf
from shiftcheck.report.streams import StreamingPlan


def channels_of(
    whole: Sequence[tuple[str, torch.Tensor]], plan: StreamingPlan | None, stage: Stage
) -> tuple[Channel, ...]:
    """The outputs that have a time axis."""
    dims = {o.name: o.dim for o in plan.outputs} if plan else {}
    untold = not any(dim is not None for dim in dims.values())
    found: list[Channel] = []
    for place, (path, tensor) in enumerate(whole):
        name = "output" if len(whole) == 1 and not path else f"output{path}"
        dim = dims.get(name)
        alike = tensor.ndim == stage.inputs.main.tensor.ndim and tensor.shape[stage.dim] > 1
        if dim is None and alike and untold:
            dim = stage.dim
        if dim is not None:
            found.append(
                Channel(
                    name=name,
                    number=len(found),
                    place=place,
                    every=len(whole),
                    dim=dim,
                    shape=tuple(tensor.shape),
                    dtype=tensor.dtype,
                    device=tensor.device,
                )
            )
    return tuple(found)


def in_two(stage: Stage) -> Stage | None:
    """The same with another element in a batch that has one; None for a batch of several."""
    if stage.inputs.main.tensor.shape[0] != 1:
        return None

    def two(leaf: Leaf) -> Leaf:
        if leaf.role not in ("shifted", "repeated") or leaf.tensor.shape[0] != 1:
            return leaf
        other = leaf.tensor.flip(-1) if leaf.role == "shifted" else leaf.tensor
        return replace(leaf, tensor=torch.cat([leaf.tensor.detach(), other.detach()]))

    channels = tuple(replace(c, shape=(2, *c.shape[1:])) for c in stage.channels)
    return replace(stage, inputs=stage.inputs.mapped(two), channels=channels)
