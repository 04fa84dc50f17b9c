"""Operations that torch has as functions only, as modules, and the code that makes a module.

``created`` makes a module and keeps the expression that made it, so that a network can be printed
as it would be written by hand.
"""

import inspect
import math
import textwrap
from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional as F

POINTWISE = {
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "times": lambda x: x * -1.3,
}


def created(kind, *args, **options):
    """``kind(*args, **options)``, and its code; options that are the defaults are left out."""
    defaults = inspect.signature(kind).parameters
    options = {name: v for name, v in options.items() if defaults[name].default != v}
    module = kind(*args, **options)
    name = f"nn.{kind.__name__}" if kind.__module__.startswith("torch.") else kind.__name__
    parts = [*map(code_of, args), *(f"{key}={code_of(v)}" for key, v in options.items())]
    if any(isinstance(value, nn.Module) for value in args):
        inner = textwrap.indent("".join(f"{part},\n" for part in parts), "    ")
        module.code = f"{name}(\n{inner})"
    else:
        module.code = f"{name}({', '.join(parts)})"
    return module


def code_of(value):
    """The expression that makes a module or an argument of one, so far as it is known."""
    return getattr(value, "code", None) or repr(value)


def weighted(seed, layer):
    """The layer in float64, with weights drawn from ``seed``."""
    draw_weights(layer, torch.Generator().manual_seed(seed))
    layer = layer.double().eval()
    layer.code = f"weighted({seed}, {code_of(layer)})"
    return layer


def draw_weights(module, generator):
    """Weights and statistics, none of them near zero; keeps the scale of signals."""
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


class Pointwise(nn.Module):
    """One function for every value."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        return POINTWISE[self.name](x)


class Pad(nn.Module):
    """``F.pad`` with (before, after) for each spatial axis, in the order of the axes."""

    def __init__(self, widths, mode, value=0.0):
        super().__init__()
        self.widths, self.mode, self.value = widths, mode, value

    def forward(self, x):
        flat = [width for pair in reversed(self.widths) for width in pair]
        if self.mode == "constant":
            return F.pad(x, flat, value=self.value)
        return F.pad(x, flat, mode=self.mode)


class Slice(nn.Module):
    """``x[..., start : size - cut : step]`` along each spatial axis."""

    def __init__(self, starts, cuts, steps):
        super().__init__()
        self.starts, self.cuts, self.steps = starts, cuts, steps

    def forward(self, x):
        sizes = x.shape[2:]
        along = zip(self.starts, sizes, self.cuts, self.steps, strict=True)
        return x[..., *(slice(a, n - cut, step) for a, n, cut, step in along)]


class OnChannels(nn.Module):
    """A module for the last dimension, applied to the channels through a permutation."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.movedim(1, -1)).movedim(-1, 1)


class Adaptive(nn.Module):
    """Adaptive pooling whose output size is the input's size divided by ``ratios``."""

    def __init__(self, kind, ratios):
        super().__init__()
        self.kind, self.ratios = kind, ratios

    def forward(self, x):
        sizes = x.shape[2:]
        if any(n % ratio for n, ratio in zip(sizes, self.ratios, strict=True)):
            raise ValueError(f"{self.ratios} does not divide {tuple(sizes)}")
        target = [n // ratio for n, ratio in zip(sizes, self.ratios, strict=True)]
        return getattr(F, f"adaptive_{self.kind}_pool{len(target)}d")(x, target)


class Resize(nn.Module):
    """``F.interpolate`` by the factor (up, down) of each axis, as a size or as a scale factor.

    With aligned corners the distances between samples, not the sizes, are in that ratio.
    """

    def __init__(self, mode, factors, by="size", align_corners=None, antialias=False):
        super().__init__()
        self.factors, self.by = factors, by
        self.options = {"mode": mode, "align_corners": align_corners, "antialias": antialias}

    def forward(self, x):
        corner = int(bool(self.options["align_corners"]))
        along = zip(x.shape[2:], self.factors, strict=True)
        size = [Fraction((n - corner) * up, down) + corner for n, (up, down) in along]
        whole = all(m.denominator == 1 for m in size)
        if not whole and (self.by == "size" or self.options["mode"] == "area"):
            raise ValueError(f"{self.factors} of {tuple(x.shape[2:])} is no whole size")
        if corner and 1 in x.shape[2:]:
            raise ValueError("a single sample has no distance to the next")
        if self.options["mode"] == "area" and 1 in size:
            raise ValueError("a global mean is no local operation")
        if self.by == "size":
            return F.interpolate(x, size=[int(m) for m in size], **self.options)
        scale = tuple(up / down for up, down in self.factors)
        return F.interpolate(x, scale_factor=scale, **self.options)


class Branches(nn.Module):
    """Branches from the same tensor, combined by ``add``, ``mul``, ``max`` or ``cat``."""

    def __init__(self, combine, *branches):
        super().__init__()
        self.combine = combine
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        first, second = (branch(x) for branch in self.branches)
        if self.combine == "cat":
            return torch.cat((first, second), dim=1)
        together = {"add": torch.add, "mul": torch.mul, "max": torch.maximum}
        return together[self.combine](first, second)


class Split(nn.Module):
    """The channels in two parts, a branch for each, side by side again."""

    def __init__(self, part, *branches):
        super().__init__()
        self.part = part
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        if 2 * self.part == x.shape[1]:
            parts = x.chunk(2, dim=1)
        else:
            parts = x.split((self.part, x.shape[1] - self.part), dim=1)
        outs = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        return torch.cat(outs, dim=1)
