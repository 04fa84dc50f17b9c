"""What all metrics have in common: which states they keep, and how items are counted once."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torchmetrics import Metric
from torchmetrics.utilities import rank_zero_warn

from shiftcheck.checks.evaluation.asked import Asked
from shiftcheck.checks.evaluation.comparing import Answered
from shiftcheck.checks.evaluation.item_shifts import ItemShifts
from shiftcheck.checks.given_model import check_model
from shiftcheck.errors import InputError
from shiftcheck.measuring.plan import Model
from shiftcheck.metrics.answers import OF_THE_DATA, Known, answers_of, rows_in
from shiftcheck.report.reasons import Reason
from shiftcheck.tracing.containers import leaves_of, with_leaves
from shiftcheck.tracing.torch_internals import uncompiled

NOBODY = -1
"""The number of a row that stands for no item: no process has an empty list to be gathered."""

WITHOUT_NUMBER = -2
"""The number of an item that was given without one."""


class OneDraw(ItemShifts):
    """The same drawn shifts for all items of a size, where they have no numbers."""

    def of(
        self, item: int, unit: tuple[int, ...], pixels: tuple[int, ...] = ()
    ) -> tuple[tuple[float, ...], ...]:
        """Those of the first item."""
        return super().of(0, unit, pixels)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """All items together, each counted once; ``rows``: the tops of each, where they are kept."""

    counts: Mapping[str, int]
    sums: Mapping[str, float]
    tops: Mapping[str, float]
    repeated: int
    rows: torch.Tensor

    @property
    def untelling(self) -> dict[Reason, int]:
        """How many pairs told nothing, by their reasons."""
        return {r: self.counts[r] for r in OF_THE_DATA if self.counts[r]}


class ShiftMetric(Metric):
    """Counts, sums and maxima over items and shifts.

    Items with numbers are kept one by one, so that one that comes again, here or in another
    process, counts once. Those without are added up at once.
    """

    full_state_update: bool = False
    is_differentiable: bool = False

    what: ClassVar[tuple[str, ...]]
    count_names: ClassVar[tuple[str, ...]] = ()
    sum_names: ClassVar[tuple[str, ...]] = ()
    top_names: ClassVar[tuple[str, ...]]
    keeps_rows: ClassVar[bool] = False
    """Whether items without numbers are kept one by one, too."""

    tops: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    question: torch.Tensor
    numbers: list[torch.Tensor]
    item_counts: list[torch.Tensor]
    item_reals: list[torch.Tensor]

    def __init__(self, options: Mapping[str, Any], shifts: ItemShifts, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._options, self._shifts = dict(options), shifts
        self._known = Known()
        self._warned = False
        zeros = torch.zeros(len(self._names), dtype=torch.int64, device="cpu")
        lowest = torch.full((len(self.top_names),), -math.inf, dtype=torch.float64, device="cpu")
        # in a MetricCollection, metrics whose states are alike are taken for one
        self.add_state("question", self._mark(), dist_reduce_fx="max")
        self.add_state("counts", zeros, dist_reduce_fx="sum")
        if self.sum_names:
            nothing = torch.zeros(len(self.sum_names), dtype=torch.float64, device="cpu")
            self.add_state("sums", nothing, dist_reduce_fx="sum")
        self.add_state("tops", lowest, dist_reduce_fx="max")
        for name in ("numbers", "item_counts", "item_reals"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self._begin()

    @property
    def _names(self) -> tuple[str, ...]:
        """The whole numbers of each item."""
        return ("items", "told", *self.count_names, *OF_THE_DATA)

    def _mark(self) -> torch.Tensor:
        """Numbers that tell what is asked from anything else that could be asked."""
        told = f"{type(self).__name__} {sorted(self._options.items())!r} {self._shifts!r}"
        digest = hashlib.blake2b(told.encode(), digest_size=24).digest()
        marks = [int.from_bytes(digest[i : i + 3], "big") for i in range(0, 24, 3)]
        return torch.tensor(marks, dtype=torch.int64, device="cpu")

    def _begin(self) -> None:
        """One row in each list, that of nobody."""
        reals = len(self.sum_names) + len(self.top_names)
        on = self.device
        self.numbers = [torch.full((1,), NOBODY, dtype=torch.int64, device=on)]
        self.item_counts = [torch.zeros(1, len(self._names), dtype=torch.int64, device=on)]
        self.item_reals = [torch.zeros(1, reals, dtype=torch.float64, device=on)]

    def reset(self) -> None:
        """Forget all items, as between two epochs."""
        super().reset()
        self._begin()

    def update(self, model: Model, images: Any, index: Any = None) -> None:
        """Run the model on shifted copies of images, and add what is found.

        Args:
            model: any module or callable, in training or not: it is measured in eval mode, and left
                as it was. One that is wrapped in ``DistributedDataParallel`` is looked at by
                itself.
            images: ``[batch, channels, *spatial]``, or a tuple or dict of the model's arguments.
            index: ``[batch]``, the number of each item in the set of data, at least 0. One that
                comes again counts once. When left out, every item is taken for another one.

        Raises:
            InputError: for arguments that cannot be used, and where the structure of the model
                cannot be followed.
            ModelError: where the model raises.
        """
        count = rows_in(images)
        numbers = None if index is None else _numbers(index, count)
        if count == 0:
            return
        if numbers is None:
            self._warn_of_repeats()
        first = range(count) if numbers is None else [numbers.index(n) for n in numbers]
        once = sorted(set(first))
        model = uncompiled(model)
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        check_model(model)
        given = numbers or list(range(count))
        asked = self._asked(model, numbered=numbers is not None)
        some = images if len(once) == count else _among(images, once)
        answered = answers_of(asked, some, [given[i] for i in once], self._known)
        whole, real = self._rows(answered, [given[i] for i in first])
        self._add(numbers, whole.to(self.device), real.to(self.device))

    def _asked(self, model: Model, *, numbered: bool) -> Asked:
        shifts = self._shifts
        if not numbered:
            shifts = OneDraw(**{k: getattr(shifts, k) for k in ("seed", "given", "draws", "reach")})
        return Asked(
            model=model,
            what=self.what,
            shifts=shifts,
            select=lambda x: x,
            stop=True,
            **self._options,
        )

    def _rows(
        self, answered: Sequence[Answered], items: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the items gave: whole numbers ``[items, names]``, and sums and tops."""
        whole = {n: dict.fromkeys(self._names, 0) | {"items": 1} for n in items}
        sums = {n: dict.fromkeys(self.sum_names, 0.0) for n in items}
        tops = {n: dict.fromkeys(self.top_names, -math.inf) for n in items}
        for one in answered:
            if one.what == self.what[0]:
                for n, _, answer in one.pairs:
                    whole[n][answer if isinstance(answer, Reason) else "told"] += 1
            for n, name, value in self._noted(one):
                if name in self.top_names:
                    tops[n][name] = max(tops[n][name], value)
                elif name in self.sum_names:
                    sums[n][name] += value
                else:
                    whole[n][name] += int(value)
        reals = [[*sums[n].values(), *tops[n].values()] for n in items]
        return (
            torch.tensor([list(whole[n].values()) for n in items], dtype=torch.int64, device="cpu"),
            torch.tensor(reals, dtype=torch.float64, device="cpu"),
        )

    @abstractmethod
    def _noted(self, answered: Answered) -> Iterator[tuple[int, str, float]]:
        """What the answers to a question add to each item's counts, sums and tops, by name."""

    def _add(self, numbers: list[int] | None, whole: torch.Tensor, real: torch.Tensor) -> None:
        if numbers is None and not self.keeps_rows:
            sums, tops = self._apart(real)
            self.counts = self.counts + whole.sum(0)
            if self.sum_names:
                self.sums = self.sums + _summed(sums)
            self.tops = torch.maximum(self.tops, tops.amax(0))
            return
        marks = numbers if numbers is not None else [WITHOUT_NUMBER] * len(whole)
        self.numbers.append(torch.tensor(marks, dtype=torch.int64, device=self.device))
        self.item_counts.append(whole)
        self.item_reals.append(real)

    def _apart(self, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return real[:, : len(self.sum_names)], real[:, len(self.sum_names) :]

    def _pooled(self) -> Pooled:
        """All items, each once; of several processes while the states are synchronised."""
        numbers, whole, real = (
            torch.cat(x) if isinstance(x, list) else x
            for x in (self.numbers, self.item_counts, self.item_reals)
        )
        kept, repeated = _once(numbers.tolist())
        at = torch.tensor(kept, dtype=torch.int64, device=real.device)
        whole, (sums, tops) = whole[at], self._apart(real[at])
        counts = (self.counts + whole.sum(0)).tolist()
        total = (self.sums + _summed(sums)).tolist() if self.sum_names else []
        highest = torch.cat([self.tops[None], tops]).amax(0).tolist()
        return Pooled(
            counts=dict(zip(self._names, counts, strict=True)),
            sums=dict(zip(self.sum_names, total, strict=True)),
            tops=dict(zip(self.top_names, highest, strict=True)),
            repeated=repeated,
            rows=tops,
        )

    @property
    def items(self) -> int:
        """How many items were seen by this process."""
        return self._pooled().counts["items"]

    @property
    def told(self) -> int:
        """How many pairs of an item and a shift gave a figure in this process."""
        return self._pooled().counts["told"]

    @property
    def untelling(self) -> dict[Reason, int]:
        """How many pairs told nothing in this process, by their reasons; no figure has them."""
        return self._pooled().untelling

    @property
    def repeated(self) -> int:
        """How many items came again with a number that was there, and count once."""
        return self._pooled().repeated

    def _value(self, value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def _nothing(self, pooled: Pooled, why: str = "") -> torch.Tensor:
        """NaN, with a warning that says why."""
        reasons = ", ".join(f"{n} {r} ({r.plain})" for r, n in pooled.untelling.items())
        if not reasons and not why:
            why = "there was nothing to compare"
        elif not why:
            why = f"none of the pairs of an item and a shift told anything: {reasons}"
        if not pooled.counts["items"]:
            why = "no item was seen"
        rank_zero_warn(f"{type(self).__name__} is NaN: {why}", UserWarning)
        return self._value(math.nan)

    def _warn_of_repeats(self) -> None:
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if several and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"{type(self).__name__}: without index=, items that a DistributedSampler repeats"
                " to give all processes as many count twice: give the numbers of the items, or"
                " drop_last=True to the sampler",
                UserWarning,
            )

    def __getstate__(self) -> dict[str, Any]:
        """All but what is known of a model, which a copy finds anew."""
        return {**super().__getstate__(), "_known": Known()}

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> torch.nn.Module:
        """Move to another device; the states keep their types, whatever type is asked for."""

        def kept(tensor: torch.Tensor) -> torch.Tensor:
            moved: torch.Tensor = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(kept, exclude_state)


def _summed(sums: torch.Tensor) -> torch.Tensor:
    """The sum of each column, rounded once."""
    columns = [math.fsum(column) for column in sums.T.tolist()]
    return torch.tensor(columns, dtype=torch.float64, device=sums.device)


def _once(numbers: Sequence[int]) -> tuple[list[int], int]:
    """The rows of different items, and how many others there are."""
    first: dict[int, int] = {}
    free = []
    for row, number in enumerate(numbers):
        if number == WITHOUT_NUMBER:
            free.append(row)
        elif number != NOBODY:
            first.setdefault(number, row)
    kept = [*free, *first.values()]
    return kept, sum(n != NOBODY for n in numbers) - len(kept)


def _among(images: Any, rows: Sequence[int]) -> Any:
    """Some of the items of a batch."""
    leaves = [leaf for _, leaf in leaves_of(images)]
    with_rows = [isinstance(leaf, torch.Tensor) and leaf.ndim > 0 for leaf in leaves]
    pairs = zip(leaves, with_rows, strict=True)
    return with_leaves(images, [leaf[list(rows)] if has else leaf for leaf, has in pairs])


def _numbers(index: Any, count: int) -> list[int]:
    """The numbers of items; raises InputError for what are none."""
    listed = index.tolist() if hasattr(index, "tolist") else index
    listed = list(listed) if isinstance(listed, list | tuple | range) else None
    whole = listed is not None and all(type(n) is int and n >= 0 for n in listed)
    if listed is None or not whole:
        raise InputError(
            f"index={index!r}: give the number of each item in the set of data, whole numbers of at"
            " least 0"
        )
    if len(listed) != count:
        raise InputError(f"index: {len(listed)} numbers for {count} images: give one for each")
    return listed
