"""Guards of the rules one by one, on hand-made signals where no model gets that far."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck.lattice.axis import Axis, GeometryError, input_axis
from shiftcheck.lattice.factors import Factor, plain
from shiftcheck.lattice.layout import Layout, Lost
from shiftcheck.rules.operands import BatchCoupledError, Constant
from shiftcheck.rules.registry import find_rule
from shiftcheck.rules.resizing import cubic

SIZE = 12


def signal(copies: int = 2, channels: int = 4, size: int = SIZE) -> Layout:
    """``[copies, channels, axis 0]``; with ``copies=0`` the first dimension is a plain one."""
    lead = (Factor("copies", copies),) if copies else plain(3)
    dims = (lead, plain(channels), (Factor("axis", size, 0),))
    return Layout(dims, (input_axis(size, circular=False),))


def constant(*shape: int) -> Constant:
    """A tensor whose values differ everywhere."""
    return Constant(shape, lambda before, size, after: size)


def rule(name: str, overload: str = "default") -> Callable[..., Any]:
    found = find_rule(f"aten::{name}", overload)
    assert found is not None
    return found


def kinds(out: Layout) -> list[str]:
    return [cause.kind for cause in out.causes]


def stride_of(out: Layout) -> Any:
    state = out.axes[0]
    return state.stride if isinstance(state, Axis) else state


# Calls in which an argument depends on the input that must not.
DEPENDENT: dict[str, Callable[[Layout], object]] = {
    "weight": lambda x: rule("conv1d")(x, signal(), None),
    "bias": lambda x: rule("conv1d")(x, constant(4, 4, 3), signal()),
    "batch norm": lambda x: rule("batch_norm")(x, signal(), None, constant(4), constant(4), False),
    "group norm": lambda x: rule("group_norm")(x, 2, None, signal()),
    "layer norm": lambda x: rule("layer_norm")(x, [SIZE], signal()),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_parameters_that_depend_on_the_input(name: str) -> None:
    with pytest.raises(GeometryError, match="depends on the input"):
        DEPENDENT[name](signal())


# Calls that mix the stacked copies.
COUPLED: dict[str, Callable[[Layout], object]] = {
    "batch norm, training": lambda x: rule("batch_norm")(x, None, None, constant(4), None, True),
    "batch norm, no statistics": lambda x: rule("batch_norm")(x, None, None, None, None, False),
    "layer norm": lambda x: rule("layer_norm")(x, [2, 4, SIZE]),
    "softmax": lambda x: rule("softmax")(x, 0),
    "argmax": lambda x: rule("argmax")(x, 0),
    "mean": lambda x: rule("mean")(x, [0]),
    "mean of everything": lambda x: rule("mean")(x),
}


@pytest.mark.parametrize("name", COUPLED)
def test_operations_that_mix_the_batch(name: str) -> None:
    with pytest.raises(BatchCoupledError):
        COUPLED[name](signal())


REFUSED: dict[str, tuple[Callable[[Layout], object], str]] = {
    "padded batch": (lambda x: rule("pad")(x, [0, 0, 0, 0, 1, 0]), "the batch is padded"),
    "gated axis": (lambda x: rule("glu")(x, 2), "gated unit"),
    "gated batch": (lambda x: rule("glu")(x, 0), "gated unit"),
    "dropout": (lambda x: rule("dropout")(x, 1.5, True), "probability 1.5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_calls_that_no_rule_understands(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(GeometryError, match=words):
        call(signal())


def test_padding_by_nothing_leaves_the_batch_alone() -> None:
    out = rule("pad")(signal(), [1, 1, 0, 0, 0, 0])
    assert out.shape == (2, 4, SIZE + 2)


@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_the_batch_are_those_of_the_whole_axis(training: bool) -> None:
    mean = constant(4) if training else None
    out = rule("batch_norm")(signal(copies=0), None, None, mean, mean, training)
    assert kinds(out) == ["GLOBAL"]
    kept = rule("batch_norm")(signal(copies=0), None, None, constant(4), constant(4), False)
    assert kinds(kept) == []


def test_the_channels_of_a_batch_norm_are_no_part_of_its_statistics() -> None:
    swapped = Layout((plain(3), (Factor("axis", SIZE, 0),), plain(4)), signal().axes)
    assert kinds(rule("batch_norm")(swapped, None, None, None, None, True)) == []


NORMS: dict[str, Callable[[Layout, Constant], Layout]] = {
    "batch norm, weight": lambda x, p: rule("batch_norm")(x, p, None, p, p, False),
    "batch norm, mean": lambda x, p: rule("batch_norm")(x, None, None, p, None, False),
    "instance norm": lambda x, p: rule("instance_norm")(x, None, p, None, None, False),
    "group norm": lambda x, p: rule("group_norm")(x, 2, p),
}


@pytest.mark.parametrize("name", NORMS)
def test_parameters_for_each_place_are_a_position(name: str) -> None:
    """On ``[copies, axis, plain]`` the parameters of a normalisation lie along the axis."""
    swapped = Layout((plain(3), (Factor("axis", SIZE, 0),), plain(4)), signal().axes)
    assert "POSITION" in kinds(NORMS[name](swapped, constant(SIZE)))


def test_running_statistics_keep_an_instance_norm_local() -> None:
    norm = nn.InstanceNorm2d(2, track_running_stats=True).eval()
    out = shiftcheck.geometry(norm, torch.zeros(1, 2, 8, 9)).outputs[0]
    assert out.valid == (((0, 8),), ((0, 9),))


@pytest.mark.parametrize(("p", "random"), [(0.0, False), (0.5, True), (1.0, True)])
def test_a_dropout_of_nothing_is_not_random(p: float, random: bool) -> None:
    assert ("STOCHASTIC" in kinds(rule("dropout")(signal(), p, True))) == random
    assert kinds(rule("dropout")(signal(), p, False)) == []


def test_an_index_over_an_axis_counts_from_a_fixed_place() -> None:
    out = rule("argmax")(signal(), 2)
    assert "INDEX" in kinds(out)
    assert isinstance(out.axes[0], Lost)


def test_a_gated_unit_halves_the_last_dimension_by_default() -> None:
    swapped = Layout((signal().dims[0], signal().dims[2], plain(4)), signal().axes)
    assert rule("glu")(swapped).shape == (2, SIZE, 2)
    assert rule("var", "dim")(swapped, [2]).shape == (2, SIZE)
    assert rule("var", "correction")(swapped, [2]).shape == (2, SIZE)


@pytest.mark.parametrize("transposed", [True, False])
def test_the_one_operation_of_all_convolutions(transposed: bool) -> None:
    name = "conv_transpose1d" if transposed else "conv1d"
    wanted = rule(name)(signal(), constant(4, 4, 3), None, 2)
    args = ([2], [0], [1], transposed, [0], 1)
    found = rule("convolution")(signal(), constant(4, 4, 3), None, *args)
    assert found.shape == wanted.shape
    assert stride_of(found) == stride_of(wanted)


def test_a_stride_that_is_left_out() -> None:
    assert stride_of(rule("conv_transpose1d")(signal(), constant(4, 4, 3))) == 1
    assert stride_of(rule("max_pool1d")(signal(), [3])) == 3
    assert stride_of(rule("max_pool1d")(signal(), 3, [])) == 3


CAUSES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "padded pool": (lambda x: F.max_pool1d(x, 3, 1, 1), "PADDING"),
    "pool": (lambda x: F.max_pool1d(x, 2), "STRIDE"),
    "interpolation at the edge": (
        lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
        "PADDING",
    ),
    "interpolation": (lambda x: F.interpolate(x, size=8), "RESIZE"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named_where_it_arises(name: str) -> None:
    model, kind = CAUSES[name]
    causes = shiftcheck.geometry(model, torch.zeros(1, 4, SIZE)).causes
    assert kind in [cause.kind for cause in causes]


def test_a_pixel_unshuffle_is_a_stride() -> None:
    causes = shiftcheck.geometry(nn.PixelUnshuffle(2), torch.zeros(1, 2, 8, 8)).causes
    assert [(c.kind, c.axis, c.period) for c in causes] == [("STRIDE", 0, 2), ("STRIDE", 1, 2)]


def test_an_adaptive_pool_of_one_sample_keeps_it() -> None:
    one = rule("adaptive_avg_pool1d")(signal(size=1), [1])
    assert stride_of(one) == 1
    assert kinds(rule("adaptive_avg_pool1d")(signal(size=2), [1])) == ["GLOBAL"]


def test_aligned_corners_of_a_single_sample() -> None:
    up = rule("upsample_linear1d")(signal(size=1), [3], True)
    assert stride_of(up) == pytest.approx(1 / 3)
    down = rule("upsample_linear1d")(signal(size=6), [1], True)
    assert stride_of(down) == 6
    assert stride_of(rule("upsample_linear1d")(signal(size=2), [3], True)) == pytest.approx(1 / 2)
    assert stride_of(rule("upsample_linear1d")(signal(size=3), [2], True)) == 2


@pytest.mark.parametrize("overload", ["default", "vec"])
def test_where_interpolations_take_their_factors_from(overload: str) -> None:
    """By a factor of 1.5, 5 samples become 7 at the stride 2/3; by their sizes at 5/7."""
    nearest, linear = (rule(f"upsample_{n}1d", overload) for n in ("nearest", "linear"))
    factor: Any = [1.5] if overload == "vec" else 1.5
    x = signal(size=5)
    assert stride_of(nearest(x, [7], factor)) == pytest.approx(2 / 3)
    assert stride_of(linear(x, [7], False, factor)) == pytest.approx(2 / 3)
    assert stride_of(nearest(x, [7], None)) == pytest.approx(5 / 7)
    assert stride_of(linear(x, [7], False, None)) == pytest.approx(5 / 7)
    assert stride_of(linear(x, [7], True, factor)) == pytest.approx(4 / 6)
    assert stride_of(rule("upsample_nearest1d")(x, [7])) == pytest.approx(5 / 7)


def test_a_dimension_that_is_no_axis_is_only_resized() -> None:
    lost = Layout((signal().dims[0], plain(4), plain(6)), (Lost("INDEX"),))
    assert rule("upsample_linear1d")(lost, [12], False).shape == (2, 4, 12)


def test_four_samples_around_a_position() -> None:
    assert cubic(Fraction(5, 2)) == (1, 2, 3, 4)
    assert cubic(Fraction(2)) == (2,)
