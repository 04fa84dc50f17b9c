"""What usual overlaps of tiles cost: how many places of the output are wrong, and by how much.

Tiles of 256 pixels of an image of noise, in float32, cut in the middle of the overlap as most loops
do it, or averaged by the sliding window of MONAI; beside them the plan of ``shiftcheck.tiling``.
``--json FILE`` keeps the results, ``--docs`` writes the table of docs/overlap.md from those kept in
benchmarks/results/overlaps.json. Needs the extra ``others``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.networks import Basic, normed
from tests.networks.sized import UNet

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "results" / "overlaps.json"
PAGE = ROOT / "docs" / "overlap.md"
BEGIN, END = "<!-- from benchmarks/overlaps.py -->", "<!-- to here -->"

SIDE, TILE = 768, 256
OVERLAPS = (0.0, 0.125, 0.25, 0.5)
PLAN = "plan"
ROUNDING = 64 * torch.finfo(torch.float32).eps
TOLERANCE = 0.01

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far tiles were off.

    ``way``: how tiles were put together. ``overlap``: its part of a tile, None for that of the
    plan. ``share``: of the places of the output that are off by more than rounding. ``largest``:
    the largest gap, relative to the largest magnitude of its channel.
    """

    network: str
    way: str
    overlap: float | None
    share: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the structure says of a network, and a measurement.

    ``exactness``, ``halo`` and ``tile`` are those of the plan; ``needed``: the margin beyond which
    the outside changes the output by less than a percent, None where there is no such one.
    """

    network: str
    exactness: str
    halo: int
    tile: int
    needed: int | None


class Residual(nn.Module):
    """A ResNet down to an eighth, a head of two convolutions, and a bilinear step up."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(
            *(Basic(width, width, 1) for _ in range(2)), *(Basic(width, width, n) for n in (2, 1))
        )
        self.head = nn.Sequential(normed(width, width), nn.Conv2d(width, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the size of ``x``."""
        y = self.head(self.stages(self.stem(x)))
        return F.interpolate(y, scale_factor=8.0, mode="bilinear")


def monai(norm: str) -> nn.Module:
    """The U-Net of MONAI for images."""
    from monai.networks import nets

    model: nn.Module = nets.UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        channels=(8, 16, 32, 64),
        strides=(2, 2, 2),
        num_res_units=2,
        norm=norm,
    )
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "U-Net, three pools": lambda: UNet(3, width=8),
    "U-Net, four pools": lambda: UNet(4, width=8),
    "ResNet to an eighth, bilinear": Residual,
    "U-Net of MONAI, batch norm": lambda: monai("batch"),
    "U-Net of MONAI, instance norm": lambda: monai("instance"),
}


def image(side: int = SIDE) -> Tensor:
    """Noise, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 1, side, side, generator=generator)


def made(build: Callable[[], nn.Module], x: Tensor) -> nn.Module:
    """A network with drawn weights that keep a signal's size, and norms that have seen some."""
    torch.manual_seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    return model.eval()


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin; the last ends where the image does."""
    return [*range(0, size - tile, tile - overlap), size - tile]


def cut(model: Model, x: Tensor, tile: int, overlap: int) -> Tensor:
    """Tiles of which each writes up to the middle of its overlaps."""
    whole: Tensor | None = None
    places = [starts(n, tile, overlap) for n in x.shape[2:]]
    for at in product(*places):
        index = [slice(a, a + tile) for a in at]
        part = model(x[:, :, index[0], index[1]])
        if whole is None:
            whole = part.new_zeros(*part.shape[:2], *x.shape[2:])
        own = [
            slice(0 if a == 0 else overlap // 2, tile if a + tile == n else tile - overlap // 2)
            for a, n in zip(at, x.shape[2:], strict=True)
        ]
        there = [slice(a + o.start, a + o.stop) for a, o in zip(at, own, strict=True)]
        whole[:, :, there[0], there[1]] = part[:, :, own[0], own[1]]
    assert whole is not None
    return whole


def averaged(model: Model, x: Tensor, tile: int, overlap: int) -> Tensor:
    """The sliding window of MONAI, which averages where tiles overlap."""
    from monai.inferers import sliding_window_inference

    found: Tensor = sliding_window_inference(x, (tile, tile), 1, model, overlap=overlap / tile)
    return found


WAYS = {"cut": cut, "averaged": averaged}


def planned(model: nn.Module, shape: Iterable[int], tile: int = TILE) -> shiftcheck.TilingPlan:
    """The plan of tiles of about the same size; larger ones where these do not suffice."""
    plan = shiftcheck.tiling(model, tuple(shape))
    axis = plan.axes[0]
    size = max(axis.least, tile - (tile - axis.residue) % axis.step)
    if plan.exact and size < axis.pixels:
        plan = shiftcheck.tiling(model, tuple(shape), tile=size)
    return plan


def gaps(whole: Tensor, other: Tensor) -> Tensor:
    """The largest gap of the channels of each place, relative to the channel's largest value."""
    scale = whole.abs().amax((0, 2, 3), keepdim=True)
    return ((whole - other).abs() / scale).amax(1)


def outcome(network: str, way: str, overlap: float | None, gap: Tensor) -> Outcome:
    """What is told of a tiled result."""
    share = float((gap > ROUNDING).double().mean())
    return Outcome(network=network, way=way, overlap=overlap, share=share, largest=float(gap.max()))


def measured(
    network: str, model: nn.Module, x: Tensor, tile: int = TILE
) -> Iterator[Outcome | Facts]:
    """All that is told of one network."""
    plan = planned(model, x.shape, tile)
    crop = x[..., : min(x.shape[2], 2 * tile), : min(x.shape[3], 2 * tile)]
    found = shiftcheck.effective_halo(model, crop, tolerances=[TOLERANCE])
    needed = [n for pair in found.needed(TOLERANCE) or () for n in pair]
    yield Facts(
        network=network,
        exactness=str(plan.exactness),
        halo=max(max(pair) for pair in plan.halo),
        tile=max(plan.tile),
        needed=None if None in needed or not needed else max(n for n in needed if n is not None),
    )
    with torch.inference_mode():
        whole = model(x)
        for way, run in WAYS.items():
            for part in OVERLAPS:
                yield outcome(
                    network, way, part, gaps(whole, run(model, x, tile, int(part * tile)))
                )
    tiled = shiftcheck.tiled(model, plan)(x)
    yield outcome(network, PLAN, None, gaps(whole, tiled))


def table(facts: list[Facts], outcomes: list[Outcome]) -> str:
    """The table, in Markdown."""
    heads = [f"{100 * part:g} %" for part in OVERLAPS]
    lines = [
        f"| network | halo | 1 % | tiles are | {' | '.join(heads)} | plan |",
        f"| --- | ---: | ---: | --- |{' ---: |' * len(OVERLAPS)} ---: |",
    ]
    for fact in facts:
        own = [o for o in outcomes if o.network == fact.network]
        (plan,) = [o for o in own if o.way == PLAN]
        needed = "none" if fact.needed is None else str(fact.needed)
        for way in WAYS:
            by = {o.overlap: o for o in own if o.way == way}
            cells = [cell(by[part]) for part in OVERLAPS]
            begin = [fact.network, str(fact.halo), needed] if way == next(iter(WAYS)) else [""] * 3
            lines.append("| " + " | ".join([*begin, way, *cells, cell(plan)]) + " |")
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def cell(found: Outcome) -> str:
    """The share of wrong places, and by how much they are off at most."""
    if not found.share:
        return "exact"
    return f"{percent(found.share)}, by {percent(found.largest)}"


def percent(value: float) -> str:
    """A part in percent, with two digits."""
    return f"{float(f'{100 * value:.2g}'):g} %"


def written(text: str, stored: str) -> str:
    """The page with the table of the results that are stored."""
    entries = json.loads(stored)
    facts = [Facts(**f) for f in entries["facts"]]
    outcomes = [Outcome(**o) for o in entries["outcomes"]]
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table(facts, outcomes)}\n\n{END}{after}"


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the results here")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/overlap.md")
    options = parser.parse_args()
    if options.json or not options.docs:
        x = image()
        found: list[Outcome | Facts] = []
        for name, build in NETWORKS.items():
            for each in measured(name, made(build, x), x):
                print(each, flush=True)
                found.append(each)
        facts = [f for f in found if isinstance(f, Facts)]
        outcomes = [o for o in found if isinstance(o, Outcome)]
        print(table(facts, outcomes))
        if options.json:
            entries = {
                "side": SIDE,
                "tile": TILE,
                "torch": torch.__version__,
                "facts": [asdict(f) for f in facts],
                "outcomes": [asdict(o) for o in outcomes],
            }
            options.json.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    if options.docs:
        page = written(PAGE.read_text("utf-8"), STORED.read_text("utf-8"))
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
