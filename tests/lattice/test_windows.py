"""Axes that are split: windows, phases among the channels, and what a row says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import input_axis
from shiftcheck.lattice.factors import Factor
from shiftcheck.lattice.layout import Layout
from shiftcheck.lattice.windows import settled
from shiftcheck.report.equivariance import LayerResult

Model = Callable[[torch.Tensor], torch.Tensor]


def seeded(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def phases(x: torch.Tensor, width: int = 2) -> torch.Tensor:
    """The samples of each window as channels: stride ``width``."""
    return x.unflatten(-1, (-1, width)).movedim(-1, 2).flatten(1, 2)


def restored(c: torch.Tensor, width: int = 2) -> torch.Tensor:
    return c.unflatten(1, (-1, width)).movedim(2, -1).flatten(-2)


def beside_itself(c: torch.Tensor) -> torch.Tensor:
    return torch.stack([c, c.relu()], -1).flatten(-2)


KERNEL = seeded(8, 8, 3)
SPLIT: dict[str, tuple[Model, Fraction, int]] = {
    "stacked": (lambda x: beside_itself(phases(x)), Fraction(1), 2),
    "stacked three times": (
        lambda x: torch.stack([phases(x), phases(x).sin(), phases(x) - 1], -1).flatten(-2),
        Fraction(2, 3),
        2,
    ),
    "stacked, then pooled": (lambda x: F.max_pool1d(beside_itself(phases(x)), 2), Fraction(2), 2),
    "stacked windows of three": (lambda x: beside_itself(phases(x, 3)), Fraction(3, 2), 3),
    "pooled among the channels": (lambda x: F.avg_pool1d(phases(x), 2), Fraction(4), 4),
    "padded": (lambda x: F.pad(phases(x), (1, 1)), Fraction(2), 2),
    "resized": (lambda x: F.interpolate(phases(x), scale_factor=2.0), Fraction(1), 2),
    "a convolution": (lambda x: F.conv1d(phases(x), KERNEL, padding=1), Fraction(2), 2),
    "some windows": (lambda x: restored(phases(x)[..., 1:-2]), Fraction(1), 2),
    "every second window": (lambda x: phases(x)[..., ::2], Fraction(4), 4),
    "windows rolled": (lambda x: restored(phases(x).roll(1, -1)), Fraction(1), 2),
}


def pairs_agree(model: Model, x: torch.Tensor, v: int, stride: Fraction) -> bool:
    """Whether a shift by ``v`` moves the interior of the output by ``v / stride`` samples."""
    fresh = seeded(*x.shape[:-1], v).cos()
    base, moved = model(x), model(torch.cat([fresh, x[..., :-v]], -1))
    w, edge = int(v / stride), int(8 / stride)
    here, there = moved[..., edge + w : -edge], base[..., edge : -edge - w]
    return bool((here - there).abs().max() < 1e-12)


@pytest.mark.parametrize("name", SPLIT)
def test_phases_among_the_channels(name: str) -> None:
    model, stride, period = SPLIT[name]
    x = seeded(1, 4, 48)
    out = shiftcheck.geometry(model, x).outputs[0]
    assert (out.stride, out.period) == ((stride,), (period,))
    assert out.shape == tuple(model(x).shape)
    assert out.valid[0] is not None
    assert out.valid[0][-1][1] <= out.shape[-1]
    assert pairs_agree(model, x, period, stride)
    report = shiftcheck.check_equivariance(model, x, shifts=[period, -period])
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty


def contradicting(rows: list[LayerResult]) -> Iterator[str]:
    for row in rows:
        axes = len(row.valid)
        for axis, valid in enumerate(row.valid):
            if valid and len(row.shape) == axes + 2 and valid[-1][1] > row.shape[2 + axis]:
                yield row.name


@pytest.mark.parametrize("name", SPLIT)
def test_no_row_says_more_than_its_shape_holds(name: str) -> None:
    report = shiftcheck.geometry(SPLIT[name][0], (1, 4, 48))
    assert list(contradicting([*report.layers, *report.outputs])) == []


def signal(*last: Factor) -> Layout:
    return Layout(((Factor("plain", 1),), (), last), (input_axis(12, circular=False),))


def test_a_layout_that_contradicts_its_own_shape_is_not_believed() -> None:
    inside_out = signal(Factor("plain", 2), Factor("axis", 12, axis=0))
    told = settled(inside_out)
    assert told.shape == (1, 1, 24)
    assert [(c.kind, c.axis, c.detail) for c in told.causes] == [
        ("UNSUPPORTED_OP", 0, "a dimension of 24 holds the 12 samples of an axis")
    ]
    cut = signal(Factor("axis", 6, axis=0))
    assert [c.kind for c in settled(cut).causes] == ["UNSUPPORTED_OP"]
    whole = signal(Factor("axis", 12, axis=0))
    assert settled(whole).causes == ()


def test_a_plain_factor_outside_the_axis_is_reported_as_not_followed() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: torch.stack([x, x.relu()], 2).flatten(2), seeded(1, 4, 24)
    )
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.outputs[0].stride == (None,)
    assert report.outputs[0].valid == (None,)
