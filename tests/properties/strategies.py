"""Hypothesis strategies for networks of local operations.

A plan is drawn, as data that knows nothing of shapes, and a network built from it; pieces that do
not fit where they stand are left out. So networks shrink towards fewer pieces, kernel 1, stride 1
and the smallest sizes.
"""

from hypothesis import assume
from hypothesis import strategies as st

from .networks import Builder

MODES = ("zeros", "zeros", "circular", "reflect", "replicate")
FACTORS = ((1, 1), (2, 1), (3, 1), (1, 2), (3, 2), (2, 3), (1, 3), (4, 3), (3, 4), (5, 2))
RESIZING = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}
SIZES = {1: (6, 32), 2: (6, 20), 3: (5, 8)}
PIECES = {1: 9, 2: 8, 3: 6}
STRIDES = (1, 1, 2, 2, 3)
SAME_SIZE = {
    "pointwise": 2,
    "pad": 2,
    "slice": 2,
    "conv": 6,
    "max_pool": 2,
    "avg_pool": 2,
    "batch_norm": 1,
    "linear": 1,
}
WEIGHTS = {
    **SAME_SIZE,
    "pad": 5,
    "conv": 12,
    "transposed": 4,
    "avg_pool": 3,
    "lp_pool": 1,
    "adaptive": 1,
    "layer_norm": 1,
    "branches": 5,
    "split": 2,
    "resize": 4,
    "pixel_shuffle": 2,
    "pixel_unshuffle": 1,
}


@st.composite
def networks(draw, dims, kinds=tuple(WEIGHTS)):
    """A network on ``dims`` axes with at least one piece of ``kinds``, in float64 and eval mode."""
    low, high = SIZES[dims]
    sizes = tuple(draw(st.integers(low, high)) for _ in range(dims))
    channels = draw(st.sampled_from((2, 3, 4)))
    weights = {kind: WEIGHTS[kind] for kind in kinds}
    plan = draw(st.lists(pieces(dims, weights), min_size=1, max_size=PIECES[dims]))
    seed = draw(st.integers(0, 999))
    network = Builder(seed, (1, channels, *sizes)).network(plan)
    assume(network is not None)
    return network


@st.composite
def pieces(draw, dims, weights, strides=STRIDES):
    """The name of a piece, and its options."""
    kind = draw(st.sampled_from([kind for kind, n in weights.items() for _ in range(n)]))
    return kind, draw(OPTIONS[kind](dims, strides))


@st.composite
def per_axis(draw, dims, values):
    """A value for each axis; the same for all where it can be."""
    first = draw(st.sampled_from(values))
    if dims == 1 or not draw(st.booleans()):
        return (first,) * dims
    return (first, *(draw(st.sampled_from(values)) for _ in range(dims - 1)))


def options(**strategies):
    return st.fixed_dictionaries(strategies)


def conv(dims, strides):
    return options(
        kernel=per_axis(dims, (1, 2, 3, 3, 4, 5)),
        stride=per_axis(dims, strides),
        padding=per_axis(dims, (0, 1, 1, 2, 3, "same")),
        dilation=per_axis(dims, (1, 1, 1, 2)),
        groups=st.sampled_from((1, 1, 2, "all")),
        outs=st.integers(2, 4),
        bias=st.booleans(),
        mode=st.sampled_from(MODES),
    )


def transposed(dims, strides):
    return options(
        stride=per_axis(dims, (1, 2, 2, 3)),
        longer=per_axis(dims, (0, 1, 2, 3)),
        dilation=per_axis(dims, (1, 1, 1, 2)),
        padding=per_axis(dims, (0, 1, 1, 2)),
        extra=per_axis(dims, (0, 1, 2)),
        outs=st.integers(2, 4),
        bias=st.booleans(),
    )


def window(dims, strides, **others):
    return options(
        kernel=per_axis(dims, (1, 2, 2, 3, 4)),
        stride=per_axis(dims, strides),
        ceil_mode=st.booleans(),
        **others,
    )


