"""Random chains of layers, and an exchange of halos written by hand that follows a plan.

It knows nothing of the rules: of each layer it asks the plan only which samples it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from shiftcheck.report import Reading, ShardedLayer, ShardingPlan

Shards = list[torch.Tensor]
Lacking = tuple[int, int, int]
"""Number of the layer, of the shard, and the side (0 left, 1 right) that gets a sample less."""

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
MEAN_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
LINEAR = ("linear", "bilinear", "trilinear")


def drawn_network(seed: int) -> tuple[nn.Sequential, tuple[int, ...]]:
    """A network, and the shape of an input that is large enough for several shards."""
    torch.manual_seed(seed)
    axes = 1 + seed % 3
    layers = [drawn_layer(axes) for _ in range(2 + int(torch.randint(4, ())))]
    size = {1: 240, 2: 96, 3: 96}[axes] + int(torch.randint(7, ()))
    shape = (1, 2, size) if axes == 1 else (1, 2, *(11,) * (axes - 1), size)
    return nn.Sequential(*layers).double().eval(), shape


def drawn_layer(axes: int) -> nn.Module:
    """One layer; along the axes that are not cut nothing changes, so that small sizes do."""

    def only_last(value: int, rest: int) -> tuple[int, ...]:
        return (*(rest,) * (axes - 1), value)

    def pick(*of: int) -> int:
        return of[int(torch.randint(len(of), ()))]

    kind = pick(0, 0, 0, 1, 1, 2, 3, 4, 5)
    kernel, stride, dilation = pick(1, 2, 3, 4, 5), pick(1, 1, 2, 3), pick(1, 1, 2, 3)
    padding = pick(0, 1, 2, (dilation * (kernel - 1)) // 2)
    if kind == 0:
        mode = ("zeros", "zeros", "reflect", "replicate", "circular")[pick(0, 1, 2, 3, 4)]
        return CONVS[axes - 1](
            2,
            2,
            only_last(kernel, 1),
            stride=only_last(stride, 1),
            padding=only_last(padding, 0),
            dilation=only_last(dilation, 1),
            padding_mode=mode,
        )
    if kind == 1:
        stride = pick(1, 2, 3)
        span = dilation * (kernel - 1)
        return TRANSPOSED[axes - 1](
            2,
            2,
            only_last(kernel, 1),
            stride=only_last(stride, 1),
            padding=only_last(min(pick(0, 1, 2), span // 2), 0),
            output_padding=only_last(min(pick(0, 1), stride - 1), 0),
            dilation=only_last(dilation, 1),
        )
    if kind == 2:
        return MAX_POOLS[axes - 1](
            only_last(max(2, kernel), 1),
            only_last(stride, 1),
            only_last(min(1, kernel // 2), 0),
            ceil_mode=bool(pick(0, 1)),
        )
    if kind == 3:
        return MEAN_POOLS[axes - 1](
            only_last(max(2, kernel), 1), only_last(stride, 1), only_last(min(1, kernel // 2), 0)
        )
    if kind == 4:
        mode = ("nearest", LINEAR[axes - 1])[pick(0, 1)]
        return nn.Upsample(scale_factor=tuple(map(float, only_last(2, 1))), mode=mode)
    return (nn.Tanh(), nn.GELU(), nn.BatchNorm1d(2) if axes == 1 else nn.LeakyReLU(0.3))[
        pick(0, 1, 2)
    ]


@dataclass(frozen=True)
class Exchange:
    """Runs a chain of layers on shards; with one sample less at one place, where asked for."""

    net: nn.Sequential
    plan: ShardingPlan
    lacking: Lacking | None = None

    def __call__(self, shards: Sequence[torch.Tensor]) -> Shards:
        held = list(shards)
        for number, module in enumerate(self.net):
            known = self.plan[str(number)]
            held = [self._shard(module, known, held, number, i) for i in range(len(held))]
        return held

    def _shard(
        self, module: nn.Module, layer: ShardedLayer, held: Shards, number: int, i: int
    ) -> torch.Tensor:
        shard = layer.shards[i]
        reading = layer.needs(*shard.gives)
        read = self._received(layer, held, i, reading)
        if self.lacking is not None and self.lacking[:2] == (number, i):
            read = read.clone()
            at = self.lacking[2] * (read.shape[-1] - 1)
            read[..., at] = 10.0
        return without_its_padding(module, read, reading, shard.gives, layer.outputs)

    def _received(
        self, layer: ShardedLayer, held: Shards, i: int, reading: Reading
    ) -> torch.Tensor:
        """The own samples with those of the two neighbours, as many as the plan tells."""
        left, right = layer.shards[i].halo
        own = held[i]
        start, stop = layer.shards[i].owns
        assert own.shape[-1] == stop - start
        around = layer.border == "circular"
        before = held[i - 1] if i or around else own[..., :0]
        behind = held[(i + 1) % len(held)] if i + 1 < len(held) or around else own[..., :0]
        assert left <= before.shape[-1], "the halo reaches through the neighbour"
        assert right <= behind.shape[-1], "the halo reaches through the neighbour"
        whole = torch.cat([before[..., before.shape[-1] - left :], own, behind[..., :right]], -1)
        first = start - left
        low = reading.start - (reading.before if around else 0)
        high = reading.stop + (reading.after if around else 0)
        assert first <= low
        assert high <= first + whole.shape[-1]
        return whole[..., low - first : high - first]


def without_its_padding(
    module: nn.Module, read: torch.Tensor, reading: Reading, gives: tuple[int, int], size: int
) -> torch.Tensor:
    """The layer without padding of its own along the last axis; that is put at true borders."""
    count, beyond = gives[1] - gives[0], (reading.before, reading.after)
    if isinstance(module, CONVS):
        rest = [n for i in module.padding[:-1] for n in (i, i)]
        assert not any(rest)
        mode = {"zeros": "constant"}.get(module.padding_mode, module.padding_mode)
        x = _put(read, beyond, mode)
        run: Callable[..., torch.Tensor] = (F.conv1d, F.conv2d, F.conv3d)[read.ndim - 3]
        out = run(x, module.weight, module.bias, module.stride, 0, module.dilation)
    elif isinstance(module, TRANSPOSED):
        run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[read.ndim - 3]
        out = run(
            read, module.weight, module.bias, module.stride, 0, 0, module.groups, module.dilation
        )
        skip = gives[0] + module.padding[-1] - reading.start * module.stride[-1]
        assert skip >= 0
        out = _with_bias(out, module.bias, skip + count)[..., skip : skip + count]
    elif isinstance(module, MAX_POOLS):
        x = F.pad(read, beyond, value=-torch.inf)
        run = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[read.ndim - 3]
        out = run(x, module.kernel_size, module.stride)
    elif isinstance(module, MEAN_POOLS):
        run = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[read.ndim - 3]
        out = run(F.pad(read, beyond), module.kernel_size, module.stride)
    elif isinstance(module, nn.Upsample):
        x = _put(read, beyond, "replicate")
        skip = gives[0] - 2 * (reading.start - reading.before)
        out = module(x)[..., skip : skip + count]
    else:
        out = module(read)
    assert out.shape[-1] == count, (module, reading, gives, size, out.shape)
    return out


def _with_bias(out: torch.Tensor, bias: torch.Tensor | None, size: int) -> torch.Tensor:
    """As many samples; those of a transposed convolution that read nothing are its bias."""
    more = size - out.shape[-1]
    if more <= 0 or bias is None:
        return out
    alone = bias.reshape(1, -1, *(1,) * (out.ndim - 2))
    return torch.cat([out, alone.expand(*out.shape[:-1], more)], -1)


def _put(x: torch.Tensor, beyond: tuple[int, int], mode: str) -> torch.Tensor:
    """What the layer puts beyond a true border; around a circle it has come from the neighbour."""
    if mode == "circular" or not any(beyond):
        return x
    amounts = (*beyond, *(0,) * (2 * (x.ndim - 3)))
    return F.pad(x, amounts, mode=mode)
