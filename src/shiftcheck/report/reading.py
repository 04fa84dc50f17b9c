"""A report of any kind from its JSON."""

from __future__ import annotations

import json

from shiftcheck.errors import InputError
from shiftcheck.report.base import Shown
from shiftcheck.report.bioimageio import TensorsDescription
from shiftcheck.report.causality import CausalityReport
from shiftcheck.report.descriptions import DescriptionCheck
from shiftcheck.report.edges import EffectiveHalo
from shiftcheck.report.equivariance import Report
from shiftcheck.report.evaluation import EvaluationReport
from shiftcheck.report.invariance import InvarianceReport
from shiftcheck.report.linearity import ConvolutionReport, LinearityReport
from shiftcheck.report.monai import MonaiWindows
from shiftcheck.report.seams import TiledComparison
from shiftcheck.report.serialization import KIND
from shiftcheck.report.shards import ShardingPlan
from shiftcheck.report.shards_compared import ShardedComparison
from shiftcheck.report.sizes import InputSizes
from shiftcheck.report.steps import StreamReport
from shiftcheck.report.streams import StreamingPlan
from shiftcheck.report.tiler import TilerPlan
from shiftcheck.report.tiles import TilingPlan

READ: tuple[type[Shown], ...] = (
    Report,
    InvarianceReport,
    LinearityReport,
    ConvolutionReport,
    EffectiveHalo,
    InputSizes,
    TiledComparison,
    TilingPlan,
    EvaluationReport,
    CausalityReport,
    StreamingPlan,
    StreamReport,
    MonaiWindows,
    TilerPlan,
    ShardingPlan,
    ShardedComparison,
    TensorsDescription,
    DescriptionCheck,
)
KINDS = {cls.__name__: cls for cls in READ}


def read_report(text: str) -> Shown:
    """The report that ``to_json`` of any report wrote, as a record of the class that it names.

    ``text``: the JSON. What was written before reports named their class is read as a ``Report``.
    Raises InputError for text that is no report, or one of a newer schema.

    Example:
        >>> import torch, shiftcheck
        >>> report = shiftcheck.check_linear(torch.nn.AvgPool2d(2), torch.randn(1, 1, 8, 8))
        >>> again = shiftcheck.report.read_report(report.to_json())
        >>> type(again).__name__, again == report
        ('LinearityReport', True)
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        data = None  # from_json says what is wrong
    kind = data.get(KIND, Report.__name__) if isinstance(data, dict) else Report.__name__
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"text is a {kind}, which is none of {', '.join(KINDS)}")
    return KINDS[kind].from_json(text)
