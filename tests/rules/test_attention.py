"""Attention over an axis is global; over channels, or on a closed circle, it is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict


def over_places(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    tokens = x.flatten(2).transpose(1, 2)[:, None]
    out = F.scaled_dot_product_attention(tokens, tokens * 2, tokens + 1, attn_mask=mask)
    return out[:, 0].transpose(1, 2).reshape(x.shape)


def over_channels(x: torch.Tensor) -> torch.Tensor:
    tokens = x.permute(0, 2, 3, 1)[..., None]
    return F.scaled_dot_product_attention(tokens, tokens * 2, tokens + 1)[..., 0].permute(
        0, 3, 1, 2
    )


def image() -> torch.Tensor:
    return torch.randn(2, 4, 8, 10, generator=torch.Generator().manual_seed(0))


def test_over_the_plane_it_is_global() -> None:
    report = shiftcheck.check_equivariance(over_places, image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert report.guilty is not None
    assert report.guilty.kind == "GLOBAL"
    assert report.guilty.layer == "scaled_dot_product_attention"


def test_on_the_torus_it_is_exact() -> None:
    assert shiftcheck.assert_equivariant(over_places, image(), boundary="circular")


def test_over_channels_each_place_is_its_own() -> None:
    assert shiftcheck.assert_equivariant(over_channels, image()).outputs[0].halo == ((0, 0),) * 2


@pytest.mark.parametrize("uniform", [True, False])
def test_a_mask(uniform: bool) -> None:
    mask = torch.ones(80, 80) if uniform else torch.randn(80, 80)
    report = shiftcheck.check_equivariance(
        lambda x: over_places(x, mask), image(), boundary="circular"
    )
    assert report.verdict is (Verdict.EQUIVARIANT if uniform else Verdict.BROKEN)
    assert ("POSITION" in {c.kind for c in report.causes}) is not uniform


@pytest.mark.parametrize(
    ("options", "verdict", "reason"),
    [
        ({"dropout_p": 0.5}, Verdict.INCONCLUSIVE, "nondeterministic"),
        ({"is_causal": True}, Verdict.BROKEN, ""),
    ],
)
def test_dropout_and_causal_masks_are_not_passed(
    options: dict[str, Any], verdict: Verdict, reason: str
) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, **options)

    report = shiftcheck.check_equivariance(model, image(), boundary="circular")
    assert (report.verdict, report.reason) == (verdict, reason)


def test_multi_head_attention_and_an_encoder_layer_on_a_ring() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.1)

    def model(x: torch.Tensor) -> torch.Tensor:
        return layer(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]

    x = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(0))
    report = shiftcheck.check_equivariance(model, x, boundary="circular")
    assert report.verdict is Verdict.EQUIVARIANT, report.guilty
    assert shiftcheck.check_equivariance(model, x).guilty.kind == "GLOBAL"  # type: ignore[union-attr]
