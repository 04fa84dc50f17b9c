"""Showing a report; nothing here computes a result."""

from collections.abc import Callable
from typing import Any

from shiftcheck.report.base import renderers
from shiftcheck.report.render.contents import Contents
from shiftcheck.report.render.edges import contents_of_edges, headline_of_edges, render_edges
from shiftcheck.report.render.html import (
    contents_of_report,
    render_index,
    render_page,
    render_page_of_invariance,
    render_plain_page,
)
from shiftcheck.report.render.invariance import (
    contents_of_invariance,
    explain_invariance,
    headline_of,
    render_invariance,
)
from shiftcheck.report.render.linearity import (
    contents_of_convolution,
    contents_of_linearity,
    explain_convolution,
    explain_linearity,
    headline_of_convolution,
    headline_of_linearity,
    show_matrix,
)
from shiftcheck.report.render.notebook import render_notebook
from shiftcheck.report.render.seams import contents_of_seams, headline_of_seams, render_seams
from shiftcheck.report.render.sentences import explain, headline
from shiftcheck.report.render.sizes import contents_of_sizes, headline_of_sizes, render_sizes
from shiftcheck.report.render.table import render_report, render_table
from shiftcheck.report.render.tiles import contents_of_tiling, headline_of_tiling, render_tiling

CONTENTS: dict[str, Callable[[Any], Contents]] = {
    "Report": contents_of_report,
    "InvarianceReport": contents_of_invariance,
    "LinearityReport": contents_of_linearity,
    "ConvolutionReport": contents_of_convolution,
    "EffectiveHalo": contents_of_edges,
    "InputSizes": contents_of_sizes,
    "TilingPlan": contents_of_tiling,
    "TiledComparison": contents_of_seams,
}


def render_from_contents(form: str, render: Callable[[Contents], str]) -> None:
    """Show every report in a format by its contents."""
    for name in CONTENTS:
        renderers[form, name] = lambda report: render(CONTENTS[type(report).__name__](report))


render_from_contents("notebook", render_notebook)
render_from_contents("html", render_plain_page)
renderers["html", "Report"] = render_page
renderers["headline", "Report"] = headline
renderers["headline", "InvarianceReport"] = headline_of
renderers["headline", "LinearityReport"] = headline_of_linearity
renderers["headline", "ConvolutionReport"] = headline_of_convolution
renderers["headline", "EffectiveHalo"] = headline_of_edges
renderers["headline", "InputSizes"] = headline_of_sizes
renderers["headline", "TilingPlan"] = headline_of_tiling
renderers["headline", "TiledComparison"] = headline_of_seams
renderers["html", "InvarianceReport"] = render_page_of_invariance
renderers["text", "Report"] = render_report
renderers["text", "InvarianceReport"] = render_invariance
renderers["text", "LinearityReport"] = explain_linearity
renderers["text", "ConvolutionReport"] = explain_convolution
renderers["text", "EffectiveHalo"] = render_edges
renderers["text", "InputSizes"] = render_sizes
renderers["text", "TilingPlan"] = render_tiling
renderers["text", "TiledComparison"] = render_seams
renderers["text", "OperatorMatrix"] = show_matrix

__all__ = [
    "explain",
    "explain_convolution",
    "explain_invariance",
    "explain_linearity",
    "render_edges",
    "render_index",
    "render_invariance",
    "render_notebook",
    "render_page",
    "render_report",
    "render_seams",
    "render_sizes",
    "render_table",
    "render_tiling",
    "show_matrix",
]
