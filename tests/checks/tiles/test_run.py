"""A tiled model gives what the model gives on the whole, and goes on after a stop."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.networks.tiled import Attention, PaddedTo, Pyramid, SqueezeExcite, UNet
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck.checks.tiles import bar
from shiftcheck.checks.tiles.run import largest_gap
from shiftcheck.report import Exactness

AROUND = nn.Sequential(
    nn.Conv2d(1, 4, 5, padding=2, padding_mode="circular"),
    nn.ReLU(),
    nn.Conv2d(4, 4, 3, stride=2, padding=1, padding_mode="circular"),
    nn.Upsample(scale_factor=2),
)
CLASSIFIER = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1),
    nn.MaxPool2d(2),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(4, 3),
)
LARGEST = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveMaxPool2d(1), nn.Flatten())
OF_THE_BATCH = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, track_running_stats=False)
)


class Responses(nn.Module):
    """The global response normalisation of ConvNeXt V2, with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).permute(0, 2, 3, 1)
        norm = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        return (y * (norm / norm.mean(-1, keepdim=True)) + y).permute(0, 3, 1, 2)


torch.manual_seed(0)
Case = tuple[Any, tuple[int, ...], Any, dict[str, Any]]
CASES: dict[str, Case] = {
    "a convolution, odd sizes": (nn.Conv2d(1, 3, 5, padding=2), (2, 1, 61, 47), (20, 13), {}),
    "a U-Net": (UNet("batch"), (1, 1, 100, 108), 56, {}),
    "a U-Net, a ragged end": (PaddedTo(UNet(), 4), (1, 1, 101, 94), 60, {}),
    "padded to 16, centred": (PaddedTo(UNet(), 16, centred=True), (1, 1, 133, 120), (69, 72), {}),
    "one axis": (UNet("", dims=1), (3, 1, 200), 64, {}),
    "three axes": (
        nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d(2)),
        (1, 1, 14, 16, 18),
        8,
        {},
    ),
    "outputs of several strides": (Pyramid(), (1, 1, 37, 43), 16, {}),
    "no padding": (nn.Sequential(nn.Conv2d(1, 2, 7), nn.MaxPool2d(2)), (1, 1, 60, 62), 20, {}),
    "mirrored borders": (
        nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(1, 1, 7)),
        (1, 1, 40, 43),
        16,
        {},
    ),
    "around a circle": (AROUND, (1, 1, 40, 48), 12, {"boundary": "circular"}),
    "around one circle": (
        nn.Sequential(nn.CircularPad2d((2, 2, 0, 0)), nn.Conv2d(1, 2, (3, 5), padding=(1, 0))),
        (1, 1, 40, 48),
        (16, 20),
        {"boundary": ("valid", "circular")},
    ),
    "whole numbers out": (lambda x: x.argmax(1), (1, 3, 30, 31), 8, {}),
    "channels last": (
        lambda x: F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1),
        (1, 40, 42, 2),
        16,
        {"spatial_dims": (1, 2)},
    ),
    "group norms": (UNet("group"), (2, 1, 100, 104), 64, {}),
    "instance norms": (UNet("instance"), (2, 1, 100, 104), 64, {}),
    "squeeze and excite": (SqueezeExcite(), (2, 1, 40, 43), 16, {}),
    "a classifier": (CLASSIFIER, (2, 1, 40, 43), 16, {}),
    "a maximum": (LARGEST, (2, 1, 40, 43), 16, {}),
    "statistics of the batch": (OF_THE_BATCH, (3, 1, 40, 43), 16, {}),
    "responses": (Responses(), (1, 1, 40, 43), 16, {}),
    "variances": (
        lambda x: x / x.std((2, 3), keepdim=True) + x.amax((2, 3), True),
        (1, 2, 40, 43),
        16,
        {},
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_tiles_give_the_whole(name: str, dtype: torch.dtype) -> None:
    model, shape, tile, options = CASES[name]
    model = model.to(dtype).eval() if isinstance(model, nn.Module) else model
    x = 1 + torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    plan = shiftcheck.tiling(model, x, tile=tile, **options)
    assert plan.exact
    assert plan.tiles > 1
    with torch.no_grad():
        whole = model(x)
    given = shiftcheck.tiled(model, plan)(x)
    assert type(given) is type(whole)
    assert largest_gap(whole, given) <= 64 * torch.finfo(dtype).eps


def test_what_is_far_from_zero_is_normalised_as_exactly() -> None:
    model = nn.GroupNorm(2, 4)
    x = 1000 + torch.randn(1, 4, 60, 60, dtype=torch.float64)
    plan = shiftcheck.tiling(model.double(), x, tile=16)
    assert shiftcheck.tiled(model, plan).difference(x) <= 1e3 * 64 * 2.2e-16


def test_statistics_that_are_not_pooled_show() -> None:
    x = torch.randn(1, 1, 100, 104, generator=torch.Generator().manual_seed(0))
    model = UNet("group")
    plan = shiftcheck.tiling(model, x, tile=64)
    assert [s.level for s in plan.statistics] == [1, 2, 3, 4, 5]
    assert plan.passes == 6
    assert all(b.effect is not None and b.effect > 1e-3 for b in plan.blocking)


def test_a_plan_from_json_runs_as_well() -> None:
    model, x = UNet("group"), torch.randn(1, 1, 100, 104)
    plan = shiftcheck.tiling(model, x, tile=64)
    again = shiftcheck.TilingPlan.from_json(plan.to_json())
    assert torch.equal(shiftcheck.tiled(model, again)(x), shiftcheck.tiled(model, plan)(x))


def test_what_goes_along_is_cut_or_given_as_it_is() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)

    def model(x: torch.Tensor, mask: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return conv(x) * mask * scale[:, None, None, None]

    x, mask, scale = torch.randn(1, 1, 40, 40), torch.rand(1, 1, 40, 40), torch.tensor([3.0])
    given = {"x": x, "mask": mask, "scale": scale}
    plan = shiftcheck.tiling(model, given, tile=16)
    with torch.no_grad():
        assert torch.allclose(shiftcheck.tiled(model, plan)(given), model(**given), atol=1e-6)


CONV_OF_4 = nn.Conv2d(1, 4, 3, padding=1)
FINER = nn.ConvTranspose2d(3, 4, 4, stride=4)
RESOLUTIONS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "resized to the image": (
        lambda x, y: CONV_OF_4(x) + F.interpolate(y, size=x.shape[-2:], mode="bilinear"),
        (1, 4, 36, 48),
        24,
    ),
    "resized by a factor": (lambda x, y: CONV_OF_4(x) * FINER(y), (1, 3, 18, 24), 28),
    "finer": (lambda x, y: CONV_OF_4(x) + F.avg_pool2d(y, 2), (1, 4, 144, 192), 25),
    "a value for each row": (lambda x, y: CONV_OF_4(x) + y, (1, 4, 72, 1), 24),
    "one value": (lambda x, y: CONV_OF_4(x) + y, (1, 4, 1, 1), 24),
    "a mean": (
        lambda x, y: CONV_OF_4(x) + y.mean((2, 3), keepdim=True),
        (1, 4, 36, 48),
        24,
    ),
}


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_an_input_of_another_resolution_is_cut_at_the_same_places(name: str) -> None:
    model, shape, tile = RESOLUTIONS[name]
    x = (torch.randn(1, 1, 72, 96), torch.randn(shape))
    plan = shiftcheck.tiling(model, x, tile=tile)
    assert plan.exact
    assert shiftcheck.tiled(model, plan).difference(x) < 1e-5


