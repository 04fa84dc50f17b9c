"""Input sizes: those that running the model at every size finds, from few passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.networks.choosy import NETWORKS, Asking, Own, conv2
from torch import nn

import shiftcheck
from shiftcheck import InputError, ModelError, ShiftcheckError
from shiftcheck.checks.prepare import prepared
from shiftcheck.lattice.layout import Axis
from shiftcheck.lattice.outlook import compares
from shiftcheck.measuring import sized_passes
from shiftcheck.measuring.choose_shifts import unit_steps
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report import InputSizes, SizeSet

EVERY = 300
MOST = 150
"""So many passes at most, for all axes together: a half of what one axis has sizes."""

ON_AVERAGE = EVERY // 6
REGION = 150
VOLUMES = 60
"""Sizes of three axes at once are tried up to this one."""


def made(name: str) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    make, axes = NETWORKS[name]
    return make().eval(), axes


def takes(model: nn.Module, sizes: tuple[int, ...]) -> bool:
    try:
        with torch.no_grad():
            model(torch.randn(1, 1, *sizes))
    except Exception:
        return False
    return True


def sizes_of(model: Any, *given: int, **options: Any) -> InputSizes:
    return shiftcheck.input_sizes(model, (1, 1, *given), **options)


def along(found: InputSizes, axis: int, size: int) -> tuple[int, ...]:
    """Sizes of which one axis has this one, or all, where they are tied."""
    return tuple(
        size if a == axis or found.joint == "equal" else n for a, n in enumerate(found.base)
    )


passed: dict[str, int] = {}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_sizes_are_those_of_running_at_every_one(name: str) -> None:
    model, axes = made(name)
    found = sizes_of(model, *(64,) * axes)
    passed[name] = found.passes
    assert found.passes <= MOST
    for axis in range(axes):
        for n in range(1, EVERY + 1 if axes < 3 else VOLUMES + 1):
            taken = takes(model, along(found, axis, n))
            assert taken == (n in found.axes[axis].accepted), (axis, n)


@pytest.mark.slow
def test_there_are_forty_networks_and_few_passes_for_each() -> None:
    assert len(NETWORKS) >= 40
    if len(passed) == len(NETWORKS):
        assert sum(passed.values()) / len(passed) <= ON_AVERAGE


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, (_, axes) in NETWORKS.items() if axes == 2])
def test_pairs_of_sizes_that_are_claimed_are_taken(name: str) -> None:
    model, _ = made(name)
    found = sizes_of(model, 64, 64)
    draw = torch.Generator().manual_seed(1)
    claimed = 0
    for _ in range(400):
        sizes = tuple(torch.randint(1, 120, (2,), generator=draw).tolist())
        if found.accepts(sizes):
            claimed += 1
            assert takes(model, sizes), sizes
    for n in range(1, 120):
        if found.accepts(n):
            claimed += 1
            assert takes(model, (n, n)), n
    assert claimed


def looked_at(model: nn.Module, sizes: tuple[int, ...], axis: int) -> tuple[bool, bool]:
    """Whether a size leaves something valid, and enough for a comparison."""
    given = prepared(model, torch.empty(1, 1, *sizes, device="meta"), "valid", values=False)
    try:
        _, outputs, _ = read_structure(given.model, given.inputs, layer=None, training=False)
    except ShiftcheckError:
        return False, False
    layouts = [row.layout for row in outputs]
    steps = unit_steps(layouts, given.inputs)
    states = [layout.axes[axis] for layout in layouts]
    if steps is None or not all(isinstance(s, Axis) for s in states):
        return False, False
    some = all(isinstance(s, Axis) and s.any_is_valid for s in states)
    enough = steps[axis] < sizes[axis] and all(compares(s, steps[axis]) for s in states)
    return some, enough


REGIONS = [
    "convolution, not padded",
    "strided convolutions",
    "strided, not padded",
    "odd stride",
    "reflection",
    "U-Net, 1 level",
    "U-Net, 3 levels",
    "U-Net that crops",
    "U-Net that pads",
    "U-Net that resizes",
    "added, 3 levels",
    "second level alone",
    "unshuffled by 3, strided",
    "windows of 7",
    "ceil mode, by threes",
    "asks for multiples of 24",
    "asks for multiples of 16 up to 128",
    "a table that is cut",
    "line, dilated",
    "line, down and up",
    "volume",
    "other strides along the axes",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_those_of_looking_at_every_size(name: str) -> None:
    model, axes = made(name)
    found = sizes_of(model, *(64,) * axes)
    here = found.axes[0]
    assert here.valid is not None
    assert here.comparable is not None
    for n in range(1, REGION + 1 if axes < 3 else VOLUMES + 1):
        if n in here.accepted:
            some, enough = looked_at(model, along(found, 0, n), 0)
            assert (some, enough) == (n in here.valid, n in here.comparable), n


def evenly(model: nn.Module, size: int) -> bool:
    """Whether the windows of every layer end where its padding does."""
    even = []

    def hook(module: nn.Module, args: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        n = args[0].shape[-1]
        values = (module.kernel_size, module.stride, module.padding)
        kernel, stride, padding = (v if isinstance(v, int) else v[-1] for v in values)
        even.append((n + 2 * padding - kernel) % stride == 0)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Conv1d | nn.AvgPool1d):
            module.register_forward_hook(hook)
    with torch.no_grad():
        model(torch.randn(1, 1, size, size))
    return all(even)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(*(conv2(3, 2, 1) for _ in range(3))),
        lambda: nn.Sequential(conv2(7, 2, 3), nn.MaxPool2d(3, 2, 1), conv2(3, 1, 1), conv2(1, 2)),
        lambda: nn.Sequential(conv2(5, 3), nn.MaxPool2d(2), conv2(3, 1, 1)),
        lambda: nn.Sequential(conv2(4, 2, 1), conv2(4, 2, 1)),
    ],
)
def test_padding_is_even_where_the_windows_end_with_it(make: Callable[[], nn.Module]) -> None:
    even = sizes_of(make(), 64, 64).axes[1].even
    for n in range(24, 72):
        assert (n in even) == evenly(make(), n), n


def test_resnets_are_even_at_193_and_225_not_at_224() -> None:
    even = sizes_of(nn.Sequential(*(conv2(3, 2, 1) for _ in range(5))), 224, 224).axes[0].even
    assert [n for n in (192, 193, 224, 225, 256, 257) if n in even] == [193, 225, 257]


def test_refused_sizes_tell_whether_the_accepted_ones_are_even() -> None:
    """Only even sizes are taken, at all of which a 3 x 3 window with stride 2 is one short."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        halved = nn.functional.avg_pool1d(x, 3, 2, padding=1)
        return torch.cat([nn.functional.interpolate(halved, scale_factor=2), x], 1)

    (axis,) = sizes_of(forward, 64).axes
    assert axis.accepted == SizeSet(step=2, starts=(2,))
    assert not axis.even


