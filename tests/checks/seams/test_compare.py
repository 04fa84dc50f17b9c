"""Tiled functions with planted faults, each told apart; right ones, which pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.report import TiledComparison, TilesVerdict, TilingFault

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


def plain() -> nn.Module:
    """Halo 3."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 5, padding=2)
    ).eval()


class UNet(nn.Module):
    """Period 4; its halo is what the structure says."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        skip = self.first(F.pad(x, (0, -columns % 4, 0, -rows % 4))).tanh()
        low = self.inner(F.avg_pool2d(skip, 4)).tanh()
        y = self.last(torch.cat([F.interpolate(low, scale_factor=4.0), skip], 1))
        return y[..., :rows, :columns]


def pieces(size: int, tile: int, overlap: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """What each tile writes, and what it reads, from ... to."""
    left, right = overlap
    starts = range(0, size, tile)
    return [(s, min(size, s + tile), max(0, s - left), min(size, s + tile + right)) for s in starts]


def tiles(
    model: Callable[[Tensor], Tensor],
    tile: int,
    overlap: int | tuple[int, int],
    *,
    scale: float = 1,
    off: int = 0,
    change: Callable[[Tensor, int, int], Tensor] = lambda y, i, j: y,
    number: Callable[[int], int] = lambda n: n,
) -> Callable[[Tensor], Tensor]:
    """Put together from tiles in two dimensions; ``off``: the crop begins so much later."""
    sides = (overlap, overlap) if isinstance(overlap, int) else overlap

    def tiled(x: Tensor) -> Tensor:
        rows = []
        for i, (a, b, c, d) in enumerate(pieces(x.shape[-2], tile, sides)):
            row = []
            for j, (e, f, g, h) in enumerate(pieces(x.shape[-1], tile, sides)):
                y = change(model(x[..., c:d, g:h]), i, j)
                r, s = int((a - c) * scale) + off, int((e - g) * scale) + off
                y = y[..., r : r + int((b - a) * scale), s : s + int((f - e) * scale)]
                wide = int((f - e) * scale) - y.shape[-1], int((b - a) * scale) - y.shape[-2]
                row.append(F.pad(y, (0, wide[0], 0, wide[1])))
            rows.append(torch.cat(row, -1))
        return torch.cat(rows, -2)

    return tiled


def faults(found: TiledComparison) -> tuple[TilingFault, ...]:
    assert found.verdict is TilesVerdict.DIFFERENT
    assert TiledComparison.from_json(found.to_json()) == found
    assert str(found)
    return found.faults


def lines(found: TiledComparison) -> list[tuple[int, ...]]:
    return [axis.lines for axis in found.outputs[0].axes]


X = (1, 1, 64, 96)
ENOUGH = ((3, 3), (3, 3))
"""The overlap that would do for the plain network, whatever is wrong besides."""


def test_overlaps_too_small_by_one_are_told_with_their_seams() -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, tiles(net, 16, 2), noise(*X))
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(16, 32, 48), (16, 32, 48, 64, 80)]
    assert [axis.step for axis in found.outputs[0].axes] == [16, 16]
    assert found.missing == ((1, 1), (1, 1))
    assert found.overlap == ((3, 3), (3, 3))
    assert "too small by at least 1 pixel" in str(found)


@pytest.mark.parametrize("overlap", [0, 1, (0, 3), (3, 1), (3, 0)])
def test_any_overlap_that_is_too_small_is_measured(overlap: int | tuple[int, int]) -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, tiles(net, 24, overlap), noise(1, 1, 72, 96))
    assert faults(found) == (TilingFault.OVERLAP,)
    sides = (overlap, overlap) if isinstance(overlap, int) else overlap
    if sides[0] == sides[1]:
        assert lines(found) == [(24, 48), (24, 48, 72)]
        assert found.missing == ((3 - sides[1], 3 - sides[0]),) * 2
    for seam in found.outputs[0].axes[0].seams:
        assert seam.stop - seam.start == 6 - sum(sides)
    shiftcheck.assert_tiled_equals_whole(net, tiles(net, 24, 3), noise(1, 1, 72, 96))


def test_tiles_off_the_grid_are_told_from_small_overlaps() -> None:
    net = UNet()
    halo = shiftcheck.geometry(net, X).outputs[0].halo[0]
    assert halo is not None
    enough = 4 * int(-(-max(halo) // 4))
    x = noise(*X)
    shiftcheck.assert_tiled_equals_whole(net, tiles(net, 16, enough), x)
    found = shiftcheck.compare_tiled(net, tiles(net, 24, enough + 2), x)
    assert TilingFault.OFF_GRID in faults(found)
    assert TilingFault.OVERLAP not in found.faults
    assert lines(found)[0][0] == 24
    assert found.period == (4, 4)
    assert found.overlap == ((enough, enough),) * 2
    small = shiftcheck.compare_tiled(net, tiles(net, 32, 4), x)
    assert faults(small) == (TilingFault.OVERLAP,)
    assert lines(small) == [(32,), (32, 64)]


def averaged(model: Callable[[Tensor], Tensor], tile: int, step: int) -> Callable[[Tensor], Tensor]:
    def tiled(x: Tensor) -> Tensor:
        total, times = torch.zeros_like(model(x)), torch.zeros_like(x)
        for i in range(0, x.shape[-2] - tile + step, step):
            for j in range(0, x.shape[-1] - tile + step, step):
                at = (..., slice(i, i + tile), slice(j, j + tile))
                total[at] += model(x[at])
                times[at] += 1
        return total / times

    return tiled


@pytest.mark.parametrize(("tile", "step"), [(24, 14), (24, 19), (24, 18)])
def test_averaged_margins_are_told_from_cuts(tile: int, step: int) -> None:
    net = plain()
    size = tile + 3 * step
    found = shiftcheck.compare_tiled(net, averaged(net, tile, step), noise(1, 1, size, size))
    assert faults(found) == (TilingFault.BLENDED,)
    first = found.outputs[0].axes[0].seams[0]
    assert first.start == step
    assert found.overlap == ((3, 3), (3, 3))


@pytest.mark.parametrize("off", [1, -1, 2])
def test_a_wrong_crop_displaces_what_it_keeps(off: int) -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, tiles(net, 16, 5, off=off), noise(*X))
    assert TilingFault.DISPLACED in faults(found)
    assert found.overlap == ENOUGH
    shifts = {part.shift for part in found.outputs[0].parts}
    assert (-off, -off) in shifts or {(-off, 0), (0, -off)} & shifts


def test_a_tile_that_was_forgotten_is_named_with_its_place() -> None:
    net = plain()

    def forget(y: Tensor, i: int, j: int) -> Tensor:
        return 0 * y if (i, j) == (3, 5) else y

    found = shiftcheck.compare_tiled(net, tiles(net, 16, 3, change=forget), noise(*X))
    assert faults(found) == (TilingFault.DROPPED,)
    assert found.overlap == ENOUGH
    assert found.outputs[0].parts[0].box == ((48, 64), (80, 96))


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_a_last_row_of_tiles_that_is_missing_is_named(value: float) -> None:
    net = plain()
    exact = tiles(net, 16, 3)

    def tiled(x: Tensor) -> Tensor:
        y = exact(x)
        y[..., 48:, :] = value
        return y

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.DROPPED,)
    assert found.overlap == ENOUGH
    assert found.outputs[0].parts[0].box == ((48, 64), (0, 96))
    assert lines(found)[0] == (48,)


def test_gaps_between_tiles_that_nobody_wrote_to_are_missing_too() -> None:
    net = plain()
    exact = tiles(net, 16, 3)

    def tiled(x: Tensor) -> Tensor:
        y = exact(x)
        y[..., 31] = 0.0
        return y

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.DROPPED,)
    assert found.overlap == ENOUGH
    assert found.outputs[0].parts[0].box == ((0, 64), (31, 32))


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.AdaptiveAvgPool2d(1)]
)
def test_a_layer_that_sees_everything_is_named(norm: nn.Module) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), norm
            self.last = nn.Conv2d(4, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.last(y + self.norm(y))

    net = Net()
    found = shiftcheck.compare_tiled(net, tiles(net, 32, 8), noise(*X))
    assert faults(found) == (TilingFault.GLOBAL,)
    assert any("norm" in name for name in found.layers)
    assert found.overlap == (None, None)
    assert "no overlap is enough" in str(found)


def test_a_norm_of_each_tile_outside_of_the_model_is_something_else() -> None:
    net = plain()

    def scaled(x: Tensor) -> Tensor:
        return net((x - x.mean()) / x.std())

    found = shiftcheck.compare_tiled(net, tiles(scaled, 32, 8), noise(*X))
    assert faults(found) == (TilingFault.OTHER,)
    assert found.overlap == ENOUGH


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_a_mirrored_border_is_told_from_seams(mode: str) -> None:
    net = plain()

    def tiled(x: Tensor) -> Tensor:
        wide = F.pad(x, (8, 8, 8, 8), mode=mode)
        return tiles(net, 16, 3)(wide)[..., 8:-8, 8:-8]

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.BORDER,)
    assert found.overlap == ENOUGH
    bands = [[(s.start, s.stop) for s in axis.seams] for axis in found.outputs[0].axes]
    assert bands == [[(0, 3), (61, 64)], [(0, 3), (93, 96)]]
    assert lines(found) == [(), ()]


@pytest.mark.parametrize(
    "turn",
    [lambda y: y.transpose(-1, -2), lambda y: y.flip(-1), lambda y: y.flip(-1, -2)],
)
def test_a_tile_that_is_turned_is_named(turn: Callable[[Tensor], Tensor]) -> None:
    net = plain()
    exact = tiles(net, 16, 3)

    def tiled(x: Tensor) -> Tensor:
        y = exact(x)
        y[..., 16:32, 48:64] = turn(y[..., 16:32, 48:64]).clone()
        return y

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.TURNED,)
    assert found.overlap == ENOUGH
    assert found.outputs[0].parts[0].box == ((16, 32), (48, 64))


def test_a_tile_that_was_read_with_rows_and_columns_exchanged_is_turned() -> None:
    net = plain()

    def tiled(x: Tensor) -> Tensor:
        y = tiles(net, 16, 3)(x)
        y[..., 16:32, 48:64] = net(x[..., 13:35, 45:67].transpose(-1, -2))[..., 3:-3, 3:-3]
        return y

    assert faults(shiftcheck.compare_tiled(net, tiled, noise(*X))) == (TilingFault.TURNED,)


def test_two_tiles_in_each_others_place_are_named() -> None:
    net = plain()

    def tiled(x: Tensor) -> Tensor:
        y = tiles(net, 16, 3)(x)
        other = y.clone()
        other[..., 16:32, 32:48], other[..., 48:64, 0:16] = (
            y[..., 48:64, 0:16],
            y[..., 16:32, 32:48],
        )
        return other

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.EXCHANGED,)
    assert found.overlap == ENOUGH
    assert {p.box for p in found.outputs[0].parts} == {
        ((16, 32), (32, 48)),
        ((48, 64), (0, 16)),
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tiles_that_are_kept_in_a_coarser_type_are_told(dtype: torch.dtype) -> None:
    net = plain()
    exact = tiles(net, 16, 3)
    found = shiftcheck.compare_tiled(net, lambda x: exact(x).to(dtype).float(), noise(*X))
    assert faults(found) == (TilingFault.PRECISION,)
    assert found.overlap == ENOUGH


@pytest.mark.parametrize(
    ("dtype", "overlap", "beside"),
    [
        (torch.float16, 3, ()),
        (torch.bfloat16, 3, ()),
        (torch.float16, 1, (TilingFault.OVERLAP,)),
    ],
)
def test_tiles_that_come_in_a_coarser_type_are_told_with_what_is_wrong_besides(
    dtype: torch.dtype, overlap: int, beside: tuple[TilingFault, ...]
) -> None:
    """The noise of their own type excuses nothing, as a wrong seam may be as small."""
    net = plain()
    stitched = tiles(net, 16, overlap)
    found = shiftcheck.compare_tiled(net, lambda x: stitched(x).to(dtype), noise(*X))
    assert faults(found) == (*beside, TilingFault.PRECISION)
    if beside:
        assert lines(found) == [(16, 32, 48), (16, 32, 48, 64, 80)]
    allowed = shiftcheck.compare_tiled(
        net, lambda x: stitched(x).to(dtype), noise(*X), rtol=2e-2, atol=0.0
    )
    assert (allowed.verdict is TilesVerdict.SAME) is (not beside)


def test_a_finer_type_of_tiles_is_no_fault() -> None:
    net = plain()
    double = copy.deepcopy(net).double()
    found = shiftcheck.compare_tiled(net, lambda x: tiles(double, 16, 3)(x.double()), noise(*X))
    assert found.verdict is TilesVerdict.SAME


def test_another_shape_is_told() -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, lambda x: net(x)[..., 1:], noise(*X))
    assert faults(found) == (TilingFault.SHAPE,)
    assert "(1, 2, 64, 95) from tiles, (1, 2, 64, 96) on the whole" in str(found)


def test_several_faults_are_all_told() -> None:
    net = plain()

    def tiled(x: Tensor) -> Tensor:
        y = tiles(net, 16, 2)(x)
        y[..., 48:, 80:] = 0.0
        return y

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert set(faults(found)) == {TilingFault.OVERLAP, TilingFault.DROPPED}
    assert found.missing == ((1, 1), (1, 1))


def along_one(
    model: Callable[[Tensor], Tensor], tile: int, sides: tuple[int, int], scale: float = 1
) -> Callable[[Tensor], Tensor]:
    def tiled(x: Tensor) -> Tensor:
        parts = []
        for a, b, c, d in pieces(x.shape[-1], tile, sides):
            y = model(x[..., c:d])
            at = int((a - c) * scale)
            parts.append(y[..., at : at + int((b - a) * scale)])
        return torch.cat(parts, -1)

    return tiled


STRIDED = nn.Sequential(nn.Conv1d(1, 2, 5, stride=2, padding=2), nn.Conv1d(2, 2, 3, padding=1))
RAISED = nn.Sequential(
    nn.Conv1d(1, 2, 3, padding=1), nn.ConvTranspose1d(2, 2, 4, stride=2, padding=1)
)
CAUSAL = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(1, 1, 5))
SPACE = nn.Conv3d(1, 2, 3, padding=1)


@pytest.mark.parametrize(
    ("model", "scale", "sides"),
    [(STRIDED, 0.5, (4, 4)), (RAISED, 2, (2, 2)), (CAUSAL, 1, (4, 0)), (SPACE, 1, (1, 1))],
)
def test_other_strides_and_dimensions(
    model: nn.Module, scale: float, sides: tuple[int, int]
) -> None:
    shape = (1, 1, 6, 7, 64) if model is SPACE else (1, 1, 64)
    x = noise(*shape)
    shiftcheck.assert_tiled_equals_whole(model, along_one(model, 16, sides, scale), x)
    small = (max(0, sides[0] - 4), max(0, sides[1] - 4))
    found = shiftcheck.compare_tiled(model, along_one(model, 16, small, scale), x)
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found)[-1] == tuple(int(n * scale) for n in (16, 32, 48))
    assert found.overlap[-1] == sides


def test_a_stitcher_of_arrays_gets_arrays() -> None:
    net = plain()
    seen: list[type] = []

    def tiled(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(type(x))
        return tiles(net, 16, 3)(torch.from_numpy(x)).numpy()

    assert shiftcheck.compare_tiled(net, tiled, noise(*X).numpy()).verdict is TilesVerdict.SAME
    assert seen == [np.ndarray]


def test_several_outputs_are_judged_each() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 5, padding=2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"one": self.one(x), "other": self.other(x)}

    net = Two()

    def tiled(x: Tensor) -> dict[str, Tensor]:
        names: Sequence[str] = ("one", "other")
        return {n: along_one(lambda t, n=n: net(t)[n], 16, (1, 1))(x) for n in names}

    found = shiftcheck.compare_tiled(net, tiled, noise(1, 1, 64))
    assert [o.verdict for o in found.outputs] == ["same", "different"]
    assert found.faults == (TilingFault.OVERLAP,)
    assert found.overlap == ((2, 2),)


# -- what never passes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: 0 * x, "dead output"),
        (lambda x: 0 * x + 1, "constant output"),
        (lambda x: x / 0, "not finite"),
        (lambda x: 0 * x + torch.arange(64.0), "output ignores the input"),
        (lambda x: x + torch.rand_like(x), "nondeterministic"),
    ],
)
def test_outputs_that_tell_nothing_never_pass(model: Any, reason: str) -> None:
    found = shiftcheck.compare_tiled(model, model, noise(1, 1, 64))
    assert (found.verdict, found.reason) == (TilesVerdict.INCONCLUSIVE, reason)


def test_a_constant_input_tells_nothing() -> None:
    found = shiftcheck.compare_tiled(nn.ReLU(), lambda x: x.relu(), torch.ones(1, 1, 64))
    assert found.reason == "constant input"


def test_a_callable_that_cuts_nothing_never_passes() -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, lambda x: net(x), noise(*X))
    assert (found.verdict, found.reason) == (TilesVerdict.INCONCLUSIVE, "nothing was cut")
    assert found.pieces == (X,)


def test_a_tolerance_lets_small_errors_pass_and_large_ones_are_refused() -> None:
    net = plain()
    off = lambda x: tiles(net, 16, 3)(x) + 1e-3  # noqa: E731
    assert shiftcheck.compare_tiled(net, off, noise(*X)).verdict is TilesVerdict.DIFFERENT
    passes = shiftcheck.compare_tiled(net, off, noise(*X), rtol=0.0, atol=2e-3)
    assert passes.verdict is TilesVerdict.SAME
    all_of_it = shiftcheck.compare_tiled(net, off, noise(*X), rtol=2.0, atol=0.0)
    assert all_of_it.reason == "tolerance larger than the signal"
    with pytest.raises(InputError, match="give both or neither"):
        shiftcheck.compare_tiled(net, off, noise(*X), rtol=1.0)


def test_a_small_channel_counts_as_much_as_a_large_one() -> None:
    net = nn.Conv1d(1, 1, 5, padding=2)

    def both(x: Tensor) -> Tensor:
        return torch.cat([1e6 * x, 1e-3 * net(x)], 1)

    found = shiftcheck.compare_tiled(both, along_one(both, 32, (0, 0)), noise(1, 1, 64))
    assert faults(found) == (TilingFault.OVERLAP,)
    assert found.outputs[0].error is not None
    assert found.outputs[0].error > 0.01


# -- arguments, and what is left behind -----------------------------------------------------------


def test_arguments_that_cannot_be_used_are_refused() -> None:
    net = plain()
    with pytest.raises(InputError, match="tiled=3: give a callable"):
        shiftcheck.compare_tiled(net, 3, noise(*X))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="the tiled callable raised ZeroDivisionError"):
        shiftcheck.compare_tiled(net, lambda x: 1 / 0, noise(*X))
    with pytest.raises(ModelError, match="returned 0 outputs, the model 1"):
        shiftcheck.compare_tiled(net, lambda x: None, noise(*X))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.norm(self.conv(x))


def test_everything_is_left_as_it_was_found() -> None:
    net = Counting().train()
    x = noise(*X).requires_grad_()
    before = x.detach().clone()
    state = torch.get_rng_state()

    def tiled(given: Tensor) -> Tensor:
        assert not net.training
        assert not torch.is_grad_enabled()
        out = tiles(net, 16, 1)(given)
        given.zero_()
        torch.rand(3)
        return out

    assert shiftcheck.compare_tiled(net, tiled, x).verdict is TilesVerdict.SAME
    assert net.training
    assert net.norm.training
    assert float(net.calls) == 0
    assert not net._forward_pre_hooks
    assert torch.equal(x.detach(), before)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ModelError):
        shiftcheck.compare_tiled(net, lambda x: (net(x), 1 / 0), x)
    assert not net._forward_pre_hooks
    assert net.training


def test_a_background_in_which_nothing_differs_hides_no_seam() -> None:
    net = plain()
    x = noise(*X)
    x[..., :40] = 0.0
    found = shiftcheck.compare_tiled(net, tiles(net, 16, 2), x)
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found)[0] == (16, 32, 48)
    assert set(lines(found)[1]) >= {48, 64, 80}


def test_one_of_four_tiles_that_is_missing_is_one_part() -> None:
    net = plain()

    def forget(y: Tensor, i: int, j: int) -> Tensor:
        return 0 * y if (i, j) == (1, 0) else y

    found = shiftcheck.compare_tiled(net, tiles(net, 48, 3, change=forget), noise(1, 1, 96, 96))
    assert faults(found) == (TilingFault.DROPPED,)
    assert found.outputs[0].parts[0].box == ((48, 96), (0, 48))


@pytest.mark.parametrize(("tile", "step"), [(24, 12), (32, 16), (16, 8)])
def test_margins_are_blended_also_where_tiles_begin_and_end_at_the_same_lines(
    tile: int, step: int
) -> None:
    net = plain()
    found = shiftcheck.compare_tiled(net, averaged(net, tile, step), noise(1, 1, 96, 96))
    assert faults(found) == (TilingFault.BLENDED,)
    assert lines(found)[0] == tuple(range(step, 96, step))
    assert found.missing == (None, None)


def test_margins_that_leave_nothing_right_are_blended_too() -> None:
    net = UNet()
    found = shiftcheck.compare_tiled(net, averaged(net, 32, 16), noise(1, 1, 96, 96))
    assert faults(found) == (TilingFault.BLENDED,)
    alone = shiftcheck.compare_tiled(net, tiles(net, 16, 0), noise(1, 1, 96, 96))
    assert faults(alone) == (TilingFault.OVERLAP,)


@pytest.mark.parametrize("off", [0, 1])
def test_of_whole_numbers_only_the_difference_is_told(off: int) -> None:
    net = plain()

    def classes(x: Tensor) -> Tensor:
        return net(x).argmax(1)

    exact = shiftcheck.compare_tiled(classes, tiles(classes, 16, 3), noise(*X))
    assert exact.verdict is TilesVerdict.SAME
    found = shiftcheck.compare_tiled(classes, tiles(classes, 16, off, off=off), noise(*X))
    assert faults(found) == (TilingFault.CHOICES,)


def test_zeros_of_a_relu_agree_by_chance_and_do_not_count() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1), nn.ReLU()
    )
    found = shiftcheck.compare_tiled(net, tiles(net, 16, 5, off=1), noise(*X))
    assert faults(found) == (TilingFault.DISPLACED,)
    assert found.outputs[0].parts[0].shift == (-1, -1)
    small = shiftcheck.compare_tiled(net, tiles(net, 16, 1), noise(*X))
    assert faults(small) == (TilingFault.OVERLAP,)


def test_an_output_without_places_depends_on_all_of_the_input() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def tiled(x: Tensor) -> Tensor:
        return (net(x[..., :48]) + net(x[..., 48:])) / 2

    found = shiftcheck.compare_tiled(net, tiled, noise(*X))
    assert faults(found) == (TilingFault.GLOBAL,)
    assert found.outputs[0].axes == ()


def test_modules_of_the_tiled_callable_are_in_eval_mode_and_left_as_they_were() -> None:
    net, own = Counting().eval(), Counting().train()
    own.load_state_dict(net.state_dict())
    found = shiftcheck.compare_tiled(net, tiles(own, 16, 1), noise(*X))
    assert found.verdict is TilesVerdict.SAME
    assert own.training
    assert float(own.calls) == 0


def test_a_model_that_takes_gradients_inside_is_compared() -> None:
    def model(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad((x**3).sum(), x)
        return grad

    found = shiftcheck.compare_tiled(model, along_one(model, 16, (0, 0)), noise(1, 1, 64))
    assert found.verdict is TilesVerdict.SAME


@pytest.mark.parametrize("seed", range(12))
def test_of_random_networks_the_halo_is_enough_and_one_pixel_less_is_told(seed: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, kernel in enumerate(((3, 5), (5, 3, 1), (7,), (3, 3, 3))[seed % 4]):
        wide = 1 + (seed // 4 + i) % 2
        layers += [
            nn.Conv2d(4 if i else 1, 4, kernel, dilation=wide, padding=wide * (kernel // 2)),
            nn.Tanh(),
        ]
    net = nn.Sequential(*layers)
    halo = shiftcheck.geometry(net, (1, 1, 64, 64)).outputs[0].halo[0]
    assert halo is not None
    enough = int(halo[0])
    x = noise(1, 1, 64, 64)
    shiftcheck.assert_tiled_equals_whole(net, tiles(net, 32, enough), x)
    found = shiftcheck.compare_tiled(net, tiles(net, 32, enough - 1), x)
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(32,), (32,)]
    assert found.missing == ((1, 1), (1, 1))
    assert found.overlap == ((enough, enough),) * 2


@pytest.mark.parametrize("sides", [(8, 12), (12, 8)])
def test_a_line_lies_on_the_grid_where_a_tile_lacks_pixels_on_one_side(
    sides: tuple[int, int],
) -> None:
    net = UNet()
    found = shiftcheck.compare_tiled(net, tiles(net, 32, sides), noise(1, 1, 64, 64))
    assert faults(found) == (TilingFault.OVERLAP,)
    assert lines(found) == [(32,), (32,)]
    assert found.missing == (((1, 0) if sides == (12, 8) else (0, 1)),) * 2


def test_zeros_that_agree_by_chance_are_no_sign_of_another_place() -> None:
    net = UNet()

    def sparse(x: Tensor) -> Tensor:
        return F.relu(net(x) - 0.05)

    def scaled(x: Tensor) -> Tensor:
        return sparse(0.2 * x + 0.3)

    found = shiftcheck.compare_tiled(sparse, tiles(scaled, 32, 12), noise(*X))
    assert faults(found) == (TilingFault.OTHER,)


@pytest.mark.parametrize("size", [70, 160, 200])
def test_the_picture_shows_errors_where_they_are(size: int) -> None:
    net, at = nn.Conv1d(1, 1, 3, padding=1), size - 19

    def tiled(x: Tensor) -> Tensor:
        return torch.cat([net(x[..., :at]), net(x[..., at:])], -1)

    output = shiftcheck.compare_tiled(net, tiled, torch.randn(1, 1, size)).outputs[0]
    (cells,) = output.picture
    place = (cells.index(max(cells)) + 0.5) * size / len(cells)
    assert abs(place - at) <= 1 + size / len(cells)


def test_a_model_that_writes_to_its_input_gets_it_anew_each_time() -> None:
    def model(x: Tensor) -> Tensor:
        return x.mul_(2)

    x = noise(1, 1, 64)
    found = shiftcheck.compare_tiled(model, along_one(model, 16, (0, 0)), x)
    assert found.verdict is TilesVerdict.SAME
    assert torch.equal(x, noise(1, 1, 64))


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_the_side_that_lacks_pixels_is_told_where_the_other_has_too_many(left: int) -> None:
    conv = nn.Conv1d(1, 2, 5)

    def causal(x: Tensor) -> Tensor:
        return conv(F.pad(x, (4, 0)))

    def tiled(x: Tensor) -> Tensor:
        kept = [causal(x[..., a:b])[..., s - a : e - a] for s, e, a, b in pieces(64, 16, (left, 3))]
        return torch.cat(kept, -1)

    found = shiftcheck.compare_tiled(causal, tiled, noise(1, 1, 64))
    assert faults(found) == (TilingFault.OVERLAP,)
    assert found.missing == ((0, 4 - left),)
