"""The plan of shards against what layers are seen to read, and against formulas of others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck.errors import InputError
from shiftcheck.report import BorderMode, Exchange, ShardedLayer, ShardingPlan

SIZE = 24
LAYERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "conv": lambda x: F.conv1d(x, W[3], padding=1),
    "conv off centre": lambda x: F.conv1d(x, W[4]),
    "conv far": lambda x: F.conv1d(x, W[3], padding=4, dilation=3),
    "conv stride 2": lambda x: F.conv1d(x, W[3], stride=2, padding=1),
    "conv stride 3 dilation 2": lambda x: F.conv1d(x, W[4], stride=3, padding=2, dilation=2),
    "conv stride beyond the kernel": lambda x: F.conv1d(x, W[2], stride=3),
    "transposed": lambda x: F.conv_transpose1d(x, W[4], stride=2, padding=1),
    "transposed stride 3": lambda x: F.conv_transpose1d(x, W[4], stride=3, output_padding=1),
    "transposed dilation": lambda x: F.conv_transpose1d(x, W[3], stride=2, dilation=3, padding=2),
    "max pool": lambda x: F.max_pool1d(x, 3, 2, padding=1),
    "max pool ceil": lambda x: F.max_pool1d(x, 3, 5, ceil_mode=True),
    "average pool": lambda x: F.avg_pool1d(x, 4, 3, padding=2),
    "uneven pool": lambda x: F.adaptive_avg_pool1d(x, 16),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "linear": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "linear down": lambda x: F.interpolate(x, scale_factor=0.5, mode="linear"),
    "zeros beside": lambda x: F.pad(x, (3, 1)),
    "reflect": lambda x: F.pad(x, (4, 2), mode="reflect"),
    "replicate": lambda x: F.pad(x, (4, 2), mode="replicate"),
    "crop": lambda x: x[..., 3:-2],
    "every second": lambda x: x[..., 1::2],
    "zeros by hand": lambda x: torch.cat([torch.zeros(1, 2, 2), x, torch.zeros(1, 2, 1)], -1),
    "zeros by hand, beside a copy": lambda x: torch.cat([torch.zeros(1, 2, 2), x.clone()], -1),
    "zeros by hand, beside all of it": lambda x: torch.cat(
        [x.narrow(2, 0, SIZE), torch.zeros(1, 2, 2)], -1
    ),
    "pointwise": lambda x: x.tanh(),
}
GAPS = ("conv far", "transposed dilation", "conv stride 3 dilation 2")
"""Between the samples that these read there are others, and at an end it may be one of those."""

AROUND: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "circular": lambda x: F.pad(x, (3, 2), mode="circular"),
    "roll": lambda x: x.roll(3, -1),
    "by hand": lambda x: torch.cat([x[..., -2:], x, x[..., :1]], -1),
    "by hand, of copies": lambda x: torch.cat([x[..., -2:].clone(), x.clone(), x[:][..., :1]], -1),
}
W = {k: torch.randn(2, 2, k, generator=torch.Generator().manual_seed(k)) for k in range(1, 6)}


def seen_to_read(function: Callable[[torch.Tensor], torch.Tensor]) -> list[list[int]]:
    """Of each sample of the output, the samples of the input that change it."""
    x = torch.rand(1, 2, SIZE, generator=torch.Generator().manual_seed(0))
    base = function(x)
    changes = []
    for at in range(SIZE):
        other = x.clone()
        other[..., at] += 100.0
        changes.append((function(other) != base).any(0).any(0))
    found = torch.stack(changes)
    return [torch.nonzero(found[:, q]).flatten().tolist() for q in range(found.shape[1])]


def only_layer(plan: ShardingPlan) -> ShardedLayer:
    """The layer that is left where a function is one, and what is beside it does nothing."""
    found = [
        y for y in plan.layers if (y.reads, y.stride, y.inputs) != (((0.0, 0.0),), 1, y.outputs)
    ]
    return found[0] if found else plan.layers[-1]


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_needs_is_what_it_is_seen_to_read(name: str) -> None:
    layer = only_layer(shiftcheck.sharding(LAYERS[name], (1, 2, SIZE), 1))
    assert layer.exchange is not Exchange.UNKNOWN
    seen = seen_to_read(LAYERS[name])
    assert layer.outputs == len(seen)
    for start in range(len(seen)):
        for stop in range(start + 1, len(seen) + 1):
            read = [at for each in seen[start:stop] for at in each]
            needs = layer.needs(start, stop)
            low, high = (min(read), max(read) + 1) if read else (needs.start, needs.start)
            assert needs.start <= low <= high <= needs.stop, (start, stop)
            between = needs.before or needs.after
            if not (between and name in GAPS):
                assert (needs.start, needs.stop) == (low, high), (start, stop)


@pytest.mark.parametrize("name", AROUND)
def test_on_a_circle_what_lies_beyond_an_end_is_at_the_other(name: str) -> None:
    layer = only_layer(shiftcheck.sharding(AROUND[name], (1, 2, SIZE), 1))
    assert (layer.border, layer.exchange) == (BorderMode.CIRCULAR, Exchange.HALO)
    for q, read in enumerate(seen_to_read(AROUND[name])):
        needs = layer.needs(q, q + 1)
        known = [*range(needs.start, needs.stop)]
        known += [SIZE - needs.before] if needs.before else []
        known += [needs.after - 1] if needs.after else []
        assert known == read


@pytest.mark.parametrize("copied", [False, True])
def test_zeros_beside_a_crop_along_another_axis_are_zeros(copied: bool) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        crop = x[:, :, 2:].clone() if copied else x[:, :, 2:]
        edge = torch.zeros(1, 2, 4, 1)
        return torch.cat([edge, crop, edge], -1)

    layer = shiftcheck.sharding(model, (1, 2, 6, SIZE), 2).layers[-1]
    assert layer.border == BorderMode.CONSTANT
    assert layer.exchange is not Exchange.UNKNOWN


def distvae(u: int, stride: int, kernel: int, padding: int) -> tuple[int, int]:
    """The halo of DistVAE's PatchConv2d at a seam: first of the patch behind it, then before it."""
    steps = (u + padding - (kernel - 1) // 2 + stride - 1) // stride
    top = u - (steps * stride - padding)
    bottom = (steps - 1) * stride + kernel - padding - u
    return max(0, top), max(0, bottom)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_the_asymmetric_halo_of_distvae(stride: int, kernel: int) -> None:
    padding = (kernel - 1) // 2
    net = nn.Conv1d(1, 1, kernel, stride=stride, padding=padding)
    layer = shiftcheck.sharding(net, (1, 1, 36), 1).layers[0]
    for start in range(12, 18):
        split = math.ceil(start / stride)
        left, right = distvae(start, stride, kernel, padding)
        assert layer.halo_of((start, 36), (split, layer.outputs))[0] == left
        assert layer.halo_of((0, start), (0, split))[1] == right


class Several(nn.Module):
    """One of each kind of need."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.position = nn.Parameter(torch.randn(1, 4, 1, 16))
        self.up = nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.first(x)) + self.position
        y = y * y.mean((2, 3), keepdim=True).sigmoid()
        return F.avg_pool2d(self.up(y), 3, 1, padding=1) + x


def test_each_layer_says_what_it_needs() -> None:
    plan = shiftcheck.sharding(Several(), (1, 2, 8, 32), 2)
    needs = {y.name: (y.exchange, y.halo) for y in plan.layers}
    assert needs["first"] == (Exchange.HALO, (1, 0))
    assert needs["norm"][0] == needs["mean"][0] == Exchange.STATISTIC
    assert needs["mul"][0] == needs["add"][0] == Exchange.NOTHING
    assert needs["up"] == needs["avg_pool2d"] == (Exchange.HALO, (1, 1))
    assert plan["add"].offset
    assert not plan["add_1"].offset
    assert plan["norm"].statistic == "sum and sum of squares"
    assert plan.exact
    assert (plan.period, plan.bounds) == (2, (0, 16, 32))


def test_bytes_are_those_of_one_column_of_the_layers_own_input() -> None:
    plan = shiftcheck.sharding(Several(), (3, 2, 8, 32), 2)
    column = 3 * 2 * 8 * 4
    assert plan["first"].bytes == column
    assert plan["up"].bytes == 2 * (3 * 4 * 4 * 4)
    assert shiftcheck.sharding(Several(), (3, 2, 8, 32), 4)["first"].bytes == 3 * column
    assert shiftcheck.sharding(Several().double(), (3, 2, 8, 32), 2)["first"].bytes == 2 * column
    assert plan.bytes == sum(y.bytes for y in plan.layers)


class OwnNorm(nn.Module):
    """A norm that nobody has a name for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((1, 2), keepdim=True)
        return (x - mean) / (x - mean).square().mean((1, 2), keepdim=True).add(1e-5).sqrt()


class OwnAttention(nn.Module):
    """A leaf that sees all places, with a norm of the whole in it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = (x - x.mean(-1, keepdim=True)).transpose(1, 2)
        weights: torch.Tensor = (t @ t.transpose(1, 2)).softmax(-1)
        return (weights @ t).transpose(1, 2)


class Recurrent(nn.Module):
    """A layer that goes along the axis."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.lstm(x.transpose(1, 2))[0]
        return out


@pytest.mark.parametrize(
    ("net", "exchange"),
    [
        (nn.InstanceNorm1d(2), Exchange.STATISTIC),
        (OwnNorm(), Exchange.STATISTIC),
        (nn.AdaptiveAvgPool1d(1), Exchange.STATISTIC),
        (nn.Softmax(-1), Exchange.STATISTIC),
        (lambda x: x.amax(-1), Exchange.STATISTIC),
        (lambda x: x / x.std(-1, keepdim=True), Exchange.STATISTIC),
        (OwnAttention(), Exchange.EVERYTHING),
        (nn.Linear(SIZE, SIZE), Exchange.EVERYTHING),
        (lambda x: x.flip(-1), Exchange.EVERYTHING),
        (lambda x: torch.fft.irfft(torch.fft.rfft(x)), Exchange.EVERYTHING),
        (lambda x: x.cumsum(-1), Exchange.RUNNING),
        (Recurrent(), Exchange.RUNNING),
        (lambda x: x.sort(-1)[0], Exchange.EVERYTHING),
        (lambda x: x[..., torch.tensor([5, 3, 7, 1])], Exchange.EVERYTHING),
        (lambda x: x * (1.0 if float(x.mean()) > 0 else 2.0), Exchange.UNKNOWN),
        (lambda x: x + torch.rand_like(x), Exchange.UNKNOWN),
        (lambda x: torch.cat([x[..., :12].tanh(), x[..., 12:]], -1), Exchange.UNKNOWN),
        (lambda x: torch.cat([x[..., :-1], x[..., :1]], -1), Exchange.UNKNOWN),
        (lambda x: torch.cat([x[..., :-3], x[..., :3]], -1), Exchange.UNKNOWN),
    ],
)  # fmt: skip
def test_the_gravest_need(net: nn.Module, exchange: Exchange) -> None:
    model = nn.Sequential(net) if isinstance(net, nn.Module) else net
    plan = shiftcheck.sharding(model, torch.randn(1, 2, SIZE), 1)
    gravest = max((y.exchange for y in plan.layers), key=list(Exchange).index)
    assert gravest == exchange
    assert plan.exact == (not exchange.blocks)


def test_a_statistic_behind_attention_is_still_one() -> None:
    net = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), OwnAttention(), nn.GroupNorm(1, 2))
    plan = shiftcheck.sharding(net, (1, 2, SIZE), 2)
    assert [y.name for y in plan.blocking] == ["1"]
    assert [y.name for y in plan.statistics] == ["2"]
    assert plan["0"].halo == (1, 1)
    with pytest.raises(InputError, match="every sample depends on all shards"):
        plan["1"].needs(0, 4)


