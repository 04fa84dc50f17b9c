"""The film of a moving digit as a GIF, and as a page with a player."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftcheck.demo.moving_digit import CLUSTERS, REACH, Film, Shift, Track, path
from shiftcheck.demo.panels import Pixels, panels_of, sheets
from shiftcheck.errors import MissingExtraError
from shiftcheck.report.render.html import as_script

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 176
"""Pixels of one panel of the GIF."""

GAP, HEAD, ROW = 14, 46, 24
EXACT = 1e-6
"""A difference, over the scale of the layer, that is rounding in float32."""


NAMES = ("the digit, S f", "phi(S f)", "phi(S f) - S phi(f)")


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
    for column, title in enumerate(NAMES):
        draw.text((GAP + column * (SIDE + GAP), 26), title, "#444444", font_size=13)
    for row, track in enumerate(film.tracks):
        top = HEAD + row * (SIDE + ROW + GAP)
        colour = "#1b7837" if track.error(i) < EXACT else "#c51b3a"
        draw.text((GAP, top + 3), f"{track.title}: {_said(track, i)}", colour, font_size=14)
        for column, panel in enumerate(panels_of(track, i)):
            corner = (GAP + column * (SIDE + GAP), top + ROW)
            picture = Image.fromarray(panel)
            image.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST), corner)
            if column:
                _outline(draw, corner, track, i, panel.shape[:2])
    return image


def _said(track: Track, i: int) -> str:
    error = track.error(i)
    return "exact" if error < EXACT else f"off by {error:.0%}"


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


def write_page(film: Film, target: Path) -> None:
    """Write a page with a player and a slider for each axis, which needs no network.

    Raises MissingExtraError where jinja2 or pillow is not installed.
    """
    try:
        import jinja2
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the film needs {error.name}: install it with pip install 'torch-shiftcheck[demo]'"
        ) from error
    folder = files("shiftcheck.demo").joinpath("templates")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(folder.joinpath("film.html.j2").read_text("utf-8"))
    page = template.render(
        style=files("shiftcheck.report.render").joinpath("templates/report.css").read_text("utf-8"),
        script=folder.joinpath("film.js").read_text("utf-8"),
        clusters=CLUSTERS,
        reach=REACH,
        side=2 * REACH + 1,
        tracks=[_shown(track) for track in film.tracks],
        data=as_script({"reach": REACH, "path": path(), "tracks": [_told(t) for t in film.tracks]}),
    )
    target.write_text(page, encoding="utf-8")


def _shown(track: Track) -> dict[str, Any]:
    """The panels of a track, all frames of each in one picture."""
    pictures = zip(NAMES, sheets(track, 2 * REACH + 1), strict=True)
    panels = [{"name": name, "sprite": _as_url(pixels)} for name, pixels in pictures]
    return {"title": track.title, "told": track.told, "panels": panels}


def _as_url(pixels: Pixels) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _told(track: Track) -> dict[str, Any]:
    frames = range(len(track.maps))
    return {
        "said": [_said(track, i) for i in frames],
        "exact": [track.error(i) < EXACT for i in frames],
        "outlines": [_percent(track, i) for i in frames],
    }


def _percent(track: Track, i: int) -> list[float]:
    """Top, left, height and width of what is compared, in percent of the map."""
    sizes = track.maps[i].found.shape[1:]
    spans = [(runs[0][0], runs[-1][1]) if runs else (0, 0) for runs in track.maps[i].valid]
    starts = [100 * a / n for (a, _), n in zip(spans, sizes, strict=True)]
    lengths = [100 * (b - a) / n for (a, b), n in zip(spans, sizes, strict=True)]
    return [round(v, 2) for v in (*starts, *lengths)]
