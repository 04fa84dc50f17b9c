"""Signals of a batch and a time alone: waves, and the numbers of tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import pad, scaled_dot_product_attention

import shiftcheck

Tensor = torch.Tensor
WORDS, WIDTH = 20, 8


class Tokens(nn.Module):
    """A small language model: embedding, something over time, scores of the next token."""

    def __init__(
        self, over_time: Callable[[Tensor], Tensor], layer: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.layer = layer or nn.Identity()
        self.over_time = over_time
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.over_time(self.layer(self.table(ids))))


def convolved(left: int, right: int) -> Tokens:
    torch.manual_seed(0)
    conv = nn.Conv1d(WIDTH, WIDTH, left + right + 1)
    model = Tokens(lambda x: conv(pad(x.transpose(1, 2), (left, right))).transpose(1, 2))
    model.conv = conv
    return model


def attending(offset: int | None) -> Tokens:
    """Each token attends up to ``offset`` places ahead; to all where it is None."""
    torch.manual_seed(0)

    def attention(x: Tensor) -> Tensor:
        n = x.shape[1]
        mask = None if offset is None else torch.ones(n, n, dtype=torch.bool).tril(offset)
        return scaled_dot_product_attention(x, x, x, attn_mask=mask)

    return Tokens(attention)


class Recurrent(nn.Module):
    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.over_time = nn.GRU(WIDTH, WIDTH, batch_first=True, bidirectional=both)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.over_time(self.table(ids))[0]
        return out


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "padded on the left": (lambda: convolved(2, 0), ""),
    "padded on both sides": (lambda: convolved(1, 1), "window reaches ahead"),
    "masked": (lambda: attending(0), ""),
    "no mask": (lambda: attending(None), "attention without a mask"),
    "a mask that is off by one": (lambda: attending(1), "mask ahead of the diagonal"),
    "recurrent": (lambda: Recurrent(both=False), ""),
    "recurrent in both directions": (lambda: Recurrent(both=True), "runs backwards"),
    "averaged": (
        lambda: Tokens(lambda x: x - x.mean(1, keepdim=True)),
        "statistics over time",
    ),
    "summed up": (lambda: Tokens(lambda x: x.cumsum(1)), ""),
    "turned around": (lambda: Tokens(lambda x: x.flip(1)), "time reversed"),
}


def leaks(model: nn.Module, ids: Tensor) -> bool:
    """Whether a token changes what comes before it: each in turn becomes another one."""
    with torch.no_grad():
        base = model(ids)
        for time in range(ids.shape[1]):
            other = ids.clone()
            other[:, time] = (other[:, time] + 7) % WORDS
            if not torch.allclose(model(other)[:, :time], base[:, :time], atol=1e-6):
                return True
    return False


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("axis", [-1, 1])
def test_numbers_of_tokens_are_judged_as_trying_each_does(name: str, axis: int) -> None:
    make, kind = MODELS[name]
    torch.manual_seed(0)
    model, ids = make().eval(), torch.randint(0, WORDS, (2, 16))
    report = shiftcheck.check_causality(model, ids, axis=axis)
    assert leaks(model, ids) == bool(kind)
    assert (report.verdict == "not causal") == bool(kind), str(report)
    assert (report.verdict == "causal") == (not kind), str(report)
    if kind:
        assert report.guilty is not None
        assert report.guilty.kind == kind


def test_a_mask_besides_the_tokens_stands_still() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = attending(0)

        def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
            out: Tensor = self.inner(ids) * attention_mask[..., None]
            return out

    arguments = {
        "ids": torch.randint(0, WORDS, (1, 16), generator=torch.Generator().manual_seed(0)),
        "attention_mask": torch.ones(1, 16),
    }
    report = shiftcheck.check_causality(Masked(), arguments, fixed=("attention_mask",))
    assert report.verdict == "causal", str(report)


class Wave(nn.Module):
    """A network of channels that is given a wave without."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, wave: Tensor) -> Tensor:
        out: Tensor = self.inner(wave[:, None])
        return out


WAVES: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: nn.Sequential(
        nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(1, 3, 5), nn.ReLU(), nn.Conv1d(3, 2, 1)
    ),
    "strides": lambda: nn.Sequential(nn.Conv1d(1, 4, 10, stride=5), nn.Conv1d(4, 4, 3, stride=2)),
    "a norm over time": lambda: nn.Sequential(nn.Conv1d(1, 4, 5), nn.GroupNorm(4, 4)),
    "up and down": lambda: nn.Sequential(
        nn.Conv1d(1, 2, 4, stride=2, padding=1), nn.ConvTranspose1d(2, 1, 4, stride=2, padding=1)
    ),
    "mirrored": lambda: nn.Conv1d(1, 1, 5, padding=2, padding_mode="reflect"),
}


