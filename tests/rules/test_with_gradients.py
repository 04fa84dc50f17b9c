"""The vocabulary of torch outside inference mode: other operations, the same geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(8))


BIAS = seeded(48, 48)
HEADS = nn.MultiheadAttention(4, 2, batch_first=True).eval()
NORM = nn.BatchNorm2d(4).eval()


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def back(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return t.transpose(1, 2).reshape(x.shape)


def attended(x: torch.Tensor, **options: Any) -> torch.Tensor:
    t = tokens(x)[:, None]
    return back(F.scaled_dot_product_attention(t, t, t, **options)[:, 0], x)


def heads(x: torch.Tensor, weights: bool = False) -> torch.Tensor:
    t = tokens(x)
    return back(HEADS(t, t, t, need_weights=weights)[0], x)


def in_windows(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    t = x.view(n, c, h, w // 4, 4).permute(0, 2, 3, 4, 1)
    out = F.scaled_dot_product_attention(t, t, t, is_causal=True)
    return out.permute(0, 4, 1, 2, 3).reshape(x.shape)


def recurrent(layer: nn.RNNBase) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        rows = x.permute(0, 2, 3, 1).flatten(0, 1)
        out = layer(rows)[0]
        return out.unflatten(0, (-1, x.shape[2])).permute(0, 3, 1, 2)

    return model


def circular(dims: int) -> nn.Module:
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return kind(4, 3, 5, padding=2, padding_mode="circular")  # type: ignore[no-any-return]


LAYERS: dict[str, Model] = {
    "attention": attended,
    "attention with a bias": lambda x: attended(x, attn_mask=BIAS),
    "causal attention in windows": in_windows,
    "heads": heads,
    "heads with their weights": lambda x: heads(x, True),
    "group norm": nn.GroupNorm(2, 4),
    "layer norm": nn.LayerNorm([4, 6, 8]),
    "channel norm": lambda x: F.layer_norm(x.movedim(1, -1), [4]).movedim(-1, 1),
    "batch norm": NORM,
    "instance norm": nn.InstanceNorm2d(4),
    "root mean square norm": lambda x: F.rms_norm(x.movedim(1, -1), [4]).movedim(-1, 1),
    "variance": lambda x: x / (x.var((-2, -1), keepdim=True) + 1),
    "log of a sum": lambda x: x - x.logsumexp((-2, -1), keepdim=True),
    "unit length": lambda x: F.normalize(x.flatten(2), dim=2).view(x.shape),
    "circular padding": circular(2),
    "zero padding": nn.Conv2d(4, 3, 3, padding=1),
    "reflected padding": nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
    "upsampling": nn.Upsample(scale_factor=2, mode="bilinear"),
    "transposed convolution": nn.ConvTranspose2d(4, 3, 3, stride=2),
    "max pool": nn.MaxPool2d(2),
    "average pool": nn.AvgPool2d(3, 1, 1),
    "LSTM": recurrent(nn.LSTM(4, 5, 2, batch_first=True)),
    "LSTM in both directions": recurrent(nn.LSTM(4, 5, batch_first=True, bidirectional=True)),
}


def with_gradients(layer: Model) -> Model:
    def model(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return layer(x.clone())

    return model


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_same_geometry_and_verdict(name: str, boundary: str) -> None:
    x = seeded(1, 4, 6, 8)
    one = shiftcheck.check_equivariance(LAYERS[name], x, boundary=boundary)
    two = shiftcheck.check_equivariance(with_gradients(LAYERS[name]), x, boundary=boundary)
    assert (one.verdict, one.reason) == (two.verdict, two.reason), two.guilty
    assert one.reason != "unsupported operation"
    for field in ("stride", "period", "halo", "valid"):
        assert getattr(one.outputs[0], field) == getattr(two.outputs[0], field)


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("change", [lambda layer: layer, with_gradients])
def test_causal_attention_over_the_axes_never_passes(
    change: Callable[[Model], Model], boundary: str
) -> None:
    model = change(lambda x: attended(x, is_causal=True))
    report = shiftcheck.check_equivariance(model, seeded(1, 4, 6, 8), boundary=boundary)
    assert report.verdict is (Verdict.INCONCLUSIVE if boundary == "valid" else Verdict.BROKEN)
    assert report.reason in ("", "no valid region")


def test_causal_attention_in_windows_has_their_period() -> None:
    row = shiftcheck.geometry(in_windows, seeded(1, 4, 6, 8)).outputs[0]
    assert row.period == (1, 4)
    shiftcheck.assert_equivariant(in_windows, seeded(1, 4, 6, 8), shifts=[(0, 4), (1, 0)])


def test_a_recurrent_layer_made_of_writes_is_not_understood() -> None:
    model = with_gradients(recurrent(nn.GRU(4, 5, batch_first=True)))
    report = shiftcheck.check_equivariance(model, seeded(1, 4, 6, 8))
    assert report.reason == "unsupported operation"


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_circular_padding_keeps_the_circle(dims: int) -> None:
    x = seeded(1, 4, *(7, 6, 8)[:dims])
    report = shiftcheck.check_equivariance(with_gradients(circular(dims)), x, boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert not report.causes


def test_statistics_of_a_batch_norm_in_training_are_put_back() -> None:
    norm = nn.BatchNorm2d(4).train()
    model = nn.Sequential(norm)
    model.forward = with_gradients(norm)  # type: ignore[method-assign]
    shiftcheck.check_equivariance(model, seeded(3, 4, 6, 8), training=True)
    assert norm.running_mean is not None
    assert not norm.running_mean.any()


@pytest.mark.parametrize("at", ["wrong edge", "half a turn"])
def test_a_ring_that_is_closed_with_other_samples(at: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        size = x.shape[-1]
        ring = x.new_empty(*x.shape[:-1], size + 2)
        ring[..., 1:-1] = x
        ring[..., :1] = (
            ring[..., 1:2] if at == "wrong edge" else ring[..., size // 2 : size // 2 + 1]
        )
        ring[..., -1:] = ring[..., 1:2]
        return F.avg_pool2d(ring, (1, 3), 1)

    report = shiftcheck.check_equivariance(model, seeded(1, 4, 6, 8), boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT


def test_a_ring_that_is_closed_with_samples_of_another() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        ring = x.new_zeros(*x.shape[:-1], x.shape[-1] + 2)
        ring[..., 1:-1] = x
        other = ring.clone().mul_(2)
        ring[..., :1] = other[..., -2:-1]
        ring[..., -1:] = other[..., 1:2]
        return F.avg_pool2d(ring, (1, 3), 1)

    report = shiftcheck.check_equivariance(model, seeded(1, 4, 6, 8), boundary="circular")
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert {c.kind for c in report.causes} & {"PADDING", "INDEX"}


COPIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "itself": lambda x: x,
    "a copy": lambda x: x.clone(),
    "a view of all of it": lambda x: x[:],
    "slices from end to end": lambda x: x.narrow(0, 0, x.shape[0]).narrow(-1, 0, x.shape[-1]),
    "detached": lambda x: x.detach(),
    "copied twice": lambda x: x.clone().contiguous().clone(),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_ring_that_is_closed_by_writes(copy: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        ring = x.new_zeros(*x.shape[:-1], x.shape[-1] + 2)
        ring[..., 1:-1] = x
        ring = COPIES[copy](ring)
        ring[..., :1] = ring[..., -2:-1]
        ring[..., -1:] = ring[..., 1:2]
        return F.avg_pool2d(ring, (1, 3), 1)

    x = seeded(1, 4, 6, 8)
    assert shiftcheck.check_equivariance(model, x, boundary="circular").verdict is (
        Verdict.EQUIVARIANT
    )
    assert shiftcheck.geometry(model, x).outputs[0].valid[1] == ((1, 7),)