def test_banded_attention_needs_a_halo_only() -> None:
    ahead = torch.arange(SIZE) - torch.arange(SIZE)[:, None]
    hidden = (ahead > 0) | (ahead < -5)

    def causal(x: torch.Tensor) -> torch.Tensor:
        t = x.transpose(1, 2)
        weights = (t @ x).masked_fill(hidden, -torch.inf).softmax(-1)
        return (weights @ t).transpose(1, 2)

    plan = shiftcheck.sharding(causal, (1, 2, SIZE), 2)
    assert plan.exact
    assert max(y.halo for y in plan.layers) == (5, 0)


def test_windows_want_shards_that_hold_whole_ones() -> None:
    def windows(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (-1, 4)).softmax(-1).flatten(-2)

    plan = shiftcheck.sharding(windows, (1, 2, 24), 3)
    assert (plan.exact, plan.period, plan.halos, plan.bounds) == (True, 4, (), (0, 8, 16, 24))


def test_the_axis_that_is_not_cut_does_not_matter() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, (5, 3), padding=(2, 1)), nn.Linear(16, 16))
    assert shiftcheck.sharding(net, (1, 1, 32, 16), 2, axis=2).layers[0].halo == (2, 2)
    assert shiftcheck.sharding(net, (1, 1, 32, 16), 2, axis=2).exact
    assert not shiftcheck.sharding(net, (1, 1, 32, 16), 2, axis=3).exact


