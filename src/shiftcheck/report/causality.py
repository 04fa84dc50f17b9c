"""Whether the future reaches an output: plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned
from shiftcheck.report.words import Fault, Word


class CausalityVerdict(Word):
    """What came of a check of causality.

    Example:
        >>> from shiftcheck.report import CausalityVerdict
        >>> CausalityVerdict.CAUSAL, CausalityVerdict.CAUSAL == "causal"
        ('causal', True)
    """

    CAUSAL = "causal"
    NOT_CAUSAL = "not causal"
    INCONCLUSIVE = "inconclusive"


class LookAhead(Fault):
    """How a layer comes to see the future, with what mends it.

    Example:
        >>> from shiftcheck.report import LookAhead
        >>> LookAhead.STATISTICS, LookAhead.STATISTICS.plain
        ('statistics over time', 'it divides by, subtracts or adds a statistic of all of the time')
    """

    NONE = ""
    STATISTICS = (
        "statistics over time",
        "it divides by, subtracts or adds a statistic of all of the time",
        "normalise over the channels alone, with running statistics, or cumulatively",
    )
    BIDIRECTIONAL = (
        "runs backwards",
        "a recurrent layer runs over the time from its end, too",
        "leave bidirectional out, or run it over chunks with a declared look-ahead",
    )
    ATTENTION = (
        "attention without a mask",
        "each time attends to all later ones",
        "mask the later ones: is_causal=True, or a mask that holds on and below the diagonal",
    )
    MASK = (
        "mask ahead of the diagonal",
        "the mask of the attention lets each time see some later ones",
        "let the mask end at the diagonal: torch.ones(n, n).tril(), with no offset",
    )
    REVERSED = (
        "time reversed",
        "it runs over time that was turned around",
        "leave the flip out",
    )
    WINDOW = (
        "window reaches ahead",
        "its window reaches to the right of the sample that it gives",
        "pad it on the left alone, by (kernel - 1) * dilation samples of its own rate",
    )
    TRANSPOSED = (
        "transposed convolution trimmed on the left",
        "what is cut off of its output makes it see ahead",
        "trim kernel - stride samples, all of them on the right",
    )
    POOL = (
        "pooling window reaches ahead",
        "its pooling window reaches to the right of the sample that it gives",
        "pad it on the left, by kernel - 1 samples of its own rate",
    )
    RESIZE = (
        "interpolation reaches ahead",
        "it interpolates between a sample and the next one",
        "repeat samples (mode='nearest'), or delay the output by one",
    )
    CROP = (
        "moved ahead by a crop",
        "samples are cut off on the left, so that all that follow come earlier",
        "cut off on the right, where the padding was put on the left",
    )
    BORDER = (
        "filled from later samples",
        "near an end it is filled with samples from elsewhere: mirrored, wrapped around or joined",
        "pad with zeros or with the first sample",
    )
    FOURIER = (
        "transform over time",
        "a Fourier transform sees all of the time",
        "transform windows that end at the sample",
    )
    MIXING = (
        "weights for each time",
        "a linear map over the time axis mixes all of the times",
        "mask its weights below the diagonal, or use a padded convolution",
    )
    CHOICE = (
        "later sample at a fixed place",
        "it takes a sample at a fixed place, or one chosen by its value, for all times",
        "take what came before each time, as with a running maximum",
    )
    OTHER = "another operation", "nothing more is known of how it sees ahead", ""


@dataclass(frozen=True, kw_only=True)
class LayerAhead:
    """How far a layer sees ahead, with all layers before it, in samples of the input.

    ``ahead``: beyond where its own sample stands; infinite where it sees all of the time, None
    where its structure is not known or it has no time axis. ``stride``: samples of the input for
    each of its own. ``settings``: its kernel, stride, padding and dilation along time, as text.
    ``kind``: how it comes to see ahead; empty where it adds nothing.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(1, 1, 3, padding=1)
        >>> layer = shiftcheck.check_causality(net, torch.randn(1, 1, 64)).layers[0]
        >>> layer.ahead, layer.kind, layer.settings
        (1.0, 'window reaches ahead', 'kernel 3, stride 1, padding 1')
    """

    name: str
    op: str
    ahead: float | None
    stride: Fraction | None = None
    settings: str = ""
    kind: LookAhead = LookAhead.NONE

    def __post_init__(self) -> None:
        if type(self.kind) is not LookAhead:
            object.__setattr__(self, "kind", LookAhead(self.kind))


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Where the future was seen to leak first, in one run.

    Everything behind the input sample ``time`` was replaced by fresh content, and the output sample
    ``sample`` changed, which was due when the input sample ``due`` was there. ``error``: by how
    much it changed at most, relative to the largest magnitude of its channel. ``ahead``: the input
    sample it depends on at least is so many behind that one.

    Example:
        >>> import torch, shiftcheck
        >>> leak = shiftcheck.check_causality(lambda x: x.roll(-2, -1), torch.randn(1, 1, 64)).leak
        >>> leak.ahead, leak.due + leak.ahead > leak.time
        (2, True)
    """

    output: str
    time: int
    sample: int
    due: int
    ahead: int
    error: float


