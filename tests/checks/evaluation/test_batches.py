"""Data as it comes: whatever a loader yields, the same items give the same figures."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import shiftcheck
from shiftcheck.errors import InputError, ModelError
from shiftcheck.report import EvaluationReport

IMAGES = torch.rand(11, 1, 10, 9, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(11) % 3
Named = namedtuple("Named", ["image", "label"])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(60, 4))


NETWORK = network()


class Items(Dataset[Any]):
    """Items that are made one by one."""

    def __init__(self, form: Any, count: int = 11) -> None:
        self.form, self.count = form, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        return self.form(IMAGES[number], LABELS[number])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from IMAGES


def evaluated(loader: Any, model: Any = NETWORK, **kwargs: Any) -> EvaluationReport:
    given = {"draws": 2, "fill": "zeros", "batch_size": 4} | kwargs
    return shiftcheck.evaluate(model, loader, "invariance", **given)


WHOLE = evaluated(IMAGES)

SAME: dict[str, Any] = {
    "an array": IMAGES.numpy(),
    "a list of tensors": list(IMAGES),
    "tuples": TensorDataset(IMAGES, LABELS),
    "lists": Items(lambda image, label: [image, label]),
    "named tuples": Items(Named),
    "dicts by the model's name": Items(lambda image, label: {"input": image, "label": label}),
    "arrays": Items(lambda image, label: image.numpy()),
    "a loader": DataLoader(TensorDataset(IMAGES, LABELS), 4),
    "another batch size": DataLoader(TensorDataset(IMAGES), 3),
    "a last batch dropped": DataLoader(TensorDataset(IMAGES), 4, drop_last=True),
    "shuffled": DataLoader(TensorDataset(IMAGES), 4, shuffle=True),
    "one of two processes": DataLoader(
        TensorDataset(IMAGES),
        4,
        sampler=DistributedSampler(TensorDataset(IMAGES), num_replicas=2, rank=1),
    ),
    "batches in another order": DataLoader(
        TensorDataset(IMAGES),
        batch_sampler=BatchSampler([10, 2, 4, 3, 1, 0, 5, 6, 7, 8, 9], 2, False),
    ),
}


def same(report: EvaluationReport, other: EvaluationReport) -> None:
    """The same figures to the last digit, but for the fingerprint."""
    assert replace(report, fingerprint="") == replace(other, fingerprint="")


@pytest.mark.parametrize("name", SAME)
def test_the_same_items_in_any_form_give_the_same(name: str) -> None:
    same(evaluated(SAME[name]), WHOLE)


STREAMS: dict[str, Any] = {
    "a generator": lambda: iter(IMAGES.split(4)),
    "a generator of tuples": lambda: iter(zip(IMAGES.split(4), LABELS.split(4), strict=True)),
    "a generator of dicts": lambda: iter([{"input": part} for part in IMAGES.split(4)]),
    "a list of batches in a generator": lambda: (Named(p, 0) for p in IMAGES.split(4)),
    "an iterable set": lambda: DataLoader(Stream(), 4),
    "an iterable set without a loader": lambda: Stream(),
    "batches made by the set": lambda: DataLoader(list(IMAGES.split(4)), batch_size=None),
}


@pytest.mark.parametrize("name", STREAMS)
def test_what_comes_in_a_stream_is_counted_as_it_comes(name: str) -> None:
    report = evaluated(STREAMS[name]())
    figures = report.quantities
    assert report.items == 11
    assert [replace(f, worst=()) for f in figures] == [
        replace(f, worst=()) for f in WHOLE.quantities
    ]
    assert [w.item for w in figures[0].worst] == [w.item for w in WHOLE.quantities[0].worst]


def test_a_stream_has_an_unknown_length_and_says_so() -> None:
    report = evaluated(iter(IMAGES.split(4)))
    assert report.length is None
    assert "unknown length" in str(report)


def test_a_set_without_length_is_told_what_to_do() -> None:
    class Endless(Dataset[Any]):
        def __getitem__(self, number: int) -> Any:
            return IMAGES[number]

    with pytest.raises(InputError, match="has no length"):
        evaluated(DataLoader(Endless(), sampler=[0, 1]))


def test_workers_give_the_same() -> None:
    loader = DataLoader(TensorDataset(IMAGES), 4, num_workers=2)
    same(evaluated(loader), WHOLE)


def test_a_sampler_that_chooses_is_followed() -> None:
    report = evaluated(DataLoader(TensorDataset(IMAGES), 4, sampler=SubsetRandomSampler([7, 2, 9])))
    same(report, evaluated(IMAGES, items=[2, 7, 9]))
    assert {w.item for w in report["invariance"].worst} == {2, 7, 9}


def test_a_sampler_that_repeats_counts_once_and_is_told() -> None:
    sampler = WeightedRandomSampler([1.0, 1.0, *[0.0] * 9], 20, replacement=True)
    report = evaluated(DataLoader(TensorDataset(IMAGES), 4, sampler=sampler))
    assert (report.items, report.repeated) == (2, 18)
    assert "18 items came again from the sampler: counted once" in str(report)


def test_a_key_a_position_or_a_function_selects() -> None:
    data = Items(lambda image, label: {"pixels": image, "label": label})
    pairs = WHOLE["invariance"].pairs
    assert evaluated(data, select="pixels")["invariance"].pairs == pairs
    assert evaluated(data, select=lambda batch: batch["pixels"])["invariance"].pairs == pairs
    second = Items(lambda image, label: (label, image))
    assert evaluated(second, select=1)["invariance"].pairs == pairs
    with pytest.raises(InputError, match="say with select= which part"):
        evaluated(data)
    with pytest.raises(InputError, match=r"select='image': an item is a dict with keys 'pixels'"):
        evaluated(data, select="image")
    with pytest.raises(InputError, match=r"select=1\.5"):
        evaluated(data, select=1.5)


def test_whole_numbers_are_moved_as_they_are() -> None:
    class OfBytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = NETWORK

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.inner(x.float() / 255)
            return scores

    images = (IMAGES * 255).to(torch.uint8)
    report = evaluated(images, OfBytes())
    other = evaluated(images.float() / 255)
    assert report.quantities[0].pairs == other.quantities[0].pairs


def test_whole_numbers_that_the_model_does_not_take_are_told_of() -> None:
    with pytest.raises(ModelError, match=r"uint8.*select"):
        evaluated((IMAGES * 255).to(torch.uint8))


@dataclass
class Sized:
    """Images of several sizes."""

    count: int = 10

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(number)
        return torch.rand(1, 12 + number % 3, 14, generator=generator)


def test_items_of_different_sizes_are_measured_each_at_its_own() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1)
    report = shiftcheck.evaluate(conv, Sized(), batch_size=4)
    assert report.items == 10
    assert report.input_shapes == ((1, 12, 14), (1, 13, 14), (1, 14, 14))
    assert report["equivariance"].pairs.count == 40


class Corrupt(Items):
    def __getitem__(self, number: int) -> Any:
        if number in (3, 7):
            raise OSError(f"file {number} is truncated")
        if number == 8:
            return torch.full((1, 10, 9), torch.nan)
        return super().__getitem__(number)


def test_corrupt_items_are_counted_and_named_and_the_rest_goes_on() -> None:
    report = evaluated(Corrupt(lambda image, label: image))
    assert (report.items, report.corrupt) == (8, 3)
    assert [(c.item, c.where) for c in report.corrupt_items] == [
        (3, "data"),
        (7, "data"),
        (8, "data"),
    ]
    assert "file 3 is truncated" in report.corrupt_items[0].error
    assert "NaN" in report.corrupt_items[2].error
    rest = [0, 1, 2, 4, 5, 6, 9, 10]
    wanted = evaluated(IMAGES, items=rest)["invariance"].pairs
    assert report["invariance"].pairs.count == wanted.count
    assert report["invariance"].pairs.mean == pytest.approx(wanted.mean, rel=1e-6)
    assert "3 items could not be measured" in str(report)


def test_corrupt_items_end_it_where_that_is_asked() -> None:
    with pytest.raises(ModelError, match="item 3 could not be read: OSError: file 3"):
        evaluated(Corrupt(lambda image, label: image), errors="raise")


class RaisesOnItem(nn.Module):
    """Raises where an image is bright, so on one item, whatever travels beside it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._assert(x.max() < 5, "the lamp is too bright")
        return x.flatten(1)[:, :4]


