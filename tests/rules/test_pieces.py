"""Pieces of one signal that are put together: what is different, what is excused, what is valid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck

torch.manual_seed(5)
CONV, OTHER = (nn.Conv1d(1, 1, 3, padding=1) for _ in range(2))
WIDE = nn.Conv1d(1, 1, 7, padding=3)
PLANE = nn.Conv2d(1, 1, 3, padding=1)
N = 64


def line():
    return torch.randn(1, 1, N, generator=torch.Generator().manual_seed(1))


def plane():
    return torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(1))


def tiled(f, pieces=4):
    return lambda x: torch.cat([f(tile) for tile in x.chunk(pieces, -1)], -1)


def joined(*pieces):
    """Pieces ``(start, stop, function)`` of the signal, one after another."""
    return lambda x: torch.cat([f(x[..., a:b]) for a, b, f in pieces], -1)


def written(f, width=16):
    def model(x):
        y = torch.zeros_like(x)
        for a in range(0, x.shape[-1], width):
            y[..., a : a + width] = f(x[..., a : a + width])
        return y

    return model


def overlapping(f, halo, width=16):
    def model(x):
        parts = []
        for start in range(0, N, width):
            a, b = max(0, start - halo), min(N, start + width + halo)
            parts.append(f(x[..., a:b])[..., start - a : start - a + width])
        return torch.cat(parts, -1)

    return model


def tiles_of_the_plane(x):
    rows = [[PLANE(t) for t in row.chunk(2, -1)] for row in x.chunk(2, -2)]
    return torch.cat([torch.cat(row, -1) for row in rows], -2)


def tiles_written_to_the_plane(x):
    y = torch.zeros_like(x)
    for i in (0, 12):
        for j in (0, 12):
            y[..., i : i + 12, j : j + 12] = PLANE(x[..., i : i + 12, j : j + 12])
    return y


def same(t):
    return t


def columns(*order):
    return lambda x: x[..., list(order)]


EXCHANGED = [*range(20), 21, 20, *range(22, N)]
BROKEN = {
    "a half negated": joined((0, 40, same), (40, N, torch.neg)),
    "a third negated": joined((0, 20, same), (20, 40, torch.neg), (40, N, same)),
    "a half scaled": joined((0, 30, lambda t: 2 * t), (30, N, same)),
    "tiles": tiled(CONV),
    "two tiles of a wide kernel": tiled(WIDE, 2),
    "tiles with too small an overlap": overlapping(WIDE, 2),
    "tiles written": written(CONV),
    "two experts": joined((0, 32, CONV), (32, N, OTHER)),
    "three experts": joined((0, 20, CONV), (20, 40, OTHER), (40, N, CONV)),
    "a part flipped": joined((0, 20, lambda t: t.flip(-1)), (20, N, same)),
    "a part pooled": joined((0, 32, lambda t: F.avg_pool1d(t, 2)), (32, N, same)),
    "a part rolled": joined((0, 20, lambda t: t.roll(1, -1)), (20, N, same)),
    "columns exchanged": columns(*EXCHANGED),
    "a column left out": columns(*range(20), *range(21, N)),
    "a column twice": columns(*range(20), 19, *range(20, N)),
    "something put between": lambda x: torch.cat(
        [x[..., :30], torch.zeros_like(x[..., :4]), x[..., 30:]], -1
    ),
    "a middle left out": joined((0, 20, CONV), (30, N, CONV)),
    "halves exchanged": joined((40, N, CONV), (0, 40, CONV)),
    "resized chunk by chunk": tiled(lambda t: F.interpolate(t, scale_factor=2.0, mode="linear")),
    "pooled chunk by chunk": tiled(lambda t: F.max_pool1d(t, 3, 1, 1)),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("shifts", [None, [(1,)], [(-3,), (5,)]], ids=["chosen", "one", "two"])
def test_pieces_of_another_law_are_a_break(name, shifts):
    report = shiftcheck.check_equivariance(BROKEN[name], line(), shifts=shifts)
    assert report.verdict is shiftcheck.Verdict.BROKEN, report
    assert report.guilty.kind == "INDEX"
    assert any(report.outputs[0].different)


@pytest.mark.parametrize("model", [tiles_of_the_plane, tiles_written_to_the_plane])
def test_tiles_of_a_plane_are_a_break(model):
    report = shiftcheck.check_equivariance(model, plane())
    assert report.verdict is shiftcheck.Verdict.BROKEN, report
    assert report.guilty.kind == "INDEX"


@pytest.mark.parametrize("name", ["a half negated", "tiles", "columns exchanged"])
def test_no_other_check_takes_them_for_one_law(name):
    with pytest.raises(shiftcheck.ShiftcheckError):
        shiftcheck.as_convolution(BROKEN[name], line())
    metrics = shiftcheck.equivariance_metrics(BROKEN[name], line(), shifts=[(3,)])
    assert all(m.psnr is not None and m.psnr < 60 for m in metrics)


KEPT = {
    "a pad of zeros": (lambda x: torch.cat([torch.zeros_like(x[..., :3]), x], -1), 3, 67),
    "a mirrored pad": (lambda x: torch.cat([x[..., 1:4].flip(-1), x], -1), 3, 67),
    "a mirrored pad of a layer": (lambda x: _mirrored(CONV(x)), 4, 66),
    "a repeated edge": (lambda x: x[..., [0, 0, 0, *range(N)]], 3, 67),
    "a roll": (lambda x: x.roll(3, -1), 3, N),
    "a roll by two pieces": (lambda x: torch.cat([x[..., -3:], x[..., :-3]], -1), 3, N),
    "a roll of what was cropped": (lambda x: x[..., 5:35].roll(3, -1), 3, 30),
    "a crop that is padded": (lambda x: F.pad(x[..., 5:35], (5, 5)), 5, 35),
    "a crop that is padded, then convolved": (lambda x: CONV(F.pad(x[..., 5:35], (5, 5))), 6, 34),
    "a crop with its own edge": (lambda x: _mirrored(x[..., 5:35]), 3, 33),
    "a crop of halves": (lambda x: BROKEN["a half negated"](x)[..., :36], 0, 36),
    "tiles that overlap": (overlapping(WIDE, 3), 3, 61),
    "tiles that overlap more": (overlapping(WIDE, 5), 3, 61),
    "tiles of no halo": (tiled(torch.relu), 0, N),
    "tiles of two layers": (overlapping(lambda t: CONV(torch.tanh(WIDE(t))), 4), 4, 60),
    "tiles with a residual": (overlapping(lambda t: t + CONV(t), 1), 1, 63),
}


def _mirrored(t):
    return torch.cat([t[..., 1:4].flip(-1), t], -1)


@pytest.mark.parametrize("name", KEPT)
def test_what_looks_beyond_an_edge_is_excused(name):
    model, start, stop = KEPT[name]
    report = shiftcheck.assert_equivariant(model, line())
    assert report.outputs[0].valid == (((start, stop),),)
    assert report.outputs[0].different == ((),)


def test_tiles_of_a_coarse_layer_must_start_on_its_grid():
    pool = nn.Sequential(nn.MaxPool1d(2), nn.Upsample(scale_factor=2))
    on, off = (
        tiled(pool),
        joined((0, 15, lambda t: pool(F.pad(t, (0, 1)))[..., :-1]), (15, N, pool)),
    )
    on_it = shiftcheck.check_equivariance(on, line(), shifts=[(2,), (-4,)])
    assert on_it.verdict is shiftcheck.Verdict.EQUIVARIANT
    off_it = shiftcheck.check_equivariance(off, line()[..., :63], shifts=[(2,), (-4,)])
    assert off_it.verdict is shiftcheck.Verdict.BROKEN


def test_experts_that_are_alike_cannot_be_told():
    """The rules do not compare weights: no gap, and no promise either."""
    twin = nn.Conv1d(1, 1, 1)
    twin.load_state_dict(same_state := nn.Conv1d(1, 1, 1).state_dict())
    other = nn.Conv1d(1, 1, 1)
    other.load_state_dict(same_state)
    report = shiftcheck.check_equivariance(joined((0, 32, twin), (32, N, other)), line())
    assert report.verdict is shiftcheck.Verdict.INCONCLUSIVE
    assert report.reason == "within noise of a break"


def test_channels_that_see_different_pieces_never_pass_for_one():
    def model(x):
        stacked = 2 * torch.stack([x[..., 16 * i : 16 * i + 16] for i in range(4)], 1)
        return torch.cat([stacked[:, i] * (1 - 2 * (i % 2)) for i in range(4)], -1)

    report = shiftcheck.check_equivariance(model, line())
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT


def test_an_axis_that_does_not_move_needs_no_law():
    def rows(x):
        return torch.cat([x[..., :10, :], -x[..., 10:, :]], -2)

    shiftcheck.assert_equivariant(rows, plane(), shifts=[(0, 3)])
    down = shiftcheck.check_equivariance(rows, plane(), shifts=[(3, 0)])
    assert down.verdict is shiftcheck.Verdict.BROKEN
