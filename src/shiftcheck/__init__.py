"""Test whether PyTorch modules are equivariant to translation, and name the layer that is not.

A module is equivariant where its output moves with its input. Where a check passes, that is true of
every sample that sees no padding; where it fails, the message names the layer, the cause, the shift
and a remedy that was tried; what cannot be told never passes.

    >>> import torch, shiftcheck
    >>> model = torch.nn.Conv2d(3, 8, 5, padding=2)
    >>> x = torch.randn(1, 3, 32, 40)
    >>> report = shiftcheck.assert_equivariant(model, x)
    >>> report.verdict
    <Verdict.EQUIVARIANT: 'equivariant'>

``print(report)`` shows every layer, and ``report.to_html("report.html")`` is a page of it. An input
is ``[batch, channels, *spatial]`` with one to three spatial axes; shifts and sizes are in pixels.

assertions, for test suites
    assert_equivariant, assert_invariant, assert_linear, assert_causal;
    assert_tiled_equals_whole, assert_sharded_equals_whole, assert_streamable;
    parametrize_with_layers, budget_file; assert_within_budget, of a whole set of data
checks, which return a report and raise for no verdict
    check_equivariance, check_invariance, check_linear, check_convolution, check_causality;
    compare_tiled, check_sharded, check_streamable; evaluate, over a whole set of data
the structure alone, without running the model on values
    geometry, input_sizes
models in pieces: plans, and the model that runs by one
    tiling, tiled; sharding; streaming, streamed; verify_bioimageio
figures
    equivariance_metrics, lie_derivatives, effective_halo
operators
    shift, impulse_response, as_convolution, operator_matrix
operations of your own
    register_rule
what they return
    Report, Verdict, TilingPlan, TiledModel, StreamingPlan, StreamedModel, ImpulseResponse,
    OperatorMatrix, PolyphaseConvolution
errors
    ShiftcheckError, InputError, ModelError, MissingExtraError, ProcessLostError;
    NotEquivariantError, NotInvariantError, NotLinearError, NotCausalError, TilesDifferError,
    ShardsDifferError, StreamDiffersError, BudgetExceededError, InconclusiveError,
    InfiniteSupportError
modules
    report, models, datasets, rules; strategies (needs hypothesis), plot (needs matplotlib),
    metrics (needs torchmetrics)

``help(shiftcheck.check_equivariance)`` tells of all arguments. In a shell, ``shiftcheck demo``
shows what the checks do, and ``shiftcheck explain WORD`` what a cause or a reason in a message
means. The documentation, beside the source, begins with docs/quickstart.md.
"""

# What is public is imported when it is asked for, so that importing the package costs nothing.

import gc
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shiftcheck import datasets as datasets
    from shiftcheck import errors as errors
    from shiftcheck import metrics as metrics
    from shiftcheck import models as models
    from shiftcheck import plot as plot
    from shiftcheck import report as report
    from shiftcheck import rules as rules
    from shiftcheck import strategies as strategies
    from shiftcheck import testing as testing
    from shiftcheck.checks.causality.check import check_causality
    from shiftcheck.checks.equivariance.check import check_equivariance
    from shiftcheck.checks.evaluation.check import evaluate
    from shiftcheck.checks.figures.edges import effective_halo
    from shiftcheck.checks.figures.lie_derivative import lie_derivatives
    from shiftcheck.checks.figures.metrics import equivariance_metrics
    from shiftcheck.checks.find_sizes import input_sizes
    from shiftcheck.checks.invariance.check import check_invariance
    from shiftcheck.checks.linearity.check import check_linear
    from shiftcheck.checks.linearity.impulses import ImpulseResponse
    from shiftcheck.checks.linearity.kernel import as_convolution, impulse_response
    from shiftcheck.checks.linearity.matrix import OperatorMatrix, operator_matrix
    from shiftcheck.checks.linearity.theorem import check_convolution
    from shiftcheck.checks.linearity.torch_modules import PolyphaseConvolution
    from shiftcheck.checks.read_geometry import geometry
    from shiftcheck.checks.seams.compare import compare_tiled
    from shiftcheck.checks.shards.compare import check_sharded
    from shiftcheck.checks.shards.plan import sharding
    from shiftcheck.checks.streams.check import check_streamable
    from shiftcheck.checks.streams.plan import streaming
    from shiftcheck.checks.streams.run import StreamedModel, streamed
    from shiftcheck.checks.tiles.descriptions import verify_bioimageio
    from shiftcheck.checks.tiles.plan import tiling
    from shiftcheck.checks.tiles.run import TiledModel, tiled
    from shiftcheck.errors import (
        BudgetExceededError,
        InconclusiveError,
        InfiniteSupportError,
        InputError,
        MissingExtraError,
        ModelError,
        NotCausalError,
        NotEquivariantError,
        NotInvariantError,
        NotLinearError,
        ProcessLostError,
        ShardsDifferError,
        ShiftcheckError,
        StreamDiffersError,
        TilesDifferError,
    )
    from shiftcheck.measuring.signals.shifting import shift
    from shiftcheck.report.equivariance import Report, Verdict
    from shiftcheck.report.streams import StreamingPlan
    from shiftcheck.report.tiles import TilingPlan
    from shiftcheck.rules import register_rule
    from shiftcheck.testing.assertions import assert_equivariant
    from shiftcheck.testing.budgets import budget_file
    from shiftcheck.testing.causality import assert_causal
    from shiftcheck.testing.evaluation import assert_within_budget
    from shiftcheck.testing.invariance import assert_invariant
    from shiftcheck.testing.layers import parametrize_with_layers
    from shiftcheck.testing.linearity import assert_linear
    from shiftcheck.testing.shards import assert_sharded_equals_whole
    from shiftcheck.testing.streams import assert_streamable
    from shiftcheck.testing.tiles import assert_tiled_equals_whole

