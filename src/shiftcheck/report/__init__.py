"""What the checks return: frozen records of plain numbers and strings, no tensors."""

from shiftcheck.report.causes import Cause, CauseForm, CauseKind
from shiftcheck.report.edges import EdgeLayer, EdgeSide, EffectiveHalo
from shiftcheck.report.equivariance import (
    Change,
    Draw,
    LayerResult,
    Report,
    ShiftResult,
    Trial,
    Verdict,
)
from shiftcheck.report.figures import LieDerivative, Metrics
from shiftcheck.report.invariance import (
    InvarianceReport,
    InvarianceShift,
    InvarianceTrial,
    InvarianceVerdict,
    InvariantOutput,
)
from shiftcheck.report.left_out import LeftOut
from shiftcheck.report.linearity import (
    ConvolutionReport,
    Linearity,
    LinearityReport,
    LinearOutput,
    Superposition,
    Theorem,
)
from shiftcheck.report.placing import Located, Placement
from shiftcheck.report.reading import read_report
from shiftcheck.report.reasons import Hints, Reason
from shiftcheck.report.seams import (
    ComparedOutput,
    Seam,
    SeamAxis,
    TiledComparison,
    TilesVerdict,
    TilingFault,
    WrongPart,
)
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet
from shiftcheck.report.tiles import (
    Blocking,
    Exactness,
    Margins,
    PooledStatistic,
    Reach,
    TiledAxis,
    TiledOutput,
    TileSize,
    TilingPlan,
)

__all__ = [
    "AxisSizes",
    "Blocking",
    "Cause",
    "CauseForm",
    "CauseKind",
    "Change",
    "ComparedOutput",
    "ConvolutionReport",
    "Draw",
    "EdgeLayer",
    "EdgeSide",
    "EffectiveHalo",
    "Exactness",
    "Hints",
    "InputSizes",
    "InvarianceReport",
    "InvarianceShift",
    "InvarianceTrial",
    "InvarianceVerdict",
    "InvariantOutput",
    "LayerResult",
    "LeftOut",
    "LieDerivative",
    "LinearOutput",
    "Linearity",
    "LinearityReport",
    "Located",
    "Margins",
    "Metrics",
    "Placement",
    "PooledStatistic",
    "Reach",
    "Reason",
    "Report",
    "Seam",
    "SeamAxis",
    "ShiftResult",
    "SizeSet",
    "Superposition",
    "Theorem",
    "TileSize",
    "TiledAxis",
    "TiledComparison",
    "TiledOutput",
    "TilesVerdict",
    "TilingFault",
    "TilingPlan",
    "Trial",
    "Verdict",
    "WrongPart",
    "read_report",
]
