"""Convolutions of torch that are a given operator: plain, strided, transposed or polyphase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import skip_init

from shiftcheck.checks.linearity.impulse_placement import Span
from shiftcheck.checks.linearity.impulses import Polyphase, response_kernel
from shiftcheck.errors import InputError

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[type[nn.Module], ...] = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class PolyphaseConvolution(nn.Module):
    """A convolution with a stride of one period that gives every output sample of the period.

    The signal is extended (by zeros, or around the circle; a negative extension crops), convolved
    by ``convolution``, whose channels are ``(out, *phases)``, and its phases are interleaved.

    Args:
        convolution: a convolution without padding, of stride ``period``.
        phases: output samples in one period, for each spatial axis.
        extension: pixels before and after, for each spatial axis.
        circular: for each spatial axis, whether it is extended around the circle.
        crop: samples to leave out at the end, for each spatial axis.
        sizes: the spatial sizes that it is right for; None for an axis of any size.

    Example:
        >>> import torch, shiftcheck
        >>> x = torch.randn(1, 1, 12, dtype=torch.float64)
        >>> held = torch.nn.Sequential(torch.nn.AvgPool1d(2), torch.nn.Upsample(scale_factor=2))
        >>> module = shiftcheck.as_convolution(held, x)
        >>> type(module).__name__
        'PolyphaseConvolution'
    """

    def __init__(
        self,
        convolution: nn.Module,
        *,
        phases: Sequence[int],
        extension: Sequence[tuple[int, int]],
        circular: Sequence[bool],
        crop: Sequence[int],
        sizes: Sequence[int | None],
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.phases: tuple[int, ...] = tuple(phases)
        self.extension: tuple[tuple[int, int], ...] = tuple(extension)
        self.circular: tuple[bool, ...] = tuple(circular)
        self.crop: tuple[int, ...] = tuple(crop)
        self.sizes: tuple[int | None, ...] = tuple(sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The response to ``x [batch, channels, *spatial]``.

        Raises InputError for another rank, or a size that the kernel is not right for.
        """
        axes = len(self.phases)
        if x.ndim != axes + 2:
            raise InputError(f"x has shape {tuple(x.shape)}: give [batch, channels, *spatial]")
        for axis, size in enumerate(self.sizes):
            if size is not None and x.shape[axis + 2] != size:
                raise InputError(
                    f"x has spatial sizes {tuple(x.shape[2:])}: the kernel is that of a circle of"
                    f" {size} pixels along axis {axis}, and right for that size alone"
                )
        for axis, (before, after) in enumerate(self.extension):
            x = extended(x, axis + 2, before, after, circular=self.circular[axis])
        y: torch.Tensor = self.convolution(x)
        y = y.unflatten(1, (-1, *self.phases))
        order = [0, 1]
        for axis in range(axes):
            order += [2 + axes + axis, 2 + axis]
        y = y.permute(order)
        for axis in range(axes):
            y = y.flatten(2 + axis, 3 + axis)
            y = y.narrow(2 + axis, 0, y.shape[2 + axis] - self.crop[axis])
        return y

    def extra_repr(self) -> str:
        """The arguments, for print."""
        return (
            f"phases={self.phases}, extension={self.extension}, circular={self.circular},"
            f" crop={self.crop}"
        )


def extended(x: torch.Tensor, dim: int, before: int, after: int, *, circular: bool) -> torch.Tensor:
    """The signal with pixels before and after it along one dimension, or fewer of its own."""
    size = x.shape[dim]
    if circular:
        return x.index_select(dim, torch.arange(-before, size + after, device=x.device) % size)
    pads = [0, 0] * (x.ndim - dim - 1) + [before, after]
    return nn.functional.pad(x, pads)


def as_module(polyphase: Polyphase, *, constant: bool, dtype: torch.dtype) -> nn.Module:
    """The simplest module of torch that is the operator, aligned with it index by index.

    Without ``constant``, its constant part is left out as it is mere rounding.
    """
    bias = polyphase.constant if constant else None
    if all(span.phases == 1 for span in polyphase.spans):
        plain = _plain(polyphase, bias, dtype)
        if plain is not None:
            return plain
    elif all(span.period == 1 and not span.circular for span in polyphase.spans):
        transposed = _transposed(polyphase, bias, dtype)
        if transposed is not None:
            return transposed
    return _polyphase(polyphase, bias, dtype)


def _filled(
    module: nn.Module, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype
) -> nn.Module:
    with torch.no_grad():
        module.register_parameter("weight", nn.Parameter(weight.to(dtype).contiguous()))
        if bias is not None:
            module.register_parameter("bias", nn.Parameter(bias.to(dtype).contiguous()))
    return module


