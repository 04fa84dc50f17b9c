"""Attention with a mask is as local as its mask: bands, dilated ones, blocks, and what is no band.

What is claimed is held against larger canvases with other content around.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.properties.crops import TOLERANCE, Claim, Views

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.bands import reaches

Model = Callable[[torch.Tensor], torch.Tensor]
Allowed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Attention = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SIZE = 24
EVERYWHERE = ((0, SIZE),)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def as_map(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return t.transpose(1, 2).reshape(like.shape)


def seen_by(rule: Allowed, places: int) -> torch.Tensor:
    """For each place, the places that it may be related to."""
    here = torch.arange(places)
    return rule(here[:, None], here[None])


def added(seen: torch.Tensor) -> torch.Tensor:
    return torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)


def fused(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(t, 2 * t, t + 1, attn_mask=seen)


def fused_additive(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(t, 2 * t, t + 1, attn_mask=added(seen))


def in_heads(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    h = t.unflatten(-1, (2, -1)).transpose(1, 2)
    return fused(h, seen).transpose(1, 2).flatten(2)


WAYS: dict[str, Attention] = {
    "fused": fused,
    "fused, additive": fused_additive,
    "fused, in heads": in_heads,
}

# which pairs are related; then the halo, the valid samples, and the period
BANDS: dict[str, tuple[Allowed, tuple[int, int], tuple[int, int], int]] = {
    "causal, six wide": (lambda i, j: (j <= i) & (j > i - 6), (5, 0), (5, SIZE), 1),
    "seven wide": (lambda i, j: (j - i).abs() <= 3, (3, 3), (3, SIZE - 3), 1),
    "to one side more": (lambda i, j: (j >= i - 1) & (j <= i + 4), (1, 4), (1, SIZE - 4), 1),
    "dilated": (lambda i, j: ((j - i) % 3 == 0) & ((j - i).abs() <= 6), (6, 6), (6, SIZE - 6), 1),
    "the past alone": (lambda i, j: (j < i) & (j >= i - 3), (3, 0), (3, SIZE), 1),
    "clamped at the edges": (
        lambda i, j: (j - (i - 2).clamp(0, SIZE - 5) >= 0) & (j - (i - 2).clamp(0, SIZE - 5) < 5),
        (2, 2), (2, SIZE - 2), 1,
    ),
    "blocks": (lambda i, j: i // 6 == j // 6, (5, 5), (0, SIZE), 6),
    "a block and the one before": (
        lambda i, j: (i // 4 == j // 4) | (i // 4 == j // 4 + 1), (7, 3), (4, SIZE), 4,
    ),
    "a query that asks all, at the edge": (
        lambda i, j: ((j - i).abs() <= 2) | (i == 0) | (j < 0), (2, 2), (2, SIZE - 2), 1,
    ),
}  # fmt: skip


def model_of(attention: Attention, seen: torch.Tensor) -> Model:
    return lambda x: as_map(attention(tokens(x), seen), x)


def holds(model: Model, shape: tuple[int, ...], boundary: str = "valid") -> None:
    """What is claimed is what two windows onto one plane show."""
    row = shiftcheck.geometry(model, seeded(*shape), boundary=boundary).outputs[0]
    claims = []
    for axis, (stride, period, valid) in enumerate(
        zip(row.stride, row.period, row.valid, strict=True)
    ):
        assert stride is not None
        assert valid is not None
        mask = tuple(any(a <= i < b for a, b in valid) for i in range(shape[2 + axis]))
        claims.append(Claim(stride, period, mask))
    views = Views(model, shape, [boundary == "circular"] * len(claims))
    for axis, claim in enumerate(claims):
        for k in (1, -1, 2) if claim.period is not None else ():
            shift = tuple(k * claim.period if a == axis else 0 for a in range(len(claims)))
            found = views.gap(shift, claims)
            assert found is None or found[0] <= TOLERANCE, (shift, found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BANDS)
def test_a_band_is_as_local_as_it_is_wide(name: str, way: str) -> None:
    rule, halo, valid, period = BANDS[name]
    model = model_of(WAYS[way], seen_by(rule, SIZE))
    if name == "the past alone" and way != "fused":
        return  # the first place sees nothing, which torch calls not a number
    row = shiftcheck.geometry(model, seeded(1, 4, SIZE)).outputs[0]
    assert (row.halo, row.valid, row.period) == ((halo,), ((valid,),), (period,))
    holds(model, (1, 4, SIZE))
    report = shiftcheck.check_equivariance(model, seeded(1, 4, SIZE), shifts=[(period,)])
    assert report.verdict is Verdict.EQUIVARIANT


# what has no law of its own, however many places are related
NO_BANDS: dict[str, Allowed] = {
    "at random": lambda i, j: seeded(SIZE, SIZE) > 0,
    "at random, few": lambda i, j: (seeded(SIZE, SIZE) > 1.5) | (i == j),
    "a band and a key that all see": lambda i, j: ((j - i).abs() <= 2) | (j == 0),
    "a band and a query that sees all": lambda i, j: ((j - i).abs() <= 2) | (i == SIZE // 2),
    "a band, keys for all, and some at random": (
        lambda i, j: ((j - i).abs() <= 1) | (j == 5) | (i == 5) | (seeded(SIZE, SIZE) > 2)
    ),
    "a band that grows": lambda i, j: (j - i).abs() <= i // 4,
    "a band with one pair missing": (
        lambda i, j: ((j - i).abs() <= 2) & ~((i == SIZE // 2) & (j == SIZE // 2 + 1))
    ),
    "a band with one pair more": (
        lambda i, j: ((j - i).abs() <= 2) | ((i == SIZE // 2) & (j == SIZE // 2 + 5))
    ),
    "half of one width, half of another": (
        lambda i, j: (j - i).abs() <= torch.where(i < SIZE // 2, 1, 3)
    ),
    "keys that are padding": lambda i, j: (j < SIZE - 5) | (i < 0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NO_BANDS)
def test_what_is_no_band_is_never_passed(name: str, way: str) -> None:
    seen = seen_by(NO_BANDS[name], SIZE) | torch.eye(SIZE, dtype=torch.bool)
    model = model_of(WAYS[way], seen)
    for boundary in ("valid", "circular"):
        report = shiftcheck.check_equivariance(model, seeded(1, 4, SIZE), boundary=boundary)
        assert report.verdict is not Verdict.EQUIVARIANT
        assert "POSITION" in {c.kind for c in report.causes}


def causal(i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    return j <= i


PASTS: dict[str, Model] = {
    "fused": lambda x: as_map(
        F.scaled_dot_product_attention(*[tokens(x)] * 3, is_causal=True), x
    ),
    **{way: model_of(attention, seen_by(causal, SIZE)) for way, attention in WAYS.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", PASTS)
def test_all_of_the_past_is_no_future(name: str) -> None:
    report = shiftcheck.geometry(PASTS[name], seeded(1, 4, SIZE))
    row = report.outputs[0]
    assert row.halo == ((float("inf"), 0),)
    assert row.period == (1,)
    assert row.valid == ((),)
    assert {c.kind for c in report.causes} == {"GLOBAL"}
    circle = shiftcheck.check_equivariance(PASTS[name], seeded(1, 4, SIZE), boundary="circular")
    assert circle.verdict is Verdict.BROKEN


def test_the_past_in_row_order_is_above_and_on_either_side() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return as_map(F.scaled_dot_product_attention(*[tokens(x)] * 3, is_causal=True), x)

    infinite = float("inf")
    row = shiftcheck.geometry(model, seeded(1, 4, 5, 6)).outputs[0]
    assert row.halo == ((infinite, 0), (infinite, infinite))


@pytest.mark.parametrize("way", WAYS)
def test_a_band_around_a_circle(way: str) -> None:
    around = model_of(WAYS[way], seen_by(lambda i, j: (i - j) % SIZE < 6, SIZE))
    row = shiftcheck.geometry(around, seeded(1, 4, SIZE), boundary="circular").outputs[0]
    assert (row.halo, row.valid, row.period) == (((5, 0),), (EVERYWHERE,), (1,))
    assert shiftcheck.assert_equivariant(around, seeded(1, 4, SIZE), boundary="circular")
    ending = model_of(WAYS[way], seen_by(BANDS["causal, six wide"][0], SIZE))
    report = shiftcheck.check_equivariance(ending, seeded(1, 4, SIZE), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert {c.kind for c in report.causes} == {"PADDING"}


SHAPE = (1, 4, 7, 9)


def on_a_grid(rule: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Related places of an image, by a rule of the rows and columns of both."""
    h, w = SHAPE[2:]
    return seen_by(lambda i, j: rule(i // w, i % w, j // w, j % w), h * w)


# rows and columns of the place and of what it is related to; halos; valid rows and columns
GRIDS: dict[str, tuple[Callable[..., torch.Tensor], object, object]] = {
    "a square": (
        lambda y, x, u, v: ((u - y).abs() <= 1) & ((v - x).abs() <= 2),
        ((1, 1), (2, 2)), (((1, 6),), ((2, 7),)),
    ),
    "a disc": (
        lambda y, x, u, v: (u - y) ** 2 + (v - x) ** 2 <= 5,
        ((2, 2), (2, 2)), (((2, 5),), ((2, 7),)),
    ),
    "the past in a square": (
        lambda y, x, u, v: (
            (u >= y - 1) & ((v - x).abs() <= 1) & ((u < y) | ((u == y) & (v <= x)))
        ),
        ((1, 0), (1, 1)), (((1, 7),), ((1, 8),)),
    ),
    "its row": (
        lambda y, x, u, v: (u == y) & ((v - x).abs() <= 2),
        ((0, 0), (2, 2)), (((0, 7),), ((2, 7),)),
    ),
    "a band of the row order": (
        lambda y, x, u, v: ((u - y) * SHAPE[3] + v - x).abs() <= 2,
        ((1, 1), (2, 2)), (((1, 6),), ((2, 7),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_a_band_over_an_image(name: str) -> None:
    rule, halo, valid = GRIDS[name]
    model = model_of(fused, on_a_grid(rule))
    row = shiftcheck.geometry(model, seeded(*SHAPE)).outputs[0]
    assert (row.halo, row.valid, row.period) == (halo, valid, (1, 1))
    holds(model, SHAPE)
    assert shiftcheck.assert_equivariant(model, seeded(*SHAPE))


def test_a_long_band_of_the_row_order_is_no_band_of_columns() -> None:
    seen = on_a_grid(lambda y, x, u, v: ((u - y) * SHAPE[3] + v - x).abs() <= 6)
    report = shiftcheck.check_equivariance(model_of(fused, seen), seeded(*SHAPE))
    assert report.verdict is not Verdict.EQUIVARIANT


def distance() -> torch.Tensor:
    return (torch.arange(SIZE) - torch.arange(SIZE)[:, None]).double()


def test_a_bias_of_the_distance_is_part_of_the_law() -> None:
    band = added(distance().abs() <= 3)
    model = model_of(fused_with, band - 0.3 * distance().abs() + 0.1 * distance())
    row = shiftcheck.geometry(model, seeded(1, 4, SIZE)).outputs[0]
    assert (row.halo, row.valid) == (((3, 3),), (((3, SIZE - 3),),))
    holds(model, (1, 4, SIZE))
    alone = shiftcheck.check_equivariance(model_of(fused_with, -distance().abs()), row_of_noise())
    assert {c.kind for c in alone.causes} == {"GLOBAL"}


def fused_with(t: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(t, 2 * t, t + 1, attn_mask=bias)


def row_of_noise() -> torch.Tensor:
    return seeded(1, 4, SIZE)


@pytest.mark.parametrize(
    "bias",
    [seeded(SIZE, SIZE), seeded(SIZE), seeded(SIZE, 1), 1e-9 * seeded(SIZE, SIZE)],
    ids=["pairs", "keys", "queries", "small"],
)
def test_a_bias_that_varies_otherwise_is_a_position(bias: torch.Tensor) -> None:
    band = added(distance().abs() <= 3)
    report = shiftcheck.check_equivariance(model_of(fused_with, band + bias), row_of_noise())
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "POSITION" in {c.kind for c in report.causes}


def test_each_head_may_look_as_far_as_it_likes() -> None:
    masks = torch.stack([distance().abs() <= 1, (distance() <= 0) & (distance() > -6)])
    model = model_of(in_heads, masks)
    row = shiftcheck.geometry(model, row_of_noise()).outputs[0]
    assert (row.halo, row.valid) == (((5, 1),), (((5, SIZE - 1),),))
    holds(model, (1, 4, SIZE))


def test_a_row_of_which_all_is_hidden_alike_sees_all() -> None:
    hidden = added(distance().abs() <= 3)
    hidden[12] = -100.0
    report = shiftcheck.check_equivariance(model_of(fused_with, hidden), row_of_noise())
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.outputs[0].period == (None,)


def test_a_wide_band_of_every_second_place_does_not_end_where_the_tensor_does() -> None:
    rule = seen_by(lambda i, j: ((j - i) % 2 == 0) & ((j - i).abs() <= 10), 10)
    report = shiftcheck.check_equivariance(model_of(fused, rule), seeded(1, 4, 10))
    assert report.outputs[0].halo == ((float("inf"), float("inf")),)
    assert report.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("seed", range(40))
def test_no_table_of_chance_has_a_law(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size = int(draw.integers(8, 20))
    table = (draw.random((size, size)) < draw.uniform(0.1, 0.9)).astype(np.int64)
    assert reaches(table, [size], [False]) is None
    assert reaches(table, [size], [True]) is None


def test_what_is_hidden_counts_from_the_greatest_of_its_row() -> None:
    band = torch.where(distance().abs() <= 3, -1e5, -1.2e5)
    row = shiftcheck.geometry(model_of(fused_with, band), row_of_noise()).outputs[0]
    assert row.halo == ((3, 3),)
    holds(model_of(fused_with, band), (1, 4, SIZE))


def test_what_great_scores_outweigh_hides_nothing() -> None:
    band = torch.where(distance().abs() <= 3, 0.0, -100.0)
    report = shiftcheck.check_equivariance(model_of(fused_with, band), 30 * row_of_noise())
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.outputs[0].halo == ((float("inf"), float("inf")),)


@pytest.mark.parametrize("bias", [added(distance() <= 0), -0.1 * distance().abs()])
def test_a_bias_of_the_distance_is_a_position_on_a_circle(bias: torch.Tensor) -> None:
    model = model_of(fused_with, bias)
    report = shiftcheck.check_equivariance(model, row_of_noise(), boundary="circular")
    assert report.verdict is Verdict.BROKEN
    assert "POSITION" in {c.kind for c in report.causes}
    around = torch.minimum(distance().abs(), SIZE - distance().abs())
    circulant = model_of(fused_with, -0.1 * around)
    assert shiftcheck.assert_equivariant(circulant, row_of_noise(), boundary="circular")


def test_a_parameter_for_each_pair_is_a_position_once_it_varies() -> None:
    bias = torch.nn.Parameter(added(distance().abs() <= 3))
    report = shiftcheck.check_equivariance(model_of(fused_with, bias), row_of_noise())
    assert report.outputs[0].halo == ((3, 3),)
    assert [c.latent for c in report.causes if c.kind == "POSITION"] == [True]


def by_hand(treated: Attention) -> Attention:
    """Attention whose scores are masked and turned into weights step by step."""

    def attention(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return treated(t @ (2 * t).transpose(-2, -1) / 2.0, seen) @ (t + 1)

    return attention


def summed_by_index(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    h = t.unflatten(-1, (2, -1))
    scores = torch.einsum("bihd,bjhd->bhij", h, 2 * h) + added(seen)
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), h).flatten(-2)


def filled_in_place(scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    scores.masked_fill_(~seen, -torch.inf)
    return scores.softmax(-1)


def as_a_layer(**options: bool) -> Attention:
    layer = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64).eval()

    def attention(t: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return layer(t, t, t, attn_mask=~seen, **options)[0]  # type: ignore[no-any-return]

    return attention


STEPS: dict[str, Attention] = {
    "added": by_hand(lambda s, seen: (s + added(seen)).softmax(-1)),
    "subtracted": by_hand(lambda s, seen: (s - (~seen) * 1e9).softmax(-1)),
    "filled": by_hand(lambda s, seen: s.masked_fill(~seen, -1e9).softmax(-1)),
    "filled in place": by_hand(filled_in_place),
    "filled, then 0": by_hand(
        lambda s, seen: s.masked_fill(~seen, -1e9).softmax(-1).masked_fill(~seen, 0.0)
    ),
    "chosen": by_hand(lambda s, seen: torch.where(seen, s, torch.tensor(-1e9)).softmax(-1)),
    "capped, of another type, dropped out": by_hand(
        lambda s, seen: F.dropout(
            (5 * (s / 5).tanh() + added(seen)).softmax(-1, dtype=torch.float64), 0.5, False
        )
    ),
    "linear": by_hand(lambda s, seen: s * seen),
    "einsum": summed_by_index,
    "layer": as_a_layer(need_weights=False),
    "layer with weights": as_a_layer(),
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", ["causal, six wide", "dilated", "a block and the one before"])
def test_the_same_step_by_step(name: str, steps: str) -> None:
    rule, halo, valid, period = BANDS[name]
    model = model_of(STEPS[steps], seen_by(rule, SIZE))
    row = shiftcheck.geometry(model, row_of_noise()).outputs[0]
    assert (row.halo, row.valid, row.period) == ((halo,), ((valid,),), (period,))
    holds(model, (1, 4, SIZE))
    report = shiftcheck.check_equivariance(model, row_of_noise(), shifts=[(period,)])
    assert report.verdict is Verdict.EQUIVARIANT
    assert "GLOBAL" not in {c.kind for c in report.causes}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", ["at random, few", "a band and a key that all see"])
def test_no_band_step_by_step_is_never_passed(name: str, steps: str) -> None:
    model = model_of(STEPS[steps], seen_by(NO_BANDS[name], SIZE))
    report = shiftcheck.check_equivariance(model, row_of_noise())
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "POSITION" in {c.kind for c in report.causes}


def test_layers_with_bands_add_up() -> None:
    layer = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dtype=torch.float64)
    layer.eval()
    first = ~seen_by(BANDS["causal, six wide"][0], SIZE)
    second = ~seen_by(lambda i, j: (j - i).abs() <= 2, SIZE)

    def model(x: torch.Tensor) -> torch.Tensor:
        return as_map(layer(layer(tokens(x), src_mask=first), src_mask=second), x)

    row = shiftcheck.geometry(model, row_of_noise()).outputs[0]
    assert (row.halo, row.valid) == (((7, 2),), (((7, SIZE - 2),),))
    holds(model, (1, 4, SIZE))
    assert shiftcheck.assert_equivariant(model, row_of_noise())


@pytest.mark.parametrize(
    "past", [lambda s: s.tril(), lambda s: s.masked_fill(LATER, -1e9).softmax(-1)]
)
def test_all_of_the_past_step_by_step_is_no_future(past: Model) -> None:
    model = model_of(by_hand(lambda s, seen: past(s)), torch.ones(1))
    row = shiftcheck.geometry(model, row_of_noise()).outputs[0]
    assert (row.halo, row.period) == (((float("inf"), 0),), (1,))
    band = model_of(by_hand(lambda s, seen: s.tril().triu(-3)), torch.ones(1))
    row = shiftcheck.geometry(band, row_of_noise()).outputs[0]
    assert (row.halo, row.valid) == (((3, 0),), (((3, SIZE),),))


PLACES = seeded(SIZE)
LATER = seen_by(lambda i, j: j > i, SIZE)
BAND = seen_by(BANDS["causal, six wide"][0], SIZE)


def overwritten(weights: torch.Tensor) -> torch.Tensor:
    weights[:, 5, 20] = 1.0
    return weights


# what is done to scores, hidden or not, and to weights; none of it keeps to the band
UNDONE: dict[str, Model] = {
    "logarithm": lambda s: (s + added(BAND).clamp_min(-1e9)).log_softmax(-1),
    "a softmax of zeros": lambda s: (s * BAND).softmax(-1),
    "a mask made small again": lambda s: (s.masked_fill(~BAND, -1e9) * 1e-9).softmax(-1),
    "a mask turned round": lambda s: (s.masked_fill(~BAND, -1e9) * -1).softmax(-1),
    "an infinite mask turned round": lambda s: (s.masked_fill(~BAND, -torch.inf) * -1).softmax(-1),
    "no mask at all": lambda s: (s.masked_fill(~BAND, -torch.inf) * 0).softmax(-1),
    "a mask cut off": lambda s: s.masked_fill(~BAND, -1e9).clamp_min(-5).softmax(-1),
    "a mask that is no more": lambda s: (s + added(BAND).clamp_min(-1e9) + 1e9 * ~BAND).softmax(-1),
    "a mask too late": lambda s: s.softmax(-1) * BAND,
    "weights that are none": lambda s: (s + added(BAND)).softmax(-1) + 0.1,
    "an exponential of zeros": lambda s: (s * BAND).exp(),
    "a weight for what is hidden": lambda s: (s + added(BAND)).softmax(-1).masked_fill(~BAND, 0.3),
    "of the others": lambda s: s.masked_fill(~BAND, -1e9).softmax(-2),
    "each among itself": lambda s: s.masked_fill(~BAND, -1e9)[..., None].softmax(-1).squeeze(-1),
    "to the others": lambda s: (s + added(BAND)).softmax(-1).transpose(-1, -2),
    "in reverse": lambda s: (s + added(BAND)).softmax(-1).flip(-1),
    "rolled": lambda s: (s + added(BAND)).softmax(-1).roll(2, -1),
    "in order": lambda s: (s + added(BAND)).softmax(-1).sort(-1).values,
    "summed up": lambda s: (s * BAND).cumsum(-1),
    "written over": lambda s: overwritten((s + added(BAND)).softmax(-1)),
    "divided by what is seen": lambda s: 1 / (1 + s * BAND),
    "a bias of places": lambda s: (s + added(BAND) + PLACES[:, None] * PLACES).softmax(-1),
    "gated by places": lambda s: (s + added(BAND)).softmax(-1) * PLACES,
}


@pytest.mark.parametrize("name", UNDONE)
def test_what_does_not_keep_to_the_band_is_never_passed(name: str) -> None:
    model = model_of(by_hand(lambda s, seen: UNDONE[name](s)), BAND)
    report = shiftcheck.check_equivariance(model, row_of_noise())
    assert report.verdict is not Verdict.EQUIVARIANT
    row = shiftcheck.geometry(model, row_of_noise()).outputs[0]
    assert not (row.period == (1,) and row.valid and row.valid[0])


def test_a_place_of_its_own_beside_a_band_is_to_blame() -> None:
    band = seen_by(lambda i, j: (j - i).abs() <= 2, SIZE)

    def placed(x: torch.Tensor) -> torch.Tensor:
        return as_map(fused(tokens(x) + PLACES[:, None], band), x)

    report = shiftcheck.check_equivariance(placed, row_of_noise())
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("POSITION", "add")


@pytest.mark.parametrize("gate", [torch.mul, torch.maximum, lambda s, g: g - s])
def test_scores_that_meet_the_signal_are_no_band(gate: Attention) -> None:
    def gated(x: torch.Tensor) -> torch.Tensor:
        scores = gate(tokens(x) @ x, x.mean((1, 2), keepdim=True))
        return as_map(scores.masked_fill(~BAND, -torch.inf).softmax(-1) @ tokens(x), x)

    report = shiftcheck.check_equivariance(gated, row_of_noise())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