def test_uneven_sizes_leave_the_rest_to_the_last_shard() -> None:
    net = nn.Sequential(nn.MaxPool1d(4), nn.ConvTranspose1d(1, 1, 4, stride=4))
    plan = shiftcheck.sharding(net, (1, 1, 39), 3)
    assert plan.bounds == (0, 12, 24, 39)
    assert plan.remainder == 3
    assert list(plan.legal_starts) == list(range(0, 39, 4))
    assert plan.outputs[0].bounds == (0, 12, 24, 36)


def test_several_inputs_and_outputs() -> None:
    def both(x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = F.conv1d(x, W[2], stride=2)
        return half, F.interpolate(half + mask, scale_factor=2)

    plan = shiftcheck.sharding(both, (torch.randn(1, 2, 32), torch.randn(1, 2, 16)), 2)
    assert [(o.name, o.dim, o.bounds) for o in plan.outputs] == [
        ("output[0]", 2, (0, 8, 16)),
        ("output[1]", 2, (0, 16, 32)),
    ]


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"parts": 0}, r"parts=0: give the number of shards, at least 1"),
        ({"parts": 2.0}, r"parts=2.0: give the number"),
        ({"parts": True}, r"parts=True: give the number"),
        ({"parts": 2, "axis": 1}, r"axis=1 is no spatial dimension of x, .*: give 2"),
        ({"parts": 2, "axis": 7}, r"axis=7 is no spatial dimension"),
        ({"parts": 2, "axis": "width"}, r"axis='width' is no spatial dimension"),
        ({"parts": 2, "bounds": (0, 31)}, r"31 is off the grid.*multiples of 4 \(the stride of '1'\).*28 or 32"),  # noqa: E501
        ({"parts": 2, "bounds": (4, 32)}, r"bounds=\(4, 32\): give where each shard begins"),
        ({"parts": 3, "bounds": (0, 32)}, r"these are the starts of 2 shards"),
        ({"parts": 2, "bounds": 5}, r"bounds=5: give where each shard begins"),
        ({"parts": 2, "bounds": (0, 64)}, r"bounds=\(0, 64\): give where each shard begins"),
        ({"parts": 3, "bounds": (0, 28, 32)}, r"bounds=\(0, 28, 32\): shard 1 has 1 samples? at '2', of which a neighbour needs 2.*each shard has at least 8 pixels"),  # noqa: E501
        ({"parts": 20}, r"parts=20: .*the least width of a shard is 8 of 64 pixels.*give parts="),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(keywords: dict[str, object], match: str) -> None:
    net = nn.Sequential(
        nn.Conv1d(1, 1, 2, stride=2), nn.MaxPool1d(2), nn.Conv1d(1, 1, 5, padding=2)
    )
    with pytest.raises(InputError, match=match):
        shiftcheck.sharding(net, (1, 1, 64), **keywords)  # type: ignore[arg-type]