def _plain(polyphase: Polyphase, bias: torch.Tensor | None, dtype: torch.dtype) -> nn.Module | None:
    """A convolution with symmetric padding, where that is enough."""
    padding = [_symmetric(span) for span in polyphase.spans]
    around = {s.circular for s, p in zip(polyphase.spans, padding, strict=True) if p}
    if (
        None in padding
        or len(around) > 1
        or any(span.whole or span.endless for span in polyphase.spans)
    ):
        return None
    weight = polyphase.weight[(0,) * polyphase.axes]
    weight, dilation = _undilated(weight, polyphase.axes)
    weight, groups = _grouped(weight)
    module = skip_init(
        CONVOLUTIONS[polyphase.axes - 1],
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=tuple(span.period for span in polyphase.spans),
        padding=tuple(padding),
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
        padding_mode="circular" if around == {True} else "zeros",
    )
    return _filled(module, weight, None if bias is None else bias.flatten(1)[:, 0], dtype)


def _symmetric(span: Span) -> int | None:
    """The padding on both sides that gives all of the output and no more; None where none does."""
    before, _ = span.extension
    if before < 0 or (span.circular and before > span.pixels):
        return None
    given = (span.pixels + 2 * before - span.taps) // span.period + 1
    return before if given == span.size else None


def _undilated(weight: torch.Tensor, axes: int) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The taps without the zeros between them, and how far they are apart along each axis."""
    dilation = []
    for dim in range(weight.ndim - axes, weight.ndim):
        there = (weight != 0).movedim(dim, 0).flatten(1).any(1).nonzero().flatten().tolist()
        last = weight.shape[dim] - 1
        step = math.gcd(last, *there) if last else 1
        dilation.append(step or 1)
        weight = weight.movedim(dim, 0)[:: step or 1].movedim(0, dim)
    return weight, tuple(dilation)


def _grouped(weight: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The weight as that of the largest number of groups outside of which it is exactly zero."""
    outputs, inputs = weight.shape[:2]
    there = (weight != 0).flatten(2).any(2)
    for groups in range(math.gcd(outputs, inputs), 1, -1):
        if outputs % groups or inputs % groups:
            continue
        rows = torch.arange(outputs, device=weight.device) // (outputs // groups)
        columns = torch.arange(inputs, device=weight.device) // (inputs // groups)
        same_group = rows[:, None] == columns
        if not bool(there[~same_group].any()):
            blocks = weight.unflatten(0, (groups, -1)).unflatten(2, (groups, -1))
            return torch.cat([blocks[g, :, g] for g in range(groups)]), groups
    return weight, 1


def _transposed(
    polyphase: Polyphase, bias: torch.Tensor | None, dtype: torch.dtype
) -> nn.Module | None:
    """A transposed convolution, where the constant is the same for every phase and sizes fit."""
    if bias is not None and not _uniform(bias):
        return None
    weight = response_kernel(polyphase)[(0,) * polyphase.axes].transpose(0, 1)
    padding, more = [], []
    for axis, span in enumerate(polyphase.spans):
        first, taps = span.offsets
        if first > 0:
            weight = extended(weight, axis + 2, first, 0, circular=False)
            first, taps = 0, taps + first
        given = (span.pixels - 1) * span.phases + 2 * first + taps
        padding.append(-first)
        more.append(span.size - given)
    if any(not 0 <= m < s.phases for m, s in zip(more, polyphase.spans, strict=True)):
        return None
    module = skip_init(
        TRANSPOSED[polyphase.axes - 1],
        weight.shape[0],
        weight.shape[1],
        tuple(weight.shape[2:]),
        stride=tuple(span.phases for span in polyphase.spans),
        padding=tuple(padding),
        output_padding=tuple(more),
        bias=bias is not None,
    )
    return _filled(module, weight, None if bias is None else bias.flatten(1)[:, 0], dtype)


def _uniform(constant: torch.Tensor) -> bool:
    flat = constant.flatten(1)
    return bool((flat == flat[:, :1]).all())


def _polyphase(polyphase: Polyphase, bias: torch.Tensor | None, dtype: torch.dtype) -> nn.Module:
    axes, spans = polyphase.axes, polyphase.spans
    weight = polyphase.weight.movedim(axes, 0).flatten(0, axes)
    convolution = skip_init(
        CONVOLUTIONS[axes - 1],
        weight.shape[1],
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=tuple(span.period for span in spans),
        bias=bias is not None,
    )
    return PolyphaseConvolution(
        _filled(convolution, weight, None if bias is None else bias.flatten(), dtype),
        phases=[span.phases for span in spans],
        extension=[span.extension for span in spans],
        circular=[span.circular for span in spans],
        crop=[span.blocks * span.phases - span.size for span in spans],
        sizes=[span.pixels if span.whole or span.endless else None for span in spans],
    )
