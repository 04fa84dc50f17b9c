"""Networks of layers that split, join and relate axes, from plans that hypothesis draws."""

from fractions import Fraction

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import nn

from . import mixtures
from .mixtures import ATTENTIONS, Beside, Hourglass, Layer, Residual

LARGEST = {1: 72, 2: 24}
SIZES = {
    1: (12, 16, 24, 8, 18, 15),
    2: (8, 12, 6, 9),
}


class Mixed(nn.Module):
    """A network; its repr is the call that builds it. ``stride``: what its layers should make."""

    def __init__(self, shape, seed, plan, layers, stride):
        super().__init__()
        self.shape, self.seed, self.plan, self.stride = shape, seed, plan, stride
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)

    def __repr__(self):
        return f"built({self.shape!r}, {self.seed!r}, {self.plan!r})"


def built(shape, seed, plan):
    """The network of those pieces of a plan that fit; None where none does."""
    builder = Builder(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *shape[1:], generator=generator, dtype=torch.float64)
    one = (Fraction(1),) * (len(shape) - 2)
    with torch.no_grad():
        layers, _, stride, kept = builder.chain(x, one, plan)
    return Mixed(shape, seed, kept, layers, stride).eval() if layers else None


class Builder:
    """Adds pieces one after the other; each has weights of its own, whatever stands before it."""

    def __init__(self, seed):
        self.seed, self.count = seed, 0

    def generator(self):
        self.count += 1
        return torch.Generator().manual_seed(1000 * self.seed + self.count)

    def chain(self, x, stride, plan):
        layers, kept = [], []
        for kind, options in plan:
            before = self.count
            try:
                layer, y, ratios, used = self.piece(x, kind, options)
                self.require_alive(y)
            except (RuntimeError, ValueError):
                self.count = before
                continue
            layers.append(layer)
            kept.append((kind, used))
            x, stride = y, tuple(s * r for s, r in zip(stride, ratios, strict=True))
        return layers, x, stride, kept

    def piece(self, x, kind, options):
        """A layer, its output, the ratios of strides, and the options that were used."""
        one = (Fraction(1),) * (x.ndim - 2)
        if kind in ("Residual", "Hourglass", "Beside", "Transposed"):
            layer, used = getattr(self, kind.lower())(x, one, **options)
            return layer, layer(x), one, used
        layer = getattr(mixtures, kind)(self.generator(), x.shape, **options)
        y = layer(x)
        return layer, y, layer.ratios, options

    def require_alive(self, y):
        if 0 in y.shape or not y.isfinite().all() or max(y.shape[2:]) > LARGEST[y.ndim - 2]:
            raise ValueError
        if y.abs().max() > 1e3 or min(y.shape[2:]) < 2:
            raise ValueError
        for d in range(2, y.ndim):
            if y.std(d).amax(list(range(2, y.ndim - 1))).min() < 1e-3:
                raise ValueError  # a channel that is the same all along an axis

    def same(self, x, stride, plan):
        """Layers that keep shape and stride."""
        layers, y, after, kept = self.chain(x, stride, plan)
        if y.shape != x.shape or after != stride:
            raise ValueError
        return nn.Sequential(*layers), kept

    def residual(self, x, stride, inside):
        layers, kept = self.same(x, stride, inside)
        return Residual(layers), {"inside": kept}

    def transposed(self, x, stride, inside):
        if x.ndim != 4:
            raise ValueError
        layers, kept = self.same(x.transpose(2, 3), stride, inside)
        layer = mixtures.Transposed(None, x.shape)
        layer.inside = layers
        return layer, {"inside": kept}

    def project(self, channels):
        maker = Layer(self.generator(), (1, channels))
        return maker.matrix(2 * channels, channels)

    def hourglass(self, x, stride, pool, back, factor, inside):
        if any(n % factor for n in x.shape[2:]):
            raise ValueError
        downs, ups, y = [], [], x
        for axis in range(x.ndim - 2):
            down = {"kind": pool, "factor": factor, "axis": axis}
            downs.append(mixtures.Sampling(None, y.shape, **down))
            y = downs[-1](y)
        layers, kept = self.same(y, stride, inside)
        for axis in range(x.ndim - 2):
            up = {"kind": back, "factor": factor, "axis": axis}
            ups.append(mixtures.Sampling(None, y.shape, **up))
        sides = nn.Sequential(*downs), layers, nn.Sequential(*ups)
        used = {"pool": pool, "back": back, "factor": factor, "inside": kept}
        return Hourglass(*sides, self.project(x.shape[1])), used

    def beside(self, x, stride, how, first, second):
        (one, kept), (other, held) = (self.same(x, stride, plan) for plan in (first, second))
        layer = Beside(how, one, other, self.project(x.shape[1]))
        return layer, {"how": how, "first": kept, "second": held}