def test_what_pads_itself_is_even_where_it_pads_nothing() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool1d(nn.functional.pad(x, (0, -x.shape[-1] % 8)), 8)

    (axis,) = sizes_of(forward, 64).axes
    assert axis.accepted == SizeSet(starts=(1,))
    assert axis.even == SizeSet(step=8, starts=(8,))


def test_a_causal_layer_is_even_where_its_windows_end_at_the_end() -> None:
    causal = nn.Sequential(nn.ConstantPad1d((3, 0), 0.0), nn.Conv1d(1, 1, 4, stride=4))
    assert sizes_of(causal, 64).axes[0].even == SizeSet(step=4, starts=(1,))


def test_circles_that_stay_closed() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1, padding_mode="circular"), nn.MaxPool2d((1, 3)))
    rows, columns = sizes_of(net, 64, 64, boundary=("valid", "circular")).axes
    assert rows.closed is None
    assert columns.closed == SizeSet(step=6, starts=(6,))
    assert columns.accepted.least == 5
    found = sizes_of(net, 64, 64, boundary=("valid", "circular"))
    assert found.nearest((64, 64), "closed")[1] == (60, 66)
    assert found.nearest((64, 64), "closed")[0] == (None, None)


QUICK = [
    "convolution, not padded",
    "second level alone",
    "added, by threes",
    "linear over the axis",
    "one sample fits any number",
    "a table that is looked up",
    "asks for multiples of 16 up to 128",
    "ceil mode, by threes",
    "unshuffled by 4",
    "line, down and up",
]


