"""A plan of tiles in the words of MONAI and of tiler, as text and on a page."""

from __future__ import annotations

from shiftcheck.report.monai import MonaiWindows
from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, each
from shiftcheck.report.tiler import TilerPlan, TilerTiles


def render_monai(found: MonaiWindows) -> str:
    """The arguments of a sliding window."""
    return "\n".join([headline_of_monai(found), *wrapped(_of_monai(found))])


def headline_of_monai(found: MonaiWindows) -> str:
    """The model, and how many windows there are."""
    shape = "x".join(map(str, found.input_shape))
    return f"{found.model} on {shape} by MONAI: {count(found.windows, 'window')}"


def _of_monai(found: MonaiWindows) -> list[str]:
    shares = ", ".join(f"{share:.6g}" for share in found.overlap)
    lines = [
        f"roi_size={found.roi_size}, overlap=({shares}), mode={found.mode!r}",
        f"windows begin every {each(found.interval)} pixels, the last ends where the image does",
    ]
    if found.weighted:
        lines.append(
            f"roi_weight_map: the outermost {_margins(found.margins)} pixels of a window weigh"
            f" 2**-{found.exponent} along each axis"
        )
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _margins(margins: tuple[tuple[int, int], ...]) -> str:
    return " x ".join(f"{first}+{last}" for first, last in dict.fromkeys(margins))


def contents_of_monai(found: MonaiWindows) -> Contents:
    """What a page or a notebook shows."""
    return Contents(
        headline=headline_of_monai(found),
        verdict="",
        sentences=tuple(_of_monai(found)),
        sheets=(),
        made=(("type", found.dtype),),
    )


def render_tiler(found: TilerPlan) -> str:
    """The arguments for x and for each output."""
    lines = [f"{tiles.name}: {_of_tiles(tiles)}" for tiles in (found.input, *found.outputs)]
    notes = [f"note: {note}" for note in found.notes]
    return "\n".join([headline_of_tiler(found), *wrapped([*lines, *notes])])


def headline_of_tiler(found: TilerPlan) -> str:
    """The model, and how many tiles there are."""
    shape = "x".join(map(str, found.input.data_shape))
    return f"{found.model} on {shape} by tiler: {count(found.tiles, 'tile')}"


def _of_tiles(tiles: TilerTiles) -> str:
    margins = [m for m in tiles.margins if any(m)]
    window = f", window with margins {_margins(tuple(margins))}" if margins else ""
    return f"tile_shape={tiles.tile_shape}, overlap={tiles.overlap}, mode={tiles.mode!r}{window}"


def contents_of_tiler(found: TilerPlan) -> Contents:
    """What a page or a notebook shows."""
    columns = {
        "array": lambda t: t.name,
        "data_shape": lambda t: str(t.data_shape),
        "tile_shape": lambda t: str(t.tile_shape),
        "overlap": lambda t: str(t.overlap),
        "margins": lambda t: str(t.margins),
    }
    return Contents(
        headline=headline_of_tiler(found),
        verdict="",
        sentences=tuple(f"note: {note}" for note in found.notes),
        sheets=(Sheet.of("Tiles", (found.input, *found.outputs), columns),),
    )
