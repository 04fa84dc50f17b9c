"""Steps that run a model chunk by chunk: right ones, and some with a fault that is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Step = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A step with its model: ``given`` to the check besides, and the faults to be found."""

    step: Step | None
    model: Step
    x: Tensor
    chunk: int = 16
    given: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def signal(*shape: int) -> Tensor:
    """Noise, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


class CausalStack(nn.Module):
    """Two causal convolutions with a rectifier between them, of look-back 4 + 4."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv1d(2, 6, 5), nn.Conv1d(6, 3, 3, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """All at once."""
        hidden = torch.relu(self.first(F.pad(x, (4, 0))))
        out: Tensor = self.second(F.pad(hidden, (4, 0)))
        return out


class CachedStack(nn.Module):
    """A stack with a cache for each layer; ``lost``: caches that are not kept."""

    def __init__(self, stack: CausalStack, lost: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.stack, self.lost = stack, lost
        self.caches: list[Tensor | None] = [None, None]

    def reset(self) -> None:
        """Begin anew."""
        self.caches = [None, None]

    def _with_past(self, number: int, x: Tensor) -> Tensor:
        past = self.caches[number]
        past = x.new_zeros(*x.shape[:2], 4) if past is None or number in self.lost else past
        both = torch.cat([past, x], -1)
        self.caches[number] = self.keep(both)
        return both

    def keep(self, both: Tensor) -> Tensor:
        """What is kept of the past and the chunk."""
        return both[..., -4:]

    def forward(self, chunk: Tensor) -> Tensor:
        """The outputs for a chunk."""
        hidden = torch.relu(self.stack.first(self._with_past(0, chunk)))
        out: Tensor = self.stack.second(self._with_past(1, hidden))
        return out


class HalfPrecision(CachedStack):
    def keep(self, both: Tensor) -> Tensor:
        return both[..., -4:].half().float()


class Detached(CachedStack):
    def keep(self, both: Tensor) -> Tensor:
        return both[..., -4:].detach()


class TooShort(CachedStack):
    """A cache whose oldest sample is forgotten."""

    def keep(self, both: Tensor) -> Tensor:
        return F.pad(both[..., -3:], (1, 0))


class OnlyThisChunk(CachedStack):
    """What is kept comes from the chunk alone, so that a short one leaves too little."""

    def _with_past(self, number: int, x: Tensor) -> Tensor:
        both = super()._with_past(number, x)
        last = x[..., -4:]
        self.caches[number] = F.pad(last, (4 - last.shape[-1], 0))
        return both


class Stale(CachedStack):
    """Each layer sees what was kept one chunk earlier."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__(stack)
        self.newer: list[Tensor | None] = [None, None]

    def _with_past(self, number: int, x: Tensor) -> Tensor:
        past = self.caches[number]
        past = x.new_zeros(*x.shape[:2], 4) if past is None else past
        both = torch.cat([past, x], -1)
        self.caches[number], self.newer[number] = self.newer[number], both[..., -4:]
        return both


class BatchMixed(CachedStack):
    """The cache of the whole batch is that of its mean."""

    def keep(self, both: Tensor) -> Tensor:
        return both[..., -4:].mean(0, keepdim=True).expand(both.shape[0], -1, -1)


class Normalised(CachedStack):
    """Each chunk is divided by its own deviation."""

    def forward(self, chunk: Tensor) -> Tensor:
        deviation = chunk.std((1, 2), unbiased=False, keepdim=True)
        return super().forward(chunk / deviation.clamp_min(0.1))


