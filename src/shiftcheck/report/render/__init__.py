"""Showing a report; nothing here computes a result."""

from shiftcheck.invariance_report import renderers as invariance_renderers
from shiftcheck.linear_report import renderers as linear_renderers
from shiftcheck.render.invariance import explain_invariance, render_invariance
from shiftcheck.render.linear import explain_convolution, explain_linearity, show_matrix
from shiftcheck.render.message import explain
from shiftcheck.render.notebook import render_notebook
from shiftcheck.render.page import render_page
from shiftcheck.render.text import render_report, render_table
from shiftcheck.report import renderers

renderers["text"] = render_report
linear_renderers["linearity"] = explain_linearity
linear_renderers["convolution"] = explain_convolution
linear_renderers["matrix"] = show_matrix

renderers["html"] = render_page
renderers["notebook"] = render_notebook
invariance_renderers["text"] = render_invariance

__all__ = [
    "explain",
    "explain_convolution",
    "explain_invariance",
    "explain_linearity",
    "render_invariance",
    "render_notebook",
    "render_page",
    "render_report",
    "render_table",
    "show_matrix",
]
