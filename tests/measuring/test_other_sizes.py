"""What is said of other sizes is true, and costs few passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.networks.choosy import NETWORKS as CHOOSY
from tests.networks.choosy import Own, conv2
from tests.networks.sized import NETWORKS, UNet
from torch import nn

import shiftcheck
from shiftcheck.measuring import other_sizes
from shiftcheck.measuring.attempts import Attempt, attempt

TOLD = re.compile(r"The model (needs (?!an input)|takes ).*$")


def said(model: Any, shape: tuple[int, ...]) -> str:
    """What sizes the error names; empty where it names none, or the model takes the shape."""
    try:
        shiftcheck.geometry(model, shape)
    except shiftcheck.ModelError as error:
        found = TOLD.search(str(error))
        return found[0] if found else ""
    return ""


def takes(model: Any, shape: tuple[int, ...]) -> bool:
    """Whether the model runs on values of a shape."""
    try:
        with torch.no_grad():
            model(torch.zeros(shape))
    except Exception:
        return False
    return True


def checking(*, width: Callable[[int], bool]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model that looks at its last size itself."""

    def model(x: torch.Tensor) -> torch.Tensor:
        if not width(x.shape[-1]):
            raise ValueError(f"a width of {x.shape[-1]} is not supported")
        return 2 * x

    return model


OTHERS: dict[str, tuple[Any, int]] = {
    "behind a stride": (nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), UNet(2)), 2),
    "behind a valid convolution": (nn.Sequential(nn.Conv2d(1, 1, (1, 4)), UNet(2)), 2),
    "of sixths": (nn.PixelUnshuffle(6), 2),
    "multiples of 3 of its own": (checking(width=lambda n: n % 3 == 0), 1),
    "two rests": (checking(width=lambda n: n % 8 in (0, 3)), 1),
    "a largest": (checking(width=lambda n: n <= 40), 1),
    "from 17 to 90": (checking(width=lambda n: 17 <= n <= 90), 1),
    "some": (checking(width=lambda n: n in (16, 28, 64)), 1),
    "odd": (checking(width=lambda n: n % 2 == 1), 1),
    "all": (checking(width=lambda n: n > 5), 1),
    "of one table": (lambda x: x + torch.zeros(1, 1, 20), 1),
}
EVERY = {**{name: (build(), axes) for name, (build, axes) in NETWORKS.items()}, **OTHERS}
LARGEST = 80


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_the_sizes_that_are_named_are_those_that_the_model_takes(name: str) -> None:
    """The nearest ones that run on values, and none in between, where sizes are ``needed``."""
    model, axes = EVERY[name]
    other = 96 if axes < 3 else 24
    rest = (other,) * (axes - 1)
    taken = [n for n in range(1, 2 * LARGEST + 64) if takes(model, (1, 1, *rest, n))]
    for given in range(1, LARGEST, 3 if axes == 1 else 13):
        words = said(model, (1, 1, *rest, given))
        if not words or given in taken:
            continue
        nearest = words.rpartition(": ")[2].partition(" along")[0]
        told = [int(n) for n in re.findall(r"\d+", nearest)]
        assert told, words
        assert all(n in taken for n in told), (given, words)
        if "takes" in words:  # there may be more
            continue
        below = max((n for n in taken if n < given), default=None)
        above = min((n for n in taken if n > given), default=None)
        assert set(told) == {n for n in (below, above) if n is not None}, (given, words)


