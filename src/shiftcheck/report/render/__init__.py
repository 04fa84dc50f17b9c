"""Showing a report; nothing here computes a result."""

from shiftcheck.report.equivariance import renderers
from shiftcheck.report.invariance import renderers as invariance_renderers
from shiftcheck.report.linearity import renderers as linear_renderers
from shiftcheck.report.render.html import render_page
from shiftcheck.report.render.invariance import explain_invariance, render_invariance
from shiftcheck.report.render.linearity import explain_convolution, explain_linearity, show_matrix
from shiftcheck.report.render.notebook import render_notebook
from shiftcheck.report.render.sentences import explain
from shiftcheck.report.render.table import render_report, render_table

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
