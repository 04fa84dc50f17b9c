"""Plans of streams, against networks of which all is known, and against changed signals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from tests.networks.streamed import Ahead, CausalStack, Decoder, Encoder, Lstm, frames
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.report import Memory, StreamingPlan

SHAPE = (1, 2, 96)


def plan_of(model: Callable[..., object], shape: tuple[int, ...] = SHAPE) -> StreamingPlan:
    return shiftcheck.streaming(model, shape)


def kept(plan: StreamingPlan) -> dict[str, int | None]:
    return {layer.layer: layer.elements for layer in plan.layers}


class Residual(nn.Module):
    """A branch that looks ahead by 2 beside one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv(x)
        return out


def test_a_causal_stack() -> None:
    plan = plan_of(CausalStack())
    assert (plan.finite, plan.period, plan.lookback, plan.lookahead) == (True, 1, 8, 0)
    assert (plan.latency, plan.keep, plan.outputs[0].delay) == (0, 8, 0)
    assert kept(plan) == {"first": 4 * 2, "second": 4 * 6}
    assert (plan.state_elements, plan.state_bytes) == (32, 128)


def test_a_look_ahead() -> None:
    plan = plan_of(Ahead())
    assert (plan.lookback, plan.lookahead, plan.latency) == (2, 3, 3)
    assert (plan.keep, plan.outputs[0].delay, kept(plan)) == (5, 3, {"conv": 10})


def test_strides() -> None:
    plan = plan_of(Encoder())
    assert (plan.period, plan.outputs[0].stride, plan.outputs[0].shape) == (4, 4, (1, 3, 24))
    assert kept(plan) == {"first": 2 * 2, "second": 1 * 4}
    assert plan.latency == 0


def test_a_transposed_convolution() -> None:
    plan = plan_of(Decoder())
    assert (plan.period, str(plan.outputs[0].stride), plan.lookback) == (1, "1/4", 7 / 4)
    assert kept(plan) == {"up": 2}  # one sample of the input, of two channels


def test_branches_that_meet() -> None:
    plan = plan_of(Residual())
    assert kept(plan) == {"conv": 8, "add": 4}
    assert [layer.memory for layer in plan.layers] == [Memory.WINDOW, Memory.DELAY]


def test_a_recurrent_state_is_finite() -> None:
    plan = plan_of(Lstm())
    assert (plan.finite, plan.lookback, plan.keep) == (True, math.inf, None)
    assert [(n.layer, n.memory, n.elements) for n in plan.layers] == [("lstm", Memory.RECURRENT, 8)]


def test_frames() -> None:
    plan = plan_of(frames, (1, 1, 100))
    assert (plan.period, plan.keep, plan.latency) == (4, 12, 12)


def causal_attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, is_causal=True)


