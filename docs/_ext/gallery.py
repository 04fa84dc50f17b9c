"""The gallery: the figures of ``examples/gallery.py``, drawn at build time, with their code.

sphinx-gallery would want each script in a form of its own, writes into the sources, and brings a
style sheet; what is needed here is a list of functions, so it is made here.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

PAGE = "gallery"
MARK = "{{ gallery }}"
FOLDER = "gallery"
SCRIPT = Path(__file__).parents[2] / "examples" / "gallery.py"


def load(script: Path = SCRIPT) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("examples_gallery", script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} cannot be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # inspect looks for the source there
    spec.loader.exec_module(module)
    return module


def as_markdown(figures: Sequence[Callable[[], Any]]) -> str:
    """Thumbnails that lead to the sections below them, each with a caption, figure and code."""
    thumbnails = "\n".join(
        f'<a href="#{_anchor(draw)}">{_image(draw)}<span>{_title(draw)}</span></a>'
        for draw in figures
    )
    sections = "\n".join(_section(draw) for draw in figures)
    return f'<div class="gallery">\n{thumbnails}\n</div>\n\n{sections}'


def _section(draw: Callable[[], Any]) -> str:
    return "\n".join(
        [
            f"## {_title(draw)}\n",
            f"{_caption(draw)}\n",
            f"{_image(draw)}\n",
            f"```python\n{inspect.getsource(draw).rstrip()}\n```\n",
        ]
    )


def _title(draw: Callable[[], Any]) -> str:
    return draw.__name__.replace("_", " ").capitalize()


def _anchor(draw: Callable[[], Any]) -> str:
    return draw.__name__.replace("_", "-")


def _caption(draw: Callable[[], Any]) -> str:
    return (draw.__doc__ or "").strip()


def _image(draw: Callable[[], Any]) -> str:
    return f'<img src="_static/{FOLDER}/{draw.__name__}.png" alt="{escape(_caption(draw))}">'


def filled(text: str, figures: Sequence[Callable[[], Any]]) -> str:
    """The page with the gallery in the place of its mark.

    Raises ValueError where the mark is missing, so that no page is built without its figures.
    """
    if text.count(MARK) != 1:
        raise ValueError(f"docs/{PAGE}.md must hold {MARK} once")
    return text.replace(MARK, as_markdown(figures))


def _draw(app: Any, config: Any) -> None:
    """Draw into a folder of its own, as sources are only read, whose files are static ones."""
    folder = TemporaryDirectory()
    app.gallery_folder, app.gallery_figures = folder, load()
    app.gallery_figures.write(Path(folder.name) / FOLDER)
    config.html_static_path.append(folder.name)


def _clean(app: Any, error: Exception | None) -> None:
    app.gallery_folder.cleanup()


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = filled(source[0], app.gallery_figures.FIGURES)


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to draw the figures, and to fill the page when it reads it."""
    app.connect("config-inited", _draw)
    app.connect("source-read", _on_read)
    app.connect("build-finished", _clean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