def options(**strategies):
    return st.fixed_dictionaries(strategies)


def one_of(*values):
    return st.sampled_from(values)


def leaves(dims):
    """How to draw the options of each piece, and how often to draw it."""
    axis, how = st.integers(0, dims - 1), one_of(*ATTENTIONS)
    width = st.tuples(*[one_of(2, 4, 3, 2, 4, 3, 1, "all")] * dims)
    inner = one_of(
        *ATTENTIONS, "products", "fused", "mlp", "norm", "centred", "softmax", "pattern", "none"
    )
    windows = options(
        width=width,
        inner=inner,
        heads=one_of(1, 2),
        folded=st.booleans(),
        biased=st.booleans(),
        shift=one_of(0, 0, 1, 2),
        masked=st.booleans(),
    )
    global_ = options(
        how=how,
        heads=one_of(1, 2),
        axial=st.booleans(),
        axis=axis,
        coarse=one_of(1, 1, 2, 3),
        with_token=st.booleans(),
        mirrored=one_of(False, False, False, True),
        every=one_of(0, 0, 2, 3),
    )
    kinds = one_of(
        "roll", "roll by hand", "flip", "every second", "swapped", "moved", "zeros by hand",
        "edge by hand", "wrapped by hand", "windows flipped", "shuffled",
    )  # fmt: skip
    padded = one_of("", "zeros", "circular", "circular")
    conv = options(
        kernel=one_of(1, 2, 3, 3),
        step=one_of(1, 1, 1, 2),
        axis=one_of(None, *range(dims)),
        padded=padded,
        residual=st.booleans(),
    )
    sampling = one_of("max", "avg", "slice", "repeat", "nearest")
    position = one_of("uniform", "repeating", "repeating", "varying")
    return {
        "Conv": (6, conv),
        "Windows": (8, windows),
        "Sampling": (4, options(kind=sampling, factor=one_of(2, 3), axis=axis)),
        "Places": (5, options(kind=kinds, by=st.integers(1, 4), axis=axis, indexed=st.booleans())),
        "Shuffled": (3, options(factor=one_of(2, 3), mixed=one_of("all", "each", ""), axis=axis)),
        "Interleaved": (1, options(apart=one_of(True, True, True, False), axis=axis)),
        "Mixing": (
            2,
            options(over=one_of(*["phases"] * 6, "whole"), width=one_of(2, 3, 4), axis=axis),
        ),
        "Norm": (2, options(kind=one_of("channels", "instance", "group"))),
        "Global": (3, global_),
        "ByToken": (1, options(how=how, late=st.booleans())),
        "Gate": (1, options(pooled=st.booleans())),
        "Spectral": (
            2,
            options(kind=one_of("gains", "mixed", "low"), every=st.booleans(), axis=axis),
        ),
        "Sum": (1, options(axis=axis)),
        "Position": (
            2,
            options(kind=position, every=one_of(2, 3, 4), times=st.booleans(), axis=axis),
        ),
    }


@st.composite
def pieces(draw, dims, depth):
    table = leaves(dims)
    names = [name for name, (weight, _) in table.items() for _ in range(weight)]
    groups = ["Residual"] * 3 + ["Hourglass"] * 3 + ["Beside"] * 2 + ["Transposed"] * (dims - 1)
    kind = draw(st.sampled_from(names + (groups if depth else [])))
    if kind in table:
        return kind, draw(table[kind][1])
    inside = st.lists(pieces(dims, depth - 1), max_size=2)
    found = {}
    if kind == "Hourglass":
        found["pool"] = draw(one_of("avg", "max", "slice"))
        found["back"] = draw(one_of("nearest", "repeat"))
        found["factor"] = draw(one_of(2, 3))
    if kind == "Beside":
        found["how"] = draw(one_of("add", "times", "cat"))
        return kind, {**found, "first": draw(inside), "second": draw(inside)}
    return kind, {**found, "inside": draw(inside)}


@st.composite
def mixed_networks(draw, dims):
    """A network on ``dims`` axes, in float64."""
    sizes = [draw(st.sampled_from(SIZES[dims])) for _ in range(dims)]
    if dims == 2 and draw(st.booleans()):
        sizes[1] = sizes[0]
    channels = draw(one_of(4, 3))
    plan = draw(st.lists(pieces(dims, 2), min_size=1, max_size=5))
    network = built((1, channels, *sizes), draw(st.integers(0, 999)), plan)
    assume(network is not None)
    return network
