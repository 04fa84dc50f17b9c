"""Arguments that have no time: masks, and what an encoder gave."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck

TIME, WIDTH = 12, 8
SIGNAL = torch.randn(1, TIME, WIDTH, generator=torch.Generator().manual_seed(0))
MEMORY = torch.randn(1, 7, WIDTH, generator=torch.Generator().manual_seed(1))


def hidden(ahead: int) -> torch.Tensor:
    """An additive mask that lets each time see so many later ones."""
    return torch.full((TIME, TIME), -torch.inf).triu(1 + ahead)


def decoder() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(WIDTH, 2, 16, batch_first=True)
    return nn.TransformerDecoder(layer, 2).eval()


@pytest.mark.parametrize(("ahead", "kind"), [(0, ""), (1, "mask ahead of the diagonal")])
def test_a_mask_of_infinities_is_no_signal(ahead: int, kind: str) -> None:
    arguments = {"tgt": SIGNAL, "memory": MEMORY, "tgt_mask": hidden(ahead)}
    report = shiftcheck.check_causality(decoder(), arguments, axis=1, fixed=("memory", "tgt_mask"))
    assert report.verdict == ("not causal" if kind else "causal"), str(report)
    assert (report.guilty.kind if report.guilty else "") == kind


def test_without_a_mask_a_decoder_sees_all() -> None:
    arguments = {"tgt": SIGNAL, "memory": MEMORY}
    report = shiftcheck.check_causality(decoder(), arguments, axis=1, fixed=("memory",))
    assert report.verdict == "not causal"
    assert report.guilty is not None
    assert report.guilty.kind == "attention without a mask"


def test_what_is_no_number_in_what_stays_fixed_passes_nothing() -> None:
    mask = hidden(0)
    mask[0, 0] = torch.nan
    arguments = {"tgt": SIGNAL, "memory": MEMORY, "tgt_mask": mask}
    report = shiftcheck.check_causality(decoder(), arguments, axis=1, fixed=("memory", "tgt_mask"))
    assert (report.verdict, report.reason) == ("inconclusive", "not finite")


def test_a_signal_is_finite() -> None:
    given: Any = {"tgt": SIGNAL.clone().fill_(torch.inf), "memory": MEMORY}
    with pytest.raises(shiftcheck.InputError, match="values that are NaN or infinite"):
        shiftcheck.check_causality(decoder(), given, axis=1, fixed=("memory",))
    with pytest.raises(shiftcheck.InputError, match="values that are NaN or infinite"):
        shiftcheck.check_equivariance(nn.ReLU(), torch.full((1, 1, 8, 8), torch.nan))


def test_tokens_of_a_layer_related_to_each_other_are_no_chance() -> None:
    """Attention of parameters to themselves draws nothing where nothing is dropped."""

    class Registers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.own = nn.Parameter(torch.randn(1, 4, WIDTH))
            self.among = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
            self.across = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            own, _ = self.among(self.own, self.own, self.own, need_weights=False)
            seen, _ = self.across(x, own, own, need_weights=False)
            out: torch.Tensor = x + seen
            return out

    model = Registers().eval()
    assert shiftcheck.check_causality(model, SIGNAL, axis=1).verdict == "causal"
    report = shiftcheck.check_equivariance(model, SIGNAL, spatial_dims=(1,))
    assert report.verdict == "equivariant"
    assert shiftcheck.tiling(model, SIGNAL, spatial_dims=(1,)).exactness == "exact"