def test_an_input_that_cannot_be_cut_there_is_told() -> None:
    plan = shiftcheck.tiling(CONV_OF_4, (1, 1, 72, 96), tile=25)

    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return CONV_OF_4(x) + F.interpolate(y, size=x.shape[-2:])

    tiled = shiftcheck.tiled(CONV_OF_4, plan)
    tiled.model = model
    with pytest.raises(shiftcheck.InputError, match=r"no whole number of samples.*multiple of 2"):
        tiled((torch.randn(1, 1, 72, 96), torch.randn(1, 4, 36, 48)))


def test_a_hook_that_counts_is_put_back() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.seen += 1
            return x * 2

    model, x = Counting(), torch.randn(1, 1, 20, 20)
    shiftcheck.tiled(model, shiftcheck.tiling(model, x, tile=8))(x)
    assert model.calls == 0
    assert float(model.seen) == 0


def test_arrays_come_back_as_arrays() -> None:
    model = UNet()
    x = np.random.default_rng(0).standard_normal((1, 1, 100, 100)).astype(np.float32)
    y = shiftcheck.tiled(model, shiftcheck.tiling(model, x, tile=64))(x)
    assert isinstance(y, np.ndarray)
    with torch.no_grad():
        assert np.allclose(y, model(torch.from_numpy(x)).numpy(), atol=1e-5)