def test_a_model_that_raises_on_one_item_names_it_and_it_can_be_replayed() -> None:
    data = IMAGES.clone()
    data[6, 0, 3, 3] = 9.0
    model = RaisesOnItem()
    report = evaluated(data, model)
    assert (report.items, report.corrupt) == (10, 1)
    (bad,) = report.corrupt_items
    assert (bad.item, bad.where) == (6, "model")
    assert "too bright" in bad.error
    with pytest.raises(ModelError, match=r"item 6 .*too bright"):
        eval(bad.replay, {"shiftcheck": shiftcheck, "model": model, "data": data})


@pytest.mark.parametrize(
    "what", ["equivariance", "eq_t", "invariance", "classes", "effective_halo"]
)
def test_a_worst_case_is_replayed_by_its_line(what: str) -> None:
    model = NETWORK[:3] if what in ("equivariance", "eq_t", "effective_halo") else NETWORK
    if what in ("equivariance", "eq_t"):
        model = nn.Sequential(*model, nn.InstanceNorm2d(3), nn.Conv2d(3, 1, 1))
    kwargs = {"boundary": "circular"} if what in ("equivariance", "eq_t") else {"seed": 3}
    kwargs |= {"tolerance": 0.1} if what == "effective_halo" else {"max_shift": 4}
    report = shiftcheck.evaluate(model, IMAGES, what, **kwargs)
    worst = report.quantities[0].worst[0]
    names = {"shiftcheck": shiftcheck, "model": model, "data": IMAGES}
    again = eval(worst.replay, names).quantities[0]
    assert again.pairs.largest == pytest.approx(worst.value, rel=1e-4)
    assert again.worst[0].item == worst.item
    assert again.worst[0].shift == worst.shift


