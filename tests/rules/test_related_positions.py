"""Positions of other strides, patterns of windows, and frequencies beside something else.

Every claim is held against rolls of a torus and crops of a plane; the period on the torus is known.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.properties.crops import TOLERANCE, Claim, Views

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def as_map(t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return t.transpose(1, 2).reshape(like.shape)


def attended(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0
) -> torch.Tensor:
    return (q @ k.transpose(-2, -1) + bias).softmax(-1) @ v


def coarse(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool1d(x, 2)


def forth(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(x, dim=-1)


def back(z: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(z, n=SIZE, dim=-1)


def windowed(x: torch.Tensor, width: int) -> torch.Tensor:
    return x.unflatten(-1, (-1, width))


def beside(z: torch.Tensor, constant: torch.Tensor) -> list[torch.Tensor]:
    return [z, constant.expand(z.shape[0], -1, -1)]


def parted(x: torch.Tensor) -> torch.Tensor:
    """Even and odd samples go ways of their own, and are put together again."""
    return torch.stack([x[..., ::2], x[..., 1::2].relu()], -1).flatten(-2)


SIZE = 12
EVERY_SECOND = torch.tensor([0.7, -0.4] * 3, dtype=torch.float64)
OF_FIVE = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0], dtype=torch.float64)
MIXED = seeded(2, 2)
TWO, FOUR, WAVES = seeded(2), seeded(4), torch.complex(seeded(1, 3, 7), seeded(1, 3, 7))

# model, size, the period on a torus: None where nothing is claimed
CASES: dict[str, tuple[Model, int, int | None]] = {
    "keys in reverse": (
        lambda x: x + as_map(attended(tokens(x), tokens(x.flip(-1)), tokens(x)), x), 12, None,
    ),
    "values in reverse, fused": (
        lambda x: (
            x + as_map(F.scaled_dot_product_attention(tokens(x), tokens(x), tokens(x.flip(-1))), x)
        ), 12, None,
    ),
    "keys and values in reverse": (
        lambda x: x + as_map(attended(tokens(x), *[tokens(x.flip(-1))] * 2), x), 12, 1,
    ),
    "channels related to their mirror image": (
        lambda x: (x @ x.flip(-1).transpose(1, 2)) @ x, 12, None,
    ),
    "distances to a mirror image": (
        lambda x: torch.cdist(x, x.flip(-1)).mean(-1)[..., None] * x, 12, None,
    ),
    "coarse keys, a bias of period two": (
        lambda x: x + as_map(attended(tokens(x), *[tokens(coarse(x))] * 2, EVERY_SECOND), x), 12, 4,
    ),
    "coarse keys, a bias of period two, fused": (
        lambda x: (
            x
            + as_map(
                F.scaled_dot_product_attention(
                    tokens(x), *[tokens(coarse(x))] * 2, attn_mask=EVERY_SECOND.expand(12, 6)
                ),
                x,
            )
        ), 12, 4,
    ),
    "a bias over phases of coarse keys": (
        lambda x: (
            x
            * (windowed(tokens(x) @ coarse(x), 2).mean(-2) + TWO).amax(-1)[:, None]
        ), 12, 4,
    ),
    "a bias over phases of keys": (
        lambda x: x * (windowed(tokens(x) @ x, 4).mean(-2) + FOUR).amax(-1)[:, None], 12, 4,
    ),
    "a pattern that starts anew in each window": (
        lambda x: (windowed(x, 5) * OF_FIVE).flatten(-2), 20, 5,
    ),
    "phases mixed, then zeros put in front": (
        lambda x: torch.cat(
            [torch.zeros_like(x[..., :3]), (windowed(x, 2) @ MIXED).flatten(-2)], -1
        ), 12, None,
    ),
    "even and odd samples apart, then rolled": (
        lambda x: parted(x).roll(3, -1), 12, 2,
    ),
    "even and odd samples apart, beside all": (
        lambda x: x + parted(x), 12, 2,
    ),
    "even and odd samples apart, then transformed": (
        lambda x: back(
            forth(parted(x)).contiguous()
        ), 12, 2,
    ),
    "frequencies related to each other": (
        lambda x: back(((forth(x).mT @ forth(x)) @ forth(x).mT).mT), 12, None,
    ),
    "frequencies beside a constant": (
        lambda x: back(torch.cat(beside(forth(x), WAVES), 1)), 12, None,
    ),
    "frequencies stacked on a constant": (
        lambda x: back(torch.stack(beside(forth(x), WAVES), 1)).flatten(1, 2), 12, None,
    ),
    "frequencies and a mean": (lambda x: back(forth(x) + x.mean(-1, keepdim=True)), 12, None),
    "frequencies beside ones": (lambda x: back(F.pad(forth(x), (0, 0, 0, 1), value=1.0)), 12, None),
    "frequencies beside zeros": (lambda x: back(F.pad(forth(x), (0, 0, 0, 1))).relu(), 12, 1),
    "frequencies of another type": (
        lambda x: back(forth(x).to(torch.float64).to(torch.complex128)), 12, None,
    ),
}  # fmt: skip


def claim_of(model: Model, size: int, boundary: str) -> Claim | None:
    row = shiftcheck.geometry(model, seeded(1, 3, size), boundary=boundary).outputs[0]
    stride, period, valid = row.stride[0], row.period[0], row.valid[0]
    if stride is None or period is None or valid is None:
        return None
    mask = [any(a <= i < b for a, b in valid) for i in range(row.shape[2])]
    held = any(mask) if boundary == "valid" else all(mask)
    return Claim(stride, period, tuple(mask)) if held else None


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("name", CASES)
def test_what_is_claimed_holds_on_the_torus_and_on_the_plane(name: str) -> None:
    model, size, period = CASES[name]
    for boundary in ("valid", "circular"):
        claim = claim_of(model, size, boundary)
        if boundary == "circular":
            assert (None if claim is None else claim.period) == period
        if claim is None:
            continue
        views = Views(model, (1, 3, size), [boundary == "circular"])
        for k in (1, -1, 2):
            found = views.gap((k * claim.period,), [claim])
            assert found is None or found[0] <= TOLERANCE, (boundary, k, found)


def rows_and_columns(x: torch.Tensor) -> torch.Tensor:
    return tokens(x.transpose(2, 3))


@pytest.mark.parametrize("size", [(8, 8), (8, 12)])
@pytest.mark.parametrize(
    "turned",
    [
        lambda x: x.mT,
        lambda x: x.rot90(1, (2, 3)),
        lambda x: x.rot90(3, (-2, -1)),
        lambda x: x.permute(0, 3, 2, 1),
    ],
    ids=["transpose", "quarter", "three quarters", "channels last"],
)
def test_no_turn_of_the_axes_passes(turned: Model, size: tuple[int, int]) -> None:
    report = shiftcheck.check_equivariance(turned, seeded(1, 3, *size))
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert "changed places" in report.guilty.detail
    kept = shiftcheck.check_equivariance(lambda x: x.permute(2, 3, 0, 1), seeded(1, 3, *size))
    assert kept.verdict is Verdict.EQUIVARIANT


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize(
    "model",
    [
        lambda x: x.transpose(2, 3).relu(),
        lambda x: as_map(rows_and_columns(x), x),
        lambda x: as_map(attended(*[rows_and_columns(x)] * 3), x),
        lambda x: torch.fft.ifft2(torch.fft.fft2(x).transpose(2, 3)).real,
    ],
    ids=["transpose", "tokens", "attention", "frequencies"],
)
def test_an_output_whose_axes_have_changed_places_is_broken(model: Model, boundary: str) -> None:
    report = shiftcheck.check_equivariance(model, seeded(1, 3, 8, 8), boundary=boundary)
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert "changed places" in report.guilty.detail


def test_axes_that_have_changed_places_and_back_are_in_order() -> None:
    kernel = seeded(3, 3, 3, 3)

    def model(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x.transpose(2, 3), kernel).transpose(2, 3)

    row = shiftcheck.geometry(model, seeded(1, 3, 8, 8)).outputs[0]
    assert row.period == (1, 1)


def test_keys_and_values_in_another_order_are_not_the_same_positions() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        t = F.scaled_dot_product_attention(tokens(x), tokens(x), rows_and_columns(x))
        return x + as_map(t, x)

    report = shiftcheck.check_equivariance(model, seeded(1, 3, 8, 8), boundary="circular")
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_bias_beside_a_mask_of_strips_counts_on_the_other_axis() -> None:
    mask = torch.zeros(2, 1, 8, 4, dtype=torch.float64)
    mask[-1, 0, :, :2] = -100.0
    bias = seeded(8, 1)

    def strips(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        t = x.reshape(n, c, h, w // 4, 4).permute(0, 3, 2, 4, 1).reshape(n, w // 4, h * 4, c)
        out = attended(t, t, t, mask.reshape(2, 1, 32))
        return x + out.reshape(n, w // 4, h, 4, c).permute(0, 4, 2, 1, 3).reshape(n, c, h, w)

    boundary = ("circular", "valid")
    x = seeded(1, 3, 8, 8)
    row = shiftcheck.geometry(lambda x: strips(x, mask + bias), x, boundary=boundary).outputs[0]
    assert row.period[0] is None
