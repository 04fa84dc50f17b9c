"""Outputs that have no place: whether the same statistics give the same at another size.

The structure follows what has places. A sum over all of them that is divided by their number by
hand is a number of which nothing is known but its value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from shiftcheck.checks.tiles.borders import Values, draws
from shiftcheck.checks.tiles.structure import Sizes, Structures, resized
from shiftcheck.measuring.call import home_of
from shiftcheck.measuring.plan import Model
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.report.tiles import Blocking, Reach
from shiftcheck.tracing.modules import flat_outputs, modules_of
from shiftcheck.tracing.pooling_statistics import Pooled
from shiftcheck.tracing.reductions import Reduction, Statistic
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.uncompiled import not_compiled

DETAIL = "it has no place, and is another one at another size of the image"


def sized_ones(
    structures: Structures, names: Sequence[str], small: Sizes, large: Sizes
) -> list[Blocking] | None:
    """Those of the outputs of these names that depend on the size; None where no run tells."""
    model, home = structures.model, home_of(structures.model)
    here, there = (
        resized(structures.inputs, sizes, (False,) * len(sizes)) for sizes in (small, large)
    )
    both = zip(
        draws(structures.inputs, here, home), draws(structures.inputs, there, home), strict=True
    )
    for one, other in both:
        taken = _Taken(structures.pooled)
        try:
            first = _outputs(model, here, one, {}, taken)
            second = _outputs(model, there, other, taken.statistics, None)
            return [_blocking(name) for name in names if not _same(first[name], second[name])]
        except Exception:  # a model need not take all values: then these tell nothing
            continue
    return None


@dataclass(frozen=True)
class _Taken:
    """The statistics of these numbers, as a pass comes to them."""

    numbers: Collection[int]
    statistics: dict[int, Statistic] = field(default_factory=dict)

    def __call__(self, number: int, reduction: Reduction) -> None:
        if number in self.numbers:
            self.statistics[number] = reduction.of(reduction.x)


def _outputs(
    model: Model,
    inputs: Inputs,
    values: Values,
    known: Mapping[int, Statistic],
    look: Callable[[int, Reduction], None] | None,
) -> dict[str, Any]:
    """The outputs by name, with statistics that are known; ``look``: at the others."""
    args, kwargs = inputs.call([v.clone() if isinstance(v, torch.Tensor) else v for v in values])
    with (
        preserved(modules_of(model), (), training=False, model=model) as originals,
        torch.inference_mode(),
        not_compiled(),
        Pooled(known, {}, originals.before_write, look),
    ):
        returned = model(*args, **kwargs)
    return {f"output{path}": leaf for path, leaf in flat_outputs(returned)}


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, equal_nan=True)


def _blocking(name: str) -> Blocking:
    return Blocking(layer=name, op="output", reach=Reach.LOCAL, detail=DETAIL)
