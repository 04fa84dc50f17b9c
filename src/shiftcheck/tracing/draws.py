"""Which random numbers are random: those of a state that was there before the call.

What a model draws after it has seeded the generator itself is a constant like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftcheck.tracing.torch_internals import arguments_of, packet_name

States = dict[int, tuple[torch.Generator, bytes]]
"""Generators by their ids, which they keep as long as they are held here, and their states."""


@dataclass(frozen=True)
class _Chain:
    """What was drawn from a generator without seeding it anew: the state after the last draw.

    ``outlives``: the first of these draws began where the caller, or another pass, had left it.
    """

    generator: torch.Generator
    state: bytes
    outlives: bool


class Draws:
    """Follows the generators of one pass; ``left``: the states in which earlier passes left them.

    The states must be read where no operation is followed.
    """

    def __init__(self, left: States) -> None:
        self.left = left
        self.chains: dict[int, _Chain] = {}

    def begin(self) -> None:
        """Know the states of torch's own generators, which outlive every pass."""
        for generator in own_generators():
            state = state_of(generator)
            self.chains[id(generator)] = _Chain(generator, state, True)

    def outlives(self, generator: torch.Generator) -> bool:
        """Whether what is drawn next comes from a state that was there before the pass."""
        state, chain = state_of(generator), self.chains.get(id(generator))
        if chain is not None:
            return chain.outlives and chain.state == state
        known = self.left.get(id(generator))
        return known is not None and known[1] == state

    def drew(self, generator: torch.Generator, *, outlives: bool) -> None:
        """Remember the state that a draw has left."""
        state = state_of(generator)
        self.chains[id(generator)] = _Chain(generator, state, outlives)
        self.left[id(generator)] = (generator, state)


def own_generators() -> Sequence[torch.Generator]:
    """The generators that torch draws from where none is given; of CUDA where it is in use."""
    cuda = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return (torch.default_generator, *cuda)


def state_of(generator: torch.Generator) -> bytes:
    """The state of a generator."""
    return bytes(generator.get_state().numpy().tobytes())


def generator_of(kwargs: Mapping[str, Any], device: torch.device) -> torch.Generator | None:
    """The generator that an operation draws from; None where torch has none for the device."""
    given = kwargs.get("generator")
    if isinstance(given, torch.Generator):
        return given
    if device.type == "cpu":
        return torch.default_generator
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return None
    at = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[at]


def is_off(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation is told not to draw, as dropout in eval mode is, or that of nothing."""
    for i, argument in enumerate(arguments_of(func)):
        value = args[i] if i < len(args) else kwargs.get(argument.name, argument.default_value)
        if argument.name in ("train", "training") and value is False:
            return True
        of_dropout = argument.name in ("dropout_p", "dropout") or (
            argument.name == "p" and "dropout" in packet_name(func)
        )
        if of_dropout and value == 0:
            return True
    return False
