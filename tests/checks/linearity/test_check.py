"""Linear maps are called linear in every precision, and nothing else is."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.checks.linearity.superposition import signals
from shiftcheck.report import Linearity

X = torch.randn(2, 3, 9, 10, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(1))


def verdict_on(model: Any, x: Any = X) -> Linearity:
    return shiftcheck.check_linear(model, x).verdict


def conv(*, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(3, 4, 3, padding=1, bias=bias)


def low_pass(x: torch.Tensor) -> torch.Tensor:
    """All but nothing of white noise is taken away, and what is left is scaled up again."""
    spectrum = torch.fft.rfft2(x)
    spectrum[..., 1:, :] *= 1e-6
    spectrum[..., 1:] *= 1e-6
    return (torch.fft.irfft2(spectrum, s=x.shape[-2:]) - x.mean((-2, -1), keepdim=True)) * 1e6


LINEAR = {
    "convolution": conv(),
    "zero padding is linear": nn.Conv2d(3, 1, 5, padding=4, bias=False),
    "norm in eval mode without shifts": nn.BatchNorm2d(3, affine=False),
    "dropout in eval mode": nn.Dropout(),
    "mean": lambda x: x.mean((2, 3)),
    "scalar": lambda x: x.sum(),
    "no matter where": nn.Sequential(nn.Flatten(), nn.Linear(270, 5, bias=False)),
    "spectrum": torch.fft.fft2,
    "low pass": low_pass,
    "captured weight": functools.partial(nn.functional.conv2d, weight=WEIGHT),
    "difference of biases": lambda x: (x + 1e3) - 1e3,
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_maps_are_linear(name: str) -> None:
    report = shiftcheck.assert_linear(LINEAR[name], X)
    assert report.verdict is Linearity.LINEAR
    assert all(s.holds for s in report.outputs[0].superpositions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_in_low_precision_is_not_held_against_a_map(dtype: torch.dtype) -> None:
    deep = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(20)))
    report = shiftcheck.check_linear(deep.to(dtype), X.to(dtype))
    assert report.verdict is Linearity.LINEAR
    assert report.precision == "float64"


class InBfloat16(nn.Module):
    """It computes in bfloat16, whatever it is given."""

    def __init__(self, bend: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False).bfloat16()
        self.bend = bend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.conv2d(x.bfloat16(), self.conv.weight.bfloat16())
        return (y + self.bend * y.relu()).to(x.dtype)


def test_a_model_of_one_precision_is_compared_in_that() -> None:
    report = shiftcheck.check_linear(InBfloat16(0.0), X)
    assert (report.verdict, report.precision) == (Linearity.LINEAR, "bfloat16")
    assert any("float64" in note for note in report.notes)


@pytest.mark.parametrize("bend", [0.03, 0.1, 1.0])
def test_a_break_smaller_than_what_bfloat16_allows_is_seen(bend: float) -> None:
    assert verdict_on(InBfloat16(bend)) is Linearity.NOT_LINEAR


def lossy(size: int, bend: float = 0.0) -> nn.Module:
    """There and back through a matrix that loses most digits, or all of those of float32."""
    ill = torch.vander(torch.linspace(0, 1, size, dtype=torch.float64))
    model = nn.Sequential(nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False))
    with torch.no_grad():
        model.double()[0].weight.copy_(ill)
        model[1].weight.copy_(torch.linalg.inv(ill))
    return nn.Sequential(model, Bent(bend))


class Bent(nn.Module):
    def __init__(self, bend: float) -> None:
        super().__init__()
        self.bend = bend

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bend * x.relu() if self.bend else x


@pytest.mark.parametrize("size", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("captured", [False, True])
def test_lost_digits_never_make_a_map_non_linear(size: int, captured: bool) -> None:
    draw = torch.Generator().manual_seed(size)
    x = torch.randn(2, 3, 9, size, generator=draw, dtype=torch.float64)
    model = lossy(size)
    there, back = model[0][0].weight.T, model[0][1].weight.T
    report = shiftcheck.check_linear((lambda x: x @ there @ back) if captured else model, x)
    assert report.verdict in (Linearity.LINEAR, Linearity.INCONCLUSIVE)
    if size == 16:
        assert (report.verdict, report.reason) == (Linearity.INCONCLUSIVE, "within rounding")


@pytest.mark.parametrize("size", [8, 12, 14])
def test_a_bend_is_seen_behind_lost_digits(size: int) -> None:
    draw = torch.Generator().manual_seed(size)
    x = torch.randn(2, 3, 9, size, generator=draw, dtype=torch.float64)
    assert verdict_on(lossy(size, 1e-3), x) is Linearity.NOT_LINEAR


def almost(x: torch.Tensor) -> torch.Tensor:
    return x + 1e-6 * x * x


NOT_LINEAR = {
    "relu": nn.Sequential(conv(), nn.ReLU()),
    "abs": torch.abs,
    "almost": lambda x: almost(x),
    "almost, in float32 only": lambda x: almost(nn.functional.conv2d(x, WEIGHT)),
    "saturates late": lambda x: x.clamp(-1e4, 1e4),
    "bends late": lambda x: (x + 1e4).relu(),
    "dead zone": lambda x: torch.where(x.abs() < 1e-4, 0.0, x),
    "silent at this amplitude": nn.Softshrink(1e3),
    "steps": lambda x: torch.round(x * 256) / 256,
    "maximum": nn.MaxPool2d(2),
    "median": lambda x: x.median(dim=-1).values,
    "one channel of many": lambda x: torch.cat([1e9 * x, 1e-9 * x.relu()], 1),
    "normalised": nn.InstanceNorm2d(3),
    "softmax": nn.Softmax(1),
    "argmax": lambda x: x.argmax(1),
    "linear where nothing is zero": lambda x: x * (x != 0).to(x.dtype).mean(),
    "linear where it varies": lambda x: x * (x.var() > 1e-12),
    "second output": lambda x: {"a": x, "b": x.relu()},
    "homogeneous but not additive": lambda x: x * x.abs().amax() / (x.abs().sum() + 1e-30),
    "constant hides little": lambda x: x.relu() + 1e3,
}


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_other_maps_are_not(name: str) -> None:
    report = shiftcheck.check_linear(NOT_LINEAR[name], X)
    assert report.verdict is Linearity.NOT_LINEAR
    with pytest.raises(shiftcheck.NotLinearError, match="does not hold"):
        shiftcheck.assert_linear(NOT_LINEAR[name], X, affine=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_two_numbers_that_are_shown_are_the_model_s_own(dtype: torch.dtype) -> None:
    x, model = X.to(dtype), nn.Sequential(conv(bias=True), nn.ReLU()).to(dtype)
    report = shiftcheck.check_linear(model, x, seed=3)
    worst = report.outputs[0].worst
    assert worst is not None
    assert worst.law == "phi(f + g) = phi(f) + phi(g) - phi(0)"
    drawn = signals(x, 3, report.amplitudes[1])
    exact = model.double()
    with torch.no_grad():
        f, g, both, zero = (exact(drawn[key]) for key in ("f", "g", "f + g", "0"))
    assert worst.together == pytest.approx(float(both[worst.index]), rel=1e-12)
    assert worst.apart == pytest.approx(float((f + g - zero)[worst.index]), rel=1e-12)
    assert f"{worst.together:.9g}" in str(report)
    assert f"{worst.apart:.9g}" in str(report)


AFFINE = {
    "bias": (conv(bias=True), None),
    "constant": (lambda x: 2 * x + 3, 3.0),
    "position": (lambda x: x + torch.arange(10.0), 9.0),
    "small constant": (lambda x: x + 1e-6, 1e-6),
    "constant of a small channel": (lambda x: torch.cat([1e9 * x, 1e-9 * x + 1e-9], 1), 1e-9),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_maps_are_said_to_be_affine(name: str) -> None:
    model, constant = AFFINE[name]
    with pytest.raises(shiftcheck.NotLinearError, match="constant part"):
        shiftcheck.assert_linear(model, X)
    report = shiftcheck.assert_linear(model, X, affine=True)
    assert report.verdict is Linearity.AFFINE
    if constant is not None:
        assert report.outputs[0].constant == pytest.approx(constant)
    assert "constant part" in str(report)


class Counts(nn.Module):
    """Its gain grows with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


