"""How what a step gives on a stream differs from what its model gives on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shiftcheck.report.base import AnyReport
from shiftcheck.report.reasons import Reason, Reasoned
from shiftcheck.report.words import Fault, Word


class StreamVerdict(Word):
    """What came of holding a step against its model.

    Example:
        >>> from shiftcheck.report import StreamVerdict
        >>> StreamVerdict.SAME, StreamVerdict.SAME == "same"
        ('same', True)
    """

    SAME = "same"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


class StreamFault(Fault):
    """Why a step does not give what its model gives on the whole, with what mends it.

    Example:
        >>> from shiftcheck.report import StreamFault
        >>> StreamFault.NO_STATE, StreamFault.NO_STATE.remedy
        ('no state', 'keep what the layers have to know of earlier chunks')
    """

    LENGTH = (
        "another length",
        "the step gives another number of samples than the model",
        "return for each chunk the samples that the model has there, or, where it looks ahead, hold"
        " some back and give them from flush=",
    )
    DTYPE = (
        "another type",
        "the step returns another floating type than the model",
        "compute and return in the type of the model",
    )
    NOT_FINITE = (
        "NaN or infinity",
        "the step gives NaN or infinity where the model gives numbers",
        "look at what the state is filled with at the beginning",
    )
    NOT_STREAMABLE = (
        "the model needs the whole",
        "a layer of the model depends on all of the time axis, so no step can give the same",
        "change that layer",
    )
    BATCH = (
        "batch mixed",
        "one element of the batch changes what comes out for another",
        "keep a state for each element of the batch",
    )
    WHOLE_CHUNK = (
        "looks at the whole chunk",
        "outputs depend on samples later in the chunk that the model does not look at there",
        "leave out what is computed over a chunk, such as its mean or its maximum",
    )
    DELAY = (
        "another delay",
        "what comes out is right, and earlier or later than was declared",
        "declare that delay",
    )
    NO_STATE = (
        "no state",
        "a chunk knows nothing of the chunks before it",
        "keep what the layers have to know of earlier chunks",
    )
    STALE = (
        "stale state",
        "a chunk knows of earlier chunks, and not of the one just before it",
        "use the state that the last chunk left, and not the one before",
    )
    GAP = (
        "gap in the state",
        "a chunk knows of samples of the last chunk, and not of the nearest ones",
        "keep the samples up to the end of each chunk",
    )
    SHORT = (
        "look-back too short",
        "a chunk knows of fewer earlier samples than the model looks back",
        "keep more samples",
    )
    ANOTHER_STATE = (
        "another state",
        "a chunk knows of all that came before it, and goes on from it otherwise than the model",
        "look for a layer whose own state is missing, too short, or not what the layer saw",
    )
    OFF_GRID = (
        "off the chunk grid",
        "chunks whose length is a multiple of the period are right, others are wrong",
        "give chunks that are multiples of the period, or keep in the step what is left over",
    )
    SHORT_CHUNKS = (
        "chunks shorter than the look-back",
        "what is kept comes from the last chunk only, so that too little is left of a short one",
        "keep the last samples of the old state and the chunk together",
    )
    CHUNKS = (
        "depends on the length of the chunks",
        "the same samples in chunks of other lengths give something else",
        "compare what is kept after a short chunk with what is kept after a long one",
    )
    START = (
        "another beginning",
        "only the first samples differ: the state in which the stream begins is not what the model"
        " has before its first sample",
        "begin with what the model pads with, or reset the step first (reset=...)",
    )
    END = (
        "another end",
        "only the last samples differ: the flush goes on with something else than the model pads"
        " with",
        "feed the flush with what the model pads with",
    )
    FLUSH = (
        "flush missing",
        "all is right, and the last samples never come",
        "give flush=..., which returns what is still held back",
    )
    LATE = (
        "nothing before the end",
        "no sample comes before the flush, so nothing is streamed",
        "return what is known after each chunk",
    )
    LEAK = (
        "state of another sequence",
        "a sequence that begins anew still knows of the one before it",
        "clear all of the state when a sequence begins",
    )
    SHARED = (
        "outputs share memory",
        "what was returned for a chunk changes when later chunks come",
        "return a copy: the step returns a part of what it writes to later",
    )
    PRECISION = (
        "coarser type",
        "the values hold no more digits than a coarser floating type has",
        "keep the state in the type of the model",
    )
    DETACHED = (
        "gradients end at chunks",
        "the values are right, and no gradient goes back into earlier chunks",
        "do not detach the state where gradients are wanted",
    )
    GRADIENT = (
        "other gradients",
        "the values are right, and the gradients are not",
        "look for what is computed without gradients, or written in place",
    )
    OTHER = (
        "something else",
        "neither the structure of the model nor what was tried explains it",
        "look at what is done to each chunk before and after the model, such as scaling",
    )


@dataclass(frozen=True, kw_only=True)
class StreamFinding:
    """A fault with its place and size.

    ``output``: where it was seen; ``chunks``: with which lengths. ``chunk``: the number of the
    first chunk that is wrong; ``sample``: the sample of the output that is wrong most, or first;
    ``error``: the largest there, relative to the channel. ``samples``: how many are missing, in
    samples of the input for what the step does not know, of the output for a delay and a flush.
    ``detail``: what else is known, in words.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.ConstantPad1d((4, 0), 0.0), torch.nn.Conv1d(1, 1, 5))
        >>> found = shiftcheck.check_streamable(net, net, torch.randn(1, 1, 64), 16)
        >>> finding = found.findings[0]
        >>> finding.fault, finding.chunk, finding.samples
        ('no state', 1, 4)
    """

    fault: StreamFault
    output: str = ""
    chunks: str = ""
    chunk: int | None = None
    sample: int | None = None
    error: float | None = None
    samples: int | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamRun(Reasoned):
    """The signal in chunks of some lengths.

    ``lengths``: of the first chunks, ``count``: how many there were. ``demanded``: whether the
    verdict rests on it; the others are off the grid of the model, and are told only. ``outcome``:
    ``"right"``, ``"wrong"``, or ``"refused"`` where the step raised. ``error``: the largest,
    relative to the channel. ``held``: the most samples of an output that were held back.

    Example:
        >>> import torch, shiftcheck
        >>> step = torch.nn.Conv1d(1, 1, 1)
        >>> found = shiftcheck.check_streamable(step, step, torch.randn(1, 1, 64), 16)
        >>> [(run.lengths, run.count, run.outcome) for run in found.runs][:1]
        [((16, 16, 16, 16), 4, 'right')]
    """

    chunks: str
    lengths: tuple[int, ...]
    count: int
    demanded: bool
    outcome: str
    error: float | None = None
    held: int | None = None
    detail: str = ""
    reason: Reason = Reason.NONE


@dataclass(frozen=True, kw_only=True)
class StreamReport(AnyReport):
    """What a step gives chunk by chunk, against what its model gives on the whole.

    ``faults``: the causes, the gravest first, with their places in ``findings``. ``period``,
    ``lookback``, ``lookahead``, ``latency``: of the model, in samples of the input, None where the
    structure does not tell. ``error``: the largest of all runs that count.

    Example:
        >>> import torch, shiftcheck
        >>> net = torch.nn.Sequential(torch.nn.ConstantPad1d((4, 0), 0.0), torch.nn.Conv1d(1, 1, 5))
        >>> found = shiftcheck.check_streamable(net, net, torch.randn(1, 1, 64), 16)
        >>> found.verdict, found.faults, found.lookback
        ('different', ('no state',), 4.0)
    """

    _called: ClassVar[str] = "report of a stream"

    verdict: StreamVerdict
    reason: Reason = Reason.NONE
    faults: tuple[StreamFault, ...] = ()
    findings: tuple[StreamFinding, ...] = ()
    runs: tuple[StreamRun, ...] = ()
    error: float | None = None
    allowance: float | None = None
    chunk: tuple[int, ...] = ()
    delay: int = 0
    gradients: bool = False
    period: int | None = None
    lookback: float | None = None
    lookahead: float | None = None
    latency: int | None = None
    layers: tuple[str, ...] = ()
    model: str = ""
    step: str = ""
    input_shape: tuple[int, ...] = ()
    spatial_dims: tuple[int, ...] = ()
    axis: int = 0
    dtype: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1
