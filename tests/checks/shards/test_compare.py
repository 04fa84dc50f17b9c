"""Shards that are right pass, and each fault is told with its place and its reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.checks.shards.faulty import (
    Sharded,
    Shards,
    as_functions,
    averaged,
    cropped,
    half_the_receptive_field,
    layer_by_layer,
    two_layers,
    with_halo,
)
from torch import nn

import shiftcheck
from shiftcheck.errors import InconclusiveError, InputError, ModelError, ShardsDifferError
from shiftcheck.report import ShardedComparison, ShardFault

X = torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(1))
NET = two_layers()


def alone(net: Any) -> Sharded:
    return lambda shards: [net(x) for x in shards]


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize(
    "sharded", [layer_by_layer(NET, (1, 1), (2, 2)), as_functions(NET, 3), as_functions(NET, 4)]
)
def test_what_is_right_is_the_same(sharded: Sharded, parts: int) -> None:
    found = shiftcheck.check_sharded(NET, sharded, X, parts)
    assert (found.verdict, found.faults, found.guilty) == ("same", (), None)


@pytest.mark.parametrize(
    ("first", "second", "layer", "fault", "given", "needed"),
    [
        ((1, 1), (1, 2), "2", ShardFault.HALO, (1, 0), (2, 0)),
        ((1, 1), (2, 1), "2", ShardFault.HALO, (0, 1), (0, 2)),
        ((1, 1), (0, 2), "2", ShardFault.PADDING, (0, 0), (2, 0)),
        ((1, 0), (2, 2), "0", ShardFault.PADDING, (0, 0), (0, 1)),
        ((0, 1), (2, 2), "0", ShardFault.PADDING, (0, 0), (1, 0)),
    ],
)
def test_the_layer_the_side_and_the_width(
    first: tuple[int, int],
    second: tuple[int, int],
    layer: str,
    fault: ShardFault,
    given: tuple[int, int],
    needed: tuple[int, int],
) -> None:
    found = shiftcheck.check_sharded(NET, layer_by_layer(NET, first, second), X, 2)
    guilty = found.guilty
    assert guilty is not None
    assert (found.located, guilty.name, found.faults) == ("modules", layer, (fault,))
    assert (guilty.given, guilty.needed) == (given, needed)
    wrong = tuple(n - g for g, n in zip(given, needed, strict=True))
    assert (guilty.left, guilty.right) == wrong
    assert guilty.shard == (1 if needed[0] else 0)


@pytest.mark.parametrize(
    ("halo", "fault"), [(0, ShardFault.PADDING), (1, ShardFault.HALO), (2, ShardFault.HALO)]
)
def test_without_modules_the_outputs_tell(halo: int, fault: ShardFault) -> None:
    found = shiftcheck.check_sharded(NET, as_functions(NET, halo), X, 2)
    assert (found.located, found.guilty, found.faults) == ("outputs", None, (fault,))
    (seam,) = found.outputs[0].seams
    assert (seam.at, seam.left, seam.right) == (32, 3 - halo, 3 - halo)
    assert seam.missing == (3 - halo, 3 - halo)


def test_a_copy_of_the_model_is_seen_as_well() -> None:
    other = copy.deepcopy(NET)
    found = shiftcheck.check_sharded(NET, lambda shards: [other(x) for x in shards], X, 2)
    assert found.guilty is not None
    assert (found.located, found.guilty.name) == ("modules", "0")


@pytest.mark.parametrize("order", ["shards", "layers"])
def test_a_module_that_runs_twice_is_told_by_its_call(order: str) -> None:
    conv = nn.Conv1d(2, 2, 3, padding=1)
    net = nn.Sequential(conv, nn.Tanh(), conv)

    def run(shards: Shards) -> Shards:
        held = with_halo(shards, 1, 1)
        if order == "shards":
            out = []
            for i, x in enumerate(held):
                y = net[1](conv(x))[..., (1 if i else 0) : (None if i else -1)]
                out.append(conv(y))
            return out
        held = cropped([conv(x) for x in held], 1, 1)
        return [conv(net[1](y)) for y in held]

    found = shiftcheck.check_sharded(net, run, X, 2)
    assert found.guilty is not None
    assert found.guilty.name == "0#2"
    assert found.faults == (ShardFault.PADDING,)


GROUPS = nn.Sequential(nn.Conv1d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv1d(4, 2, 1))
SCORES = nn.Sequential(nn.Conv1d(2, 4, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))


def pooled_rightly(shards: Shards) -> Shards:
    held = [SCORES[0](x) for x in shards]
    total = sum(y.sum(-1) for y in held) / sum(y.shape[-1] for y in held)
    return [SCORES[3](total) for _ in shards]


def test_a_missing_collective_is_told() -> None:
    found = shiftcheck.check_sharded(GROUPS, alone(GROUPS), X, 2)
    assert found.guilty is not None
    assert (found.faults, found.guilty.name) == ((ShardFault.COLLECTIVE,), "1")
    assert found.layers == ("1",)

    def functions(shards: Shards) -> Shards:
        held = [F.conv1d(x, GROUPS[0].weight, GROUPS[0].bias) for x in shards]
        held = [F.group_norm(y, 2, GROUPS[1].weight, GROUPS[1].bias) for y in held]
        return [F.conv1d(y, GROUPS[2].weight, GROUPS[2].bias) for y in held]

    found = shiftcheck.check_sharded(GROUPS, functions, X, 2)
    assert (found.faults, found.located) == ((ShardFault.COLLECTIVE,), "outputs")


def test_an_output_without_the_axis_is_the_same_on_all_shards() -> None:
    assert shiftcheck.check_sharded(SCORES, pooled_rightly, X, 2).verdict == "same"
    found = shiftcheck.check_sharded(SCORES, alone(SCORES), X, 2)
    assert found.faults == (ShardFault.COLLECTIVE,)
    assert found.outputs[0].dim is None


def test_what_sees_everything_is_told() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = (x.transpose(1, 2) @ x).softmax(-1) @ x.transpose(1, 2)
            return out.transpose(1, 2)

    net = nn.Sequential(nn.Conv1d(2, 2, 1), Attention())
    found = shiftcheck.check_sharded(net, alone(net), X, 2)
    assert found.guilty is not None
    assert (found.faults, found.guilty.name) == ((ShardFault.GLOBAL,), "1")


DOWN_UP = nn.Sequential(
    nn.Conv1d(2, 4, 3, stride=2, padding=1), nn.Tanh(), nn.ConvTranspose1d(4, 2, 4, 2, 1)
)


def one_exchange(shards: Shards) -> Shards:
    out = []
    for i, (x, wide) in enumerate(zip(shards, with_halo(shards, 4, 4), strict=True)):
        start = 4 if i else 0
        out.append(DOWN_UP(wide)[..., start : start + x.shape[-1]])
    return out


def test_shards_off_the_grid_are_told_from_small_halos() -> None:
    assert shiftcheck.check_sharded(DOWN_UP, one_exchange, X, 2).verdict == "same"
    for bounds in ((0, 33), (0, 25)):
        found = shiftcheck.check_sharded(DOWN_UP, one_exchange, X, 2, bounds=bounds)
        assert (found.faults, found.period) == ((ShardFault.OFF_GRID,), 2)
        assert found.bounds == (*bounds, 64)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("bounds", [(0, 31), (0, 35), (0, 29), (0, 21, 44), (0, 32)])
def test_half_the_receptive_field_is_flagged_where_it_is_wrong(
    stride: int, kernel: int, bounds: tuple[int, ...]
) -> None:
    """On some shards it happens to be right, which is asked first."""
    conv = nn.Conv1d(2, 2, kernel, stride=stride, padding=kernel // 2)
    sharded, x = half_the_receptive_field(conv), torch.randn(1, 2, 66)
    pieces = [b - a for a, b in zip(bounds, (*bounds[1:], 66), strict=True)]
    with torch.no_grad():
        joined, whole = torch.cat(list(sharded(x.split(pieces, -1))), -1), conv(x)
    same = joined.shape == whole.shape and torch.allclose(joined, whole, atol=1e-6)
    found = shiftcheck.check_sharded(conv, sharded, x, len(bounds), bounds=bounds)
    assert (found.verdict == "same") == same
    if not same and joined.shape != whole.shape:
        assert found.faults == (ShardFault.LENGTHS,)


def test_half_the_receptive_field_is_wrong_somewhere() -> None:
    conv = nn.Conv1d(2, 2, 3, stride=3, padding=1)
    found = shiftcheck.check_sharded(
        conv, half_the_receptive_field(conv), torch.randn(1, 2, 66), 2, bounds=(0, 32)
    )
    assert found.faults == (ShardFault.LENGTHS,)
    assert (sum(found.outputs[0].lengths), sum(found.outputs[0].expected)) == (23, 22)


def other_border(shards: Shards) -> Shards:
    y = NET(F.pad(torch.cat(list(shards), -1), (3, 3), mode="replicate"))[..., 3:-3]
    return list(y.split([x.shape[-1] for x in shards], -1))


@pytest.mark.parametrize(
    ("sharded", "fault"),
    [
        (lambda shards: layer_by_layer(NET, (1, 1), (2, 2))(shards)[::-1], ShardFault.ORDER),
        (averaged(NET, 2), ShardFault.AVERAGED),
        (averaged(NET, 1), ShardFault.AVERAGED),
        (other_border, ShardFault.BORDER),
        (lambda shards: [1.5 * y for y in as_functions(NET, 3)(shards)], ShardFault.OTHER),
        (lambda shards: as_functions(NET, 3)(shards)[:1] * 2, ShardFault.OTHER),
        (lambda shards: [y[..., 1:] for y in as_functions(NET, 3)(shards)], ShardFault.LENGTHS),
        (lambda shards: [y[:, :1] for y in as_functions(NET, 3)(shards)], ShardFault.LENGTHS),
    ],
)  # fmt: skip
def test_other_faults_are_told_apart(sharded: Sharded, fault: ShardFault) -> None:
    assert shiftcheck.check_sharded(NET, sharded, X, 2).faults == (fault,)


@pytest.mark.parametrize(
    ("dtype", "halo", "beside"),
    [
        (torch.float16, 3, ()),
        (torch.bfloat16, 3, ()),
        (torch.float16, 2, (ShardFault.HALO,)),
        (torch.bfloat16, 0, (ShardFault.PADDING,)),
    ],
)
def test_a_coarser_type_of_shards_is_told_with_what_is_wrong_besides(
    dtype: torch.dtype, halo: int, beside: tuple[ShardFault, ...]
) -> None:
    def coarser(shards: Shards) -> Shards:
        return [y.to(dtype) for y in as_functions(NET, halo)(shards)]

    found = shiftcheck.check_sharded(NET, coarser, X, 2)
    assert found.faults == (*beside, ShardFault.PRECISION)
    assert "in the type of the whole" in " ".join(str(found).split())
    allowed = shiftcheck.check_sharded(NET, coarser, X, 2, rtol=2e-2, atol=0.0)
    assert (allowed.verdict == "same") is (not beside)


def test_modules_that_run_in_a_coarser_type_are_told() -> None:
    low = copy.deepcopy(NET).bfloat16()
    for second, faults in (
        ((2, 2), (ShardFault.PRECISION,)),
        ((1, 2), (ShardFault.HALO, ShardFault.PRECISION)),
    ):

        def coarser(shards: Shards, second: tuple[int, int] = second) -> Shards:
            return layer_by_layer(low, (1, 1), second)([x.bfloat16() for x in shards])

        assert shiftcheck.check_sharded(NET, coarser, X, 2).faults == faults
    rounded = [y.half().float() for y in as_functions(NET, 3)(list(X.split(32, -1)))]
    assert shiftcheck.check_sharded(NET, lambda s: rounded, X, 2).faults == (ShardFault.PRECISION,)


def circular(net: nn.Conv1d, left: int) -> Sharded:
    def run(shards: Shards) -> Shards:
        whole, out, at = torch.cat(list(shards), -1), [], 0
        for x in shards:
            places = torch.arange(at - left, at + x.shape[-1] + 1) % whole.shape[-1]
            part = F.pad(whole[..., places], (1 - left, 0))
            out.append(F.conv1d(part, net.weight, net.bias))
            at += x.shape[-1]
        return out

    return run


def test_a_circle_is_closed_by_the_first_and_the_last_shard() -> None:
    net = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    assert shiftcheck.check_sharded(net, circular(net, 1), X, 3).verdict == "same"
    assert shiftcheck.check_sharded(net, circular(net, 0), X, 3).verdict == "different"


class Two(nn.Module):
    """Two inputs of different sizes, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv1d(2, 2, 2, stride=2)
        self.high = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x: torch.Tensor, low: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"low": self.low(x) + low, "high": self.high(x)}


