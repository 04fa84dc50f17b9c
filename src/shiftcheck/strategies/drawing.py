"""Strategies for shifts, signals, sizes and boundaries: arguments are looked at when called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from shiftcheck.checks.given_model import check_model
from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.samples import (
    KINDS,
    checked_dtype,
    checked_kind,
    checked_shape,
    sample_signal,
)
from shiftcheck.strategies.accepted_sizes import Accepted, find_sizes
from shiftcheck.strategies.arguments import (
    axes_of,
    boundary_of,
    channels_of,
    per_axis,
    shift_of,
)
from shiftcheck.strategies.question import Question

Shift = tuple[int, ...]
SEEDS = 2**16


def shifts(
    ndim: int, max: int | Sequence[int], *, lattice: int | Sequence[int] = 1
) -> SearchStrategy[tuple[int, ...]]:
    """Shifts other than zero, in whole pixels.

    Examples shrink towards the smallest offending one: towards a single entry that is not zero,
    then to one step of the lattice, then to the first axis, then to a positive sign.

    Args:
        ndim: the number of spatial axes, one to three.
        max: the largest entry in pixels, once or for each axis; an axis with 0 is not moved.
        lattice: every entry is a multiple of it, once or for each axis.

    Raises:
        InputError: for arguments that cannot be used, such as a ``max`` below ``lattice``.

    Example:
        >>> from hypothesis import find
        >>> find(shifts(2, 8, lattice=(2, 4)), lambda v: v[1] > 0)
        (0, 4)
    """
    axes_of(ndim)
    farthest = per_axis("max", max, ndim, least=0)
    steps = per_axis("lattice", lattice, ndim, least=1)
    for axis, (most, step) in enumerate(zip(farthest, steps, strict=True)):
        if 0 < most < step:
            raise InputError(
                f"max={max!r}, lattice={lattice!r}: along axis {axis} no multiple of {step} is at"
                f" most {most}; give max >= lattice, or 0 to leave the axis alone"
            )
    if not any(farthest):
        raise InputError(f"max={max!r}: no axis is moved; give at least one entry above 0")
    counts = [most // step for most, step in zip(farthest, steps, strict=True)]
    return _steps(counts).map(lambda v: tuple(n * s for n, s in zip(v, steps, strict=True)))


@st.composite
def _steps(draw: DrawFn, counts: Sequence[int]) -> Shift:
    """A number of steps for each axis, the last axis first: the first one is simplified last."""
    drawn = [draw(_entry(most)) for most in reversed(counts)]
    if not any(drawn):
        reject()
    return tuple(reversed(drawn))


def _entry(most: int) -> SearchStrategy[int]:
    if not most:
        return st.just(0)
    return st.just(0) | st.integers(1, most) | st.integers(-most, -1)


def signals(
    shape: Sequence[int | SearchStrategy[int]] | SearchStrategy[Any],
    *,
    dtype: torch.dtype = torch.float32,
    kind: str | Sequence[str] | None = None,
) -> SearchStrategy[torch.Tensor]:
    """Signals ``[batch, channels, *spatial]``, drawn as a seed and a shape, never pixel by pixel.

    A failure is shown as the call of ``sample_signal`` that makes the signal again. Examples shrink
    towards the smallest shape (channel counts towards one), the first kind, and seed 0.

    Args:
        shape: the shape, in which any entry may be a strategy of whole numbers; or a strategy of
            shapes.
        dtype: a real floating dtype.
        kind: one or several of ``"white"``, ``"band-limited"``, ``"impulses"`` and ``"blobs"``, as
            described in ``sample_signal``; all of them when left out.

    Raises:
        InputError: for arguments that cannot be used.

    Example:
        >>> from hypothesis import find, strategies as st
        >>> x = find(signals((1, st.integers(1, 4), 8, 9)), lambda x: bool(x.std() > 0))
        >>> x.shape
        torch.Size([1, 1, 8, 9])
    """
    checked_dtype(dtype)
    other = {} if dtype is torch.float32 else {"dtype": st.just(dtype)}
    kinds = st.sampled_from(kinds_of(kind))
    return st.builds(_as_called, _shapes(shape), kind=kinds, seed=seeds(), **other)


def _as_called(*args: Any, **options: Any) -> torch.Tensor:
    """The signal; hypothesis shows the call by this function's name."""
    return sample_signal(*args, **options)


_as_called.__name__ = "shiftcheck.strategies.sample_signal"


def seeds() -> SearchStrategy[int]:
    """Seeds of signals; they shrink towards 0."""
    return st.integers(0, SEEDS - 1)


