"""Showing a report; nothing here computes a result."""

from collections.abc import Callable
from typing import Any

from shiftcheck.report.base import renderers
from shiftcheck.report.render.causality import (
    contents_of_causality,
    headline_of_causality,
    render_causality,
)
from shiftcheck.report.render.contents import Contents
from shiftcheck.report.render.descriptions import (
    contents_of_check,
    contents_of_description,
    headline_of_check,
    headline_of_description,
    render_check,
    render_description,
)
from shiftcheck.report.render.edges import contents_of_edges, headline_of_edges, render_edges
from shiftcheck.report.render.evaluation import (
    contents_of_evaluation,
    headline_of_evaluation,
    render_evaluation,
)
from shiftcheck.report.render.html import (
    contents_of_report,
    render_index,
    render_page,
    render_page_of_evaluation,
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
from shiftcheck.report.render.shards import (
    contents_of_sharding,
    headline_of_sharding,
    render_sharding,
)
from shiftcheck.report.render.shards_compared import (
    contents_of_sharded,
    headline_of_sharded,
    render_sharded,
)
from shiftcheck.report.render.sizes import contents_of_sizes, headline_of_sizes, render_sizes
from shiftcheck.report.render.streams import (
    contents_of_stream,
    contents_of_streaming,
    headline_of_stream,
    headline_of_streaming,
    render_stream,
    render_streaming,
)
from shiftcheck.report.render.table import render_report, render_table
from shiftcheck.report.render.tiles import contents_of_tiling, headline_of_tiling, render_tiling
from shiftcheck.report.render.windows import (
    contents_of_monai,
    contents_of_tiler,
    headline_of_monai,
    headline_of_tiler,
    render_monai,
    render_tiler,
)

CONTENTS: dict[str, Callable[[Any], Contents]] = {
    "Report": contents_of_report,
    "InvarianceReport": contents_of_invariance,
    "LinearityReport": contents_of_linearity,
    "ConvolutionReport": contents_of_convolution,
    "EffectiveHalo": contents_of_edges,
    "InputSizes": contents_of_sizes,
    "TilingPlan": contents_of_tiling,
    "TiledComparison": contents_of_seams,
    "EvaluationReport": contents_of_evaluation,
    "CausalityReport": contents_of_causality,
    "StreamingPlan": contents_of_streaming,
    "StreamReport": contents_of_stream,
    "MonaiWindows": contents_of_monai,
    "TilerPlan": contents_of_tiler,
    "ShardingPlan": contents_of_sharding,
    "ShardedComparison": contents_of_sharded,
    "TensorsDescription": contents_of_description,
    "DescriptionCheck": contents_of_check,
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
renderers["headline", "EvaluationReport"] = headline_of_evaluation
renderers["headline", "CausalityReport"] = headline_of_causality
renderers["headline", "StreamingPlan"] = headline_of_streaming
renderers["headline", "StreamReport"] = headline_of_stream
renderers["headline", "MonaiWindows"] = headline_of_monai
renderers["headline", "TilerPlan"] = headline_of_tiler
renderers["headline", "ShardingPlan"] = headline_of_sharding
renderers["headline", "ShardedComparison"] = headline_of_sharded
renderers["headline", "TensorsDescription"] = headline_of_description
renderers["headline", "DescriptionCheck"] = headline_of_check
renderers["html", "EvaluationReport"] = render_page_of_evaluation
renderers["html", "InvarianceReport"] = render_page_of_invariance
renderers["text", "Report"] = render_report
renderers["text", "InvarianceReport"] = render_invariance
renderers["text", "LinearityReport"] = explain_linearity
renderers["text", "ConvolutionReport"] = explain_convolution
renderers["text", "EffectiveHalo"] = render_edges
renderers["text", "InputSizes"] = render_sizes
renderers["text", "TilingPlan"] = render_tiling
renderers["text", "TiledComparison"] = render_seams
renderers["text", "EvaluationReport"] = render_evaluation
renderers["text", "CausalityReport"] = render_causality
renderers["text", "StreamingPlan"] = render_streaming
renderers["text", "StreamReport"] = render_stream
renderers["text", "MonaiWindows"] = render_monai
renderers["text", "TilerPlan"] = render_tiler
renderers["text", "ShardingPlan"] = render_sharding
renderers["text", "ShardedComparison"] = render_sharded
renderers["text", "TensorsDescription"] = render_description
renderers["text", "DescriptionCheck"] = render_check
renderers["text", "OperatorMatrix"] = show_matrix

__all__ = [
    "explain",
    "explain_convolution",
    "explain_invariance",
    "explain_linearity",
    "render_causality",
    "render_check",
    "render_description",
    "render_edges",
    "render_evaluation",
    "render_index",
    "render_invariance",
    "render_monai",
    "render_notebook",
    "render_page",
    "render_report",
    "render_seams",
    "render_sharded",
    "render_sharding",
    "render_sizes",
    "render_stream",
    "render_streaming",
    "render_table",
    "render_tiler",
    "render_tiling",
    "show_matrix",
]