class SharedMemory(CachedStack):
    """All chunks are returned in one piece of memory."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__(stack)
        self.room = torch.zeros(2, 3, 128)

    def forward(self, chunk: Tensor) -> Tensor:
        out = super().forward(chunk)
        self.room[..., : out.shape[-1]] = out.detach()
        return self.room[..., : out.shape[-1]]


class Dirty(CachedStack):
    """It has seen something before."""

    def __init__(self, stack: CausalStack) -> None:
        super().__init__(stack)
        with torch.no_grad():
            self(signal(2, 2, 20))


class ForgetsToReset(CachedStack):
    """Only the first cache is cleared."""

    def reset(self) -> None:
        self.caches[0] = None


class Ahead(nn.Module):
    """A convolution that looks back 2 and ahead 3."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv1d(2, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        """All at once."""
        out: Tensor = self.conv(F.pad(x, (2, 3)))
        return out


class Delayed:
    """Gives as many samples as it gets, three samples late."""

    def __init__(self, model: Ahead) -> None:
        self.model, self.past = model, torch.zeros(2, 2, 5)

    def __call__(self, chunk: Tensor) -> Tensor:
        both = torch.cat([self.past, chunk], -1)
        self.past = both[..., -5:]
        out: Tensor = self.model.conv(both)
        return out

    def flush(self) -> Tensor:
        """The last three."""
        return self(torch.zeros(2, 2, 3))


class Held:
    """Gives what is known, and the rest at the end; ``edge``: what comes after the end."""

    def __init__(self, model: Ahead, edge: float = 0.0) -> None:
        self.model, self.past, self.edge = model, torch.zeros(2, 2, 2), edge

    def __call__(self, chunk: Tensor) -> Tensor | None:
        both = torch.cat([self.past, chunk], -1)
        self.past = both[..., -5:] if both.shape[-1] > 5 else both
        return self.model.conv(both) if both.shape[-1] > 5 else None

    def flush(self) -> Tensor | None:
        """What is held back."""
        return self(torch.full((2, 2, 3), self.edge))


class Encoder(nn.Module):
    """Strides of 2 and 2, causal."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Conv1d(2, 4, 4, stride=2), nn.Conv1d(4, 3, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """All at once."""
        hidden = F.elu(self.first(F.pad(x, (2, 0))))
        out: Tensor = self.second(F.pad(hidden, (1, 0)))
        return out


class CachedEncoder:
    """Right for chunks on the grid of four samples; ``keeps``: what is left over as well."""

    def __init__(self, model: Encoder, *, keeps: bool = False) -> None:
        self.model, self.keeps = model, keeps
        self.pasts = [torch.zeros(2, 2, 2), torch.zeros(2, 4, 1)]

    def __call__(self, chunk: Tensor) -> Tensor | None:
        first = self._layer(0, self.model.first, chunk, overlap=2)
        return first if first is None else self._layer(1, self.model.second, F.elu(first), 1)

    def _layer(self, number: int, conv: nn.Conv1d, x: Tensor, overlap: int) -> Tensor | None:
        both = torch.cat([self.pasts[number], x], -1)
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        steps = (both.shape[-1] - kernel) // stride + 1
        used = max(0, steps) * stride
        self.pasts[number] = both[..., used:] if self.keeps else both[..., -overlap:]
        if steps <= 0:
            return None
        out: Tensor = conv(both)
        return out


class Decoder(nn.Module):
    """A transposed convolution of stride 4 and kernel 8, cut to the length of the signal."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.up = nn.ConvTranspose1d(2, 3, 8, stride=4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """All at once."""
        out: Tensor = self.up(x)[..., : 4 * x.shape[-1]]
        return out


def overlap_add(model: Decoder, *, adds: bool = True) -> Step:
    """A closure that adds the tail of the last chunk; or forgets to."""
    tail = torch.zeros(2, 3, 4)

    def step(chunk: Tensor) -> Tensor:
        nonlocal tail
        out = model.up(chunk)
        if adds:
            out = torch.cat([out[..., :4] + tail, out[..., 4:]], -1)
        tail = out[..., -4:]
        return out[..., :-4]

    return step


class Lstm(nn.Module):
    """An LSTM over [batch, channels, time]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.lstm = nn.LSTM(2, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """All at once."""
        out: Tensor = self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        return out


def carried(model: Lstm, *, forgets: str = "", half: bool = False) -> Step:
    """Hands both states on, or forgets one of them, or holds them in half precision."""

    def step(chunk: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, (h, c) = model.lstm(chunk.transpose(1, 2), state)
        if half:
            h, c = h.half().float(), c.half().float()
        if forgets == "cell":
            c = torch.zeros_like(c)
        if forgets == "all":
            return out.transpose(1, 2), None
        return out.transpose(1, 2), (h, c)

    return step


def ema(x: Tensor, state: Tensor | None = None, decay: float = 0.9) -> tuple[Tensor, Tensor]:
    """An exponential average over time."""
    now = torch.zeros_like(x[..., 0]) if state is None else state
    out = []
    for sample in x.unbind(-1):
        now = decay * now + (1 - decay) * sample
        out.append(now)
    return torch.stack(out, -1), now


def running_sum(*, restarts: bool = False) -> Step:
    """A sum that goes on, or begins anew with each chunk."""
    total = torch.zeros(2, 2, 1, dtype=torch.float64)

    def step(chunk: Tensor) -> Tensor:
        nonlocal total
        out = chunk.cumsum(-1) + total
        total = torch.zeros_like(total) if restarts else out[..., -1:]
        return out

    return step


def frames(x: Tensor) -> Tensor:
    """Magnitudes of windowed frames of 16 samples, 4 apart, without padding."""
    window = torch.hann_window(16, dtype=x.dtype)
    pieces = x[:, 0].unfold(-1, 16, 4) * window
    return torch.fft.rfft(pieces).abs().transpose(1, 2)


def framed(*, keeps: int = 12) -> Step:
    """Frames of a stream, of which the last ``keeps`` samples are kept."""
    rest: Tensor | None = None

    def step(chunk: Tensor) -> Tensor | None:
        nonlocal rest
        both = chunk if rest is None else torch.cat([rest, chunk], -1)
        steps = (both.shape[-1] - 16) // 4 + 1
        if steps <= 0:
            rest = both
            return None
        rest = both[..., max(0, steps * 4 + 12 - keeps) :]
        return frames(both)

    return step


def scaled(stack: CausalStack) -> Step:
    """A right step but for a factor."""
    inner = CachedStack(stack)
    return lambda chunk: inner(chunk) * 1.5


def everything(model: Step) -> Any:
    """Keeps all, and runs the model at the end."""

    class Late:
        def __init__(self) -> None:
            self.kept: list[Tensor] = []

        def __call__(self, chunk: Tensor) -> None:
            self.kept.append(chunk)

        def flush(self) -> Tensor:
            out: Tensor = model(torch.cat(self.kept, -1))
            return out

    return Late()


def right() -> Iterator[tuple[str, Case]]:
    """Steps that give what their models give."""
    stack, ahead, encoder, decoder, lstm = CausalStack(), Ahead(), Encoder(), Decoder(), Lstm()
    x, long = signal(2, 2, 100), signal(2, 2, 96)
    yield "caches", Case(step=CachedStack(stack), model=stack, x=x, given={"reset": "reset"})
    yield (
        "made anew",
        Case(step=None, model=stack, x=x, given={"make_step": lambda: CachedStack(stack)}),
    )
    yield (
        "delayed",
        Case(step=Delayed(ahead), model=ahead, x=x, given={"delay": 3, "flush": "flush"}),
    )
    yield "held back", Case(step=Held(ahead), model=ahead, x=x, given={"flush": "flush"})
    yield "held back for ever", Case(step=Held(ahead), model=ahead, x=x, given={"complete": False})
    yield "encoder", Case(step=CachedEncoder(encoder), model=encoder, x=long)
    yield (
        "encoder of any chunk",
        Case(
            step=CachedEncoder(encoder, keeps=True),
            model=encoder,
            x=long,
            chunk=6,
        ),
    )
    yield "overlap-add", Case(step=overlap_add(decoder), model=decoder, x=x)
    yield "lstm", Case(step=carried(lstm), model=lstm, x=x)
    yield "ema", Case(step=ema, model=lambda x: ema(x)[0], x=x[..., :40])
    yield "cumsum", Case(step=running_sum(), model=lambda x: x.cumsum(-1), x=x.double())
    yield "frames", Case(step=framed(), model=frames, x=signal(2, 1, 100))
    yield "no state needed", Case(step=torch.tanh, model=torch.tanh, x=x)


def wrong() -> Iterator[tuple[str, Case]]:
    """Steps with a fault each."""
    stack, ahead, encoder, decoder, lstm = CausalStack(), Ahead(), Encoder(), Decoder(), Lstm()
    x, long = signal(2, 2, 100), signal(2, 2, 96)

    def of_stack(step: Step, *faults: str, **given: Any) -> Case:
        return Case(step=step, model=stack, x=x, given=given, faults=faults)

    yield "no cache", of_stack(CachedStack(stack, lost=(0, 1)), "no state")
    yield "one cache lost", of_stack(CachedStack(stack, lost=(0,)), "another state")
    yield "the model itself", of_stack(stack, "no state")
    yield "stale", of_stack(Stale(stack), "stale state")
    yield "too short", of_stack(TooShort(stack), "look-back too short")
    yield "only this chunk", of_stack(OnlyThisChunk(stack), "chunks shorter than the look-back")
    yield "half precision", of_stack(HalfPrecision(stack), "coarser type")
    yield "batch", of_stack(BatchMixed(stack), "batch mixed")
    yield "normalised", of_stack(Normalised(stack), "looks at the whole chunk")
    yield "shared memory", of_stack(SharedMemory(stack), "outputs share memory")
    yield "dirty", of_stack(Dirty(stack), "another beginning")
    yield "no reset", of_stack(ForgetsToReset(stack), "state of another sequence", reset="reset")
    yield "half type", of_stack(lambda c: CachedStack(stack)(c).half(), "another type", "no state")
    yield "scaled", of_stack(scaled(stack), "something else")
    late = everything(stack)
    yield "late", of_stack(late, "nothing before the end", flush="flush")
    detached = of_stack(Detached(stack), "gradients end at chunks", gradients=True)
    yield "detached", detached

    def of_ahead(step: Step, *faults: str, **given: Any) -> Case:
        return Case(step=step, model=ahead, x=x, given=given, faults=faults)

    yield "no flush", of_ahead(Held(ahead), "flush missing")
    yield "no flush, delayed", of_ahead(Delayed(ahead), "flush missing", delay=3)
    yield "delay undeclared", of_ahead(Delayed(ahead), "another delay")
    yield "delay of 2", of_ahead(Delayed(ahead), "another delay", delay=2, flush="flush")
    yield "another edge", of_ahead(Held(ahead, 1.0), "another end", flush="flush")
    off = Case(step=CachedEncoder(encoder), model=encoder, x=long, chunk=6)
    yield "off the grid", Case(**{**vars(off), "faults": ("off the chunk grid",)})
    any_chunk = {"any_chunk": True}
    on = Case(step=CachedEncoder(encoder), model=encoder, x=long, given=any_chunk)
    yield "any chunk", Case(**{**vars(on), "faults": ("off the chunk grid",)})
    no_add = overlap_add(decoder, adds=False)
    yield "no overlap-add", Case(step=no_add, model=decoder, x=x, faults=("no state",))
    yield (
        "lstm forgets",
        Case(step=carried(lstm, forgets="all"), model=lstm, x=x, faults=("no state",)),
    )
    yield (
        "lstm without cells",
        Case(step=carried(lstm, forgets="cell"), model=lstm, x=x, faults=("another state",)),
    )
    yield (
        "lstm half",
        Case(step=carried(lstm, half=True), model=lstm, x=x, faults=("coarser type",)),
    )
    yield (
        "sum restarts",
        Case(
            step=running_sum(restarts=True),
            model=lambda x: x.cumsum(-1),
            x=x.double(),
            faults=("no state",),
        ),
    )
    yield (
        "frames forget",
        Case(step=framed(keeps=8), model=frames, x=signal(2, 1, 100), faults=("another length",)),
    )
    norm = nn.Sequential(nn.Conv1d(2, 4, 1), nn.GroupNorm(2, 4))
    yield "group norm", Case(step=norm, model=norm, x=x, faults=("the model needs the whole",))
