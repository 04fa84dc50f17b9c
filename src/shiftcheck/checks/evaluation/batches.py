"""The items of a set of data, by their numbers, whatever they come in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from shiftcheck.errors import InputError
from shiftcheck.tracing.containers import leaves_of, with_leaves


@dataclass(frozen=True, eq=False)
class Item:
    """One item as a batch of one, or what was raised in its place."""

    number: int
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, eq=False)
class Block:
    """The items of one batch; blocks are counted from 0."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """The items of a set of data.

    ``numbers``: of the items, in rising order; None of a stream, whose items are counted as they
    come. ``length``: of the whole set, None where it has none. ``repeated``: how many of the
    sampler's numbers were there already. ``take``: the blocks with some numbers, in that order; all
    blocks of a stream from one on.
    """

    numbers: Sequence[int] | None
    length: int | None
    batch_size: int
    repeated: int
    take: Callable[[Sequence[int]], Iterator[Block]]
    notes: tuple[str, ...] = ()

    @property
    def blocks(self) -> int | None:
        """How many there are; None of a stream."""
        return None if self.numbers is None else -(-len(self.numbers) // self.batch_size)


BATCH = 64


def read_data(loader: Any, batch_size: int | None, items: Sequence[int] | None, seed: int) -> Data:
    """What a loader, a set of data, or an array of items holds; raises InputError otherwise."""
    given = batch_size is None or (isinstance(batch_size, int) and batch_size >= 1)
    if not given or isinstance(batch_size, bool):
        raise InputError(f"batch_size={batch_size!r}: give a whole number of at least 1, or None")
    if isinstance(loader, DataLoader):
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            return _streamed(loader, loader.batch_size or 0, items)
        return _of_loader(loader, batch_size or _batch_of(loader), items, seed)
    if isinstance(loader, IterableDataset):
        return _streamed(DataLoader(loader, batch_size or BATCH), batch_size or BATCH, items)
    if _is_indexed(loader):
        kept = DataLoader(_as_set(loader), batch_size or BATCH)
        return _of_loader(kept, batch_size or BATCH, items, seed)
    if hasattr(loader, "__iter__") and not isinstance(loader, str | bytes | Mapping):
        return _streamed(loader, 0, items)
    raise InputError(
        f"loader={type(loader).__name__}: give a torch DataLoader or Dataset, a tensor or array"
        " [items, channels, *spatial], or something that yields batches"
    )


def _batch_of(loader: DataLoader[Any]) -> int:
    """The size of its batches, also where the user made them."""
    sized = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    return sized if isinstance(sized, int) else BATCH


def _is_indexed(data: Any) -> bool:
    if isinstance(data, Mapping | str | bytes):
        return False
    if isinstance(data, Dataset):
        return True
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _as_set(data: Any) -> Any:
    if isinstance(data, np.ndarray) and not isinstance(data, np.memmap):
        return torch.from_numpy(data)
    return data


def _numbers_of(loader: DataLoader[Any], length: int) -> tuple[Sequence[int], int]:
    """The items that a loader gives, in rising order, and how many it gives again."""
    sampler: Any = loader.sampler
    batches: Any = loader.batch_sampler
    everything = isinstance(sampler, SequentialSampler | DistributedSampler) or (
        isinstance(sampler, RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == length
    )
    own = type(batches).__module__.startswith("torch.utils.data")
    if everything and own:
        return range(length), 0
    drawn = list(sampler) if own else [i for batch in batches for i in batch]
    try:
        numbers = sorted({int(i) for i in drawn})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"loader: its sampler gives {drawn[0]!r}, which is no number of an item: give the set"
            " of data itself"
        ) from error
    if numbers and not 0 <= numbers[0] <= numbers[-1] < length:
        raise InputError(
            f"loader: its sampler gives items {numbers[0]} to {numbers[-1]}, and the data has"
            f" {length}"
        )
    return numbers, len(drawn) - len(numbers)


def _of_loader(
    loader: DataLoader[Any], batch_size: int, items: Sequence[int] | None, seed: int
) -> Data:
    """The set of data of a loader, whose items are looked up by number."""
    dataset: Any = loader.dataset
    try:
        length = len(dataset)
    except TypeError as error:
        raise InputError(
            f"loader: its {type(dataset).__name__} has no length: add __len__, or make it an"
            " IterableDataset, whose items are counted as they come"
        ) from error
    numbers, repeated = _numbers_of(loader, length)
    if items is not None:
        numbers, repeated = _chosen(items, length), 0

    if not numbers:
        raise InputError("loader: there are no items in it: give data that has some")

    def take(blocks: Sequence[int]) -> Iterator[Block]:
        lists = [list(numbers[b * batch_size : (b + 1) * batch_size]) for b in blocks]
        fetched: Any = DataLoader(
            _Guarded(dataset, loader.collate_fn, seed),
            batch_sampler=lists,
            collate_fn=list,
            num_workers=loader.num_workers,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
        )
        for number, got in zip(blocks, fetched, strict=True):
            yield Block(number, tuple(got))

    return Data(numbers=numbers, length=length, batch_size=batch_size, repeated=repeated, take=take)


def _chosen(items: Any, length: int) -> list[int]:
    try:
        numbers = sorted({int(i) for i in items})
    except (TypeError, ValueError) as error:
        raise InputError(f"items={items!r}: give a list of numbers of items") from error
    if not numbers or not 0 <= numbers[0] <= numbers[-1] < length:
        raise InputError(f"items={items!r}: give numbers from 0 to {length - 1}")
    return numbers


class _Guarded(Dataset[Item]):
    """Each item as a batch of one; what is raised is kept, and what is drawn has a seed."""

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], seed: int) -> None:
        self.dataset, self.collate, self.seed = dataset, collate, seed

    def __getitem__(self, number: int) -> Item:
        mixed = (self.seed * 1_000_003 + number) % 2**32
        random.seed(mixed)
        np.random.seed(mixed)
        torch.default_generator.manual_seed(mixed)
        try:
            return Item(number, self.collate([self.dataset[number]]))
        except Exception as error:  # whatever it is, the item is named
            return Item(number, error=error)


def _streamed(loader: Any, batch_size: int, items: Sequence[int] | None) -> Data:
    """Batches as they come, whose items are counted."""
    if items is not None:
        raise InputError(
            f"items={list(items)!r}: the items of a {type(loader).__name__} that yields batches"
            " have no numbers to be looked up by: give a set of data with an index"
        )

    def take(blocks: Sequence[int]) -> Iterator[Block]:
        begun = 0
        for number, batch in enumerate(loader):
            items = tuple(Item(begun + i, value) for i, value in enumerate(split_batch(batch)))
            begun += len(items)
            yield Block(number, items)

    try:
        length = len(getattr(loader, "dataset", loader))
    except (TypeError, NotImplementedError):
        length = None
    return Data(numbers=None, length=length, batch_size=batch_size, repeated=0, take=take)


def split_batch(batch: Any) -> Iterator[Any]:
    """The items of a batch, each as a batch of one."""
    leaves = [leaf for _, leaf in leaves_of(batch)]
    sizes = [len(leaf) for leaf in leaves if _has_rows(leaf)]
    for i in range(sizes[0] if sizes else 0):
        rows = [leaf[i : i + 1] if _has_rows(leaf) else leaf for leaf in leaves]
        yield with_leaves(batch, rows)


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor | np.ndarray) and leaf.ndim > 0


Select = Callable[[Any], Any]
"""From a batch of one to the model's arguments."""


