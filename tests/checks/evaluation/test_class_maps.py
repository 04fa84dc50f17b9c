"""Maps of classes: the share of the places whose class is another one, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report.reasons import Reason

X = torch.rand(6, 1, 20, 24, generator=torch.Generator().manual_seed(1))
SHIFTS = [(1, 0), (2, 2), (0, -3)]


class Scores(nn.Module):
    """Scores of four classes at each place, which pooling with a stride breaks."""

    def __init__(self, padding_mode: str = "zeros", *, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode=padding_mode)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.max_pool2d(self.first(x).relu(), 2)
        scores: torch.Tensor = self.head(nn.functional.interpolate(y, scale_factor=2))
        return scores.movedim(1, -1) if self.last else scores


class Labels(Scores):
    """The same as numbers of the classes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).argmax(1)


class Masks(Scores):
    """The same as truth values of one class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).argmax(1) == 2


def made(kind: type[Scores], *args: Any, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    network = kind(*args, **kwargs).eval()
    with torch.no_grad():  # so that each of the classes has some places
        scores = Scores.forward(network, X)
        network.head.bias.sub_(scores.mean((0, 1, 2) if network.last else (0, 2, 3)))
    return network


def by_hand(model: nn.Module, x: torch.Tensor, shift: tuple[int, int], edge: int) -> float:
    """On a circle, rolled by torch; along an axis that moves without what is within ``edge``."""
    with torch.no_grad():
        one = model(x.roll(shift, (-2, -1))).argmax(1)
        other = model(x).argmax(1).roll(shift, (-2, -1))
    if edge:
        rows, columns = (
            slice(edge + max(v, 0), n - edge + min(v, 0)) if v else slice(None)
            for v, n in zip(shift, one.shape[1:], strict=True)
        )
        one, other = one[:, rows, columns], other[:, rows, columns]
    return float((one != other).double().mean())


@pytest.mark.parametrize("last", [False, True])
def test_the_share_on_a_circle_is_that_of_all_places(last: bool) -> None:
    model, plain = made(Scores, "circular", last=last), made(Scores, "circular")
    for shift in SHIFTS:
        report = shiftcheck.evaluate(
            model, X, "class_maps", shifts=[shift], boundary="circular", batch_size=4
        )
        figures = report["class_maps"].figures
        changed = by_hand(plain, X, shift, 0)
        assert figures["consistency"] == pytest.approx(1 - changed, abs=1e-12)
        shares = [by_hand(plain, x[None], shift, 0) for x in X]
        assert report["class_maps"].pairs.largest == pytest.approx(max(shares), abs=1e-12)
    assert changed > 0.01, "an odd shift breaks it"
    assert by_hand(plain, X, (2, 2), 0) == 0.0


def test_elsewhere_it_is_that_of_the_valid_places() -> None:
    model = made(Scores)
    report = shiftcheck.evaluate(model, X, "class_maps", shifts=[(1, 0)])
    # a padded 3x3 convolution and blocks of 2: two samples at each edge saw the padding
    changed = by_hand(model, X, (1, 0), 2)
    assert report["class_maps"].figures["consistency"] == pytest.approx(1 - changed, abs=1e-12)


@pytest.mark.parametrize("kind", [Labels, Masks])
def test_maps_that_the_model_makes_count_as_they_are(kind: type[Scores]) -> None:
    model = made(kind)
    report = shiftcheck.evaluate(model, X, "class_maps", shifts=SHIFTS)
    found = report["class_maps"]
    assert found.pairs.count == len(X) * len(SHIFTS)
    assert found.figures["classes"] == (4 if kind is Labels else 2)
    if kind is Labels:
        scores = shiftcheck.evaluate(made(Scores), X, "class_maps", shifts=SHIFTS)
        assert found.pairs == scores["class_maps"].pairs


def test_what_is_no_map_of_classes_is_told() -> None:
    one_channel = shiftcheck.evaluate(nn.Conv2d(1, 1, 3), X, "class_maps", shifts=SHIFTS)
    assert one_channel["class_maps"].reason is Reason.NO_SCORES
    pooled = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    whole = shiftcheck.evaluate(pooled, X, "class_maps", shifts=SHIFTS)
    assert whole["class_maps"].reason is Reason.NOT_SPATIAL
    several = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Unflatten(1, (2, 3)))
    report = shiftcheck.evaluate(several, X, "class_maps", shifts=SHIFTS)
    assert report["class_maps"].reason is Reason.NO_SCORES


def test_a_single_class_tells_nothing() -> None:
    model = nn.Conv2d(1, 3, 3)
    with torch.no_grad():
        assert model.bias is not None
        model.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    report = shiftcheck.evaluate(model, X, "class_maps", shifts=SHIFTS)
    assert report["class_maps"].reason is Reason.CONSTANT


def test_scores_that_are_no_numbers_are_told() -> None:
    class Gone(Scores):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / (x < 2)

    x = X.clone()
    x[2, :, 9, 9] = 3.0
    report = shiftcheck.evaluate(made(Gone), x, "class_maps", shifts=[(0, 2)])
    missing = {u.reason: u.first for u in report["class_maps"].unmeasured}
    assert missing[Reason.NOT_FINITE] == (2,)
    assert report["class_maps"].pairs.count == len(X) - 1


def test_classes_of_what_has_places_names_the_other_question() -> None:
    report = shiftcheck.evaluate(made(Scores), X, "classes", shifts=SHIFTS)
    assert report["classes"].reason is Reason.STILL_SPATIAL
    assert "class_maps" in str(report)


def test_layers_are_not_asked_for_classes() -> None:
    report = shiftcheck.evaluate(
        made(Scores), X[:2], ["equivariance", "class_maps"], shifts=[(2, 0)], layers=True
    )
    assert [q.output for q in report.quantities if q.what == "class_maps"] == ["output"]
    assert any(q.output == "first" for q in report.quantities)


def test_figures_do_not_depend_on_batches() -> None:
    model = made(Scores)
    reports = [
        shiftcheck.evaluate(model, X, "class_maps", batch_size=size, draws=3) for size in (1, 4)
    ]
    assert reports[0].quantities == reports[1].quantities


def test_the_text_says_how_many_places_keep_their_class() -> None:
    told = str(shiftcheck.evaluate(made(Scores), X, "class_maps", shifts=SHIFTS))
    assert "of the compared places keep their class on average" in " ".join(told.split())


def test_a_map_that_sees_everything_is_told_how_it_can_be_compared() -> None:
    class Whole(Scores):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = super().forward(x)
            return scores - scores.mean((2, 3), keepdim=True)

    report = shiftcheck.evaluate(made(Whole), X, "class_maps", shifts=[(2, 0)])
    assert report["class_maps"].reason is Reason.NO_REGION
    assert "boundary='circular'" in " ".join(str(report).split())
    closed = shiftcheck.evaluate(
        made(Whole, "circular"), X, "class_maps", shifts=[(2, 0)], boundary="circular"
    )
    assert closed["class_maps"].figures["consistency"] == 1.0
