"""Coarse types: rounding passes, what only they break is named, and nothing else is excused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict

SIZE = (1, 2, 32, 36)


def image(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*SIZE, generator=torch.Generator().manual_seed(7)).to(dtype)


def net(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 5, padding=2, **options),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, padding=1, **options),
        nn.Upsample(scale_factor=1.5, mode="bilinear"),
        nn.Conv2d(8, 2, 3, padding=1, **options),
    )


class Autocast(nn.Module):
    """Computes in bfloat16 where torch's autocast does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(x)  # type: ignore[no-any-return]


class Coarse(nn.Module):
    """Computes in another type, whatever it is given."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = inner, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.to(self.dtype)(x.to(self.dtype)).to(x.dtype)  # type: ignore[no-any-return]


class Wobbly(nn.Module):
    """Equivariant up to rounding, which depends on the place: it adds and takes away a ramp."""

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height = height

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return wobbled(x, self.height)


@torch.library.custom_op("precision::wobbled", mutates_args=())
def wobbled(x: torch.Tensor, height: float) -> torch.Tensor:
    ramp = torch.linspace(0, height, x.shape[-1], dtype=x.dtype)
    return (x + ramp) - ramp


@wobbled.register_fake
def _(x: torch.Tensor, height: float) -> torch.Tensor:
    return torch.empty_like(x)


@contextmanager
def pointwise_rule(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from shiftcheck.rules import registry

    monkeypatch.setattr(registry, "_table", dict(registry._table))
    shiftcheck.register_rule("precision::wobbled")(shiftcheck.rules.pointwise)
    yield


def check(model: Any, x: torch.Tensor, **options: Any) -> Report:
    return shiftcheck.check_equivariance(model, x, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_network_passes_in_every_type(dtype: torch.dtype) -> None:
    report = check(net().to(dtype), image(dtype))
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.dtype == str(dtype).removeprefix("torch.")


def test_autocast_passes_and_is_told() -> None:
    report = check(Autocast(net()), image())
    assert report.verdict is Verdict.EQUIVARIANT
    assert "computed in bfloat16 on the way, the input is float32" in report.notes
    assert not any("on the way" in note for note in check(net(), image()).notes)


@pytest.mark.parametrize("height", [1e3, 1e4])
def test_rounding_that_depends_on_the_place(height: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with pointwise_rule(monkeypatch):
        report = check(Wobbly(height), image())
        result = report.outputs[0].worst
        assert result is not None
        assert result.relative_error is not None
        assert result.relative_error > 7.6e-6
        assert report.verdict is Verdict.EQUIVARIANT
        assert result.float64_error is not None
        assert result.float64_error < 1e-10
        assert report.sensitivity is not None
        assert result.float64_error <= report.sensitivity < 1.6e-5


@pytest.mark.parametrize("height", [1e5, 1e7])
def test_rounding_beyond_that_of_layers_is_named(
    height: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pointwise_rule(monkeypatch):
        report = check(Wobbly(height), image())
        assert (report.verdict, report.reason) == (Verdict.BROKEN, "only in low precision")
        text = " ".join(str(report).split())
        assert "the same in float64: relative" in text
        tried = [(t.change.dtype, t.works) for t in report.trials]
        assert tried[0] == ("float64", height < 1e7)
        assert ("remedy: run the model and the input in float64" in text) == (height < 1e7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_position_is_one_in_any_type(dtype: torch.dtype) -> None:
    table = torch.randn(1, 2, 32, 36)

    def model(x: torch.Tensor) -> torch.Tensor:
        return x + 0.3 * table.to(x.dtype)

    report = check(model, image(dtype))
    assert (report.verdict, report.reason) == (Verdict.BROKEN, "")
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


def test_a_small_break_in_a_coarse_type_is_found_in_float64() -> None:
    table = torch.randn(1, 2, 32, 36)

    def model(x: torch.Tensor) -> torch.Tensor:
        return x + 1e-3 * table.to(x.dtype)

    report = check(model, image(torch.bfloat16))
    assert (report.verdict, report.reason) == (Verdict.BROKEN, "")
    for result in report.outputs[0].shifts:
        assert result.relative_error is not None
        assert result.relative_error < 16 * 2.0**-7
        assert result.float64_error is not None
        assert result.float64_error > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_computes_in_a_coarse_type_whatever_it_is_given(dtype: torch.dtype) -> None:
    report = check(Coarse(net(), dtype), image())
    assert report.verdict is Verdict.EQUIVARIANT
    broken = check(Coarse(nn.Sequential(net(), Position()), dtype), image())
    assert broken.verdict is Verdict.BROKEN
    assert broken.guilty is not None
    assert broken.guilty.kind == "POSITION"


class Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 2, 48, 54))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


def test_without_float64_only_what_rounding_can_do_is_excused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Single(nn.Module):
        def __init__(self, height: float, gain: float) -> None:
            super().__init__()
            self.height, self.gain = height, gain

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = wobbled(x.float(), self.height) + self.gain * F.pad(x.float(), (0, 0))
            return y.to(x.dtype)

    with pointwise_rule(monkeypatch):
        report = check(Single(3e4, 1.0), image())
        assert report.outputs[0].worst is not None
        assert report.outputs[0].worst.float64_error is None
        assert (report.verdict, report.reason) == (
            Verdict.INCONCLUSIVE,
            "gap not confirmed in float64",
        )
