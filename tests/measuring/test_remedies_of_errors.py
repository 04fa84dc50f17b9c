"""What is said of an error of the model: its own words, and only a change that lets it run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck


def said(model: Any, x: Any, **options: Any) -> str:
    """The last line of what a check says, after the model's own words."""
    with pytest.raises(shiftcheck.ModelError) as caught:
        shiftcheck.check_equivariance(model, x, **options)
    message, own = str(caught.value), str(caught.value.__cause__)
    assert own in message
    return message.partition(own)[2].strip()


def image(*shape: int, **options: Any) -> torch.Tensor:
    return torch.ones(*(shape or (1, 3, 12, 14)), **options)


def to_classes(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * size, 10))


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.up(self.pool(x))], 1)


def in_steps_of_32(x: torch.Tensor) -> torch.Tensor:
    if x.shape[-1] % 32:
        raise ValueError("the width has to be a multiple of 32")
    return 2 * x


def of_one_size(x: torch.Tensor) -> torch.Tensor:
    if x.shape[-1] != 96:
        raise ValueError(f"the width is {x.shape[-1]}, and not 96")
    return 2 * x


def placed(x: torch.Tensor) -> torch.Tensor:
    return x + torch.zeros(1, 3, 20, 20)


CONV = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("model", "x", "says"),
    [
        (CONV, image(1, 1, 12, 14), "x has 1 channel in dimension 1: the model runs with 3"),
        (nn.GroupNorm(2, 6), image(), "x has 3 channels in dimension 1: the model runs with 6"),
        (CONV, image().double(), "x has dtype torch.float64: the model runs with x.float()"),
        (nn.Conv2d(3, 4, 3).double(), image(), "the model runs with x.double()"),
        (CONV, image().long(), "x has dtype torch.int64: the model runs with x.float()"),
        (CONV, image().half(), "x has dtype torch.float16: the model runs with x.float()"),
        (nn.Embedding(3, 4), image(), "the model runs with x.long()"),
        (nn.Conv1d(3, 4, 3), image(), "one spatial axis, x.flatten(2)"),
        (nn.MaxPool3d(1), image(1, 3, 12), "x has shape (1, 3, 12): the model runs with"),
        (CONV, [image()], "the model runs with tuple(x)"),
    ],
)
def test_what_is_wrong_with_the_input(model: Any, x: Any, says: str) -> None:
    assert says in said(model, x)
    assert "layer=" not in said(model, x)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (nn.Conv2d(3, 4, 15), "The model runs on an input of 16 x 16"),
        (to_classes(26 * 26), "The model runs on an input of 28 x 28; what comes before the error"),
        (to_classes(11 * 9), "The model needs an input of another size; what comes before"),
        (in_steps_of_32, "The model runs on an input of 32 x 32"),
        (of_one_size, "The model runs on an input of 96 x 96"),
        (placed, "The model runs on an input of 20 x 20"),
    ],
)
def test_sizes_where_they_are_the_matter(model: Any, says: str) -> None:
    assert said(model, image()).startswith(says)


def test_all_sizes_that_do_are_told() -> None:
    assert said(in_steps_of_32, image()).endswith(
        ". The model takes multiples of 32: 32 along axis 1"
    )
    words = said(in_steps_of_32, image(1, 3, 64, 225))
    assert words.endswith(". The model takes multiples of 32: 224 or 256 along axis 1")


def test_the_name_of_a_layer_keeps_its_capitals() -> None:
    net = nn.Sequential()
    net.add_module("Body", nn.Conv2d(3, 1, 3))
    net.add_module("Flat", nn.Flatten())
    net.add_module("Head", nn.Linear(26 * 26, 2))
    assert "layer='Flat'" in said(net, image())


def test_the_layer_before_the_error_can_be_checked_as_printed() -> None:
    words = said(Skip(), image(1, 3, 13, 14))
    assert words == (
        "The model runs on an input of 14 x 14; what comes before the error is checked with"
        " layer='up'. The model needs multiples of 2: 12 or 14 along axis 0"
    )
    shiftcheck.check_equivariance(Skip(), image(1, 3, 13, 14), layer="up")
    shiftcheck.check_equivariance(Skip(), image(1, 3, 14, 14))


def own_mistake(x: torch.Tensor) -> torch.Tensor:
    raise KeyError("a")


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)),  # at any size, with any channels
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3).double()),
        own_mistake,
        lambda x: x[:, 7],
    ],
)
def test_the_model_s_own_mistake_gets_no_hint(model: Any) -> None:
    assert said(model, image()) == ""


def test_a_model_that_raises_whatever_it_is_given_is_hardly_run_again() -> None:
    calls: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        raise RuntimeError("mine")

    with pytest.raises(shiftcheck.ModelError, match=r"mine$"):
        shiftcheck.geometry(model, (1, 3, 12, 14))
    assert len(calls) == 3  # the pass that was asked for, the same again, and another size


def takes_two(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


def no_input() -> nn.Module:
    return CONV


@pytest.mark.parametrize(
    ("model", "x", "says"),
    [
        (takes_two, image(), "The model takes (x, y), and x is 1 of them"),
        (nn.ReLU(), (image(), image()), "The model takes (input), and x is 2 of them"),
        (no_input, image(), "give what it makes, no_input()"),
        (lambda: CONV, image(), "<lambda> takes no input: if it makes the model, give what it"),
        (
            nn.Conv2d.forward,
            image(),
            "give an instance, such as Conv2d(...)",
        ),
    ],
)
def test_what_the_model_is_called_with(model: Any, x: Any, says: str) -> None:
    assert says in said(model, x)


def test_what_is_tried_leaves_everything_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3))
    norm = model[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said(model, image(1, 1, 12, 14), training=True)
    assert norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_search_over_sizes_has_no_error_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pytest.importorskip("shiftcheck.strategies.accepted_sizes")

    def explained(*_: Any) -> Any:
        raise AssertionError("it was explained")

    monkeypatch.setattr("shiftcheck.checks.explained.remedy", explained)
    question = found.Question(
        model=Skip(),
        ndim=2,
        boundary=("valid", "valid"),
        layer=None,
        spatial_dims=None,
        training=False,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    assert not question.accepts(3, (13, 13))
    assert question.accepts(3, (14, 14))


def test_an_input_without_values() -> None:
    with pytest.raises(shiftcheck.InputError, match=r"device 'meta'.*shiftcheck\.geometry"):
        shiftcheck.check_equivariance(CONV, image().to("meta"))
    assert shiftcheck.geometry(CONV, image().to("meta")).outputs