BLOCKING: dict[str, tuple[Callable[[Tensor], Tensor], Memory, str]] = {
    "group norm": (nn.GroupNorm(1, 2), Memory.STATISTIC, "group_norm"),
    "instance norm": (nn.InstanceNorm1d(2), Memory.STATISTIC, "instance_norm"),
    "mean": (lambda x: x - x.mean(-1, keepdim=True), Memory.STATISTIC, "mean"),
    "peak": (lambda x: x / x.abs().amax(-1, keepdim=True), Memory.STATISTIC, "amax"),
    "squeeze-excite": (
        lambda x: x * x.mean(-1, keepdim=True).sigmoid(),
        Memory.STATISTIC,
        "mean",
    ),
    "flipped sum": (lambda x: x.flip(-1).cumsum(-1).flip(-1), Memory.BACKWARDS, "cumsum"),
    "circular": (
        nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"),
        Memory.WRAPPED,
        "pad",
    ),
    "roll": (lambda x: x.roll(1, -1), Memory.WRAPPED, "roll"),
    "linear over time": (nn.Linear(96, 96), Memory.FIXED_SIZE, "linear"),
    "sort": (lambda x: x.sort(-1)[0], Memory.FIXED_SIZE, "sort"),
    "size": (lambda x: F.interpolate(x, size=97), Memory.RATIO, "upsample_nearest1d"),
    "pooled": (lambda x: x.mean(-1), Memory.STATISTIC, "mean"),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_what_blocks_is_named_with_its_kind(name: str) -> None:
    model, memory, op = BLOCKING[name]
    plan = plan_of(model)
    assert (plan.finite, plan.period, plan.keep) == (False, None, None), plan
    if name == "pooled":  # nothing of the time axis is left
        assert plan.obstacles[0].memory in (Memory.STATISTIC, Memory.EVERYTHING)
        return
    assert [(n.memory, n.op) for n in plan.obstacles] == [(memory, op)]


def along(model: Callable[..., Tensor], x: Tensor) -> StreamingPlan:
    return shiftcheck.streaming(model, x, axis=1, spatial_dims=(1,))


@pytest.mark.parametrize(
    ("model", "memory"),
    [
        (lambda x: F.scaled_dot_product_attention(x, x, x), Memory.ATTENTION),
        (causal_attention, Memory.PAST),
        (lambda x: (x @ x.mT).softmax(-1) @ x, Memory.ATTENTION),
    ],
)
def test_attention(model: Callable[[Tensor], Tensor], memory: Memory) -> None:
    assert [n.memory for n in along(model, torch.randn(1, 24, 4)).obstacles] == [memory]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers(kind: type[nn.RNNBase], both: bool) -> None:
    net = kind(4, 3, batch_first=True, bidirectional=both)  # type: ignore[call-arg]
    plan = along(net, torch.randn(1, 24, 4))
    if both:
        assert [n.memory for n in plan.obstacles] == [Memory.BIDIRECTIONAL]
    else:
        assert plan.finite
        assert plan.state_elements == (6 if kind is nn.LSTM else 3)
        assert any("left out" in note for note in plan.notes)


def test_a_bidirectional_layer_in_the_middle_is_named() -> None:
    class Middle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.LSTM(4, 4, batch_first=True)
            self.middle = nn.LSTM(4, 2, batch_first=True, bidirectional=True)
            self.after = nn.LSTM(4, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            for layer in (self.before, self.middle, self.after):
                x = layer(x)[0]
            return x

    plan = along(Middle(), torch.randn(1, 24, 4))
    assert [(n.layer, n.memory) for n in plan.obstacles] == [("middle", Memory.BIDIRECTIONAL)]


def test_a_counter_is_a_finite_state() -> None:
    def running_mean(x: Tensor) -> Tensor:
        return x.cumsum(-1) / torch.arange(1, x.shape[-1] + 1)

    plan = plan_of(running_mean)
    assert plan.finite
    assert {n.memory for n in plan.layers} == {Memory.RECURRENT, Memory.POSITION}


def test_what_is_random_is_not_known() -> None:
    plan = plan_of(lambda x: x + torch.randn_like(x))
    assert (str(plan.streaming), plan.finite) == ("not known", False)


# -- against changed signals -----------------------------------------------------------------------


def seeds(quick: int, every: int) -> list[object]:
    """Numbers, of which those behind the first few are slow."""
    slow = [pytest.param(n, marks=pytest.mark.slow) for n in range(quick, every)]
    return [*range(quick), *slow]


def drawn(seed: int) -> nn.Sequential:
    """A network of strides, dilations, paddings of both sides and transposed layers."""
    pick = torch.Generator().manual_seed(seed)

    def one_of(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=pick))

    layers: list[nn.Module] = []
    for _ in range(one_of(1, 3)):
        kernel = one_of(1, 5)
        kind = one_of(0, 3)
        if kind == 0:
            layers.append(nn.ConstantPad1d((one_of(0, 5), one_of(0, 3)), 0.0))
            layers.append(nn.Conv1d(2, 2, kernel, dilation=one_of(1, 2)))
        elif kind == 1:
            layers.append(nn.Conv1d(2, 2, kernel + 1, stride=2, padding=one_of(0, kernel // 2)))
        elif kind == 2:
            layers.append(nn.ConvTranspose1d(2, 2, kernel + 1, stride=2))
        else:
            layers.append(nn.Conv1d(2, 2, kernel, stride=one_of(1, 3)))
    return nn.Sequential(*layers).double().eval()


def positive(net: nn.Module) -> nn.Module:
    """With positive weights no dependence cancels another."""
    with torch.no_grad():
        for p in net.parameters():
            p.abs_().add_(0.1)
    return net


@pytest.mark.parametrize("seed", seeds(10, 60))
def test_look_back_and_latency_are_those_of_changed_signals(seed: int) -> None:
    torch.manual_seed(seed)
    net, length = positive(drawn(seed)), 120
    plan = plan_of(net, (1, 2, length))
    (out,) = plan.outputs
    assert plan.period is not None
    assert out.stride is not None
    x = torch.rand(1, 2, length, dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
        seen = torch.zeros(length, y.shape[-1], dtype=torch.bool)
        for sample in range(length):
            other = x.clone()
            other[..., sample] += 1
            seen[sample] = (net(other) != y).any(1)[0]
    middle = [q for q in range(y.shape[-1]) if length // 3 <= q * out.stride < 2 * length // 3]
    places = {q: seen[:, q].nonzero()[:, 0] for q in middle}
    assert max(float(q * out.stride) - int(p.min()) for q, p in places.items()) == out.lookback
    assert max(int(p.max()) - float(q * out.stride) for q, p in places.items()) == out.lookahead
    start = length // 3 // plan.period * plan.period + plan.period
    block = [q for q in range(y.shape[-1]) if start <= q * out.stride < start + plan.period]
    late = max(int(seen[:, q].nonzero().max()) for q in block) - (start + plan.period - 1)
    assert max(0, late) == out.latency


class Cached(nn.Module):
    """Any stack of unpadded convolutions with caches of the lengths of a plan, or of others."""

    def __init__(self, stack: nn.Sequential, lengths: dict[str, int]) -> None:
        super().__init__()
        self.stack, self.lengths = stack, lengths
        self.caches: dict[str, Tensor] = {}

    def forward(self, chunk: Tensor) -> Tensor:
        for name, layer in self.stack.named_children():
            if isinstance(layer, nn.ConstantPad1d):
                continue
            length = self.lengths.get(name, 0)
            past = self.caches.get(name, chunk.new_zeros(*chunk.shape[:2], length))
            both = torch.cat([past, chunk], -1)
            self.caches[name] = both[..., both.shape[-1] - length :]
            chunk = layer(both)
        return chunk


def causal(seed: int) -> nn.Sequential:
    pick = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(3):
        kernel, dilation, stride = (int(n) for n in torch.randint(1, 4, (3,), generator=pick))
        dilation = dilation if stride == 1 else 1
        kernel = max(kernel, stride)
        layers.append(nn.ConstantPad1d(((kernel - 1) * dilation + 1 - stride, 0), 0.0))
        layers.append(nn.Conv1d(2, 2, kernel, stride=stride, dilation=dilation))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", seeds(3, 12))
def test_the_caches_of_a_plan_are_enough_and_none_is_too_long(seed: int) -> None:
    torch.manual_seed(seed)
    net = causal(seed)
    plan = plan_of(net, (2, 2, 96))
    assert plan.period is not None
    lengths = {n.layer: n.samples or 0 for n in plan.layers}
    x, chunk = torch.randn(2, 2, 10 * plan.period), 2 * plan.period
    report = shiftcheck.check_streamable(Cached(net, lengths), net, x, chunk)
    assert report.verdict == "same", report
    for name in lengths:
        shorter = {**lengths, name: lengths[name] - 1}
        padded = Cached(net, lengths)
        step = _forgetting(padded, name) if lengths[name] else padded
        report = shiftcheck.check_streamable(step, net, x, chunk)
        assert report.verdict == "different", (shorter, report)


def _forgetting(step: Cached, name: str) -> Callable[[Tensor], Tensor]:
    def run(chunk: Tensor) -> Tensor:
        if name in step.caches:
            step.caches[name][..., 0] = 0
        out: Tensor = step(chunk)
        return out

    return run


# -- what cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "words"),
    [
        ((1, 2, 96), 0, "axis=0 is the batch"),
        ((1, 2, 96), 1, r"axis=1 holds the channels .* give axis=2"),
        ((1, 2, 96), 3, "axis=3 is no dimension"),
        ((1, 2, 96), "time", "axis='time' is no dimension"),
        ((1, 2, 1), -1, "one sample along it"),
        ((1, 2, 0), -1, "sizes of at least 1"),
    ],
)
def test_what_is_no_time(shape: tuple[int, ...], axis: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        shiftcheck.streaming(nn.Conv1d(2, 2, 1), shape, axis)  # type: ignore[arg-type]


def test_a_model_that_raises() -> None:
    with pytest.raises(ModelError):
        shiftcheck.streaming(nn.Conv1d(3, 2, 1), SHAPE)


def test_time_may_be_any_axis() -> None:
    net = nn.Sequential(nn.ZeroPad2d((1, 1, 4, 0)), nn.Conv2d(1, 2, (5, 3)))
    plan = shiftcheck.streaming(net, (1, 1, 50, 20), axis=2)
    assert (plan.lookback, plan.lookahead, plan.axis) == (4, 0, 2)
    assert plan.state_elements == 4 * 22  # of the padded axis
    across = shiftcheck.streaming(net, (1, 1, 50, 20))
    assert (across.lookback, across.lookahead) == (1, 1)


def test_a_plan_is_read_back() -> None:
    for model in (CausalStack(), Lstm(), nn.GroupNorm(1, 2)):
        plan = plan_of(model)
        assert StreamingPlan.from_json(plan.to_json()) == plan
        assert shiftcheck.report.read_report(plan.to_json()) == plan


def test_nothing_is_changed() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Conv1d(2, 2, 3)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    random = torch.get_rng_state()
    plan_of(net)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_every_kind_of_memory_has_its_words() -> None:
    for one, other in itertools.pairwise(Memory):
        assert one.plain
        assert one.plain != other.plain
