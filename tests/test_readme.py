"""The README's message is the real one, and what the index says to write does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_docs import blocks_of, named
from torch import Tensor, nn

import shiftcheck

ROOT = Path(__file__).parent.parent
README, INDEX = ROOT / "README.md", ROOT / "docs" / "index.md"
ROW = re.compile(r"^\| \[?(a [a-z ]+|audio)\]?(?:\([a-z]+\.md\))? \| (.+) \|$", re.MULTILINE)
FIGURES = re.compile(r"\d\.\d+e[+-]\d+|\d+(?:\.\d+)?%|index \[[\d, ]+\]")


def masked(text: str) -> str:
    """The text without the figures that rounding or the processor may change."""
    return FIGURES.sub("#", text)


def doors(page: Path) -> dict[str, str]:
    """What to write, by what one has."""
    return dict(ROW.findall(page.read_text(encoding="utf-8")))


def lines_of(door: str) -> str:
    """The code of a door, as lines."""
    return "\n".join(re.findall(r"`([^`]{20,})`", doors(INDEX)[door]))


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 105


def test_it_installs_as_the_quick_start_does() -> None:
    first = [
        next(b.text for b in blocks_of(page) if b.kind == "sh")
        for page in (README, ROOT / "docs" / "quickstart.md")
    ]
    assert first[0] == first[1]
    assert len(first[0].splitlines()) == 2


def test_the_message_is_the_real_one() -> None:
    blocks = blocks_of(README)
    test = next(block for block in blocks if named(block))
    shown = next(block.text for block in blocks if block.kind == "text")
    namespace: dict[str, Any] = {}
    exec(test.text, namespace)
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError) as caught:
        namespace["test_upscaler"]()
    body = re.findall(r"(?m)^E {7}(.*)$", shown)
    real = f"{type(caught.value).__module__}.{type(caught.value).__qualname__}: {caught.value}"
    assert masked("\n".join(body)) == masked(real)
    last = next(i for i, s in enumerate(test.text.splitlines(), 1) if "assert_equivariant" in s)
    assert shown.splitlines()[0] == f">       {test.text.splitlines()[last - 1].strip()}"
    assert shown.splitlines()[-1] == f"{named(test)}:{last}: NotEquivariantError"


def test_masks_hide_figures_and_nothing_else() -> None:
    text = "gap 1.4e+00, at output index [0, 1]; 100% of (allowed 7.6e-06) at (1, 0) of 62.5%"
    assert masked(text) == "gap #, at output #; # of (allowed #) at (1, 0) of #"


def test_each_door_of_the_index_leads_to_a_page() -> None:
    assert len(doors(INDEX)) == 4
    links = re.findall(r"^\| \[[a-z ]+\]\(([a-z]+\.md)\)", INDEX.read_text("utf-8"), re.MULTILINE)
    assert len(links) == 4
    assert all((INDEX.parent / link).exists() for link in links)


class Classifier(nn.Module):
    """Features and a head over their mean; ``table`` is added to the features at each place."""

    def __init__(self, *, table: bool = False, flat: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 8, 3, padding=1)
        self.features = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), *[Table()] * table)
        self.head = nn.Linear(8 * 28 * 32 if flat else 8, 10)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        return self.head(found.flatten(1) if self.flat else found.mean((2, 3)))


class Table(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linspace(0, 1, x.shape[-1])


class UNet(nn.Module):
    """Steps down by 2 and up again."""

    def __init__(self, steps: int, *, table: bool = False) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Sequential(*[nn.MaxPool2d(2)] * steps, nn.Conv2d(4, 4, 3, padding=1))
        self.up = nn.ConvTranspose2d(4, 4, 2**steps, stride=2**steps)
        self.leave = nn.Sequential(*[Table()] * table, nn.Conv2d(8, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.enter(x)
        return self.leave(torch.cat([fine, self.up(self.down(fine))], 1))


class Globe(nn.Conv2d):
    """Its second axis is closed by a padding of this mode."""

    def __init__(self, mode: str) -> None:
        super().__init__(2, 2, 3)
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 0, 0), mode=self.mode)
        return super().forward(nn.functional.pad(x, (0, 0, 1, 1)))


class Audio(nn.Module):
    def __init__(self, before: int, after: int, *layers: nn.Module) -> None:
        super().__init__()
        self.padding = before, after
        self.conv = nn.Sequential(nn.Conv1d(1, 8, 5, dilation=2), *layers)

    def forward(self, wave: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(wave, self.padding))


def closed(mode: str) -> nn.Module:
    return nn.Conv2d(2, 2, 3, padding=1, padding_mode=mode)


def photos() -> Tensor:
    coarse = torch.randn(6, 3, 9, 10)
    return nn.functional.interpolate(coarse, size=(72, 80), mode="bicubic")


def ends() -> list[nn.Module]:
    """A step down and up: a whole sample is four of the wave."""
    return [nn.AvgPool1d(4), nn.Upsample(scale_factor=4)]


def coarser() -> dict[str, Any]:
    return {"model": UNet(3), "x": torch.randn(1, 3, 24, 32)}


GOOD: dict[str, Callable[[], dict[str, Any]]] = {
    "a classifier": lambda: {
        "model": Classifier(),
        "x": torch.randn(1, 3, 56, 64),
        "photos": photos(),
    },
    "a segmentation network": lambda: {"model": UNet(2), "x": torch.randn(1, 3, 16, 20)},
    "a periodic simulation": lambda: {
        "step": closed("circular"),
        "state": torch.randn(1, 2, 20, 24),
        "globe": Globe("circular"),
        "weather": torch.randn(1, 2, 18, 36),
    },
    "audio": lambda: {"model": Audio(8, 0), "wave": torch.randn(1, 1, 256)},
}
BAD: list[tuple[str, Callable[[], dict[str, Any]], type[AssertionError]]] = [
    ("a classifier", lambda: {"model": Classifier(table=True)}, shiftcheck.NotEquivariantError),
    ("a classifier", lambda: {"model": Classifier(flat=True)}, shiftcheck.NotInvariantError),
    ("a segmentation network", coarser, shiftcheck.NotEquivariantError),
    (
        "a segmentation network",
        lambda: {"model": UNet(2, table=True)},
        shiftcheck.NotEquivariantError,
    ),
    ("a periodic simulation", lambda: {"step": closed("zeros")}, shiftcheck.NotEquivariantError),
    (
        "a periodic simulation",
        lambda: {"globe": Globe("constant")},
        shiftcheck.NotEquivariantError,
    ),
    ("audio", lambda: {"model": Audio(8, 0, *ends())}, shiftcheck.NotEquivariantError),
    ("audio", lambda: {"model": Audio(4, 4)}, shiftcheck.NotCausalError),
]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("door", GOOD)
def test_what_to_write_passes(door: str) -> None:
    exec(lines_of(door), {"shiftcheck": shiftcheck, **GOOD[door]()})


@pytest.mark.parametrize(("door", "bad", "error"), BAD, ids=[f"{i}" for i in range(len(BAD))])
def test_what_to_write_fails_where_it_should(
    door: str, bad: Callable[[], dict[str, Any]], error: type[AssertionError]
) -> None:
    with pytest.raises(error) as caught:
        exec(lines_of(door), {"shiftcheck": shiftcheck, **GOOD[door](), **bad()})
    assert caught.type is error
