"""The input sizes that a model accepts and at which something can be compared, by its geometry."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch

from shiftcheck.checks.explained import unexplained
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.errors import InputError, ModelError
from shiftcheck.measuring.signals.samples import is_whole, sample_signal
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import LayerResult, Report

Sizes = tuple[int, ...]
Arguments = Callable[[torch.Tensor], Any]

BASES = (64, 32, 128, 48, 60, 96, 256, 16, 24, 224, 28, 512, 240, 384, 1024, 8, 12, 6, 4, 3, 2)
"""Sizes of one kind after another that are tried until the model accepts one."""

EVERY = 200
"""Up to this size every one is tried where the model accepts none of BASES."""

REACH = {1: 48, 2: 24, 3: 8}
"""How far, in pixels, the sizes go beyond the smallest, by the number of axes."""

ON_REAL, REAL_TRIES = 2**20, 12
"""Up to so many values, and so many times in vain, a model that fails on shapes is really run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A model, and how it is to be called: what is needed to ask for its geometry at a size.

    ``known`` are the answers so far, ``warned`` the shapes at which there was a warning, and
    ``real`` says whether runs on real values helped where shapes alone did not do.
    """

    model: Callable[..., Any]
    ndim: int
    boundary: tuple[str, ...]
    batch: int = 1
    layer: str | None = None
    spatial_dims: tuple[int, ...] | None = None
    training: bool = False
    fixed: Sequence[str | int] = ()
    outputs: Sequence[str | int] | None = None
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    arguments: Arguments | None = None
    known: dict[tuple[int, ...], Report | ModelError] = field(default_factory=dict)
    warned: set[tuple[int, ...]] = field(default_factory=set)
    real: list[bool] = field(default_factory=list)

    def ask(self, channels: int, sizes: Sizes) -> Report | ModelError:
        """The geometry at a size, or the model's error; asked once."""
        shape = (self.batch, channels, *sizes)
        if shape not in self.known:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                self.known[shape] = self._asked(shape)
            if heard:
                self.warned.add(shape)
        return self.known[shape]

    def _asked(self, shape: tuple[int, ...]) -> Report | ModelError:
        error = self._geometry(shape) if self.arguments is None else None
        if isinstance(error, Report):
            return error
        if math.prod(shape) > ON_REAL:
            return error or ModelError(f"an input of shape {shape} is too large to be tried")
        if error is not None and len(self.real) >= REAL_TRIES and not any(self.real):
            return error  # it is not for the lack of values that the model fails
        answer = self._geometry(self.inputs(sample_signal(shape, dtype=self.dtype)))
        self.real.append(isinstance(answer, Report))
        return answer

    def _geometry(self, x: Any) -> Report | ModelError:
        try:
            with unexplained():
                return geometry(
                    self.model,
                    x,
                    layer=self.layer,
                    boundary=self.boundary,
                    spatial_dims=self.spatial_dims,
                    training=self.training,
                    fixed=self.fixed,
                    outputs=self.outputs,
                )
        except ModelError as error:
            return error

    def inputs(self, signal: torch.Tensor) -> Any:
        """What the model is called with for a signal."""
        moved = signal.to(self.device)
        return moved if self.arguments is None else self.arguments(moved)

    def accepts(self, channels: int, sizes: Sizes) -> bool:
        """Whether the model takes an input of this size."""
        return isinstance(self.ask(channels, sizes), Report)

    def welcomes(self, channels: int, sizes: Sizes) -> bool:
        """Whether the model takes an input of this size without a warning."""
        return self.accepts(channels, sizes) and (self.batch, channels, *sizes) not in self.warned

    def leaves(self, channels: int, sizes: Sizes, axis: int, pixels: int) -> bool:
        """Whether every output has samples to compare after a shift by ``pixels`` along an axis."""
        report = self.ask(channels, sizes)
        return isinstance(report, Report) and all(
            _leaves(output, axis, pixels, self.boundary[axis]) for output in report.outputs
        )

    def loses(self, channels: int, sizes: Sizes) -> bool:
        """Whether the geometry ends, at this size, at an operation that no rule covers."""
        report = self.ask(channels, sizes)
        return isinstance(report, Report) and any(
            cause.kind == CauseKind.UNSUPPORTED_OP for cause in report.causes
        )