@dataclass(frozen=True, kw_only=True)
class CausalOutput(Reasoned):
    """One output, and how far it sees ahead, in samples of the input.

    Its sample ``k`` stands at the input sample ``k * stride``, and is due when the block of
    ``block`` input samples that it stands in is complete. ``lookahead``: how far it sees beyond
    that, by the structure; at most 0 where it is causal, infinite where no number is enough, None
    where the structure is not known. ``ahead``: the same, beyond where the sample stands.
    ``measured``: the largest that a run showed; None where it showed none. ``block_that_would_do``:
    the block with which the declared look-ahead would be enough. ``nan``: whether NaN in the future
    reaches samples that are due, if only multiplied by zero; None where that was not tried.
    ``proven_by_nan``: the structure is not known, but NaN behind each single time reached none.
    ``guilty``: the layer with which it sees too far.

    Example:
        >>> import torch, shiftcheck
        >>> pool = torch.nn.AvgPool1d(4)
        >>> (output,) = shiftcheck.check_causality(pool, torch.randn(1, 1, 64)).outputs
        >>> output.verdict, output.lookahead, output.ahead  # it sees its own block of 4
        ('causal', 0.0, 3.0)
    """

    name: str
    shape: tuple[int, ...]
    verdict: CausalityVerdict
    reason: Reason = Reason.NONE
    stride: Fraction | None = None
    block: Fraction | None = None
    lookahead: float | None = None
    ahead: float | None = None
    measured: int | None = None
    block_that_would_do: int | None = None
    nan: bool | None = None
    proven_by_nan: bool = False
    guilty: LayerAhead | None = None
    leak: Leak | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.verdict) is not CausalityVerdict:
            object.__setattr__(self, "verdict", CausalityVerdict(self.verdict))


@dataclass(frozen=True, kw_only=True)
class CausalityReport(AnyReport):
    """Whether anything of the future reaches the outputs.

    ``axis``: the dimension of the input that is the time. ``lookahead`` and ``block``: what was
    declared. ``outputs``: each with its verdict; one without a time axis is left out of the
    verdict, as long as another one counts. ``layers``: all, in the order in which they ran.
    ``times``: behind which input samples the content was replaced.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.ConstantPad1d((2, 0), 0.0), torch.nn.Conv1d(1, 1, 3))
        >>> report = shiftcheck.check_causality(net, torch.randn(1, 1, 64))
        >>> report.verdict, report.outputs[0].lookahead
        ('causal', 0.0)
    """

    _called: ClassVar[str] = "report of causality"

    verdict: CausalityVerdict
    reason: Reason = Reason.NONE
    outputs: tuple[CausalOutput, ...] = ()
    layers: tuple[LayerAhead, ...] = ()
    axis: int = -1
    lookahead: int = 0
    block: int | None = None
    times: tuple[int, ...] = ()
    draws: int = 0
    model: str = ""
    input_shape: tuple[int, ...] = ()
    layer: str | None = None
    dtype: str = ""
    seed: int = 0
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.verdict) is not CausalityVerdict:
            object.__setattr__(self, "verdict", CausalityVerdict(self.verdict))

    @property
    def judged(self) -> CausalOutput | None:
        """The output that the verdict comes from; None where none has one."""
        return next((o for o in self.outputs if o.verdict is self.verdict), None)

    @property
    def guilty(self) -> LayerAhead | None:
        """The layer with which an output sees too far, None where there is none."""
        return None if self.judged is None else self.judged.guilty

    @property
    def leak(self) -> Leak | None:
        """The largest leak of that output, None where none was seen."""
        return None if self.judged is None else self.judged.leak

    def __getitem__(self, name: str) -> LayerAhead | CausalOutput:
        """The layer or output of a name; raises KeyError with the names there are."""
        every: tuple[LayerAhead | CausalOutput, ...] = (*self.layers, *self.outputs)
        for entry in every:
            if entry.name == name:
                return entry
        raise KeyError(f"no layer {name!r}; there are {', '.join(e.name for e in every)}")
