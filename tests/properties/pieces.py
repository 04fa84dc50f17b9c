"""Operations that torch has as functions only, as modules whose repr tells what they do."""

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


class Pointwise(nn.Module):
    """One function for every value."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def extra_repr(self):
        return self.name

    def forward(self, x):
        return POINTWISE[self.name](x)


class Pad(nn.Module):
    """``F.pad`` with (before, after) for each spatial axis, in the order of the axes."""

    def __init__(self, widths, mode, value=0.0):
        super().__init__()
        self.widths, self.mode, self.value = widths, mode, value

    def extra_repr(self):
        return f"{self.widths}, mode={self.mode!r}, value={self.value}"

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

    def extra_repr(self):
        return f"starts={self.starts}, cuts={self.cuts}, steps={self.steps}"

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

    def extra_repr(self):
        return f"{self.kind!r}, ratios={self.ratios}"

    def forward(self, x):
        sizes = x.shape[2:]
        if any(n % ratio for n, ratio in zip(sizes, self.ratios, strict=True)):
            raise ValueError(f"{self.ratios} does not divide {tuple(sizes)}")
        target = [n // ratio for n, ratio in zip(sizes, self.ratios, strict=True)]
        return getattr(F, f"adaptive_{self.kind}_pool{len(target)}d")(x, target)


class Branches(nn.Module):
    """Branches from the same tensor, combined by ``add``, ``mul``, ``max`` or ``cat``."""

    def __init__(self, combine, *branches):
        super().__init__()
        self.combine = combine
        self.branches = nn.ModuleList(branches)

    def extra_repr(self):
        return repr(self.combine)

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

    def extra_repr(self):
        return f"part={self.part}"

    def forward(self, x):
        if 2 * self.part == x.shape[1]:
            parts = x.chunk(2, dim=1)
        else:
            parts = x.split((self.part, x.shape[1] - self.part), dim=1)
        outs = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        return torch.cat(outs, dim=1)
