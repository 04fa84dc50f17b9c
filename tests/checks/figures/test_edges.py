"""The effective halo against what is known of it, and against brute force."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.checks.prepare import prepared
from shiftcheck.measuring.edge_runs import SIDES, with_unknown_sides
from shiftcheck.measuring.plan import Plan
from shiftcheck.report import EffectiveHalo

SHARES = (50.0, 100.0)


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def of(model: Any, *shape: int, **options: Any) -> EffectiveHalo:
    return shiftcheck.effective_halo(model, noise(*(shape or (1, 1, 64))), **options)


def blur(*weights: float, padding: int = 0) -> nn.Module:
    conv = nn.Conv1d(1, 1, len(weights), padding=padding, bias=False)
    with torch.no_grad():
        conv.weight[:] = torch.tensor(weights)
    return conv


@pytest.mark.parametrize(
    ("model", "left", "right"),
    [
        (blur(1, 1, 1, padding=1), 1, 1),
        (blur(1, 1, 1), 0, 2),
        (nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), blur(1, 1, 1, 1, 1)), 4, 0),
        (nn.Conv1d(1, 1, 3, dilation=4, padding=4), 4, 4),
        (nn.AvgPool1d(4), 0, 3),
        (nn.Sequential(nn.AvgPool1d(4), blur(1, 1, 1, padding=1)), 4, 7),
        (nn.Upsample(scale_factor=2, mode="linear"), 1, 1),
        (nn.Sequential(nn.MaxPool1d(2), nn.Upsample(scale_factor=2)), 1, 1),
        (lambda x: x.flip(-1)[..., 2:], 0, 0),
        (lambda x: F.pad(x[..., 5:], (2, 0)), 0, 3),
    ],
)
def test_a_small_tolerance_finds_the_theoretical_halo(model: Any, left: int, right: int) -> None:
    found = of(model, tolerances=[1e-4], draws=8)
    assert found.needed(1e-4) == ((left, right),)
    for side in found.outputs[0].sides:
        assert side.needed[-1][0] == math.ceil(side.theoretical)
        pairs = zip(side.distances, side.errors[-1], strict=True)
        beyond = [error for d, error in pairs if d > math.ceil(side.theoretical)]
        assert beyond
        assert max(beyond) == 0.0


def test_weights_that_fall_off_need_less_at_a_larger_tolerance() -> None:
    falling = blur(*(10.0 ** -abs(i) for i in range(-4, 5)), padding=4)
    found = of(falling, 4, 1, 256, tolerances=[0.3, 0.03, 0.003, 0.00001], draws=8)
    needed = [found.needed(t)[0] for t in found.tolerances]
    assert needed == sorted(needed)
    assert needed[-1] == (4, 4)
    assert needed[0] in ((0, 0), (1, 1))
    assert needed[1] == (2, 2) or needed[1] == (1, 1)
    assert all(needed[i] < needed[i + 2] for i in range(2))


def test_the_errors_are_those_of_replacing_a_side_by_hand() -> None:
    """A box of 5 over a constant: what is fresh is that constant, but for one value."""
    x = torch.ones(1, 1, 64)
    x[..., 40] = 11.0
    box = blur(1, 1, 1, 1, 1, padding=2)
    found = shiftcheck.effective_halo(box, x, draws=60, percentiles=SHARES)
    (left, right) = found.outputs[0].sides
    at = dict(zip(right.distances, right.errors[-1], strict=True))
    assert at[1] >= 10 / 55 > 0  # one of the fresh values reached the window
    assert at[3] == 0.0
    assert all(e == 0 for e in left.errors[0])  # and most draws have nothing to tell of


def test_percentiles_are_of_places_and_channels() -> None:
    """Three of four channels see nothing of their neighbours."""
    conv = nn.Conv1d(1, 4, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight[:] = torch.tensor([0.0, 1.0, 0.0])
        conv.weight[0] = 1.0
    found = of(conv, 2, 1, 64, percentiles=(50.0, 100.0), tolerances=[1e-3])
    assert found.needed(1e-3, 50.0) == ((0, 0),)
    assert found.needed(1e-3, 100.0) == ((1, 1),)


def test_errors_are_relative_to_the_channel() -> None:
    """A channel a million times smaller is not hidden by the other one."""
    conv = nn.Conv1d(1, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight[0] = torch.tensor([0.0, 1e6, 0.0])
        conv.weight[1] = 1.0
    assert of(conv, tolerances=[1e-2]).needed(1e-2) == ((1, 1),)


def test_axes_stay_apart() -> None:
    found = of(nn.AvgPool2d((1, 5), 1, (0, 2)), 1, 1, 32, 40, tolerances=[1e-4])
    assert found.needed(1e-4) == ((0, 0), (2, 2))
    found = of(nn.Conv3d(1, 1, (3, 1, 5)), 1, 1, 24, 16, 24, tolerances=[1e-4])
    assert found.needed(1e-4) == ((0, 2), (0, 0), (0, 4))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU()),
        nn.InstanceNorm1d(1),
        lambda x: x * x.mean(-1, keepdim=True),
        lambda x: (x.transpose(1, 2) @ x).softmax(-1) @ x.transpose(1, 2),
    ],
)
def test_what_sees_everything_levels_off(model: Any) -> None:
    found = of(model, 1, 1, 128)
    sides = found.outputs[0].sides
    assert sides
    for side in sides:
        assert side.theoretical == math.inf
        assert side.levels_off
        assert side.level[-1] > 1e-4
        assert side.level[-1] == max(side.errors[-1][-(len(side.distances) // 4) :])
    small = [t for t in found.tolerances if t < min(s.level[-1] for s in sides)]
    assert all(found.needed(t) == ((None, None),) for t in small)
    assert "the error levels off at" in str(found)
    assert "no overlap brings it lower" in str(found)


def test_what_is_forgotten_does_not_level_off() -> None:
    """An average that forgets a half at each step sees all, and feels little of it."""

    def forgetting(x: torch.Tensor) -> torch.Tensor:
        weights = 0.5 ** torch.arange(x.shape[-1], dtype=x.dtype)
        return (x / weights).cumsum(-1) * weights

    found = of(forgetting, 1, 1, 64, tolerances=[1e-1, 1e-3])
    (left, right) = found.outputs[0].sides
    assert left.theoretical == math.inf
    assert not left.levels_off
    assert right.theoretical == 0
    ((need, _),) = found.needed(1e-3)
    assert need is not None
    assert 5 < need < 16


def test_an_input_that_is_too_small_says_so() -> None:
    found = of(nn.AvgPool1d(31, 1, 15), 1, 1, 32)
    assert found.needed(1e-3) == ((None, None),)
    assert not any(side.levels_off for side in found.outputs[0].sides)
    assert "too small to see the end of it" in str(found)
    assert of(nn.AvgPool1d(31, 1, 15), 1, 1, 128).needed(1e-3) == ((15, 15),)


def test_a_side_without_a_single_distance_says_so() -> None:
    found = of(nn.AvgPool1d(4), 1, 1, 8)
    assert found.outputs[0].sides[0].distances == ()
    assert found.needed(1e-3)[0][0] is None
    assert "too small to see the end of it" in str(found)


def test_a_model_that_refuses_the_size_is_told_what_it_takes() -> None:
    with pytest.raises(ModelError, match=r"needs multiples of 4: 32 or 36"):
        of(nn.PixelUnshuffle(4), 1, 1, 33, 33)


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (lambda x: 0 * x, {}, "dead output"),
        (lambda x: torch.ones_like(x) + 0 * x, {}, "constant output"),
        (lambda x: x.mean(-1), {}, "not spatial"),
        (lambda x: x / 0, {}, "not finite"),
        (nn.Dropout(), {"training": True}, "nondeterministic"),
    ],
)
def test_nothing_is_told_where_nothing_can_be(model: Any, options: Any, reason: str) -> None:
    found = of(model, **options)
    assert found.reason == reason
    assert found.outputs[0].sides == ()
    assert found.needed(1e-1) == ((None, None),)
    assert f"nothing can be told, {reason}" in str(found)


def test_channels_that_are_dead_are_left_out_and_told() -> None:
    conv = nn.Conv1d(1, 4, 3, padding=1)
    with torch.no_grad():
        conv.weight[1:] = 0
    found = of(conv, tolerances=[1e-3], percentiles=(50.0, 100.0))
    (output,) = found.outputs
    assert (output.channels, output.silent) == (4, 3)
    assert found.needed(1e-3, 50.0) == ((1, 1),)  # of the one that is left
    assert "3 of 4 channels" in str(found)


def test_every_output_counts() -> None:
    found = of(lambda x: (x, F.avg_pool1d(x, 5, 1, 2), {"coarse": F.avg_pool1d(x, 4)}))
    assert [o.name for o in found.outputs] == ["output[0]", "output[1]", "output[2]['coarse']"]
    assert found.needed(1e-3) == ((2, 3),)
    one = of(lambda x: (x, F.avg_pool1d(x, 5, 1, 2)), outputs=[0])
    assert one.needed(1e-3) == ((0, 0),)
    assert of(lambda x: (x, 0 * x)).needed(1e-3) == ((None, None),)
    assert not of(lambda x: (x, 0 * x)).reason


def test_layers_are_told_where_they_are_asked_for() -> None:
    net = nn.Sequential(blur(1, 1, 1, padding=1), nn.ReLU(), blur(1, 1, 1, padding=1))
    found = of(net, layers=True, tolerances=[1e-4])
    assert [(e.name, e.sides[0].needed[-1]) for e in found.layers] == [
        ("0", (1,)),
        ("1", (1,)),
        ("2", (2,)),
    ]
    assert not of(net).layers
    assert found["0"].op == "Conv1d"
    with pytest.raises(KeyError, match="there are output, 0, 1, 2"):
        found["3"]


def test_a_circle_has_no_edge() -> None:
    net = nn.Conv2d(1, 1, 3, padding=1)
    found = of(net, 1, 1, 32, 32, boundary=("valid", "circular"), tolerances=[1e-4])
    assert found.needed(1e-4) == ((1, 1), (None, None))
    with pytest.raises(InputError, match="a circle has no edge"):
        of(net, 1, 1, 32, 32, boundary="circular")


def test_signals_that_move_together_become_unknown_together() -> None:
    def forward(image: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        return image + F.interpolate(coarse, scale_factor=4)

    x = (noise(1, 1, 64), noise(1, 1, 16))
    assert shiftcheck.effective_halo(forward, x, draws=12).needed(1e-3) == ((3, 0),)
    still = shiftcheck.effective_halo(forward, x, fixed=[1])
    assert still.needed(1e-3) == ((0, 0),)


def test_fresh_content_is_drawn_from_the_signal_and_never_rolled() -> None:
    x = noise(1, 2, 24, 64)
    given = prepared(nn.Identity(), x)
    plan = Plan(model=given.model, inputs=given.inputs)
    edges = list(with_unknown_sides(plan, 3))
    assert [(e.axis, e.side) for e, _ in edges[::3]] == [(a, s) for a in (0, 1) for s in SIDES]
    for edge, (v,) in edges:
        along = torch.arange(x.shape[2 + edge.axis]) - edge.pixel
        outside = along >= 0 if edge.side == "right" else along <= 0
        differs = (v != x).any(1).any(2 - edge.axis)[0]
        assert torch.equal(differs, outside)
        for channel in range(2):
            assert set(v[0, channel].flatten().tolist()) <= set(x[0, channel].flatten().tolist())
        rolled = [x.roll(n, 2 + edge.axis) for n in range(x.shape[2 + edge.axis])]
        assert not any(torch.equal(v, r) for r in rolled)


def test_the_same_seed_gives_the_same() -> None:
    one, two = (of(blur(1, 2, 1, padding=1), seed=5) for _ in range(2))
    assert one == two
    assert one.outputs[0].sides[0].errors != of(blur(1, 2, 1, padding=1)).outputs[0].sides[0].errors


def test_a_shape_stands_for_noise() -> None:
    assert shiftcheck.effective_halo(nn.AvgPool1d(3, 1), (1, 1, 64)).needed(1e-3) == ((0, 2),)


def test_the_model_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    of(net)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerances": []}, r"tolerances=\[\]: give numbers above 0 and below 1"),
        ({"tolerances": [1.0]}, r"tolerances=\[1.0\]"),
        ({"tolerances": 0.1}, "tolerances=0.1: give numbers"),
        ({"percentiles": [101]}, r"percentiles=\[101\]: give numbers from 0 to 100"),
        ({"draws": 0}, "draws=0: give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(nn.Identity(), **options)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.needed(0.5), "tolerance=0.5 is none of"),
        (lambda found: found.needed(0.1, 75.0), "percentile=75.0 is none of"),
    ],
)
def test_what_was_not_measured_is_refused(
    ask: Callable[[EffectiveHalo], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ask(of(nn.Identity()))


def test_there_and_back_and_shown() -> None:
    found = of(nn.GroupNorm(1, 1))
    assert EffectiveHalo.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["kind"] == "EffectiveHalo"
    assert "effective halo of GroupNorm on 1x1x64, 4 draws for each side" in str(found)
    assert "<th>&gt; 0.001</th>" in found._repr_html_()
    assert "> 0.001" in str(found)