@pytest.mark.parametrize("name", QUICK)
def test_some_agree_with_running_them(name: str) -> None:
    model, axes = made(name)
    found = sizes_of(model, *(64,) * axes)
    for n in [*range(1, 50), *range(145, 160)]:
        assert takes(model, along(found, 0, n)) == (n in found.axes[0].accepted), n


def test_the_passes_that_are_told_are_those_that_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = sized_passes.SizedPasses.run, []

    def counted(self: Any, sizes: tuple[int, ...]) -> Any:
        seen.append(sizes)
        return run(self, sizes)

    monkeypatch.setattr(sized_passes.SizedPasses, "run", counted)
    found = sizes_of(conv2(3, 2, 1), 60, 60)
    assert found.passes == len(seen)
    assert len(seen) <= ON_AVERAGE


def test_the_given_size_need_not_be_taken() -> None:
    found = sizes_of(down_and_up, 225, 233)
    assert not found.accepts((225, 233))
    assert found.nearest((225, 233)) == ((224, 232), (232, 240))
    assert "at the given size the model raised RuntimeError" in found.notes[0]


def down_and_up(x: torch.Tensor) -> torch.Tensor:
    """As a U-Net with three levels, without weights."""
    return torch.cat([nn.functional.interpolate(nn.functional.max_pool2d(x, 8), scale_factor=8), x])


def test_axes_that_must_be_equal() -> None:
    found = sizes_of(Own(lambda x: x + x.mT), 30, 30)
    assert found.joint == "equal"
    assert found.accepts(41)
    assert not found.accepts((41, 42))


def test_axes_that_only_go_together_in_some_way_are_not_claimed_together() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] % 2 and x.shape[3] % 2:
            raise ValueError("one of them must be even")
        return x

    found = sizes_of(forward, 32, 32)
    assert found.joint == "unknown"
    assert found.accepts((33, 64))
    assert not found.accepts((33, 35))
    assert not found.accepts((36, 35))  # it would, but that is not known
    assert "one axis at a time" in str(found)


def test_small_sizes_that_do_not_go_together() -> None:
    net = nn.Sequential(conv2(3, 2, 1), nn.InstanceNorm2d(1))
    found = sizes_of(net, 32, 32)
    assert found.together == 3
    assert found.accepts((1, 64))
    assert not found.accepts((2, 2))
    assert found.accepts((3, 3))


def test_a_model_that_needs_values_is_run_on_them() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        scale = float(x.abs().max())
        return nn.functional.pixel_unshuffle(x[..., None, :].repeat(1, 1, 3, 1) / scale, 3)

    found = sizes_of(forward, 48)
    assert found.axes[0].accepted == SizeSet(step=3, starts=(3,))
    assert "run on values" in found.notes[-1]


