"""Other weights in the place of the model's own: what is left is a property of the architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from shiftcheck.errors import InputError
from shiftcheck.report.equivariance import Draw, Report, Verdict
from shiftcheck.tracing.restoring.state import exchanged, weights_of

ORDER = (Verdict.BROKEN, Verdict.INCONCLUSIVE, Verdict.EQUIVARIANT)
SPREAD = 0.1
"""The standard deviation of a parameter whose values are all the same, such as a zero bias."""


def check_randomized(
    check: Callable[[], Report], modules: Sequence[torch.nn.Module], seed: int, draws: int
) -> Report:
    """The report of the draw that decides, BROKEN before INCONCLUSIVE, with what each draw gave."""
    reports = []
    for number in range(seed, seed + draws):
        with randomized_weights(modules, number):
            reports.append(check())
    outcomes = tuple(
        Draw(seed=number, verdict=verdict, reason=r.reason, relative_error=r.relative_error)
        for number, r in enumerate(reports, seed)
        if (verdict := r.verdict) is not None
    )
    decisive = min(reports, key=lambda r: ORDER.index(r.verdict or Verdict.INCONCLUSIVE))
    return replace(decisive, draws=outcomes)


@contextmanager
def randomized_weights(modules: Sequence[torch.nn.Module], seed: int) -> Iterator[None]:
    """Have normal noise of its own mean and standard deviation in every floating parameter.

    Buffers stay: they hold statistics and constants, no weights. Raises InputError where there is
    no parameter.
    """
    generator = torch.Generator().manual_seed(seed)
    with exchanged(weights_of(modules), lambda values: _drawn(values, generator)) as count:
        if not count:
            raise InputError(
                "weights='randomized': the model has no parameters that could be drawn"
            )
        yield


def _drawn(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    exact = values.detach().double().cpu()
    mean = float(exact.mean()) if exact.numel() else 0.0
    spread = float(exact.std(correction=0)) if exact.numel() else 0.0
    if not spread > 0:
        spread = SPREAD * max(abs(mean), 1.0)
    noise = torch.randn(values.shape, generator=generator, dtype=torch.float64, device="cpu")
    return (mean + spread * noise).to(values.dtype).to(values.device)
