"""Every operation with random arguments: the geometry has as many samples as torch's output."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

import shiftcheck
from shiftcheck.lattice.layout import Lost
from shiftcheck.measuring.signals.read_arguments import read_inputs
from shiftcheck.measuring.structure_pass import read_structure

Layer = Callable[[torch.Tensor], object]
Draw = random.Random
Case = tuple[object, Layer, tuple[int, ...]]
"""What to show when it fails, the operation, and the shape of its input."""

CHANNELS = 4
SIZES = range(13, 25)
CASES = 40


def shape_of(draw: Draw, ndim: int, multiple: int = 1) -> tuple[int, ...]:
    return (2, CHANNELS, *(draw.choice(SIZES) // multiple * multiple for _ in range(ndim)))


def several(draw: Draw, ndim: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw.randint(low, high) for _ in range(ndim))


def of_module(module: nn.Module, shape: tuple[int, ...]) -> Case:
    return module, module.eval(), shape


def convolution(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    padding = draw.choice(["same", "valid", several(draw, ndim, 0, 5)])
    module = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[ndim - 1](
        CHANNELS,
        draw.choice([2, 4, 6]),
        several(draw, ndim, 1, 5),
        stride=1 if padding == "same" else several(draw, ndim, 1, 4),
        padding=padding,
        dilation=several(draw, ndim, 1, 3),
        groups=draw.choice([1, 2]),
        bias=draw.random() < 0.5,
        padding_mode=draw.choice(["zeros", "zeros", "reflect", "replicate", "circular"]),
    )
    return of_module(module, shape_of(draw, ndim))


def transposed(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    stride, dilation = several(draw, ndim, 1, 4), several(draw, ndim, 1, 3)
    below = [max(pair) - 1 for pair in zip(stride, dilation, strict=True)]
    module = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[ndim - 1](
        CHANNELS,
        draw.choice([2, 4]),
        several(draw, ndim, 1, 5),
        stride=stride,
        padding=several(draw, ndim, 0, 4),
        output_padding=tuple(draw.randint(0, most) for most in below),
        groups=draw.choice([1, 2]),
        dilation=dilation,
    )
    return of_module(module, shape_of(draw, ndim))


def max_pool(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    kernel = several(draw, ndim, 1, 5)
    module = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[ndim - 1](
        kernel,
        draw.choice([None, several(draw, ndim, 1, 6)]),
        tuple(draw.randint(0, k // 2) for k in kernel),
        several(draw, ndim, 1, 3),
        ceil_mode=draw.random() < 0.5,
        return_indices=draw.random() < 0.2,
    )
    return (module, module.return_indices), module, shape_of(draw, ndim)


def average_pool(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    kernel = several(draw, ndim, 1, 5)
    module = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[ndim - 1](
        kernel,
        draw.choice([None, several(draw, ndim, 1, 6)]),
        tuple(draw.randint(0, k // 2) for k in kernel),
        ceil_mode=draw.random() < 0.5,
        count_include_pad=draw.random() < 0.5,
    )
    return of_module(module, shape_of(draw, ndim))


def power_pool(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    kernel, stride = several(draw, ndim, 1, 5), several(draw, ndim, 1, 6)
    module = (nn.LPPool1d, nn.LPPool2d, nn.LPPool3d)[ndim - 1](
        draw.choice([1, 2, 3.0]),
        kernel[0] if ndim == 1 else kernel,
        draw.choice([None, stride[0] if ndim == 1 else stride]),
        ceil_mode=draw.random() < 0.5,
    )
    return of_module(module, shape_of(draw, ndim))


def adaptive_pool(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    size: object = tuple(draw.choice([None, 1, draw.randint(2, 30)]) for _ in range(ndim))
    if ndim == 1 or draw.random() < 0.2:
        size = draw.choice([1, draw.randint(2, 30)])
    kinds = (
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    )
    return of_module(draw.choice(kinds)[ndim - 1](size), shape_of(draw, ndim))


def pad(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    mode = draw.choice(["constant", "reflect", "replicate", "circular"])
    low = -4 if mode == "constant" else 0
    padded = draw.randint(1, ndim) if mode == "constant" else ndim
    widths = several(draw, 2 * padded, low, 6)
    return (mode, widths), lambda x: F.pad(x, widths, mode=mode), shape_of(draw, ndim)


FILTERS = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}


def interpolate(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    mode = draw.choice(["nearest", "nearest-exact", "area", *2 * FILTERS[ndim]])
    options: dict[str, object] = {"mode": mode}
    if mode in FILTERS[ndim]:
        options["align_corners"] = draw.choice([None, False, True])
        options["antialias"] = ndim == 2 and draw.random() < 0.4
    if draw.random() < 0.5:
        options["size"] = draw.choice([draw.randint(1, 40), several(draw, ndim, 1, 40)])
    else:
        factor = draw.choice([0.25, 0.5, 2.0, 3.0, 4.0, round(draw.uniform(0.2, 3.2), 2)])
        each = tuple(draw.choice([1.0, 1.5, round(draw.uniform(0.2, 3.2), 3)]) for _ in range(ndim))
        options["scale_factor"] = draw.choice([factor, each])
        options["recompute_scale_factor"] = draw.choice([None, False, True])
    return options, lambda x: F.interpolate(x, **options), shape_of(draw, ndim)  # type: ignore[arg-type]


def pixel_shuffle(draw: Draw) -> Case:
    factor = draw.choice([1, 2, 3])
    if draw.random() < 0.5:
        return of_module(nn.PixelUnshuffle(factor), shape_of(draw, 2, factor))
    size = shape_of(draw, 2)
    return of_module(nn.PixelShuffle(factor), (2, 2 * factor**2, *size[2:]))


def slices(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    parts = tuple(
        slice(
            draw.choice([None, draw.randint(0, 5), draw.randint(-13, -8)]),
            draw.choice([None, draw.randint(6, 30), draw.randint(-4, -1)]),
            draw.choice([None, draw.randint(1, 4)]),
        )
        for _ in range(ndim)
    )
    parts = tuple(
        slice(p.start, None, p.step) if (p.start or 0) < 0 and (p.stop or 0) > 0 else p
        for p in parts
    )
    if draw.random() < 0.3:
        dim, start = draw.randint(1, ndim + 1), draw.randint(0, 2)
        return ("narrow", dim, start), lambda x: x.narrow(dim, start, 2), shape_of(draw, ndim)
    return parts, lambda x: x[..., *parts], shape_of(draw, ndim)


def joined(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    dim, left, right = draw.randint(1, ndim + 1), draw.randint(1, 9), draw.randint(1, 9)
    zeros = draw.random() < 0.5

    def layer(x: torch.Tensor) -> object:
        size = x.shape[dim]
        first, second = x.narrow(dim, 0, min(left, size)), x.narrow(dim, 0, min(right, size))
        if zeros:
            second = torch.zeros(second.shape)
        return torch.cat([first, second, x], dim) if left > 4 else torch.cat([second, first], dim)

    return (dim, left, right, zeros), layer, shape_of(draw, ndim)


def parted(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    dim, count = draw.randint(1, ndim + 1), draw.randint(1, 6)
    cut = draw.randint(1, CHANNELS - 1)
    kinds: dict[str, Layer] = {
        "chunk": lambda x: x.chunk(count, dim),
        "split": lambda x: x.split(count, dim),
        "split in two": lambda x: x.split([cut, x.shape[dim] - cut], dim),
        "tensor_split": lambda x: x.tensor_split(min(count, CHANNELS), dim),
        "unbind": lambda x: x.unbind(dim),
    }
    kind = draw.choice(list(kinds))
    return (kind, dim, count, cut), kinds[kind], shape_of(draw, ndim)


def view(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    order = [0, *draw.sample(range(1, ndim + 2), ndim + 1)]
    at = draw.randint(1, ndim + 2)
    kinds: dict[str, Layer] = {
        "flatten all": lambda x: x.flatten(1),
        "flatten space": lambda x: x.flatten(2),
        "flatten and back": lambda x: x.flatten(2).transpose(1, 2).mT.reshape(x.shape),
        "view": lambda x: x.view(x.shape[0], -1, *x.shape[2:]),
        "batch and channels": lambda x: x.reshape(-1, 1, *x.shape[2:]),
        "groups": lambda x: x.unflatten(1, (2, -1)),
        "shuffle": lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
        "permute": lambda x: x.permute(order),
        "permuted and flat": lambda x: x.permute(order).flatten(1),
        "movedim": lambda x: x.movedim(1, -1),
        "unsqueeze": lambda x: x.unsqueeze(at),
        "squeeze": lambda x: x.unsqueeze(at).squeeze(at),
        "expand": lambda x: x.unsqueeze(at).expand(*[-1] * at, 3, *[-1] * (x.ndim - at)),
        "stack": lambda x: torch.stack([x, 2 * x], at),
    }
    kind = draw.choice(list(kinds))
    return (kind, order, at), kinds[kind], shape_of(draw, ndim)


def reduction(draw: Draw) -> Case:
    ndim = draw.randint(1, 3)
    keep = draw.random() < 0.5
    rank = ndim + 2
    dims = draw.sample(range(1, rank), draw.randint(1, rank - 1))
    dims = [d - draw.choice([0, rank]) for d in dims]
    dim = dims[0]
    kinds: dict[str, Layer] = {
        "mean": lambda x: x.mean(dims, keep),
        "sum": lambda x: x.sum(dims, keep),
        "amax": lambda x: x.amax(dims, keep),
        "amin": lambda x: x.amin(dims, keep),
        "logsumexp": lambda x: x.logsumexp(dims, keep),
        "var": lambda x: x.var(dims, keepdim=keep),
        "std": lambda x: x.std(dims, keepdim=keep),
        "var_mean": lambda x: torch.var_mean(x, dims, keepdim=keep),
        "vector_norm": lambda x: torch.linalg.vector_norm(x, 2, dims, keep),
        "norm": lambda x: x.norm(2, dim, keep),
        "prod": lambda x: x.prod(dim, keep),
        "max": lambda x: x.max(dim, keep),
        "min": lambda x: x.min(dim, keep),
        "median": lambda x: x.median(dim, keep),
        "argmax": lambda x: x.argmax(dim, keep),
        "all": lambda x: (x > 0).all(dim, keep),
        "any": lambda x: (x > 0).any(dim, keep),
        "softmax": lambda x: x.softmax(dim),
        "log_softmax": lambda x: x.log_softmax(dim),
        "glu": lambda x: F.glu(x, 1),
    }
    kind = draw.choice(list(kinds))
    return (kind, dims, keep), kinds[kind], shape_of(draw, ndim)


FAMILIES: dict[str, Callable[[Draw], Case]] = {
    "convolution": convolution,
    "transposed convolution": transposed,
    "max pool": max_pool,
    "average pool": average_pool,
    "power pool": power_pool,
    "adaptive pool": adaptive_pool,
    "pad": pad,
    "interpolate": interpolate,
    "pixel shuffle": pixel_shuffle,
    "slice": slices,
    "cat": joined,
    "split": parted,
    "view": view,
    "reduction": reduction,
}


def problem(layer: Layer, shape: tuple[int, ...], boundary: str) -> str:
    """What the geometry has otherwise than torch; empty where they agree."""
    with torch.no_grad():
        found = layer(torch.zeros(shape))
    expected = [tuple(t.shape) for t in tree_leaves(found) if isinstance(t, torch.Tensor)]
    try:
        report = shiftcheck.geometry(layer, shape, boundary=boundary)
    except shiftcheck.ShiftcheckError as error:
        return str(error)
    for cause in report.causes:
        if cause.kind == "UNSUPPORTED_OP":
            return f"{cause.operation}: {cause.detail}"
    shapes = [row.shape for row in report.outputs]
    if shapes != expected:
        return f"shapes {shapes}, torch has {expected}"
    x = torch.empty(shape, device="meta")
    inputs = read_inputs(x, boundary=boundary, spatial_dims=None)
    _, outputs, _ = read_structure(layer, inputs, layer=None, training=False)
    for row, sizes in zip(outputs, expected, strict=True):
        for dim, size in enumerate(sizes):
            axis = row.layout.axis_in(dim)
            if axis is not None and len(row.layout.geometry(axis).valid) != size:
                return f"a mask of {len(row.layout.geometry(axis).valid)}, torch has {sizes}"
        lost = {state.kind for state in row.layout.axes if isinstance(state, Lost)}
        if lost - {"INDEX"}:
            return f"axes lost: {lost}"
    return ""


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_samples_as_torch(family: str) -> None:
    draw = random.Random(family)
    failed = []
    for number in range(CASES):
        what, layer, shape = FAMILIES[family](draw)
        boundary = "circular" if number % 4 == 3 and family != "cat" else "valid"
        found = problem(layer, shape, boundary)
        if found:
            failed.append(f"{what} on {shape}, {boundary}: {found}")
    assert not failed, f"{len(failed)} of {CASES}:\n" + "\n".join(failed)
