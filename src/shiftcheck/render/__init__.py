"""Showing a report; nothing here computes a result."""

from shiftcheck.invariance_report import renderers as invariance_renderers
from shiftcheck.render.invariance import explain_invariance, render_invariance
from shiftcheck.render.message import explain
from shiftcheck.render.notebook import render_notebook
from shiftcheck.render.page import render_page
from shiftcheck.render.text import render_report, render_table
from shiftcheck.report import renderers

renderers["text"] = render_report
renderers["html"] = render_page
renderers["notebook"] = render_notebook
invariance_renderers["text"] = render_invariance

__all__ = [
    "explain",
    "explain_invariance",
    "render_invariance",
    "render_notebook",
    "render_page",
    "render_report",
    "render_table",
]
