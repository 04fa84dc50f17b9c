"""Look-ups of a signal in a constant table."""

from __future__ import annotations

import numpy as np

from shiftcheck.lattice.axis import GeometryError
from shiftcheck.lattice.factors import plain
from shiftcheck.lattice.layout import Layout, with_dims
from shiftcheck.lattice.views import regroup
from shiftcheck.rules.common import need_layout, no_layout, pointwise, reduce_over
from shiftcheck.rules.constants import stochastic
from shiftcheck.rules.operands import Constant
from shiftcheck.rules.registry import register_rule


def looked_up(table: Constant, dim: int, index: Layout) -> Layout:
    """A constant table, indexed along ``dim`` by each sample of a signal: 1 -> 1."""
    before = [plain(n) for n in table.shape[:dim]]
    after = [plain(n) for n in table.shape[dim + 1 :]]
    out = with_dims(index, [*before, *index.dims, *after])
    return stochastic(out) if table.random else out


@register_rule("aten::embedding", law="1 -> 1")
def embedding(weight: object, index: object, *_: object) -> Layout:
    """The row of a constant table for each sample of an index."""
    layout = need_layout(index, "the index of an embedding")
    no_layout(weight, "the table of an embedding")
    assert isinstance(weight, Constant)
    return looked_up(weight, 0, layout)


BAGS = "1 -> 1; over an axis in the bag: global"


@register_rule(
    "aten::_embedding_bag_forward_only",
    "aten::_embedding_bag",
    "aten::embedding_bag",
    law=BAGS,
    source="torch.nn.functional.embedding_bag",
)
def embedding_bag(
    weight: object,
    index: object,
    offsets: object,
    scale_by_frequency: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: object = None,
    include_last: bool = False,
    *_: object,
) -> tuple[object, ...]:
    """A symmetric function of the rows of a table for each bag of a flat list of indices."""
    no_layout(weight, "the table of an embedding")
    no_layout(offsets, "where the bags begin")
    assert isinstance(weight, Constant)
    assert isinstance(offsets, Constant)
    given = [o for o in (index, weights) if isinstance(o, Layout | Constant)]
    flat = pointwise(*given)
    size, starts = flat.shape[0], offsets.values()
    known = np.asarray([-1] if starts is None else starts[:-1] if include_last else starts)
    length = size // max(len(known), 1)
    if known.tolist() != list(range(0, size, max(length, 1))) or length * len(known) != size:
        raise GeometryError("bags of different sizes")
    bags = regroup(flat, (len(known), length))
    out = reduce_over(bags, [1], False, "a bag")
    return with_dims(out, [*out.dims, plain(weight.shape[1])]), ...
