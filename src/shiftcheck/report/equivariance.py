"""What a check found: frozen records of plain numbers and strings, no tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import ClassVar

from shiftcheck.errors import InputError
from shiftcheck.report.base import AnyReport, rendered
from shiftcheck.report.causes import Cause
from shiftcheck.report.left_out import LeftOut
from shiftcheck.report.placing import Located, Placement, located
from shiftcheck.report.reasons import Reason, Reasoned


class Verdict(StrEnum):
    """The three answers of a check; only EQUIVARIANT lets an assertion pass.

    Example:
        >>> import torch, shiftcheck
        >>> conv, x = torch.nn.Conv2d(1, 1, 3), torch.randn(1, 1, 12, 13)
        >>> shiftcheck.check_equivariance(conv, x).verdict is shiftcheck.Verdict.EQUIVARIANT
        True
        >>> str(shiftcheck.Verdict.EQUIVARIANT)
        'equivariant'
    """

    EQUIVARIANT = "equivariant"
    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class ShiftResult(Reasoned):
    """One layer under one shift, in pixels; numbers are None where nothing was compared.

    ``error``, ``border_error``: the largest gap on valid samples, and on samples that overlap but
    are not valid. ``relative_error``: the largest gap of a channel over its largest magnitude.
    ``relative_border_error``: ``border_error`` over the largest magnitude of all channels.
    ``allowance``: the largest relative error that passes. ``null_error``: the same comparison with
    the shift left out, relative; where it is small, a break could not have been seen.
    ``float64_error``: the relative error in float64, where a second look was needed; it is then
    what ``allowance`` is compared with. ``local_interior``, ``local_border``: the relative error of
    this layer alone when it is fed with exact shifts, on samples that do not see its own padding
    and on those that do; measured where the verdict is not EQUIVARIANT. ``differing``: the share of
    the compared values whose gap is larger than allowed.

    Example:
        >>> import torch, shiftcheck
        >>> conv = torch.nn.Conv2d(1, 1, 3)
        >>> report = shiftcheck.check_equivariance(conv, torch.randn(1, 1, 12, 13), shifts=[(0, 2)])
        >>> result = report.outputs[0].shifts[0]
        >>> result.shift, str(result.verdict), result.relative_error <= result.allowance
        ((0, 2), 'equivariant', True)
    """

    shift: tuple[float, ...]
    verdict: Verdict
    reason: Reason = Reason.NONE
    error: float | None = None
    relative_error: float | None = None
    border_error: float | None = None
    relative_border_error: float | None = None
    scale: float | None = None
    allowance: float | None = None
    null_error: float | None = None
    share: float | None = None
    worst: tuple[int, ...] | None = None
    differing: float | None = None
    float64_error: float | None = None
    local_interior: float | None = None
    local_border: float | None = None


@dataclass(frozen=True, kw_only=True)
class LayerResult(Reasoned):
    """One layer: its geometry along each spatial axis, and what was measured.

    ``stride``, ``period``, ``halo`` and ``receptive_field`` are in input pixels, one entry for each
    spatial axis, None where the axis has none. ``valid`` holds the valid samples as runs (start,
    stop), ``different`` those that are compared as if they were valid, though the structure does
    not promise that they agree: where pieces that obey other laws are joined, or samples exchanged.
    ``causes`` are those that arise in this layer itself. ``reduced``: every axis that is missing
    was reduced at all places alike, as by a global mean. ``measured``: the geometry rests on
    experiments with an operation that has no rule, in this layer or before it. ``placement``: where
    the samples stand over the pixels, for each axis, None where it has none.

    Example:
        >>> import torch, shiftcheck
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 5), torch.nn.AvgPool2d(2))
        >>> row = shiftcheck.geometry(model, (1, 1, 16, 20))["1"]
        >>> row.op, row.shape, row.period, row.receptive_field
        ('AvgPool2d', (1, 1, 6, 8), (2, 2), (6.0, 6.0))
    """

    name: str
    op: str
    shape: tuple[int, ...]
    stride: tuple[Fraction | None, ...]
    period: tuple[int | None, ...]
    receptive_field: tuple[float | None, ...]
    halo: tuple[tuple[float, float] | None, ...]
    valid: tuple[tuple[tuple[int, int], ...] | None, ...]
    different: tuple[tuple[tuple[int, int], ...] | None, ...] = ()
    causes: tuple[Cause, ...] = ()
    reduced: bool = False
    measured: bool = False
    verdict: Verdict | None = None
    reason: Reason = Reason.NONE
    shifts: tuple[ShiftResult, ...] = ()
    placement: tuple[Placement | None, ...] = ()

    @property
    def offset(self) -> tuple[Fraction | None, ...]:
        """The centre of what sample 0 sees, in pixels; None where that is all of a side."""
        return tuple(None if p is None else p.offset for p in self.placement)

    @property
    def error(self) -> float | None:
        """The largest gap on valid samples over all shifts; None where none was compared."""
        return _largest(s.error for s in self.shifts)

    @property
    def relative_error(self) -> float | None:
        """The largest relative error over all shifts; None where none was compared."""
        return _largest(s.relative_error for s in self.shifts)

    @property
    def border_error(self) -> float | None:
        """The largest gap over all shifts on samples that overlap but are not valid."""
        return _largest(s.border_error for s in self.shifts)

    @property
    def relative_border_error(self) -> float | None:
        """The largest relative border error over all shifts."""
        return _largest(s.relative_border_error for s in self.shifts)

    @property
    def local_interior(self) -> float | None:
        """The largest relative local error over all shifts where it does not see its padding."""
        return _largest(s.local_interior for s in self.shifts)

    @property
    def local_border(self) -> float | None:
        """The largest relative local error over all shifts where it sees its own padding."""
        return _largest(s.local_border for s in self.shifts)

    @property
    def worst(self) -> ShiftResult | None:
        """The shift with the largest relative error, with the index of the largest gap."""
        compared = [s for s in self.shifts if s.relative_error is not None]
        return max(compared, key=lambda s: s.relative_error or 0.0, default=None)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was changed when a check was repeated; an empty field was not changed.

    ``circular_padding``: layers that pad a circular axis padded circularly. ``multiples``: the
    shifts were multiples of these pixels, one number for each axis. ``shifts``: they were these.
    ``layer``: the check ended at this layer. ``size``: the input had this spatial size, and values
    of its own places.
    ``boundary``: the axes were read in this way. ``signal``: the input was noise of its own size.
    ``dtype``: model and input were in this type. ``tolerances``: rtol and atol were left out.
    ``evaluation``: the model was in eval mode. ``fixed``: these arguments stood still as well.
    ``outputs``: these outputs counted. ``constants``, ``factors``: these parameters were zero, and
    one. ``blurred``: before the strides of these layers, which are given, results were averaged.

    Example:
        >>> import torch, shiftcheck
        >>> conv, x = torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 12, 13)
        >>> report = shiftcheck.check_equivariance(conv, x, boundary="circular")
        >>> [trial.change.circular_padding for trial in report.trials if trial.works]
        [True]
    """

    circular_padding: bool = False
    multiples: tuple[int, ...] = ()
    shifts: tuple[tuple[float, ...], ...] = ()
    layer: str = ""
    size: tuple[int, ...] = ()
    boundary: tuple[str, ...] = ()
    signal: bool = False
    dtype: str = ""
    tolerances: bool = False
    evaluation: bool = False
    fixed: tuple[str | int, ...] = ()
    outputs: tuple[str | int, ...] = ()
    constants: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    blurred: tuple[tuple[str, int], ...] = ()

    def moves(self, before: Sequence[tuple[float, ...]]) -> tuple[tuple[float, ...], ...]:
        """The shifts, instead of those before: its own, or multiples along each axis that moved.

        Multiples of all axes together are the last; empty where the shifts did not change.
        """
        steps = self.multiples
        if self.shifts or not steps:
            return self.shifts
        axes = range(len(steps))
        moved = {a for s in before for a, v in enumerate(s) if v} or set(axes)
        alone = [tuple(steps[a] if a == b else 0 for b in axes) for a in axes if a in moved]
        together = tuple(steps[a] if a in moved else 0 for a in axes)
        return tuple(dict.fromkeys([*alone, together]))


