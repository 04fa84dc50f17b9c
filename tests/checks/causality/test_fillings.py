"""A sample that is put elsewhere may bring the future in at one time alone: each is tried."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.checks.causality import fillings

Tensor = torch.Tensor
X = torch.randn(1, 2, 300, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 9, (1, 1, 48), generator=torch.Generator().manual_seed(1))
EXCHANGED = [*range(20), 21, 20, *range(22, 48)]


def told(model: Any, x: Tensor = X, **given: Any) -> tuple[str, str, str]:
    report = shiftcheck.check_causality(model, x, **given)
    guilty = "" if report.guilty is None else report.guilty.name
    return str(report.verdict), str(report.reason), guilty


def gate(x: Tensor) -> Tensor:
    """Nothing of such a signal comes through, but of NaN."""
    return F.relu(x - 60)


def put(x: Tensor, at: int, source: int) -> Tensor:
    y = x.clone()
    y[..., at] = x[..., source]
    return y


@pytest.mark.parametrize(("at", "source"), [(203, 204), (60, 62), (297, 299)])
def test_what_comes_in_at_one_time_alone_is_seen(at: int, source: int) -> None:
    report = shiftcheck.check_causality(lambda x: x.cumsum(-1) + put(x, at, source), X)
    assert report.verdict == "not causal"
    assert report.leak is not None
    assert at <= report.leak.time < source


@pytest.mark.parametrize(
    "quiet",
    [
        lambda x: gate(put(x, 203, 204)),
        lambda x: put(gate(x), 203, 205),
        lambda x: torch.cat([x[..., :210], gate(x[..., 211:241]), x[..., 240:]], -1),
    ],
)
def test_what_comes_in_unseen_at_one_time_alone_is_no_pass(quiet: Any) -> None:
    verdict, reason, guilty = told(lambda x: x.cumsum(-1) + quiet(x))
    assert (verdict, reason) == ("inconclusive", "within noise of a break")
    assert guilty in ("select", "cat")


class Embedded(nn.Module):
    """Whole numbers that are looked up, and put elsewhere before or after."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.how = nn.Embedding(9, 4), how

    def forward(self, tokens: Tensor) -> Tensor:
        moved = tokens[:, 0, EXCHANGED] if self.how == "before" else tokens[:, 0]
        y, moved = (self.table(t).transpose(1, 2) for t in (tokens[:, 0], moved))
        if self.how == "after":
            moved = moved[..., EXCHANGED]
        if self.how == "mirrored":
            moved = F.pad(moved, (2, 0), mode="reflect")[..., :48]
        if self.how == "earlier":
            moved = torch.cat([torch.zeros_like(moved[..., :1]), moved[..., :-1]], -1)
        return y.cumsum(-1) + gate(moved)


@pytest.mark.parametrize(
    ("how", "guilty"), [("before", "index"), ("after", "index"), ("mirrored", "pad")]
)
def test_what_is_made_of_whole_numbers_is_nan_for_them(how: str, guilty: str) -> None:
    found = told(Embedded(how), TOKENS)
    assert found == ("inconclusive", "within noise of a break", guilty)


def test_whole_numbers_that_come_from_before_pass() -> None:
    assert told(Embedded("earlier"), TOKENS) == ("causal", "", "")


