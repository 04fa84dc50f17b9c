"""Rotary positions leave only the distance of two places in a score: a band with them is local.

Whether that holds is found by experiments on the very constants; what is no rotation stays broken.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.properties.crops import TOLERANCE, Claim, Views

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
Turn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SIZE, CHANNELS = 24, 4


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def as_map(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return t.transpose(1, 2).reshape(like.shape)


def angles(places: int, pairs: int = CHANNELS // 2) -> torch.Tensor:
    rates = 10.0 ** -torch.arange(pairs, dtype=torch.float64)
    return torch.arange(places, dtype=torch.float64)[:, None] * rates


def turned_round(q: torch.Tensor) -> torch.Tensor:
    first, second = q.chunk(2, -1)
    return torch.cat((-second, first), -1)


def by_halves(q: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    a = torch.cat((a, a), -1)
    return q * a.cos() + turned_round(q) * a.sin()


def by_neighbours(q: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    a = a.repeat_interleave(2, -1)
    turned = torch.stack((-q[..., 1::2], q[..., ::2]), -1).flatten(-2)
    return q * a.cos() + turned * a.sin()


def as_complex(q: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    z = torch.view_as_complex(q.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(z * torch.polar(torch.ones_like(a), a)).flatten(-2)


def in_parts(q: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    x, y = q.split(q.shape[-1] // 2, -1)
    return torch.cat((x * a.cos() - y * a.sin(), x * a.sin() + y * a.cos()), -1)


def in_part(q: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return torch.cat((by_halves(q[..., :2], a[:, :1]), q[..., 2:]), -1)


TURNS: dict[str, Turn] = {
    "halves": by_halves,
    "neighbours": by_neighbours,
    "complex": as_complex,
    "parts": in_parts,
    "some channels": in_part,
    "through a lower precision": lambda q, a: by_halves(q.float(), a.float()).to(q.dtype),
}

BAND = (torch.arange(SIZE) - torch.arange(SIZE)[:, None] <= 0) & (
    torch.arange(SIZE) - torch.arange(SIZE)[:, None] > -6
)
WEIGHT = seeded(2 * CHANNELS, CHANNELS)


def banded(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=BAND)


def step_by_step(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (q @ k.transpose(-2, -1)).masked_fill(~BAND, -torch.inf).softmax(-1) @ v


def in_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # the channels of a head are turned, so the heads are batches here
    return banded(q[:, None].expand(-1, 2, -1, -1), k[:, None], v[:, None]).mean(1)


def model_of(turn: Turn, attend: Callable[..., torch.Tensor] = banded) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        t = tokens(x)
        q, k = (t @ WEIGHT.T.to(x.dtype)).chunk(2, -1)
        a = angles(SIZE).to(x.dtype)
        return as_map(attend(turn(q, a), turn(k, a), t), x)

    return model


@pytest.mark.parametrize("attend", [banded, step_by_step, in_heads])
@pytest.mark.parametrize("turn", TURNS)
def test_a_band_with_rotary_positions_is_local(
    turn: str, attend: Callable[..., torch.Tensor]
) -> None:
    model, x = model_of(TURNS[turn], attend), seeded(1, CHANNELS, SIZE)
    row = shiftcheck.geometry(model, x).outputs[0]
    assert (row.halo, row.valid, row.period) == (((5, 0),), (((5, SIZE),),), (1,))
    assert row.measured is (turn == "through a lower precision")
    report = shiftcheck.check_equivariance(model, x.float())
    assert report.verdict is Verdict.EQUIVARIANT
    if turn != "through a lower precision":
        claim = Claim(row.stride[0], 1, tuple(i >= 5 for i in range(SIZE)))
        for k in (1, -1, 3):
            found = Views(model, (1, CHANNELS, SIZE), [False]).gap((k,), [claim])
            assert found is not None
            assert found[0] <= TOLERANCE


def with_itself(x: torch.Tensor) -> torch.Tensor:
    t = by_halves(tokens(x), angles(SIZE))
    return as_map(banded(t, t, tokens(x)), x)


def keys_further_on(x: torch.Tensor) -> torch.Tensor:
    a = angles(SIZE)
    q, k = by_halves(tokens(x), a), by_halves(tokens(x), a + 0.7)
    return as_map(banded(q, k, tokens(x)), x)


@pytest.mark.parametrize("model", [with_itself, keys_further_on])
def test_other_ways_to_be_relative(model: Model) -> None:
    assert shiftcheck.assert_equivariant(model, seeded(1, CHANNELS, SIZE))


def test_rows_and_columns_may_be_turned_each() -> None:
    h, w = 6, 7
    y, x_ = torch.arange(h * w) // w, torch.arange(h * w) % w
    near = ((y - y[:, None]).abs() <= 1) & ((x_ - x_[:, None]).abs() <= 2)

    def model(x: torch.Tensor) -> torch.Tensor:
        t = tokens(x)
        a = torch.stack((0.7 * y.to(x.dtype), 0.3 * x_.to(x.dtype)), -1)
        q = by_halves(t, a)
        return as_map(F.scaled_dot_product_attention(q, 2 * q, t, attn_mask=near), x)

    report = shiftcheck.assert_equivariant(model, seeded(1, CHANNELS, h, w))
    assert report.outputs[0].halo == ((1, 1), (2, 2))


def test_all_of_the_past_with_rotary_positions_is_global_and_no_position() -> None:
    def past(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    report = shiftcheck.geometry(model_of(by_halves, past), seeded(1, CHANNELS, SIZE))
    assert report.outputs[0].halo == ((float("inf"), 0),)
    assert {c.kind for c in report.causes} == {"GLOBAL"}
    whole = shiftcheck.geometry(
        model_of(by_halves, F.scaled_dot_product_attention), seeded(1, CHANNELS, SIZE)
    )
    assert whole.outputs[0].period == (1,)


PLACES = torch.arange(SIZE, dtype=torch.float64)[:, None]

ROLLED = ((2, SIZE), (0, 2))

# what is no rotation by the place alone
NO_TURNS: dict[str, Turn] = {
    "a cosine alone": lambda q, a: q * torch.cat((a, a), -1).cos(),
    "something added": lambda q, a: q + 0.1 * torch.cat((a, a), -1),
    "something small added": lambda q, a: by_halves(q, a) + 1e-6 * torch.cat((a, a), -1),
    "faster and faster": lambda q, a: by_halves(q, a * a),
    "a little faster": lambda q, a: by_halves(q, a * (1 + 1e-5 * a)),
    "stretched": lambda q, a: by_halves(q, a) * 1.01**PLACES,
    "a table of chance": lambda q, a: q * seeded(SIZE, CHANNELS),
    "not turned round": lambda q, a: q * a.repeat(1, 2).cos() + q * a.repeat(1, 2).sin(),
    "rounded": lambda q, a: (100 * by_halves(q, a)).to(torch.int64).to(q.dtype),
    "divided and rounded": lambda q, a: by_halves(q, a).div(0.1, rounding_mode="floor"),
    "rectified": lambda q, a: by_halves(q, a).relu(),
    "blurred": lambda q, a: F.avg_pool1d(by_halves(q, a).mT, 3, 1, 1).mT,
    "the places in reverse": lambda q, a: by_halves(q, a).flip(1),
    "rolled by slices": lambda q, a: torch.cat([by_halves(q, a)[:, i:j] for i, j in ROLLED], 1),
    "cut and padded": lambda q, a: F.pad(by_halves(q, a)[:, 2:], (0, 0, 0, 2)),
}  # fmt: skip


@pytest.mark.parametrize("attend", [banded, step_by_step])
@pytest.mark.parametrize("turn", NO_TURNS)
def test_what_is_no_rotation_is_never_passed(
    turn: str, attend: Callable[..., torch.Tensor]
) -> None:
    table = seeded(SIZE, CHANNELS)
    known = NO_TURNS | {"a table of chance": lambda q, a: q * table}
    model = model_of(known[turn], attend)
    report = shiftcheck.check_equivariance(model, seeded(1, CHANNELS, SIZE))
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "POSITION" in {c.kind for c in report.causes}


def turned_values(x: torch.Tensor) -> torch.Tensor:
    q = by_halves(tokens(x), angles(SIZE))
    return as_map(banded(q, q, q), x)


def turned_queries(x: torch.Tensor) -> torch.Tensor:
    t = tokens(x)
    return as_map(banded(by_halves(t, angles(SIZE)), t, t), x)


def at_another_pace(x: torch.Tensor) -> torch.Tensor:
    t, a = tokens(x), angles(SIZE)
    return as_map(banded(by_halves(t, a), by_halves(t, 1.1 * a), t), x)


def placed_before(x: torch.Tensor) -> torch.Tensor:
    t, a = tokens(x) + 0.1 * PLACES, angles(SIZE)
    return as_map(banded(by_halves(t, a), by_halves(t, a), tokens(x)), x)


def placed_and_mixed_before(x: torch.Tensor) -> torch.Tensor:
    t, a = F.linear(tokens(x) + 0.1 * PLACES, WEIGHT[:4]), angles(SIZE)
    return as_map(banded(by_halves(t, a), by_halves(t, a), tokens(x)), x)


def skewed(x: torch.Tensor) -> torch.Tensor:
    """What is added to a key is at right angles to the query of the same content."""
    t = tokens(x)
    return as_map(banded(t, t + 0.1 * PLACES * turned_round(t), t), x)


def blended(x: torch.Tensor) -> torch.Tensor:
    """Places with a share of their neighbours that varies; between equal ones it does not show."""
    t = F.pad(x, (0, 1)).mT
    share = (0.5 * PLACES).sin()
    q = t[:, 1:] * share + t[:, :-1] * (1 - share)
    return as_map(banded(q, q, tokens(x)), x)


@pytest.mark.parametrize(
    "model",
    [
        skewed,
        blended,
        turned_values,
        turned_queries,
        at_another_pace,
        placed_before,
        placed_and_mixed_before,
    ],
)
def test_places_that_are_told_elsewhere_still_count(model: Model) -> None:
    report = shiftcheck.check_equivariance(model, seeded(1, CHANNELS, SIZE))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_on_a_circle_only_whole_turns_are_relative() -> None:
    def around(rate: float) -> Model:
        def model(x: torch.Tensor) -> torch.Tensor:
            t = tokens(x)
            q = by_halves(t, rate * PLACES * torch.ones(2))
            return as_map(F.scaled_dot_product_attention(q, q, t), x)

        return model

    x, turn = seeded(1, CHANNELS, SIZE), 2 * torch.pi / SIZE
    assert shiftcheck.assert_equivariant(around(2 * turn), x, boundary="circular")
    report = shiftcheck.check_equivariance(around(1.5 * turn), x, boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert "POSITION" in {c.kind for c in report.causes}


@pytest.mark.parametrize("how", ["sdpa", "eager"])
def test_a_language_model_with_a_sliding_window(how: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.MistralConfig(
        vocab_size=8, sliding_window=4, attn_implementation=how, **sizes, **heads
    )
    network = transformers.MistralModel(config).eval()

    def model(x: torch.Tensor) -> torch.Tensor:
        t = network(inputs_embeds=x.transpose(1, 2), use_cache=False).last_hidden_state
        return t.transpose(1, 2)  # type: ignore[no-any-return]

    report = shiftcheck.assert_equivariant(model, seeded(1, 16, SIZE).float())
    assert report.outputs[0].halo == ((6, 0),)
