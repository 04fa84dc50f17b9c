"""Showing a report; nothing here computes a result."""

from shiftcheck.render.message import explain
from shiftcheck.render.notebook import render_notebook
from shiftcheck.render.page import render_page
from shiftcheck.render.text import render_report, render_table
from shiftcheck.report import renderers

renderers["text"] = render_report
renderers["html"] = render_page
renderers["notebook"] = render_notebook

__all__ = ["explain", "render_notebook", "render_page", "render_report", "render_table"]
