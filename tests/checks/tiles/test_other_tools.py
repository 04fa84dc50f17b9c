"""Plans in the words of MONAI and tiler, run by these packages."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.networks.tiled import Pyramid, UNet
from torch import nn

import shiftcheck
from shiftcheck.report import TilingPlan

Tensor = torch.Tensor
pytestmark = pytest.mark.slow


def by_monai(model: Callable[[Tensor], Any], x: Tensor, plan: TilingPlan) -> list[Tensor]:
    inferers = pytest.importorskip("monai.inferers", reason="needs the extra 'tiles'")
    found = plan.to_monai()
    y = inferers.sliding_window_inference(x, sw_batch_size=1, predictor=model, **found.arguments())
    return list(y) if isinstance(y, tuple) else [y]


def by_tiler(model: Callable[[Tensor], Any], x: Tensor, plan: TilingPlan) -> list[Tensor]:
    tiler = pytest.importorskip("tiler", reason="needs the extra 'tiles'")
    found = plan.to_tiler()
    tiles = tiler.Tiler(**found.input.arguments())
    outputs = [
        tiler.Merger(tiler.Tiler(**out.arguments()), **out.merging()) for out in found.outputs
    ]
    assert len(tiles) == found.tiles
    for number, tile in tiles(x.numpy()):
        y = model(torch.from_numpy(tile))
        for merger, part in zip(outputs, y if isinstance(y, tuple) else [y], strict=True):
            merger.add(number, part.numpy())
    return [torch.from_numpy(merger.merge()) for merger in outputs]


TOOLS = {"MONAI": by_monai, "tiler": by_tiler}


def gaps(found: list[Tensor], whole: Any) -> list[float]:
    """In eps, relative to the largest value of an output."""
    wholes = list(whole) if isinstance(whole, tuple) else [whole]
    assert [f.shape for f in found] == [w.shape for w in wholes]
    return [
        float((f - w).abs().max() / w.abs().max() / torch.finfo(w.dtype).eps)
        for f, w in zip(found, wholes, strict=True)
    ]


class Levels(nn.Module):
    """Outputs of strides 1, 2 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (
            nn.Conv2d(1, 2, 5, padding=2),
            nn.Conv2d(2, 2, 3, stride=2, padding=1),
            nn.Conv2d(2, 2, 3, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        one = self.one(x)
        two = self.two(one.tanh())
        return one, two, self.three(two.tanh())


class OneLevel(nn.Module):
    """A U-Net with one pool; halo 6."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool3d(2), nn.ConvTranspose3d(2, 2, 2, stride=2)
        self.one, self.two = nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(2, 2, 3, padding=1)
        self.three = nn.Conv3d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.one(x).relu()
        low = self.two(self.pool(skip)).relu()
        return self.three(torch.cat([self.up(low), skip], 1))


def strided(dims: int) -> nn.Module:
    conv = getattr(nn, f"Conv{dims}d")
    return nn.Sequential(
        conv(1, 4, 5, stride=2, padding=2), nn.ReLU(), conv(4, 2, 3, stride=3, padding=1)
    )


def upsampled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 5, padding=2)
    )


NETWORKS = {
    "U-Net": (UNet, (1, 1, 152, 164), (96, 92)),
    "U-Net with batch norms": (lambda: UNet("batch"), (2, 1, 120, 112), (72, 112)),
    "U-Net of volumes": (OneLevel, (1, 1, 40, 44, 36), (20, 24, 22)),
    "strides": (lambda: strided(2), (2, 1, 120, 180), 48),
    "strides of volumes": (lambda: strided(3), (1, 1, 36, 42, 60), 24),
    "larger": (upsampled, (1, 1, 90, 110), 40),
    "three outputs": (Levels, (1, 1, 100, 132), 48),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_another_tool_gives_the_whole(
    name: str, dtype: torch.dtype, tool: str
) -> None:
    make, shape, tile = NETWORKS[name]
    torch.manual_seed(0)
    model, x = make().to(dtype).eval(), torch.randn(shape, dtype=dtype)
    plan = shiftcheck.tiling(model, x, tile=tile)
    assert plan.tiles > 1
    with torch.no_grad():
        assert max(gaps(TOOLS[tool](model, x, plan), model(x))) < 64


@pytest.mark.parametrize("tool", TOOLS)
def test_a_comparison_of_what_another_tool_stitches(tool: str) -> None:
    """By the plan it is the same; by a plan of a smaller kernel, the overlap is too small."""
    torch.manual_seed(0)
    model, x = nn.Conv2d(1, 2, 7, padding=3), torch.randn(1, 1, 90, 110)
    for kernel, faults in ((7, ()), (5, ("overlap too small",))):
        planned = nn.Conv2d(1, 2, kernel, padding=kernel // 2)
        plan = shiftcheck.tiling(planned, x, tile=40)

        def stitched(x: Tensor, plan: TilingPlan = plan) -> Tensor:
            return TOOLS[tool](model, x, plan)[0]

        found = shiftcheck.compare_tiled(model, stitched, x)
        assert found.faults == faults, str(found)
        assert (found.verdict, found.overlap) == (
            "different" if faults else "same",
            ((3, 3), (3, 3)),
        )


def drawn(choose: random.Random, dims: int) -> nn.Module:
    """A chain of layers that a tile may be put through."""
    conv, pool = getattr(nn, f"Conv{dims}d"), getattr(nn, f"MaxPool{dims}d")
    up = getattr(nn, f"ConvTranspose{dims}d")
    layers, channels = [], 1
    for _ in range(choose.randint(1, 4)):
        made = {
            "same": lambda n=channels: conv(n, 2, choose.choice([1, 3, 5]), padding="same"),
            "stride": lambda n=channels: conv(n, 2, 3, stride=2, padding=1),
            "unpadded": lambda n=channels: conv(n, 2, 3),
            "transposed": lambda n=channels: up(n, 2, 2, stride=2),
            "pool": lambda: pool(2),
            "larger": lambda: nn.Upsample(scale_factor=2),
            "pointwise": nn.Tanh,
        }
        kind = choose.choice(list(made))
        layers.append(made[kind]())
        channels = 2 if kind in ("same", "stride", "unpadded", "transposed") else channels
    return nn.Sequential(*layers, conv(channels, 1, 1)).double().eval()


@pytest.mark.parametrize("tool", TOOLS)
def test_random_networks_and_sizes_give_the_whole_or_are_refused(tool: str) -> None:
    done = 0
    for seed in range(60):
        choose = random.Random(seed)
        torch.manual_seed(seed)
        dims = choose.choice([1, 2, 2, 3])
        model = drawn(choose, dims)
        most = {1: 150, 2: 60, 3: 24}[dims]
        x = torch.randn(1, 1, *[choose.randint(16, most) for _ in range(dims)]).double()
        try:
            plan = shiftcheck.tiling(model, x)
            with torch.no_grad():
                found = TOOLS[tool](model, x, plan)
        except shiftcheck.ShiftcheckError:
            continue
        done += plan.tiles > 1
        with torch.no_grad():
            assert max(gaps(found, model(x))) < 64, seed
    assert done >= 12


# -- bioimage.io -----------------------------------------------------------------------------------


def described(content: dict[str, Any]) -> Any:
    """The description as bioimageio.spec validates it, without a look at files or the network."""
    spec = pytest.importorskip("bioimageio.spec", reason="needs the extra 'tiles'")
    v0_5 = pytest.importorskip("bioimageio.spec.model.v0_5", reason="needs the extra 'tiles'")
    weights = {
        "source": "https://example.org/weights.pt",
        "sha256": "0" * 64,
        "pytorch_version": "2.6",
    }
    with spec.ValidationContext(perform_io_checks=False):
        return v0_5.ModelDescr.model_validate(
            {
                "type": "model",
                "format_version": v0_5.ModelDescr.implemented_format_version,
                "name": "tiles",
                "weights": {"torchscript": weights},
                **content,
            }
        )


WRITTEN = {
    "U-Net": (UNet, (1, 1, 128, 128), 96),
    "U-Net of volumes": (lambda: UNet(dims=3), (1, 1, 96, 96, 96), 80),
    "strides": (lambda: strided(2), (1, 1, 120, 180), 48),
    "strides of volumes": (lambda: strided(3), (1, 1, 36, 42, 60), 24),
    "larger": (upsampled, (1, 1, 90, 110), 40),
    "larger by three": (lambda: nn.Upsample(scale_factor=3), (1, 1, 90, 90), 30),
    "unpadded": (lambda: nn.Conv2d(1, 2, 5), (1, 1, 90, 110), 40),
    "one axis": (lambda: nn.Conv1d(1, 3, 7, padding=3), (1, 1, 500), 64),
    "three outputs": (Levels, (1, 1, 100, 132), 48),
    "channels last": (Pyramid, (1, 1, 96, 96), 48),
    "fixed": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)), (1, 1, 64, 64), 64),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_plan_writes_is_valid_and_gives_the_sizes_of_the_outputs(name: str) -> None:
    make, shape, tile = WRITTEN[name]
    model = make().eval()
    found = shiftcheck.tiling(model, shape, tile=tile).to_bioimageio()
    read = described(found.to_rdf())
    assert shiftcheck.verify_bioimageio(read, model).right
    assert shiftcheck.verify_bioimageio(found.to_rdf(), model).right
    for number in (0, 3):
        sizes = read.get_tensor_sizes(number, 1)
        (image,) = sizes.inputs.values()
        with torch.no_grad():
            returned = model(torch.zeros(tuple(image.values())))
        told = {str(name): tuple(each.values()) for name, each in sizes.outputs.items()}
        for tensor, descr in zip(_flat(returned), found.outputs, strict=True):
            assert tuple(tensor.shape) == told[descr.id]


def _flat(returned: Any) -> list[Tensor]:
    if isinstance(returned, Tensor):
        return [returned]
    return [leaf for part in returned for leaf in _flat(part)]


def test_halos_are_those_that_bioimageio_spec_reads() -> None:
    v0_5 = pytest.importorskip("bioimageio.spec.model.v0_5", reason="needs the extra 'tiles'")
    model = UNet().eval()
    read = described(shiftcheck.tiling(model, (1, 1, 256, 256), tile=96).to_bioimageio().to_rdf())
    halos = v0_5.get_halos({tensor.id: tensor for tensor in (*read.inputs, *read.outputs)})
    assert {str(t): {str(a): h for a, h in each.items()} for t, each in halos.items()} == {
        "output": {"y": (24, 24), "x": (24, 24)},
        "input": {"y": (24, 24), "x": (24, 24)},
    }


class Guided(nn.Module):
    """A network with a second image, or a number, beside the first."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.guide = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        beside = self.guide(guide) if guide.ndim == 4 else guide
        sum_of_both: torch.Tensor = self.image(x) + beside
        return sum_of_both


@pytest.mark.parametrize("tool", ["monai", "tiler", "bioimageio"])
@pytest.mark.parametrize("guide", [torch.rand(1, 3, 32, 32), torch.rand(1)])
@pytest.mark.parametrize("named", [False, True])
def test_what_is_given_beside_the_image_is_in_no_description(
    tool: str, guide: torch.Tensor, named: bool
) -> None:
    x, model = torch.rand(1, 1, 32, 32), Guided()
    given: Any = {"x": x, "guide": guide} if named else (x, guide)
    plan = shiftcheck.tiling(model, given, tile=16)
    name = "argument 'guide'" if named else "argument 1"
    assert plan.further_inputs == (name,)
    assert TilingPlan.from_json(plan.to_json()) == plan
    with pytest.raises(shiftcheck.InputError, match=f"takes {name} besides"):
        getattr(plan, f"to_{tool}")()
    alone = shiftcheck.tiling(lambda x: model(x, guide), x, tile=16)
    assert alone.further_inputs == ()
