"""Axes that are folded away and back: windows in the batch, flattened maps, single samples."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck

torch.manual_seed(3)
CONV = nn.Conv1d(4, 4, 3, padding=1).double()
POINT = nn.Conv1d(4, 4, 1).double()
PLANE = torch.randn(4, 4, 3, 3).double()
LAYERS = {
    "a convolution": CONV,
    "a pool": nn.MaxPool1d(3, 1, 1),
    "a padding that is cropped": lambda t: F.pad(t, (1, 1))[..., 2:],
    "a resampling": lambda t: F.interpolate(t, scale_factor=2.0, mode="linear"),
}


def line():
    return torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(1)).double()


def plane():
    return torch.randn(1, 4, 24, 20, generator=torch.Generator().manual_seed(1)).double()


def by_a_view(f):
    def model(x):
        b, c, n = x.shape
        y = f(x.reshape(b, c, 4, n // 4).transpose(1, 2).reshape(4 * b, c, -1))
        return y.reshape(b, 4, c, -1).transpose(1, 2).reshape(b, c, -1)

    return model


def by_sliding(f):
    def model(x):
        windows = x.unfold(-1, 16, 16).transpose(1, 2)
        y = f(windows.reshape(-1, *windows.shape[2:]))
        y = y.reshape(x.shape[0], -1, x.shape[1], y.shape[-1])
        return y.transpose(1, 2).flatten(2)

    return model


@pytest.mark.parametrize("fold", [by_a_view, by_sliding])
@pytest.mark.parametrize("name", LAYERS)
def test_windows_in_the_batch_move_by_whole_windows(name, fold):
    model = fold(LAYERS[name])
    off = shiftcheck.check_equivariance(model, line(), shifts=[(1,), (5,)])
    assert off.verdict is shiftcheck.Verdict.BROKEN
    assert off.guilty.kind == "STRIDE"
    on = shiftcheck.assert_equivariant(model, line(), shifts=[(16,), (-32,)])
    assert on.outputs[0].period == (16,)


def test_windows_of_a_plane_by_unfold_and_fold():
    def model(x):
        u = F.unfold(x, 4, stride=4).reshape(x.shape[0], 4, 4, 4, -1)
        y = F.conv2d(u.permute(0, 4, 1, 2, 3).reshape(-1, 4, 4, 4), PLANE, padding=1)
        y = y.reshape(x.shape[0], -1, 64).transpose(1, 2)
        return F.fold(y, x.shape[2:], 4, stride=4)

    assert shiftcheck.check_equivariance(model, plane()).guilty.kind == "STRIDE"
    shiftcheck.assert_equivariant(model, plane(), shifts=[(4, 0), (0, -8)])


FLATTENED = {
    "a convolution of one sample": lambda x: POINT(x.flatten(2)).reshape(x.shape),
    "the same, then one of three": lambda x: F.conv2d(POINT(x.flatten(2)).reshape(x.shape), PLANE),
    "in a rank of three": lambda x: F.conv1d(x.reshape(1, 4, -1), POINT.weight).view_as(x),
}


@pytest.mark.parametrize("name", FLATTENED)
def test_a_convolution_of_one_sample_needs_no_axis(name):
    with torch.no_grad():
        shiftcheck.assert_equivariant(FLATTENED[name], plane())


def test_a_wider_one_over_a_flattened_plane_is_not_followed():
    report = shiftcheck.check_equivariance(lambda x: CONV(x.flatten(2)).reshape(x.shape), plane())
    assert report.verdict is not shiftcheck.Verdict.EQUIVARIANT


EDGES = {
    "expanded": lambda x: torch.cat([x[..., :1].expand(-1, -1, 3), x], -1),
    "repeated": lambda x: torch.cat([x[..., :1].repeat(1, 1, 3), x], -1),
    "interleaved": lambda x: torch.cat([x[..., :1].repeat_interleave(3, -1), x], -1),
}


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_that_is_repeated_by_hand_is_padding(name):
    report = shiftcheck.assert_equivariant(EDGES[name], line())
    assert report.outputs[0].valid == (((3, 67),),)


def test_one_sample_in_the_place_of_all_is_no_shift():
    report = shiftcheck.check_equivariance(lambda x: x[..., :1].expand_as(x) + x, line())
    assert report.verdict is shiftcheck.Verdict.BROKEN
    assert report.guilty.kind == "INDEX"


def test_a_flip_of_one_row_changes_nothing():
    report = shiftcheck.assert_equivariant(
        lambda x: torch.cat([x[..., :1].flip(-1), x], -1), line()
    )
    assert report.outputs[0].valid == (((1, 65),),)