def _leaves(output: LayerResult, axis: int, pixels: int, boundary: str) -> bool:
    stride, valid = output.stride[axis], output.valid[axis]
    if stride is None or valid is None:
        return True
    steps = pixels / stride
    if boundary == "circular" or steps.denominator != 1:  # off the lattice, as the check then says
        return bool(valid)
    ahead = [(start + int(steps), stop + int(steps)) for start, stop in valid]
    return any(max(a, c) < min(b, d) for a, b in valid for c, d in ahead)


@dataclass(frozen=True, kw_only=True, eq=False)
class Accepted:
    """The answer: sizes, channel counts, and the shift that the strides of the outputs ask.

    ``probed`` is the channel count with which the sizes were found, one of ``channels``.
    ``lengths`` hold, for each axis, the sizes at which a shift by ``lattice`` leaves something to
    compare while the other axes are as in ``base``; where none does (``comparable`` is False),
    those that the model accepts at all. ``whole``, if not None, holds the only combinations.
    """

    question: Question
    base: Sizes
    probed: int
    channels: tuple[int, ...]
    lattice: Sizes
    lengths: tuple[tuple[int, ...], ...]
    comparable: bool
    whole: tuple[Sizes, ...] | None = None

    def lengths_for(self, axis: int, pixels: int) -> list[int]:
        """The sizes of an axis at which a shift by ``pixels`` leaves something to compare."""
        return [
            n
            for n in self.lengths[axis]
            if n > abs(pixels) and self._leaves(_with(self.base, axis, n), axis, pixels)
        ]

    def whole_for(self, shift: Sequence[int]) -> list[Sizes]:
        """The only combinations at which ``shift`` leaves something to compare."""
        return [
            sizes
            for sizes in self.whole or ()
            if all(n > abs(v) for n, v in zip(sizes, shift, strict=True))
            and all(self._leaves(sizes, axis, v) for axis, v in enumerate(shift))
        ]

    def _leaves(self, sizes: Sizes, axis: int, pixels: int) -> bool:
        if not self.comparable or not pixels:
            return True
        return self.question.leaves(self.probed, sizes, axis, pixels)

    def has_room(self, shift: Sequence[int]) -> bool:
        """Whether there is a size at which ``shift`` leaves something to compare."""
        if self.whole is not None:
            return bool(self.whole_for(shift))
        return all(self.lengths_for(axis, v) for axis, v in enumerate(shift))

    def smallest_for(self, shift: Sequence[int]) -> Sizes:
        """The first of the sizes at which ``shift`` leaves something to compare."""
        if self.whole is not None:
            return self.whole_for(shift)[0]
        return tuple(self.lengths_for(axis, v)[0] for axis, v in enumerate(shift))

    def farthest(self, axis: int, step: int, most: int) -> int:
        """The largest multiple of ``step``, at most ``most``, for which there is a size."""
        for pixels in range(most // step * step, 0, -step):
            if self.has_room(_with((0,) * len(self.base), axis, pixels)):
                return pixels
        return 0


def find_sizes(question: Question, channels: Sequence[int], room: Sequence[int] | None) -> Accepted:
    """Look for the sizes and channel counts of a model; ``channels`` are those to choose from.

    ``room``: pixels, for each axis, that the largest size should have beyond the smallest.

    Raises InputError where the model accepts none of the sizes tried.
    """
    bases = _candidates(question)
    base, first, comparable = _find_base(question, channels, bases)
    accepted = _answer(question, base, first, channels, comparable)
    square = question.ndim > 1 and _only_squares(question, first, base, accepted.lattice)
    lost = question.loses(first, base)
    lengths = []
    for axis in range(question.ndim):
        asked = room[axis] if room is not None else 4 * accepted.lattice[axis]

        def works(n: int, axis: int = axis) -> bool:
            sizes = (n,) * question.ndim if square else _with(base, axis, n)
            if not lost and question.loses(first, sizes):
                return False  # as where an axis of size 1 is stretched
            if comparable:
                return question.leaves(first, sizes, axis, accepted.lattice[axis])
            return question.accepts(first, sizes)

        start = _estimate(question, accepted, axis)
        lengths.append(_lengths(works, start, base[axis], asked, REACH[question.ndim]))
    common = sorted(set(lengths[0]).intersection(*lengths))
    whole = tuple((n,) * question.ndim for n in common) if square else None
    return replace(accepted, lengths=tuple(lengths), whole=whole)


def listed_sizes(question: Question, channels: Sequence[int], sizes: Sequence[Sizes]) -> Accepted:
    """The answer where the sizes are given; raises InputError where the model accepts none."""
    base, first, comparable = _find_base(question, channels, sizes)
    accepted = _answer(question, base, first, channels, comparable)
    return replace(accepted, whole=tuple(sizes))


def _answer(
    question: Question, base: Sizes, first: int, channels: Sequence[int], comparable: bool
) -> Accepted:
    report = question.ask(first, base)
    assert isinstance(report, Report)
    return Accepted(
        question=question,
        base=base,
        probed=first,
        channels=tuple(sorted(n for n in channels if n == first or question.welcomes(n, base))),
        lattice=tuple(_lattice(report, axis, base[axis]) for axis in range(question.ndim)),
        lengths=(),
        comparable=comparable,
    )


def _with(base: Sizes, axis: int, size: int) -> Sizes:
    return tuple(size if a == axis else n for a, n in enumerate(base))


def _find_base(
    question: Question, channels: Sequence[int], bases: Sequence[Sizes]
) -> tuple[Sizes, int, bool]:
    """A size, a channel count, and whether something can be compared there."""
    accepted: tuple[Sizes, int, bool] | None = None
    errors: list[ModelError] = []
    for place, sizes in enumerate(bases):
        if accepted is not None and place >= len(BASES):
            break
        for count in channels if place < len(BASES) else channels[:1]:
            answer = question.ask(count, sizes)
            if isinstance(answer, ModelError):
                errors.append(answer)
                continue
            steps = [_lattice(answer, axis, size) for axis, size in enumerate(sizes)]
            if all(question.leaves(count, sizes, a, v) for a, v in enumerate(steps)):
                return sizes, count, True
            accepted = accepted or (sizes, count, False)
            break
    if accepted is not None:
        return accepted
    tried = f"{len(bases)} sizes from {min(bases)} to {max(bases)}"
    raise InputError(
        f"model: it accepts none of {tried} with {_listed(channels)} channels; give sizes= and"
        f" channels=. The first error was: {errors[0]}"
    ) from errors[0]


def _candidates(question: Question) -> list[Sizes]:
    """Sizes to try: usual ones, those of the model's parameters, and every one that is small."""
    every = [n for n in range(2, EVERY) if n not in BASES]
    equal = [(n,) * question.ndim for n in (*BASES, *every)]
    stored = [tuple(p.shape)[-question.ndim :] for p in _stored(question.model)]
    held = [sizes for sizes in stored if len(sizes) == question.ndim and min(sizes) > 1]
    return list(dict.fromkeys([*equal[: len(BASES)], *held, *equal]))


def _stored(model: Any) -> list[torch.Tensor]:
    """The parameters and buffers that may be laid over an image."""
    if not isinstance(model, torch.nn.Module):
        return []
    return [*model.parameters(), *model.buffers()]


def _listed(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))


