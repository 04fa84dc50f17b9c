"""The kernel of a linear operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shiftcheck.checks.linearity.impulses import ImpulseResponse
from shiftcheck.errors import InputError
from shiftcheck.plot.canvas import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def impulse_response(
    kernel: ImpulseResponse,
    *,
    out: int = 0,
    channel: int = 0,
    phase: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the kernel of an operator between two channels, with its origin marked.

    Args:
        kernel: of ``impulse_response``.
        out, channel: the channel of the output and of the input.
        phase: where the kernel has phases, which one; the first when left out.
        ax: the axes to draw into; new ones when left out.

    Raises:
        InputError: there is no such channel or phase, or the kernel has three axes.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import matplotlib, torch, shiftcheck
        >>> matplotlib.use("agg")
        >>> from shiftcheck import plot
        >>> blur = torch.nn.AvgPool1d(3, stride=1)
        >>> response = shiftcheck.impulse_response(blur, torch.randn(1, 1, 16))
        >>> plot.impulse_response(response).get_title()
        'impulse response from channel 0 to channel 0'
    """
    axes = len(kernel.origin)
    if axes > 2:
        raise InputError(f"kernel has {axes} axes: one or two can be drawn")
    weights = _of_phase(kernel, phase)
    if not 0 <= out < weights.shape[0] or not 0 <= channel < weights.shape[1]:
        raise InputError(
            f"out={out}, channel={channel}: the kernel has {weights.shape[0]} channels out of"
            f" {weights.shape[1]}"
        )
    taps = weights[out, channel].double().cpu().numpy()
    ax = axes_or_new(ax, (6.0, 4.0))
    offsets = [(-o, n - o) for o, n in zip(kernel.origin, taps.shape, strict=True)]
    if axes == 1:
        ax.stem(range(*offsets[0]), taps)
        ax.set_ylabel("weight")
    else:
        top = float(abs(taps).max()) or 1.0
        (top_row, low_row), (left, right) = offsets
        extent = (left - 0.5, right - 0.5, low_row - 0.5, top_row - 0.5)
        image = ax.imshow(taps, cmap="RdBu_r", vmin=-top, vmax=top, extent=extent)
        ax.figure.colorbar(image, ax=ax, label="weight")
        ax.plot(0, 0, "k+", markersize=12, label="origin")
        ax.legend(loc="best", fontsize="small")
        ax.set_ylabel("offset along axis 0 (samples)")
    ax.set_xlabel(f"offset along axis {axes - 1} (samples)")
    ax.set_title(f"impulse response from channel {channel} to channel {out}")
    return ax


def _of_phase(kernel: ImpulseResponse, phase: Sequence[int] | None) -> Any:
    axes = len(kernel.origin)
    phases = tuple(kernel.kernel.shape[: kernel.kernel.ndim - axes - 2])
    at = (0,) * len(phases) if phase is None else tuple(phase)
    if len(at) != len(phases) or not all(0 <= r < n for r, n in zip(at, phases, strict=True)):
        raise InputError(f"phase={phase!r}: the kernel has phases {phases}")
    return kernel.kernel[at]
