"""Signals of whole numbers, of truth values and of other people's classes, and their order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import InconclusiveError, InputError, ModelError, Verdict
from shiftcheck.measuring.signals.surrogates import surrogate
from shiftcheck.report.invariance import InvarianceVerdict

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(1, 2, 20, 22, generator=DRAW)
FRAMES = torch.randint(0, 256, (1, 2, 20, 22), generator=DRAW, dtype=torch.uint8)
torch.manual_seed(0)
CONV = nn.Conv2d(2, 3, 3, padding=1)
TABLE = nn.Embedding(256, 3)
VALID = (((1, 19),), ((1, 21),))


def normalised(frames: torch.Tensor) -> torch.Tensor:
    return CONV((frames.float() - 128) / 255)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_whole_numbers_are_moved(dtype: torch.dtype) -> None:
    x = FRAMES > 90 if dtype is torch.bool else FRAMES.to(dtype)
    report = shiftcheck.assert_equivariant(normalised, x)
    assert report.outputs[0].valid == VALID
    assert report.dtype == str(dtype).removeprefix("torch.")
    ramp = shiftcheck.check_equivariance(lambda v: normalised(v) + torch.arange(22), x)
    assert ramp.verdict is Verdict.BROKEN


def test_what_enters_is_drawn_from_their_own_values() -> None:
    few = torch.where(FRAMES > 100, 7, 250).to(torch.uint8)
    seen: set[int] = set()

    def watched(x: torch.Tensor) -> torch.Tensor:
        if type(x) is torch.Tensor:
            seen.update(x.detach().clone().unique().tolist())
        return x.float()

    whole = shiftcheck.check_equivariance(watched, few).verdict  # it reads what it is given
    assert whole is Verdict.INCONCLUSIVE
    assert seen == {7, 250}


WHOLE: dict[str, Callable[[torch.Tensor], Any]] = {
    "halves": lambda x: x // 2,
    "bits": lambda x: (x & 15) ^ 3,
    "shifted bits": lambda x: x >> 2,
    "compared": lambda x: (x > 100) & (x < 200),
    "divided": lambda x: x / 255,
    "a table": lambda x: TABLE(x.long()[:, 0]).movedim(-1, 1),
    "the largest": lambda x: F.max_pool2d(x.float(), 3, stride=1),
    "in place": lambda x: x.clone().add_(1),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_may_stay_what_they_are(name: str) -> None:
    assert shiftcheck.assert_equivariant(WHOLE[name], FRAMES)


def test_the_noise_of_whole_numbers_is_that_of_the_model() -> None:
    exact = nn.Conv2d(2, 3, 3, dtype=torch.float64)
    for model, eps in (
        (lambda x: exact(x.double()), 2.0**-52),
        (normalised, 2.0**-23),
        (torch.bitwise_not, 2.0**-23),
    ):
        report = shiftcheck.assert_equivariant(model, FRAMES)
        assert report.outputs[0].shifts[0].allowance == 64 * eps
        assert report.notes == ()


def test_a_mask_moves_with_its_picture() -> None:
    mask = FRAMES[:, :1] > 90
    half = mask[..., :10, :11]

    def masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return CONV(x) * mask

    def coarse(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return CONV(x) * F.interpolate(mask.float(), scale_factor=2)

    assert shiftcheck.assert_equivariant(masked, (X, mask))
    assert shiftcheck.assert_equivariant(coarse, (X, half)).outputs[0].period == (2, 2)
    still = shiftcheck.check_equivariance(masked, (X, mask), fixed=("mask",))
    assert still.verdict is Verdict.BROKEN


def test_frames_come_before_a_later_vector() -> None:
    words = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    report = shiftcheck.assert_equivariant(
        lambda frames, words: normalised(frames) * words.mean((1, 2))[:, None, None, None],
        (FRAMES, words),
    )
    assert report.input_shape == tuple(FRAMES.shape)


def test_whole_numbers_have_none_between_them() -> None:
    with pytest.raises(InputError, match=r"shifts=.*fractional.*uint8.*float"):
        shiftcheck.check_equivariance(normalised, FRAMES, shifts=[(0.5, 0)])
    with pytest.raises(InputError, match=r"bool.*float"):
        shiftcheck.check_equivariance(lambda x, m: x * m, (X, X > 0), shifts=[(0, 0.5)])


@pytest.mark.parametrize(
    "model", [CONV, lambda x: x @ torch.ones(22, 22), lambda x: F.gelu(x), lambda x: x.softmax(1)]
)
def test_a_model_that_takes_no_whole_numbers_is_told_what_to_do(model: Any) -> None:
    with pytest.raises(ModelError, match=r"x\.float\(\)"):
        shiftcheck.check_equivariance(model, FRAMES)


def test_the_theorem_still_asks_for_floating_numbers() -> None:
    for ask in (shiftcheck.assert_linear, shiftcheck.as_convolution):
        with pytest.raises(InputError, match="real and floating"):
            ask(normalised, FRAMES)


@pytest.mark.parametrize("fill", ["circular", "zeros", "fresh"])
def test_invariance_of_whole_numbers(fill: str) -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    pooled = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for x in (FRAMES, FRAMES > 90, torch.cat([FRAMES, FRAMES.flip(-1) // 2])):
        report = shiftcheck.check_invariance(
            lambda v: pooled(v.float()), x, fill=fill, max_relative_error=0.9
        )
        assert report.verdict is not None
        if fill == "circular":
            assert report.verdict is InvarianceVerdict.INVARIANT
    corner = shiftcheck.check_invariance(lambda v: v.float()[:, :, 0, 0], FRAMES)
    assert corner.verdict is InvarianceVerdict.NOT_INVARIANT


def test_drawn_truth_values_are_about_as_often_true() -> None:
    drawn = surrogate(FRAMES > 200, (2, 3), torch.Generator().manual_seed(0))
    assert drawn.dtype is torch.bool
    assert 0.05 < float(drawn.float().mean()) < 0.3


def test_geometry_and_remedies_of_whole_numbers() -> None:
    assert shiftcheck.geometry(normalised, FRAMES).outputs[0].valid == VALID
    flat = torch.full_like(FRAMES, 3)
    with pytest.raises(InconclusiveError, match=r"torch\.randn"):
        shiftcheck.assert_equivariant(normalised, flat)


SQUARE = nn.Conv2d(2, 2, 3, padding=1)
ORDERED: dict[str, Callable[[torch.Tensor], Any]] = {
    "conv": SQUARE,
    "stride": nn.Conv2d(2, 2, 3, stride=(2, 1)),
    "upsampled": nn.Upsample(scale_factor=(2, 1)),
    "ramp": lambda x: x + torch.arange(22),
    "rows": lambda x: x + torch.arange(20)[:, None],
    "padded": lambda x: F.pad(SQUARE(x), (1, 2, 3, 4)),
    "mirrored": lambda x: x.flip(-1),
    "tokens": lambda x: x.flatten(2).unflatten(2, (20, 22)),
    "turned and back": lambda x: SQUARE(x.transpose(2, 3)).transpose(2, 3),
    "softmax": lambda x: x.softmax(-1),
    "one axis less": lambda x: x.mean(3),
}


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("boundary", ["valid", ("valid", "circular")])
def test_axes_may_be_given_in_another_order(name: str, boundary: Any) -> None:
    model = ORDERED[name]
    turned = boundary if isinstance(boundary, str) else boundary[::-1]
    one = shiftcheck.check_equivariance(model, X, boundary=boundary)
    other = shiftcheck.check_equivariance(model, X, boundary=turned, spatial_dims=(3, 2))
    assert (one.verdict, one.reason) == (other.verdict, other.reason)
    for a, b in zip(one.outputs, other.outputs, strict=True):
        assert (a.stride, a.period, a.halo) == (b.stride[::-1], b.period[::-1], b.halo[::-1])
        assert a.valid == b.valid[::-1]
    assert (one.guilty and one.guilty.kind) == (other.guilty and other.guilty.kind)


def test_axes_that_change_places_are_found_in_any_order() -> None:
    for dims in ((2, 3), (3, 2)):
        report = shiftcheck.check_equivariance(
            lambda x: x.transpose(2, 3), X[..., :20], spatial_dims=dims
        )
        assert report.verdict is not Verdict.EQUIVARIANT
        assert report.guilty is not None
        assert report.guilty.kind == "INDEX"


class Image(torch.Tensor):
    """A tensor of a class of its own, which every operation keeps."""

    name = ""


class Frame(torch.Tensor):
    """One that only copies keep, as in torchvision."""

    name = ""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            out = func(*args, **(kwargs or {}))
        keeps = func in (torch.Tensor.clone, torch.Tensor.to, torch.Tensor.detach)
        return out.as_subclass(cls) if keeps and isinstance(args[0], cls) else out


def image(kind: type[Any]) -> Any:
    made = X.clone().as_subclass(kind)
    made.name = "street"
    return made


GOOD: dict[str, Callable[[torch.Tensor], Any]] = {
    "conv": CONV,
    "layers": nn.Sequential(CONV, nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3)),
    "joined": lambda x: torch.cat([x, CONV(x)], 1),
    "in place": lambda x: CONV(x.clone().mul_(2)),
    "in place through a view": lambda x: _doubled(CONV(x)),
}
BAD: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "ramp": (lambda x: CONV(x) + torch.arange(22), "POSITION"),
    "global": (lambda x: CONV(x) - CONV(x).mean((2, 3), keepdim=True), "GLOBAL"),
    "read": (lambda x: CONV(x) * float(x.mean()), "UNSUPPORTED_OP"),
    "random": (lambda x: x + torch.rand_like(x), "STOCHASTIC"),
}


def _doubled(y: torch.Tensor) -> torch.Tensor:
    y[:, :1].mul_(2)
    return y


@pytest.mark.parametrize("kind", [Image, Frame])
@pytest.mark.parametrize("name", GOOD)
def test_tensors_of_another_class_are_moved(name: str, kind: type[Any]) -> None:
    x = image(kind)
    assert shiftcheck.assert_equivariant(GOOD[name], x)
    assert type(x) is kind
    assert torch.equal(x.as_subclass(torch.Tensor), X)


@pytest.mark.parametrize("kind", [Image, Frame])
@pytest.mark.parametrize("name", BAD)
def test_what_breaks_tensors_of_another_class_is_found(name: str, kind: type[Any]) -> None:
    model, cause = BAD[name]
    report = shiftcheck.check_equivariance(model, image(kind))
    assert report.verdict is not Verdict.EQUIVARIANT
    assert report.guilty is not None
    assert report.guilty.kind == cause


@pytest.mark.parametrize("kind", [Image, Frame])
def test_the_model_is_given_the_class(kind: type[Any]) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        if not (isinstance(x, kind) and x.name == "street"):
            raise TypeError(f"a picture is needed, not a {type(x)}")
        return CONV(x)

    assert shiftcheck.assert_equivariant(model, image(kind))
    moved = shiftcheck.check_invariance(lambda x: model(x).mean((2, 3)), image(kind))
    assert moved.verdict is not None
    assert shiftcheck.assert_equivariant(
        lambda x, like: model(x) * CONV(like).mean(), (image(kind), image(kind)), fixed=(1,)
    )


@pytest.mark.parametrize("kind", [Image, Frame])
def test_a_model_may_make_tensors_of_another_class(kind: type[Any]) -> None:
    assert shiftcheck.assert_equivariant(lambda x: CONV(x.as_subclass(kind)), X)
    away = shiftcheck.check_equivariance(
        lambda x: CONV(x) - CONV(x).as_subclass(kind).mean().as_subclass(torch.Tensor), X
    )
    assert away.verdict is Verdict.INCONCLUSIVE
    ramp = torch.arange(22)

    def at_times(x: torch.Tensor) -> torch.Tensor:
        largest = CONV(x).as_subclass(kind).amax().as_subclass(torch.Tensor)
        return CONV(x) + torch.where(largest > 1e6, ramp, 0)

    assert shiftcheck.check_equivariance(at_times, X).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("kind", [Image, Frame])
def test_constants_and_noise_of_another_class_are_known(kind: type[Any]) -> None:
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return CONV(x) * torch.full_like(x[:, :1], 2.0).add(1).as_subclass(torch.Tensor)

    assert shiftcheck.assert_equivariant(scaled, image(kind))

    def noisy(x: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(20, 22).as_subclass(kind) * 0
        return x + noise.as_subclass(torch.Tensor)

    report = shiftcheck.check_equivariance(noisy, image(kind))
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "nondeterministic")


def test_a_class_that_acts_itself_is_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with pytest.raises(InputError, match=r"FakeTensor.*plain tensor"):
        shiftcheck.check_equivariance(CONV, FakeTensorMode().from_tensor(X))


def test_a_parameter_is_a_signal() -> None:
    x = nn.Parameter(X.clone())
    assert shiftcheck.assert_equivariant(lambda x: CONV(x.add_(1)), x)
    assert torch.equal(x, X)
    assert x.requires_grad
    assert x.grad is None


def correlate(search: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    return F.conv2d(search, template)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ((X[..., :19, :19], X[..., :7, :7]), r"remedy: .*fixed=\(1,\): no shift"),
        ((X, X[..., :7, :]), r"fixed=\(1,\)"),
        ((X[..., :20, :20], X[..., :10, :10]), r"remedy: .*fixed=\(1,\)"),
        ({"search": X[..., :19, :19], "template": X[..., :7, :7]}, r"fixed=\('template',\): no"),
    ],
)
def test_inputs_that_cannot_move_together_are_told_what_to_do(x: Any, words: str) -> None:
    with pytest.raises(InconclusiveError) as caught:
        shiftcheck.assert_equivariant(correlate, x)
    said = str(caught.value).replace("\n    ", " ")
    assert re.search(words, said), said
    assert "multiples of (1, 1)" not in said


def test_given_shifts_that_move_one_input_by_a_part_of_a_sample() -> None:
    with pytest.raises(InputError, match=r"7/19 samples.*fixed=\(1,\)"):
        shiftcheck.check_equivariance(
            correlate, (X[..., :19, :19], X[..., :7, :7]), shifts=[(1, 0)]
        )


def test_chosen_shifts_move_every_input() -> None:
    def both(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(one, 3) * F.avg_pool2d(other, 2)

    one, other = (torch.randn(1, 1, n, n, generator=DRAW) for n in (36, 24))
    report = shiftcheck.assert_equivariant(both, (one, other))
    assert all(v % 3 == 0 for shift in report.shifts for v in shift)


def test_a_signal_within_one_stride_is_told_a_larger_size() -> None:
    with pytest.raises(InconclusiveError, match="larger input: at least 60 x 60"):
        shiftcheck.assert_equivariant(nn.Conv2d(2, 2, 20, stride=20), X[..., :20])