def kinds_of(kind: str | Sequence[str] | None) -> tuple[str, ...]:
    """The kinds to choose from; raises InputError for one that there is not."""
    if kind is None:
        return tuple(KINDS)
    several = (kind,) if isinstance(kind, str) else kind
    if not isinstance(several, Sequence) or not several:
        raise InputError(f"kind={kind!r}: give one kind or several, or None for all of them")
    for one in several:
        checked_kind(one)
    return tuple(several)


def _shapes(shape: Any) -> SearchStrategy[Any]:
    if isinstance(shape, SearchStrategy):
        return shape
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        checked_shape(shape)
    checked_shape([1 if isinstance(n, SearchStrategy) else n for n in shape])
    return st.tuples(*(n if isinstance(n, SearchStrategy) else st.just(n) for n in shape))


def sizes(
    model: Callable[..., Any],
    *,
    ndim: int | None = None,
    channels: int | Sequence[int] | None = None,
    boundary: str | Sequence[str] = "valid",
    shift: Sequence[int] | None = None,
    layer: str | None = None,
    spatial_dims: Sequence[int] | None = None,
    arguments: Callable[[torch.Tensor], Any] | None = None,
) -> SearchStrategy[tuple[int, ...]]:
    """Spatial sizes that a model accepts and at which a check can tell something, by its geometry.

    They are looked for when this is called: the geometry is read at about a dozen sizes, without
    running the model. Examples shrink towards the smallest size: so many samples see no padding
    that a check has enough to compare.

    Args:
        model: any module or callable.
        ndim: the number of spatial axes; that of the model's layers when left out.
        channels: the channel count, or several to choose from; what the model accepts when left
            out.
        boundary: ``"valid"`` or ``"circular"``, once or for each spatial axis.
        shift: whole pixels that the sizes leave room for; one step of the outputs' strides when
            left out, as in the checks.
        layer, spatial_dims: as in ``check_equivariance``.
        arguments: makes what the model is called with from a signal ``[batch, channels,
            *spatial]``; the signal itself when left out.

    Raises:
        InputError: for arguments that cannot be used, and where no size was found.

    Example:
        >>> import hypothesis, torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.MaxPool2d(2))
        >>> @hypothesis.settings(max_examples=5, deadline=None)
        ... @hypothesis.given(sizes(net))
        ... def look(size):
        ...     assert min(size) >= 10  # a field of six pixels, and two steps of two
        >>> look()
    """
    check_model(model)
    dims = axes_of(ndim, model)
    question = Question(
        model=model,
        ndim=dims,
        boundary=boundary_of(boundary, dims),
        layer=layer,
        spatial_dims=None if spatial_dims is None else tuple(spatial_dims),
        arguments=arguments,
    )
    moved = None if shift is None else shift_of(shift, dims)
    room = None if moved is None else [abs(v) for v in moved]
    accepted = find_sizes(question, channels_of(channels, model), room)
    if not accepted.comparable:
        raise InputError(
            f"model: no size up to {accepted.base} was found that leaves something to compare;"
            " shiftcheck.geometry(model, shape) says at which layer the valid region ends"
        )
    moved = moved or accepted.lattice
    if not accepted.has_room(moved):
        raise InputError(f"shift={shift!r}: no size was found that leaves room for it")
    candidates = sizes_for(accepted, moved)
    return candidates.filter(lambda chosen: question.accepts(accepted.probed, chosen))


def sizes_for(accepted: Accepted, shift: Shift) -> SearchStrategy[tuple[int, ...]]:
    """The sizes at which ``shift`` tells something, each axis by itself; small ones more often."""
    if accepted.whole is not None:
        return _small_first(accepted.whole_for(shift))
    lengths = (_small_first(accepted.lengths_for(axis, v)) for axis, v in enumerate(shift))
    return st.tuples(*lengths)


SMALL = 3
"""Every other size that is drawn is one of so many that are the smallest."""

Some = TypeVar("Some")


def _small_first(sizes: Sequence[Some]) -> SearchStrategy[Some]:
    return st.sampled_from(sizes[:SMALL]) | st.sampled_from(sizes)


def boundaries(ndim: int) -> SearchStrategy[tuple[str, ...]]:
    """Boundaries, ``"valid"`` or ``"circular"`` for each axis.

    Examples shrink towards ``"valid"`` along every axis.

    Args:
        ndim: the number of spatial axes, one to three.

    Raises:
        InputError: for an ``ndim`` that cannot be used.

    Example:
        >>> from hypothesis import find
        >>> find(boundaries(2), lambda boundary: "circular" in boundary[1])
        ('valid', 'circular')
    """
    axes_of(ndim)
    return st.tuples(*(st.sampled_from(("valid", "circular")) for _ in range(ndim)))
