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


# -- queries of the input, keys and values of a constant, as behind an encoder ---------------------

KEYS, VALUES = (torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
PADDED = torch.zeros(80, 6).index_fill(1, torch.tensor([4, 5]), -1e9)


def crossed(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    out = F.scaled_dot_product_attention(tokens, KEYS, VALUES, attn_mask=mask)
    return out.transpose(1, 2).reshape(x.shape)


def in_two_heads(x: torch.Tensor) -> torch.Tensor:
    tokens = x.flatten(2).transpose(1, 2).unflatten(-1, (2, 2)).transpose(1, 2)
    keys, values = (c.unflatten(-1, (2, 2)).transpose(1, 2) for c in (KEYS, VALUES))
    out = F.scaled_dot_product_attention(tokens, keys, values)
    return out.transpose(1, 2).flatten(2).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize(
    "model", [crossed, in_two_heads, lambda x: crossed(x, PADDED)], ids=["one", "heads", "padded"]
)
def test_each_place_looks_at_a_constant_by_itself(model: Any) -> None:
    report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is Verdict.EQUIVARIANT, str(report)
    assert report.outputs[0].receptive_field == (1.0, 1.0)


def test_a_mask_of_a_constant_that_differs_by_place_is_a_position() -> None:
    mask = torch.randn(80, 6, generator=torch.Generator().manual_seed(3))
    report = shiftcheck.check_equivariance(lambda x: crossed(x, mask), image())
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


@pytest.mark.parametrize("swap", ["queries", "values"])
def test_a_constant_among_what_is_related_is_not_taken_for_both(swap: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        same = torch.ones(1, 80, 4)
        q, v = (same, tokens) if swap == "queries" else (tokens, tokens)
        k = tokens if swap == "queries" else same
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)

    assert shiftcheck.check_equivariance(model, image()).verdict is not Verdict.EQUIVARIANT
