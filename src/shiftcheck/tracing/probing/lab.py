"""An operation with a supply of noise to try it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from shiftcheck.tracing.probing.laws import NoAnswerError, Operand

Operation = Callable[[list[torch.Tensor]], torch.Tensor]
Tensors = list[torch.Tensor]

DRAWS = ((1.0, 0), (1.0, 0), (30.0, 0), (1e3, 1), (1e3, -1), (1e9, 0), (1e-3, 0), (1.0, 0))
"""Magnitudes of noise and its sign (0: mixed): what hides behind one of them shows with another."""

ROUNDING = 256.0
"""Two values are the same where they differ by so many eps of the largest of their channel."""


class Lab:
    """The operation with a supply of noise."""

    def __init__(
        self,
        operation: Operation,
        operands: Sequence[Operand],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.operation, self.operands = operation, operands
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator().manual_seed(0)

    def noise(self, extra: Sequence[int], size: float = 1.0, sign: int = 0) -> Tensors:
        """Random operands, longer by ``extra`` steps along each axis."""
        out = []
        for operand in self.operands:
            shape = list(operand.shape)
            for dim, rate, more in zip(operand.dims, operand.rates, extra, strict=True):
                shape[dim] += more * rate
            out.append(self._drawn(shape, size, sign))
        return out

    def _drawn(self, shape: Sequence[int], size: float, sign: int) -> torch.Tensor:
        values = size * torch.randn(
            shape, generator=self.generator, dtype=torch.float64, device="cpu"
        )
        values = values.abs() * sign if sign else values
        return values.to(self.device, self.dtype)

    def cut(self, tensors: Tensors, axis: int, start: int, extra: int) -> Tensors:
        """The operands from step ``start`` on, longer by ``extra`` steps than they are alone."""
        out = []
        for tensor, operand in zip(tensors, self.operands, strict=True):
            dim, rate = operand.dims[axis], operand.rates[axis]
            out.append(tensor.narrow(dim, start * rate, operand.shape[dim] + extra * rate))
        return out

    def surrounded(
        self, inner: Tensors, axis: int, margin: int, size: float = 1.0, sign: int = 0
    ) -> Tensors:
        """The operands with ``margin`` more steps of content on both sides."""
        out = []
        for tensor, operand in zip(inner, self.operands, strict=True):
            dim = operand.dims[axis]
            shape = list(tensor.shape)
            shape[dim] = margin * operand.rates[axis]
            before, after = (self._drawn(shape, size, sign) for _ in range(2))
            out.append(torch.cat((before, tensor, after), dim))
        return out

    def run(self, tensors: Tensors, *, finite: bool = True) -> torch.Tensor:
        """The operation on copies of the tensors; with ``finite``, it must give finite values."""
        y = self.operation([t.clone(memory_format=torch.contiguous_format) for t in tensors])
        if finite and not all_finite(y):
            raise NoAnswerError("it gives values that are not finite")
        return y

    def both(
        self, one: Tensors, other: Tensors, *, usual: bool
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The operation on two inputs; None where it gives values that are not finite.

        That it must not, where the inputs are ``usual``.
        """
        y, z = self.run(one, finite=usual), self.run(other, finite=usual)
        return (y, z) if all_finite(y, z) else None

    def repeatable(self) -> tuple[int, ...]:
        """The shape of the output; the same input must give the same again."""
        given = self.noise([0] * len(self.operands[0].dims))
        y = self.run(given)
        for _ in range(3):
            again = self.run(given)
            if again.shape != y.shape or not torch.equal(again, y):
                raise NoAnswerError("the same input gives something else again")
        return tuple(y.shape)


def lab_of(
    operation: Operation, operands: Sequence[Operand], dtype: torch.dtype, device: torch.device
) -> Lab:
    """The operation in float64, or in the type of its input where that is refused."""
    for wanted in dict.fromkeys((torch.float64, dtype)):
        lab = Lab(_checked(operation), operands, wanted, device)
        try:
            lab.run(lab.noise([0] * len(operands[0].dims)), finite=False)
            return lab
        except NoAnswerError:
            raise
        except Exception as error:  # whatever an operation that is not ours may raise
            failure = error
    raise NoAnswerError(f"it raises on noise: {short(failure)}")


def _checked(operation: Operation) -> Operation:
    def checked(tensors: Tensors) -> torch.Tensor:
        y = operation(tensors)
        if not isinstance(y, torch.Tensor) or y.layout != torch.strided:
            raise NoAnswerError("it gives no dense tensor")
        if not y.is_floating_point():
            raise NoAnswerError(f"it gives values of type {str(y.dtype).removeprefix('torch.')}")
        if y.numel() == 0:
            raise NoAnswerError("it gives no values")
        return y.detach().clone()

    return checked


def short(error: Exception) -> str:
    """The first words of what an operation that is not ours raised."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def all_finite(*tensors: torch.Tensor) -> bool:
    """Whether no tensor holds an infinity, or what is no number."""
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def unequal(one: torch.Tensor, other: torch.Tensor, slack: float) -> torch.Tensor:
    """Where two tensors differ by more than ``slack`` eps of the largest value of a channel."""
    if slack == 0:
        return one != other
    dims = tuple(range(2, one.ndim)) or tuple(range(one.ndim))
    scale = torch.maximum(one.abs(), other.abs()).amax(dims, keepdim=True)
    return ~((one - other).abs() <= slack * torch.finfo(one.dtype).eps * scale)
