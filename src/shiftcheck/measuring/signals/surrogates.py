"""Signals of the same kind as a given one, drawn where a batch holds no different signals."""

from __future__ import annotations

import torch

SMALLEST_GAIN, LARGEST_GAIN = 0.5, 1.5
OFFSET = 0.5
"""The standard deviation of the mean of a drawn signal, in those of the signal itself."""


def surrogate(x: torch.Tensor, dims: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """A signal with the magnitudes of the frequencies of ``x``, and with other phases.

    The phases are those of white noise, the same in all channels and all elements of the batch, so
    that what these have in common stays. Contrast and mean are drawn as well, or a mean over space
    would not tell the signals apart; no value leaves the range that its channel has in ``x``.

    Source: J. Theiler et al., *Testing for nonlinearity in time series: the method of surrogate
    data*, Physica D 58, 1992.

    Args:
        x: the signal, real.
        dims: its spatial dimensions.
        generator: what is drawn from, on the CPU.
    """
    values = x.detach().double().cpu()
    mean = values.mean(dims, keepdim=True)
    spread = values.std(dims, keepdim=True, correction=0)
    sizes = [n if d in dims else 1 for d, n in enumerate(values.shape)]
    noise = torch.fft.rfftn(
        torch.randn(sizes, generator=generator, dtype=torch.float64, device="cpu"), dim=dims
    )
    phases = noise / noise.abs().clamp_min(torch.finfo(torch.float64).tiny)
    waves = torch.fft.rfftn(values - mean, dim=dims) * phases
    along = [values.shape[d] for d in dims]
    pattern = torch.fft.irfftn(waves, s=along, dim=dims)
    drawn = torch.rand((), generator=generator, dtype=torch.float64, device="cpu")
    gain = SMALLEST_GAIN + (LARGEST_GAIN - SMALLEST_GAIN) * drawn
    offset = OFFSET * torch.randn((), generator=generator, dtype=torch.float64, device="cpu")
    out = mean + gain * pattern + offset * spread
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    held: torch.Tensor = out.clamp(low, high)
    if not x.is_floating_point():
        held = held.round()
    return held.to(x.dtype).to(x.device)
