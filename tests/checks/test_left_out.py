"""Every output counts: one whose axes were reduced is left out only where no place is special."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict

Change = Callable[[torch.Tensor], torch.Tensor]

CONV = nn.Conv2d(4, 4, 3, padding=1)
RAMP = torch.linspace(0, 1, 24)
FIRST = (torch.arange(24) < 10).float()
TABLE = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(5))
LINEAR = nn.Linear(24, 3)
LSTM = nn.LSTM(4, 5, batch_first=True)
BOTH_WAYS = nn.GRU(4, 5, batch_first=True, bidirectional=True)


def image() -> torch.Tensor:
    return torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(3))


def beside_a_map(change: Change, **options: Any) -> Report:
    """The check of a convolution, and of something else beside it."""
    return shiftcheck.check_equivariance(lambda x: (CONV(x), change(x)), image(), **options)


def chances(x: torch.Tensor) -> torch.Tensor:
    return CONV(x).flatten(2).softmax(-1)


def one_row_written(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[..., 3] = 0
    return y.mean((2, 3))


TIED: dict[str, tuple[Change, str]] = {
    "weighted by the place": (lambda x: (x * RAMP).sum((2, 3)), "POSITION"),
    "the place added": (lambda x: (x + RAMP).relu().mean((2, 3)), "POSITION"),
    "a table added": (lambda x: (x + TABLE).relu().amax((2, 3)), "POSITION"),
    "a part of the places": (lambda x: (x * FIRST).sum((2, 3)), "POSITION"),
    "a gate by the place": (
        lambda x: (x * (x * RAMP).mean((2, 3), keepdim=True)).mean((2, 3)), "POSITION",
    ),
    "a grid as a channel": (
        lambda x: torch.cat([x, RAMP.expand(len(x), 1, 24, 24)], 1).prod(1).mean((1, 2)),
        "POSITION",
    ),
    "one row written": (one_row_written, "POSITION"),
    "soft argmax": (lambda x: (chances(x) * torch.linspace(0, 1, 576)).sum(-1), "POSITION"),
    "soft argmax of the columns": (
        lambda x: (chances(x).view(x.shape).sum(2) * RAMP).sum(-1), "POSITION",
    ),
    "soft argmax as a product": (lambda x: chances(x).view(x.shape).sum(2) @ RAMP, "MIXING"),
    "einsum": (lambda x: torch.einsum("nchw,w->nch", x, RAMP).mean(-1), "MIXING"),
    "a linear layer": (lambda x: LINEAR(x).mean((2, 3)), "MIXING"),
    "argmax": (lambda x: x.flatten(2).argmax(-1), "INDEX"),
    "where the largest is": (lambda x: x.flatten(2).max(-1).indices, "INDEX"),
    "one sample": (lambda x: x[..., 5, 5], "INDEX"),
    "one sample, as a slice": (lambda x: x[..., 5:6, 5:6].mean((2, 3)), ""),
    "one sample, squeezed": (lambda x: x[..., 5:6, 5:6].squeeze(-1).squeeze(-1), ""),
    "a part of the image": (lambda x: x[..., :10].mean((2, 3)), ""),
    "a gate by a part": (lambda x: (x * x[..., :5].mean((2, 3), keepdim=True)).mean((2, 3)), ""),
    "two pieces": (lambda x: torch.cat([x[..., :9], -x[..., 9:]], -1).mean((2, 3)), ""),
    "two pieces, normalised": (
        lambda x: F.instance_norm(torch.cat([x[..., :9], 2 * x[..., 9:]], -1)).amax((2, 3)), "",
    ),
    "a running sum": (lambda x: x.cumsum(-1).mean((2, 3)), ""),
    "the last state": (lambda x: LSTM(x.mean(2).transpose(1, 2))[1][0], ""),
    "all states": (lambda x: LSTM(x.mean(2).transpose(1, 2))[0].mean(1), ""),
    "states of both ways": (lambda x: BOTH_WAYS(x.mean(2).transpose(1, 2))[0].mean(1), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TIED)
def test_an_output_that_tells_places_apart_does_not_pass(name: str) -> None:
    change, kind = TIED[name]
    report = beside_a_map(change)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "not spatial")
    assert "output[1]" in str(report)
    assert not kind or (report.guilty is not None and report.guilty.kind == kind)
    assert "outputs=['output[0]']" in str(report)
    chosen = beside_a_map(change, outputs=["output[0]"])
    assert chosen.verdict is Verdict.EQUIVARIANT


ALIKE: dict[str, Change] = {
    "mean": lambda x: CONV(x).mean((2, 3)),
    "mean of all": lambda x: CONV(x).sin().mean((1, 2, 3)),
    "the largest": lambda x: CONV(x).relu().amax((2, 3)),
    "spread": lambda x: CONV(x).std((2, 3)),
    "norm": lambda x: x.flatten(1).norm(dim=1),
    "pooled, and a head": lambda x: F.adaptive_avg_pool2d(CONV(x), 1).flatten(1) @ torch.ones(4, 3),
    "gated": lambda x: (x * CONV(x).mean((2, 3), keepdim=True).sigmoid()).sum((2, 3)),
    "normalised": lambda x: F.instance_norm(x).abs().mean((2, 3)),
    "weighted by itself": lambda x: (x * chances(x).view(x.shape)).sum((2, 3)),
    "total variation": lambda x: (x[..., 1:] - x[..., :-1]).abs().mean((2, 3)),
    "without padding": lambda x: F.avg_pool2d(x, 5, stride=1).mean((2, 3)),
    "the valid part": lambda x: CONV(CONV(x))[..., 2:-2].mean((2, 3)),
    "with padding": lambda x: F.pad(x, (5, 5, 5, 5)).mean((2, 3)),
    "finer": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear").mean((2, 3)),
    "flipped": lambda x: CONV(x).flip(-1).mean((2, 3)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_symmetric_reduction_of_a_map_is_left_out_and_named(name: str) -> None:
    report = beside_a_map(ALIKE[name])
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[1].reduced
    assert "left out: output 'output[1]'" in str(report)


def test_off_the_lattice_of_what_was_reduced_it_counts() -> None:
    def pooled(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(CONV(x), 2).mean((2, 3))

    report = beside_a_map(pooled)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.period) == ("STRIDE", 2)
    assert "remedy: shift by multiples of 2 pixels" in str(report)
    on_it = beside_a_map(pooled, shifts=[(2, 0), (0, -4)])
    assert on_it.verdict is Verdict.EQUIVARIANT


@pytest.mark.parametrize(("mode", "verdict"), [("circular", "equivariant"), ("zeros", "broken")])
def test_on_a_circle_every_sample_belongs_to_it(mode: Any, verdict: str) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode)
    options = {"boundary": "circular"}
    report = shiftcheck.check_equivariance(
        lambda x: (conv(x), conv(x).mean((2, 3))), image(), **options
    )
    assert report.verdict == verdict
    part = shiftcheck.check_equivariance(
        lambda x: (x.exp(), conv(x).mean((2, 3))), image(), **options
    )
    whole = "equivariant" if mode == "circular" else "inconclusive"
    assert part.verdict == whole


def test_what_does_not_depend_on_the_input_is_named() -> None:
    small = beside_a_map(lambda x: torch.ones(3))
    assert small.verdict is Verdict.EQUIVARIANT
    assert "left out: 'output[1]' [3] does not depend on the input" in str(small)
    large = beside_a_map(lambda x: torch.ones(1, 4, 24, 24))
    assert (large.verdict, large.reason) == (Verdict.INCONCLUSIVE, "output ignores the input")


def test_what_is_left_out_decides_nothing() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return CONV(x).mean((2, 3)), CONV(x), (x * RAMP).sum((2, 3))

    report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"
    assert "output 'output[2]' [1, 4]" in str(report)


@torch.library.custom_op("left_out::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@doubled.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def test_what_was_only_measured_shows_nothing() -> None:
    assert beside_a_map(lambda x: doubled(x).sin()).verdict is Verdict.EQUIVARIANT
    report = beside_a_map(lambda x: doubled(x).mean((2, 3)))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "not spatial")
