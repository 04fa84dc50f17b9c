"""Layers that split, join, relate and transform axes, of maps ``[batch, channels, *spatial]``.

Each takes a generator for its weights and the shape that it was made for, and raises ValueError
where it does not fit. ``ratios``: what each axis's stride is multiplied by, 0 where no stride is
left.
"""

import math
from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional as F

from .pieces import away_from_zero


class Layer(nn.Module):
    """A layer for maps of one shape; ``option`` names are kept as attributes."""

    def __init__(self, generator, shape, **options):
        super().__init__()
        self.generator, self.channels, self.sizes = generator, shape[1], tuple(shape[2:])
        self.dims = len(self.sizes)
        self.ratios = (Fraction(1),) * self.dims
        for name, value in options.items():
            setattr(self, name, value)
        self.prepare()

    def prepare(self):
        """Draw weights; raise ValueError where the layer does not fit."""

    def matrix(self, rows, columns):
        """Weights that keep the scale of signals, none of them near zero."""
        return columns**-0.5 * away_from_zero((rows, columns), self.generator, 0.5, 1.5)

    def numbers(self, *shape):
        return away_from_zero(shape, self.generator, 0.5, 1.5)

    def need(self, fits):
        if not fits:
            raise ValueError

    def one_axis(self, ratio):
        self.ratios = tuple(ratio if a == self.axis else 1 for a in range(self.dims))