def test_several_inputs_and_outputs() -> None:
    net, low = Two(), torch.randn(1, 2, 32)
    found = shiftcheck.check_sharded(net, lambda shards: [net(*s) for s in shards], (X, low), 2)
    by_name = {o.name: o.faults for o in found.outputs}
    assert by_name == {"output['low']": (), "output['high']": (ShardFault.PADDING,)}
    assert found.guilty is not None
    assert found.guilty.name == "high"


ONE = nn.Conv1d(2, 2, 3, padding=1)
BLIND = copy.deepcopy(ONE)
with torch.no_grad():
    BLIND.weight[..., [0, 2]] = 0
DEAD = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.Threshold(100.0, 0.0))


@pytest.mark.parametrize(
    ("net", "x", "reason"),
    [
        (BLIND, X, "no seam visible"),
        (ONE, torch.zeros(1, 2, 64), "constant input"),
        (DEAD, X, "dead output"),
        (lambda x: x * torch.nan, X, "not finite"),
        (lambda x: x + torch.rand_like(x), X, "nondeterministic"),
    ],
)
def test_what_tells_nothing_is_no_pass(net: Any, x: torch.Tensor, reason: str) -> None:
    found = shiftcheck.check_sharded(net, alone(net), x, 2)
    assert (found.verdict, found.reason) in (
        ("inconclusive", reason),
        ("inconclusive", "constant output"),
    )
    with pytest.raises(InconclusiveError):
        shiftcheck.assert_sharded_equals_whole(net, alone(net), x, 2)