__version__ = "0.1.0"

__all__ = [
    "BudgetExceededError",
    "ImpulseResponse",
    "InconclusiveError",
    "InfiniteSupportError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "NotCausalError",
    "NotEquivariantError",
    "NotInvariantError",
    "NotLinearError",
    "OperatorMatrix",
    "PolyphaseConvolution",
    "ProcessLostError",
    "Report",
    "ShardsDifferError",
    "ShiftcheckError",
    "StreamDiffersError",
    "StreamedModel",
    "StreamingPlan",
    "TiledModel",
    "TilesDifferError",
    "TilingPlan",
    "Verdict",
    "as_convolution",
    "assert_causal",
    "assert_equivariant",
    "assert_invariant",
    "assert_linear",
    "assert_sharded_equals_whole",
    "assert_streamable",
    "assert_tiled_equals_whole",
    "assert_within_budget",
    "budget_file",
    "check_causality",
    "check_convolution",
    "check_equivariance",
    "check_invariance",
    "check_linear",
    "check_sharded",
    "check_streamable",
    "compare_tiled",
    "datasets",
    "effective_halo",
    "equivariance_metrics",
    "evaluate",
    "geometry",
    "impulse_response",
    "input_sizes",
    "lie_derivatives",
    "models",
    "operator_matrix",
    "parametrize_with_layers",
    "register_rule",
    "sharding",
    "shift",
    "streamed",
    "streaming",
    "tiled",
    "tiling",
    "verify_bioimageio",
]

_HOMES = {
    "ImpulseResponse": "checks.linearity.impulses",
    "InconclusiveError": "errors",
    "BudgetExceededError": "errors",
    "InfiniteSupportError": "errors",
    "InputError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "NotCausalError": "errors",
    "NotEquivariantError": "errors",
    "NotInvariantError": "errors",
    "NotLinearError": "errors",
    "OperatorMatrix": "checks.linearity.matrix",
    "PolyphaseConvolution": "checks.linearity.torch_modules",
    "ProcessLostError": "errors",
    "Report": "report.equivariance",
    "ShardsDifferError": "errors",
    "ShiftcheckError": "errors",
    "StreamDiffersError": "errors",
    "StreamedModel": "checks.streams.run",
    "StreamingPlan": "report.streams",
    "TiledModel": "checks.tiles.run",
    "TilingPlan": "report.tiles",
    "TilesDifferError": "errors",
    "Verdict": "report.equivariance",
    "as_convolution": "checks.linearity.kernel",
    "assert_causal": "testing.causality",
    "assert_equivariant": "testing.assertions",
    "assert_invariant": "testing.invariance",
    "assert_linear": "testing.linearity",
    "assert_streamable": "testing.streams",
    "assert_sharded_equals_whole": "testing.shards",
    "assert_tiled_equals_whole": "testing.tiles",
    "assert_within_budget": "testing.evaluation",
    "budget_file": "testing.budgets",
    "check_causality": "checks.causality.check",
    "check_convolution": "checks.linearity.theorem",
    "check_equivariance": "checks.equivariance.check",
    "check_invariance": "checks.invariance.check",
    "check_linear": "checks.linearity.check",
    "check_streamable": "checks.streams.check",
    "check_sharded": "checks.shards.compare",
    "compare_tiled": "checks.seams.compare",
    "effective_halo": "checks.figures.edges",
    "equivariance_metrics": "checks.figures.metrics",
    "evaluate": "checks.evaluation.check",
    "geometry": "checks.read_geometry",
    "impulse_response": "checks.linearity.kernel",
    "input_sizes": "checks.find_sizes",
    "lie_derivatives": "checks.figures.lie_derivative",
    "operator_matrix": "checks.linearity.matrix",
    "parametrize_with_layers": "testing.layers",
    "register_rule": "rules",
    "sharding": "checks.shards.plan",
    "shift": "measuring.signals.shifting",
    "streamed": "checks.streams.run",
    "streaming": "checks.streams.plan",
    "tiled": "checks.tiles.run",
    "tiling": "checks.tiles.plan",
    "verify_bioimageio": "checks.tiles.descriptions",
}
"""The module that defines each public name: the imports above, which only type checkers see."""

_MODULES = (
    "checks",
    "datasets",
    "errors",
    "lattice",
    "measuring",
    "metrics",
    "models",
    "plot",
    "report",
    "rules",
    "strategies",
    "testing",
    "tracing",
)


def _asked_for(name: str) -> Any:
    """Import what is asked for, once; plot, metrics and strategies need an extra then.

    The records of ``shiftcheck.report`` are found here too, which is their earlier place.
    """
    if name in _MODULES:
        return _imported(f"shiftcheck.{name}")
    home = _HOMES.get(name)
    if home is None and not name.startswith("_"):
        home = "report" if name in _imported("shiftcheck.report").__all__ else None
    if home is None:
        raise AttributeError(f"module 'shiftcheck' has no attribute {name!r}")
    value = globals()[name] = getattr(_imported(f"shiftcheck.{home}"), name)
    return value


if not TYPE_CHECKING:  # with it, type checkers would take any name for one that there is
    __getattr__ = _asked_for


def _imported(name: str) -> ModuleType:
    """A module; garbage waits so long, as looking through all that torch holds takes as long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if collecting:
            gc.enable()


def __dir__() -> list[str]:
    """All public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