def down_and_up(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([nn.functional.interpolate(nn.functional.max_pool2d(x, 8), scale_factor=8), x])


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (down_and_up, (225, 225), "needs multiples of 8: 224 or 232"),
        (
            down_and_up,
            (30, 233),
            "needs multiples of 8: 24 or 32 along axis 0, 232 or 240 along axis 1",
        ),
        (down_and_up, (32, 233), "needs multiples of 8: 232 or 240 along axis 1"),
        (conv2(7), (3, 3), "needs every size from 7 on: 7"),
        (
            lambda x: nn.functional.pixel_unshuffle(x[..., ::3, :], 2)[..., :48],
            (3, 8),
            "takes 4 along axis 0",
        ),
        (CHOOSY["second level alone"][0](), (225,), "takes 224 or 227"),
        (
            Own(lambda x: x.unflatten(-1, (-1, 160))),
            (300,),
            "needs multiples of 160: 160 or 320",
        ),
        (nn.Conv2d(2, 1, 3), (8, 8), ""),
    ],
)
def test_a_size_that_is_refused_is_told_with_those_that_do(
    model: Any, given: tuple[int, ...], words: str
) -> None:
    assert said(model, (1, 1, *given)) == (f"The model {words}" if words else "")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the passes that are spent on naming others."""
    spent: list[tuple[int, ...]] = []

    def counted(plan: Any, inputs: Any, **options: Any) -> Attempt:
        spent.append(inputs.pixels)
        return attempt(plan, inputs, **options)

    monkeypatch.setattr(other_sizes, "attempt", counted)
    return spent


@pytest.mark.parametrize(
    ("depth", "shape", "words"),
    [
        (2, (33, 48), "multiples of 4: 32 or 36 along axis 0"),
        (2, (33, 50), "multiples of 4: 32 or 36 along axis 0, 48 or 52 along axis 1"),
        (4, (8, 8), "multiples of 16: 16"),
        (5, (225, 225), "multiples of 32: 224 or 256"),
        (5, (224, 225), "multiples of 32: 224 or 256 along axis 1"),
    ],
)
def test_the_sizes_of_a_u_net_cost_few_passes(
    passes: list[tuple[int, ...]], depth: int, shape: tuple[int, int], words: str
) -> None:
    assert said(UNet(depth), (1, 1, *shape)) == f"The model needs {words}"
    assert len(passes) <= (13 if shape[0] in (224, shape[1]) else 16), passes


def test_no_more_passes_are_spent_than_that(passes: list[tuple[int, ...]]) -> None:
    model = checking(width=lambda n: n in (1001, 1003))
    assert said(model, (1, 1, 90, 500)) == ""
    assert len(passes) <= other_sizes.PASSES


def test_axes_that_must_be_equal_are_told_so() -> None:
    words = said(lambda x: x + x.mT, (1, 1, 30, 40))
    assert words == "The model needs the same size along all axes: 30 x 30 or 40 x 40"


def test_signals_that_move_along_keep_their_share() -> None:
    class Both(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.functional.pixel_unshuffle(x, 4) + nn.functional.pixel_unshuffle(y, 2)

    pair = torch.zeros(1, 1, 30, 32), torch.zeros(1, 4, 15, 16)
    with pytest.raises(shiftcheck.ModelError, match=r"multiples of 4: 28 or 32 along axis 0$"):
        shiftcheck.geometry(Both(), pair)


def test_what_few_sizes_do_not_tell_is_not_told() -> None:
    """The table fits an image of its own size, and one of a single pixel."""
    assert said(lambda x: x + torch.zeros(1, 1, 20), (1, 1, 12)) == ""


def windows(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model that cuts windows by views alone."""

    def model(x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        cut = x.view(b, c, h // size, size, w // size, size)
        return cut.softmax(-1).reshape(b, c, h, w)

    return model


@pytest.mark.parametrize("size", [7, 12])
def test_windows_that_are_cut_by_views_are_told(size: int) -> None:
    told = said(windows(size), (1, 1, 30, 50))
    assert told.startswith(f"The model needs multiples of {size}:")


def test_a_largest_size_is_told_with_the_least() -> None:
    told = said(lambda x: x + nn.Embedding(50, 1).weight[: x.shape[-1], 0], (1, 1, 30, 70))
    assert told == "The model needs 1 to 50: 50 along axis 1"


def test_powers_of_two_are_no_multiples() -> None:
    told = said(checking(width=lambda n: n & (n - 1) == 0), (1, 1, 30, 40))
    assert told == "The model takes 32 or 64 along axis 1"
