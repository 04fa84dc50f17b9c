"""Showing a report; nothing here computes a result."""

from shiftcheck.report.base import renderers
from shiftcheck.report.render.html import render_page
from shiftcheck.report.render.invariance import explain_invariance, render_invariance
from shiftcheck.report.render.linearity import explain_convolution, explain_linearity, show_matrix
from shiftcheck.report.render.notebook import render_notebook
from shiftcheck.report.render.sentences import explain
from shiftcheck.report.render.table import render_report, render_table

renderers["text", "Report"] = render_report
renderers["text", "InvarianceReport"] = render_invariance
renderers["text", "LinearityReport"] = explain_linearity
renderers["text", "ConvolutionReport"] = explain_convolution
renderers["text", "OperatorMatrix"] = show_matrix
renderers["html", "Report"] = render_page
renderers["notebook", "Report"] = render_notebook

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
