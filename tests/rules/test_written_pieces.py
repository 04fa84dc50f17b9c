"""Results that are written piece by piece."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.notes import as_mask
from shiftcheck.rules import Constant, Factor, GeometryError, Layout, find_rule

torch.manual_seed(6)
CONV = nn.Conv1d(1, 1, 3, padding=1)


def line():
    return torch.randn(1, 4, 40, generator=torch.Generator().manual_seed(2))


def shifts_of_channels(x):
    y = torch.zeros_like(x)
    y[:, :1, :-1] = x[:, :1, 1:]
    y[:, 1:2, 1:] = x[:, 1:2, :-1]
    y[:, 2:] = x[:, 2:]
    return y


def a_channel_over_a_copy(x):
    y = x.clone()
    y[:, :1, 1:] = x[:, :1, :-1]
    return y


def added_to_a_slice(x):
    y = x.clone()
    y[..., 1:] += 0.5 * x[..., :-1]
    return y


def interleaved(x):
    y = torch.empty(*x.shape[:-1], 2 * x.shape[-1])
    y[..., 0::2] = x.abs()
    y[..., 1::2] = 2 * x
    return y


def every_third(x):
    y = torch.zeros(*x.shape[:-1], 3 * x.shape[-1])
    y[..., 1::3] = x
    return y


def zeros_written_first(x):
    y = x.clone()
    y[..., :3].zero_()
    y[..., 3:] = x[..., :-3]
    return y


def filled_first(x):
    y = torch.empty_like(x)
    y[..., -2:].fill_(1.5)
    y[..., :-2] = x[..., 2:]
    return y


def filled_at_both_ends(x):
    y = x.new_empty(*x.shape[:-1], x.shape[-1] + 5)
    y[..., 0] = 7
    y[..., 1:3] = 0
    y[..., -2:].zero_()
    y[..., 3:-2] = x
    return y


def negatives_masked(x):
    y = x.clone()
    y[y < 0] = 0
    return y


def differences(x):
    y = torch.zeros_like(x)
    y[..., 1:-1] = x[..., 2:] - x[..., :-2]
    return y


def differences_with_edges(x):
    y = differences(x)
    y[..., 0] = x[..., 1] - x[..., 0]
    y[..., -1] = x[..., -1] - x[..., -2]
    return y


def scattered(x):
    y = torch.slice_scatter(torch.zeros_like(x), x[..., :-2], -1, 2, x.shape[-1])
    return torch.select_scatter(y, x[..., 0], -1, 0)


KEPT = {
    shifts_of_channels: (1, 39),
    a_channel_over_a_copy: (1, 40),
    added_to_a_slice: (1, 40),
    interleaved: (0, 80),
    every_third: (0, 120),
    zeros_written_first: (3, 40),
    filled_first: (0, 38),
    filled_at_both_ends: (3, 43),
    negatives_masked: (0, 40),
    differences: (1, 39),
    differences_with_edges: (1, 39),
    scattered: (2, 40),
}


@pytest.mark.parametrize("model", KEPT, ids=lambda f: f.__name__)
def test_a_law_that_is_written_by_hand_is_known(model):
    report = shiftcheck.assert_equivariant(model, line())
    assert report.outputs[0].valid == ((KEPT[model],),)
    assert report.outputs[0].different == ((),)


@pytest.mark.parametrize("model", KEPT, ids=lambda f: f.__name__)
def test_the_valid_samples_are_those_of_a_larger_canvas(model):
    x = line()
    wide = torch.cat([torch.randn_like(x), x, torch.randn_like(x)], -1)
    alone, amid = model(x), model(wide)
    start, stop = KEPT[model]
    size = alone.shape[-1] // 40 * 40
    inside = amid[..., size + start : size + stop]
    assert alone[..., start:stop].dtype == inside.dtype
    assert torch.allclose(alone[..., start:stop], inside)


def a_patch_negated(x):
    y = x.clone()
    y[..., 10:14] = -x[..., 10:14]
    return y


def a_sample_zeroed(x):
    y = x.clone()
    y[..., 7] = 0
    return y


def an_edge_zeroed(x):
    y = x.clone()
    y[..., 0] = 0
    return y


def a_sample_moved(x):
    y = x.clone()
    y[..., 7] = x[..., 20]
    return y


def every_third_negated(x):
    y = x.clone()
    y[..., 0:39:3] = -x[..., 0:39:3]
    return y


def tiles(x):
    y = torch.empty_like(x)
    for a in range(0, 40, 10):
        y[..., a : a + 10] = CONV(x[:, :1, a : a + 10])
    return y


def filled_in_the_middle(x):
    y = torch.zeros_like(x)
    y[..., :20] = x[..., :20]
    y[..., 24:] = x[..., 24:]
    return y


BROKEN = {
    filled_in_the_middle: "POSITION",
    a_patch_negated: "POSITION",
    a_sample_zeroed: "POSITION",
    an_edge_zeroed: "POSITION",
    a_sample_moved: "INDEX",
    tiles: "INDEX",
}


@pytest.mark.parametrize("model", BROKEN, ids=lambda f: f.__name__)
def test_what_is_written_at_a_fixed_place_is_a_break(model):
    report = shiftcheck.check_equivariance(model, line())
    assert report.verdict is shiftcheck.Verdict.BROKEN, report
    assert report.guilty.kind == BROKEN[model]


def test_a_write_at_every_third_sample_is_no_pass():
    report = shiftcheck.check_equivariance(every_third_negated, line())
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT


def test_whole_numbers_are_no_mask():
    rule = find_rule("aten::index_put", "default")
    row = Layout(((Factor("axis", 16, axis=0),),), (input_axis(16, circular=False),))
    zero = Constant((), lambda *_: 1)
    assert rule(row, [as_mask(row)], zero).geometry(0).valid.all()
    with pytest.raises(GeometryError):
        rule(row, [row], zero)


def test_many_pieces_are_not_followed():
    def model(x):
        y = torch.zeros_like(x)
        for i in range(2 * 40):
            y[..., i % 40 : i % 40 + 1] = x[..., i % 40 : i % 40 + 1]
        return y

    report = shiftcheck.check_equivariance(model, line())
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT


@pytest.mark.parametrize(
    ("wrote", "verdict", "period"),
    [
        (lambda y: y[..., ::2].zero_(), "broken", 2),
        (lambda y: y[..., 1::4].fill_(3.0), "broken", 4),
        (lambda y: (y[..., ::2].zero_(), y[..., 1::2].mul_(2)), "broken", 2),
        (lambda y: (y[..., ::2].zero_(), y[..., 1::2].fill_(3.0)), "inconclusive", None),
        (lambda y: y[:, ::2].zero_(), "equivariant", 1),
    ],
)
def test_a_constant_over_every_so_many_samples(wrote, verdict, period):
    def model(x):
        y = x * 1
        wrote(y)
        return y

    report = shiftcheck.check_equivariance(model, line())
    assert str(report.verdict) == verdict
    assert report.outputs[0].period == (period,)