# -- files ---------------------------------------------------------------------------------------


class StopError(Exception):
    """What ends a run in these tests."""


class Stopping(nn.Module):
    """A network that raises in one of its calls, once."""

    def __init__(self, at: list[int]) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.Conv2d(2, 2, 3, padding=1)
        )
        self.tally = _Tally(at)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.tally.call()
        return self.inner(x)


class _Tally:
    """Counts calls where a check does not put them back."""

    __slots__ = ("left",)

    def __init__(self, at: list[int]) -> None:
        self.left = iter(at)

    def call(self) -> None:
        if next(self.left, 0):
            raise StopError


def files(folder: Path, shape: tuple[int, ...]) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any]]:
    x = np.memmap(folder / "x", dtype=np.float32, mode="w+", shape=shape)
    x[:] = np.random.default_rng(0).standard_normal(shape)
    x.flush()
    out = np.memmap(folder / "y", np.float32, "w+", shape=(shape[0], 2, *shape[2:]))
    out.flush()
    return (
        np.memmap(folder / "x", dtype=np.float32, mode="r", shape=shape),
        np.memmap(folder / "y", np.float32, "r+", shape=(shape[0], 2, *shape[2:])),
    )


@pytest.mark.parametrize("stop_after", [0, 2, 6, 9], ids=str)
def test_a_run_goes_on_after_a_stop(tmp_path: Path, stop_after: int) -> None:
    shape = (1, 1, 100, 104)
    x, out = files(tmp_path, shape)
    model = Stopping([])
    plan = shiftcheck.tiling(model, shape, tile=40)
    assert (plan.tiles, plan.passes) == (9, 2)
    journal = tmp_path / "y.tiles.json"
    total = plan.tiles * plan.passes
    model.tally = _Tally([0] * stop_after + [1])
    with pytest.raises(shiftcheck.ModelError):
        shiftcheck.tiled(model, plan)(x, out=out)
    noted = json.loads(journal.read_text(encoding="utf-8"))
    assert noted["passes"] * plan.tiles + noted["tiles"] == stop_after
    model.tally = _Tally([0] * (total - stop_after) + [1])  # it may not be called more often
    shiftcheck.tiled(model, plan)(x, out=out)
    assert not journal.exists()
    with torch.no_grad():
        whole = model.inner(torch.from_numpy(np.array(x))).numpy()
    assert np.abs(whole - out).max() <= 64 * 1.2e-7 * np.abs(whole).max()


def test_a_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    shape = (1, 1, 100, 104)
    x, out = files(tmp_path, shape)
    model = Stopping([])
    plan = shiftcheck.tiling(model, shape, tile=64)

    def stopped() -> None:
        model.tally = _Tally([0, 0, 1])
        with pytest.raises(shiftcheck.ModelError):
            shiftcheck.tiled(model, plan)(x, out=out)
        model.tally = _Tally([])

    stopped()
    other = shiftcheck.tiling(model, shape, tile=72)
    with pytest.raises(shiftcheck.InputError, match="another model, plan or image: delete it"):
        shiftcheck.tiled(model, other)(x, out=out)
    changed = np.array(x)
    changed[0, 0, 0, 0] += 1
    with pytest.raises(shiftcheck.InputError, match="another model, plan or image"):
        shiftcheck.tiled(model, plan)(changed, out=out)
    (tmp_path / "y.tiles.json").write_text("{", encoding="utf-8")
    with pytest.raises(shiftcheck.InputError, match="cannot be read"):
        shiftcheck.tiled(model, plan)(x, out=out)


