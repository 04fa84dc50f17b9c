"""Showing a report; nothing here computes a result."""

from shiftcheck.render.message import explain
from shiftcheck.render.text import render_report, render_table
from shiftcheck.report import renderers

renderers["text"] = render_report

__all__ = ["explain", "render_report", "render_table"]
