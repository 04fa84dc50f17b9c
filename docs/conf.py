"""How the site is built: pages in Markdown, the reference from docstrings and from the rules."""

import sys
from pathlib import Path

import shiftcheck

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "shiftcheck"
version = release = shiftcheck.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "rule_table"]
exclude_patterns = ["_build", "_ext"]

# Directives stand between colons, so that backticks hold nothing but code that the tests run.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

nitpicky = True
# What belongs to other projects has no page here; all names of this one must have one.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|fractions|numpy|os|pathlib|torch|types|typing)\..*"),
    ("py:class", r"shiftcheck\.(shifts\.ArrayT|rules\.registry\.SomeRule)"),  # type variables
]

html_theme = "furo"
html_title = f"shiftcheck {release}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
