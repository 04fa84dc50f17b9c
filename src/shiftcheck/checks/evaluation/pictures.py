"""Small pictures of the worst items, looked up once more by their numbers."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from shiftcheck.checks.evaluation.asked import Asked
from shiftcheck.checks.evaluation.batches import read_data
from shiftcheck.report.evaluation import EvaluationReport, Picture
from shiftcheck.tracing.containers import leaves_of

MOST = 8
"""So many items are pictured, those that come first among the worst cases."""

SIDE = 64
"""Pixels of the longer side of a picture, at most."""

HEIGHT = 32
"""Pixels of the height of a signal of one axis, drawn as its least and largest values."""

STREAM = "no pictures: the items of a stream cannot be looked up again"


def with_pictures(
    report: EvaluationReport, loader: Any, asked: Asked, *, stream: bool
) -> EvaluationReport:
    """The report with pictures of its worst items; a note says that a ``stream`` has none."""
    chosen = worst_items(report)
    if not chosen:
        return report
    if stream:
        return replace(report, notes=(*report.notes, STREAM))
    data = read_data(loader, 1, sorted(chosen), asked.seed)
    found = {}
    for block in data.take(range(len(chosen))):
        item = block.items[0]
        if item.error is None:
            found[item.number] = picture_of(item.number, asked.select(item.value), asked)
    kept = (found.get(number) for number in chosen)
    return replace(report, pictures=tuple(p for p in kept if p is not None))


def worst_items(report: EvaluationReport) -> list[int]:
    """The items of the worst cases, those of each quantity in turn."""
    lists = [[case.item for case in q.worst] for q in report.quantities if not q.reason]
    in_turn = chain.from_iterable(zip_longest(*lists))
    return [i for i in dict.fromkeys(in_turn) if i is not None][:MOST]


def picture_of(number: int, given: Any, asked: Asked) -> Picture | None:
    """A picture of the first input that has places; None where none has numbers to show."""
    for _, leaf in leaves_of(given):
        if isinstance(leaf, torch.Tensor | np.ndarray) and leaf.ndim > 2:
            x = leaf if isinstance(leaf, torch.Tensor) else torch.from_numpy(leaf)
            if not x.is_complex():
                return _drawn(number, *_channels_first(x.double().cpu(), asked.spatial_dims))
    return None


def _channels_first(
    x: torch.Tensor, spatial_dims: Sequence[int] | None
) -> tuple[torch.Tensor, int]:
    """``[channels, *spatial]`` of the first of a batch, and how many axes are spatial."""
    dims = [d % x.ndim for d in spatial_dims or range(2, x.ndim)]
    rest = [d for d in range(1, x.ndim) if d not in dims]
    moved = x[:1].permute(0, *rest, *dims)
    return moved.reshape(-1, *(x.shape[d] for d in dims)), len(dims)


def _drawn(number: int, x: torch.Tensor, axes: int) -> Picture | None:
    shown = []
    while axes > 2:
        middle = x.shape[1] // 2
        shown.append(f"slice {middle} of {x.shape[1]}")
        x, axes = x[:, middle], axes - 1
    if x.shape[0] not in (1, 3) or (x.shape[0] == 3 and axes == 1):
        shown.insert(0, f"channel 0 of {x.shape[0]}")
        x = x[:1]
    finite = x[x.isfinite()]
    if not finite.numel():
        return None
    low, high = finite.min().item(), finite.max().item()
    grey = (x.nan_to_num(low, high, low) - low) / ((high - low) or 1.0)
    pixels = _envelope(grey[0]) if axes == 1 else _reduced(grey).permute(1, 2, 0)
    levels = (255 * pixels).round().to(torch.uint8).numpy()
    return Picture(item=number, png=_png(levels), low=low, high=high, shown=", ".join(shown))


def _reduced(x: torch.Tensor) -> torch.Tensor:
    """``[channels, height, width]`` with means of blocks in the place of more than 64 pixels."""
    factor = max(1.0, max(x.shape[1:]) / SIDE)
    rows, columns = (max(1, int(n / factor)) for n in x.shape[1:])
    return F.adaptive_avg_pool2d(x[None], (rows, columns))[0]


def _envelope(x: torch.Tensor) -> torch.Tensor:
    """A signal ``[samples]`` from 0 to 1 as white from its least to its largest value, upwards."""
    columns = min(SIDE, len(x))
    high = F.adaptive_max_pool1d(x[None], columns)[0]
    low = -F.adaptive_max_pool1d(-x[None], columns)[0]
    top = (HEIGHT - 1) * (1 - high)
    bottom = (HEIGHT - 1) * (1 - low)
    rows = torch.arange(HEIGHT, device=x.device)[:, None]
    return ((rows >= top.round()) & (rows <= bottom.round())).double()[..., None]


def _png(levels: NDArray[np.uint8]) -> str:
    """A picture ``[height, width, 1 or 3]`` as a file of the PNG specification, in base64."""
    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(parts))).decode("ascii")


def _chunks(parts: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for kind, content in parts:
        sum_of_both = zlib.crc32(kind + content)
        yield struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_of_both)
