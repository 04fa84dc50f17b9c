"""Random programs on signals ``[1, 2, length]``: layers, and the ways in which pieces are handled.

A program is a list of steps, each a name and whole numbers, so that its repr is what makes it. What
is true of it is found without any rule: of a long signal, the middle of the output either moves
with the input or it does not.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

LENGTH = 120
MARGIN = 36
"""Samples at both ends of an output that may see an edge, whatever the steps."""

Step = tuple[str, int, int]
Function = Callable[[torch.Tensor], torch.Tensor]


@functools.cache
def weight(number: int, taps: int) -> torch.Tensor:
    """A kernel ``[2, 2, taps]``, none of it near zero, of the scale of a signal.

    It exists before a check begins, as the weights of a network do.
    """
    generator = torch.Generator().manual_seed(number)
    drawn = torch.rand(2, 2, taps, generator=generator, dtype=torch.float64) + 0.5
    sign = 2 * (torch.rand(2, 2, taps, generator=generator) > 0.5) - 1
    return drawn * sign / (2 * taps) ** 0.5


def convolved(x: torch.Tensor, number: int, reach: int) -> torch.Tensor:
    return F.conv1d(x, weight(number, 2 * reach + 1), padding=reach)


def padded_convolution(x, a, b):
    mode = ("constant", "reflect", "replicate", "circular")[a % 4]
    reach = 1 + b % 3
    return F.conv1d(F.pad(x, (reach, reach), mode), weight(a, 2 * reach + 1))


def by_hand(x, a, b):
    """A padding by hand of one of several kinds, then a convolution without padding."""
    n = 1 + b % 3
    sides = [
        lambda: (torch.zeros_like(x[..., :n]), torch.zeros_like(x[..., :n])),
        lambda: (x[..., 1 : n + 1].flip(-1), x[..., -n - 1 : -1].flip(-1)),
        lambda: (x[..., :1].expand(-1, -1, n), x[..., -1:].expand(-1, -1, n)),
        lambda: (x[..., -n:], x[..., :n]),
    ][a % 4]()
    return F.conv1d(torch.cat([sides[0], x, sides[1]], -1), weight(a, 2 * n + 1))


def on_a_canvas(x, a, b):
    y = x.new_zeros(*x.shape[:-1], x.shape[-1] + 2 + b % 3)
    y[..., 2 : x.shape[-1] + 2] = x
    return convolved(y, a, 1)


def cropped_and_padded(x, a, b):
    left, right = a % 4, b % 4
    mode = ("constant", "reflect", "replicate")[(a + b) % 3]
    return F.pad(x[..., left : x.shape[-1] - right], (right, left), mode)


def cropping_circular_pad(x, a, b):
    n, m = 1 + a % 4, 1 + b % 4
    return F.pad(x, (n, -m) if (a + b) % 2 else (-n, m), "circular")


def channels_moved(x, a, b):
    """One channel to the left and one to the right, written piece by piece."""
    n, m = 1 + a % 3, 1 + b % 3
    y = torch.zeros_like(x) if a % 2 else x.clone()
    y[:, :1, :-n] = x[:, :1, n:]
    y[:, 1:, m:] = x[:, 1:, :-m]
    return y


def neighbour_added(x, a, b):
    n = 1 + a % 3
    y = x.clone()
    if b % 2:
        y[..., n:] += 0.5 * x[..., :-n]
    else:
        y[..., :-n] -= 0.5 * x[..., n:]
    return y


def two_written_by_turns(x, a, b):
    y = torch.empty(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
    y[..., 0::2] = convolved(x, a, 1)
    y[..., 1::2] = convolved(x, b, 1)
    return F.avg_pool1d(y, 2)


def negatives_masked(x, a, b):
    y = convolved(x, a, 1)
    y[y < -1.5] = -1.5
    return y + x


def divided_by_counts(x, a, b):
    """A mean over as many samples as there are, as in a partial convolution."""
    n = 1 + a % 3
    box = torch.ones(1, 1, 2 * n + 1, dtype=x.dtype)
    ones = torch.ones(1, 1, x.shape[-1], dtype=x.dtype)
    return F.conv1d(x, box.expand(2, 1, -1), padding=n, groups=2) / F.conv1d(ones, box, padding=n)


def band_attention(x, a, b):
    """Attention within a band; of one side where ``b`` is odd."""
    t = x.transpose(1, 2)
    place = torch.arange(t.shape[1])
    apart = place[:, None] - place[None]
    seen = (apart >= (0 if b % 2 else -2 - a % 3)) & (apart <= 2 + b % 3)
    mask = torch.zeros(seen.shape, dtype=x.dtype).masked_fill(~seen, -torch.inf)
    w = weight(a, 3).permute(2, 0, 1)
    if a % 2:
        out = F.scaled_dot_product_attention(t @ w[0], t @ w[1], t @ w[2], attn_mask=mask)
    else:
        out = ((t @ w[0]) @ (t @ w[1]).transpose(1, 2) + mask).softmax(-1) @ (t @ w[2])
    return out.transpose(1, 2) + x


def overlapping_tiles(x, a, b):
    """Tiles with an overlap that is enough, put together: the same as the whole."""
    width, reach, n = 16 + a % 9, 1 + b % 3, x.shape[-1]
    parts = []
    for start in range(0, n, width):
        low, high = max(0, start - reach), min(n, start + width + reach)
        tile = convolved(x[..., low:high], a, reach)
        parts.append(tile[..., start - low : min(start + width, n) - low])
    return torch.cat(parts, -1)


def phases_among_channels(x, a, b):
    """An axis split into the channels and merged again, by itself or with what it became."""
    x = x[..., : x.shape[-1] // 2 * 2]
    c = x.unflatten(-1, (-1, 2)).movedim(-1, 2)
    return (c * 2 if a % 2 else c.abs() + c).movedim(2, -1).flatten(-2)


def one_by_one(x, a, b):
    return torch.einsum("oi,bin->bon", weight(a, 1)[..., 0], x) + 0.5 * x.tanh()


GOOD: dict[str, Callable[..., torch.Tensor]] = {
    f.__name__: f
    for f in (
        padded_convolution,
        by_hand,
        on_a_canvas,
        cropped_and_padded,
        cropping_circular_pad,
        channels_moved,
        neighbour_added,
        two_written_by_turns,
        negatives_masked,
        divided_by_counts,
        band_attention,
        overlapping_tiles,
        phases_among_channels,
        one_by_one,
    )
}


def _at(x, a):
    """A place well inside the middle that is looked at."""
    first = MARGIN + 12
    return first + a % (x.shape[-1] - 2 * first)


def two_laws(x, a, b):
    k = _at(x, a)
    return torch.cat([convolved(x[..., :k], a, 1), convolved(x[..., k:], b + 1000, 1)], -1)


def tiles(x, a, b):
    return torch.cat([convolved(t, b, 2) for t in x.split(20 + a % 20, -1)], -1)


def tiles_on_a_canvas(x, a, b):
    y = torch.zeros_like(x)
    width = 20 + a % 20
    for start in range(0, x.shape[-1], width):
        stop = min(start + width, x.shape[-1])
        y[..., start:stop] = convolved(x[..., start:stop], b, 2)
    return y


def a_part_negated(x, a, b):
    k = _at(x, a)
    y = x.clone()
    y[..., k : k + 1 + b % 5] *= -1
    return y


def places_exchanged(x, a, b):
    k = _at(x, a)
    order = torch.arange(x.shape[-1])
    order[k], order[k + 1 + b % 3] = k + 1 + b % 3, k
    return x[..., order]


def a_part_left_out(x, a, b):
    k = _at(x, a)
    return torch.cat([x[..., :k], x[..., k + 1 + b % 4 :]], -1)


def a_constant_put_between(x, a, b):
    k = _at(x, a)
    return torch.cat([x[..., :k], torch.ones_like(x[..., : 1 + b % 3]), x[..., k:]], -1)


def a_ramp(x, a, b):
    return x + torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)


def a_bump(x, a, b):
    bump = torch.zeros(x.shape[-1], dtype=x.dtype)
    bump[_at(x, a)] = 1 + b % 3
    return x + bump


def a_pool_undone(x, a, b):
    x = x[..., : x.shape[-1] // 2 * 2]
    return F.max_pool1d(x, 2).repeat_interleave(2, -1)


def a_part_flipped(x, a, b):
    k = _at(x, a)
    return torch.cat([x[..., :k], x[..., k : k + 8].flip(-1), x[..., k + 8 :]], -1)


@functools.cache
def random_mask(number, size):
    generator = torch.Generator().manual_seed(number)
    drawn = torch.rand(size, size, generator=generator) < 0.2
    return drawn | torch.eye(size, dtype=torch.bool)


def a_random_mask(x, a, b):
    """Attention whose mask is none that repeats."""
    t = x.transpose(1, 2)
    seen = random_mask(a, t.shape[1])
    return F.scaled_dot_product_attention(t, t, t, attn_mask=seen).transpose(1, 2)


BAD: dict[str, Callable[..., torch.Tensor]] = {
    f.__name__: f
    for f in (
        two_laws,
        tiles,
        tiles_on_a_canvas,
        a_part_negated,
        places_exchanged,
        a_part_left_out,
        a_constant_put_between,
        a_ramp,
        a_bump,
        a_pool_undone,
        a_part_flipped,
    )
}

GLOBAL = {"a_random_mask": a_random_mask}
"""Of what sees the whole axis, nobody can tell on the plane; it must not pass."""


@dataclass(frozen=True)
class Program:
    """Steps, one after another."""

    steps: tuple[Step, ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for name, a, b in self.steps:
            x = (GOOD | BAD | GLOBAL)[name](x, a, b)
        return x


def drawn(seed: int) -> Program:
    """A program of one to four steps; in half of them one step is a break or global."""
    draw = random.Random(seed)
    steps = [_step(draw, GOOD) for _ in range(draw.randint(1, 3))]
    if seed % 2:
        steps.insert(draw.randint(0, len(steps)), _step(draw, BAD | GLOBAL))
    return Program(tuple(steps))


def _step(draw: random.Random, kinds: dict[str, Callable[..., torch.Tensor]]) -> Step:
    return draw.choice(sorted(kinds)), draw.randint(0, 999), draw.randint(0, 999)


def signal(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, LENGTH, generator=generator, dtype=torch.float64)


def largest_gap(program: Function, shifts: tuple[int, ...]) -> float:
    """How far the middle of the output is from moving with the input, relative to its size."""
    gaps = []
    for seed, v in enumerate(shifts):
        f = signal(100 + seed)
        fresh = signal(200 + seed)
        moved = torch.roll(f, v, -1)
        brought_in = slice(0, v) if v > 0 else slice(LENGTH + v, LENGTH)
        moved[..., brought_in] = fresh[..., brought_in]
        one, two = program(f.clone()), program(moved)
        middle = slice(MARGIN, one.shape[-1] - MARGIN)
        apart = (two - torch.roll(one, v, -1))[..., middle]
        gaps.append(float(apart.abs().max() / one.abs().max()))
    return max(gaps)