def _lattice(report: Report, axis: int, pixels: int) -> int:
    """The smallest shift that is a whole number of samples of every output."""
    numbers = [1]
    for output in report.outputs:
        stride = output.stride[axis]
        if stride is not None:
            numbers.append(abs(stride.numerator))
        elif not output.reduced and len(output.shape) == len(report.input_shape):
            size = output.shape[report.spatial_dims[axis]]
            numbers.append(Fraction(pixels, size).numerator if size else 1)
    return math.lcm(*numbers)


def _estimate(question: Question, accepted: Accepted, axis: int) -> int:
    """A size below which nothing is left, from what is left at the base size."""
    report = question.ask(accepted.probed, accepted.base)
    assert isinstance(report, Report)
    pixels, start = accepted.base[axis], 1
    for output in report.outputs:
        stride, valid = output.stride[axis], output.valid[axis]
        if report.boundary[axis] == "circular" or stride is None or not valid:
            return 1
        period = math.lcm(output.period[axis] or 1, stride.numerator)
        spare = (valid[-1][1] - valid[0][0]) * abs(stride)
        start = max(start, pixels - math.ceil(spare) - 2 * period)
    return start


def _lengths(
    works: Callable[[int], bool], start: int, base: int, room: int, span: int
) -> tuple[int, ...]:
    """All of some candidates that work, from the smallest on; ``base`` where there is no other."""
    smallest = next(n for n in range(start, base + 1) if n == base or works(n))
    more = (smallest + n for n in _spread(room, span))
    lengths = [smallest, *(n for n in more if works(n))]
    return tuple(lengths if len(lengths) > 1 else dict.fromkeys([smallest, base]))