def test_the_most_parts_work_and_one_more_does_not() -> None:
    net = nn.Sequential(nn.MaxPool1d(2), nn.Conv1d(1, 1, 9, padding=4))
    with pytest.raises(InputError) as raised:
        shiftcheck.sharding(net, (1, 1, 64), 32)
    most = int(str(raised.value).split("give parts=")[1].split()[0])
    plan = shiftcheck.sharding(net, (1, 1, 64), most)
    assert min(plan.widths) >= plan.least == 8
    with pytest.raises(InputError):
        shiftcheck.sharding(net, (1, 1, 64), most + 1)


def test_the_model_is_left_as_it_was_found() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout()).train()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    drawn = torch.get_rng_state()
    shiftcheck.sharding(net, torch.randn(2, 1, 32), 2)
    torch.set_rng_state(drawn)
    assert net.training
    assert all(module.training for module in net)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert not any(module._forward_hooks for module in net)


def test_a_norm_over_flattened_places_is_a_statistic() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(2), nn.GroupNorm(2, 4))
    plan = shiftcheck.sharding(net, (1, 2, 8, 8), 2)
    assert [layer.name for layer in plan.statistics] == ["2"]
    assert plan.exact


@pytest.mark.slow
def test_networks_of_others() -> None:
    transformers = pytest.importorskip("transformers")
    swin = transformers.SwinModel(
        transformers.SwinConfig(
            image_size=64, embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=4
        )
    ).eval()
    plan = shiftcheck.sharding(swin, (1, 3, 64, 64), 2)
    assert (plan.exact, plan.period) == (True, 32)
    assert {layer.op: layer.halo for layer in plan.halos} == {"roll": (2, 0)}
    assert [layer.name for layer in plan.statistics] == ["pooler"]
    vit = transformers.ViTModel(
        transformers.ViTConfig(
            image_size=32,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            patch_size=8,
        )
    ).eval()
    plan = shiftcheck.sharding(vit, (1, 3, 32, 32), 2)
    assert not plan.exact


