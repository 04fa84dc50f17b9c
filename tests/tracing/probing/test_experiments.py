"""What probing says of operations, against rules, known answers and attempts to mislead it."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as nd
import torch
import torch.nn.functional as F

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.lattice.gather import runs
from shiftcheck.tracing.probing.experiments import measure_law
from shiftcheck.tracing.probing.laws import Law, NoAnswerError, Operand

UNSUPPORTED = "unsupported operation"


def law_of(
    function: Callable[[torch.Tensor], torch.Tensor],
    *shape: int,
    ring: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Law:
    """The measured law of a function of one tensor."""
    axes = len(shape) - 2
    operand = Operand(shape=shape, dims=tuple(range(2, axes + 2)), rates=(1,) * axes)
    return measure_law(
        lambda tensors: function(tensors[0]),
        [operand],
        circular=[ring] * axes,
        dtype=dtype,
        device=torch.device("cpu"),
    )


def refused(function: Callable[[torch.Tensor], torch.Tensor], *shape: int, **options: Any) -> str:
    """Why a function has no law."""
    with pytest.raises(NoAnswerError) as caught:
        law_of(function, *shape, **options)
    return str(caught.value)


def double(*shape: int) -> torch.Tensor:
    """Random weights, none of them near zero."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return values + 0.5


# -- operations that have a rule -----------------------------------------------------------------

RULED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
    "conv1d": (lambda x: F.conv1d(x, double(3, 2, 5), padding=2), (1, 2, 20)),
    "conv1d, even": (lambda x: F.conv1d(x, double(3, 2, 4), padding=1), (1, 2, 21)),
    "conv1d, stride 2": (lambda x: F.conv1d(x, double(3, 2, 3), stride=2, padding=1), (1, 2, 21)),
    "conv1d, stride 3, unpadded": (lambda x: F.conv1d(x, double(3, 2, 5), stride=3), (1, 2, 22)),
    "conv1d, dilated": (lambda x: F.conv1d(x, double(3, 2, 3), dilation=3, padding=3), (1, 2, 20)),
    "conv1d, causal": (lambda x: F.conv1d(F.pad(x, (4, 0)), double(3, 2, 5)), (1, 2, 20)),
    "conv1d, grouped": (lambda x: F.conv1d(x, double(2, 1, 3), groups=2, padding=1), (1, 2, 20)),
    "max pool": (lambda x: F.max_pool1d(x, 3, 2, padding=1), (1, 2, 21)),
    "max pool, ceil": (lambda x: F.max_pool1d(x, 3, 2, ceil_mode=True), (1, 2, 22)),
    "avg pool": (lambda x: F.avg_pool1d(x, 4, 2, padding=1), (1, 2, 22)),
    "avg pool, renormalised": (
        lambda x: F.avg_pool1d(x, 3, padding=1, stride=1, count_include_pad=False),
        (1, 2, 22),
    ),
    "transposed, stride 2": (
        lambda x: F.conv_transpose1d(x, double(2, 3, 4), stride=2, padding=1),
        (1, 2, 14),
    ),
    "transposed, stride 3, gaps": (
        lambda x: F.conv_transpose1d(x, double(2, 3, 2), stride=3),
        (1, 2, 14),
    ),
    "nearest x2": (lambda x: F.interpolate(x, scale_factor=2), (1, 2, 14)),
    "linear x2": (lambda x: F.interpolate(x, scale_factor=2, mode="linear"), (1, 2, 14)),
    "linear x1.5": (lambda x: F.interpolate(x, scale_factor=1.5, mode="linear"), (1, 2, 14)),
    "nearest x0.5": (lambda x: F.interpolate(x, scale_factor=0.5), (1, 2, 16)),
    "pool and up": (lambda x: F.interpolate(F.max_pool1d(x, 2), scale_factor=2), (1, 2, 16)),
    "zero pad": (lambda x: F.pad(x, (2, 3)), (1, 2, 14)),
    "reflect pad": (lambda x: F.pad(x, (2, 3), mode="reflect"), (1, 2, 14)),
    "replicate pad": (lambda x: F.pad(x, (2, 3), mode="replicate"), (1, 2, 14)),
    "crop": (lambda x: F.pad(x, (-2, -3)), (1, 2, 14)),
    "roll": (lambda x: x.roll(3, -1), (1, 2, 14)),
    "gelu": (F.gelu, (1, 2, 14)),
    "softmax over channels": (lambda x: x.softmax(1), (1, 2, 14)),
    "conv2d": (lambda x: F.conv2d(x, double(2, 2, 3, 5), padding=(1, 2)), (1, 2, 12, 15)),
    "conv2d, strides": (
        lambda x: F.conv2d(x, double(2, 2, 3, 3), stride=(2, 1), padding=1),
        (1, 2, 13, 12),
    ),
    "max pool 2d": (lambda x: F.max_pool2d(x, 2), (2, 2, 13, 12)),
    "bilinear x2": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 1, 9, 8)),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (1, 4, 8, 9)),
    "conv3d": (
        lambda x: F.conv3d(x, double(1, 1, 3, 1, 3), stride=(1, 2, 1), padding=(1, 0, 1)),
        (1, 1, 6, 7, 8),
    ),
    "avg pool 3d": (lambda x: F.avg_pool3d(x, 2), (1, 1, 6, 8, 8)),
}