DENSE = 20


def _spread(room: int, span: int) -> list[int]:
    """Pixels to add to the smallest size: the first ones, some more, and some around ``room``."""
    some, far = set(range(1, DENSE)), DENSE
    while far <= room + span:
        some.add(far)
        far += 1 + far // 7  # odd and even ones
    around = {*range(room - 2, room + span // 2)} if room > DENSE else set()
    return sorted(n for n in some | around if 0 < n <= room + span)


def _only_squares(question: Question, channels: int, base: Sizes, lattice: Sizes) -> bool:
    """Whether other sizes are accepted only where they are the same along all axes."""
    steps = dict.fromkeys((*(lattice[0] * k for k in (1, 2, 4, 8)), 8, 16, 32, base[0]))

    def accepts(axes: Sequence[int], more: int) -> bool:
        larger = tuple(n + more if a in axes else n for a, n in enumerate(base))
        return question.accepts(channels, larger)

    every = range(len(base))
    for more in steps:
        if any(accepts((axis,), more) for axis in every):
            return False
        if accepts(every, more):
            return True
    return False


KINDS_OF_LAYERS = re.compile(r"(?:Conv|ConvTranspose|Pool|Norm|Pad|Dropout)([123])d$")


def number_of_axes(model: Any) -> int:
    """The number of spatial axes that the layers of a module are made for.

    Raises InputError where they do not tell.
    """
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    names = [type(module).__name__.removeprefix("Lazy") for module in modules]
    numbers = {int(match[1]) for name in names if (match := KINDS_OF_LAYERS.search(name))}
    if len(numbers) == 1:
        return numbers.pop()
    said = f"layers for {_listed(sorted(numbers))} axes" if numbers else "no layer that tells"
    raise InputError(
        f"ndim=None: the model has {said}; give the number of spatial axes, such as ndim=2"
    )


def likely_channels(model: Any) -> tuple[int, ...]:
    """The channel counts to try: what the first layer that has channels takes, and small ones."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    named = ("in_channels", "num_features", "num_channels")
    counts = (getattr(module, name, None) for module in modules for name in named)
    first = [count for count in counts if isinstance(count, int) and is_whole(count)][:1]
    return tuple(dict.fromkeys([*first, 1, 2, 3, 4]))