def test_tolerances_are_the_users() -> None:
    def rough(shards: Shards) -> Shards:
        return [y + 1e-4 for y in as_functions(NET, 3)(shards)]

    assert shiftcheck.check_sharded(NET, rough, X, 2).verdict == "different"
    assert shiftcheck.check_sharded(NET, rough, X, 2, rtol=0.0, atol=1e-3).verdict == "same"
    huge = shiftcheck.check_sharded(NET, rough, X, 2, rtol=2.0, atol=0.0)
    assert huge.reason == "tolerance larger than the signal"


def test_the_assertion_says_the_layer() -> None:
    with pytest.raises(ShardsDifferError, match=r"first layer that differs: '0' \(Conv1d\)"):
        shiftcheck.assert_sharded_equals_whole(NET, alone(NET), X, 2)


@pytest.mark.parametrize(
    ("sharded", "error", "match"),
    [
        (None, InputError, "sharded=None: give a callable"),
        (lambda shards: shards[0], ModelError, r"returned one thing \(Tensor\) for 2 shards"),
        (lambda shards: [shards[0]], ModelError, "returned 1 outputs .* for 2 shards"),
        (
            lambda shards: [(x, x) for x in shards],
            ModelError,
            r"shard 0 returned output\[0\], output\[1\], and the model output:",
        ),
        (lambda shards: 1 / 0, ModelError, "the sharded callable raised ZeroDivisionError"),
    ],
)
def test_callables_that_cannot_be_used(sharded: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        shiftcheck.check_sharded(NET, sharded, X, 2)


@pytest.mark.parametrize(
    ("keywords", "match"),
    [
        ({"parts": 0}, "parts=0"),
        ({"parts": 40}, "parts=40: .*least width"),
        ({"parts": 2, "axis": 0}, "axis=0 is no spatial dimension"),
        ({"parts": 2, "bounds": (0, 70)}, "give where each shard begins"),
        ({"parts": 2, "bounds": (0, float("inf"))}, "give where each shard begins"),
        ({"parts": 2, "rtol": 0.1}, "give both or neither"),
        ({"parts": 2, "distributed": True}, "no process group is there"),
    ],
)
def test_arguments_that_cannot_be_used(keywords: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        shiftcheck.check_sharded(NET, alone(NET), X, **keywords)


def test_everything_is_left_as_it_was_also_when_the_callable_raises() -> None:
    net = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.BatchNorm1d(2)).train()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    x, drawn = X.clone(), torch.get_rng_state()

    def writing(shards: Shards) -> Shards:
        net[1].running_mean.add_(1.0)
        shards[0].zero_()
        torch.rand(3)
        raise ValueError

    with pytest.raises(ModelError):
        shiftcheck.check_sharded(net, writing, x, 2)
    assert torch.equal(torch.get_rng_state(), drawn)
    shiftcheck.check_sharded(net, alone(net), x, 2)
    assert torch.equal(x, X)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_json_is_read_back() -> None:
    found = shiftcheck.check_sharded(NET, alone(NET), X, 2)
    assert ShardedComparison.from_json(found.to_json()) == found


CONV = nn.Conv2d(2, 3, 3, padding=1)
IMAGE = torch.randn(2, 2, 8, 12, generator=torch.Generator().manual_seed(2))


def tokens(x: torch.Tensor) -> torch.Tensor:
    return CONV(x).flatten(2).transpose(1, 2)


def halves(shards: Shards, dim: int) -> Shards:
    a, b = shards
    first = CONV(torch.cat([a, b.narrow(dim, 0, 1)], dim)).narrow(dim, 0, a.shape[dim])
    last = CONV(torch.cat([a.narrow(dim, a.shape[dim] - 1, 1), b], dim)).narrow(
        dim, 1, b.shape[dim]
    )
    return [y.flatten(2).transpose(1, 2) for y in (first, last)]


def test_rows_of_a_flattened_map_are_put_together_and_columns_cannot_be() -> None:
    found = shiftcheck.check_sharded(tokens, lambda s: halves(s, 2), IMAGE, 2, axis=2)
    assert (found.verdict, found.outputs[0].expected) == ("same", (48, 48))
    found = shiftcheck.check_sharded(tokens, alone(tokens), IMAGE, 2, axis=2)
    assert found.faults == (ShardFault.PADDING,)
    (seam,) = found.outputs[0].seams
    assert (seam.at, seam.left, seam.right) == (4, 1, 1)
    with pytest.raises(ModelError, match="holds the axis that is cut in one dimension with others"):
        shiftcheck.check_sharded(tokens, lambda s: halves(s, 3), IMAGE, 2, axis=3)


def test_channels_may_stand_last() -> None:
    def last(x: torch.Tensor) -> torch.Tensor:
        return CONV(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    x = IMAGE.permute(0, 2, 3, 1).contiguous()
    keywords: dict[str, Any] = {"axis": 2, "spatial_dims": (1, 2)}
    found = shiftcheck.check_sharded(last, alone(last), x, 2, **keywords)
    assert (found.faults, found.outputs[0].dim) == ((ShardFault.PADDING,), 2)
    assert shiftcheck.sharding(last, x, 3, **keywords).bounds == (0, 4, 8, 12)


def test_a_module_that_was_given_wrong_samples_is_not_blamed_for_them() -> None:
    net = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.Tanh())

    def run(shards: Shards) -> Shards:
        return [net[1](F.conv1d(x, net[0].weight, net[0].bias, padding=1)) for x in shards]

    found = shiftcheck.check_sharded(net, run, X, 2)
    assert found.guilty is not None
    assert (found.guilty.name, found.faults) == ("1", (ShardFault.PADDING,))
    assert any("'1' was given differs already" in note for note in found.notes)


POOLED = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.AdaptiveAvgPool1d(1)).eval()