@pytest.mark.parametrize("name", RULED)
def test_the_rules_are_within_what_probing_shows(name: str) -> None:
    function, shape = RULED[name]
    law = law_of(function, *shape)
    row = shiftcheck.geometry(function, shape).outputs[0]
    for axis, measured in enumerate(law.axes):
        assert measured.dim == axis + 2
        assert row.stride[axis] == Fraction(measured.steps, measured.samples)
        assert row.period[axis] == measured.steps
        claimed = np.zeros(len(measured.valid), dtype=bool)
        for start, stop in row.valid[axis] or ():
            claimed[start:stop] = True
        assert (claimed <= measured.valid).all()
        assert claimed.sum() >= measured.valid.sum() - 2, "a rule that is far too cautious"


@pytest.mark.parametrize("name", ["conv1d", "conv1d, dilated", "conv1d, causal", "conv2d"])
def test_the_halo_is_that_of_the_rule(name: str) -> None:
    function, shape = RULED[name]
    row = shiftcheck.geometry(function, shape).outputs[0]
    for axis, measured in enumerate(law_of(function, *shape).axes):
        span = measured.spans[0][0]
        assert span is not None
        assert row.halo[axis] == (-span[0], span[1])


def test_a_circle_is_seen_to_close() -> None:
    weight = double(2, 2, 5)
    closed = law_of(lambda x: F.conv1d(F.pad(x, (2, 2), "circular"), weight), 1, 2, 16, ring=True)
    opened = law_of(lambda x: F.conv1d(x, weight, padding=2), 1, 2, 16, ring=True)
    odd = law_of(lambda x: F.max_pool1d(x, 2, ceil_mode=True), 1, 2, 15, ring=True)
    assert [law.axes[0].circle for law in (closed, opened, odd)] == [True, False, False]


