"""What keeps a check of causality from passing, what it leaves as it was, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, NotCausalError
from shiftcheck.report import CausalityReport, read_report

Tensor = torch.Tensor
X = torch.randn(1, 2, 48, generator=torch.Generator().manual_seed(1))


def causal() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(2, 3, 3), nn.ReLU())


def verdict(model: Any, x: Any = X, **given: Any) -> tuple[str, str]:
    report = shiftcheck.check_causality(model, x, **given)
    return str(report.verdict), str(report.reason)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: 0 * x, "dead output"),
        (lambda x: 0 * x + 1, "output ignores the input"),
        (lambda x: x * (torch.arange(48) == 3), "too little compared"),
        (lambda x: x.log(), "not finite"),
        (lambda x: F.dropout(x, 0.5, True), "nondeterministic"),
        (lambda x: x.mean(-1), "not spatial"),
        (lambda x: x - x[..., :1] + 0 * (x[..., -1:] > 9), "structure not known"),
    ],
)
def test_what_tells_nothing_is_no_pass(model: Any, reason: str) -> None:
    assert verdict(model) == ("inconclusive", reason)
    with pytest.raises(shiftcheck.InconclusiveError):
        shiftcheck.assert_causal(model, X)


def test_a_constant_input_tells_nothing() -> None:
    assert verdict(causal(), torch.ones(1, 2, 48)) == ("inconclusive", "constant input")


def test_what_the_structure_allows_is_no_pass_where_nothing_was_seen() -> None:
    """A layer that looks ahead with weights so small that rounding hides it."""
    report = shiftcheck.check_causality(lambda x: x + 1e-30 * x.mean(-1, keepdim=True), X)
    assert (report.verdict, report.reason) == ("inconclusive", "within noise of a break")
    assert report.guilty is not None
    assert report.guilty.name == "mean"


def test_a_tiny_leak_is_seen_behind_the_noise_of_the_type() -> None:
    report = shiftcheck.check_causality(lambda x: x + 1e-4 * F.pad(x, (0, 1))[..., 1:], X)
    assert report.verdict == "not causal"
    assert report.outputs[0].measured == 1


def test_rounding_that_reaches_the_past_is_no_leak() -> None:
    def there_and_back(x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])

    assert verdict(there_and_back) == ("causal", "")


def test_rounding_that_looks_like_a_leak_is_told_by_float64() -> None:
    def magnified(x: Tensor) -> Tensor:
        there_and_back = torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])
        return x + (3000 * there_and_back - 3000 * x)

    report = shiftcheck.check_causality(magnified, X)
    assert (report.verdict, report.leak) == ("causal", None)


def test_what_fills_the_beginning_is_looked_for_there() -> None:
    def mirrored(x: Tensor) -> Tensor:
        return F.pad(x, (2, 0), mode="reflect").cumsum(-1)[..., :48:8]

    report = shiftcheck.check_causality(mirrored, X, block=1)
    assert report.leak is not None
    assert (report.verdict, report.leak.sample, report.leak.ahead) == ("not causal", 0, 2)


def test_a_model_that_counts_its_calls_is_not_accused() -> None:
    calls: list[int] = []

    def counting(x: Tensor) -> Tensor:
        calls.append(1)
        return x * len(calls)

    assert verdict(counting) == ("inconclusive", "nondeterministic")


def test_every_output_counts_and_one_without_time_is_left_out() -> None:
    report = shiftcheck.check_causality(lambda x: (x.cumsum(-1), x.roll(-1, -1)), X)
    assert [o.verdict for o in report.outputs] == ["causal", "not causal"]
    assert report.verdict == "not causal"
    report = shiftcheck.check_causality(lambda x: (x.cumsum(-1), x.mean(-1)), X)
    assert report.verdict == "causal"
    assert "output[1]: it has no time axis, and is left out" in str(report)
    assert verdict(lambda x: (x.cumsum(-1), x.roll(-1, -1)), outputs=[0]) == ("causal", "")


def test_a_branch_that_looks_ahead_is_not_guilty_of_another() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.GroupNorm(1, 2), nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.norm(x), self.conv(x)

    report = shiftcheck.check_causality(Two(), X)
    guilty = [o.guilty.name for o in report.outputs if o.guilty is not None]
    assert guilty == ["norm", "conv"]


def test_nan_behind_a_mask_is_told_apart_from_a_leak() -> None:
    keep = torch.ones(48, 48).tril().bool()

    def attention(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=keep)

    report = shiftcheck.check_causality(attention, X.transpose(1, 2), axis=1)
    assert (report.verdict, report.outputs[0].nan) == ("causal", True)
    assert "NaN or infinity in the future would reach" in str(report)
    assert shiftcheck.check_causality(causal(), X).outputs[0].nan is False


def first_taken_off(x: Tensor) -> Tensor:
    return x - x[..., :1]


def test_where_the_structure_is_not_known_nan_at_every_time_proves_it() -> None:
    report = shiftcheck.check_causality(first_taken_off, X)
    assert (report.verdict, report.outputs[0].lookahead) == ("causal", None)
    assert report.outputs[0].proven_by_nan
    assert "NaN behind each single input sample reached nothing" in str(report)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda last: last > 1e9,
        lambda last: last.nan_to_num(0) * 0,
        lambda last: last**0,
        lambda last: torch.fmin(last, torch.zeros(())) * 0,
        lambda last: last.argmax(1, keepdim=True) * 0,
    ],
)
def test_nan_that_may_be_swallowed_proves_nothing(hidden: Any) -> None:
    def gated(x: Tensor) -> Tensor:
        return first_taken_off(x) + hidden(x[..., -1:])

    assert verdict(gated) == ("inconclusive", "structure not known")


def test_nan_proves_nothing_where_not_every_time_can_be_tried() -> None:
    assert verdict(first_taken_off, torch.randn(1, 1, 700))[0] == "inconclusive"


def test_whole_numbers_and_arrays_are_signals_too() -> None:
    assert verdict(lambda x: x.cumsum(-1), torch.randint(0, 9, (1, 2, 48))) == ("causal", "")
    assert verdict(lambda a: np.cumsum(a, -1), X.numpy())[0] in ("causal", "inconclusive")
    assert verdict(lambda a: a[..., ::-1].copy(), X.numpy()) == ("not causal", "")
    back = lambda x: torch.from_numpy(np.cumsum(x.numpy(), -1))  # noqa: E731
    assert verdict(back)[0] in ("causal", "inconclusive")
    assert verdict(lambda x: torch.from_numpy(x.numpy()[..., ::-1].copy())) == ("not causal", "")


def test_several_inputs_share_the_time_and_fixed_ones_have_none() -> None:
    weights = torch.randn(1, 2, 1)
    assert verdict(lambda x, w: x.cumsum(-1) * w, (X, weights), fixed=[1]) == ("causal", "")
    half = X[..., ::2].contiguous()

    def held(x: Tensor, h: Tensor) -> Tensor:
        return x + F.interpolate(h, scale_factor=2.0)

    assert verdict(held, (X, half)) == ("causal", "")
    assert verdict(lambda x, h: held(x, h.roll(-1, -1)), (X, half))[0] == "not causal"


def test_both_numbers_of_a_stride_are_said() -> None:
    def down(pad: int) -> nn.Module:
        return nn.Sequential(nn.ConstantPad1d((pad, 0), 0.0), nn.Conv1d(2, 2, 4, stride=4))

    to_the_place, to_the_block = (
        shiftcheck.check_causality(down(pad), X).outputs[0] for pad in (3, 0)
    )
    assert (to_the_place.lookahead, to_the_place.ahead) == (-3, 0)
    assert (to_the_block.lookahead, to_the_block.ahead) == (0, 3)
    assert verdict(down(3), block=1) == ("causal", "")
    assert verdict(down(0), block=1) == ("not causal", "")


@pytest.mark.parametrize("fails", [False, True])
def test_all_is_left_as_it_was(fails: bool) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            self.register_buffer("seen", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += x.mean((0, 2))
            if fails and bool(x.isnan().any()):
                raise ValueError("not a number")
            return self.norm(x)

    model = Counting().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, state = X.clone(), torch.get_rng_state()
    shiftcheck.check_causality(model, x)
    assert model.training
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"axis": 0}, r"axis=0: dimension 0 of x, of shape \(1, 2, 48\), is the batch"),
        ({"axis": 3}, r"axis=3 is no dimension of x, which has shape \(1, 2, 48\)"),
        ({"axis": True}, r"axis=True is no dimension"),
        ({"axis": 1}, r"axis=1: x has 2 samples of time"),
        ({"lookahead": -1}, "lookahead=-1: give a whole number of samples, 0 or more"),
        ({"lookahead": 1.5}, "lookahead=1.5: give a whole number"),
        ({"lookahead": 47}, "lookahead=47: x has 48 samples of time"),
        ({"block": 0}, "block=0: give a whole number of samples, 1 or more"),
        ({"block": 48}, "block=48: x has 48 samples of time, .* give at least 96"),
        ({"seed": "a"}, "seed='a'"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shiftcheck.check_causality(causal(), X, **given)


def test_an_input_that_is_no_signal_is_refused() -> None:
    with pytest.raises(InputError, match="holds no tensor"):
        shiftcheck.check_causality(causal(), "wave")
    with pytest.raises(InputError, match=r"of shape \(48,\), is the batch.*x\[None\]"):
        shiftcheck.check_causality(causal(), X[0, 0])


def test_the_assertion_raises_with_all_that_is_known() -> None:
    model = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1))
    with pytest.raises(NotCausalError, match="look-ahead of 1 would do") as raised:
        shiftcheck.assert_causal(model, X)
    assert isinstance(raised.value, AssertionError)
    assert "0 (Conv1d, kernel 3, stride 1, padding 1)" in str(raised.value)
    assert shiftcheck.assert_causal(model, X, lookahead=1).verdict == "causal"


def test_a_report_comes_back_from_its_json() -> None:
    for model in (causal(), nn.GroupNorm(1, 2), nn.Conv1d(2, 2, 3)):
        report = shiftcheck.check_causality(model, X)
        assert CausalityReport.from_json(report.to_json()) == report
        assert read_report(report.to_json()) == report
        assert report["output"] is report.outputs[0]
        assert str(report.verdict).upper() in str(report)
        assert report._repr_html_()
    with pytest.raises(KeyError, match="no layer 'x'"):
        report["x"]


def earlier(x: Tensor) -> Tensor:
    return x.cumsum(-1)


@pytest.mark.parametrize(
    ("quiet", "guilty"),
    [
        (lambda x: 1e-12 * x.roll(1, -1), "roll"),
        (lambda x: F.relu(F.pad(x, (2, 0), mode="reflect")[..., :48] - 60), "pad"),
        (lambda x: F.relu(F.pad(x, (2, 0), mode="circular")[..., :48] - 60), "pad"),
        (lambda x: F.relu(torch.cat([x[..., -1:], x[..., :-1]], -1) - 60), "cat"),
        (lambda x: F.relu(x[..., [*range(20), 21, 20, *range(22, 48)]] - 60), "index"),
    ],
)
def test_what_fills_an_end_unseen_is_no_pass(quiet: Any, guilty: str) -> None:
    """The structure follows the other samples alone, and these values show nothing."""
    report = shiftcheck.check_causality(lambda x: earlier(x) + quiet(x), X)
    assert (report.verdict, report.reason) == ("inconclusive", "within noise of a break")
    assert report.guilty is not None
    assert report.guilty.name == guilty
    assert "but for those that are made otherwise" in " ".join(str(report).split())
    assert "multiplied by zero" not in str(report)


def shifted_on(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], -1)


def masked_attention(x: Tensor) -> Tensor:
    keep = torch.ones(48, 48).tril().bool()
    y = x.transpose(1, 2)
    return F.scaled_dot_product_attention(y, y, y, attn_mask=keep).transpose(1, 2)


@pytest.mark.parametrize(
    "filled",
    [
        shifted_on,
        lambda x: F.pad(x, (2, 0), mode="replicate")[..., :48],
        lambda x: F.pad(x, (0, 2), mode="reflect")[..., :48],
        lambda x: F.pad(F.pad(x, (2, 0))[..., :-2], (2, 0), mode="reflect")[..., :48],
        lambda x: torch.cat([torch.zeros(1, 2, 1), x.roll(1, -1)[..., 1:]], -1),
        lambda x: x[..., (torch.arange(48) - 1).clamp(min=0)],
        lambda x: masked_attention(shifted_on(x)),
        lambda x: shifted_on(masked_attention(x)),
    ],
)
def test_what_is_filled_from_the_past_or_with_zeros_passes(filled: Any) -> None:
    assert verdict(filled) == ("causal", "")


def test_no_look_ahead_is_offered_that_would_not_do() -> None:
    circular = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    report = shiftcheck.check_causality(circular, X)
    assert report.outputs[0].lookahead == 1
    assert shiftcheck.check_causality(circular, X, lookahead=1).verdict == "not causal"
    assert "would do" not in str(report)


def test_no_block_is_offered_that_would_not_do() -> None:
    def held(x: Tensor) -> Tensor:
        wrapped = F.pad(x[..., 1:], (1, 0), mode="circular")
        return F.interpolate(F.avg_pool1d(wrapped, 2), scale_factor=2)

    report = shiftcheck.check_causality(held, X)
    assert report.verdict == "not causal"
    would_do = report.outputs[0].block_that_would_do
    assert would_do is None or verdict(held, block=would_do) == ("causal", "")


class Given(nn.Module):
    """A recurrent layer of which the first or the last state is that of all times."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.rnn, self.how = nn.GRU(2, 2, batch_first=True), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "first":
            return self.rnn(x, x.mean(1)[None])[0]
        if self.how == "flipped":
            return self.rnn(x.flip(1))[0].flip(1)
        return x + self.rnn(x)[1].transpose(0, 1)


