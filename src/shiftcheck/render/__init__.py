"""Showing a report; nothing here computes a result."""

from shiftcheck.invariance_report import renderers as invariance_renderers
from shiftcheck.render.invariance import explain_invariance, render_invariance
from shiftcheck.render.message import explain
from shiftcheck.render.text import render_report, render_table
from shiftcheck.report import renderers

renderers["text"] = render_report
invariance_renderers["text"] = render_invariance

__all__ = ["explain", "explain_invariance", "render_invariance", "render_report", "render_table"]