def test_two_operands_of_different_rates() -> None:
    def skip(tensors: list[torch.Tensor]) -> torch.Tensor:
        return F.interpolate(tensors[0], scale_factor=2) + tensors[1].roll(1, -1)

    law = measure_law(
        skip,
        [
            Operand(shape=(1, 2, 10), dims=(2,), rates=(1,)),
            Operand(shape=(1, 2, 20), dims=(2,), rates=(2,)),
        ],
        circular=[False],
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    axis = law.axes[0]
    assert (axis.steps, axis.samples) == (1, 2)
    assert axis.spans == (((0, 0), (0, 0)), ((-1, -1), (0, 0)))
    assert runs(axis.valid) == ((1, 20),)


# -- attempts to be told something false ---------------------------------------------------------


def shear(x: torch.Tensor) -> torch.Tensor:
    """Row i is moved by i samples."""
    return torch.stack([row.roll(i, -1) for i, row in enumerate(x.unbind(-2))], -2)


def marked(x: torch.Tensor, place: int, by: float) -> torch.Tensor:
    """One place, far inside, is not treated like the others."""
    bump = torch.zeros(x.shape[-1], dtype=x.dtype)
    bump[place] = by
    return x * (1 + bump)


def sampled(x: torch.Tensor, period: int) -> torch.Tensor:
    """A gain with a period of its own."""
    return x * (1 + (torch.arange(x.shape[-1]) % period == 0))


def only_at(x: torch.Tensor, size: int) -> torch.Tensor:
    """The truth at every size but one."""
    return marked(x, size // 2, 1.0) if x.shape[-1] == size else x


FALSE: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
    "mean over the axis": (lambda x: x - x.mean(-1, keepdim=True), (1, 2, 24)),
    "a mean that hardly counts": (lambda x: x - 1e-9 * x.mean(-1, keepdim=True), (1, 2, 24)),
    "softmax": (lambda x: x.softmax(-1), (1, 2, 24)),
    "cumulative sum": (lambda x: x.cumsum(-1), (1, 2, 24)),
    "sorted": (lambda x: x.sort(-1).values, (1, 2, 24)),
    "flipped": (lambda x: x.flip(-1), (1, 2, 24)),
    "whole maximum": (lambda x: x + x.amax(-1, keepdim=True), (1, 2, 24)),
    "aligned by its largest value": (lambda x: x.roll(-int(x[0, 0].argmax()), -1), (1, 2, 24)),
    "gate by the sum": (lambda x: x if x.sum() < 100 else x.flip(-1), (1, 2, 24)),
    "gate by a large value": (
        lambda x: torch.where(x > 50, x.mean(-1, keepdim=True).expand_as(x), x),
        (1, 2, 24),
    ),
    "position far inside": (lambda x: marked(x, 17, 1.0), (1, 2, 24)),
    "position, hardly": (lambda x: marked(x, 17, 1e-11), (1, 2, 24)),
    "position at this size alone": (lambda x: only_at(x, 24), (1, 2, 24)),
    "position from the end": (lambda x: marked(x, -9, 1.0), (1, 2, 24)),
    "ramp": (lambda x: x + torch.arange(x.shape[-1]), (1, 2, 24)),
    "period beyond what is tried": (lambda x: sampled(x, 64), (1, 2, 90)),
    "shear": (shear, (1, 1, 12, 14)),
    "quarter turn": (lambda x: x.rot90(1, (2, 3)), (1, 1, 12, 12)),
    "first sample": (lambda x: x + x[..., :1], (1, 2, 24)),
    "random": (lambda x: x + torch.rand_like(x), (1, 2, 24)),
    "random now and then": (lambda x: x + (torch.rand(()) < 0.9), (1, 2, 24)),
    "constant": (lambda x: x * 0 + 1, (1, 2, 24)),
    "fixed size": (lambda x: x + torch.zeros(24), (1, 2, 24)),
    "resized to a fixed size": (lambda x: F.interpolate(x, size=30), (1, 2, 24)),
    "indices": (lambda x: x.argsort(-1), (1, 2, 24)),
    "complex": (lambda x: torch.fft.fft(x), (1, 2, 24)),
    "spectrum": (lambda x: torch.fft.fft(x).abs(), (1, 2, 24)),
    "flattened": (lambda x: x.flatten(1), (1, 2, 24)),
    "transposed with channels": (lambda x: x.flatten(1).view(1, -1, 2), (1, 2, 24)),
    "aligned corners": (
        lambda x: F.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
        (1, 2, 24),
    ),
    "sees 180 samples": (lambda x: F.avg_pool1d(x, 361, 1, padding=180), (1, 2, 24)),
    "not a number": (lambda x: x / 0, (1, 2, 24)),
    "integers from floats": (lambda x: x.long(), (1, 2, 24)),
    "raises": (lambda x: x.view(7, 7), (1, 2, 24)),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_has_no_law_is_refused(name: str) -> None:
    function, shape = FALSE[name]
    assert refused(function, *shape)


def test_values_that_do_not_float_are_named() -> None:
    assert refused(lambda x: x.argsort(-1), 1, 2, 24) == "it gives values of type int64"
    assert refused(torch.fft.fft, 1, 2, 24) == "it gives values of type complex128"


@pytest.mark.parametrize("size", [1.0, 1e-15])
def test_random_numbers_are_named(size: float) -> None:
    assert "again" in refused(lambda x: x + size * torch.rand_like(x), 1, 2, 24)


def test_sparse_taps_are_all_seen() -> None:
    law = law_of(lambda x: x + F.pad(x, (40, 0))[..., :-40], 1, 1, 60)
    assert law.axes[0].spans == (((-40, 0),),)
    assert runs(law.axes[0].valid) == ((40, 60),)


def test_taps_beyond_the_signal_leave_nothing_valid() -> None:
    weight = double(1, 1, 3)
    law = law_of(lambda x: F.conv1d(x, weight, dilation=60, padding=60), 1, 1, 24)
    assert not law.axes[0].valid.any()


def test_taps_far_beyond_the_signal_are_not_overlooked() -> None:
    weight = double(1, 1, 3)
    for far in (150, 300, 700):
        assert refused(lambda x, d=far: F.conv1d(x, weight, dilation=d, padding=d), 1, 1, 24)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_tiny_taps_are_seen(size: float) -> None:
    weight = torch.tensor([size, 0.0, 1.0, 0.0, 0.0, size], dtype=torch.float64).view(1, 1, 6)
    law = law_of(lambda x: F.conv1d(F.pad(x, (2, 3)), weight.to(x.dtype)), 1, 1, 24)
    assert law.axes[0].spans == (((-2, 3),),)
    assert runs(law.axes[0].valid) == ((2, 21),)


@pytest.mark.parametrize("seed", range(6))
def test_weights_that_are_zero_at_random_places(seed: int) -> None:
    draw = random.Random(seed)
    taps = [draw.choice((0.0, 0.0, 1.0, -0.5)) for _ in range(9)]
    taps[draw.randrange(9)] = 2.0
    there = [i - 4 for i, tap in enumerate(taps) if tap]
    weight = torch.tensor(taps, dtype=torch.float64).view(1, 1, 9)
    axis = law_of(lambda x: F.conv1d(x, weight, padding=4), 1, 1, 24).axes[0]
    assert axis.spans == (((there[0], there[-1]),),)
    assert runs(axis.valid) == ((max(0, -there[0]), 24 - max(0, there[-1])),)


@pytest.mark.parametrize(
    ("function", "span"),
    [
        (lambda x: F.max_pool1d(x, 5, 1, padding=2), (-2, 2)),
        (lambda x: -F.max_pool1d(-x, 5, 1, padding=2), (-2, 2)),
        (lambda x: F.pad(x, (3, 3)).unfold(-1, 7, 1).median(-1).values, (-3, 3)),
        (lambda x: (F.avg_pool1d(x, 3, 1, padding=1) > 0).to(x.dtype), (-1, 1)),
        (lambda x: torch.where(x > 20, F.pad(x, (0, 7))[..., 7:], x), (0, 7)),
        (lambda x: torch.where(x.abs() < 1e-3, F.pad(x, (6, 0))[..., :-6], x), (-6, 0)),
        (lambda x: torch.tanh(x) + torch.relu(F.pad(x, (0, 2))[..., 2:] - 500), (0, 2)),
    ],
)
def test_taps_that_depend_on_the_values(
    function: Callable[[torch.Tensor], torch.Tensor], span: tuple[int, int]
) -> None:
    axis = law_of(function, 1, 2, 26).axes[0]
    assert axis.spans == ((span,),)
    assert runs(axis.valid) == ((-span[0], 26 - span[1]),)


def test_operations_that_take_float32_alone() -> None:
    def narrow(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return F.conv1d(x, double(1, 1, 3).float(), padding=1)

    axis = law_of(narrow, 1, 1, 20, dtype=torch.float32).axes[0]
    assert axis.spans == (((-1, 1),),)
    assert runs(axis.valid) == ((1, 19),)
    assert "place" in refused(
        lambda x: narrow(x) * (1 + 1e-3 * (torch.arange(x.shape[-1]) == 9) * (x.shape[-1] == 20)),
        1,
        1,
        20,
        dtype=torch.float32,
    )


@pytest.mark.parametrize("limit", [100.0, -100.0])
def test_a_period_that_shows_in_large_values_alone(limit: float) -> None:
    def clipped(x: torch.Tensor) -> torch.Tensor:
        bound = x.clamp(max=limit) if limit > 0 else x.clamp(min=limit)
        return torch.where(torch.arange(x.shape[-1]) % 2 == 0, bound, x)

    assert law_of(clipped, 1, 1, 20).axes[0].steps == 2


def test_what_float64_does_must_hold_in_the_type_of_the_input() -> None:
    def differs(x: torch.Tensor) -> torch.Tensor:
        return x if x.dtype == torch.float64 else x - 0.1 * x.mean(-1, keepdim=True)

    law_of(differs, 1, 1, 20)
    assert "canvas" in refused(differs, 1, 1, 20, dtype=torch.float32)


def test_what_is_too_large_is_not_tried() -> None:
    assert "too large" in refused(lambda x: x, 1, 64, 400, 400)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_small_signals(size: int) -> None:
    weight = double(1, 1, 5)
    axis = law_of(lambda x: F.conv1d(x, weight, padding=2), 1, 1, size).axes[0]
    assert axis.spans == (((-2, 2),),)
    assert runs(axis.valid) == (((2, 3),) if size == 5 else ())


@pytest.mark.parametrize("size", [20, 21])
def test_a_lattice_that_starts_at_the_end(size: int) -> None:
    axis = law_of(lambda x: F.max_pool1d(x.flip(-1), 2).flip(-1), 1, 1, size).axes[0]
    first = size % 2
    assert axis.spans == (((first, first + 1),),)
    assert runs(axis.valid) == ((0, 10),)


def test_the_border_of_one_axis_that_depends_on_the_other() -> None:
    def cornered(x: torch.Tensor) -> torch.Tensor:
        side = F.pad(x, (5, 0))[..., :-5]
        first = torch.arange(x.shape[-2]).view(-1, 1) < 3
        return torch.where(first & (x.shape[-1] < 40), x, x + side)

    assert refused(cornered, 1, 1, 12, 14)


def test_a_border_that_depends_on_the_other_axis_is_no_product_of_masks() -> None:
    def corner(x: torch.Tensor) -> torch.Tensor:
        inner = F.pad(x, (1, 1, 1, 1), value=-1e30)
        both = F.max_pool2d(inner, 3, 1)
        return both.clamp(min=-1e29)

    law = law_of(corner, 1, 1, 10, 12)
    assert [runs(axis.valid) for axis in law.axes] == [((1, 9),), ((1, 11),)]


def test_probing_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)

    def drawing(x: torch.Tensor) -> torch.Tensor:
        torch.rand(3), np.random.rand(3), random.random()
        return x * 2

    law_of(drawing, 1, 1, 12)
    assert (torch.rand(1), np.random.rand(), random.random()) == before


# -- in a network --------------------------------------------------------------------------------


@torch.library.custom_op("probe::blur", mutates_args=())
def blur(x: torch.Tensor, step: int) -> torch.Tensor:
    """A blur along the last axis that keeps every ``step``-th sample."""
    padded = F.pad(x, (1, 1))
    blurred = (padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / 4
    return blurred[..., ::step].clone()


@blur.register_fake
def _(x: torch.Tensor, step: int) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], -(-x.shape[-1] // step))


@torch.library.custom_op("probe::mixed", mutates_args=())
def mixed(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Neighbours in the batch are added."""
    return gain * (x + x.roll(1, 0))


@mixed.register_fake
def _(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("probe::rare", mutates_args=())
def rare(x: torch.Tensor) -> torch.Tensor:
    """It looks to the left only where its sample is almost exactly one."""
    return torch.where((x - 1).abs() < 1e-6, F.pad(x, (5, 0))[..., :-5], x)


@rare.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


met: set[torch.dtype] = set()


@torch.library.custom_op("probe::filtered", mutates_args=())
def filtered(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A convolution, which takes a signal and a weight of one type."""
    y = F.conv2d(x, weight, padding=1)
    met.add(x.dtype)
    return y


@filtered.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (1, 2, 16, 24)), generator=torch.Generator().manual_seed(1))


def test_a_custom_operation_passes_as_measured() -> None:
    report = shiftcheck.assert_equivariant(lambda x: torch.relu(blur(x, 2)), image())
    row = report.outputs[0]
    assert row.measured
    assert (row.stride, row.period) == ((1, 2), (1, 2))
    assert row.valid == (((0, 16),), ((1, 12),))
    assert [c.layer for c in report.causes if c.kind == "MEASURED"] == ["probe::blur"]
    assert "marked as measured: the geometry of 'probe::blur'" in str(report)
    again = Report.from_json(report.to_json())
    assert again.outputs[0].measured
    assert str(again) == str(report)


def test_every_measured_operation_is_named() -> None:
    def both(x: torch.Tensor) -> torch.Tensor:
        return mixed(torch.tanh(blur(x, 1)), torch.ones(1))

    report = shiftcheck.assert_equivariant(both, image())
    assert "the geometry of 'probe::blur', 'probe::mixed' comes from probing" in str(report)


def test_rows_before_a_measured_one_are_not_marked() -> None:
    report = shiftcheck.check_equivariance(lambda x: torch.relu(blur(torch.tanh(x), 1)), image())
    assert [row.measured for row in report.layers] == [False, True, True]
    table = str(report).splitlines()
    assert ["measured" in next(line for line in table if name in line.split()[:1])
            for name in ("tanh", "relu")] == [False, True]  # fmt: skip


def test_the_structure_without_values_says_the_same() -> None:
    geometry = shiftcheck.geometry(lambda x: blur(x, 2), (1, 2, 16, 24)).outputs[0]
    checked = shiftcheck.check_equivariance(lambda x: blur(x, 2), image()).outputs[0]
    assert geometry.measured
    assert (geometry.stride, geometry.valid, geometry.halo) == (
        checked.stride,
        checked.valid,
        checked.halo,
    )


def test_constants_are_given_in_the_type_of_the_noise() -> None:
    weight = double(2, 2, 3, 3).float()
    met.clear()
    report = shiftcheck.assert_equivariant(lambda x: filtered(x, weight), image())
    assert report.outputs[0].valid == (((1, 15),), ((1, 23),))
    assert met == {torch.float32, torch.float64}
    assert weight.dtype == torch.float32


def test_a_period_longer_than_the_stride() -> None:
    def blocks(a: Any) -> Any:
        return np.repeat(np.ascontiguousarray(a)[..., ::2], 2, -1)

    row = shiftcheck.assert_equivariant(blocks, SIGNAL, shifts=[(1, 0), (0, 2)]).outputs[0]
    assert (row.stride, row.period) == ((1, 1), (1, 2))
    off = shiftcheck.check_equivariance(blocks, SIGNAL, shifts=[(0, 1)])
    assert off.verdict is Verdict.INCONCLUSIVE
    assert off.guilty is not None
    assert (off.guilty.kind, off.guilty.period) == ("STRIDE", 2)
    assert "shift by multiples of 1 x 2 pixels" in str(off)


def test_operations_that_share_memory_are_not_probed() -> None:
    report = shiftcheck.check_equivariance(
        lambda x: torch.as_strided(x, x.shape, x.stride()), image()
    )
    assert report.reason == UNSUPPORTED
    assert "shares memory" in report.causes[0].detail


def test_a_rule_is_taken_before_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = shiftcheck.rules.registry
    monkeypatch.setattr(registry, "_table", dict(registry._table))

    @shiftcheck.register_rule("probe::mixed")
    def rule(x: Any, gain: Any) -> Any:
        return shiftcheck.rules.pointwise(x, gain)

    report = shiftcheck.check_equivariance(lambda x: mixed(x, torch.ones(1)), image())
    assert not report.outputs[0].measured


def test_an_operation_that_mixes_the_batch_runs_one_copy_at_a_time() -> None:
    report = shiftcheck.check_equivariance(lambda x: mixed(x, torch.ones(1)), image())
    assert report.verdict is Verdict.EQUIVARIANT
    assert any("one at a time" in note for note in report.notes)


def test_a_constant_that_depends_on_the_place_is_not_taken_for_a_gain() -> None:
    report = shiftcheck.check_equivariance(lambda x: mixed(x, torch.rand(24)), image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, UNSUPPORTED)
    assert report.guilty is not None
    assert report.guilty.detail.startswith("no rule for probe.mixed.default, and probing fails")


def test_a_gap_that_probing_did_not_foresee_is_no_break_and_no_pass() -> None:
    x = image(1, 1, 4, 24).clone()
    x[..., 3] = 1.0
    report = shiftcheck.check_equivariance(rare, x, shifts=[(0, 2), (0, -2)])
    assert report.outputs[0].measured
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason == "gap where the geometry was measured"
    assert report.guilty is not None
    assert report.guilty.kind == "MEASURED"
    with pytest.raises(shiftcheck.InconclusiveError, match="give the operation a rule"):
        shiftcheck.assert_equivariant(rare, x, shifts=[(0, 2), (0, -2)])


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_operands_stay_as_they_are(boundary: str) -> None:
    x, gain = image(), torch.ones(1)
    before = x.clone(), torch.get_rng_state()
    shiftcheck.check_equivariance(lambda x: mixed(blur(x, 1), gain), x, boundary=boundary)
    assert torch.equal(x, before[0])
    assert torch.equal(gain, torch.ones(1))
    assert torch.equal(torch.get_rng_state(), before[1])


def test_the_number_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return F.conv2d(x, double(1, 1, 3, 3), padding=1)

    law_of(counted, 1, 1, 12, 12)
    assert calls < 500


# -- callables that are no networks of torch -----------------------------------------------------

SIGNAL = np.random.default_rng(0).standard_normal((1, 1, 20, 24))
ONE = (0, 0, 1, 1)

ARRAYS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "gaussian, constant": (
        lambda a: nd.gaussian_filter(a, ONE, mode="constant"),
        (1, 1),
        (((4, 16),), ((4, 20),)),
    ),
    "gaussian, reflect": (lambda a: nd.gaussian_filter(a, 1), (1, 1), (((4, 16),), ((4, 20),))),
    "gaussian, wrap": (
        lambda a: nd.gaussian_filter(a, ONE, mode="wrap"),
        (1, 1),
        (((4, 16),), ((4, 20),)),
    ),
    "uniform": (
        lambda a: nd.uniform_filter(a, (1, 1, 3, 5)),
        (1, 1),
        (((1, 19),), ((2, 22),)),
    ),
    "median": (lambda a: nd.median_filter(a, (1, 1, 3, 3)), (1, 1), (((1, 19),), ((1, 23),))),
    "correlate": (
        lambda a: nd.correlate(a, np.arange(1.0, 13.0).reshape(1, 1, 3, 4)),
        (1, 1),
        (((1, 19),), ((2, 23),)),
    ),
    "zoom": (
        lambda a: nd.zoom(a, (1, 1, 2, 2), order=1, grid_mode=True, mode="grid-constant"),
        (Fraction(1, 2), Fraction(1, 2)),
        (((1, 39),), ((1, 47),)),
    ),
    "roll": (lambda a: np.roll(a, 3, -1), (1, 1), (((0, 20),), ((3, 24),))),
    "every other": (lambda a: np.ascontiguousarray(a)[:, :, ::2], (2, 1), (((0, 10),), ((0, 24),))),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_functions_of_arrays_pass_as_measured(name: str) -> None:
    function, stride, valid = ARRAYS[name]
    before = SIGNAL.copy()
    report = shiftcheck.assert_equivariant(function, SIGNAL)
    row = report.outputs[0]
    assert (row.stride, row.valid, row.measured) == (stride, valid, True)
    assert [row.op for row in report.layers] == ["callable"]
    assert np.array_equal(SIGNAL, before)


def test_functions_of_arrays_on_a_circle() -> None:
    def blurred(mode: str) -> Report:
        return shiftcheck.check_equivariance(
            lambda a: nd.gaussian_filter(a, ONE, mode=mode), SIGNAL, boundary="circular"
        )

    wrapped, reflected = blurred("wrap"), blurred("reflect")
    assert wrapped.verdict is Verdict.EQUIVARIANT
    assert wrapped.outputs[0].valid == (((0, 20),), ((0, 24),))
    assert reflected.verdict is Verdict.BROKEN
    assert reflected.guilty is not None
    assert reflected.guilty.kind == "PADDING"


NOT_PASSING: dict[str, Callable[[Any], Any]] = {
    "sort": lambda a: np.sort(a, -1),
    "cumsum": lambda a: np.cumsum(a, -1),
    "cumsum of an array": lambda a: np.ascontiguousarray(a).cumsum(-1),
    "backwards": lambda a: a[:, :, ::-1],
    "argsort": lambda a: np.argsort(a, -1),
    "global mean": lambda a: np.ascontiguousarray(a) - np.ascontiguousarray(a).mean(),
    "corner-aligned zoom": lambda a: nd.zoom(a, (1, 1, 2, 2)),
    "centre of mass": lambda a: a * nd.center_of_mass(np.abs(np.ascontiguousarray(a)))[-1],
    "labels": lambda a: nd.label(np.ascontiguousarray(a) > 0)[0].astype(float),
    "distance to a border": lambda a: nd.distance_transform_edt(np.ones_like(a)) * a,
    "random": lambda a: np.ascontiguousarray(a) + np.random.rand(*a.shape),
}


@pytest.mark.parametrize("name", NOT_PASSING)
def test_functions_of_arrays_that_must_not_pass(name: str) -> None:
    report = shiftcheck.check_equivariance(NOT_PASSING[name], SIGNAL)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_values_that_leave_torch_and_come_back() -> None:
    def filtered(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(nd.gaussian_filter(torch.relu(x).numpy(), ONE))

    report = shiftcheck.assert_equivariant(filtered, image())
    assert report.outputs[0].valid == (((4, 12),), ((4, 20),))
    assert any("probed as a whole" in note for note in report.notes)


def test_values_that_leave_torch_and_decide() -> None:
    report = shiftcheck.check_equivariance(lambda x: x * float(x.numpy().mean()), image())
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "values leave torch")


def test_a_network_of_torch_that_is_given_an_array_is_followed_as_ever() -> None:
    report = shiftcheck.check_equivariance(lambda x: torch.relu(x + 1), SIGNAL)
    assert [row.op for row in report.layers] == ["add", "relu"]
    assert not report.outputs[0].measured