@pytest.mark.parametrize("name", WAVES)
def test_a_wave_is_judged_as_with_one_channel(name: str) -> None:
    torch.manual_seed(0)
    inner, wave = nn.Sequential(WAVES[name]()).eval(), torch.randn(2, 240)
    model, given = Wave(inner), wave[:, None]

    def same(one: Any, other: Any, *fields: str) -> None:
        assert [getattr(one, f) for f in fields] == [getattr(other, f) for f in fields], str(one)

    one, other = (shiftcheck.check_causality(m, x) for m, x in ((model, wave), (inner, given)))
    same(one, other, "verdict", "reason")
    same(one.outputs[0], other.outputs[0], "lookahead", "measured", "ahead")
    one, other = (shiftcheck.streaming(m, x) for m, x in ((model, wave), (inner, given)))
    same(one, other, "streaming", "lookback", "lookahead", "period", "latency", "state_elements")
    one, other = (shiftcheck.sharding(m, x, 2) for m, x in ((model, wave), (inner, given)))
    same(one, other, "bounds", "period", "least", "most")
    assert [row.exchange for row in one.layers[1:]] == [row.exchange for row in other.layers]
    dims = {"spatial_dims": (1,)}
    one = shiftcheck.check_equivariance(model, wave, **dims)
    other = shiftcheck.check_equivariance(inner, given)
    same(one, other, "verdict", "reason", "shifts")
    same(one.outputs[0], other.outputs[0], "stride", "period", "receptive_field")
    one, other = shiftcheck.tiling(model, wave, **dims), shiftcheck.tiling(inner, given)
    same(one, other, "exactness", "halo", "step", "tile")


def test_without_channels_the_axis_has_to_be_named() -> None:
    model, wave = Wave(nn.Conv1d(1, 1, 3)), torch.randn(2, 64)
    for check in (shiftcheck.check_equivariance, shiftcheck.geometry, shiftcheck.tiling):
        with pytest.raises(
            shiftcheck.InputError, match=r"x has shape \(2, 64\).*spatial_dims=\(1,\)"
        ):
            check(model, wave)
    for along in (shiftcheck.streaming, partial(shiftcheck.sharding, parts=2)):
        with pytest.raises(shiftcheck.InputError, match=r"x has shape \(64,\)"):
            along(model, wave[0])


def test_channels_without_a_batch_are_no_batch() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv1d(2, 2, 3, padding=1), torch.randn(2, 64)
    report = shiftcheck.check_causality(conv, x)
    assert report.verdict == "not causal"
    assert report.outputs[0].lookahead == 1
    assert shiftcheck.streaming(conv, x).lookahead == 1


def test_a_step_with_a_cache_is_held_against_a_language_model() -> None:
    """As caches of keys and values are; one that forgets the place of a token is not the same."""
    model = Decoder().eval()
    ids = torch.randint(0, WORDS, (2, 20), generator=torch.Generator().manual_seed(0))

    def made(*, right: bool) -> Callable[[Tensor], Tensor]:
        past: list[Tensor] = []

        def step(chunk: Tensor) -> Tensor:
            before = sum(t.shape[1] for t in past) if right else 0
            past.append(model.embedded(chunk, before))
            return model.head(model.attended(torch.cat(past, 1))[:, -chunk.shape[1] :])

        return step

    report = shiftcheck.check_streamable(None, model, ids, 5, make_step=partial(made, right=True))
    assert report.verdict == "same", str(report)
    report = shiftcheck.check_streamable(None, model, ids, 5, make_step=partial(made, right=False))
    assert (report.verdict, report.faults) == ("different", ("another state",)), str(report)
    report = shiftcheck.check_streamable(model, model, ids, 5)
    assert (report.verdict, report.faults) == ("different", ("no state",)), str(report)


