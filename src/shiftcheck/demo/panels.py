"""Maps as pixels: what a signal, a layer's clusters and a difference look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shiftcheck.checks.figures.feature_maps import Values
from shiftcheck.demo.moving_digit import Track

Pixels = NDArray[np.uint8]

PALETTE = (
    (68, 1, 84),
    (70, 50, 126),
    (54, 92, 141),
    (39, 127, 142),
    (31, 161, 135),
    (74, 193, 109),
    (160, 218, 57),
    (253, 231, 37),
)
"""Eight colours of viridis, from dark to light."""


def panels_of(track: Track, i: int) -> list[Pixels]:
    """The signal, the map and the difference of one frame, ``[height, width, 3]`` each."""
    maps = track.maps[i]
    colours = np.array(PALETTE, dtype=np.uint8)
    return [
        _grey(maps.shifted_signal[0]),
        colours[track.clusters[i]],
        _signed(maps.difference[track.channel] / track.scale),
    ]


def sheets(track: Track, columns: int) -> list[Pixels]:
    """The frames of each panel, ``columns`` of them in a row, as one picture."""
    every = [panels_of(track, i) for i in range(len(track.maps))]
    panels = []
    for frames in zip(*every, strict=True):
        starts = range(0, len(frames), columns)
        rows = [np.concatenate(frames[k : k + columns], axis=1) for k in starts]
        panels.append(np.concatenate(rows, axis=0))
    return panels


def _grey(values: Values) -> Pixels:
    low, high = float(values.min()), float(values.max())
    level = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


def _signed(values: Values) -> Pixels:
    """White where there is no difference, red and blue where there is, grey where none is known."""
    part = np.clip(np.nan_to_num(values), -1.0, 1.0)[..., None]
    strength = np.sqrt(np.abs(part))
    red, blue = np.array([197.0, 27.0, 58.0]), np.array([33.0, 102.0, 172.0])
    colour = 255.0 + strength * (np.where(part > 0, red, blue) - 255.0)
    colour[np.isnan(values)] = 220.0
    return np.round(colour).astype(np.uint8)
