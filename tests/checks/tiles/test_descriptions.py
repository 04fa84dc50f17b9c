"""Descriptions for bioimage.io: what a plan writes is right, and what is wrong is told."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.networks.tiled import Attention, Embedded, Pyramid
from torch import nn

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.report import DescriptionCheck, DescriptionFault, TensorsDescription

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def _weights() -> None:
    torch.manual_seed(0)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


# -- what a consumer of a description does, from its words -----------------------------------------


def by_blocks(model: nn.Module, x: Tensor, rdf: dict[str, Any], more: int = 0) -> Tensor:
    """Blocks of one size, padded by the halo at the border, which lie side by side once it is cut.

    ``more``: so many steps larger than the least size. Two spatial axes, channels second.
    """
    inputs, outputs = rdf["inputs"][0]["axes"][2:], rdf["outputs"][0]["axes"][2:]
    sizes = [axis["size"]["min"] + more * axis["size"]["step"] for axis in inputs]
    strides = [b["scale"] / a["scale"] for a, b in zip(inputs, outputs, strict=True)]
    halos = [axis.get("halo", 0) for axis in outputs]
    pads = [round(h * s) for h, s in zip(halos, strides, strict=True)]
    apart = [n - 2 * p for n, p in zip(sizes, pads, strict=True)]
    counts = [-(-x.shape[2 + d] // a) for d, a in enumerate(apart)]
    beyond = [c * a - x.shape[2 + d] for d, (c, a) in enumerate(zip(counts, apart, strict=True))]
    side = [(p, p + b) for p, b in zip(pads, beyond, strict=True)]
    padded = nn.functional.pad(x, [n for pair in reversed(side) for n in pair], mode="replicate")
    rows = []
    for i in range(counts[0]):
        row = []
        for j in range(counts[1]):
            a, b = i * apart[0], j * apart[1]
            y = model(padded[..., a : a + sizes[0], b : b + sizes[1]])
            cut = [slice(h, y.shape[2 + d] - h) for d, h in enumerate(halos)]
            row.append(y[(..., *cut)])
        rows.append(torch.cat(row, -1))
    whole = torch.cat(rows, -2)
    return whole[..., : round(x.shape[2] / strides[0]), : round(x.shape[3] / strides[1])]


def gap_inside(model: nn.Module, rdf: dict[str, Any], more: int, shape: tuple[int, ...]) -> float:
    """The largest relative difference farther from the border than a sample sees."""
    x = noise(*shape)
    with torch.no_grad():
        whole, found = model(x), by_blocks(model, x, rdf, more)
    assert whole.shape == found.shape
    edge = [n // 4 for n in whole.shape[2:]]
    at = (..., *(slice(e, -e) for e in edge))
    return float((whole - found)[at].abs().max() / whole.abs().max())


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=3, padding=2), nn.Tanh(), nn.Conv2d(2, 1, 3, padding=1)
    )


def small_unet() -> nn.Module:
    """Halo 6, period 2."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2)
            self.one, self.two = nn.Conv2d(1, 2, 5, padding=2), nn.Conv2d(2, 2, 3, padding=1)
            self.three = nn.Conv2d(4, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            skip = self.one(x).tanh()
            return self.three(torch.cat([self.up(self.two(self.pool(skip)).tanh()), skip], 1))

    return Small()


def larger() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=3), nn.Conv2d(2, 1, 3, padding=1)
    )


def normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.Conv2d(2, 1, 1))


BUILT: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: nn.Conv2d(1, 1, (9, 5), padding=(4, 2)),
    "U-Net": small_unet,
    "strides": strided,
    "larger": larger,
}
IMAGE = (1, 1, 96, 120)


def written(model: nn.Module, shape: tuple[int, ...] = IMAGE, tile: int = 36) -> dict[str, Any]:
    return shiftcheck.tiling(model, shape, tile=tile).to_bioimageio().to_rdf()


