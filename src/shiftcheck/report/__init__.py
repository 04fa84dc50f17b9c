"""What the checks return: frozen records of plain numbers and strings, no tensors."""

from shiftcheck.report.causes import Cause, CauseForm, CauseKind
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
from shiftcheck.report.reasons import Hints, Reason
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
    "Blocking",
    "Cause",
    "CauseForm",
    "CauseKind",
    "Change",
    "ConvolutionReport",
    "Draw",
    "Exactness",
    "Hints",
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
    "Margins",
    "Metrics",
    "PooledStatistic",
    "Reach",
    "Reason",
    "Report",
    "ShiftResult",
    "Superposition",
    "Theorem",
    "TileSize",
    "TiledAxis",
    "TiledOutput",
    "TilingPlan",
    "Trial",
    "Verdict",
]
