"""The film of a moving digit as a GIF, and as a page with a player."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shiftcheck.errors import MissingExtraError
from shiftcheck.moving_digit import Film, Shift, Track, path

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 176
"""Pixels of one panel of the GIF."""

GAP, HEAD, ROW = 14, 46, 24
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

Pixels = NDArray[np.uint8]


def write_gif(film: Film, target: Path, *, shifts: Sequence[Shift] | None = None) -> None:
    """Write one round of the digit; every row a layer: what it sees, its map, the difference.

    Raises MissingExtraError where pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(
            "a GIF needs pillow: install it with pip install 'torch-shiftcheck[demo]'"
        ) from error
    numbers = [film.shifts.index(s) for s in shifts or path()]
    frames = [_frame(film, i).quantize(64, dither=Image.Dither.NONE) for i in numbers]
    frames[0].save(
        target, save_all=True, append_images=frames[1:], duration=140, loop=0, optimize=True
    )


def _frame(film: Film, i: int) -> Image:
    from PIL import Image, ImageDraw

    width = 3 * SIDE + 4 * GAP
    height = HEAD + len(film.tracks) * (SIDE + ROW + GAP)
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((GAP, 6), "shift ({}, {}) pixels".format(*film.shifts[i]), "black", font_size=17)
    for column, title in enumerate(("the digit", "the layer's map", "difference from the")):
        draw.text((GAP + column * (SIDE + GAP), 26), title, "#444444", font_size=13)
    draw.text((GAP + 2 * (SIDE + GAP) + 118, 26), "moved map", "#444444", font_size=13)
    for row, track in enumerate(film.tracks):
        top = HEAD + row * (SIDE + ROW + GAP)
        error = track.error(i)
        colour = "#1b7837" if error < 1e-6 else "#c51b3a"
        said = "exact" if error < 1e-6 else f"off by {error:.0%}"
        draw.text((GAP, top + 3), f"{track.title}: {said}", colour, font_size=14)
        for column, panel in enumerate(_panels(track, i)):
            corner = (GAP + column * (SIDE + GAP), top + ROW)
            image.paste(
                Image.fromarray(panel).resize((SIDE, SIDE), Image.Resampling.NEAREST), corner
            )
            if column:
                _outline(draw, corner, track, i, panel.shape[:2])
    return image


def _panels(track: Track, i: int) -> list[Pixels]:
    maps = track.maps[i]
    colours = np.array(PALETTE, dtype=np.uint8)
    return [
        _grey(maps.shifted_signal[0]),
        colours[track.clusters[i]],
        _signed(maps.difference[track.channel] / track.scale),
    ]


def _grey(values: NDArray[np.float64]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    level = np.uint8(np.round(255 * (values - low) / max(high - low, 1e-12)))
    return np.repeat(level[..., None], 3, axis=2)


def _signed(values: NDArray[np.float64]) -> Pixels:
    """White where there is no difference, red and blue where there is, grey where none is known."""
    part = np.clip(np.nan_to_num(values), -1.0, 1.0)[..., None] ** (1 / 1)
    strength = np.sqrt(np.abs(part))
    red, blue = np.array([197.0, 27.0, 58.0]), np.array([33.0, 102.0, 172.0])
    colour = 255.0 + strength * (np.where(part > 0, red, blue) - 255.0)
    colour[np.isnan(values)] = 220.0
    return np.uint8(np.round(colour))


def _outline(
    draw: Any, corner: tuple[int, int], track: Track, i: int, size: tuple[int, int]
) -> None:
    """The samples that are compared."""
    down, right = SIDE / size[0], SIDE / size[1]
    for top, bottom in track.maps[i].valid[0]:
        for left, end in track.maps[i].valid[1]:
            box = (
                corner[0] + left * right,
                corner[1] + top * down,
                corner[0] + end * right - 1,
                corner[1] + bottom * down - 1,
            )
            draw.rectangle(box, outline="#111111")
