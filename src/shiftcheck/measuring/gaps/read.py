"""Values that a comparison needs to know, read from where they were computed as rarely as can be.

On an accelerator, whoever reads a value waits for everything before it. So what compares a copy
asks for all that it needs at once, and all the copies of a layer ask together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cache
from itertools import islice
from typing import TypeVar

import torch

Found = TypeVar("Found")

Asked = tuple[torch.Tensor, ...]
Asking = Generator[Asked, Asked, Found]
"""What is on its way to a result: it yields tensors, and is sent the same ones on the CPU."""

LARGE = 2**22
"""A tensor of so many values travels by itself: others beside it would take as much room again."""


def waits(tensor: torch.Tensor) -> bool:
    """Whether reading a value of the tensor waits for what was asked of its device before."""
    return tensor.device.type != "cpu"


def answered(asking: Asking[Found]) -> Found:
    """The result, with a transfer each time that something is asked for."""
    try:
        asked = next(asking)
        while True:
            asked = asking.send(read(asked))
    except StopIteration as end:
        found: Found = end.value
        return found


def all_answered(askings: Iterable[Asking[Found]], near: torch.Tensor) -> list[Found]:
    """All the results; ``near``: a tensor of the device that they are found on.

    What waits is asked for by all of them together; on a CPU one comes after the other.
    """
    if waits(near):
        return answered(side_by_side(list(askings)))
    return [answered(asking) for asking in askings]


def side_by_side(askings: Sequence[Asking[Found]]) -> Asking[list[Found]]:
    """Several as one, which asks for what all of them ask for next."""
    found: dict[int, Found] = {}
    waiting: dict[int, Asked] = {}

    def go_on(i: int, answers: Asked | None) -> None:
        try:
            waiting[i] = next(askings[i]) if answers is None else askings[i].send(answers)
        except StopIteration as end:
            waiting.pop(i, None)
            found[i] = end.value

    for i in range(len(askings)):
        go_on(i, None)
    while waiting:
        answers = iter((yield tuple(t for asked in waiting.values() for t in asked)))
        for i, asked in list(waiting.items()):
            go_on(i, tuple(islice(answers, len(asked))))
    return [found[i] for i in range(len(askings))]


def read(tensors: Sequence[torch.Tensor]) -> Asked:
    """The tensors on the CPU, in one transfer; a large one in one of its own."""
    if not any(map(waits, tensors)):
        return tuple(tensors)
    once = {id(t): t for t in tensors}
    small = [t for t in once.values() if t.numel() < LARGE]
    small.sort(key=lambda t: -t.element_size())  # so each begins where its type may begin
    here = {}
    if small:
        packed = torch.cat([t.contiguous().reshape(-1).view(torch.uint8) for t in small]).cpu()
        parts = packed.split([t.numel() * t.element_size() for t in small])
        pairs = zip(small, parts, strict=True)
        here = {id(t): part.view(t.dtype).view(t.shape) for t, part in pairs}
    here |= {key: t.cpu() for key, t in once.items() if key not in here}
    return tuple(here[id(t)] for t in tensors)


def alike(one: torch.Tensor, other: torch.Tensor, block: int) -> torch.Tensor:
    """Whether all the values are the same, as a tensor ``[]``; ``block``: so many at once."""
    if not waits(one):
        return torch.tensor(torch.equal(one, other), device="cpu")
    step = max(1, block * one.shape[0] // max(one.numel(), 1))
    parts = zip(one.split(step), other.split(step), strict=True)
    return ~torch.stack([(a != b).any() for a, b in parts]).any()


def held(make: Callable[[], Found], near: torch.Tensor) -> Callable[[], Found]:
    """What gives the same again: on a CPU it is kept, where copies wait it is made again.

    There all the copies of a layer wait at once, and together would keep as much as the layer has.
    """
    return make if waits(near) else cache(make)
