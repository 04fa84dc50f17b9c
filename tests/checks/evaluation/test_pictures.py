"""Pictures of the worst items show what the model was given."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import EvaluationReport, Picture

Image: Any = pytest.importorskip("PIL.Image")


def opened(picture: Picture) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))))


def evaluated(data: Any, model: Any = None, **more: Any) -> EvaluationReport:
    def edge(x: torch.Tensor) -> torch.Tensor:
        return x * torch.arange(1.0, x.shape[-1] + 1)

    return shiftcheck.evaluate(model or edge, data, pictures=True, progress=False, **more)


def test_a_picture_holds_the_values_of_its_item() -> None:
    data = torch.rand(12, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 5 - 2
    report = evaluated(data)
    assert [p.item for p in report.pictures] == [w.item for w in report.quantities[0].worst]
    for picture in report.pictures:
        x = data[picture.item].double()
        grey = (x - x.min()) / (x.max() - x.min())
        assert (picture.low, picture.high) == (x.min().item(), x.max().item())
        assert np.abs(opened(picture) - 255 * grey.permute(1, 2, 0).numpy()).max() <= 0.51
    assert EvaluationReport.from_json(report.to_json()) == report


def test_no_picture_is_kept_unless_asked_for() -> None:
    data = torch.rand(3, 1, 12, 14)
    assert shiftcheck.evaluate(lambda x: x * torch.arange(14.0), data).pictures == ()


def test_a_large_item_is_shown_by_the_means_of_its_blocks() -> None:
    data = torch.rand(2, 1, 128, 256, generator=torch.Generator().manual_seed(0))
    picture = evaluated(data).pictures[0]
    blocks = data[picture.item, 0].double().reshape(32, 4, 64, 4).mean((1, 3))
    expected = 255 * (blocks - picture.low) / (picture.high - picture.low)
    assert np.abs(opened(picture) - expected.numpy()).max() <= 0.51
    assert len(picture.png) < 4 * 64 * 64


@pytest.mark.parametrize(
    ("shape", "dims", "shown", "size"),
    [
        ((2, 200), None, "channel 0 of 2", (32, 64)),
        ((1, 6, 10, 12), None, "slice 3 of 6", (10, 12)),
        ((10, 12, 3), (1, 2), "", (10, 12, 3)),
        ((5, 10, 12), None, "channel 0 of 5", (10, 12)),
    ],
)
def test_any_layout_is_shown(shape: Any, dims: Any, shown: str, size: Any) -> None:
    data = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    report = evaluated(data, lambda x: x * weight, spatial_dims=dims)
    assert len(report.pictures) == 3
    assert report.pictures[0].shown == shown
    assert opened(report.pictures[0]).shape == size


def test_at_most_eight_are_kept_those_of_each_quantity_in_turn() -> None:
    data = torch.rand(40, 1, 12, 14, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(168, 4))
    report = evaluated(data, net, what=["invariance", "classes"], shifts=[(0, 1), (3, 0)])
    firsts = [q.worst[0].item for q in report.quantities if q.worst]
    assert len(report.pictures) == 8
    assert [p.item for p in report.pictures][: len(set(firsts))] == list(dict.fromkeys(firsts))


def test_a_stream_has_none_and_says_so() -> None:
    report = evaluated(iter([torch.rand(3, 1, 12, 14)]))
    assert report.items == 3
    assert report.pictures == ()
    assert "cannot be looked up again" in " ".join(report.notes)
