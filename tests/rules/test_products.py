"""Products of many forms, distances, chains of types, and operations in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], Any]
MAP = (2, 4, 6, 8)
NARROW = torch.linspace(-1, 2, 12).sin().view(3, 4)
CUBE = torch.linspace(-3, 5, 48).sin().view(3, 4, 4)
RAMP = torch.linspace(0, 1, 48).view(6, 8)


def check(model: Model, shape: tuple[int, ...] = MAP, **options: Any) -> shiftcheck.Report:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(8))
    return shiftcheck.check_equivariance(model, x, **options)


def last(model: Model) -> Model:
    """The model on ``[N, H, W, C]``."""
    return lambda x: model(x.movedim(1, -1)).movedim(-1, 1)


def rows(model: Model) -> Model:
    """The model on ``[N * H * W, C]``."""
    return lambda x: model(x.movedim(1, -1).reshape(-1, 4)).reshape(len(x), 6, 8, -1).movedim(-1, 1)


GOOD: dict[str, Model] = {
    "einsum: a linear map": lambda x: torch.einsum("bchw,dc->bdhw", x, NARROW),
    "einsum: a product with a vector": lambda x: torch.einsum("bchw,c->bhw", x, NARROW[0])[:, None],
    "einsum: a sum of squares": lambda x: torch.einsum("bchw,bchw->bhw", x, x)[:, None],
    "einsum: all pairs of channels": lambda x: torch.einsum("bchw,bdhw->bcdhw", x, x).flatten(1, 2),
    "einsum: a transpose": lambda x: torch.einsum("bchw->bhwc", x),
    "einsum: heads": lambda x: torch.einsum("bchw,ndc->bndhw", x, CUBE).flatten(1, 2),
    "einsum: a sum": lambda x: torch.einsum("bchw->bhw", x)[:, None],
    "tensordot": lambda x: torch.tensordot(NARROW, x, ([1], [1])).movedim(0, 1),
    "inner": last(lambda x: torch.inner(x, NARROW)),
    "a matrix from the left": lambda x: (NARROW @ x.flatten(2)).reshape(-1, 3, 6, 8),
    "addmm": rows(lambda x: torch.addmm(torch.ones(3), x, NARROW.T)),
    "addmv": rows(lambda x: torch.addmv(torch.ones(len(x)), x, NARROW[0])),
    "cdist": lambda x: (
        torch.cdist(x.flatten(2).transpose(1, 2), NARROW).transpose(1, 2).reshape(-1, 3, 6, 8)
    ),
    "bilinear": last(lambda x: F.bilinear(x, x + 1, CUBE)),
    "cosine similarity": lambda x: F.cosine_similarity(x, x.flip(1) + 1)[:, None],
    "pairwise distance": last(lambda x: F.pairwise_distance(x, x.flip(-1) + 1)[..., None]),
    "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 1:], dim=1),
    "vecdot": lambda x: torch.linalg.vecdot(x, x.flip(1), dim=1)[:, None],
    "a chain of types and memory formats": lambda x: (
        x.double()
        .to(memory_format=torch.channels_last)
        .half()
        .float()
        .contiguous()
        .bfloat16()
        .type_as(x)
        .to(torch.float64, copy=True)
    ),
    "a checkpoint": lambda x: checkpoint(F.gelu, x, use_reentrant=False),
    "a reentrant checkpoint": lambda x: checkpoint(F.gelu, x, use_reentrant=True),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
@pytest.mark.parametrize("name", GOOD)
def test_products_over_channels(name: str) -> None:
    for options in ({}, {"boundary": "circular"}):
        report = check(GOOD[name], **options)
        assert report.verdict is Verdict.EQUIVARIANT, report.causes
        assert report.outputs[0].valid == (((0, 6),), ((0, 8),))


BROKEN: dict[str, tuple[Model, str]] = {
    "einsum with a map": (lambda x: torch.einsum("bchw,hw->bchw", x, RAMP), "POSITION"),
    "einsum over an axis": (
        lambda x: torch.einsum("bchw,wv->bchv", x, RAMP.T @ RAMP),
        "MIXING",
    ),
    "addmv with another number at each place": (
        rows(lambda x: torch.addmv(torch.arange(float(len(x))), x, NARROW[0])),
        "POSITION",
    ),
    "bilinear over an axis": (lambda x: F.bilinear(x, x, torch.ones(8, 8, 8).tril()), "MIXING"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_products_that_know_the_place(name: str) -> None:
    model, kind = BROKEN[name]
    report = check(model, (1, *MAP[1:]))
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == kind


def test_a_gate_by_einsum_is_global() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,bc->bchw", x, x.mean((2, 3)))

    assert check(model).reason == "no valid region"
    assert check(model, boundary="circular").verdict is Verdict.EQUIVARIANT


NOT_UNDERSTOOD: dict[str, Model] = {
    "a product along an axis": lambda x: torch.linalg.cross(x[..., :3], x[..., 1:4], dim=-1),
    "matrices of their own for each row": lambda x: torch.baddbmm(
        torch.zeros(1),
        x.permute(0, 2, 3, 1).flatten(0, 1),
        RAMP[:1, :4, None].expand(len(x) * 6, 4, 8),
    ),
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_not_passed(name: str) -> None:
    assert check(NOT_UNDERSTOOD[name]).verdict is Verdict.INCONCLUSIVE


IN_PLACE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu_": lambda y: y.relu_(),
    "add_": lambda y: y.add_(1),
    "mul_": lambda y: y.mul_(2),
    "sub_": lambda y: y.sub_(y * 0.5),
    "div_": lambda y: y.div_(3),
    "clamp_": lambda y: y.clamp_(-1, 1),
    "sigmoid_": lambda y: y.sigmoid_(),
    "tanh_": lambda y: y.tanh_(),
    "exp_": lambda y: y.exp_(),
    "abs_": lambda y: y.abs_(),
    "neg_": lambda y: y.neg_(),
    "pow_": lambda y: y.pow_(2),
    "gt_": lambda y: y.gt_(0.2),
    "masked_fill_": lambda y: y.masked_fill_(y > 0, 0.0),
    "lerp_": lambda y: y.lerp_(torch.ones(1), 0.3),
    "threshold_": lambda y: F.threshold_(y, 0.1, 0.0),
    "gelu_": lambda y: torch.ops.aten.gelu_(y),
    "cumsum_ over channels": lambda y: y.cumsum_(1),
    "index_fill_ of channels": lambda y: y.index_fill_(1, torch.tensor([0]), 0.0),
    "transpose_": lambda y: y.transpose_(2, 3).mul_(2).transpose_(2, 3),
    "squeeze_": lambda y: y.unsqueeze_(2).squeeze_(2),
    "nan_to_num_": lambda y: y.nan_to_num_(),
    "elu_": lambda y: F.elu_(y),
    "hardtanh_": lambda y: F.hardtanh_(y),
    "leaky_relu_": lambda y: F.leaky_relu_(y),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    report = check(lambda x: IN_PLACE[name](x.clone()))
    assert report.verdict is Verdict.EQUIVARIANT, report.causes


@pytest.mark.parametrize("name", ["random_", "normal_", "bernoulli_", "exponential_"])
def test_random_numbers_in_place(name: str) -> None:
    assert check(lambda x: getattr(x.clone(), name)()).verdict is Verdict.INCONCLUSIVE


def test_a_ramp_in_place() -> None:
    report = check(lambda x: x.clone().add_(RAMP), (1, *MAP[1:]))
    assert report.verdict is Verdict.BROKEN


def by_hand(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    out[..., 1:] = x[..., :-1]
    return out


def added_to_a_part(x: torch.Tensor) -> torch.Tensor:
    out = x.clone()
    out[..., 1:] += x[..., :-1]
    return out


def interleaved(x: torch.Tensor) -> torch.Tensor:
    out = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1])
    out[..., ::2], out[..., 1::2] = x, x.sin()
    return out


def test_a_step_aside_by_hand() -> None:
    report = check(by_hand)
    assert report.verdict is Verdict.EQUIVARIANT
    size = report.outputs[0].shape[-1]
    assert report.outputs[0].valid[-1] == ((1, size),)


def test_a_neighbour_may_be_added_by_hand() -> None:
    report = check(added_to_a_part)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].valid[-1] == ((1, report.outputs[0].shape[-1]),)


def test_writes_to_every_second_sample_are_followed() -> None:
    report = check(interleaved)
    assert report.verdict is Verdict.EQUIVARIANT


def test_weights_made_on_the_way() -> None:
    layer = nn.Conv2d(4, 4, 3)

    def model(x: torch.Tensor) -> torch.Tensor:
        weight = layer.weight / layer.weight.flatten(1).norm(dim=1)[:, None, None, None]
        return F.conv2d(x, weight)

    assert check(model).verdict is Verdict.EQUIVARIANT
