"""Unfolding and folding, unpooling, grids, writes to fixed places, and layers of that kind."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], Any]
SIGNAL, MAP, VOLUME = (2, 4, 24), (2, 4, 12, 16), (1, 4, 6, 8, 8)
CIRCLE: dict[str, Any] = {"boundary": "circular"}


def content(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def check(model: Model, shape: tuple[int, ...], **options: Any) -> shiftcheck.Report:
    return shiftcheck.check_equivariance(model, content(shape), **options)


def kinds(report: shiftcheck.Report) -> set[str]:
    return {cause.kind for cause in report.causes}


def interior(model: Model, stride: int) -> None:
    """Every sample claimed to be valid has the same value amid any content on a larger canvas."""
    size, margin = 24, 4 * stride
    rows, columns = shiftcheck.geometry(model, (1, 4, size, size)).outputs[0].valid
    assert rows
    assert columns
    for amid in (1.0, 50.0):
        canvas = amid * torch.randn(1, 4, size + 2 * margin, size + 2 * margin, dtype=torch.float64)
        canvas[..., margin:-margin, margin:-margin] = content((1, 4, size, size)).double()
        large, small = model(canvas), model(canvas[..., margin:-margin, margin:-margin])
        start = margin // stride
        within = large[..., start : start + small.shape[-2], start : start + small.shape[-1]]
        for top, bottom in rows:
            for left, right in columns:
                here = (..., slice(top, bottom), slice(left, right))
                assert torch.allclose(small[here], within[here], rtol=0, atol=1e-12)


def folded(x: torch.Tensor) -> torch.Tensor:
    columns = F.unfold(x, 3, padding=1)
    return F.fold(columns.sin(), x.shape[-2:], 3, padding=1)


def matrix_convolution(x: torch.Tensor) -> torch.Tensor:
    weight = torch.linspace(-1, 1, 3 * 36).view(3, 36).to(x.dtype)
    columns = F.unfold(x, 3, padding=1)
    return (weight @ columns).view(x.shape[0], 3, *x.shape[-2:])


def strided_columns(x: torch.Tensor) -> torch.Tensor:
    h, w = x.shape[-2:]
    return F.unfold(x, (2, 3), stride=(2, 2), padding=(0, 1)).view(x.shape[0], -1, h // 2, w // 2)


def patches_and_back(x: torch.Tensor) -> torch.Tensor:
    return F.fold(F.unfold(x, 4, stride=4).softmax(1), x.shape[-2:], 4, stride=4)


@pytest.mark.parametrize("model", [folded, matrix_convolution])
def test_columns_with_stride_one(model: Model) -> None:
    report = check(model, MAP)
    assert report.verdict is Verdict.EQUIVARIANT, report.causes
    reach = 2 if model is folded else 1
    assert report.outputs[0].valid == (((reach, 12 - reach),), ((reach, 16 - reach),))
    assert report.outputs[0].halo == ((reach, reach),) * 2
    interior(model, 1)


def test_columns_with_a_stride() -> None:
    report = check(strided_columns, MAP)
    assert report.verdict is Verdict.EQUIVARIANT, report.causes
    assert report.outputs[0].stride == (2, 2)
    assert report.outputs[0].valid == (((0, 6),), ((1, 8),))
    interior(strided_columns, 2)


def test_patches_and_back_have_the_period_of_a_patch() -> None:
    report = check(patches_and_back, MAP)
    assert report.verdict is Verdict.BROKEN
    assert report.outputs[0].period == (4, 4)
    at_the_period = check(patches_and_back, MAP, shifts=[(4, 0), (0, -4)])
    assert at_the_period.verdict is Verdict.EQUIVARIANT
    assert check(patches_and_back, MAP, shifts=[(4, 0), (0, 8)], **CIRCLE).verdict is (
        Verdict.EQUIVARIANT
    )


def test_a_fold_is_not_taken_for_another_grid() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.fold(F.unfold(x, 1), (16, 12), 1)

    assert check(model, MAP).verdict is not Verdict.EQUIVARIANT


class Unpool(nn.Module):
    def __init__(self, change: Model | None = None, **options: Any) -> None:
        super().__init__()
        self.change, self.options = change, options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = self.options.get("kernel_size", 2)
        step, pad = self.options.get("stride", kernel), self.options.get("padding", 0)
        ndim = x.ndim - 2
        pool = F.max_pool2d if ndim == 2 else F.max_pool3d
        unpool = F.max_unpool2d if ndim == 2 else F.max_unpool3d
        found, indices = pool(x, kernel, step, pad, return_indices=True)  # type: ignore[operator]
        if self.change is not None:
            indices = self.change(indices)
        return unpool(found.sin(), indices, kernel, step, pad, x.shape)  # type: ignore[operator]


@pytest.mark.parametrize("shape", [MAP, VOLUME], ids=str)
def test_unpooling_with_the_indices_of_its_pool(shape: tuple[int, ...]) -> None:
    report = check(Unpool(), shape)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "STRIDE"
    ndim = len(shape) - 2
    steps = [tuple(2 * (a == b) for b in range(ndim)) for a in range(ndim)]
    for options in ({}, CIRCLE):
        assert check(Unpool(), shape, shifts=steps, **options).verdict is Verdict.EQUIVARIANT


def test_unpooling_claims_its_interior_only() -> None:
    interior_of = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), Unpool()).double()
    for parameter in interior_of.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    out = shiftcheck.geometry(interior_of, torch.zeros(1, 4, 24, 24, dtype=torch.float64)).outputs[
        0
    ]
    assert (out.stride, out.period) == ((1, 1), (2, 2))
    assert out.valid == (((2, 22),),) * 2


@pytest.mark.parametrize(
    "model",
    [
        Unpool(lambda i: i.flip(-1)),
        Unpool(lambda i: i + 0),
        Unpool(lambda i: i.clamp(max=50)),
        Unpool(kernel_size=3, stride=2, padding=1),
    ],
    ids=["flipped", "a copy", "clamped", "overlapping"],
)
def test_unpooling_with_other_indices_is_not_understood(model: Model) -> None:
    report = check(model, MAP, shifts=[(2, 0), (0, 2)])
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")


WARP = torch.rand(1, 12, 16, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


def affine(theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _warped(x: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(x, WARP.expand(len(x), -1, -1, -1), align_corners=False)


def test_grids() -> None:
    fixed = check(lambda x: _warped(x), (1, 4, 12, 16))
    assert fixed.verdict is Verdict.BROKEN
    assert fixed.guilty is not None
    assert fixed.guilty.kind == "INDEX"
    even = check(lambda x: affine(torch.eye(2, 3).expand(len(x), 2, 3), x), MAP)
    assert even.reason == "unsupported operation"

    def attends(x: torch.Tensor) -> torch.Tensor:
        return affine(x.mean((2, 3))[:, :1, None] + torch.eye(2, 3), x)

    own = check(attends, MAP)
    assert own.reason == "unsupported operation"


def test_layers_with_parametrized_weights() -> None:
    torch.manual_seed(0)
    for wrap in (parametrizations.weight_norm, parametrizations.spectral_norm):
        model = nn.Sequential(wrap(nn.Conv2d(4, 4, 3, padding=1)), nn.ReLU())  # type: ignore[operator]
        report = check(model, MAP)
        assert report.verdict is Verdict.EQUIVARIANT, report.causes
        assert report.outputs[0].halo == ((1, 1), (1, 1))


class Norm(nn.Module):
    def __init__(self, dims: tuple[int, ...], weight: torch.Tensor | None) -> None:
        super().__init__()
        self.dims = dims
        self.weight = None if weight is None else nn.Parameter(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.movedim(self.dims, tuple(range(-len(self.dims), 0)))
        shape = list(last.shape[-len(self.dims) :])
        out = F.rms_norm(last, shape, self.weight)
        return out.movedim(tuple(range(-len(self.dims), 0)), self.dims)


@pytest.mark.parametrize("shape", [SIGNAL, MAP, VOLUME], ids=str)
def test_rms_norm(shape: tuple[int, ...]) -> None:
    over_channels = Norm((1,), torch.linspace(1, 2, 4))
    assert check(over_channels, shape).verdict is Verdict.EQUIVARIANT
    along = check(Norm((len(shape) - 1,), None), shape)
    assert (along.reason, "GLOBAL" in kinds(along)) == ("no valid region", True)
    assert check(Norm((len(shape) - 1,), None), shape, **CIRCLE).verdict is Verdict.EQUIVARIANT
    everything = Norm(tuple(range(1, len(shape))), None)
    assert check(everything, shape, **CIRCLE).verdict is Verdict.EQUIVARIANT
    varying = Norm((len(shape) - 1,), torch.linspace(1, 2, shape[-1]))
    report = check(varying, shape, **CIRCLE)
    assert report.verdict is Verdict.BROKEN
    assert "POSITION" in kinds(report)


OVER_CHANNELS: dict[str, Model] = {
    "local response norm": lambda x: F.local_response_norm(x, 3),
    "channel shuffle": lambda x: F.channel_shuffle(x, 2),
    "scatter": lambda x: x.scatter(1, torch.zeros_like(x[:, :1]).long(), 1.5),
    "scatter of a signal": lambda x: torch.zeros_like(x).scatter(
        1, x.argmax(1, keepdim=True), x.amax(1, keepdim=True)
    ),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, torch.ones_like(x).long(), x),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 2]), x[:, :2]),
    "index_copy": lambda x: x.index_copy(1, torch.tensor([3, 1]), x[:, :2].relu()),
    "index_fill": lambda x: x.index_fill(1, torch.tensor([1]), 0.0),
    "index_put": lambda x: (
        x.transpose(0, 1).index_put((torch.tensor([0]),), torch.tensor(2.0)).transpose(0, 1)
    ),
    "select_scatter": lambda x: x.select_scatter(x[:, 0].relu(), 1, 2),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :2].relu(), 1, 2, 4),
    "assignment": lambda x: _assigned(x),
}


def _assigned(x: torch.Tensor) -> torch.Tensor:
    out = x.clone()
    out[:, [0, 2]] = 0.5
    return out


# torch shuffles maps only, and pools a volume that it has flattened
NOT_OF = (("channel shuffle", SIGNAL), ("local response norm", VOLUME))


@pytest.mark.parametrize(
    ("name", "shape"),
    [(n, s) for n in OVER_CHANNELS for s in (SIGNAL, MAP, VOLUME) if (n, s) not in NOT_OF],
    ids=str,
)
def test_writes_to_channels(name: str, shape: tuple[int, ...]) -> None:
    report = check(OVER_CHANNELS[name], shape)
    assert report.verdict is Verdict.EQUIVARIANT, report.causes
    valid = report.outputs[0].valid
    assert all(runs == ((0, n),) for runs, n in zip(valid, shape[2:], strict=True))


ALONG: dict[str, Model] = {
    "scatter": lambda x: x.scatter(-1, torch.zeros_like(x[..., :1]).long(), 9.0),
    "scatter that varies": lambda x: x.scatter(
        1, torch.arange(24).remainder(4).expand(len(x), 1, -1), 9.0
    ),
    "index_add": lambda x: x.index_add(-1, torch.tensor([3, 7]), x[..., :2]),
    "index_fill": lambda x: x.index_fill(2, torch.tensor([5]), 9.0),
    "index_put": lambda x: _put(x, torch.tensor([5])),
    "index_put by a mask": lambda x: _masked(x, torch.eye(4, 24, dtype=torch.bool)),
    "select_scatter": lambda x: x.select_scatter(x[..., 0] * 0, -1, 7),
    "slice_scatter": lambda x: x.slice_scatter(x[..., :3], -1, 9, 12),
    "triangle": lambda x: x.triu(),
}


def _put(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    out = x.clone()
    out[:, :, places] = 9.0
    return out


def _masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    out = x.clone()
    out[:, mask] = 9.0
    return out


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", ALONG)
def test_writes_along_an_axis(name: str, boundary: str) -> None:
    report = check(ALONG[name], SIGNAL, boundary=boundary)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert kinds(report) & {"INDEX", "POSITION"}, report.causes


def test_a_part_of_the_places_only() -> None:
    report = check(lambda x: x.scatter(1, torch.zeros(len(x), 1, 9).long(), 2.0), SIGNAL)
    assert report.verdict is not Verdict.EQUIVARIANT


def test_the_stride_of_unfolded_windows_is_a_fraction_of_what_is_put_between() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.fold(x.flatten(2).repeat(1, 4, 1), (24, 32), 2, stride=2)

    out = shiftcheck.geometry(model, MAP).outputs[0]
    assert (out.stride, out.period) == ((Fraction(1, 2),) * 2, (1, 1))
    assert check(model, MAP).verdict is Verdict.EQUIVARIANT


def test_several_values_are_not_put_anywhere() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        out[:, [0, 2]] = torch.linspace(0, 1, 24)
        return out

    report = check(model, SIGNAL)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "unsupported operation")
