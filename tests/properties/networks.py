"""Random networks of local operations, drawn from one integer.

What a sample depends on must show in its value. So weights keep away from zero, non-linearities
rarely saturate, no branch under a maximum hides the other, no channel holds mostly padding,
channels are mixed before they are split, so that all have the same past, and a transposed
convolution reaches every place of its output.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import nn

from .pieces import Adaptive, Branches, OnChannels, Pad, Pointwise, Slice, Split

MODES = ("zeros", "circular", "reflect", "replicate")
SIZES = {1: (6, 24), 2: (6, 18), 3: (5, 8)}
LARGEST = {1: 60, 2: 32, 3: 16}
MOST_DOWN = {1: 12, 2: 8, 3: 4}
WEIGHTS = {
    "conv": 9,
    "transposed": 3,
    "max_pool": 2,
    "avg_pool": 3,
    "lp_pool": 1,
    "adaptive": 1,
    "pad": 3,
    "slice": 2,
    "pointwise": 3,
    "batch_norm": 1,
    "layer_norm": 1,
    "linear": 1,
    "branches": 4,
    "split": 2,
    "upsample": 1,
}
KINDS = tuple(kind for kind in WEIGHTS if kind != "upsample")
SAME_SIZE = ("conv", "max_pool", "avg_pool", "pad", "slice", "pointwise", "batch_norm", "linear")


class UnfitError(Exception):
    """The layer that was drawn cannot follow here."""


class Network(nn.Module):
    """A random network, with the input shape it was made for.

    ``sampling`` is, for each axis, a multiple of what every path divides the sampling rate by.
    """

    def __init__(self, seed, shape, body, sampling):
        super().__init__()
        self.seed, self.shape, self.sampling = seed, shape, sampling
        self.body = body

    def extra_repr(self):
        return f"seed={self.seed}, shape={self.shape}"

    def forward(self, x):
        return self.body(x)


@dataclass
class State:
    """A signal on its way, and by what each axis has been divided and multiplied."""

    x: torch.Tensor
    down: tuple[int, ...]
    up: tuple[int, ...]


def build(seed, kinds=KINDS):
    """The network of a seed, in float64 and eval mode; its layers all ran on its shape."""
    rng = random.Random(seed)
    dims = rng.choice((1, 1, 2, 2, 2, 3))
    return Builder(rng, dims).network(seed, kinds)


def example(network, seed=0, batch=1):
    """A random input of the network's shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *network.shape[1:], generator=generator, dtype=torch.float64)


