"""The matrix of a small operator, and what a convolution makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.explained import explaining_errors
from shiftcheck.checks.linearity.check import check_linear, raise_unless_linear
from shiftcheck.checks.linearity.impulses import ROUNDING
from shiftcheck.checks.linearity.operator import EXACT, Operator, in_type, operated
from shiftcheck.checks.linearity.superposition import unit_of
from shiftcheck.checks.prepare import prepared
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.errors import InconclusiveError, InputError, ShiftcheckError
from shiftcheck.measuring.plan import Model
from shiftcheck.report.base import rendered

MOST = 2**22
"""The largest number of entries of a matrix."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatorMatrix:
    """An affine operator as ``A f + b`` on flattened signals.

    ``matrix`` is ``[outputs, inputs]``, both sorted by channel, then by place; ``constant`` is
    ``phi(0)``, ``[outputs]``; the shapes are ``(channels, *spatial)``. ``circulant``: for each axis
    the smallest shift in input pixels that leaves the matrix as it is when it moves rows and
    columns around the circle; None where no shift up to half of the axis does. ``toeplitz``: the
    same, without what a shift brings around the edges. ``departure``: for each axis, how far the
    smallest shift is from leaving the matrix as it is around the circle, relative to its largest
    entry; None where the axis has no shift.

    Example:
        >>> import torch, shiftcheck
        >>> matrix = shiftcheck.operator_matrix(
        ...     torch.nn.Conv1d(1, 1, 3, bias=False), torch.randn(1, 1, 6)
        ... )
        >>> tuple(matrix.matrix.shape)
        (4, 6)
    """

    matrix: torch.Tensor
    constant: torch.Tensor
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    circulant: tuple[int | None, ...]
    toeplitz: tuple[int | None, ...]
    departure: tuple[float | None, ...]

    @property
    def structure(self) -> str:
        """In words, circulant or Toeplitz along one axis after the other."""
        words = []
        for ring, line in zip(self.circulant, self.toeplitz, strict=True):
            word = "circulant" if ring else "Toeplitz" if line else "no repetition"
            step = ring or line
            words.append(word if step in (1, None) else f"{word} in steps of {step} pixels")
        text = words[0]
        if len(words) > 1:
            text = ", ".join(f"axis {axis} {word}" for axis, word in enumerate(words))
        blocks = max(self.input_shape[0], self.output_shape[0]) > 1
        return f"{text}, in a block for each pair of channels" if blocks else text

    def __str__(self) -> str:
        return rendered("text", self)


@explaining_errors
def operator_matrix(
    model: Model, x: Any, *, layer: str | None = None, seed: int = 0
) -> OperatorMatrix:
    """The matrix of a small operator that is linear, or linear but for a constant part.

    Column j is the response to an impulse at place j. A convolution on a circle gives a circulant
    matrix: each row is the row above, moved by one. On the plane it is Toeplitz: the same along
    every diagonal, but at the edges.

    Args:
        model, x, layer, seed: as in ``check_linear``; the output is ``[batch, out, *spatial]``.

    Returns:
        The matrix with the constant part, in the type of the signal.

    Raises:
        NotLinearError: where the model is not linear.
        InconclusiveError: where that cannot be told, or the model mixes the batch.
        InputError: for arguments that cannot be used, a matrix of more than 2^22 entries, or an
            output of another rank than x.
        ModelError: where the model raises.

    Example:
        >>> import torch, shiftcheck
        >>> blur = torch.nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
        >>> view = shiftcheck.operator_matrix(blur, torch.randn(1, 1, 8))
        >>> view.structure
        'circulant'
    """
    __tracebackhide__ = True
    linear = check_linear(model, x, layer=layer, seed=seed)
    raise_unless_linear(linear, affine=True)
    if len(linear.outputs) != 1:
        raise InputError(f"model has {len(linear.outputs)} outputs: give one, or name a layer")
    given = prepared(model, x)
    signal = given.inputs.main.tensor
    shape = linear.outputs[0].shape
    if len(shape) != signal.ndim:
        raise InputError(
            f"the output has shape {shape}, x has shape {tuple(signal.shape)}: give a model that"
            " returns [batch, channels, *spatial]"
        )
    entries = math.prod(shape[1:]) * math.prod(signal.shape[1:])
    if entries > MOST:
        raise InputError(
            f"x has shape {tuple(signal.shape)}, for which the matrix has {entries} entries: give a"
            f" smaller signal, for at most {MOST}"
        )
    seen = given.seen(given.inputs, x)
    with operated(seen.model, seen.inputs, layer=layer) as given_operator:
        operator = in_type(given_operator, EXACT) or given_operator
        eps = float(torch.finfo(getattr(torch, linear.precision)).eps)
        matrix, constant = _measured(operator, signal)
        _check(operator, matrix, constant, signal, seed, eps)
    strides = _strides(seen.model, x, layer, signal, shape)
    structures = [_structure(matrix, axis, s, eps) for axis, s in enumerate(strides)]
    return OperatorMatrix(
        matrix=matrix.reshape(math.prod(shape[1:]), -1).to(signal.dtype),
        constant=constant.flatten().to(signal.dtype),
        input_shape=tuple(signal.shape[1:]),
        output_shape=tuple(shape[1:]),
        circulant=tuple(one[0] for one in structures),
        toeplitz=tuple(one[1] for one in structures),
        departure=tuple(one[2] for one in structures),
    )


