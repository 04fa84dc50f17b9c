"""Scores whose heads are regrouped after something of their own was added to each head.

What is claimed of the look-ahead is held against replacing one sample after the other.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import shiftcheck
from shiftcheck.rules import scores

TIME, HEADS, WIDTH = 10, 4, 3
Mask = torch.Tensor


def heads_of(x: torch.Tensor) -> torch.Tensor:
    """``[batch * heads, time, width]`` of ``[batch, time, heads * width]``."""
    return x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2).flatten(0, 1)


def causal(ahead: int = 0) -> Mask:
    ones = torch.ones(TIME, TIME, dtype=torch.bool)
    return torch.zeros(TIME, TIME).masked_fill(~ones.tril(ahead), torch.finfo(torch.float32).min)


def for_heads(ahead: list[int]) -> Mask:
    """A mask for each head, that sees so many samples ahead."""
    return torch.stack([causal(a) for a in ahead])


def slopes() -> torch.Tensor:
    """A bias for each head along the keys, as ALiBi has it."""
    return torch.arange(1, HEADS + 1)[:, None, None] * torch.arange(TIME)[None, None] / 10.0


REGROUPED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "batch and heads": lambda s: s.view(-1, HEADS, TIME, TIME),
    "pairs of heads": lambda s: s.reshape(-1, 2, HEADS // 2, TIME, TIME),
    "unflattened": lambda s: s.unflatten(0, (-1, HEADS)),
    "one more dimension": lambda s: s.unsqueeze(0),
    "there and back": lambda s: s.view(-1, HEADS, TIME, TIME).flatten(0, 1),
}


def attending(
    first: torch.Tensor,
    regroup: Callable[[torch.Tensor], torch.Tensor],
    second: torch.Tensor | None = None,
    *,
    with_product: bool = False,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Attention with something added before the heads are regrouped, and after."""

    def model(x: torch.Tensor) -> torch.Tensor:
        h = heads_of(x)
        keys = h.transpose(1, 2)
        scores = (
            torch.baddbmm(first.to(h.dtype), h, keys, alpha=0.5)
            if with_product
            else h @ keys + first
        )
        scores = regroup(scores)
        weights = (scores if second is None else scores + second).softmax(-1)
        return torch.bmm(weights.reshape(-1, TIME, TIME), h)

    return model


def seen_ahead(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> int:
    x = x.double()
    base, ahead = model(x), 0
    for time in range(TIME):
        other = x.clone()
        other[:, time] = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(time))
        changed = ((model(other) - base).abs() > 1e-9).flatten(2).any(-1).any(0).nonzero()
        ahead = max(ahead, time - int(changed.min()))
    return ahead


def judged(
    model: Callable[[torch.Tensor], torch.Tensor], *, known: bool = True
) -> shiftcheck.CausalityReport:
    x = torch.randn(1, TIME, HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
    report = shiftcheck.check_causality(model, x, axis=1)
    truth = seen_ahead(model, x)
    assert (report.verdict == "causal") == (truth == 0 and known), str(report)
    assert report.outputs[0].lookahead is None or report.outputs[0].lookahead >= truth
    return report


@pytest.mark.parametrize("name", REGROUPED)
@pytest.mark.parametrize("with_product", [False, True])
def test_a_bias_of_each_head_and_a_mask_for_all_are_causal(name: str, with_product: bool) -> None:
    model = attending(slopes(), REGROUPED[name], causal(), with_product=with_product)
    report = judged(model)
    assert (report.verdict, report.outputs[0].lookahead) == ("causal", 0)


@pytest.mark.parametrize("name", REGROUPED)
def test_a_mask_for_each_head_is_followed(name: str) -> None:
    report = judged(attending(for_heads([0, 0, 0, 0]) + slopes(), REGROUPED[name]))
    assert report.verdict == "causal"
    report = judged(attending(for_heads([0, 0, 2, 0]) + slopes(), REGROUPED[name]))
    assert (report.verdict, report.outputs[0].lookahead) == ("not causal", 2)


@pytest.mark.parametrize("inner", [False, True])
def test_the_masks_of_two_groups_are_not_exchanged(inner: bool) -> None:
    """What is hidden by the first in one head, and by the second in the other."""
    hide, show = causal(), torch.zeros(TIME, TIME)
    first = torch.stack([hide, show, hide, show] if inner else [hide, hide, show, show])
    regroup = REGROUPED["pairs of heads"]
    right, wrong = torch.stack([show, hide]), torch.stack([hide, show])
    if not inner:
        right, wrong = right[:, None], wrong[:, None]
    assert judged(attending(first, regroup, right)).verdict == "causal"
    assert judged(attending(first, regroup, wrong)).verdict == "not causal"


def test_what_is_too_much_to_write_out_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = attending(slopes(), REGROUPED["batch and heads"], causal())
    monkeypatch.setattr(scores, "MOST_REGROUPED", slopes().numel() - 1)
    assert judged(model, known=False).verdict == "inconclusive"
    monkeypatch.setattr(scores, "MOST_REGROUPED", slopes().numel())
    assert judged(model).verdict == "causal"


def test_heads_in_another_order_are_not_taken_for_the_same() -> None:
    hide, show = causal(), torch.zeros(TIME, TIME)
    first = torch.stack([hide, show, hide, show])

    def turned(s: torch.Tensor) -> torch.Tensor:
        return s.unflatten(0, (2, 2)).transpose(0, 1)

    second = torch.stack([show, hide])[:, None]
    exchanged = torch.stack([hide, show])[:, None]
    for mask in (second, exchanged):  # that it is not known is no pass either
        x = torch.randn(1, TIME, HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
        model = attending(first, turned, mask)
        verdict = shiftcheck.check_causality(model, x, axis=1).verdict
        assert verdict != "causal" or seen_ahead(model, x) == 0


def test_places_that_are_moved_are_not_regrouped() -> None:
    """Two dimensions that hold the places of all heads are cut otherwise: nothing is known."""

    def mixed(s: torch.Tensor) -> torch.Tensor:
        return s.transpose(0, 1).reshape(HEADS, TIME, TIME)

    model = attending(for_heads([0, 0, 0, 0]), mixed)
    x = torch.randn(1, TIME, HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
    assert seen_ahead(model, x) > 0
    assert shiftcheck.check_causality(model, x, axis=1).verdict != "causal"