class Builder:
    """Draws layers that fit one after the other."""

    def __init__(self, rng, dims):
        self.rng, self.dims = rng, dims
        self.generator = torch.Generator().manual_seed(rng.randrange(2**31))

    def network(self, seed, kinds):
        channels = self.rng.choice((2, 3, 4))
        sizes = [self.rng.randint(*SIZES[self.dims]) for _ in range(self.dims)]
        ones = (1,) * self.dims
        x = torch.randn(2, channels, *sizes, generator=self.generator, dtype=torch.float64)
        body, end = self.chain(State(x, ones, ones), self.rng.randint(1, 6), kinds)
        return Network(seed, (1, channels, *sizes), body, end.down).eval()

    def chain(self, state, depth, kinds, strides=(1, 1, 2, 2, 3)):
        """A sequence of ``depth`` layers, or of fewer where nothing fits any more."""
        layers = []
        for _ in range(depth):
            for _ in range(12):
                kind = self.rng.choices(kinds, [WEIGHTS[k] for k in kinds])[0]
                try:
                    layer, after = getattr(self, kind)(state, strides)
                except UnfitError:
                    continue
                layers.append(layer)
                state = after
                break
        return nn.Sequential(*layers), state

    def run(self, state, layer, down=None, up=None):
        """The layer with weights, and the state after it; raises UnfitError where it cannot run."""
        draw_weights(layer, self.generator)
        layer = layer.double().eval()
        try:
            with torch.no_grad():
                y = layer(state.x)
        except (RuntimeError, ValueError):
            raise UnfitError from None
        ones = (1,) * self.dims
        down = tuple(a * b for a, b in zip(state.down, down or ones, strict=True))
        up = tuple(a * b for a, b in zip(state.up, up or ones, strict=True))
        self.require_alive(y, down)
        return layer, State(y, down, up)

    def require_alive(self, y, down):
        if 0 in y.shape or not y.isfinite().all():
            raise UnfitError
        if max(y.shape[2:]) > LARGEST[self.dims] or max(down) > MOST_DOWN[self.dims]:
            raise UnfitError
        spread = y.flatten(2).std(2).min() if math.prod(y.shape[2:]) > 1 else y.abs().min()
        if spread < 1e-3 or y.abs().max() > 1e3:
            raise UnfitError
        if (y[0] != y[1]).double().flatten(1).mean(1).min() < 0.3:
            raise UnfitError  # mostly padding along one axis, which hides the others

    def per_axis(self, choices):
        """A number for each axis; in most cases the same."""
        if self.rng.random() < 0.6:
            return (self.rng.choice(choices),) * self.dims
        return tuple(self.rng.choice(choices) for _ in range(self.dims))

    def of_torch(self, name):
        return getattr(nn, f"{name}{self.dims}d")

    def conv(self, state, strides):
        channels = state.x.shape[1]
        kernel, stride = self.per_axis((1, 2, 3, 3, 4, 5)), self.per_axis(strides)
        groups = self.rng.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
        outs = groups * self.rng.choice(
            [n for n in (1, 2, 3, 4) if 2 <= groups * n <= max(4, groups)]
        )
        padding = self.per_axis((0, 0, 1, 1, 2, 3))
        if max(stride) == 1 and self.rng.random() < 0.2:
            padding = "same"
        layer = self.of_torch("Conv")(
            channels,
            outs,
            kernel,
            stride=stride,
            padding=padding,
            dilation=self.per_axis((1, 1, 1, 2)),
            groups=groups,
            bias=self.rng.random() < 0.7,
            padding_mode=self.rng.choice(("zeros", *MODES)),
        )
        return self.run(state, layer, down=stride)

    def transposed(self, state, strides):
        channels = state.x.shape[1]
        stride = self.per_axis((1, 2, 2, 3)) if max(strides) > 1 else (1,) * self.dims
        dilation = self.per_axis((1, 1, 2))
        kernel = tuple(
            self.rng.randint(s, 5) if math.gcd(s, d) == 1 else 0
            for s, d in zip(stride, dilation, strict=True)
        )
        if 0 in kernel:
            raise UnfitError
        limit = [max(s, d) for s, d in zip(stride, dilation, strict=True)]
        layer = self.of_torch("ConvTranspose")(
            channels,
            self.rng.choice((2, 3, 4)),
            kernel,
            stride=stride,
            padding=self.per_axis((0, 0, 1, 2)),
            output_padding=tuple(self.rng.randrange(m) for m in limit),
            dilation=dilation,
            bias=self.rng.random() < 0.7,
        )
        return self.run(state, layer, up=stride)

    def window(self, strides):
        kernel, stride = self.per_axis((1, 2, 2, 3, 4)), self.per_axis(strides)
        return kernel, stride, tuple(self.rng.randint(0, k // 2) for k in kernel)

    def max_pool(self, state, strides):
        kernel, stride, padding = self.window(strides)
        layer = self.of_torch("MaxPool")(
            kernel,
            stride=stride,
            padding=padding,
            dilation=self.per_axis((1, 1, 2)),
            ceil_mode=self.rng.random() < 0.4,
        )
        return self.run(state, layer, down=stride)

    def avg_pool(self, state, strides):
        kernel, stride, padding = self.window(strides)
        options = {} if self.dims == 1 or self.rng.random() < 0.7 else {"divisor_override": 3}
        layer = self.of_torch("AvgPool")(
            kernel,
            stride=stride,
            padding=padding,
            ceil_mode=self.rng.random() < 0.4,
            count_include_pad=self.rng.random() < 0.5,
            **options,
        )
        return self.run(state, layer, down=stride)

    def lp_pool(self, state, strides):
        kernel, stride, _ = self.window(strides)
        size = kernel[0] if self.dims == 1 else kernel
        layer = self.of_torch("LPPool")(2, size, stride, ceil_mode=self.rng.random() < 0.4)
        return self.run(state, layer, down=stride)

    def adaptive(self, state, strides):
        sizes = state.x.shape[2:]
        ratios = tuple(self.rng.choice([r for r in (1, 2, 3, 4) if n % r == 0]) for n in sizes)
        if any(r == n for r, n in zip(ratios, sizes, strict=True)):
            raise UnfitError  # a global mean is no local operation
        return self.run(state, Adaptive(self.rng.choice(("avg", "max")), ratios), down=ratios)

    def upsample(self, state, strides):
        linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[self.dims]
        mode = self.rng.choice(("nearest", linear))
        factor = self.per_axis((1, 2, 3))
        scale = tuple(float(f) for f in factor)
        return self.run(state, nn.Upsample(scale_factor=scale, mode=mode), up=factor)

    def pad(self, state, strides):
        mode = self.rng.choice(("constant", "constant", "circular", "reflect", "replicate"))
        least = -2 if mode == "constant" else 0
        pairs = [self.per_axis(range(least, 4)) for _ in range(2)]
        value = self.rng.choice((0.0, 0.7, -1.3)) if mode == "constant" else 0.0
        return self.run(state, Pad(tuple(zip(*pairs, strict=True)), mode, value))

    def slice(self, state, strides):
        steps = self.per_axis(strides)
        starts, cuts = self.per_axis((0, 0, 1, 2)), self.per_axis((0, 0, 1, 2))
        return self.run(state, Slice(starts, cuts, steps), down=steps)

    def pointwise(self, state, strides):
        names = ("leaky_relu",) * 4 + ("times", "times", "tanh", "sigmoid", "gelu", "relu")
        return self.run(state, Pointwise(self.rng.choice(names)))

    def batch_norm(self, state, strides):
        return self.run(state, self.of_torch("BatchNorm")(state.x.shape[1]))

    def layer_norm(self, state, strides):
        if state.x.shape[1] < 3:
            raise UnfitError  # of two channels only the sign of their difference would be left
        return self.run(state, OnChannels(nn.LayerNorm(state.x.shape[1])))

    def linear(self, state, strides):
        return self.run(state, self.mixing(state.x.shape[1], self.rng.choice((2, 3, 4))))

    def mixing(self, ins, outs):
        return OnChannels(nn.Linear(ins, outs))

    def branches(self, state, strides):
        shape = self.rng.choice(("plain", "plain", "down", "hourglass"))
        if max(strides) == 1:
            shape = "plain"
        first, second = getattr(self, shape)(state)
        combine = self.rng.choice(("add", "add", "mul", "max", "cat"))
        if combine != "cat":
            first = self.with_channels(first, second[1].x.shape[1])
        first, second = self.cropped(first, second)
        if combine == "max":
            self.require_both(first[1].x, second[1].x)
        down = tuple(math.lcm(*pair) for pair in zip(first[1].down, second[1].down, strict=True))
        up = tuple(math.lcm(*pair) for pair in zip(first[1].up, second[1].up, strict=True))
        start = State(state.x, (1,) * self.dims, (1,) * self.dims)
        _, after = self.run(start, Frozen(Branches(combine, first[0], second[0])))
        self.require_alive(after.x, down)
        return Branches(combine, first[0], second[0]), State(after.x, down, up)

    def require_both(self, x, y):
        """Of two branches under a maximum, neither may hide the other."""
        share = (x > y).double().transpose(0, 1).flatten(1).mean(1)
        if share.min() < 0.2 or share.max() > 0.8:
            raise UnfitError

    def plain(self, state):
        return [self.chain(state, n, SAME_SIZE, (1,)) for n in (self.rng.randint(0, 1), 2)]

    def down(self, state):
        ratio = self.per_axis((1, 2, 3))
        return [self.sampled(state, ratio) for _ in range(2)]

    def sampled(self, state, ratio):
        """A layer with a given stride, perhaps one more after it."""
        kernel = tuple(self.rng.randint(1, 4) for _ in range(self.dims))
        kind = self.rng.choice(("Conv", "MaxPool", "AvgPool", "slice"))
        if kind == "slice":
            zeros = (0,) * self.dims
            layer = Slice(self.per_axis((0, 1)), zeros, ratio)
        elif kind == "Conv":
            layer = self.of_torch(kind)(state.x.shape[1], 3, kernel, stride=ratio)
        else:
            layer = self.of_torch(kind)(kernel, stride=ratio)
        head, middle = self.run(state, layer, down=ratio)
        tail, end = self.chain(middle, self.rng.randint(0, 1), SAME_SIZE, (1,))
        return nn.Sequential(head, *tail), end

    def hourglass(self, state):
        """Down and up again beside a branch that stays."""
        inner, low = self.sampled(state, (2,) * self.dims)
        kernel = tuple(self.rng.randint(2, 4) for _ in range(self.dims))
        layer = self.of_torch("ConvTranspose")(low.x.shape[1], 3, kernel, stride=2)
        layer, end = self.run(low, layer, up=(2,) * self.dims)
        # Both factors come back to what they were; the path still needs multiples of two.
        return [
            (nn.Sequential(*inner, layer), end),
            self.chain(state, self.rng.randint(0, 1), SAME_SIZE, (1,)),
        ]

    def with_channels(self, branch, channels):
        chain, state = branch
        if state.x.shape[1] == channels:
            return branch
        layer, state = self.run(state, self.mixing(state.x.shape[1], channels))
        return nn.Sequential(*chain, layer), state

    def cropped(self, *branches):
        """The branches, each cut somewhere to the size of the smaller one."""
        sizes = [state.x.shape[2:] for _, state in branches]
        small = [min(pair) for pair in zip(*sizes, strict=True)]
        out = []
        for (chain, state), own in zip(branches, sizes, strict=True):
            extra = [n - m for n, m in zip(own, small, strict=True)]
            if any(extra):
                starts = tuple(self.rng.randint(0, e) for e in extra)
                cuts = tuple(e - a for e, a in zip(extra, starts, strict=True))
                layer, state = self.run(state, Slice(starts, cuts, (1,) * self.dims))
                chain = nn.Sequential(*chain, layer)
            out.append((chain, state))
        return out

    def split(self, state, strides):
        mixing, mixed = self.linear(state, strides)
        channels = mixed.x.shape[1]
        part = self.rng.randint(1, channels - 1)
        parts = [mixed.x[:, :part], mixed.x[:, part:]]
        chains = [
            self.chain(State(p, mixed.down, mixed.up), self.rng.randint(0, 1), SAME_SIZE, (1,))
            for p in parts
        ]
        first, second = self.cropped(*chains)
        layer = nn.Sequential(mixing, Split(part, first[0], second[0]))
        _, after = self.run(state, Frozen(layer))
        return layer, State(after.x, state.down, state.up)


class Frozen(nn.Module):
    """A module whose weights have been drawn already."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def draw_weights(module, generator):
    """Weights and statistics, none of them near zero; keeps the scale of signals."""
    if isinstance(module, Frozen):
        return
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if weight is not None:
            scale = 1.0 if weight.ndim == 1 else fan_in(layer) ** -0.5
            weight.data = scale * away_from_zero(weight.shape, generator, 0.5, 1.5)
        if getattr(layer, "bias", None) is not None:
            layer.bias.data = away_from_zero(layer.bias.shape, generator, 0.1, 0.6)
        if getattr(layer, "running_var", None) is not None:
            layer.running_mean = away_from_zero(layer.running_mean.shape, generator, 0.1, 0.6)
            layer.running_var = away_from_zero(layer.running_var.shape, generator, 0.5, 2).abs()


def fan_in(layer):
    """How many weighted values make up one output value."""
    taps = math.prod(layer.weight.shape[2:])
    if "Transpose" in type(layer).__name__:
        return layer.weight.shape[0] * max(1, taps // math.prod(layer.stride))
    return layer.weight.shape[1] * taps


def away_from_zero(shape, generator, low, high):
    size = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
    sign = torch.rand(shape, generator=generator, dtype=torch.float64) < 0.5
    return torch.where(sign, -size, size)