def overflows(x: torch.Tensor) -> torch.Tensor:
    return x + 1e-30 * torch.exp(x.abs())


INCONCLUSIVE = {
    "dead output": lambda x: x * 0,
    "output ignores the input": lambda x: x * 0 + 1,
    "not finite": lambda x: x * float("nan"),
    "nondeterministic": lambda x: nn.functional.dropout(x, 0.5, training=True),
    "values are read to decide": lambda x: x if x.sum() > 1e30 else 2 * x,
    "output of another shape": lambda x: x[x > 0],
    "empty output": lambda x: x[:, :, :0],
    "linear part hidden by the constant": lambda x: x + 1e14,
    "output cannot be read": lambda x: (x, x.to_sparse()),
}


@pytest.mark.parametrize("reason", INCONCLUSIVE)
def test_what_cannot_be_told_never_passes(reason: str) -> None:
    report = shiftcheck.check_linear(INCONCLUSIVE[reason], X)
    assert (report.verdict, report.reason) == (Linearity.INCONCLUSIVE, reason)
    with pytest.raises(shiftcheck.InconclusiveError, match=reason):
        shiftcheck.assert_linear(INCONCLUSIVE[reason], X, affine=True)
    assert "remedy" in str(report)


def test_what_keeps_its_signals_or_overflows_does_not_pass() -> None:
    assert verdict_on(Counts()) is Linearity.INCONCLUSIVE
    assert verdict_on(overflows) is Linearity.INCONCLUSIVE
    assert verdict_on(lambda x: (x, torch.ones(2, 3))) is Linearity.INCONCLUSIVE


