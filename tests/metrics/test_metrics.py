"""Metrics give what `evaluate` gives of the same items, once each, and leave all as it was."""

from __future__ import annotations

import copy
import importlib
import io
import math
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import Reason

torchmetrics = pytest.importorskip("torchmetrics")

from shiftcheck.metrics import (  # noqa: E402
    EffectiveHalo,
    EquivarianceError,
    ShiftConsistency,
)

SHIFTS = [(2, 0), (0, 4)]


class Placed(nn.Module):
    """A convolution with a stride, behind a table of positions that may be zero."""

    def __init__(self, scale: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.place = nn.Parameter(scale * torch.randn(16, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x + self.place)).relu()


class Classifier(nn.Module):
    """Class scores that depend on where things are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Placed(0.5)
        self.head = nn.Linear(4 * 8 * 9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).flatten(1))


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def images(count: int = 10) -> torch.Tensor:
    return torch.rand(count, 1, 16, 18)


def evaluated(model: Any, x: Any, what: str, **kwargs: Any) -> Any:
    return shiftcheck.evaluate(model, x, what, progress=False, **kwargs)[what]


@pytest.mark.parametrize("shifts", [None, SHIFTS])
@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_the_error_is_that_of_evaluate(shifts: Any, boundary: str) -> None:
    model, x = Placed(0.1), images()
    kwargs = {"shifts": shifts, "boundary": boundary, "seed": 3}
    squares = EquivarianceError(**kwargs)
    gap = EquivarianceError(figure="largest_gap", **kwargs)
    for rows in torch.randperm(10).split(4):
        for metric in (squares, gap):
            metric.update(model, x[rows], index=rows)
    figures = evaluated(model, x, "eq_t", **kwargs).figures
    assert squares.compute().item() == pytest.approx(figures["relative_l2"], rel=1e-12)
    pairs = evaluated(model, x, "equivariance", **kwargs).pairs
    assert gap.compute().item() == pairs.largest
    assert (gap.items, gap.told, gap.repeated) == (10, pairs.count, 0)
    assert pairs.count == 10 * (4 if shifts is None else 2)


def test_the_error_is_that_of_squares_by_hand() -> None:
    model, x = Placed(0.3).double().eval(), images(3).double()
    metric = EquivarianceError(shifts=SHIFTS, boundary="circular")
    metric.update(model, x)
    with torch.no_grad():
        y = model(x)
        error = signal = 0.0
        for m, n in SHIFTS:
            moved = y.roll((m // 2, n // 2), (2, 3)).numpy()
            found = model(x.roll((m, n), (2, 3))).numpy()
            error += float(np.square(found - moved).sum())
            signal += float(np.square(moved).sum())
    assert metric.compute().item() == pytest.approx(math.sqrt(error / signal), rel=1e-12)


@pytest.mark.parametrize("fill", ["circular", "zeros"])
def test_consistency_is_that_of_evaluate(fill: str) -> None:
    model, x = Classifier(), images(40)
    metric = ShiftConsistency(fill=fill)
    for rows in torch.arange(40).split(17):
        metric.update(model, x[rows], index=rows)
    figures = evaluated(model, x, "classes", fill=fill).figures
    assert metric.compute().item() == figures["consistency"]
    assert 0.2 < metric.compute().item() < 1.0


def test_consistency_is_that_of_classes_by_hand() -> None:
    model, x = Classifier().eval(), images(9)
    metric = ShiftConsistency(shifts=SHIFTS)
    metric.update(model, x)
    with torch.no_grad():
        best = model(x).argmax(1)
        same = [bool(b) for s in SHIFTS for b in best == model(x.roll(s, (2, 3))).argmax(1)]
    assert metric.compute().item() == sum(same) / 18


def test_the_halo_is_that_of_evaluate() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    x = images(12)
    for index in (None, torch.arange(12)):
        largest, half = EffectiveHalo(tolerance=0.2), EffectiveHalo(tolerance=0.2, percentile=50)
        for rows in torch.arange(12).split(5):
            for metric in (largest, half):
                metric.update(net, x[rows], index=None if index is None else index[rows])
        items = evaluated(net, x, "effective_halo", tolerance=0.2).items
        assert largest.compute().item() == items.largest
        assert half.compute().item() == pytest.approx(items.quantile(0.5), rel=0.02)
        assert largest.told == 12 * 4


def test_a_halo_that_is_more_than_the_item_is_infinite() -> None:
    everywhere = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2))
    metric = EffectiveHalo(tolerance=1e-6)
    metric.update(everywhere, images(2))
    assert metric.compute().item() == math.inf


def test_any_batches_in_any_order_give_the_same_to_the_last_bit() -> None:
    model, x = Placed(0.1), images(11)
    found = set()
    for size in (11, 1, 4):
        metric = EquivarianceError()
        for rows in torch.randperm(11).split(size):
            metric.update(model, x[rows].clone(), index=rows)
        found.add(metric.compute().item())
    assert len(found) == 1


def test_what_comes_again_counts_once() -> None:
    model, x = Placed(0.1), images(6)
    for make in (EquivarianceError, EffectiveHalo):
        once, again = make(), make()
        once.update(model, x, index=range(6))
        again.update(model, x[[0, 1, 2, 1, 0]], index=[0, 1, 2, 1, 0])
        again.update(model, x[2:], index=torch.arange(2, 6))
        assert (again.items, again.repeated) == (6, 3)
        assert once.compute() == again.compute()
        assert once.told == again.told
        without = make()
        without.update(model, x[[0, 0]])
        assert (without.items, without.repeated) == (2, 0)


def test_forward_gives_the_batch_and_adds_it() -> None:
    model, x = Placed(0.1), images(8)
    for index in (None, torch.arange(8)):
        whole, parts = EquivarianceError(shifts=SHIFTS), EquivarianceError(shifts=SHIFTS)
        whole.update(model, x)
        for rows in (slice(0, 5), slice(5, 8)):
            alone = EquivarianceError(shifts=SHIFTS)
            alone.update(model, x[rows])
            here = None if index is None else index[rows]
            assert parts(model, x[rows], here).item() == pytest.approx(alone.compute().item())
        assert parts.compute().item() == pytest.approx(whole.compute().item(), rel=1e-12)
        assert parts.items == 8


class Around(nn.Module):
    """A convolution of the torus behind a table of positions, which is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
        self.place = nn.Parameter(torch.zeros(16, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x + self.place)


def test_different_questions_in_one_collection_stay_apart() -> None:
    """A network that is equivariant gives equal states to all questions, which are not the same."""
    one = [(4, 0)]
    together = torchmetrics.MetricCollection(
        {
            "rows": EquivarianceError(shifts=one, boundary="circular"),
            "columns": EquivarianceError(shifts=[(0, 4)], boundary="circular"),
            "gap": EquivarianceError(shifts=one, boundary="circular", figure="largest_gap"),
        }
    )
    model = Around()
    still = images(5)
    together.update(model, still)
    groups = sorted(sorted(names) for names in together.compute_groups.values())
    assert groups == [["columns"], ["gap", "rows"]]
    with torch.no_grad():
        model.place += torch.linspace(0, 1, 18)  # breaks along the columns alone
    together.update(model, still)
    found = {name: value.item() for name, value in together.compute().items()}
    assert found["rows"] < 1e-6
    assert found["gap"] < 1e-6
    assert found["columns"] > 0.01


@pytest.mark.slow
def test_it_follows_weights_that_change() -> None:
    model, x = Placed(), images(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    metric = EquivarianceError(shifts=SHIFTS)
    for _ in range(2):
        metric.update(model, x)
        figures = evaluated(model, x, "eq_t", shifts=SHIFTS).figures
        assert metric.compute().item() == pytest.approx(figures["relative_l2"], rel=1e-12, abs=1e-9)
        metric.reset()
        optimizer.zero_grad()
        (model(x) * torch.rand(8, 9)).sum().backward()
        optimizer.step()
    assert metric.items == 0


def test_the_geometry_is_read_once_for_weights_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from shiftcheck.checks.evaluation import measuring_items

    read: list[int] = []
    original = measuring_items.read_size

    def counting(*args: Any, **kwargs: Any) -> Any:
        read.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(measuring_items, "read_size", counting)
    model, x, metric = Placed(), images(2), EquivarianceError(shifts=SHIFTS)
    for expected in (1, 1, 2, 3):
        metric.update(model, x)
        assert len(read) == expected
        if expected == 1 and metric.items == 4:
            with torch.no_grad():
                model.place += 0.1
        if expected == 2:
            model.conv.stride = (1, 1)
    assert metric.items == 8


class Configured(nn.Module):
    """Adds a ramp where its settings say so, which are in a dict, or in an object."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        every = self.settings["every"] if isinstance(self.settings, dict) else self.settings.every
        return (x * 2)[..., ::every, ::every]


@pytest.mark.parametrize("make", [dict, types.SimpleNamespace])
def test_it_follows_settings_that_change(make: Any) -> None:
    model, metric = Configured(make(every=1)), EquivarianceError(shifts=SHIFTS)
    for every in (1, 2, 1):
        if make is dict:
            model.settings["every"] = every
        else:
            model.settings.every = every
        metric.update(model, images(2))
    assert (metric.told, metric.untelling) == (12, {})


class Remembering(nn.Module):
    """Counts its calls, writes to its input, and draws a random number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(()))
        self.list: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.data.add_(1)  # which leaves no mark
        self.list.append(1)
        torch.rand(1)
        return self.conv(x.mul_(2.0))


def test_everything_is_left_as_it_was() -> None:
    model, x = Remembering().train(), images(3)
    model.conv[1].eval()
    model.conv[0].weight.grad = torch.ones_like(model.conv[0].weight)
    before, given = copy.deepcopy(model.state_dict()), x.clone()
    state, metric = torch.get_rng_state(), EquivarianceError(shifts=SHIFTS)
    for count in (3, 3, 1):
        metric.update(model, x[:count])
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert torch.equal(x, given)
        assert torch.equal(torch.get_rng_state(), state)
        assert model.list == []
        assert (model.training, model.conv[1].training) == (True, False)
        assert bool((model.conv[0].weight.grad == 1).all())
        assert not any(
            p.grad is not None for n, p in model.named_parameters() if n != "conv.0.weight"
        )


def test_arguments_that_the_model_writes_to_are_left() -> None:
    def writing(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x.add_(1) * gain.mul_(2)

    x, gain = images(1), torch.rand(1, 1, 1, 1)
    before = x.clone(), gain.clone()
    EquivarianceError(shifts=SHIFTS).update(writing, (x, gain))
    assert torch.equal(x, before[0])
    assert torch.equal(gain, before[1])


class Raising(Placed):
    """Raises for an item that is brighter than others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_tracing() and x.shape[0] and float(x.amax()) > 2:
            raise ValueError("too bright")
        return super().forward(x)


@pytest.mark.slow
def test_an_item_that_raises_is_named_and_nothing_is_added() -> None:
    model, x = Raising().train(), images(4)
    metric = EquivarianceError(shifts=SHIFTS)
    bright = x.clone()
    bright[2] = bright[2] * 50
    with pytest.raises(shiftcheck.ModelError, match=r"item 12 .*too bright"):
        metric.update(model, bright, index=[10, 11, 12, 13])
    assert metric.items == 0
    assert model.training
    with pytest.raises(shiftcheck.ModelError, match=r"item 1 could not be read.*NaN"):
        metric.update(Placed(), torch.stack([x[0], x[0] * math.nan]))
    assert metric.items == 0


def test_the_states_keep_their_types() -> None:
    model, x = Placed(0.1), images(4)
    metric = EquivarianceError(shifts=SHIFTS)
    metric.update(model, x, index=range(4))
    metric.update(model, x)
    value = metric.compute().item()
    holder = nn.Module()
    holder.metric = metric
    for cast in (
        lambda: metric.half(),
        lambda: metric.set_dtype(torch.float16),
        lambda: metric.to(torch.float16),
        lambda: metric.to("cpu", torch.bfloat16),
        lambda: holder.to(torch.float16),
        lambda: holder.bfloat16(),
    ):
        cast()
        assert metric.sums.dtype == metric.tops.dtype == torch.float64
        assert {t.dtype for t in metric.item_reals} == {torch.float64}
        assert metric.counts.dtype == torch.int64
        metric.reset()
        assert metric.sums.dtype == torch.float64
        metric.update(model, x, index=range(4))
        metric.update(model, x)
        assert metric.compute().item() == pytest.approx(value, rel=1e-12)
        assert metric.compute().dtype == torch.float64


def test_it_is_copied_pickled_saved_and_forgotten() -> None:
    model, x = Placed(0.1), images(4)
    metric = EquivarianceError(shifts=SHIFTS)
    metric.persistent(True)
    metric.update(model, x, index=range(4))
    metric.update(model, x[:2])
    value = metric.compute().item()
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    loaded = EquivarianceError(shifts=SHIFTS)
    loaded.persistent(True)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    loaded.update(model, x, index=range(4))
    assert (loaded.items, loaded.repeated) == (6, 4)
    assert loaded.compute().item() == value
    for twin in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert twin.compute().item() == value
        twin.update(model, x, index=range(4, 8))
        assert (twin.items, metric.items) == (10, 6)
    metric.reset()
    assert (metric.items, metric.told, metric.repeated, metric.untelling) == (0, 0, 0, {})


@pytest.mark.parametrize("make", [ShiftConsistency, EquivarianceError, EffectiveHalo])
def test_nothing_seen_is_not_a_number(make: Any) -> None:
    metric = make()
    with (
        pytest.warns(UserWarning, match="was called before the ``update`` method"),
        pytest.warns(UserWarning, match=f"{make.__name__} is NaN: no item was seen"),
    ):
        value = metric.compute()
    assert math.isnan(value.item())
    metric.update(Placed(), images(0))
    assert metric.items == 0


def dead() -> nn.Module:
    model = Placed()
    nn.init.zeros_(model.conv.weight)
    nn.init.constant_(model.conv.bias, -1.0)
    return model


@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        (dead, lambda: images(3), Reason.DEAD),
        (Placed, lambda: torch.ones(3, 1, 16, 18), Reason.CONSTANT_INPUT),
        (lambda: nn.Conv2d(1, 2, 3, stride=3), lambda: images(3), Reason.OFF_LATTICE),
        (lambda: nn.Conv2d(1, 2, 15, padding=7), lambda: images(3)[..., :12], Reason.NO_REGION),
    ],
)
def test_what_tells_nothing_is_no_error_of_zero(model: Any, x: Any, reason: Reason) -> None:
    metric = EquivarianceError(shifts=SHIFTS)
    metric.update(model(), x())
    assert metric.untelling == {reason: 6}
    assert metric.told == 0
    with pytest.warns(UserWarning, match=f"NaN: none of the pairs.* 6 {reason}"):
        assert math.isnan(metric.compute().item())


def test_one_item_that_tells_nothing_is_in_no_figure() -> None:
    model, x = Placed(0.1), images(4)
    alone, beside = EquivarianceError(shifts=SHIFTS), EquivarianceError(shifts=SHIFTS)
    alone.update(Placed(), x)
    blank = torch.cat([x, torch.zeros(1, 1, 16, 18)])
    beside.update(nn.Conv2d(1, 2, 3, bias=False), blank[..., :])
    assert beside.untelling == {Reason.CONSTANT_INPUT: 2}
    assert beside.told == 8
    assert model.training


def test_one_class_that_always_wins_tells_nothing() -> None:
    model = Classifier()
    with torch.no_grad():
        model.head.bias[2] += 1e3
    metric = ShiftConsistency()
    metric.update(model, images(6))
    with pytest.warns(UserWarning, match="NaN: class 2 wins"):
        assert math.isnan(metric.compute().item())


class ByNumpy(nn.Module):
    """Its values leave torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.tanh(self.conv(x).detach().cpu().numpy()))


class TwoOutputs(nn.Module):
    """Two outputs with places, and one without."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": x * 2, "b": x + 1, "mean": x.mean((2, 3))}


@pytest.mark.parametrize(
    ("make", "model", "said"),
    [
        (EquivarianceError, Classifier, "no output can tell.*ShiftConsistency is for"),
        (EffectiveHalo, Classifier, "no output can tell"),
        (ShiftConsistency, Placed, "no output can tell of classes"),
        (
            EquivarianceError,
            TwoOutputs,
            r"has 2 that can be compared, output\['a'\], output\['b'\].*outputs=",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(make: Any, model: Any, said: str) -> None:
    metric = make()
    for _ in range(2):
        with pytest.raises(shiftcheck.InputError, match=said):
            metric.update(model(), images(2))
    assert metric.items == 0


def test_values_that_leave_torch_are_refused_with_the_line() -> None:
    metric = EquivarianceError()
    with pytest.raises(shiftcheck.ModelError, match=r"left torch by numpy at .*test_metrics\.py"):
        metric.update(ByNumpy(), images(2))
    assert metric.items == 0


def test_a_wrapped_network_is_looked_at_by_itself() -> None:
    model, x = Placed(0.1), images(3)
    plain, wrapped = EquivarianceError(shifts=SHIFTS), EquivarianceError(shifts=SHIFTS)
    plain.update(model, x)
    parallel = nn.DataParallel(model)
    parallel.forward = None  # as one that waits for other processes would be
    wrapped.update(parallel, x)
    assert wrapped.compute() == plain.compute()


@pytest.mark.slow
def test_a_layer_without_a_law_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(Sorted()))
    with pytest.raises(shiftcheck.InputError, match=r"at layer '1\.0'"):
        EquivarianceError(shifts=[(1, 0)]).update(model, torch.rand(1, 1, 7, 8))


class Sorted(nn.Module):
    """An operation that no rule knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.logcumsumexp(x.sort(-1)[0], -1).histc(x.numel()).view_as(x)


def test_one_of_several_outputs_is_chosen_and_several_arguments_are_taken() -> None:
    metric = EquivarianceError(outputs=["b"], shifts=[(1, 1)])
    metric.update(TwoOutputs(), images(3))
    assert metric.told == 3
    assert metric.compute().item() == 0.0

    def both(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return one * other

    pair = EquivarianceError(shifts=[(1, 1)])
    pair.update(both, (images(3), images(3)), index=[5, 6, 5])
    assert (pair.told, pair.repeated) == (2, 1)


@pytest.mark.parametrize(("size", "shift"), [((40,), (4,)), ((8, 9, 10), (2, 0, 0))])
def test_any_number_of_axes(size: tuple[int, ...], shift: tuple[int, ...]) -> None:
    conv: Any = {1: nn.Conv1d, 3: nn.Conv3d}[len(size)]
    metric = EquivarianceError(shifts=[shift])
    metric.update(conv(1, 2, 3, stride=2), torch.rand(2, 1, *size))
    assert metric.compute().item() < 1e-6
    assert metric.told == 2


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ([0, 1], "2 numbers for 3 images"),
        ([0, 1, -1], "at least 0"),
        (torch.rand(3), "whole numbers"),
        ([True, 1, 2], "whole numbers"),
        ("abc", "index='abc'"),
    ],
)
def test_numbers_of_items_are_checked(index: Any, said: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=said):
        EquivarianceError().update(Placed(), images(3), index=index)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EquivarianceError(shifts=[(0, 0)]), "shifts="),
        (lambda: EquivarianceError(figure="psnr"), "figure='psnr'"),
        (lambda: EquivarianceError(boundary="open"), "boundary"),
        (lambda: ShiftConsistency(draws=0), "draws"),
        (lambda: EffectiveHalo(tolerance=1), "tolerance=1"),
        (lambda: EffectiveHalo(percentile=0), "percentile=0"),
        (lambda: EffectiveHalo(boundary="circular"), "has no edge"),
        (lambda: EquivarianceError().update(Placed(), "x"), "images=str"),
        (lambda: EquivarianceError().update(Placed(), (images(2), images(3))), "2, 3 items"),
        (lambda: EquivarianceError().update(3, images(2)), "model"),
    ],
)
def test_arguments_are_checked(make: Any, said: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=said):
        make()


def test_without_torchmetrics_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    for name in [n for n in sys.modules if n.startswith("shiftcheck.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(shiftcheck.MissingExtraError, match=r"torch-shiftcheck\[metrics\]"):
        importlib.import_module("shiftcheck.metrics")
