"""Whether a model can be run on a stream, chunk by chunk, and what it has to remember for that.

Positions along time are counted in samples of the input; an output has its own, ``stride`` apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Self

from shiftcheck.report.base import AnyReport
from shiftcheck.report.words import Word


class Streaming(Word):
    """Whether a model can be run on a stream with a state that does not grow.

    Example:
        >>> import torch, shiftcheck
        >>> shiftcheck.streaming(torch.nn.GroupNorm(1, 4), (1, 4, 1000)).streaming
        'no finite state suffices'
    """

    FINITE = "a finite state suffices"
    ENDLESS = "no finite state suffices"
    UNKNOWN = "not known"


class Memory(Word):
    """What a layer needs to know of the rest of a stream, with what that means for a state.

    Example:
        >>> from shiftcheck.report import Memory
        >>> Memory.STATISTIC.plain
        'it needs a statistic of all of the time axis, the future included'
    """

    plain: str
    remedy: str
    finite: bool | None

    def __new__(
        cls, text: str, plain: str = "", remedy: str = "", finite: bool | None = False
    ) -> Self:
        """A kind of memory with its words; ``finite``: whether a finite state holds it."""
        member = str.__new__(cls, text)
        member._value_, member.plain, member.remedy = text, plain, remedy
        member.finite = finite
        return member

    WINDOW = (
        "window",
        "it reads some samples before its own",
        "keep the last samples of its input",
        True,
    )
    DELAY = (
        "delay",
        "it meets a branch that looks further ahead",
        "hold back its input until the other branch has come as far",
        True,
    )
    RECURRENT = (
        "recurrent state",
        "it sees all of the past through a state of one size",
        "carry its state from chunk to chunk",
        True,
    )
    POSITION = (
        "position",
        "it does something else at each place of the stream",
        "count the samples that have gone by, and begin each chunk at that count",
        True,
    )
    STATISTIC = (
        "statistic over time",
        "it needs a statistic of all of the time axis, the future included",
        "use a running or a causal statistic, or one over the channels alone",
    )
    ATTENTION = (
        "attention over everything",
        "each sample is related to all others, the future included",
        "mask the future and all but a window of the past",
    )
    PAST = (
        "attention over all of the past",
        "each sample is related to all that came before, so that what is kept grows",
        "let it see a window of the past only",
    )
    BIDIRECTIONAL = (
        "bidirectional",
        "it runs over time in both directions",
        "leave the direction out that comes from the future",
    )
    BACKWARDS = (
        "runs backwards",
        "it sees all of the future",
        "run it forwards",
    )
    EVERYTHING = (
        "sees everything",
        "each sample depends on all of the time axis",
        "give it a window of finite length",
    )
    WRAPPED = (
        "filled from the other end",
        "what comes last is needed at the beginning",
        "pad with zeros, or with what is near",
    )
    FIXED_SIZE = (
        "size of its own",
        "it has weights or an order for an axis of one length",
        "use layers that take any length",
    )
    LENGTH = (
        "length as a number",
        "it computes with the length of the whole, which a stream does not know",
        "give it a number that does not depend on the length",
    )
    RATIO = (
        "ratio of the size",
        "where its samples stand depends on how long the whole is",
        "resize by a fixed factor",
    )
    UNKNOWN = ("unknown", "what it does along time is not known", "", None)


@dataclass(frozen=True, kw_only=True)
class StreamLayer:
    """What a layer has to keep, or what it needs that no finite state holds.

    ``samples``: of its own input, or of its state, that it keeps from chunk to chunk; ``elements``
    and ``bytes``: how many numbers that is, and how large. None where it is not finite or not
    known.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Conv1d(2, 4, 5, stride=2)
        >>> (layer,) = shiftcheck.streaming(net, (1, 2, 1000)).layers
        >>> layer.memory, layer.samples, layer.elements, layer.bytes
        ('window', 3, 6, 24)
    """

    layer: str
    op: str
    memory: Memory
    samples: int | None = None
    elements: int | None = None
    bytes: int | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamedOutput:
    """An output along time.

    ``dim``: the dimension that is time, None where it has none of its own. ``stride``: input
    samples per sample of it. ``lookback``, ``lookahead``: input samples that it sees before and
    after its own place. ``latency``: input samples beyond the end of a chunk without which not all
    of its samples are known; ``delay``: the samples of the output that are held back for them, on
    the grid. None where it is not known, or there is no end to it.

    Example:
        >>> import torch, shiftcheck
        >>> plan = shiftcheck.streaming(torch.nn.Conv1d(1, 1, 7, padding=3), (1, 1, 1000))
        >>> out = plan.outputs[0]
        >>> out.lookback, out.lookahead, out.latency, out.delay
        (3.0, 3.0, 3, 3)
    """

    name: str
    shape: tuple[int, ...]
    dim: int | None = None
    stride: Fraction | None = None
    lookback: float | None = None
    lookahead: float | None = None
    latency: int | None = None
    delay: int | None = None


@dataclass(frozen=True, kw_only=True)
class StreamingPlan(AnyReport):
    """What it takes to run a model on a stream.

    ``period``: chunks begin, and may be as long as, multiples of it, in input samples; None where
    there is none. ``lookback``, ``lookahead``, ``latency``: the largest of all outputs. ``keep``:
    how many input samples are enough to compute the next chunk anew, without a state in any layer;
    None where no number is. ``layers``: what each layer keeps, when each has a state of its own;
    ``obstacles``: the layers for which no finite state suffices, or it is not known.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(
        ...     torch.nn.ConstantPad1d((6, 0), 0.0), torch.nn.Conv1d(1, 8, 7),
        ...     torch.nn.Conv1d(8, 8, 4, stride=4),
        ... )
        >>> plan = shiftcheck.streaming(net, (1, 1, 16_000))
        >>> plan.streaming, plan.period, plan.lookback, plan.lookahead, plan.latency, plan.keep
        ('a finite state suffices', 4, 6.0, 3.0, 0, 8)
        >>> [(layer.layer, layer.samples) for layer in plan.layers]
        [('1', 6)]
    """

    _called: ClassVar[str] = "plan of a stream"

    streaming: Streaming
    period: int | None = None
    lookback: float | None = None
    lookahead: float | None = None
    latency: int | None = None
    keep: int | None = None
    outputs: tuple[StreamedOutput, ...] = ()
    layers: tuple[StreamLayer, ...] = ()
    obstacles: tuple[StreamLayer, ...] = ()
    model: str = ""
    fingerprint: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    axis: int = 0
    dtype: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1

    def __post_init__(self) -> None:
        """A plan has no verdict, and no reason for one."""

    @property
    def finite(self) -> bool:
        """Whether a state that does not grow is known to suffice."""
        return self.streaming is Streaming.FINITE

    @property
    def state_elements(self) -> int | None:
        """Numbers that all layers keep together; None where that is not finite or not known."""
        known = [layer.elements for layer in self.layers if layer.elements is not None]
        return sum(known) if self.finite and len(known) == len(self.layers) else None

    @property
    def state_bytes(self) -> int | None:
        """The bytes of what all layers keep; None where that is not finite or not known."""
        known = [layer.bytes for layer in self.layers if layer.bytes is not None]
        return sum(known) if self.finite and len(known) == len(self.layers) else None