@pytest.mark.parametrize(
    ("model", "x", "why"),
    [
        (lambda x: x.cumsum(-1) + (x[..., EXCHANGED] > 60), X[..., :48], "gt.Scalar"),
        (lambda x: x.cumsum(-1) + (x[..., EXCHANGED] > 60), TOKENS, "gt.Scalar"),
        (lambda x: x.cumsum(-1) + (x[..., EXCHANGED] // 60), TOKENS, "floor_divide"),
        (lambda x: x.cumsum(-1) + gate((x[..., EXCHANGED] > 60).float()), TOKENS, "gt.Scalar"),
    ],
)
def test_what_gives_a_number_for_nan_keeps_from_passing(model: Any, x: Tensor, why: str) -> None:
    report = shiftcheck.check_causality(model, x)
    assert (report.verdict, report.reason) == ("inconclusive", "structure not known")
    assert why in " ".join(report.notes)


def test_whole_numbers_that_are_exchanged_in_sight_are_a_leak() -> None:
    assert told(lambda x: x.cumsum(-1) + x[..., EXCHANGED], TOKENS)[0] == "not causal"


def earlier(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], -1).cumsum(-1)


def test_where_not_every_time_was_tried_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(earlier) == ("causal", "", "")
    monkeypatch.setattr(fillings, "MOST_TRIED", 64)
    report = shiftcheck.check_causality(earlier, X)
    assert (report.verdict, report.reason) == ("inconclusive", "structure not known")
    text = " ".join(str(report).split())
    assert "made otherwise than the rest, as by cat; of 299 input samples" in text
    assert "more than 64 are too many" in text
    assert "give a shorter input" in text


def test_only_those_times_are_tried_at_which_a_sample_is_due_that_follows_no_law() -> None:
    def held(x: Tensor) -> Tensor:
        return F.avg_pool1d(F.pad(x, (9, 0), mode="replicate"), 10, 1)

    assert told(held, torch.randn(1, 2, 4000)) == ("causal", "", "")


def masked(x: Tensor) -> Tensor:
    y = x.transpose(1, 2)
    return F.scaled_dot_product_attention(y, y, y, is_causal=True).transpose(1, 2)


def test_behind_a_mask_values_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """There NaN reaches all samples, as it is multiplied by zero."""
    x = X[..., :48]
    assert told(lambda x: masked(earlier(x)), x) == ("causal", "", "")
    assert told(lambda x: gate(masked(x)[..., EXCHANGED]) + x, x)[::2] == ("inconclusive", "index")
    monkeypatch.setattr(fillings, "MOST_MASKED", 24)
    report = shiftcheck.check_causality(lambda x: masked(earlier(x)), x)
    assert report.verdict == "inconclusive"
    assert "a mask multiplies it by zero" in " ".join(str(report).split())


def test_what_is_silent_for_values_tells_nothing_behind_a_mask() -> None:
    report = shiftcheck.check_causality(lambda x: gate(masked(x))[..., EXCHANGED] + x, X[..., :48])
    assert (report.verdict, report.reason) == ("inconclusive", "structure not known")
    assert "index gives the same for other values" in " ".join(report.notes)


def test_a_layer_is_asked_for_its_own_output_and_not_for_that_of_the_model() -> None:
    class Hidden(nn.Module):
        def __init__(self, leak: bool) -> None:
            super().__init__()
            self.inner, self.leak = nn.Identity(), leak

        def forward(self, x: Tensor) -> Tensor:
            taken_off = x - x[..., :1]
            self.inner(taken_off + gate(x[..., -1:]) if self.leak else taken_off)
            return x.clone()

    x = X[..., :48]
    assert told(Hidden(False), x, layer="inner") == ("causal", "", "")
    assert told(Hidden(True), x, layer="inner")[:2] == ("inconclusive", "structure not known")


class Reading(nn.Module):
    """Many samples that are put elsewhere, of which one is made of later whole numbers."""

    def __init__(self, read: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.read = nn.Embedding(32, 4), read

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.table(tokens[:, 0])
        for at in range(103, 1900, 100):
            y[:, at] = y[:, at - 50]
        y[:, 1203] = self.read(self, tokens[:, 0])
        moved: Tensor = y.transpose(1, 2)
        return moved


def paired(model: Reading, tokens: Tensor) -> Tensor:
    """A table of which two rows are the same at a time."""
    rows: Tensor = F.embedding(tokens[:, 1205], model.table.weight[torch.arange(32) // 2])
    return rows


@pytest.mark.parametrize(
    ("read", "hidden"),
    [
        (lambda m, t: m.table((t[:, 1205] - t[:, 1204]) % 32), True),
        (lambda m, t: m.table((torch.arange(32) // 2)[t[:, 1205]]), True),
        (paired, True),
        (lambda m, t: m.table(t[:, 100]), False),
    ],
)
def test_whole_numbers_that_give_the_same_for_others_are_no_pass(read: Any, hidden: bool) -> None:
    tokens = torch.randint(0, 32, (1, 1, 2000), generator=torch.Generator().manual_seed(2))
    tokens[..., 1202:1207] = torch.tensor([2, 6, 4, 8, 10])
    verdict = "inconclusive" if hidden else "causal"
    assert told(Reading(read), tokens)[0] == verdict