def _measured(operator: Operator, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix ``[out, *places, in, *places]`` and the constant ``[out, *places]``."""
    (zero,) = operator(torch.zeros(x.shape, dtype=EXACT, device="cpu")).tensors.values()
    columns = torch.cat(
        [next(iter(operator(part).tensors.values()))[:n] for part, n in _impulses(x)]
    )
    matrix = (columns - zero[0]).movedim(0, -1)
    return matrix.unflatten(-1, x.shape[1:]), zero[0]


def _impulses(x: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
    """Impulses at every place, in batches of the size of x or more, and how many they are."""
    places = math.prod(x.shape[1:])
    size = len(x)
    for start in range(0, places, size):
        many = min(size, places - start)
        part = torch.zeros((size, places), dtype=EXACT, device="cpu")
        part[torch.arange(many, device="cpu"), torch.arange(start, start + many, device="cpu")] = (
            1.0
        )
        yield part.reshape(size, *x.shape[1:]), many


def _check(
    operator: Operator,
    matrix: torch.Tensor,
    constant: torch.Tensor,
    x: torch.Tensor,
    seed: int,
    eps: float,
) -> None:
    """Raise InconclusiveError unless the matrix does what the operator does on a random signal."""
    draw = torch.Generator().manual_seed(seed + 1)
    signal = torch.randn(x.shape, generator=draw, device="cpu").to(EXACT) * unit_of(x)
    (response,) = operator(signal).tensors.values()
    ours = torch.tensordot(signal, matrix, dims=(_dims(1, x), _dims(constant.ndim, x)))
    gap = float((response - ours - constant).abs().max())
    terms = torch.tensordot(signal.abs(), matrix.abs(), dims=(_dims(1, x), _dims(constant.ndim, x)))
    if gap > ROUNDING * eps * float((terms + constant.abs()).max()):
        raise InconclusiveError(
            f"the matrix of the responses to impulses differs from the model by {gap:.1e} on a"
            " random signal: the model mixes the batch, or rounds too much"
        )


def _dims(first: int, x: torch.Tensor) -> list[int]:
    return list(range(first, first + x.ndim - 1))


def _strides(
    model: Model, x: Any, layer: str | None, signal: torch.Tensor, shape: tuple[int, ...]
) -> list[Fraction]:
    """The effective stride of each axis, or the ratio of the sizes where there is none."""
    sizes = list(zip(signal.shape[2:], shape[2:], strict=True))
    try:
        known = geometry(model, x, layer=layer).outputs[0].stride
    except ShiftcheckError:
        known = (None,) * len(sizes)
    return [
        Fraction(n, max(m, 1)) if s is None or s <= 0 else s
        for (n, m), s in zip(sizes, known, strict=True)
    ]


def _structure(
    matrix: torch.Tensor, axis: int, stride: Fraction, eps: float
) -> tuple[int | None, int | None, float | None]:
    """The smallest circulant and Toeplitz steps along one axis, and the first departure."""
    half = matrix.ndim // 2
    rows, columns = 1 + axis, half + 1 + axis
    bound = ROUNDING * eps * float(matrix.abs().max())
    circulant, toeplitz, departure = None, None, None
    n, m = matrix.shape[columns], matrix.shape[rows]
    for k in range(1, n // (2 * stride.numerator) + 1):
        down, right = k * stride.denominator, k * stride.numerator
        if 2 * down > m:
            break
        rolled = matrix.roll((down, right), (rows, columns))
        around = float((matrix - rolled).abs().max())
        departure = around / float(matrix.abs().max()) if departure is None else departure
        later = matrix.narrow(rows, down, m - down).narrow(columns, right, n - right)
        earlier = matrix.narrow(rows, 0, m - down).narrow(columns, 0, n - right)
        along = float((later - earlier).abs().max())
        circulant = right if circulant is None and around <= bound else circulant
        seen = along <= bound and bool(later.any())
        toeplitz = right if toeplitz is None and seen else toeplitz
        if circulant and toeplitz:
            break
    return circulant, toeplitz, departure
