"""Rolls, flips, lists of indices, repetitions and sliding windows, measured with fresh content."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]
SIGNAL, MAP, VOLUME = (2, 4, 24), (2, 4, 12, 16), (1, 2, 6, 8, 10)
PERMUTATION = torch.from_numpy(np.random.RandomState(0).permutation(24))


def content(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def check(model: Model, shape: tuple[int, ...], **options: Any) -> shiftcheck.Report:
    return shiftcheck.check_equivariance(model, content(shape), **options)


def masked(x: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(24, dtype=torch.bool)
    mask[3:19] = True
    return x[..., mask]


def own_indices(x: torch.Tensor) -> torch.Tensor:
    places = torch.arange(x.shape[-1])
    return x[..., (places + 5) % len(places)]


def by_gather(x: torch.Tensor) -> torch.Tensor:
    places = torch.arange(3, 20).expand(x.shape[0], x.shape[1], -1)
    return x.gather(-1, places)


def best_channel(x: torch.Tensor) -> torch.Tensor:
    return x.gather(1, x.argmax(1, keepdim=True))


def windows(x: torch.Tensor) -> torch.Tensor:
    places = torch.arange(20)[:, None] + torch.arange(5)
    return x[..., places] @ torch.linspace(0, 1, 5)


def grid(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, torch.arange(0, 12, 2)[:, None], torch.arange(15, -1, -1)]


def look_up(x: torch.Tensor) -> torch.Tensor:
    table = torch.linspace(0, 2, 21).view(7, 3) ** 2
    levels = (x[:, 0] * 2).round().clamp(-3, 3).long() + 3
    return nn.functional.embedding(levels, table).movedim(-1, 1)


def table_index(x: torch.Tensor) -> torch.Tensor:
    table = torch.linspace(0, 1, 7) ** 2
    return table[(x * 2).round().clamp(-3, 3).long() + 3]


GOOD: dict[str, tuple[Model, tuple[int, ...], tuple[Fraction | int, ...], tuple[Any, ...]]] = {
    "roll": (lambda x: x.roll(5, -1), SIGNAL, (1,), (((5, 24),),)),
    "roll back": (lambda x: x.roll(-5, 2), SIGNAL, (1,), (((0, 19),),)),
    "roll of both axes": (
        lambda x: x.roll((1, -3), (2, 3)),
        MAP,
        (1, 1),
        (((1, 12),), ((0, 13),)),
    ),
    "roll of channels": (lambda x: x.roll(1, 1), MAP, (1, 1), (((0, 12),), ((0, 16),))),
    "flip": (lambda x: x.flip(-1), MAP, (1, -1), (((0, 12),), ((0, 16),))),
    "flip twice": (lambda x: x.flip(2).sin().flip((-2,)), MAP, (1, 1), (((0, 12),), ((0, 16),))),
    "flip all of a volume": (lambda x: x.flip((2, 3, 4)), VOLUME, (-1, -1, -1), None),
    "flip of channels": (lambda x: x.fliplr(), MAP, (1, 1), None),
    "half turn": (lambda x: x.rot90(2, (2, 3)), MAP, (-1, -1), None),
    "quarter turns, there and back": (
        lambda x: x.rot90(1, (2, 3)).relu().rot90(3, (-2, -1)),
        MAP,
        (1, 1),
        None,
    ),
    "mask": (masked, SIGNAL, (1,), (((0, 16),),)),
    "indices of its own": (own_indices, SIGNAL, (1,), (((0, 19),),)),
    "every third": (lambda x: x[..., list(range(1, 24, 3))], SIGNAL, (3,), None),
    "negative indices": (lambda x: x[..., [-4, -3, -2, -1]], SIGNAL, (1,), None),
    "gather": (by_gather, SIGNAL, (1,), None),
    "index_select of channels": (
        lambda x: x.index_select(1, torch.tensor([2, 0])),
        MAP,
        (1, 1),
        None,
    ),
    "the largest channel": (best_channel, MAP, (1, 1), None),
    "windows by an index": (windows, SIGNAL, (1,), None),
    "a grid of indices": (grid, MAP, (2, -1), None),
    "take_along_dim": (
        lambda x: x.take_along_dim(torch.arange(4, 20)[None, None], -1),
        SIGNAL,
        (1,),
        None,
    ),
    "repeat": (lambda x: x.repeat(1, 1, 2), SIGNAL, (1,), (((0, 24),),)),
    "repeat of channels": (lambda x: x.repeat(1, 3, 1, 1), MAP, (1, 1), None),
    "repeat with new dimensions": (lambda x: x.repeat(2, 1, 1, 1).sum(0), SIGNAL, (1,), None),
    "tile": (lambda x: x.tile(2, 1, 1), MAP, (1, 1), None),
    "repeat_interleave": (
        lambda x: x.repeat_interleave(3, -1),
        SIGNAL,
        (Fraction(1, 3),),
        (((0, 72),),),
    ),
    "repeat_interleave by a tensor": (
        lambda x: x.repeat_interleave(torch.full((24,), 2), 2),
        SIGNAL,
        (Fraction(1, 2),),
        None,
    ),
    "unfold": (lambda x: x.unfold(-1, 5, 2).mean(-1), SIGNAL, (2,), (((0, 10),),)),
    "unfold of both axes": (
        lambda x: x.unfold(2, 3, 1).unfold(3, 3, 1).amax((-1, -2)),
        MAP,
        (1, 1),
        None,
    ),
    "unfold of channels": (lambda x: x.unfold(1, 2, 2).amax(-1), MAP, (1, 1), None),
    "embedding": (look_up, MAP, (1, 1), None),
    "a table": (table_index, MAP, (1, 1), None),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_moves_with_the_input_or_against_it(name: str) -> None:
    model, shape, stride, valid = GOOD[name]
    report = check(model, shape)
    against = min(stride) < 0  # as it stands: two flips in a row are tried elsewhere
    expected = Verdict.BROKEN if against else Verdict.EQUIVARIANT
    assert (report.verdict, report.reason) == (expected, ""), report.causes
    out = report.outputs[0]
    assert out.stride == stride
    if valid is not None:
        assert tuple(out.valid) == valid
    static = shiftcheck.geometry(model, content(shape)).outputs[0]
    assert (static.stride, static.period) == (out.stride, out.period)


AROUND: dict[str, tuple[Model, Verdict]] = {
    "roll": (lambda x: x.roll(5, -1), Verdict.EQUIVARIANT),
    "flip": (lambda x: x.flip(-1), Verdict.BROKEN),
    "flip twice": (lambda x: x.flip(-1).sin().flip(-1), Verdict.EQUIVARIANT),
    "one turn and a bit": (
        lambda x: x[..., [23, *range(24), 0]],
        Verdict.EQUIVARIANT,
    ),
    "two turns": (lambda x: x.repeat(1, 1, 2), Verdict.EQUIVARIANT),
    "a convolution around the seam": (
        lambda x: torch.diff(torch.diff(x[..., [23, *range(24), 0]])),
        Verdict.EQUIVARIANT,
    ),
    "every third": (lambda x: x[..., ::3].roll(2, -1), Verdict.EQUIVARIANT),
    "twice each": (lambda x: x.repeat_interleave(2, -1).roll(3, -1), Verdict.EQUIVARIANT),
    "a turn too short": (lambda x: x[..., :20].roll(3, -1), Verdict.BROKEN),
    "mirrored at the end": (lambda x: x[..., [*range(24), 23, 22]], Verdict.BROKEN),
    "permuted": (lambda x: x[..., PERMUTATION], Verdict.BROKEN),
    "every fifth of 24": (lambda x: x[..., list(range(0, 24, 5))], Verdict.BROKEN),
}


@pytest.mark.parametrize("name", AROUND)
def test_around_a_circle(name: str) -> None:
    model, verdict = AROUND[name]
    report = check(model, SIGNAL, boundary="circular")
    assert report.verdict is verdict, report.causes


BROKEN: dict[str, tuple[Model, tuple[int, ...], str]] = {
    "a permutation": (lambda x: x[..., PERMUTATION], SIGNAL, "INDEX"),
    "one sample": (lambda x: x[..., [7]] + 0 * x, SIGNAL, "INDEX"),
    "a flip added": (lambda x: x + x.flip(-1), SIGNAL, "INDEX"),
    "one sample added to all": (lambda x: x + x[..., 7:8], SIGNAL, "INDEX"),
    "other indices for each place": (
        lambda x: x.gather(1, torch.arange(24).remainder(4).expand(2, 4, -1)),
        SIGNAL,
        "POSITION",
    ),
    "indices that depend on the input": (
        lambda x: x.gather(-1, x.argsort(-1)),
        SIGNAL,
        "UNSUPPORTED_OP",
    ),
    "random indices": (lambda x: x[..., torch.randperm(24)], SIGNAL, "UNSUPPORTED_OP"),
    "random channels": (lambda x: x[:, torch.randperm(4)], SIGNAL, "STOCHASTIC"),
    "a roll of everything": (lambda x: x.roll(3), SIGNAL, "UNSUPPORTED_OP"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_move(name: str) -> None:
    model, shape, kind = BROKEN[name]
    report = check(model, shape)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert kind in {cause.kind for cause in report.causes}


@pytest.mark.parametrize("name", ["a flip added", "one sample added to all", "a permutation"])
def test_what_is_taken_from_elsewhere_is_broken(name: str) -> None:
    assert check(BROKEN[name][0], SIGNAL).verdict is Verdict.BROKEN


def test_a_sample_for_all_of_one_axis_leaves_the_other() -> None:
    x = torch.randn(1, 2, 12, 14, generator=torch.Generator().manual_seed(1))
    report = shiftcheck.check_equivariance(lambda x: x * x[..., :1], x, shifts=[(1, 0), (-3, 0)])
    assert report.verdict is Verdict.EQUIVARIANT
    report = shiftcheck.check_equivariance(lambda x: x * x[..., :1], x, shifts=[(0, 1)])
    assert report.verdict is Verdict.BROKEN


def test_held_samples_have_the_period_of_what_they_hold() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool1d(x, 2).repeat_interleave(2, -1)

    assert check(model, SIGNAL, shifts=[(2,), (-4,)]).verdict is Verdict.EQUIVARIANT
    report = check(model, SIGNAL)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.period) == ("STRIDE", 2)


@pytest.mark.parametrize("dim", [0, -3])
def test_the_batch_is_not_permuted_unnoticed(dim: int) -> None:
    report = check(lambda x: x.flip(dim), SIGNAL)
    assert report.verdict is Verdict.EQUIVARIANT
    assert any("one at a time" in note for note in report.notes)


def test_indices_that_are_written_into_are_known_in_a_pass_without_values() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(24)
        places[3] = 20
        return x[..., places]

    out = shiftcheck.geometry(model, content(SIGNAL)).outputs[0]
    assert (out.valid, out.different) == ((((0, 3), (4, 24)),), (((3, 4),),))
    assert check(model, SIGNAL).verdict is Verdict.BROKEN


def test_indices_that_the_input_was_written_into_are_not_known() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(24)
        places[:2] = x[0, 0, :2].long().clamp(0, 23)
        return x[..., places]

    report = check(model, SIGNAL)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")


def test_indices_whose_values_are_not_known_are_not_taken_for_older_ones() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(24)
        places[:6] = torch.zeros_like(x)[0, 0, :6].long() + 20
        return x[..., places]

    assert shiftcheck.geometry(model, content(SIGNAL)).outputs[0].stride == (None,)
    report = check(model, SIGNAL)
    assert report.outputs[0].valid == (((6, 24),),)
    assert report.verdict is Verdict.BROKEN


def test_a_gather_with_other_places_for_each_channel() -> None:
    places = torch.stack([torch.arange(24), PERMUTATION, torch.arange(24), torch.arange(24)])
    report = check(lambda x: x.gather(-1, places.expand(len(x), 4, -1)), SIGNAL)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")


def test_bags_of_different_sizes_are_not_followed() -> None:
    table = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    starts = torch.tensor([0, 3, *range(4, 40, 2)])

    def model(x: torch.Tensor) -> torch.Tensor:
        index = (x > 0).long().transpose(1, 2).reshape(-1)
        return nn.functional.embedding_bag(index, table, starts).T[None]

    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 20))
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "UNSUPPORTED_OP" in {c.kind for c in report.causes}


def test_a_gather_from_a_table_is_a_look_up_where_all_places_have_the_same() -> None:
    ids = torch.randint(0, 10, (2, 16), generator=torch.Generator().manual_seed(0))
    place = torch.randn(16, 10, generator=torch.Generator().manual_seed(1))
    same = shiftcheck.geometry(
        lambda i: torch.gather(place[:1].expand(2, -1), 1, i), ids, spatial_dims=(1,)
    ).outputs[0]
    assert (same.period, same.valid) == ((1,), (((0, 16),),))
    for table in (place, place[:4].repeat(4, 1)):
        other = shiftcheck.geometry(
            lambda i, t=table: torch.gather(t, 1, i.T).T, ids, spatial_dims=(1,)
        ).outputs[0]
        assert (other.period, other.valid) == ((None,), (None,))
