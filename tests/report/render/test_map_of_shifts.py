"""The map over the shifts as a picture: it shows every shift, and frames what exceeds a bound."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import InvarianceReport
from shiftcheck.report.render.map_of_shifts import drawn_map


def network(conv: Callable[..., nn.Module], pool: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), pool, nn.Flatten())


def signals(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


REPORTS: dict[str, Callable[[], InvarianceReport]] = {
    "a line": lambda: shiftcheck.check_invariance(
        network(nn.Conv1d, nn.AdaptiveAvgPool1d(1)), signals(2, 1, 16)
    ),
    "squares": lambda: shiftcheck.check_invariance(
        network(nn.Conv2d, nn.AdaptiveAvgPool2d(1)), signals(2, 1, 8, 10)
    ),
    "planes": lambda: shiftcheck.check_invariance(
        network(nn.Conv3d, nn.AdaptiveAvgPool3d(1)), signals(2, 1, 4, 5, 6)
    ),
}


def pictures(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def titles(text: str) -> list[str]:
    return [title.text or "" for picture in pictures(text) for title in picture.iter("title")]


@pytest.mark.parametrize("name", REPORTS)
def test_every_shift_is_in_the_notebook(name: str) -> None:
    report = REPORTS[name]()
    text = report._repr_html_()
    expected = len(report.outputs[0].moved) + 1  # the zero shift too
    assert len(titles(text)) == expected
    assert all(picture.get("aria-label") for picture in pictures(text))
    along = report.outputs[0].grid
    assert along is not None
    assert len(pictures(text)) == (len(along[0]) if name == "planes" else 1)


def test_the_shade_follows_the_error_and_the_frame_the_bound() -> None:
    along = [(0, 1), (-1, 0)]
    errors = dict(zip(itertools.product(*along), (0.1, 0.0, 0.4, None), strict=True))
    (picture,) = pictures(drawn_map(along, errors, called="error", bound=0.2))
    squares = list(picture.iter("rect"))
    assert [s.get("fill-opacity") for s in squares] == ["0.250", "0.000", "1.000", None]
    assert [s.get("stroke-width") for s in squares] == [None, None, "2", None]
    assert [t.text for t in picture.iter("title")] == [
        "shift (0, -1): 1.0e-01",
        "shift (0, 0): 0",
        "shift (1, -1): 4.0e-01",
        "shift (1, 0): -",
    ]


def test_the_bound_crosses_a_line() -> None:
    errors = {(v,): abs(v) / 10 for v in (-2.0, 0.0, 1.0)}
    with_bound, without = (
        pictures(drawn_map([(-2, 0, 1)], errors, called="error", bound=bound))[0]
        for bound in (0.1, None)
    )
    (line,), none = (list(picture.iter("line")) for picture in (with_bound, without))
    heights = [circle.get("cy") for circle in with_bound.iter("circle")]
    assert none == []
    assert line.get("y1") == heights[2]


@pytest.mark.parametrize(
    "report",
    [
        lambda: shiftcheck.check_invariance(
            network(nn.Conv2d, nn.AdaptiveAvgPool2d(1)),
            signals(2, 1, 8, 10),
            shifts=[(1, 0), (2, 3)],
        ),
        lambda: shiftcheck.check_invariance(nn.Conv2d(1, 1, 3), signals(2, 1, 8, 10)),
    ],
    ids=["shifts that form no grid", "an output that still moves"],
)
def test_where_there_is_no_map_there_is_no_picture(report: Callable[[], InvarianceReport]) -> None:
    text = report()._repr_html_()
    assert "<svg" not in text
    assert "<table>" in text


def test_four_axes_have_no_picture() -> None:
    along = [(0, 1)] * 4
    assert drawn_map(along, dict.fromkeys(itertools.product(*along), 1.0), called="error") == ""