def test_what_fails_on_values_alone_is_found_by_running_on_them() -> None:
    """Without values no index lies outside."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        return x[..., :100].gather(-1, (0 * x).long() + x.shape[-1] - 1)

    found = sizes_of(forward, 48)
    assert found.axes[0].accepted == SizeSet(starts=(1,), most=100)
    assert "run on values" in found.notes[-1]


def test_a_function_of_arrays() -> None:
    import numpy as np

    def halved(x: Any) -> Any:
        return np.ascontiguousarray(x).reshape(*x.shape[:2], -1, 2).mean(-1)

    found = shiftcheck.input_sizes(halved, np.zeros((1, 1, 24), np.float32))
    assert found.axes[0].accepted == SizeSet(step=2, starts=(2,))


def test_signals_that_move_together() -> None:
    def forward(image: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        return image + nn.functional.interpolate(coarse, scale_factor=4)

    found = shiftcheck.input_sizes(forward, (torch.zeros(1, 1, 32), torch.zeros(1, 1, 8)))
    assert found.axes[0].accepted == SizeSet(step=4, starts=(4,))


def test_a_forward_that_needs_gradients() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            y = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad((y**2).sum(), y)
        return nn.functional.max_pool1d(gradient, 4)

    assert sizes_of(forward, 32).axes[0].accepted.least == 4


def test_a_long_period_is_sampled_and_says_so() -> None:
    found = sizes_of(Own(lambda x: x.unflatten(-1, (-1, 160)).mean(-1)), 640)
    (axis,) = found.axes
    assert axis.sampled
    assert axis.accepted == SizeSet(step=160, starts=(160,))
    assert "not every size of a period was run" in str(found)


def test_no_rule_is_claimed_where_there_is_none() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        if any(n % k == 0 for k in range(2, n)):
            raise ValueError("only primes")
        return x

    found = sizes_of(forward, 64)
    (axis,) = found.axes
    primes = [n for n in range(1, 120) if takes(Own(forward), (n,))]
    assert [n for n in range(1, 120) if n in axis.accepted] == primes
    assert axis.sampled
    assert axis.accepted.nearest(10_000)[1] is None


def test_a_model_that_takes_nothing_says_what_it_raised() -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("never")

    with pytest.raises(ModelError, match=r"took none of \d+ sizes; on .* never"):
        sizes_of(forward, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sizes_of(conv2(3), -1, 8), "a shape has no negative sizes"),
        (lambda: sizes_of(conv2(3), 8, 8).nearest((1, 2, 3)), r"sizes=\(1, 2, 3\): give one for"),
        (
            lambda: sizes_of(conv2(3), 8, 8).nearest(8, "odd"),
            "wanted='odd': give one of 'accepted'",
        ),
    ],
)
def test_what_cannot_be_used_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_layer_that_is_not_met_is_named() -> None:
    net = nn.Sequential(conv2(3), nn.PixelUnshuffle(4))
    with pytest.raises(InputError, match="layer='nowhere' was not met in the forward pass"):
        sizes_of(net, 32, 33, layer="nowhere")
    with pytest.raises(ModelError, match=r"raised RuntimeError on an input"):  # as at this size
        shiftcheck.check_equivariance(net, torch.zeros(1, 1, 32, 33), layer="nowhere")
    assert sizes_of(net, 32, 33, layer="0").accepts((33, 33))


def test_the_model_is_left_as_it_was() -> None:
    net = nn.Sequential(conv2(3), nn.BatchNorm2d(1))
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    sizes_of(net, 16, 16)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_there_and_back_and_shown() -> None:
    found = sizes_of(down_and_up, 30, 32)
    assert InputSizes.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["kind"] == "InputSizes"
    assert str(found).splitlines()[:2] == [
        f"down_and_up does not take 30 x 32: what sizes it takes, from {found.passes} passes",
        "every axis: multiples of 8",
    ]
    assert "nearest: 24 or 32 along axis 0, 32 along axis 1" in str(found)
    assert "multiples of 8" in found._repr_html_()


def test_a_size_that_the_model_asks_for_itself() -> None:
    (rows, _) = sizes_of(Asking(24), 50, 50).axes
    assert rows.accepted == SizeSet(step=24, starts=(24,))


@pytest.mark.parametrize("model", [nn.AdaptiveAvgPool1d(5), nn.Upsample(size=32)])
def test_nothing_is_told_of_samples_whose_stride_depends_on_the_size(model: nn.Module) -> None:
    (axis,) = shiftcheck.input_sizes(model, (1, 1, 40)).axes
    assert axis.accepted.least == 1
    assert (axis.valid, axis.comparable) == (None, None)