def test_a_file_made_anew_is_written_from_the_start(tmp_path: Path) -> None:
    shape = (1, 1, 100, 104)
    x, out = files(tmp_path, shape)
    model = Stopping([])
    plan = shiftcheck.tiling(model, shape, tile=64)
    model.tally = _Tally([0] * (plan.tiles * plan.passes - 1) + [1])
    with pytest.raises(shiftcheck.ModelError):
        shiftcheck.tiled(model, plan)(x, out=out)
    model.tally = _Tally([])
    anew = np.memmap(tmp_path / "y", np.float32, "w+", shape=out.shape)
    shiftcheck.tiled(model, plan)(x, out=anew)
    assert (np.array(anew[0, :, :4, :4]) != 0).any()


# -- what cannot be used -------------------------------------------------------------------------

CONV = nn.Conv2d(1, 1, 5, padding=2)
X = torch.randn(1, 1, 40, 44, generator=torch.Generator().manual_seed(0))


def test_the_plan_of_another_model_is_refused() -> None:
    plan = shiftcheck.tiling(CONV, X, tile=16)
    with pytest.raises(shiftcheck.InputError, match="other modules or weights"):
        shiftcheck.tiled(nn.Conv2d(1, 1, 5, padding=2), plan)
    with pytest.raises(shiftcheck.InputError, match="is a str: give what"):
        shiftcheck.tiled(CONV, "plan")  # type: ignore[arg-type]
    with pytest.raises(shiftcheck.InputError, match="model=3 cannot be called"):
        shiftcheck.tiled(3, plan)  # type: ignore[arg-type]


def test_tiles_that_are_not_exact_are_run_only_when_asked_for() -> None:
    model = Attention()
    plan = shiftcheck.tiling(model, X, tile=24)
    with pytest.raises(shiftcheck.InputError, match=r"because of inner \(global\)"):
        shiftcheck.tiled(model, plan)
    gap = shiftcheck.tiled(model, plan, inexact=True).difference(X)
    assert gap == pytest.approx(plan.blocking[0].effect, rel=1e-3)


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (X[..., 1:], None, r"x has shape \(1, 1, 40, 43\), the plan is for .*\(1, 1, 40, 44\)"),
        ("x", None, "x is a str, the plan is for"),
        (X.int(), None, "x has dtype int32, the plan is for float32"),
        (X, np.zeros((1, 1, 40, 43), np.float32), r"out has shape \(1, 1, 40, 43\), output has"),
        (X, np.zeros((1, 1, 40, 44)), "out has dtype float64, but output is of float32"),
        (X, [np.zeros((1, 1, 40, 44), np.float32)] * 2, "out holds 2 arrays, the model has 1"),
        (X, {"map": torch.zeros(1, 1, 40, 44)}, "out names 'map': the outputs are output"),
        (X, "file", "out holds a str for output"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told(x: Any, out: Any, message: str) -> None:
    tiled = shiftcheck.tiled(CONV, shiftcheck.tiling(CONV, X, tile=16))
    with pytest.raises(shiftcheck.InputError, match=message):
        tiled(x, out=out)


def test_an_array_that_cannot_be_written_to_is_told() -> None:
    out = np.zeros((1, 1, 40, 44), np.float32)
    out.flags.writeable = False
    tiled = shiftcheck.tiled(CONV, shiftcheck.tiling(CONV, X, tile=16))
    with pytest.raises(shiftcheck.InputError, match="cannot be written to: open it with mode='r"):
        tiled(X, out=out)


def test_an_output_that_changes_its_type_with_the_size_is_told() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x.double() if x.shape[-1] < 16 else x

    with pytest.raises(shiftcheck.InputError, match=r"12 does not work along axis 0.*is the least"):
        shiftcheck.tiling(model, X, tile=12)


def by_hand(x: torch.Tensor) -> torch.Tensor:
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda x: (x, torch.arange(float(x.shape[-1]))), "output[1]"),
        (by_hand, "output"),
        (lambda x: x.square().sum().div(x.numel()).sqrt(), "output"),
        (lambda x: {"y": x.relu(), "peak": x.amax((2, 3)) * x.shape[-1]}, "output['peak']"),
        (lambda x: x.mean((2, 3)) + torch.full((1,), float(x.shape[2])), "output"),
        (lambda x: (x, torch.tensor(x.shape[-1] % 2)), "output[1]"),
    ],
)
def test_an_output_of_no_place_that_depends_on_the_size_is_told(model: Any, name: str) -> None:
    plan = shiftcheck.tiling(model, X, tile=(16, 15))
    assert plan.exactness == "not exact"
    assert plan.blocking[0].layer == name
    with pytest.raises(shiftcheck.InputError, match="plan is not exact because of"):
        shiftcheck.tiled(model, plan)
    run = shiftcheck.tiled(model, plan, inexact=True)
    assert gap_or_none(run) is None or gap_or_none(run) > 1e-3


