"""Networks of local operations, built from plans: lists of a name and options each.

What a sample depends on must show in its value. So weights keep away from zero, non-linearities
rarely saturate, no branch under a maximum hides the other, no channel holds mostly padding,
channels are mixed before they are split, so that all have the same past, and a transposed
convolution reaches every place of its output. A piece that fails this, or cannot run, is left out.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from .pieces import (
    Adaptive,
    Branches,
    OnChannels,
    Pad,
    Pointwise,
    Resize,
    Slice,
    Split,
    created,
    weighted,
)

LARGEST = {1: 60, 2: 32, 3: 16}
MOST_DOWN = {1: 12, 2: 8, 3: 4}


class UnfitError(Exception):
    """The piece cannot follow here."""


class Network(nn.Module):
    """A network, with the input shape it was made for; its repr is the code that makes it.

    ``sampling`` is, for each axis, a multiple of what every path divides the sampling rate by.
    """

    def __init__(self, shape, sampling, body):
        super().__init__()
        self.shape, self.sampling, self.body = shape, sampling, body

    def forward(self, x):
        return self.body(x)

    def __repr__(self):
        return created(Network, self.shape, self.sampling, self.body).code


@dataclass
class State:
    """A signal on its way, and by what each axis has been divided and multiplied."""

    x: torch.Tensor
    down: tuple[int, ...]
    up: tuple[int, ...]


def example(network, seed=0, batch=1):
    """A random input of the network's shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *network.shape[1:], generator=generator, dtype=torch.float64)


def brief(values):
    """One number where it is the same for all axes, as one would write it."""
    return values[0] if isinstance(values, tuple) and len(set(values)) == 1 else values