def selection(select: Any, parameters: Sequence[str]) -> Select:
    """How the arguments of the model are found in what the data gives.

    Raises InputError for what is no key, no position and no function.
    """
    if select is None:
        return lambda batch: _usual(batch, parameters)
    if callable(select):
        chosen: Select = select
        return chosen
    if isinstance(select, bool) or not isinstance(select, str | int):
        raise InputError(
            f"select={select!r}: give a key, a position, or a function from a batch to the"
            " model's arguments"
        )

    def entry(batch: Any) -> Any:
        try:
            return batch[select]
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"select={select!r}: an item is a {type(batch).__name__} {_there(batch)}"
            ) from error

    return entry


def _there(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"with keys {', '.join(map(repr, batch))}"
    return f"of {len(batch)} parts" if isinstance(batch, tuple | list) else "without parts"


def _usual(batch: Any, parameters: Sequence[str]) -> Any:
    """A tensor as it is, the first of several parts, and of a dict what the model has names for."""
    if isinstance(batch, tuple | list):
        return batch[0]
    if not isinstance(batch, Mapping):
        return batch
    named = {key: value for key, value in batch.items() if key in parameters}
    if not named:
        raise InputError(
            f"the data gives dicts {_there(batch)}, and the model takes"
            f" {', '.join(map(repr, parameters)) or 'no names'}: say with select= which part is"
            " its input"
        )
    return named


__all__ = [
    "BATCH",
    "Block",
    "Data",
    "Item",
    "default_collate",
    "read_data",
    "selection",
    "split_batch",
]