@pytest.mark.parametrize(
    ("how", "guilty", "kind"),
    [
        ("first", "mean", "statistics over time"),
        ("last", "rnn[1]", "later sample at a fixed place"),
        ("flipped", "flip_1", "time reversed"),
    ],
)
def test_a_layer_that_runs_forwards_is_not_said_to_run_backwards(
    how: str, guilty: str, kind: str
) -> None:
    report = shiftcheck.check_causality(Given(how), X.transpose(1, 2), axis=1)
    assert report.guilty is not None
    assert (report.verdict, report.guilty.name, report.guilty.kind) == ("not causal", guilty, kind)


def test_a_sample_put_elsewhere_has_a_kind() -> None:
    def put(x: Tensor) -> Tensor:
        y = x.clone()
        y[..., 29] = x[..., 31]
        return y

    report = shiftcheck.check_causality(put, X)
    assert report.guilty is not None
    assert (report.verdict, report.guilty.kind) == ("not causal", "later sample at a fixed place")


def test_scores_that_a_mask_follows_are_not_guilty_of_a_choice_among_them() -> None:
    def sparse(x: Tensor) -> Tensor:
        scores = x @ x.transpose(1, 2)
        least = scores.topk(4, -1).values[..., -1:]
        later = torch.ones(48, 48).triu(1).bool()
        scores = scores.masked_fill(scores < least, -1e9).masked_fill(later, -1e9)
        return scores.softmax(-1) @ x

    report = shiftcheck.check_causality(sparse, X.transpose(1, 2), axis=1)
    assert report.guilty is not None
    assert (report.verdict, report.guilty.name) == ("not causal", "topk[0]")