def gap_or_none(run: Any) -> Any:
    """The gap to the whole; None where the run finds out that tiles of two sizes differ."""
    try:
        return run.difference(X)
    except shiftcheck.ModelError:
        return None


def test_an_output_of_no_place_that_differs_between_tiles_is_no_result() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, torch.arange(float(x.shape[-1]))

    claimed = replace(shiftcheck.tiling(model, X, tile=(16, 15)), exactness=Exactness.EXACT)
    with pytest.raises(shiftcheck.ModelError, match=r"output\[1\] depends on no place of x"):
        shiftcheck.tiled(model, claimed)(X)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x.sum((2, 3)),
        lambda x: (x, x.mean((2, 3)), torch.tensor(2.0)),
        lambda x: nn.functional.layer_norm(x.amax((2, 3)), (x.shape[1],)),
    ],
)
def test_an_output_of_no_place_that_is_a_statistic_is_exact(model: Any) -> None:
    plan = shiftcheck.tiling(model, X, tile=(16, 15))
    assert plan.exact
    assert shiftcheck.tiled(model, plan).difference(X) < 1e-5


def test_where_the_size_was_not_tried_it_is_said() -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, torch.tensor(1.0)

    assert not any("not tried" in note for note in shiftcheck.tiling(model, X, tile=16).notes)
    meta = nn.Conv2d(1, 1, 1, device="meta")
    plan = shiftcheck.tiling(
        nn.Sequential(meta, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 1, 32, 32), tile=16
    )
    assert "that output depends on no size of the image was not tried" in plan.notes


class Fragile(nn.Module):
    """A model that raises once it is told to."""

    broken = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken:
            raise RuntimeError("too much")
        return x * 2


def test_a_model_that_raises_is_told_with_the_size_of_the_tile() -> None:
    model = Fragile()
    tiled = shiftcheck.tiled(model, shiftcheck.tiling(model, X, tile=16))
    Fragile.broken = True
    try:
        with pytest.raises(shiftcheck.ModelError, match=r"shape \(1, 1, 16, 16\): too much"):
            tiled(X)
    finally:
        Fragile.broken = False


@pytest.mark.parametrize(
    ("whole", "tiled", "gap"),
    [
        ([1.0, math.nan], [1.0, 2.0], math.inf),
        ([1.0, 2.0], [1.0, math.nan], math.inf),
        ([1.0, math.nan], [1.0, math.nan], 0.0),
        ([4.0, math.inf], [4.0, math.inf], 0.0),
        ([4.0, math.inf], [4.0, -math.inf], math.inf),
        ([4.0, math.inf], [5.0, math.inf], 0.25),
        ([4.0, 1j], [4.0, 2j], 0.25),
    ],
)
def test_the_largest_gap_knows_of_what_is_no_number_and_of_both_parts(
    whole: list[Any], tiled: list[Any], gap: float
) -> None:
    one, other = (torch.tensor(values)[None, None] for values in (whole, tiled))
    assert largest_gap(one, other) == gap


@pytest.mark.parametrize(("terminal", "patience", "shown"), [(1, 0, 1), (1, 60, 0), (0, 0, 0)])
def test_a_bar_is_shown_by_itself_on_a_terminal_where_a_run_is_long(
    terminal: int,
    patience: float,
    shown: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: bool(terminal))
    monkeypatch.setattr(bar, "PATIENCE", patience)
    shiftcheck.tiled(CONV, shiftcheck.tiling(CONV, X, tile=16))(X)
    assert ("tiles" in capsys.readouterr().err) is bool(shown)


def test_a_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    plan = shiftcheck.tiling(CONV, X, tile=16)
    shiftcheck.tiled(CONV, plan, progress=True)(X)
    assert "tiles" in capsys.readouterr().err
    shiftcheck.tiled(CONV, plan)(X)
    assert capsys.readouterr().err == ""
