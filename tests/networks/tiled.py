"""Networks that people run in tiles."""

import torch
from torch import nn
from torch.nn import functional as F


def block(before, after, norm, dims=2):
    """Two convolutions with a normalisation of some kind."""
    conv = getattr(nn, f"Conv{dims}d")
    norms = {
        "batch": lambda: getattr(nn, f"BatchNorm{dims}d")(after),
        "group": lambda: nn.GroupNorm(2, after),
        "instance": lambda: getattr(nn, f"InstanceNorm{dims}d")(after, affine=True),
        "": nn.Identity,
    }
    return nn.Sequential(
        conv(before, after, 3, padding=1),
        norms[norm](),
        nn.ReLU(),
        conv(after, after, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Two levels down and up again, with skips."""

    def __init__(self, norm="", dims=2, width=4):
        super().__init__()
        up = getattr(nn, f"ConvTranspose{dims}d")
        self.pool = getattr(nn, f"MaxPool{dims}d")(2)
        self.first, self.second = block(1, width, norm, dims), block(width, width, norm, dims)
        self.middle = block(width, width, norm, dims)
        self.up_one, self.up_two = up(width, width, 2, stride=2), up(width, width, 2, stride=2)
        self.third, self.fourth = (block(2 * width, width, norm, dims) for _ in range(2))
        self.head = getattr(nn, f"Conv{dims}d")(width, 2, 1)

    def forward(self, x):
        one = self.first(x)
        two = self.second(self.pool(one))
        y = self.third(torch.cat([self.up_one(self.middle(self.pool(two))), two], 1))
        return self.head(self.fourth(torch.cat([self.up_two(y), one], 1)))


class PaddedTo(nn.Module):
    """A network on an image that is padded to a multiple, and cut to its size again."""

    def __init__(self, inner, multiple, centred=False):
        super().__init__()
        self.inner, self.multiple, self.centred = inner, multiple, centred

    def forward(self, x):
        missing = [-n % self.multiple for n in x.shape[2:]]
        before = [m // 2 if self.centred else 0 for m in missing]
        pairs = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        y = self.inner(F.pad(x, [side for pair in reversed(pairs) for side in pair]))
        for axis, (b, n) in enumerate(zip(before, x.shape[2:], strict=True)):
            y = y.narrow(2 + axis, b, n)
        return y


class SqueezeExcite(nn.Module):
    """A gate by the mean of the whole, and a score of the whole besides."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.gate, self.score = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x):
        y = self.first(x)
        y = self.second(y * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(y, 1))))
        return {"map": y, "score": self.score(y.mean((2, 3)))}


class Attention(nn.Module):
    """Every place looks at every other one."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        y = self.first(x)
        tokens = y.flatten(2).transpose(1, 2)
        tokens = tokens + self.inner(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(tokens.transpose(1, 2).reshape(y.shape))


class Embedded(nn.Module):
    """A position embedding between two convolutions."""

    def __init__(self, height, width):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 2, height, width))

    def forward(self, x):
        y = self.first(x)
        return self.last(y + self.position[..., : y.shape[2], : y.shape[3]])


class Pyramid(nn.Module):
    """Outputs of strides 2, 4 and 1/2, the last with its channels last."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 3, 5, stride=2, padding=2)
        self.second = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.larger = nn.Upsample(scale_factor=8)

    def forward(self, x):
        one = self.first(x)
        two = self.second(one)
        return one, [two, self.larger(two).permute(0, 2, 3, 1)]
