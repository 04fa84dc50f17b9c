"""What a check of invariance found: frozen records of plain numbers and strings, no tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.causes import Cause
from shiftcheck.report.equivariance import Change
from shiftcheck.report.reasons import Reason, Reasoned

Shift = tuple[float, ...]


class InvarianceVerdict(StrEnum):
    """The three answers of a check of invariance; only INVARIANT lets an assertion pass.

    Example:
        >>> import shiftcheck
        >>> [str(verdict) for verdict in shiftcheck.report.InvarianceVerdict]
        ['invariant', 'not invariant', 'inconclusive']
    """

    INVARIANT = "invariant"
    NOT_INVARIANT = "not invariant"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class InvarianceShift(Reasoned):
    """One output under one shift, in pixels; numbers are None where there are none.

    ``distance``: the largest Euclidean distance between the outputs for a signal and for the
    shifted signal, over the signals of the batch; ``mean_distance``: their mean. For outputs of
    whole numbers, the distance is the share of the entries that differ. ``relative_error``:
    ``distance`` over the variation between different signals. ``gap``: the largest difference of a
    channel over the largest magnitude of that channel; exactness is judged by it, against
    ``allowance``. ``float64_gap``: the same in float64, where a second look was needed.
    ``top1_agreement``: the share of the signals whose largest entry stays the same one. ``proven``:
    the structure guarantees that this shift changes nothing. ``verdict`` is None for what was
    measured and not judged.

    Example:
        >>> import torch, shiftcheck
        >>> pooled = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        ...     torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> report = shiftcheck.check_invariance(pooled, torch.randn(3, 1, 12, 13))
        >>> all(shift.proven for shift in report.outputs[0].shifts)
        True
    """

    shift: Shift
    verdict: InvarianceVerdict | None
    reason: Reason = Reason.NONE
    distance: float | None = None
    mean_distance: float | None = None
    relative_error: float | None = None
    gap: float | None = None
    allowance: float | None = None
    float64_gap: float | None = None
    top1_agreement: float | None = None
    proven: bool = False


@dataclass(frozen=True, kw_only=True)
class InvariantOutput(Reasoned):
    """One output: what its structure guarantees, and what was measured.

    ``period``: along each axis, the smallest shift in pixels for whose multiples the structure
    guarantees invariance, None where it guarantees it for none. ``measured``: an operation has no
    rule, and its part of the structure was found by experiments. ``variation``: the median distance
    between the outputs for different signals, over ``pairs`` of them. ``magnitude``: the norm of
    the largest magnitudes of its entries. ``top1_between``: the share of these pairs that have the
    same largest entry; where it is 1, top-1 agreement tells nothing.

    Example:
        >>> import torch, shiftcheck
        >>> pooled = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        ...     torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> report = shiftcheck.check_invariance(pooled, torch.randn(3, 1, 12, 13))
        >>> report.outputs[0].shape, report.outputs[0].period
        ((3, 4), (1, 1))
    """

    name: str
    shape: tuple[int, ...]
    period: tuple[int | None, ...]
    measured: bool = False
    verdict: InvarianceVerdict | None = None
    reason: Reason = Reason.NONE
    variation: float | None = None
    magnitude: float | None = None
    pairs: int = 0
    top1_between: float | None = None
    shifts: tuple[InvarianceShift, ...] = ()

    @property
    def moved(self) -> tuple[InvarianceShift, ...]:
        """The results of all shifts but the zero one."""
        return tuple(s for s in self.shifts if any(s.shift))

    @property
    def relative_error(self) -> float | None:
        """The relative error of the worst shift; None where none was measured."""
        return max(_known(s.relative_error for s in self.moved), default=None)

    @property
    def mean_relative_error(self) -> float | None:
        """The mean of the relative error over the shifts, the zero shift left out."""
        return _mean([s.relative_error for s in self.moved])

    @property
    def top1_agreement(self) -> float | None:
        """The mean of the top-1 agreement over the shifts, the zero shift left out.

        A secondary figure: a network at random initialisation gives most signals the same class,
        and then agrees with itself whatever its logits do. ``top1_between`` tells.
        """
        return _mean([s.top1_agreement for s in self.moved])

    @property
    def worst(self) -> InvarianceShift | None:
        """The shift with the largest relative error; of equally bad ones, the smallest."""
        return worst_of(self.moved)

    @property
    def proven(self) -> bool:
        """Whether the structure guarantees every shift that was measured."""
        return bool(self.moved) and all(s.proven for s in self.moved)

    @property
    def grid(self) -> tuple[tuple[float, ...], ...] | None:
        """The offsets along each axis, where the shifts are all their combinations; else None.

        The zero shift may be missing.
        """
        measured = {s.shift for s in self.shifts}
        if not measured:
            return None
        rank = len(next(iter(measured)))
        zero = (0,) * rank
        along = tuple(tuple(sorted({s[a] for s in measured})) for a in range(rank))
        full = set(itertools.product(*along))
        return along if full - {zero} <= measured else None

    def map(self) -> Any:
        """The relative errors over the grid, as nested tuples: in 2-D, rows m and columns n.

        The zero shift has the error 0. None where the shifts form no grid.
        """
        along = self.grid
        if along is None:
            return None
        errors = {s.shift: s.relative_error for s in self.shifts}
        errors[(0,) * len(along)] = 0.0
        return _nested(along, (), errors)


@dataclass(frozen=True, kw_only=True)
class InvarianceTrial(Reasoned):
    """What the same check gives after a change; ``shift``: the worst of those that were tried.

    One that clearly fails is the last that is tried. ``max_relative_error``: the bound that was
    stated, where that is the change.

    Example:
        >>> import torch, shiftcheck
        >>> pooled = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(),
        ...     torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> report = shiftcheck.check_invariance(pooled, torch.randn(3, 1, 12, 13))
        >>> [trial.change.circular_padding for trial in report.trials if trial.works]
        [True]
    """

    change: Change
    verdict: InvarianceVerdict | None
    reason: Reason = Reason.NONE
    relative_error: float | None = None
    shift: Shift | None = None
    max_relative_error: float | None = None

    @property
    def works(self) -> bool:
        """Whether the changed check passes."""
        return self.verdict is InvarianceVerdict.INVARIANT


@dataclass(frozen=True, kw_only=True)
class InvarianceReport(AnyReport):
    """The result of ``check_invariance``: the verdict, its reason, and every output.

    ``verdict`` is None where nothing was to be judged: on an open axis, without a bound. ``fill``:
    what enters along each axis, ``"canvas"`` where the input is a ``crop`` of a larger signal.
    ``signals``: where the different signals come from, ``"batch"`` or ``"drawn"``. ``sensitivity``:
    the smallest relative error that this run would have caught. ``same_from``: the first layer from
    which on all signals give the same, where they do. ``causes``, ``guilty``: what in the structure
    breaks invariance, and the first that explains the worst shift. ``trials``: what was tried to
    make the check pass. ``untried``: the changes that would have cost too much.
    ``equivariant_features``: the last layer that has axes, where ``assert_equivariant`` passes up
    to it; looked for where the check does not pass.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"),
        ...     torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(),
        ... )
        >>> report = shiftcheck.check_invariance(model, torch.randn(4, 1, 8, 8))
        >>> report.verdict, report.outputs[0].period, report.outputs[0].proven
        (<InvarianceVerdict.INVARIANT: 'invariant'>, (1, 1), True)
    """

    _called: ClassVar[str] = "report of invariance"

    verdict: InvarianceVerdict | None
    reason: Reason
    outputs: tuple[InvariantOutput, ...]
    max_relative_error: float | None = None
    model: str = ""
    shifts: tuple[Shift, ...] = ()
    fill: tuple[str, ...] = ()
    crop: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    layer: str | None = None
    fixed: tuple[str | int, ...] = ()
    chosen_outputs: tuple[str | int, ...] = ()
    signals: str = ""
    guilty: Cause | None = None
    causes: tuple[Cause, ...] = ()
    same_from: str = ""
    sensitivity: float | None = None
    trials: tuple[InvarianceTrial, ...] = ()
    untried: tuple[Change, ...] = ()
    equivariant_features: str = ""
    dtype: str = ""
    device: str = ""
    seed: int = 0
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __getitem__(self, name: str) -> InvariantOutput:
        """The output called ``name``; raises KeyError with the names there are."""
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(f"no output {name!r}; there are {', '.join(o.name for o in self.outputs)}")

    @property
    def decisive(self) -> InvariantOutput:
        """The output that the verdict comes from; of several, the one with the largest error."""
        same = [o for o in self.outputs if (o.verdict, o.reason) == (self.verdict, self.reason)]
        measured = [o for o in same or self.outputs if o.relative_error is not None]
        first = next(iter(same or self.outputs))
        return max(measured, key=lambda o: o.relative_error or 0.0, default=first)

    @property
    def relative_error(self) -> float | None:
        """The relative error of the worst output under its worst shift."""
        return max(_known(o.relative_error for o in self.outputs), default=None)


def worst_of(results: Sequence[InvarianceShift]) -> InvarianceShift | None:
    """The result with the largest relative error; the smallest shift where rounding decides."""
    measured = [s for s in results if s.relative_error is not None]
    largest = max((s.relative_error or 0.0 for s in measured), default=0.0)
    tied = [s for s in measured if (s.relative_error or 0.0) >= (1 - TIED) * largest]
    return min(tied, key=lambda s: (sum(map(abs, s.shift)), [-v for v in s.shift]), default=None)


TIED = 1e-4
"""Relative errors that are so close to each other are equal."""


def _known(values: Iterator[float | None]) -> Iterator[float]:
    return (v for v in values if v is not None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = list(_known(iter(values)))
    return sum(known) / len(known) if known else None


def _nested(
    along: Sequence[Sequence[float]], shift: Shift, errors: Mapping[Shift, float | None]
) -> Any:
    if len(shift) == len(along):
        return errors[shift]
    return tuple(_nested(along, (*shift, v), errors) for v in along[len(shift)])