def test_what_is_pooled_to_one_sample_is_the_same_on_all_shards() -> None:
    found = shiftcheck.check_sharded(POOLED, lambda s: [POOLED(torch.cat(s, -1))] * 2, X, 2)
    assert found.verdict == "same"
    found = shiftcheck.check_sharded(POOLED, alone(POOLED), X, 2)
    assert found.verdict == "different"
    silent = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Threshold(9.0, 1.0))
    found = shiftcheck.check_sharded(silent, alone(silent), X, 2)
    assert found.verdict == "inconclusive"


def test_shards_that_return_something_else_are_named() -> None:
    with pytest.raises(ModelError, match="shard 1 returned no tensor, and the model output:"):
        shiftcheck.check_sharded(NET, lambda shards: [NET(shards[0]), None], X, 2)


@pytest.mark.parametrize(
    ("halo", "fault"), [(0, ShardFault.PADDING), (1, ShardFault.HALO), (2, ShardFault.HALO)]
)
def test_one_exchange_at_the_input_that_is_used_up_is_too_small(
    halo: int, fault: ShardFault
) -> None:
    def cropped(shards: Shards) -> Shards:
        a, b = shards
        left = NET(torch.cat([a, b[..., :halo]], -1))[..., : a.shape[-1]]
        return [left, NET(torch.cat([a[..., a.shape[-1] - halo :], b], -1))[..., halo:]]

    found = shiftcheck.check_sharded(NET, cropped, X, 2)
    assert (found.located, found.faults) == ("modules", (fault,))


def test_one_shard_tells_nothing_of_an_exchange() -> None:
    found = shiftcheck.check_sharded(NET, alone(NET), X, 1)
    assert (found.verdict, found.reason) == ("inconclusive", "no seam visible")
    pointwise = nn.ReLU()
    assert shiftcheck.check_sharded(pointwise, alone(pointwise), X, 1).verdict == "same"
