"""The impulse response of an operator, and the convolution of torch that the operator is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.linearity.impulses import ImpulseResponse
from shiftcheck.checks.linearity.theorem import investigate
from shiftcheck.checks.linearity.torch_modules import as_module
from shiftcheck.errors import (
    InconclusiveError,
    InfiniteSupportError,
    NotEquivariantError,
    NotLinearError,
    ShiftcheckError,
)
from shiftcheck.measuring.plan import Model
from shiftcheck.report.linearity import ConvolutionReport, Theorem

ERRORS: dict[Theorem, type[ShiftcheckError]] = {
    Theorem.NOT_LINEAR: NotLinearError,
    Theorem.NOT_EQUIVARIANT: NotEquivariantError,
    Theorem.INFINITE_SUPPORT: InfiniteSupportError,
    Theorem.INCONCLUSIVE: InconclusiveError,
}


@explaining_errors
def impulse_response(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    seed: int = 0,
) -> ImpulseResponse:
    """The kernel of a linear, equivariant operator, from Dirac impulses at every phase.

    Its constant part ``phi(0)`` is subtracted first. There is one impulse for each input channel
    and each phase of the period, and more of them where the signal is small.

    Args:
        model, x, layer, boundary, seed: as in ``check_convolution``.

    Returns:
        The impulse response with its origin, support and constant part, in the type of x. torch's
        convolutions compute cross-correlations: the weight of a ``Conv2d`` is its impulse response
        flipped, that of a ``ConvTranspose2d`` with in and out exchanged is not.

    Raises:
        NotLinearError, NotEquivariantError, InfiniteSupportError: for the property that fails.
        InconclusiveError: where that cannot be told, or the signal is too small for the kernel; the
            message says how large it must be.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> smooth = lambda f: (f + torch.roll(f, 1, -1)) / 2
        >>> x = torch.randn(1, 1, 8)
        >>> h = shiftcheck.impulse_response(smooth, x, boundary="circular")
        >>> h.kernel, h.origin
        (tensor([[[0.5000, 0.5000]]]), (0,))
    """
    __tracebackhide__ = True
    investigation = investigate(model, x, layer=layer, boundary=boundary, seed=seed)
    if investigation.response is None:
        raise failure(investigation.report)
    return investigation.response


@explaining_errors
def as_convolution(
    model: Model,
    x: Any,
    *,
    layer: str | None = None,
    boundary: str | Sequence[str] = "valid",
    seed: int = 0,
) -> torch.nn.Module:
    """The convolution of torch that a linear, equivariant model is.

    Its output has the size of the model's, and the same values on the valid region (on the torus:
    everywhere). Beside it, where the model pads, the two may differ. For signals of another size it
    pads in the same way.

    Args:
        model, x, layer, boundary, seed: as in ``check_convolution``.

    Returns:
        A ``Conv1d``, ``Conv2d`` or ``Conv3d`` (with stride, dilation and groups as they are seen in
        the kernel) or the transposed one, in the type and on the device of x. A
        ``PolyphaseConvolution`` where neither will do: the period has several phases, or the
        padding is not the same on both sides.

    Raises:
        NotLinearError, NotEquivariantError, InfiniteSupportError: for the property that fails.
        InconclusiveError: where that cannot be told, or the signal is too small for the kernel; the
            message says how large it must be.
        InputError: for arguments that cannot be used.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 2, 3))
        >>> shiftcheck.as_convolution(model, torch.randn(1, 1, 16, 16))
        Conv2d(1, 2, kernel_size=(5, 5), stride=(1, 1))
    """
    __tracebackhide__ = True
    investigation = investigate(model, x, layer=layer, boundary=boundary, seed=seed)
    if investigation.polyphase is None or investigation.like is None:
        raise failure(investigation.report)
    module = as_module(
        investigation.polyphase, constant=investigation.constant, dtype=investigation.like.dtype
    )
    return module.to(investigation.like.device)


def failure(report: ConvolutionReport) -> ShiftcheckError:
    """The error for the property that fails."""
    from shiftcheck.report.render import explain_convolution

    return ERRORS[report.verdict](explain_convolution(report))
