"""Random numbers that are drawn on the way, and leave those of the caller as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the random numbers of torch, NumPy and Python as they were found.

    CUDA is asked only where somebody has begun to use it: a process that has cannot be forked.
    """
    python, numpy = random.getstate(), np.random.get_state()
    in_use = torch.cuda.is_initialized()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if in_use else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch.cuda.is_initialized() and not in_use:
            for generator in torch.cuda.default_generators:
                generator.manual_seed(generator.initial_seed())
