"""The first sentence of a failure."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import CauseKind, Reason
from shiftcheck.report.render.plain import in_plain_words, moved_by, off_by


def first_words(model: Any, x: torch.Tensor, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        shiftcheck.assert_equivariant(model, x, **options)
    return " ".join(str(caught.value).split("first guilty")[0].split())


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        ((3,), "3 samples forward"),
        ((-1,), "1 sample back"),
        ((0, 1), "1 pixel to the right"),
        ((-2, -1), "2 pixels up and 1 pixel to the left"),
        ((0, 0.25), "1/4 pixel to the right"),
        ((0, 2, 0), "2 voxels along its second axis"),
        ((0, -2, 0), "2 voxels back along its second axis"),
    ],
)
def test_a_shift_in_words(shift: tuple[float, ...], words: str) -> None:
    assert moved_by(shift) == words


@pytest.mark.parametrize("size", [1e-16, 3e-5, 4e-4, 0.0009, 0.02, 0.5, 1.0, 1.99, 2.0, 31.4])
def test_an_error_in_words_is_the_error(size: float) -> None:
    text = off_by(size)
    number, kind = text.split(" of its size")[0].split(" times")[0], text
    value = float(number.rstrip("%")) / (100 if "%" in number else 1)
    assert value == pytest.approx(size, rel=0.2)
    assert kind.endswith(("of its size", "times its size"))


def test_who_how_far_and_which_layer() -> None:
    model = nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
    words = first_words(model, torch.randn(1, 1, 16, 18), shifts=[(1, 0)])
    assert words.startswith(
        "The output does not move with the input: when the input moves 1 pixel down, the output is"
        " off by "
    )
    assert words.endswith(
        "of its size (layer '0', MaxPool2d: it keeps one sample for every 2 of the input)."
    )


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((nn.Upsample(scale_factor=2), nn.MaxPool1d(3)), "it keeps 2 samples for every 3"),
        ((nn.AdaptiveAvgPool1d(14),), "it keeps 2 samples for every 3"),
        ((nn.Upsample(scale_factor=2), nn.MaxPool1d(6)), "it keeps one sample for every 3"),
    ],
)
def test_so_many_samples_are_kept(layers: tuple[nn.Module, ...], words: str) -> None:
    model = nn.Sequential(*layers, nn.Flatten(2), nn.Upsample(size=21))
    assert words in first_words(model, torch.randn(1, 1, 21), shifts=[(1,)])


@pytest.mark.parametrize("model", [nn.AvgPool2d(7, stride=1), nn.MaxPool2d(4)])
def test_an_output_of_one_sample_sees_nothing_beyond_the_edge(model: nn.Module) -> None:
    words = first_words(model, torch.randn(1, 1, 7, 7))
    assert "after a shift, no sample of the output is left to compare" in words


@pytest.mark.parametrize("model", [nn.PixelUnshuffle(3), nn.Unfold(3, stride=3)])
def test_what_moves_samples_into_channels_keeps_them(model: nn.Module) -> None:
    words = first_words(model, torch.randn(1, 1, 12, 12), shifts=[(1, 0)])
    assert "it works in blocks of 3 of the input" in words
    assert "keeps" not in words


def test_on_a_circle_it_is_rolled() -> None:
    conv, x = nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 12, 13)
    words = first_words(conv, x, boundary="circular", shifts=[(0, -2)])
    assert "when the input is rolled 2 pixels to the left, " in words
    mixed = first_words(conv, x, boundary=("valid", "circular"), shifts=[(1, 1)])
    assert "when the input moves 1 pixel down and 1 pixel to the right, " in mixed


def test_one_of_several_outputs_and_a_layer_are_named() -> None:
    def two(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.relu(), x * torch.arange(13.0)

    x = torch.randn(1, 1, 12, 13)
    assert first_words(two, x).startswith("The output 'output[1]' does not move with the input: ")
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    words = first_words(model, x, layer="0")
    assert "whether the output of layer '0' moves with the input: " in words


def test_what_moves_against_the_input_is_told_so() -> None:
    words = first_words(lambda x: x.flip(-1), torch.randn(1, 1, 12, 13))
    assert words.startswith("The output moves against the input, as in a mirror (layer 'flip'")


def test_every_reason_and_every_cause_has_plain_words() -> None:
    assert [reason for reason in Reason if reason and not reason.plain] == []
    causes = [shiftcheck.report.Cause(kind=kind) for kind in CauseKind]
    assert all(in_plain_words(cause) for cause in causes)


def test_a_break_that_float64_alone_shows_has_its_size_there() -> None:
    tiny = 1e-9 * torch.arange(13, dtype=torch.float64)
    x = 1 + torch.rand(1, 1, 12, 13)
    words = first_words(lambda x: x + tiny.to(x.dtype), x, shifts=[(0, 1)])
    assert re.search(r"the output is off by \d\.\de-\d\d of its size in float64", words)
