"""The notebook runs, and shows what it showed when it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.test_readme import masked

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def shown(notebook: Any) -> list[tuple[str, list[str]]]:
    """What each cell of code prints, and which kinds of pictures it shows."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = cell.outputs
            printed = "".join(o.text for o in outputs if o.output_type == "stream")
            pictures = [k for o in outputs for k in o.get("data", {}) if k.startswith("image/")]
            cells.append((masked(printed), pictures))
    return cells


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_shows(path: Path) -> None:
    from examples.run_notebook import executed  # needs what may be missing

    kept = shown(nbformat.read(path, as_version=4))
    assert shown(executed(path)) == kept


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_are_inside(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert sum(len(pictures) for _, pictures in shown(notebook)) >= 5
    assert path.stat().st_size < 400_000