def test_what_the_data_draws_is_the_same_for_an_item() -> None:
    data = Items(lambda image, label: image + 0.1 * torch.rand(1) + np.random.rand() * 0.1)
    reports = [evaluated(data, batch_size=size) for size in (4, 4, 5)]
    assert reports[0] == reports[1]
    assert reports[0]["invariance"].pairs.largest == pytest.approx(
        reports[2]["invariance"].pairs.largest, rel=1e-6
    )


REFUSED: dict[str, tuple[Any, str]] = {
    "a text": ("images", "give a torch DataLoader"),
    "a number": (3, "give a torch DataLoader"),
    "a dict": ({"images": IMAGES}, "give a torch DataLoader"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name][1]):
        evaluated(REFUSED[name][0])


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"what": "equivariant"}, "what='equivariant': give one or several of"),
        ({"what": []}, r"what=\[\]"),
        ({"shifts": [(0, 0)]}, "not all zero"),
        ({"shifts": [(0.5, 0)]}, "whole pixels"),
        ({"shifts": 5}, "shifts=5"),
        ({"shifts": [(1, 0, 0)]}, "spatial axes"),
        ({"shifts": [(20, 0)]}, "larger than the signal"),
        ({"shifts": [(1, 0)], "max_shift": 3}, "give one of them"),
        ({"max_shift": -1}, "max_shift=-1"),
        ({"max_shift": (1, 2, 3)}, r"max_shift=\(1, 2, 3\)"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"items": [11]}, "numbers from 0 to 10"),
        ({"errors": "ignore"}, "errors='ignore'"),
        ({"checkpoint_every": -1}, "checkpoint_every=-1"),
        ({"timeout": 0}, "timeout=0"),
        ({"draws": 0}, "draws=0"),
        ({"tolerance": 1.0}, "tolerance=1.0"),
        ({"boundary": "zeros"}, "boundary='zeros'"),
        ({"fill": "mirror"}, "fill='mirror'"),
        ({"layers": 1}, "layers=1"),
        ({"progress": "yes"}, "progress='yes'"),
        ({"distributed": "no"}, "distributed='no'"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_value(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        shiftcheck.evaluate(NETWORK, IMAGES, **({"what": "invariance"} | kwargs))


def test_an_empty_set_is_told() -> None:
    with pytest.raises(InputError, match="no items"):
        evaluated(IMAGES[:0])


def test_one_corrupt_item_is_told_as_one() -> None:
    data = torch.rand(4, 1, 16, 18)
    data[2] = float("nan")
    report = shiftcheck.evaluate(torch.nn.Conv2d(1, 1, 3), data, progress=False)
    assert "1 item could not be measured, and is in no figure:" in str(report)
