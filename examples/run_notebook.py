"""Run a notebook from its first cell, and write what it shows into it.

    python examples/run_notebook.py examples/walk.ipynb

Needs the extras ``plot``, ``demo`` and ``dev``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run; raises CellExecutionError where a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)  # when it ran is of no interest
    return notebook


def main() -> None:
    """Read the name of the notebook, run it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook
    nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
