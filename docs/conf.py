"""How the site is built: pages in Markdown, the reference from docstrings and from the rules."""

import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import shiftcheck

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "shiftcheck"
version = release = shiftcheck.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += [
    "accessible",
    "counts",
    "gallery",
    "reason_table",
    "rule_table",
    "schemas",
]  # in _ext
exclude_patterns = ["_build", "_ext"]

# Directives stand between colons, so that backticks hold nothing but code that the tests run.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
napoleon_numpy_docstring = False

nitpicky = True
# What belongs to other projects has no page here; all names of this one must have one.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|contextlib|fractions|hypothesis|numpy|os|pathlib)\..*"),
    ("py:.*", r"(torch|types|typing)\..*"),
    (
        "py:class",
        r"shiftcheck\.(measuring\.signals\.shifting\.ArrayT|rules\.registry\.SomeRule"
        r"|testing\.layers\.SomeTest)",
    ),  # type variables
    ("py:class", r"shiftcheck\.report\.base\.(AnyReport|Shown)"),  # what all reports share
    ("py:class", r"Axes|Model"),  # of matplotlib, which is imported for types alone, and beside it
]

html_theme = "furo"
html_title = f"shiftcheck {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def _without_constructor(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """No signature for a record, whose fields are listed below it."""
    return ("", "") if what == "class" and is_dataclass(obj) else None


def setup(app: Any) -> None:
    """Tell Sphinx what else to do."""
    app.connect("autodoc-process-signature", _without_constructor)
