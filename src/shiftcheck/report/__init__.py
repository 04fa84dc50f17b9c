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
    Seam,
    SeamAxis,
    TiledComparison,
    TiledOutput,
    TilesVerdict,
    TilingFault,
    WrongPart,
)
from shiftcheck.report.sizes import AxisSizes, InputSizes, SizeSet

__all__ = [
    "AxisSizes",
    "Cause",
    "CauseForm",
    "CauseKind",
    "Change",
    "ConvolutionReport",
    "Draw",
    "EdgeLayer",
    "EdgeSide",
    "EffectiveHalo",
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
    "Metrics",
    "Placement",
    "Reason",
    "Report",
    "Seam",
    "SeamAxis",
    "ShiftResult",
    "SizeSet",
    "Superposition",
    "Theorem",
    "TiledComparison",
    "TiledOutput",
    "TilesVerdict",
    "TilingFault",
    "Trial",
    "Verdict",
    "WrongPart",
    "read_report",
]
