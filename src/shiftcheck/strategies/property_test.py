"""A property test of a whole model: it is equivariant for every signal, size and shift drawn."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import torch
from hypothesis import strategies as st
from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.strategies import DrawFn, SearchStrategy

from _shiftcheck_listeners import Outcome, tell
from shiftcheck.checks.given_model import check_model
from shiftcheck.errors import InputError, NotEquivariantError, ShiftcheckError
from shiftcheck.measuring.signals.samples import DTYPES, checked_dtype, is_whole
from shiftcheck.report.equivariance import Report
from shiftcheck.strategies.arguments import (
    axes_of,
    boundary_of,
    channels_of,
    checked_sizes,
    is_factory,
    per_axis,
    required_of,
)
from shiftcheck.strategies.drawing import kinds_of, seeds, shifts, sizes_for
from shiftcheck.strategies.examples import Example, Scene
from shiftcheck.strategies.promise import Promise
from shiftcheck.strategies.search import Search
from shiftcheck.strategies.users_line import in_the_line_of
from shiftcheck.tracing.choosing import read_entries, read_outputs

Test = Callable[[], Any]
PATIENT = (
    hypothesis.HealthCheck.too_slow,
    hypothesis.HealthCheck.filter_too_much,
    hypothesis.HealthCheck.data_too_large,
)
"""What hypothesis would complain about: networks take their time, and blank signals are refused."""

LOOKING = (hypothesis.Phase.reuse, hypothesis.Phase.generate, hypothesis.Phase.target)
"""What hypothesis does here; the simplest example is looked for along sizes and shifts."""


def equivariant(
    model: Callable[..., Any],
    *,
    ndim: int | None = None,
    channels: int | Sequence[int] | None = None,
    sizes: Sequence[Sequence[int]] | None = None,
    max: int | Sequence[int] | None = None,
    lattice: int | Sequence[int] | None = None,
    boundary: str | Sequence[str] = "valid",
    kind: str | Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    layer: str | None = None,
    spatial_dims: Sequence[int] | None = None,
    arguments: Callable[[torch.Tensor], Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    training: bool = False,
    seed: int = 0,
    settings: hypothesis.settings | None = None,
    fixed: Sequence[str | int] = (),
    outputs: Sequence[str | int] | None = None,
) -> Callable[[Callable[[], Any]], Callable[[], None]]:
    """Turn an empty test function into a property test of a model.

    The test passes if every example is equivariant that hypothesis draws: a shift, a channel count,
    a size that the model accepts, and a signal. One step along each axis is always tried first.
    Examples that cannot show anything, such as a signal that leaves the output dead, are not
    counted; where nothing was shown along some axis, or an example remained in doubt, the test
    fails as inconclusive. The body of the function runs once, after the property was found to hold.

    A failure is the message of ``assert_equivariant`` for the simplest example found: it shrinks
    towards a single entry of the shift that is not zero, at the smallest offending magnitude, then
    one channel, then the smallest size, then white noise with seed 0.

    Args:
        model: a module, a function of the signal, or a factory: a class or a function without
            arguments, called once when the test runs, with torch seeded by ``seed``.
        ndim, channels: as in ``sizes``.
        sizes: the spatial sizes to choose from, simplest first; looked for when left out.
        max: the largest shift in pixels, once or for each axis; up to eight steps of the lattice
            when left out.
        lattice: shifts are multiples of it, once or for each axis; the outputs' strides when left
            out. A network that promises less, such as a U-Net, says so here.
        boundary, layer, spatial_dims, rtol, atol, training, fixed, outputs: as in
            ``check_equivariance``.
        kind: as in ``signals``.
        dtype: of the signals; that of the model's parameters when left out.
        arguments: makes what the model is called with from a signal, as in ``sizes``.
        seed: of the weights that a factory draws, and of the content that a shift brings in.
        settings: of hypothesis; its deadline, and its complaints about slow or refused examples,
            do not apply.

    Raises:
        InputError: for arguments that cannot be used; what depends on the model is looked at when
            the test runs.

    The test raises NotEquivariantError, InconclusiveError, or ModelError where the model raises.

    Example:
        >>> import torch
        >>> @equivariant(lambda: torch.nn.Conv2d(1, 2, 3, padding=1))
        ... def test_it_moves():
        ...     '''The network moves with its input.'''
        >>> test_it_moves()
    """
    promise = Promise(
        model=_checked(model),
        factory=is_factory(model),
        ndim=None if ndim is None else axes_of(ndim),
        channels=None if channels is None else channels_of(channels, model),
        sizes=None if sizes is None else checked_sizes(sizes, ndim),
        farthest=max,
        lattice=lattice,
        boundary=boundary,
        kinds=kinds_of(kind),
        dtype=dtype,
        arguments=arguments,
        options={
            "layer": layer,
            "spatial_dims": spatial_dims,
            "rtol": rtol,
            "atol": atol,
            "training": training,
            "seed": seed,
            "fixed": read_entries("fixed", fixed),
            "outputs": read_outputs(outputs) or None,
        },
    )
    _check_options(promise, settings)
    if not promise.factory and promise.sizes is None:
        axes_of(ndim, model)

    def decorate(test: Test) -> Callable[[], None]:
        if not inspect.isfunction(test) or inspect.signature(test).parameters:
            raise InputError(
                f"{getattr(test, '__name__', test)!r}: decorate a function without arguments, such"
                " as 'def test_the_network_moves(): ...'"
            )
        return _as_test(test, promise, settings)

    return decorate


def _checked(model: Any) -> Any:
    if not isinstance(model, type | functools.partial):  # which are factories
        check_model(model)
    wanted = required_of(model) if isinstance(model, type) else ()
    if wanted and wanted != ("",):
        raise InputError(
            f"model={model.__name__} wants {', '.join(wanted)}: give an instance, or a factory such"
            f" as lambda: {model.__name__}({', '.join(f'{name}=...' for name in wanted)})"
        )
    return model


def _check_options(promise: Promise, settings: Any) -> None:
    """Look at what does not depend on the model."""
    if promise.dtype is not None:
        checked_dtype(promise.dtype)
    if settings is not None and not isinstance(settings, hypothesis.settings):
        raise InputError(f"settings={settings!r}: give hypothesis.settings(...), or None")
    if promise.arguments is not None and not callable(promise.arguments):
        raise InputError(f"arguments={promise.arguments!r}: give a function of the signal, or None")
    if not is_whole(promise.options["seed"]):
        raise InputError(f"seed={promise.options['seed']!r}: give a whole number")
    for name, value, least in (("max", promise.farthest, 0), ("lattice", promise.lattice, 1)):
        several = isinstance(value, Sequence) and not isinstance(value, str)
        if value is not None:
            per_axis(name, value, promise.ndim or (len(value) if several else 1), least=least)
    several = isinstance(promise.boundary, list | tuple)
    boundary_of(promise.boundary, promise.ndim or (len(promise.boundary) if several else 1))
    if promise.dtype is None and torch.get_default_dtype() not in DTYPES:
        raise InputError("dtype=None: torch's default dtype is none of a signal; give dtype=")


def _as_test(
    test: Test, promise: Promise, settings: hypothesis.settings | None
) -> Callable[[], None]:
    made: list[Scene] = []

    def ended() -> ShiftcheckError | None:
        __tracebackhide__ = True
        try:
            if not made:
                made.append(promise.prepared())
            tell(Outcome(report=_searched(test, Search(scene=made[0]), settings)))
        except ShiftcheckError as error:
            return error.with_traceback(None)
        test()
        return None

    return in_the_line_of(test, ended)


def _searched(test: Test, search: Search, settings: hypothesis.settings | None) -> Report:
    """The report that passes and is nearest to its allowance; raises where one does not pass."""
    try:
        for example in search.scene.simplest():
            search.judge(example)
        _drawn(test, search, settings)
    except (NotEquivariantError, Flaky):
        if search.broken is None:
            raise
        raise search.failure() from None
    return search.settled()


def _drawn(test: Test, search: Search, settings: hypothesis.settings | None) -> None:
    """Let hypothesis look for an example that is broken."""

    def body(example: Example) -> None:
        if not search.judge(example):
            hypothesis.reject()

    functools.update_wrapper(body, test)  # so that hypothesis remembers examples by the test's name
    del body.__wrapped__  # type: ignore[attr-defined]
    given = settings or hypothesis.settings()
    asked = hypothesis.settings(
        given,
        phases=[phase for phase in given.phases if phase in LOOKING],
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=PATIENT,
    )
    try:
        asked(hypothesis.given(example=_examples(search.scene))(body))()
    except Unsatisfiable:
        return  # nothing was shown; the search says so when it is settled


def _examples(scene: Scene) -> SearchStrategy[Example]:
    """Examples, drawn so that the shift is simplified first, and the seed last."""
    counts = [f // s for f, s in zip(scene.farthest, scene.lattice, strict=True)]

    @st.composite  # without arguments, which hypothesis would write out
    def drawn(draw: DrawFn) -> Example:
        steps = draw(shifts(len(counts), counts))
        shift = tuple(n * s for n, s in zip(steps, scene.lattice, strict=True))
        if not scene.found.has_room(shift):
            hypothesis.reject()
        return Example(
            shift=shift,
            channels=draw(st.sampled_from(scene.found.channels)),
            sizes=draw(sizes_for(scene.found, shift)),
            kind=draw(st.sampled_from(scene.kinds)),
            seed=draw(seeds()),
        )

    return drawn()
