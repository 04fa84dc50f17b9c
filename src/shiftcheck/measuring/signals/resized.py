"""The caller's arguments with an input of another size, of the same values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from shiftcheck.measuring.signals.arguments import Inputs, seed_of


def resized(inputs: Inputs, sizes: Sequence[int], seed: int = 0) -> Inputs:
    """The main input in the middle of a larger one, which holds values of its own places.

    What is added comes from random places of the same batch element and channel; along an axis that
    gets shorter the middle is kept. The other inputs stay as they are.
    """
    sizes = tuple(sizes)
    if sizes == inputs.pixels:
        return inputs
    x, dims = inputs.main.tensor.detach(), inputs.main.spatial
    for n, dim in zip(sizes, dims, strict=True):
        cut = max(0, x.shape[dim] - n)
        x = x.narrow(dim, cut // 2, x.shape[dim] - cut)
    generator = torch.Generator().manual_seed(seed_of(seed, sizes))
    front = [d for d in range(x.ndim) if d not in dims]
    last = x.permute(*front, *dims)
    lead, inner = last.shape[: len(front)], last.shape[len(front) :]
    places = torch.randint(
        math.prod(inner), (math.prod(lead), math.prod(sizes)), generator=generator, device="cpu"
    )
    drawn = last.reshape(math.prod(lead), -1).gather(1, places.to(x.device))
    out = drawn.reshape(*lead, *sizes)
    middle = out
    for a, (n, kept) in enumerate(zip(sizes, inner, strict=True)):
        middle = middle.narrow(len(front) + a, (n - kept) // 2, kept)
    middle.copy_(last)
    back = [0] * x.ndim
    for place, dim in enumerate((*front, *dims)):
        back[dim] = place
    return inputs.with_main(out.permute(*back).contiguous())