class Decoder(nn.Module):
    """Tokens with their places, attention to all that came before, scores."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(64, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def embedded(self, ids: Tensor, before: int) -> Tensor:
        places = torch.arange(before, before + ids.shape[1], device=ids.device)
        out: Tensor = self.table(ids) + self.places(places)
        return out

    def attended(self, x: Tensor) -> Tensor:
        return scaled_dot_product_attention(x, x, x, is_causal=True)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.attended(self.embedded(ids, 0)))
        return out


def test_a_pooled_output_is_told_the_same_of_the_attention() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = attending(None)

        def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
            out = self.inner(ids)
            return out, torch.tanh(out[:, 0])

    ids = torch.randint(0, WORDS, (1, 16), generator=torch.Generator().manual_seed(0))
    report = shiftcheck.check_causality(Pooled(), ids)
    kinds = {o.guilty.kind for o in report.outputs if o.guilty is not None}
    assert kinds == {"attention without a mask"}, str(report)


TABLE = torch.randn(WORDS, WIDTH, generator=torch.Generator().manual_seed(2))
EQUAL_ROWS = TABLE.clone()
EQUAL_ROWS[1::2] = EQUAL_ROWS[::2]
Ahead = Callable[[Tensor, Tensor], Tensor]
"""What a sample is made of: the token that is due, and the next one."""


def looped(ahead: Ahead) -> Callable[[Tensor], Tensor]:
    """A running sum by a loop over the time, of which no rule knows how far it sees."""

    def model(ids: Tensor) -> Tensor:
        state, out = torch.zeros(ids.shape[0], WIDTH), []
        for time in range(ids.shape[1]):
            later = min(time + 1, ids.shape[1] - 1)
            state = torch.tanh(0.5 * state + ahead(ids[:, time], ids[:, later]))
            out.append(state)
        return torch.stack(out, 1)

    return model


LOOPS_AHEAD: dict[str, Ahead] = {
    "looked up": lambda now, later: TABLE[now] + TABLE[later],
    "a word that is not there": lambda now, later: TABLE[now] + (later == WORDS - 1)[:, None],
    "equal rows": lambda now, later: TABLE[now] + EQUAL_ROWS[later],
    "a remainder": lambda now, later: TABLE[now] + TABLE[later % 2],
    "an order": lambda now, later: TABLE[torch.maximum(now, later)],
    "a sign": lambda now, later: TABLE[now] * (later - now).sign()[:, None].abs(),
    "a choice": lambda now, later: torch.where((later > 17)[:, None], TABLE[now], -TABLE[now]),
    "a place": lambda now, later: TABLE[now].gather(1, (later[:, None] // 4) % WIDTH),
    "a bit": lambda now, later: TABLE[now + (later & 16) // 16 - (now == WORDS - 1).long()],
    "a rounded quotient": lambda now, later: TABLE[now] + (later // 19)[:, None],
}


def text(most: int = WORDS) -> Tensor:
    return torch.randint(0, most, (1, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LOOPS_AHEAD)
def test_no_loop_over_tokens_that_looks_ahead_is_causal(name: str) -> None:
    """Also where the tokens that are there do not show it."""
    model = looped(LOOPS_AHEAD[name])
    assert any(
        not torch.equal(model(one)[:, :-2], model(other)[:, :-2])
        for one in [text()]
        for word in range(WORDS)
        for other in [torch.where(torch.arange(12) == 10, word, one)]
    )
    for ids in (text(), text(17), text(3)):
        report = shiftcheck.check_causality(model, ids)
        assert report.verdict != "causal", str(report)


@pytest.mark.parametrize(
    "now", [lambda i: TABLE[i], lambda i: TABLE[(3 * i + 1) % WORDS], lambda i: TABLE[i - 1].abs()]
)
def test_a_loop_over_tokens_is_gone_through_time_by_time(now: Callable[[Tensor], Tensor]) -> None:
    report = shiftcheck.check_causality(looped(lambda i, _: now(i)), text())
    assert report.verdict == "causal", str(report)
    assert report.outputs[0].proven_by_nan


def test_one_word_again_and_again_proves_nothing() -> None:
    ids = torch.full((1, 12), 3)
    report = shiftcheck.check_causality(looped(LOOPS_AHEAD["looked up"]), ids)
    assert report.verdict == "inconclusive", str(report)


def test_a_mask_beside_that_is_the_same_everywhere_proves_nothing() -> None:
    """What depends on it later cannot be seen, as it never is another one."""

    def model(ids: Tensor, mask: Tensor) -> Tensor:
        return looped(lambda now, _: TABLE[now])(ids) * mask[:, -1:, None]

    arguments = {"ids": text(), "mask": torch.ones(1, 12, dtype=torch.long)}
    report = shiftcheck.check_causality(model, arguments)
    assert report.verdict != "causal", str(report)


class Crossed(nn.Module):
    """A decoder that looks at what an encoder gave, and at what came before."""

    def __init__(self, *, masked: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.masked = masked
        self.table, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)

    def forward(self, ids: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.table(ids)
        if self.masked and mask is None:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        x = x + scaled_dot_product_attention(x, x, x, attn_mask=mask)
        seen = scaled_dot_product_attention(memory, memory, memory)
        out: Tensor = self.head(x + scaled_dot_product_attention(x, seen, seen))
        return out


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("masked", [True, False])
def test_what_an_encoder_gave_has_no_time_of_its_own(axis: int, masked: bool) -> None:
    """The axis is one of the tokens, though what stays fixed has more dimensions."""
    model, memory = Crossed(masked=masked).eval(), torch.randn(1, 7, WIDTH)
    arguments = {"memory": memory, "ids": text()}
    report = shiftcheck.check_causality(model, arguments, axis=axis, fixed=("memory",))
    assert report.verdict == ("causal" if masked else "not causal"), str(report)
    report = shiftcheck.check_causality(model, (text(), memory), axis=axis, fixed=(1,))
    assert report.verdict == ("causal" if masked else "not causal"), str(report)


def test_a_mask_of_more_dimensions_stays_fixed() -> None:
    model = Crossed(masked=False).eval()
    right = torch.ones(1, 12, 12, dtype=torch.bool).tril()
    for mask, verdict in ((right, "causal"), (torch.ones_like(right), "not causal")):
        arguments = {"ids": text(), "memory": torch.randn(1, 7, WIDTH), "mask": mask}
        report = shiftcheck.check_causality(model, arguments, fixed=("memory", "mask"))
        assert report.verdict == verdict, str(report)
