"""torch's random numbers under the care of hypothesis."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import register_random


class TorchRandom:
    """The global generators of torch, with the three methods that hypothesis asks of one."""

    def seed(self, value: int) -> None:
        """Seed the generator of the CPU, and those of the accelerators that are in use."""
        torch.default_generator.manual_seed(value)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(value)

    def getstate(self) -> Any:
        """The states of all generators in use."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return torch.get_rng_state(), cuda

    def setstate(self, state: Any) -> None:
        """Put the states back."""
        cpu, cuda = state
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


_generators = TorchRandom()  # hypothesis itself holds only a weak reference


def register() -> None:
    """Let hypothesis seed torch for every example and put its state back after it."""
    register_random(_generators)