@dataclass(frozen=True, kw_only=True)
class Trial(Reasoned):
    """The verdict of the same check after a change; ``guilty`` is the cause that then remains.

    Example:
        >>> import torch, shiftcheck
        >>> conv, x = torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 12, 13)
        >>> report = shiftcheck.check_equivariance(conv, x, boundary="circular")
        >>> [str(trial.verdict) for trial in report.trials if trial.change.circular_padding]
        ['equivariant']
    """

    change: Change
    verdict: Verdict
    reason: Reason = Reason.NONE
    relative_error: float | None = None
    guilty: Cause | None = None

    @property
    def works(self) -> bool:
        """Whether the changed check passes."""
        return self.verdict is Verdict.EQUIVARIANT


@dataclass(frozen=True, kw_only=True)
class Draw(Reasoned):
    """What the check gives with one draw of randomised weights.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.check_equivariance(
        ...     torch.nn.Conv2d(1, 1, 3), torch.randn(1, 1, 12, 13), weights="randomized", draws=2
        ... )
        >>> [(draw.seed, str(draw.verdict)) for draw in report.draws]
        [(0, 'equivariant'), (1, 'equivariant')]
    """

    seed: int
    verdict: Verdict
    reason: Reason = Reason.NONE
    relative_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report(AnyReport):
    """The result of a check: the verdict, its reason, and every layer in the order of execution.

    ``layers[i]`` are rows; ``report["conv4"]`` finds one by name. ``outputs`` are the tensors that
    the model returned, which alone decide the verdict. ``causes`` are those on the way to the
    outputs, ``guilty`` is the first of them that explains the verdict. ``needed``: where nothing is
    left to compare, the smallest spatial size that would do, if one was found. ``needed_steps``: by
    which steps larger sizes follow that do, where not every one does; 0 along an axis of which no
    other is known, and ``needed_share``: the share of an output that is free of padding at that
    size. ``shifts_given``, ``tolerances``, ``training``: whether the shifts are the user's, the
    user's rtol and atol, and whether training flags were left as they were. ``sensitivity``: the
    smallest relative break that this run would have caught in any channel. Channels of nothing but
    rounding do not count; a note says how many there are.
    ``fixed``, ``chosen_outputs``: the arguments that stood still and the outputs that counted, as
    they were asked for. ``trials``: what was tried to make the check pass; a remedy is one that
    did. ``untried``, ``left_out``: the changes, and what else of the explanation, that would have
    cost too much; ``effort="full"`` pays for them. ``draws``: where the weights were randomised,
    what each draw gave; the rest of the report is of the draw that decided.

    Example:
        >>> import torch, shiftcheck
        >>> conv, x = torch.nn.Conv2d(1, 1, 3), torch.randn(1, 1, 12, 13)
        >>> report = shiftcheck.check_equivariance(conv, x)
        >>> str(report.verdict), [row.name for row in report], report.outputs[0].valid
        ('equivariant', ['conv2d'], (((0, 10),), ((0, 11),)))
        >>> shiftcheck.Report.from_json(report.to_json()) == report
        True
    """

    _called: ClassVar[str] = "shiftcheck report"

    verdict: Verdict | None
    reason: Reason
    layers: tuple[LayerResult, ...]
    outputs: tuple[LayerResult, ...]
    guilty: Cause | None = None
    causes: tuple[Cause, ...] = ()
    model: str = ""
    shifts: tuple[tuple[float, ...], ...] = ()
    boundary: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    layer: str | None = None
    fixed: tuple[str | int, ...] = ()
    chosen_outputs: tuple[str | int, ...] = ()
    dtype: str = ""
    device: str = ""
    seed: int = 0
    needed: tuple[int, ...] | None = None
    needed_steps: tuple[int, ...] = ()
    needed_share: float | None = None
    shifts_given: bool = False
    tolerances: tuple[float, float] | None = None
    training: bool = False
    sensitivity: float | None = None
    trials: tuple[Trial, ...] = ()
    untried: tuple[Change, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    draws: tuple[Draw, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    @property
    def relative_error(self) -> float | None:
        """The largest relative error of an output; None where none was compared."""
        return _largest(o.relative_error for o in self.outputs)

    def table(self, *, wide: bool = False, width: int | None = None) -> str:
        """The layers as text: one line each, below their modules.

        ``wide``: all columns and full names, as wide as that takes. ``width``: characters
        in a line, at least 20; where it is left out, ``COLUMNS`` or the terminal says it, else it
        is 100. Long names and shapes lose their middle; where that is not enough, columns are left
        out, in this order: period, valid, halo, stride, shape, cause.

        Raises InputError for a smaller width.

        Example:
            >>> import torch, shiftcheck
            >>> down = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AvgPool2d(2))
            >>> model = torch.nn.Sequential(down, torch.nn.ReLU())
            >>> print(shiftcheck.geometry(model, (1, 1, 12, 14)).table(width=60))
             layer  shape    stride  period  halo        valid  cause
             ─────────────────────────────────────────────────────────
             0
               0    4x10x12       1       1   0+2  0:10 x 0:12
               1    4x5x6         2       2   0+3    0:5 x 0:6  STRIDE
             1      4x5x6         2       2   0+3    0:5 x 0:6
        """
        return rendered("text", self, wide=wide, width=width, rows_only=True)

    def __getitem__(self, name: str) -> LayerResult:
        """The row called ``name``; raises KeyError with the names there are."""
        for row in self.layers:
            if row.name == name:
                return row
        raise KeyError(f"no layer {name!r}; there are {', '.join(r.name for r in self.layers)}")

    def __iter__(self) -> Iterator[LayerResult]:
        return iter(self.layers)

    def locate(self, layer: str, index: int | Sequence[int]) -> Located:
        """The pixels that one sample of a layer sees, and their centre.

        Args:
            layer: the name of a row or of an output.
            index: of the sample, along each spatial axis; negative from the end.

        Raises:
            InputError: the layer is unknown, or has no such sample.

        Example:
            >>> import torch, shiftcheck
            >>> report = shiftcheck.geometry(torch.nn.MaxPool2d(2), (1, 1, 16, 20))
            >>> report.locate("max_pool2d", (0, -1)).field
            ((0, 2), (18, 20))
        """
        placement = self._placed(layer)
        wanted = (index,) if isinstance(index, int) else tuple(index)
        sizes = [None if p is None else p.samples for p in placement]
        fits = len(wanted) == len(sizes) and all(
            n is None or -n <= q < n for q, n in zip(wanted, sizes, strict=True)
        )
        if not fits:
            raise InputError(f"index={index!r}: layer={layer!r} has samples {tuple(sizes)}")
        at = [q + (n or 0) if q < 0 else q for q, n in zip(wanted, sizes, strict=True)]
        return located(layer, placement, at)

    def samples_seeing(
        self, layer: str, pixel: int | Sequence[int]
    ) -> tuple[tuple[tuple[int, int], ...] | None, ...]:
        """The samples of a layer whose field holds a pixel, as runs (start, stop) for each axis.

        Args:
            layer: the name of a row or of an output.
            pixel: along each spatial axis; it may lie outside of the image, as padding does.

        Raises:
            InputError: the layer is unknown, or ``pixel`` has not one entry for each axis.

        Example:
            >>> import torch, shiftcheck
            >>> report = shiftcheck.geometry(torch.nn.Conv2d(1, 1, 3), (1, 1, 16, 20))
            >>> report.samples_seeing("conv2d", (0, 7))
            (((0, 1),), ((5, 8),))
        """
        placement = self._placed(layer)
        at = (pixel,) if isinstance(pixel, int) else tuple(pixel)
        if len(at) != len(placement):
            raise InputError(f"pixel={pixel!r}: give one entry for each of {len(placement)} axes")
        turns = [
            self.input_shape[dim] if ring == "circular" else None
            for dim, ring in zip(self.spatial_dims, self.boundary, strict=True)
        ]
        return tuple(
            None if p is None else p.seeing(q, turn)
            for p, q, turn in zip(placement, at, turns, strict=True)
        )

    def _placed(self, layer: str) -> tuple[Placement | None, ...]:
        """The placement of a row or an output; raises InputError where nothing is known of it."""
        for row in (*self.layers, *self.outputs):
            if row.name == layer and len(row.placement) == len(self.spatial_dims):
                return row.placement
        if any(row.name == layer for row in (*self.layers, *self.outputs)):
            raise InputError(f"layer={layer!r}: this report does not say where its samples stand")
        names = ", ".join(row.name for row in (*self.layers, *self.outputs))
        raise InputError(f"layer={layer!r} is unknown; there are {names}")


def _largest(values: Iterator[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)