def other(rdf: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same with one entry exchanged, or left out; ``path`` such as ``outputs.2.halo``."""
    changed = copy.deepcopy(rdf)
    field, axis, name = path.split(".")
    entries = changed[field][0]["axes"][int(axis)]
    entries[name] = value
    if value is None:
        del entries[name]
    return changed


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("more", [0, 2])
def test_blocks_by_what_a_plan_writes_are_the_whole(name: str, more: int) -> None:
    model = BUILT[name]().double().eval()
    rdf = written(model)
    assert gap_inside(model, rdf, more, IMAGE) < 1e-14
    found = shiftcheck.verify_bioimageio(rdf, model)
    assert (found.right, found.faults) == (True, ())
    assert all(out.missing == 0 for out in found.outputs)


@pytest.mark.parametrize("name", BUILT)
def test_a_halo_that_is_too_small_is_told_with_the_one_that_does(name: str) -> None:
    model = BUILT[name]().double().eval()
    rdf = written(model)
    (whole,) = [t.needed for t in shiftcheck.verify_bioimageio(rdf, model).outputs if t.axis == "y"]
    assert whole is not None
    small = other(rdf, "outputs.2.halo", max(whole) - 1 or None)
    found = shiftcheck.verify_bioimageio(small, model)
    assert DescriptionFault.HALO in found.faults
    out = next(out for out in found.outputs if out.axis == "y")
    assert (out.missing, out.needed) == (1, whole)
    assert f"too small by 1: {whole[0]} samples are wrong at the beginning" in str(found)
    sizes = small["inputs"][0]["axes"][2]["size"]
    sizes["min"] += 2 * sizes["step"]  # so that something is left of a block
    assert gap_inside(model, small, 1, IMAGE) > 1e-9
    assert shiftcheck.verify_bioimageio(other(rdf, "outputs.2.halo", out.enough), model).right


def test_blocks_off_the_grid_are_told_apart_from_small_halos() -> None:
    model = small_unet().double().eval()
    rdf = written(model)
    found = shiftcheck.verify_bioimageio(other(rdf, "outputs.2.halo", 7), model)
    assert found.faults == (DescriptionFault.GRID,)
    assert gap_inside(model, other(rdf, "outputs.2.halo", 7), 1, IMAGE) > 1e-9
    one = next(i for i in found.inputs if i.axis == "y")
    assert (one.begin, one.period) == (-7, 2)
    assert "multiples of 2" in str(found)


def test_sizes_that_the_model_refuses_are_named() -> None:
    model = small_unet().eval()
    wrong = other(written(model), "inputs.3.size", {"min": 20, "step": 3})
    found = shiftcheck.verify_bioimageio(wrong, model)
    one = next(i for i in found.inputs if i.axis == "x")
    assert one.refused[:3] == (23, 29, 35)
    assert found.faults == (DescriptionFault.REFUSED, DescriptionFault.GRID)
    assert "does not take 23, 29, 35" in str(found)
    with pytest.raises(ModelError, match="takes none of the sizes"):
        shiftcheck.verify_bioimageio(other(wrong, "inputs.3.size", {"min": 21, "step": 2}), model)


@pytest.mark.parametrize(
    ("path", "value", "declared"),
    [
        ("outputs.2.scale", 6.0, 1),
        ("outputs.2.size", {"tensor_id": "input", "axis_id": "y", "offset": 1}, 4),
        ("outputs.2.size", 77, 77),
        ("outputs.1.channel_names", ["a", "b"], 2),
    ],
)
def test_outputs_of_another_size_are_told(path: str, value: Any, declared: int) -> None:
    model = nn.Conv2d(1, 1, 3, stride=3, padding=1).eval()
    rdf = other(written(model), "inputs.2.size", {"min": 9, "step": 3})
    assert shiftcheck.verify_bioimageio(rdf, model).right
    wrong = other(rdf, path, value)
    if value == 77:
        wrong = other(wrong, "outputs.2.halo", None) if "halo" in str(wrong["outputs"]) else wrong
    found = shiftcheck.verify_bioimageio(wrong, model)
    assert DescriptionFault.SIZES in found.faults
    out = next(o for o in found.outputs if DescriptionFault.SIZES in o.faults)
    assert (out.declared, out.size) == (declared, 1 if "channel" in path else 3)
    assert f"{declared} samples are declared" in str(found)


@pytest.mark.parametrize("build", [normed, Attention, lambda: Embedded(48, 48)])
def test_a_layer_that_sees_everything_leaves_no_halo(build: Callable[[], nn.Module]) -> None:
    model = build().eval()
    rdf = written(nn.Conv2d(1, 1, 3, padding=1))
    for axis in (2, 3):
        rdf = other(rdf, f"inputs.{axis}.size", {"min": 16, "step": 4})
    found = shiftcheck.verify_bioimageio(rdf, model)
    assert DescriptionFault.ANY_HALO in found.faults
    assert found.layers
    assert "no halo is enough because of" in str(found)


def test_the_same_model_with_a_fixed_size_and_no_halo_is_right() -> None:
    model = normed().eval()
    plan = shiftcheck.tiling(model, (1, 1, 64, 64), tile=64)
    rdf = plan.to_bioimageio().to_rdf()
    assert rdf["outputs"][0]["axes"][2]["size"] == 64
    assert "halo" not in str(rdf)
    assert shiftcheck.verify_bioimageio(rdf, model).right


def test_several_outputs_and_their_places() -> None:
    model = Pyramid().eval()
    found = shiftcheck.tiling(model, (1, 1, 96, 96), tile=48).to_bioimageio()
    assert [t.id for t in found.outputs] == ["output0", "output1_0", "output1_1"]
    assert [axis.id for axis in found.outputs[2].axes] == ["batch", "y", "x", "channel"]
    assert [axis.scale for axis in found.outputs[2].axes[1:3]] == [0.5, 0.5]
    checked = shiftcheck.verify_bioimageio(found.to_rdf(), model)
    assert checked.right
    assert {out.tensor for out in checked.outputs} == {"output0", "output1_0", "output1_1"}


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims: int) -> None:
    model = getattr(nn, f"Conv{dims}d")(1, 2, 5, padding=2).eval()
    rdf = written(model, (1, 1, *[24] * dims), 12)
    ids = [axis["id"] for axis in rdf["inputs"][0]["axes"][2:]]
    assert ids == (["x"] if dims == 1 else ["z", "y", "x"])
    assert shiftcheck.verify_bioimageio(rdf, model).right


def test_several_inputs_of_one_size() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 1, 5, padding=2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.conv(torch.cat([x, y], 1))

    model = Two().eval()
    rdf = written(nn.Conv2d(1, 1, 5, padding=2))
    second = copy.deepcopy(rdf["inputs"][0]) | {"id": "second"}
    for axis in second["axes"][2:]:
        axis["size"] = {"tensor_id": "input", "axis_id": axis["id"], "offset": 0}
    rdf["inputs"].append(second)
    assert shiftcheck.verify_bioimageio(rdf, model).right
    found = shiftcheck.verify_bioimageio(other(rdf, "outputs.2.halo", 1), model)
    assert found.faults == (DescriptionFault.HALO,)


@pytest.mark.parametrize(
    ("make", "tile", "message"),
    [
        (normed, 32, "runs each tile once"),
        (Attention, 32, "runs each tile once"),
        (lambda: PaddedUnpadded(), 64, "no halo makes them exact"),
    ],
)
def test_no_description_is_written_where_no_halo_is_enough(
    make: Callable[[], nn.Module], tile: int, message: str
) -> None:
    plan = shiftcheck.tiling(make().eval(), (1, 1, 96, 96), tile=tile)
    with pytest.raises(InputError, match=message):
        plan.to_bioimageio()


class PaddedUnpadded(nn.Module):
    """Smaller by 3 pixels, on a grid of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up, self.pool = (
            nn.Conv2d(1, 1, 4),
            nn.Upsample(scale_factor=2),
            nn.AvgPool2d(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.pool(x))
        return self.conv(y)


def test_records_survive_json_and_print(tmp_path: Path) -> None:
    model = small_unet().eval()
    found = shiftcheck.tiling(model, IMAGE, tile=36).to_bioimageio()
    checked = shiftcheck.verify_bioimageio(found.to_rdf(), model)
    for record in (found, checked):
        assert type(record).from_json(record.to_json()) == record
        assert shiftcheck.report.read_report(record.to_json()) == record
        assert record._repr_html_()
    assert isinstance(found, TensorsDescription)
    assert isinstance(checked, DescriptionCheck)
    assert "y as input.y halo 6" in str(found)
    assert str(checked).startswith("description of Small: RIGHT")


def test_a_file_is_read(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    model = small_unet().eval()
    path = tmp_path / "rdf.yaml"
    path.write_text(yaml.safe_dump({"format_version": "0.5.3", **written(model)}))
    assert shiftcheck.verify_bioimageio(path, model).right
    assert shiftcheck.verify_bioimageio(str(path), model).right
    path.write_text("a: [")
    with pytest.raises(InputError, match="is no YAML"):
        shiftcheck.verify_bioimageio(path, model)
    with pytest.raises(InputError, match="cannot be read"):
        shiftcheck.verify_bioimageio(tmp_path / "none.yaml", model)


GOOD = {
    "inputs": [{"id": "a", "axes": [{"type": "batch"}, {"type": "space", "size": 4}]}],
    "outputs": [{"id": "b", "axes": [{"type": "batch"}]}],
}


@pytest.mark.parametrize(
    ("rdf", "message"),
    [
        (7, "rdf is a int"),
        ({"format_version": "0.4.10"}, "format_version 0.4.10.*load_description"),
        ({}, "no list of inputs"),
        ({**GOOD, "outputs": "all"}, "no list of outputs"),
        ({**GOOD, "inputs": [{"axes": "bcyx"}]}, r"inputs\[0\].axes is 'bcyx'"),
        ({**GOOD, "inputs": [{"axes": [{"type": "depth"}]}]}, "type is 'depth'"),
        ({**GOOD, "inputs": [{"axes": [{"type": "space", "size": 0}]}]}, "size is 0"),
        ({**GOOD, "inputs": [{"axes": [{"type": "batch"}]}]}, "no input has an axis of space"),
        (
            {**GOOD, "inputs": [{"axes": [{"type": "space", "size": 3, "halo": -1}]}]},
            "halo -1",
        ),
        (
            {
                **GOOD,
                "inputs": [
                    {"axes": [{"type": "space", "size": {"tensor_id": "q", "axis_id": "z"}}]}
                ],
            },
            "refers to",
        ),
    ],
)
def test_descriptions_that_cannot_be_read_are_refused(rdf: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shiftcheck.verify_bioimageio(rdf, nn.ReLU())


def test_outputs_that_are_not_as_many_are_refused() -> None:
    model = nn.Conv2d(1, 1, 3, padding=1)
    rdf = written(model)
    twice = {**rdf, "outputs": [*rdf["outputs"], {**rdf["outputs"][0], "id": "b"}]}
    with pytest.raises(InputError, match="declares 2 outputs, and the model returns 1"):
        shiftcheck.verify_bioimageio(twice, model)
    fewer = copy.deepcopy(rdf)
    del fewer["outputs"][0]["axes"][0]
    with pytest.raises(InputError, match="has 3 axes, and the model returns shape"):
        shiftcheck.verify_bioimageio(fewer, model)


def test_everything_is_left_as_it_was_found() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)).train()
    rdf = written(model)
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(rdf), torch.get_rng_state()
    shiftcheck.verify_bioimageio(rdf, model)
    assert model.training
    assert model[1].training
    assert rdf == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[0][name])


def test_a_halo_of_a_fixed_size_is_looked_at_too() -> None:
    model = nn.Conv2d(1, 1, 9, padding=4).eval()
    rdf = other(written(model), "inputs.2.size", 64)
    assert shiftcheck.verify_bioimageio(rdf, model).right
    found = shiftcheck.verify_bioimageio(other(rdf, "outputs.2.halo", 3), model)
    assert found.faults == (DescriptionFault.HALO,)


def test_ends_that_are_filled_from_each_other_leave_no_halo() -> None:
    model = nn.Conv2d(1, 1, 5, padding=2, padding_mode="circular").eval()
    found = shiftcheck.verify_bioimageio(written(nn.Conv2d(1, 1, 5, padding=2)), model)
    assert found.faults == (DescriptionFault.ANY_HALO,)


def test_sizes_of_all_blocks_are_looked_at() -> None:
    """The grid is that of every number of steps, not of the least size alone."""
    model = small_unet().eval()
    base = written(model)
    for least, step in itertools.product((20, 22), (4,)):
        rdf = other(base, "inputs.2.size", {"min": least, "step": step})
        assert shiftcheck.verify_bioimageio(rdf, model).right


@pytest.mark.parametrize("tile", [31, 32])
def test_tiles_between_the_multiples_of_the_period_are_no_blocks(tile: int) -> None:
    model = nn.AvgPool1d(1, 3)
    with pytest.raises(InputError, match="make a plan with a tile that is a multiple of 3"):
        shiftcheck.tiling(model, (1, 1, 50), tile=tile).to_bioimageio()
    described = shiftcheck.tiling(model, (1, 1, 50), tile=30).to_bioimageio()
    assert shiftcheck.verify_bioimageio(described, model).right
    assert shiftcheck.verify_bioimageio(described.to_rdf(), model).right