def test_a_zero_signal_and_a_constant_one_do_for_a_shape() -> None:
    assert verdict_on(conv(), torch.zeros(1, 3, 8, 8)) is Linearity.LINEAR
    assert verdict_on(torch.relu, torch.ones(1, 3, 8, 8)) is Linearity.NOT_LINEAR


def test_large_and_small_signals() -> None:
    for unit in (1e-20, 1e20):
        assert verdict_on(conv(), X * unit) is Linearity.LINEAR
        assert verdict_on(torch.relu, X * unit) is Linearity.NOT_LINEAR


def test_only_up_to_a_layer() -> None:
    model = nn.Sequential(conv(), nn.ReLU(), conv())
    assert shiftcheck.check_linear(model, X, layer="0").verdict is Linearity.LINEAR
    assert shiftcheck.check_linear(model, X, layer="1").verdict is Linearity.NOT_LINEAR


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: {"x": x}, lambda x: x.numpy()])
def test_a_signal_in_a_tuple_a_dict_or_an_array(wrap: Any) -> None:
    assert verdict_on(lambda x: 2 * x, wrap(X)) is Linearity.LINEAR
    assert verdict_on(lambda x: abs(x), wrap(X)) is Linearity.NOT_LINEAR


def test_functions_of_arrays_inside_and_outside_of_torch() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    assert verdict_on(lambda a: ndimage.uniform_filter(a, 3), X.numpy()) is Linearity.LINEAR
    assert verdict_on(lambda a: ndimage.median_filter(a, 3), X.numpy()) is Linearity.NOT_LINEAR

    def detour(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.cumsum(x.numpy(), -1))

    assert verdict_on(detour) is Linearity.LINEAR
    assert verdict_on(lambda x: x + detour(x)) is Linearity.LINEAR
    assert verdict_on(lambda x: x + detour(x.abs())) is Linearity.NOT_LINEAR


BAD = {
    "several tensors": (lambda: shiftcheck.check_linear(torch.add, (X, X)), "2 tensors"),
    "integers": (lambda: shiftcheck.check_linear(torch.abs, X.int()), "int32"),
    "complex": (lambda: shiftcheck.check_linear(torch.abs, X + 1j), "complex64"),
    "meta": (lambda: shiftcheck.check_linear(torch.abs, X.to("meta")), "meta"),
    "not finite": (lambda: shiftcheck.check_linear(torch.abs, X / 0), "NaN or infinite"),
    "seed": (lambda: shiftcheck.check_linear(torch.abs, X, seed=0.5), "seed=0.5"),
    "layer": (lambda: shiftcheck.check_linear(conv(), X, layer=""), "layer=''"),
    "no such layer": (lambda: shiftcheck.check_linear(conv(), X, layer="conv9"), "conv9"),
    "no model": (lambda: shiftcheck.check_linear(3, X), "model=3"),
    "lazy": (lambda: shiftcheck.check_linear(nn.LazyConv2d(1, 3), X), "without a size"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    call, words = BAD[name]
    with pytest.raises(shiftcheck.InputError, match=words):
        call()


def test_a_model_that_raises_gets_our_sentence() -> None:
    with pytest.raises(shiftcheck.ModelError, match="the model raised RuntimeError on an input"):
        shiftcheck.check_linear(nn.Conv2d(5, 1, 3), X)


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.calls = nn.BatchNorm2d(3), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 2:
            raise ValueError("enough")
        return self.norm(x)


@pytest.mark.parametrize("model", [nn.BatchNorm2d(3), Fails(), Counts()])
def test_everything_is_left_as_it_was(model: nn.Module) -> None:
    model.train()
    x = X.clone().requires_grad_()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    calls = getattr(model, "calls", 0)
    try:
        shiftcheck.check_linear(model, x)
    except shiftcheck.ModelError:
        assert isinstance(model, Fails)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert getattr(model, "calls", 0) == calls
    assert x.grad is None
    assert torch.equal(x, X)
