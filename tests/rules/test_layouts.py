"""Axes split into windows, class tokens, and products of queries and keys.

The claims of the geometry are held against two crops of one larger canvas, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.lattice.axis import GeometryError, input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.joined import joined, pieces_in
from shiftcheck.lattice.layout import Gone, Layout, with_dims
from shiftcheck.lattice.views import regroup
from shiftcheck.lattice.windows import contracted, interleaved, settled

Model = Callable[[torch.Tensor], torch.Tensor]
WINDOW = 4
SIZE = (16, 24)


def windows(x: torch.Tensor) -> torch.Tensor:
    """[batch * windows, samples of a window, channels]."""
    n, c, h, w = x.shape
    split = x.view(n, c, h // WINDOW, WINDOW, w // WINDOW, WINDOW)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(-1, WINDOW * WINDOW, c)


def merged(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The inverse of windows."""
    n, _, h, w = like.shape
    split = t.view(n, h // WINDOW, w // WINDOW, WINDOW, WINDOW, t.shape[-1])
    return split.permute(0, 5, 1, 3, 2, 4).reshape(n, t.shape[-1], h, w)


def by_products(t: torch.Tensor, bias: torch.Tensor | float = 0.0) -> torch.Tensor:
    return (t @ t.transpose(-2, -1) + bias).softmax(-1) @ t


def fused(t: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(t[:, None], t[:, None], t[:, None])[:, 0]


def unshuffled(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return (
        x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, -1, h // 2, w // 2)
    )


def shuffled(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, h * 2, w * 2)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


BIAS = seeded(WINDOW**2, WINDOW**2)
TOKEN = nn.Parameter(seeded(1, 1, 3))
EMBED, POINT = nn.Linear(48, 8).double(), nn.Conv2d(12, 12, 1).double()
COARSE = nn.Conv2d(12, 5, 3, padding=1).double()
FINE = nn.Conv2d(3, 2, 3).double()
CHANNELS = nn.LayerNorm(3).double()


def patches(x: torch.Tensor) -> torch.Tensor:
    n, _, h, w = x.shape
    t = EMBED(windows(x).reshape(n, (h // WINDOW) * (w // WINDOW), -1))
    return t.transpose(1, 2).reshape(n, 8, h // WINDOW, w // WINDOW)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def with_token(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([TOKEN.expand(x.shape[0], -1, -1), tokens(x)], dim=1)


def as_map(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return t.transpose(1, 2).reshape(like.shape)


@dataclass(frozen=True)
class Case:
    model: Model
    stride: int
    period: int | None


CASES: dict[str, Case] = {
    "windows and back": Case(lambda x: merged(windows(x).relu(), x), 1, 1),
    "channel norm in windows": Case(lambda x: merged(CHANNELS(windows(x)), x), 1, 1),
    "window attention": Case(lambda x: merged(by_products(windows(x)), x), 1, WINDOW),
    "fused window attention": Case(lambda x: merged(fused(windows(x)), x), 1, WINDOW),
    "window attention, bias": Case(lambda x: merged(by_products(windows(x), BIAS), x), 1, WINDOW),
    "softmax in a window": Case(lambda x: merged(windows(x).softmax(1), x), 1, WINDOW),
    "mean of a window, taken off": Case(
        lambda x: merged(windows(x) - windows(x).mean(1, keepdim=True), x), 1, WINDOW
    ),
    "mean of a window": Case(
        lambda x: (
            windows(x).mean(1).view(-1, x.shape[2] // 4, x.shape[3] // 4, 3).permute(0, 3, 1, 2)
        ),
        4,
        WINDOW,
    ),
    "one place of each window": Case(
        lambda x: (
            windows(x)[:, 0].view(-1, x.shape[2] // 4, x.shape[3] // 4, 3).permute(0, 3, 1, 2)
        ),
        0,
        None,
    ),
    "one column of each window": Case(
        lambda x: x.view(*x.shape[:3], -1, WINDOW)[..., 1].repeat_interleave(1, 1), 0, WINDOW
    ),
    "patches by a view": Case(patches, 4, WINDOW),
    "windows as they are": Case(windows, 4, WINDOW),
    "samples to channels and back": Case(lambda x: shuffled(unshuffled(x)), 1, 1),
    "mixed in between": Case(lambda x: shuffled(F.relu(POINT(unshuffled(x)))), 1, 2),
    "samples to channels, convolution": Case(lambda x: COARSE(unshuffled(x)), 2, 2),
    "a shuffle, then a convolution": Case(lambda x: FINE(shuffled(POINT(unshuffled(x)))), 1, 2),
    "a shuffle, then a crop": Case(lambda x: shuffled(POINT(unshuffled(x)))[..., 3:-2, 1:], 1, 2),
    "tokens and back": Case(lambda x: as_map(CHANNELS(tokens(x)), x), 1, 1),
    "a class token set aside": Case(lambda x: as_map(with_token(x).relu()[:, 1:], x), 1, 1),
}


def crop(canvas: torch.Tensor, v: Sequence[int]) -> torch.Tensor:
    (h, w), (m, n) = SIZE, v
    return canvas[..., 8 - m : 8 - m + h, 8 - n : 8 - n + w]


def gap(case: Case, shift: tuple[int, int]) -> float:
    """The largest gap on samples that the geometry calls valid in both runs."""
    canvas = seeded(1, 3, 40, 48)
    signal = shiftcheck.geometry(case.model, crop(canvas, (0, 0))).outputs[0]
    with torch.no_grad():
        base, moved = case.model(crop(canvas, (0, 0))), case.model(crop(canvas, shift))
    steps = [int(v / s) if s else 0 for v, s in zip(shift, signal.stride, strict=True)]
    if base.ndim == 3:  # windows
        grid = [n // WINDOW for n in SIZE]
        base, moved = (t.view(*grid, -1).permute(2, 0, 1)[None] for t in (base, moved))
    here, there = [], []
    for axis, v in enumerate(steps):
        size = base.shape[2 + axis]
        valid = np.zeros(size, dtype=bool)
        for start, stop in signal.valid[axis] or ():
            valid[start:stop] = True
        p = np.arange(size)
        ok = (p - v >= 0) & (p - v < size)
        ok[ok] &= valid[p[ok]] & valid[p[ok] - v]
        here.append(torch.from_numpy(p[ok]))
        there.append(torch.from_numpy(p[ok] - v))
    assert all(len(p) for p in here)
    one = moved[:, :, here[0]][..., here[1]]
    two = base[:, :, there[0]][..., there[1]]
    return float((one - two).abs().max())


NUMERIC = [name for name, case in CASES.items() if case.stride and case.period]


@pytest.mark.parametrize("name", NUMERIC)
def test_the_claim_is_true_and_smallest(name: str) -> None:
    case = CASES[name]
    signal = shiftcheck.geometry(case.model, seeded(1, 3, *SIZE)).outputs[0]
    assert tuple(map(float, signal.stride)) == (case.stride, case.stride)
    assert signal.period == (case.period, case.period)
    assert case.period is not None
    for shift in ((case.period, 0), (0, -case.period), (-case.period, 2 * case.period)):
        assert gap(case, shift) < 1e-12
    for smaller in range(case.stride, case.period, case.stride):
        assert gap(case, (smaller, 0)) > 1e-6
        assert gap(case, (0, smaller)) > 1e-6


@pytest.mark.parametrize("name", NUMERIC)
def test_a_check_of_stacked_copies_agrees(name: str) -> None:
    case = CASES[name]
    x = seeded(2, 3, *SIZE)
    if name in ("mean of a window", "windows as they are"):
        x = x[:1]
    shifts = [(case.period or 1, 0), (0, case.period or 1)]
    report = shiftcheck.check_equivariance(case.model, x, shifts=shifts)
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert not report.notes


def test_a_place_of_each_window_along_one_axis() -> None:
    row = shiftcheck.geometry(CASES["one column of each window"].model, (1, 3, *SIZE)).outputs[0]
    assert tuple(map(float, row.stride)) == (1, 4)
    assert row.period == (1, 4)


def test_one_place_of_windows_of_two_axes_is_not_understood() -> None:
    report = shiftcheck.check_equivariance(
        CASES["one place of each window"].model, seeded(1, 3, *SIZE)
    )
    assert report.verdict is not Verdict.EQUIVARIANT


def test_the_cause_of_windows_names_them() -> None:
    model = CASES["window attention"].model
    report = shiftcheck.check_equivariance(model, seeded(1, 3, *SIZE))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("STRIDE", "matmul")
    assert report.guilty.period == WINDOW
    assert "window" in str(report)
    assert "keeps only every" not in str(report)


def attended(x: torch.Tensor) -> torch.Tensor:
    return as_map(by_products(tokens(x)), x)


def channel_attention(x: torch.Tensor) -> torch.Tensor:
    t = x.flatten(2)
    return ((t @ t.transpose(1, 2)).softmax(-1) @ t).reshape(x.shape)


def linear_attention(x: torch.Tensor) -> torch.Tensor:
    t = tokens(x)
    return as_map(t.softmax(-1) @ (t.softmax(1).transpose(1, 2) @ t), x)


def class_query(x: torch.Tensor) -> torch.Tensor:
    t = with_token(x)
    pooled = (t[:, :1] @ t.transpose(1, 2)).softmax(-1) @ t
    return x * pooled.transpose(1, 2)[..., None]


def on_a_grid(x: torch.Tensor, attention: Model = by_products) -> torch.Tensor:
    """Each sample looks at those as many windows further on, in all of the axis."""
    n, c, h, w = x.shape
    split = x.view(n, c, h // WINDOW, WINDOW, w // WINDOW, WINDOW).permute(0, 3, 5, 2, 4, 1)
    t = attention(split.reshape(n * WINDOW**2, -1, c))
    split = t.view(n, WINDOW, WINDOW, h // WINDOW, w // WINDOW, c).permute(0, 5, 3, 1, 4, 2)
    return split.reshape(x.shape)


GLOBAL: dict[str, Model] = {
    "attention on a grid": on_a_grid,
    "fused attention on a grid": lambda x: on_a_grid(x, fused),
    "attention": attended,
    "attention over channels": channel_attention,
    "linear attention": linear_attention,
    "attention with a class token": lambda x: as_map(by_products(with_token(x))[:, 1:], x),
    "a class token asks": class_query,
}


@pytest.mark.parametrize("name", GLOBAL)
def test_global_on_the_plane_and_exact_on_the_torus(name: str) -> None:
    model, x = GLOBAL[name], seeded(1, 3, 8, 12)
    plane = shiftcheck.check_equivariance(model, x)
    assert (plane.verdict, plane.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert plane.guilty is not None
    assert plane.guilty.kind == "GLOBAL"
    torus = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert torus.verdict is Verdict.EQUIVARIANT, torus.guilty


def test_a_bias_of_the_places_on_a_grid_is_a_position() -> None:
    bias = seeded(6, 6)
    report = shiftcheck.check_equivariance(
        lambda x: on_a_grid(x, lambda t: by_products(t, bias)),
        seeded(1, 3, 8, 12),
        boundary="circular",
    )
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_windows_on_a_torus_that_they_divide_or_not() -> None:
    model, x = CASES["window attention"].model, seeded(1, 3, 8, 12)
    shifts = [(WINDOW, 0), (0, WINDOW)]
    good = shiftcheck.check_equivariance(model, x, boundary="circular", shifts=shifts)
    assert good.verdict is Verdict.EQUIVARIANT
    odd = shiftcheck.check_equivariance(model, x, boundary="circular", shifts=[(1, 0)])
    assert odd.verdict is Verdict.BROKEN


def test_a_class_token_with_places_for_the_patches_alone() -> None:
    place = torch.cat([seeded(1, 1, 3), torch.zeros(1, 96, 3, dtype=torch.float64)], dim=1)

    def model(x: torch.Tensor, place: torch.Tensor = place) -> torch.Tensor:
        return as_map(by_products(with_token(x) + place)[:, 1:], x)

    x = seeded(1, 3, 8, 12)
    assert shiftcheck.check_equivariance(model, x, boundary="circular").verdict is (
        Verdict.EQUIVARIANT
    )
    every = seeded(1, 97, 3)
    broken = shiftcheck.check_equivariance(lambda x: model(x, every), x, boundary="circular")
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert broken.guilty.kind == "POSITION"


def test_a_parameter_for_each_token_that_is_uniform_now_is_latent() -> None:
    place = nn.Parameter(torch.zeros(1, 97, 3, dtype=torch.float64))
    report = shiftcheck.check_equivariance(
        lambda x: as_map((with_token(x) + place)[:, 1:], x), seeded(1, 3, 8, 12)
    )
    assert report.verdict is Verdict.EQUIVARIANT
    assert [(c.kind, c.latent) for c in report.causes] == [("POSITION", True)] * 2


def test_tokens_as_an_output_are_compared_without_the_class_token() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: by_products(with_token(x)), seeded(1, 3, 8, 12), boundary="circular"
    )
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].shape == (1, 97, 3)
    broken = shiftcheck.check_equivariance(
        lambda x: with_token(x * seeded(8, 12)), seeded(1, 3, 8, 12)
    )
    worst = broken.outputs[0].worst
    assert worst is not None
    assert 1 <= worst.worst[1] < 97  # type: ignore[index]


def test_masked_windows_are_not_valid_and_the_others_are() -> None:
    mask = torch.zeros(4, 6, 16, 16, dtype=torch.float64)
    mask[-1, :, :8, 8:] = mask[:, -1, :, :4] = -100.0

    def model(x: torch.Tensor) -> torch.Tensor:
        t = windows(x)
        scores = (t @ t.transpose(1, 2)).view(-1, 24, 16, 16) + mask.view(24, 16, 16)
        return merged(scores.view(-1, 16, 16).softmax(-1) @ t, x)

    row = shiftcheck.geometry(model, seeded(1, 3, *SIZE)).outputs[0]
    assert row.valid == (((0, 12),), ((0, 20),))
    assert row.period == (4, 4)
    for shift in ((4, 0), (0, -4)):
        assert gap(Case(model, 1, 4), shift) < 1e-12
    odd = mask.clone()
    odd[1, 2] = -100.0
    odd[1, 2, :, 0] = 0.0
    mask.copy_(odd)
    assert shiftcheck.geometry(model, seeded(1, 3, *SIZE)).outputs[0].period == (None, None)


def test_scores_alone_have_no_place() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: tokens(x) @ tokens(x).transpose(1, 2), seeded(1, 3, 8, 12), boundary="circular"
    )
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "not spatial")


def axes(*sizes: int) -> Layout:
    dims = [plain(3), *((Factor("axis", n, a),) for a, n in enumerate(sizes))]
    return Layout(tuple(dims), tuple(input_axis(n, circular=False) for n in sizes))


def test_the_outer_factor_of_a_grid_is_not_a_window() -> None:
    split = regroup(axes(12), (3, 4, 3))
    with pytest.raises(GeometryError, match="not samples of a window"):
        contracted(split, [1])
    assert contracted(split, [2]).geometry(0).stride == 3
    with pytest.raises(GeometryError, match="only a part"):
        with_dims(split, split.dims[:2])


def test_all_factors_gone_is_a_whole_axis_gone() -> None:
    assert isinstance(contracted(regroup(axes(12), (3, 4, 3)), [1, 2]).axes[0], Gone)


def test_settled_windows_are_coarse_and_merge_again() -> None:
    split = regroup(axes(12), (3, 4, 3))
    assert settled(split).geometry(0).stride == 3
    assert regroup(split, (3, 12)).geometry(0).stride == 1
    assert regroup(split, (3, 12)).dims == axes(12).dims


def test_a_coarse_axis_beside_channels_is_a_finer_one() -> None:
    signal = axes(6)
    flat = Layout((signal.dims[1] + plain(4),), signal.axes)
    fine = interleaved(flat, [0])
    assert fine.geometry(0).stride * 4 == 1
    assert fine.dims == ((Factor("axis", 24, 0),),)


def test_pieces_are_taken_whole() -> None:
    dim = joined([plain(2), (Factor("axis", 5, 0),), plain(3)])
    assert pieces_in(dim, range(2, 7)) == (Factor("axis", 5, 0),)
    assert pieces_in(dim, range(0, 2)) == plain(2)
    assert pieces_in(dim, range(1, 2)) == plain(1)
    assert pieces_in(dim, range(3, 7)) is None
    assert pieces_in(dim, range(0, 10, 2)) is None
    whole = pieces_in(dim, range(0, 7))
    assert whole is not None
    assert whole[0].size == 7
    with pytest.raises(GeometryError, match="each hold"):
        joined([(Factor("axis", 5, 0),), (Factor("axis", 5, 0),)])


MIXED = seeded(WINDOW**2, WINDOW**2)


def mixed_windows(x: torch.Tensor) -> torch.Tensor:
    """A linear map over the samples of each window, beside the windows themselves."""
    t = windows(x)
    return merged(t + (t.transpose(1, 2) @ MIXED).transpose(1, 2), x)


def test_samples_of_windows_meet_what_was_made_of_windows() -> None:
    row = shiftcheck.geometry(mixed_windows, seeded(1, 3, *SIZE)).outputs[0]
    assert (row.stride, row.period) == ((1, 1), (WINDOW, WINDOW))
    for shift in ((WINDOW, 0), (0, -WINDOW)):
        assert gap(Case(mixed_windows, 1, WINDOW), shift) < 1e-12
    assert gap(Case(mixed_windows, 1, WINDOW), (1, 0)) > 1e-6


def test_a_roll_of_two_samples_is_no_flip() -> None:
    row = shiftcheck.geometry(lambda x: x.roll(1, -1), (1, 3, 12, 2)).outputs[0]
    assert row.stride != (1, -1)
    by_hand = shiftcheck.geometry(lambda x: torch.cat([x[..., 1:], x[..., :1]], -1), (1, 3, 12, 2))
    assert by_hand.outputs[0].stride != (1, -1)