def partition(x, widths):
    """Windows: ``[batch, *windows, *samples of a window, channels]``."""
    n, c, *sizes = x.shape
    grid = [part for size, w in zip(sizes, widths, strict=True) for part in (size // w, w)]
    outer = range(2, 2 + len(grid), 2)
    return x.reshape(n, c, *grid).permute(0, *outer, *(d + 1 for d in outer), 1)


def merge(t):
    """The inverse of ``partition``."""
    dims = (t.ndim - 2) // 2
    order = [d for a in range(dims) for d in (1 + a, 1 + dims + a)]
    whole = t.permute(0, -1 % t.ndim, *order)
    sizes = [whole.shape[d] * whole.shape[d + 1] for d in range(2, whole.ndim, 2)]
    return whole.reshape(*whole.shape[:2], *sizes)


def by_products(q, k, v, bias=0.0):
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v


def fused(q, k, v, bias=None):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def by_einsum(q, k, v, bias=0.0):
    scores = torch.einsum("...ic,...jc->...ij", q, k) + bias
    return torch.einsum("...ij,...jc->...ic", scores.softmax(-1), v)


ATTENTIONS = {"products": by_products, "fused": fused, "einsum": by_einsum}


class Attention(Layer):
    """Attention among tokens ``[..., tokens, channels]``, with heads or without."""

    def prepare(self):
        self.need(self.channels % self.heads == 0)
        c = self.channels
        self.q, self.k, self.v, self.out = (self.matrix(c, c) for _ in range(4))

    def split(self, t):
        if self.heads == 1:
            return t
        return t.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def forward(self, t, source=None, bias=None):
        source = t if source is None else source
        q, k, v = self.split(t @ self.q), self.split(source @ self.k), self.split(source @ self.v)
        extra = {} if bias is None else {"bias": bias}
        out = ATTENTIONS[self.how](q, k, v, **extra)
        if self.heads > 1:
            out = out.transpose(-3, -2).flatten(-2)
        return out @ self.out


class Windows(Layer):
    """Something within each window; with a roll before and after it where ``shift`` is not 0."""

    def prepare(self):
        self.widths = tuple(self.sizes[a] if w == "all" else w for a, w in enumerate(self.width))
        self.need(all(n % w == 0 for n, w in zip(self.sizes, self.widths, strict=True)))
        self.counts = [n // w for n, w in zip(self.sizes, self.widths, strict=True)]
        self.samples = math.prod(self.widths)
        self.need(self.samples > 1)
        self.steps = [min(self.shift, w - 1) for w in self.widths]
        if self.inner in ATTENTIONS:
            shape, options = (1, self.channels), {"how": self.inner, "heads": self.heads}
            self.attention = Attention(self.generator, shape, **options)
            self.bias = self.numbers(self.samples, self.samples) if self.biased else None
            self.mask = self.seam() if self.masked and any(self.steps) else None
        if self.inner == "mlp":
            self.mixing = self.matrix(self.samples, self.samples)
        if self.inner == "pattern":
            self.values = self.numbers(2)[torch.arange(self.samples) % 2]
        if self.inner == "norm":
            self.scale = self.numbers(self.samples, self.channels)

    def seam(self):
        """-100 between samples of a window that the roll brought together: ``[windows, w, w]``."""
        region = torch.zeros(1, 1, *self.sizes, dtype=torch.float64)
        for a, (n, w, s) in enumerate(zip(self.sizes, self.widths, self.steps, strict=True)):
            place = torch.arange(n)
            part = (place >= n - w).double() + (place >= n - s).double() * (s > 0)
            region = region * 3 + part.reshape([-1 if b == a else 1 for b in range(self.dims)])
        ids = partition(region, self.widths).reshape(-1, self.samples)
        return -100.0 * (ids[:, :, None] != ids[:, None, :])

    def scores(self):
        if self.mask is None:
            return self.bias
        return self.mask if self.bias is None else self.mask + self.bias

    def forward(self, x):
        dims = list(range(2, x.ndim))
        if any(self.steps):
            x = x.roll([-s for s in self.steps], dims)
        t = partition(x, self.widths)
        shape = t.shape
        windows = math.prod(self.counts)
        t = t.reshape(x.shape[0], windows, self.samples, self.channels)
        if self.folded:
            t = t.reshape(-1, self.samples, self.channels)
        t = self.within(t).reshape(shape)
        y = merge(t)
        return y.roll(self.steps, dims) if any(self.steps) else y

    def within(self, t):
        if self.inner in ATTENTIONS:
            return self.attended(t)
        if self.inner == "mlp":
            return (t.transpose(-2, -1) @ self.mixing).relu().transpose(-2, -1) + t
        if self.inner == "norm":
            return F.layer_norm(t, t.shape[-2:], self.scale)
        if self.inner == "pattern":
            return t * self.values[:, None]
        if self.inner == "centred":
            return t - t.mean(-2, keepdim=True)
        if self.inner == "softmax":
            return t.softmax(-2) * t
        return t * 1.3

    def attended(self, t):
        bias = self.scores()
        if bias is None or bias.ndim == 2:
            return self.attention(t, bias=bias)
        bias = bias[:, None] if self.heads > 1 else bias
        if not self.folded:
            return self.attention(t, bias=bias)
        copies = t.shape[0] // bias.shape[0]
        return self.attention(t, bias=bias.repeat(copies, *[1] * (bias.ndim - 1)))


class Global(Layer):
    """Attention over all samples, or along one axis; keys may be those of a coarser map.

    Keys may be in reverse, with the values or without them, and have a bias that repeats.
    """

    def prepare(self):
        shape, options = (1, self.channels), {"how": self.how, "heads": self.heads}
        self.attention = Attention(self.generator, shape, **options)
        self.token = self.numbers(1, 1, self.channels)
        self.values = self.numbers(max(self.every, 1))
        self.need(all(n % self.coarse == 0 for n in self.sizes) or self.coarse == 1)
        self.need(not (self.axial and self.with_token))

    def tokens(self, x):
        if not self.axial:
            return x.flatten(2).transpose(1, 2)
        order = [d for d in range(2, x.ndim) if d != 2 + self.axis]
        return x.permute(0, *order, 2 + self.axis, 1)

    def forward(self, x):
        t, source = self.tokens(x), None
        if self.coarse > 1:
            pools = {1: F.avg_pool1d, 2: F.avg_pool2d}
            step = [self.coarse] * self.dims
            if self.axial:
                step = [self.coarse if a == self.axis else 1 for a in range(self.dims)]
            source = self.tokens(pools[self.dims](x, step, step))
        if self.mirrored:
            source = (t if source is None else source).flip(-2)
        keys = (t if source is None else source).shape[-2] + (source is None and self.with_token)
        bias = self.values[torch.arange(keys) % self.every] if self.every else None
        if self.with_token:
            t = torch.cat([self.token.expand(x.shape[0], -1, -1), t], 1)
        if bias is not None and self.how == "fused":
            bias = bias.expand(t.shape[-2], keys)
        out = self.attention(t, source, bias=bias)
        if self.with_token:
            out = out[:, 1:]
        if not self.axial:
            return x + out.transpose(1, 2).reshape(x.shape)
        order = [d for d in range(2, x.ndim) if d != 2 + self.axis]
        back = [0] * x.ndim
        for i, d in enumerate([0, *order, 2 + self.axis, 1]):
            back[d] = i
        return x + out.permute(back)


class ByToken(Layer):
    """What a class token gathers scales every sample."""

    def prepare(self):
        shape, options = (1, self.channels), {"how": self.how, "heads": 1}
        self.attention = Attention(self.generator, shape, **options)
        self.token = self.numbers(1, 1, self.channels)

    def forward(self, x):
        t = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], 1)
        out = self.attention(t) if self.late else self.attention(t[:, :1], t)
        return x * (1.5 + torch.tanh(out[:, 0])).reshape(*x.shape[:2], *[1] * self.dims)


class Mixing(Layer):
    """A linear map over all places, over the phases of windows, or over the windows."""

    def prepare(self):
        self.n = self.sizes[self.axis]
        self.need(self.n % self.width == 0)
        sizes = {"whole": self.n, "phases": self.width, "windows": self.n // self.width}
        size = sizes[self.over]
        self.need(size > 1)
        self.weight = self.matrix(size, size)

    def forward(self, x):
        t = x.movedim(2 + self.axis, -1)
        if self.over == "whole":
            return (t @ self.weight + t).movedim(-1, 2 + self.axis)
        t = t.unflatten(-1, (-1, self.width))
        if self.over == "phases":
            y = F.linear(t, self.weight)
        else:
            y = F.linear(t.transpose(-2, -1), self.weight).transpose(-2, -1)
        return y.flatten(-2).movedim(-1, 2 + self.axis)


class Gate(Layer):
    """Squeeze and excite: channels scaled by a function of their means."""

    def prepare(self):
        self.weight = self.matrix(self.channels, self.channels)

    def forward(self, x):
        dims = list(range(2, x.ndim))
        pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d}[self.dims]
        mean = pool(x, 1).flatten(1) if self.pooled else x.mean(dims)
        gate = torch.sigmoid(mean @ self.weight)
        return x * gate.reshape(*gate.shape, *[1] * self.dims)


class Norm(Layer):
    def prepare(self):
        self.scale = self.numbers(self.channels)
        self.need(math.prod(self.sizes) > 2 and self.channels > 2)

    def forward(self, x):
        if self.kind == "group":
            return F.group_norm(x, 1, self.scale, self.scale)
        if self.kind == "instance":
            return F.instance_norm(x, None, None, self.scale, self.scale)
        return F.layer_norm(x.movedim(1, -1), [self.channels], self.scale).movedim(-1, 1)


class Conv(Layer):
    def prepare(self):
        layer = getattr(nn, f"Conv{self.dims}d")
        steps = [self.step if self.axis in (a, None) else 1 for a in range(self.dims)]
        self.layer = layer(
            self.channels,
            self.channels,
            self.kernel,
            stride=steps,
            padding=self.kernel // 2 if self.padded else 0,
            padding_mode="circular" if self.padded == "circular" else "zeros",
            dtype=torch.float64,
        )
        rows = self.matrix(self.channels, self.channels * self.kernel**self.dims)
        self.layer.weight.data = rows.reshape(self.layer.weight.shape)
        self.layer.bias.data = self.numbers(self.channels)
        self.ratios = tuple(map(Fraction, steps))

    def forward(self, x):
        y = F.leaky_relu(self.layer(x), 0.3)
        same = y.shape == x.shape
        return x + y if self.residual and same else y


class Sampling(Layer):
    """Pools, upsampling, repetitions."""

    def prepare(self):
        down = self.kind in ("max", "avg", "slice")
        factor = Fraction(self.factor) if down else Fraction(1, self.factor)
        self.one_axis(factor)

    def forward(self, x):
        step = [self.factor if a == self.axis else 1 for a in range(self.dims)]
        if self.kind in ("max", "avg"):
            return getattr(F, f"{self.kind}_pool{self.dims}d")(x, step, step)
        if self.kind == "slice":
            return x[(..., *(slice(None, None, s) for s in step))]
        if self.kind == "repeat":
            return x.repeat_interleave(self.factor, 2 + self.axis)
        return F.interpolate(x, scale_factor=tuple(map(float, step)), mode="nearest")


class Places(Layer):
    """Samples taken at fixed places along one axis, in several ways."""

    def prepare(self):
        n, k = self.sizes[self.axis], min(self.by, self.sizes[self.axis] - 1)
        self.k = k
        self.places = None
        if self.kind == "every second":
            self.places = torch.arange(k % 2, n, 2)
            self.one_axis(Fraction(2))
        elif self.kind == "swapped":
            self.need(n % 2 == 0)
            self.places = torch.arange(n).reshape(-1, 2).flip(1).flatten()
        elif self.kind == "shuffled":
            self.places = torch.randperm(n, generator=self.generator)
            self.one_axis(Fraction(0))
        elif self.kind == "moved":
            self.places = (torch.arange(n) + k) % n
        elif self.kind == "flip":
            self.one_axis(Fraction(-1))
        elif self.kind == "windows flipped":
            self.need(n % 2 == 0)

    def forward(self, x):
        d = 2 + self.axis
        n = x.shape[d]
        if self.places is not None:
            if self.indexed:
                return x.movedim(d, 0)[self.places].movedim(0, d)
            return x.index_select(d, self.places)
        if self.kind == "flip":
            return x.flip(d)
        if self.kind == "windows flipped":
            t = x.movedim(d, -1).unflatten(-1, (-1, 2)).flip(-1)
            return t.flatten(-2).movedim(-1, d)
        if self.kind == "roll":
            return x.roll(self.k, d)
        if self.kind == "roll by hand":
            return torch.cat([x.narrow(d, n - self.k, self.k), x.narrow(d, 0, n - self.k)], d)
        if self.kind == "zeros by hand":
            return torch.cat([torch.zeros_like(x.narrow(d, 0, self.k)), x], d)
        if self.kind == "edge by hand":
            return torch.cat([x.narrow(d, 0, 1).expand_as(x.narrow(d, 0, self.k)), x], d)
        head, tail = x.narrow(d, n - self.k, self.k), x.narrow(d, 0, self.k)
        return torch.cat([head, x, tail], d)  # wrapped by hand


class Sum(Layer):
    """A running mean."""

    def forward(self, x):
        return x + 0.1 * x.cumsum(2 + self.axis)


class Shuffled(Layer):
    """Pixels to channels by views, something on the channels, and back."""

    def prepare(self):
        n = self.sizes[self.axis]
        self.need(n % self.factor == 0)
        self.weight = self.matrix(self.channels * self.factor, self.channels * self.factor)

    def forward(self, x):
        d, r = 2 + self.axis, self.factor
        t = x.movedim(d, -1)
        t = t.unflatten(-1, (-1, r)).movedim(-1, 2)
        shape = t.shape
        t = t.flatten(1, 2)
        if self.mixed == "all":
            t = torch.einsum("nc...,cd->nd...", t, self.weight)
        elif self.mixed == "each":
            t = t * self.weight[0].reshape(-1, *[1] * (t.ndim - 2))
        else:
            t = t.relu() - 0.3 * t
        return t.reshape(shape).movedim(2, -1).flatten(-2).movedim(-1, d)


class Interleaved(Layer):
    """Every second sample goes a way of its own; both are put together again."""

    def prepare(self):
        self.need(self.sizes[self.axis] % 2 == 0)
        self.weights = self.matrix(self.channels, self.channels), self.matrix(self.channels, 1)

    def forward(self, x):
        t = x.movedim(2 + self.axis, -1)
        even, odd = t[..., ::2], t[..., 1::2]
        even = torch.einsum("nc...,cd->nd...", even, self.weights[0]) if self.apart else even
        y = torch.stack([even, odd], -1).flatten(-2)
        return y.movedim(-1, 2 + self.axis)


class Spectral(Layer):
    """Gains for each frequency, or for the lowest ones alone."""

    def prepare(self):
        self.along = list(range(self.dims)) if self.every else [self.axis]
        self.last = self.along[-1]
        n = self.sizes[self.last]
        self.need(n > 3)
        modes = n // 2 + 1 if self.kind != "low" else n // 3
        self.modes = modes
        shape = (self.channels, self.channels, modes) if self.kind != "gains" else (1, 1, modes)
        size = 1 if self.kind == "gains" else self.channels**-0.5
        self.gain = size * torch.complex(self.numbers(*shape), self.numbers(*shape))

    def forward(self, x):
        d = 2 + self.last
        whole = [2 + a for a in self.along]
        z = torch.fft.rfftn(x, dim=whole) if self.every else torch.fft.rfft(x, dim=d)
        z = z.movedim(d, -1)
        if self.kind == "gains":
            z = z * self.gain[0, 0]
        else:
            low = z[..., : self.modes]
            low = torch.einsum("nc...k,cdk->nd...k", low, self.gain)
            z = F.pad(low, (0, z.shape[-1] - self.modes))
        z = z.movedim(-1, d)
        sizes = [x.shape[w] for w in whole]
        y = torch.fft.irfftn(z, s=sizes, dim=whole) if self.every else None
        return y if self.every else torch.fft.irfft(z, n=x.shape[d], dim=d)


class Position(Layer):
    """A constant for each place, added or multiplied: uniform, repeating, or varying."""

    def prepare(self):
        n = self.sizes[self.axis]
        values = self.numbers(self.channels, n)
        if self.kind == "uniform":
            values = values[:, :1].expand(-1, n)
        elif self.kind == "repeating":
            values = values[:, torch.arange(n) % self.every]
        shape = [1, self.channels] + [n if a == self.axis else 1 for a in range(self.dims)]
        self.values = nn.Parameter(values.reshape(shape).clone(), requires_grad=False)

    def forward(self, x):
        return x * self.values if self.times else x + self.values


class Transposed(Layer):
    """Rows and columns swapped, a layer, and swapped back."""

    def prepare(self):
        self.need(self.dims == 2)

    def forward(self, x):
        return self.inside(x.transpose(2, 3)).transpose(2, 3)


class Residual(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return x + 0.7 * self.inside(x)


class Hourglass(nn.Module):
    """A coarser branch, brought back and put beside the finer one."""

    def __init__(self, down, inside, up, project):
        super().__init__()
        self.down, self.inside, self.up, self.project = down, inside, up, project

    def forward(self, x):
        coarse = self.up(self.inside(self.down(x)))
        return torch.einsum("nc...,cd->nd...", torch.cat([x, coarse], 1), self.project)


class Beside(nn.Module):
    """Two branches of the same tensor, added, multiplied, or side by side."""

    def __init__(self, how, first, second, project):
        super().__init__()
        self.how, self.first, self.second, self.project = how, first, second, project

    def forward(self, x):
        y, z = self.first(x), self.second(x)
        if self.how == "cat":
            return torch.einsum("nc...,cd->nd...", torch.cat([y, z], 1), self.project)
        return y + z if self.how == "add" else y * (1.5 + torch.tanh(z))