def test_an_output_that_is_not_understood_is_never_exact() -> None:
    """No layer is at fault: the axes of the output stand in another order."""
    plan = shiftcheck.sharding(lambda x: x.tanh().transpose(2, 3), (1, 2, 8, 8), 2)
    assert [layer.name for layer in plan.blocking] == ["output"]
    assert not plan.exact


def test_around_a_circle_the_first_shard_needs_samples_of_the_last() -> None:
    net = nn.Conv1d(1, 1, 5, padding=2, padding_mode="circular")
    plan = shiftcheck.sharding(nn.Sequential(net), (1, 1, 24), 3)
    assert [shard.halo for shard in plan["0"].shards] == [(2, 2)] * 3
    assert plan["0"].bytes == 3 * 4 * 4


class Reduced(nn.Module):
    """Something of all places is taken off each."""

    def __init__(self, reduced: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.reduced = reduced

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.reduced(x)


STATISTICS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "spread out like the image": (lambda x: x.mean(-1, keepdim=True).expand_as(x), "sum"),
    "normalised": (lambda x: F.normalize(x, dim=-1), "sum of powers"),
    "the largest": (lambda x: x.max(-1, keepdim=True)[0], "maximum"),
    "the least": (lambda x: x.min(-1, keepdim=True).values, "minimum"),
    "the range": (lambda x: x.max(-1, True)[0] - x.min(-1, True)[0], "maximum, minimum"),
    "a global pool": (lambda x: F.adaptive_avg_pool1d(x, 1), "sum"),
    "a mean beside a variance": (
        lambda x: torch.var_mean(x, -1, keepdim=True)[1],
        "sum and sum of squares",
    ),
    "a soft maximum": (
        lambda x: x.logsumexp(-1, keepdim=True),
        "maximum and sum of exponentials",
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_is_one_however_it_is_written(name: str) -> None:
    reduced, statistic = STATISTICS[name]
    plan = shiftcheck.sharding(Reduced(reduced), (1, 4, 48), 3, -1)
    assert plan.exact
    found = ", ".join(dict.fromkeys(layer.statistic for layer in plan.statistics))
    assert found == statistic


def test_a_shard_without_samples_of_a_slice_is_told_so() -> None:
    first = Reduced(lambda x: x[..., :8].mean(-1, keepdim=True))
    with pytest.raises(InputError, match="shard 1 would have no sample of what 'slice' gives"):
        shiftcheck.sharding(first, (1, 4, 48), 3, -1)


def test_indices_that_nothing_uses_block_nothing() -> None:
    pool = Reduced(lambda x: F.max_pool1d(x, 3, 1, 1, return_indices=True)[0])
    assert shiftcheck.sharding(pool, (1, 4, 48), 3, -1).exact


@pytest.mark.parametrize(
    "model",
    [
        lambda x: F.max_pool1d(x, 2, return_indices=True),
        lambda x: x * x.max(-1, keepdim=True)[1],
        lambda x: x - x.gather(-1, x.max(-1, keepdim=True)[1]),
        lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2),
        lambda x: F.max_unpool1d(
            F.max_pool1d(x, 2), indices=F.max_pool1d(x, 2, return_indices=True)[1], kernel_size=2
        ),
    ],
)
def test_indices_that_are_used_are_never_exact(model: Callable[..., object]) -> None:
    assert not shiftcheck.sharding(model, (1, 4, 48), 3, -1).exact