def max_pool(dims, strides):
    dilation = per_axis(dims, (1, 1, 2))
    return window(dims, strides, padding=per_axis(dims, (0, 1, 1, 2)), dilation=dilation)


def avg_pool(dims, strides):
    padding, divisor = per_axis(dims, (0, 0, 1, 2)), st.sampled_from((None, None, 3))
    return window(
        dims, strides, padding=padding, count_include_pad=st.booleans(), divisor_override=divisor
    )


def adaptive(dims, strides):
    return options(ratios=per_axis(dims, (1, 2, 3, 4)), kind=st.sampled_from(("avg", "max")))


@st.composite
def pad(draw, dims, strides):
    mode = draw(st.sampled_from(("constant", "constant", "circular", "reflect", "replicate")))
    values = (0, 1, 2, 3, -1, -2) if mode == "constant" else (0, 1, 2, 3)
    before, after = draw(per_axis(dims, values)), draw(per_axis(dims, values))
    value = draw(st.sampled_from((0.0, 0.7, -1.3))) if mode == "constant" else 0.0
    return {"widths": tuple(zip(before, after, strict=True)), "mode": mode, "value": value}


def slices(dims, strides):
    ends = per_axis(dims, (0, 0, 1, 2))
    return options(starts=ends, cuts=ends, steps=per_axis(dims, strides))


def pointwise(dims, strides):
    rare = ("relu", "tanh", "sigmoid", "gelu")
    return options(name=st.sampled_from(("times",) * 2 + ("leaky_relu",) * 4 + rare))


def resize(dims, strides):
    modes = ("nearest", "nearest-exact", "area", *RESIZING[dims], *RESIZING[dims])
    return options(
        mode=st.sampled_from(modes),
        factors=per_axis(dims, FACTORS),
        by=st.sampled_from(("size", "scale_factor")),
        align_corners=st.booleans(),
        antialias=st.booleans(),
    )


def linear(dims, strides):
    return options(outs=st.integers(2, 4))


@st.composite
def branches(draw, dims, strides):
    """Two branches that keep the size, go down by the same ratio, or one that comes back up."""
    shape = draw(st.sampled_from(("plain", "plain", "down", "hourglass")))
    ratio = draw(per_axis(dims, {"plain": (1,), "down": (1, 2, 3), "hourglass": (2,)}[shape]))
    heads = {"plain": 0, "down": 2, "hourglass": 1}[shape]
    return {
        "shape": shape,
        "combine": draw(st.sampled_from(("add", "add", "mul", "max", "cat"))),
        "heads": [(*draw(head(dims)), ratio) for _ in range(heads)],
        "tails": [draw(short(dims, most)) for most in (1, 2)],
        "kernel": draw(per_axis(dims, (2, 3, 4))),
        "starts": draw(per_axis(dims, (0, 1, 2))),
    }


def head(dims):
    kinds = st.sampled_from(("slice", "Conv", "MaxPool", "AvgPool"))
    return st.tuples(kinds, per_axis(dims, (1, 2, 3, 4)))


def short(dims, most):
    return st.lists(pieces(dims, SAME_SIZE, (1,)), max_size=most)


def split(dims, strides):
    return options(
        outs=st.integers(2, 4),
        part=st.integers(1, 3),
        tails=st.tuples(short(dims, 1), short(dims, 1)),
        starts=per_axis(dims, (0, 1, 2)),
    )


def nothing(dims, strides):
    return st.just({})


OPTIONS = {
    "conv": conv,
    "transposed": transposed,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "lp_pool": window,
    "adaptive": adaptive,
    "pad": pad,
    "slice": slices,
    "pointwise": pointwise,
    "batch_norm": nothing,
    "layer_norm": nothing,
    "linear": linear,
    "branches": branches,
    "split": split,
    "resize": resize,
    "pixel_shuffle": linear,
    "pixel_unshuffle": linear,
}
