"""Figures that are measured and not judged: plain numbers, no tensors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of one output over a set of shifts; None where nothing could be compared.

    With the error ``e_v = phi(S_v f) - S_v phi(f)`` over the samples that are compared:

    ``max_gap``: the largest ``|e_v|`` of all. ``relative_l2``: ``||e|| / ||S phi(f)||``, the sums
    of squares taken over all shifts. ``mean_squared_error``: of all shifts together. ``psnr``:
    ``10 log10(peak^2 / mean_squared_error)`` in decibels, infinite where there is no error.
    ``peak``: the range that this is relative to. ``relative_l2_of_shifts``: ``||e_v|| / ||S_v
    phi(f)||`` of each; ``mean_error`` is their mean and ``worst_error`` their largest, at
    ``worst_shift`` (what an adversary would choose). ``samples``: how many were compared.
    ``reason``: why there is nothing to tell, or empty.

    For shifts drawn by ``equivariance_metrics`` and ``peak=2`` the PSNR is EQ-T, or EQ-T_frac where
    they are fractional, of T. Karras et al., *Alias-Free Generative Adversarial Networks* (2021):
    its mean is taken over shifts, samples and channels before the logarithm.

    Example:
        >>> import torch, shiftcheck
        >>> conv, x = torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 24, 26)
        >>> (figures,) = shiftcheck.equivariance_metrics(conv, x, peak=2.0)
        >>> figures.psnr > 120, figures.peak
        (True, 2.0)
    """

    name: str
    shifts: tuple[tuple[float, ...], ...]
    margin: bool
    samples: int = 0
    max_gap: float | None = None
    relative_l2: float | None = None
    mean_squared_error: float | None = None
    psnr: float | None = None
    peak: float | None = None
    relative_l2_of_shifts: tuple[float | None, ...] = ()
    mean_error: float | None = None
    worst_error: float | None = None
    worst_shift: tuple[float, ...] | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class LieDerivative:
    """The local equivariance error of one layer, or of an output of the whole model.

    ``mean_square``: for each axis the mean of ``|L h(z)|^2`` over the compared samples, per square
    pixel of shift (the local equivariance error of Gruver et al.). ``relative``: its root over the
    root mean square of ``D h(z)``, so that 0 is exact and an output that stays where it is has 1.
    ``share``: of the samples, compared. None along an axis where ``reason`` says why.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.Tanh())
        >>> rows = shiftcheck.lie_derivatives(net.double(), torch.randn(1, 1, 30).double())
        >>> [(row.name, row.relative[0] < 1e-9) for row in rows[:1]]
        [('0', True)]
    """

    name: str
    op: str
    mean_square: tuple[float | None, ...]
    relative: tuple[float | None, ...]
    share: tuple[float | None, ...]
    reason: str = ""