class Builder:
    """Adds the pieces of a plan one after the other; each has a method of its name."""

    def __init__(self, seed, shape):
        self.seed, self.shape, self.dims = seed, shape, len(shape) - 2
        self.ones = (1,) * self.dims
        self.layers = 0

    def network(self, plan):
        """The network of a plan, None where no piece of it fits."""
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.randn(2, *self.shape[1:], generator=generator, dtype=torch.float64)
        layers, end = self.chain(State(x, self.ones, self.ones), plan)
        return Network(self.shape, end.down, self.sequence(layers)).eval() if layers else None

    def chain(self, state, plan):
        """The layers of those pieces that fit, and the state after them."""
        layers = []
        for kind, options in plan:
            layers_before = self.layers
            try:
                layer, state = getattr(self, kind)(state, **options)
            except UnfitError:
                self.layers = layers_before
                continue
            layers.append(layer)
        return layers, state

    def sequence(self, layers):
        return layers[0] if len(layers) == 1 else created(nn.Sequential, *layers)

    def weighted(self, layer):
        """The layer with weights of its own."""
        self.layers += 1
        return weighted(100 * self.seed + self.layers, layer)

    def of_torch(self, name, *args, **options):
        """A layer of torch for this number of axes."""
        options = {key: brief(value) for key, value in options.items()}
        return created(getattr(nn, f"{name}{self.dims}d"), *map(brief, args), **options)

    def run(self, state, layer, down=None, up=None):
        """The layer, and the state after it; raises UnfitError where it cannot run."""
        try:
            with torch.no_grad():
                y = layer(state.x)
        except (RuntimeError, ValueError):
            raise UnfitError from None
        down = tuple(a * b for a, b in zip(state.down, down or self.ones, strict=True))
        up = tuple(a * b for a, b in zip(state.up, up or self.ones, strict=True))
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

    def conv(self, state, kernel, stride, padding, dilation, groups, outs, bias, mode):
        channels = state.x.shape[1]
        groups = channels if groups == "all" else groups
        padding = "same" if "same" in padding else padding
        if channels % groups or (padding == "same" and max(stride) > 1):
            raise UnfitError
        layer = self.of_torch(
            "Conv",
            channels,
            -(-outs // groups) * groups,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            padding_mode=mode,
        )
        return self.run(state, self.weighted(layer), down=stride)

    def transposed(self, state, stride, longer, dilation, padding, extra, outs, bias):
        pairs = list(zip(stride, dilation, strict=True))
        if any(math.gcd(*pair) > 1 for pair in pairs):
            raise UnfitError
        layer = self.of_torch(
            "ConvTranspose",
            state.x.shape[1],
            outs,
            tuple(s + more for s, more in zip(stride, longer, strict=True)),
            stride=stride,
            padding=padding,
            output_padding=tuple(min(e, max(p) - 1) for e, p in zip(extra, pairs, strict=True)),
            dilation=dilation,
            bias=bias,
        )
        return self.run(state, self.weighted(layer), up=stride)

    def pool(self, state, name, kernel, stride, padding, **options):
        padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
        layer = self.of_torch(name, kernel, stride=stride, padding=padding, **options)
        return self.run(state, layer, down=stride)

    def max_pool(self, state, **options):
        return self.pool(state, "MaxPool", **options)

    def avg_pool(self, state, divisor_override, **options):
        if self.dims > 1:
            options["divisor_override"] = divisor_override
        return self.pool(state, "AvgPool", **options)

    def lp_pool(self, state, kernel, stride, ceil_mode):
        layer = self.of_torch("LPPool", 2, kernel, stride=stride, ceil_mode=ceil_mode)
        return self.run(state, layer, down=stride)

    def adaptive(self, state, ratios, kind):
        if any(r == n for r, n in zip(ratios, state.x.shape[2:], strict=True)):
            raise UnfitError  # a global mean is no local operation
        return self.run(state, created(Adaptive, kind, ratios), down=ratios)

    def resize(self, state, mode, factors, by, align_corners, antialias):
        options = {}
        if "linear" in mode or "cubic" in mode:
            options["align_corners"] = align_corners
        if mode in ("bilinear", "bicubic"):
            options["antialias"] = antialias
        if options.get("align_corners"):
            by = "size"  # by a factor, the ratio depends on the size
        up, down = zip(*factors, strict=True)
        return self.run(state, created(Resize, mode, factors, by, **options), down=down, up=up)

    def pixel_shuffle(self, state, outs):
        if self.dims != 2:
            raise UnfitError
        mixing, mixed = self.linear(state, 4 * (outs - 1))
        shuffle, after = self.run(mixed, created(nn.PixelShuffle, 2), up=(2, 2))
        return self.sequence([mixing, shuffle]), after

    def pixel_unshuffle(self, state, outs):
        if self.dims != 2:
            raise UnfitError
        shuffle, after = self.run(state, created(nn.PixelUnshuffle, 2), down=(2, 2))
        mixing, mixed = self.linear(after, outs)
        return self.sequence([shuffle, mixing]), mixed

    def pad(self, state, widths, mode, value):
        return self.run(state, created(Pad, widths, mode, value=value))

    def slice(self, state, starts, cuts, steps):
        return self.run(state, created(Slice, starts, cuts, steps), down=steps)

    def pointwise(self, state, name):
        return self.run(state, created(Pointwise, name))

    def batch_norm(self, state):
        return self.run(state, self.weighted(self.of_torch("BatchNorm", state.x.shape[1])))

    def layer_norm(self, state):
        channels = state.x.shape[1]
        if channels < 3:
            raise UnfitError  # of two channels only the sign of their difference would be left
        norm = self.weighted(created(nn.LayerNorm, channels))
        return self.run(state, created(OnChannels, norm))

    def linear(self, state, outs):
        mixing = self.weighted(created(nn.Linear, state.x.shape[1], outs))
        return self.run(state, created(OnChannels, mixing))

    def branches(self, state, shape, combine, heads, tails, kernel, starts):
        starting = [self.head(state, *options) for options in heads]
        if shape == "hourglass":
            starting = [self.up_again(*starting[0], kernel)]
        starting += [([], state)] * (2 - len(starting))
        first, second = (
            self.extended(*begun, tail) for begun, tail in zip(starting, tails, strict=True)
        )
        if combine != "cat":
            first = self.with_channels(first, second[1].x.shape[1])
        first, second = self.cropped(starts, first, second)
        if combine == "max":
            self.require_both(first[1].x, second[1].x)
        layer = created(
            Branches, combine, *(created(nn.Sequential, *b[0]) for b in (first, second))
        )
        _, after = self.run(State(state.x, self.ones, self.ones), layer)
        # Every path counts: one that goes down and up again still needs multiples of its ratio.
        down = tuple(math.lcm(*pair) for pair in zip(first[1].down, second[1].down, strict=True))
        up = tuple(math.lcm(*pair) for pair in zip(first[1].up, second[1].up, strict=True))
        self.require_alive(after.x, down)
        return layer, State(after.x, down, up)

    def extended(self, layers, state, plan):
        more, end = self.chain(state, plan)
        return [*layers, *more], end

    def require_both(self, x, y):
        """Of two branches under a maximum, neither may hide the other."""
        share = (x > y).double().transpose(0, 1).flatten(1).mean(1)
        if share.min() < 0.2 or share.max() > 0.8:
            raise UnfitError

    def head(self, state, kind, kernel, ratio):
        """A layer that goes down by a ratio."""
        zeros = (0,) * self.dims
        if kind == "slice":
            layer = created(Slice, tuple(k % 2 for k in kernel), zeros, ratio)
        elif kind == "Conv":
            layer = self.of_torch(kind, state.x.shape[1], 3, kernel, stride=ratio)
            layer = self.weighted(layer)
        else:
            layer = self.of_torch(kind, kernel, stride=ratio)
        layer, after = self.run(state, layer, down=ratio)
        return [layer], after

    def up_again(self, layers, state, kernel):
        layer = self.of_torch("ConvTranspose", state.x.shape[1], 3, kernel, stride=2)
        layer, end = self.run(state, self.weighted(layer), up=(2,) * self.dims)
        return [*layers, layer], end

    def with_channels(self, branch, channels):
        layers, state = branch
        if state.x.shape[1] == channels:
            return branch
        layer, state = self.linear(state, channels)
        return [*layers, layer], state

    def cropped(self, starts, *branches):
        """The branches, each cut to the size of the smaller one."""
        sizes = [state.x.shape[2:] for _, state in branches]
        small = [min(pair) for pair in zip(*sizes, strict=True)]
        out = []
        for (layers, state), own in zip(branches, sizes, strict=True):
            extra = [n - m for n, m in zip(own, small, strict=True)]
            if any(extra):
                begin = tuple(map(min, starts, extra))
                cuts = tuple(e - a for e, a in zip(extra, begin, strict=True))
                layer, state = self.run(state, created(Slice, begin, cuts, self.ones))
                layers = [*layers, layer]
            out.append((layers, state))
        return out

    def split(self, state, outs, part, tails, starts):
        mixing, mixed = self.linear(state, outs)
        part = min(part, outs - 1)
        parts = [mixed.x[:, :part], mixed.x[:, part:]]
        chains = [
            self.chain(State(x, mixed.down, mixed.up), tail)
            for x, tail in zip(parts, tails, strict=True)
        ]
        first, second = self.cropped(starts, *chains)
        halves = [created(nn.Sequential, *layers) for layers, _ in (first, second)]
        layer, after = self.run(mixed, created(Split, part, *halves))
        return self.sequence([mixing, layer]), State(after.x, state.down, state.up)
