"""What the commands do."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from shiftcheck.checks.causality.check import check_causality
from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.checks.figures.edges import effective_halo
from shiftcheck.checks.find_sizes import input_sizes
from shiftcheck.checks.invariance.check import check_invariance
from shiftcheck.checks.linearity.check import check_linear
from shiftcheck.checks.read_geometry import geometry
from shiftcheck.checks.shards.plan import sharding
from shiftcheck.checks.streams.plan import streaming
from shiftcheck.checks.tiles.plan import tiling
from shiftcheck.cli.delivery import check_outputs, deliver, guarded
from shiftcheck.cli.evaluating import run_evaluate as run_evaluate
from shiftcheck.cli.explain import explained
from shiftcheck.cli.shapes import completed
from shiftcheck.cli.signal_files import read_signal
from shiftcheck.cli.statuses import BROKEN, INCONCLUSIVE, PASSED, USAGE
from shiftcheck.cli.target import load_target, parse_arguments
from shiftcheck.errors import InputError
from shiftcheck.measuring.signals.samples import DTYPES, sample_signal
from shiftcheck.report.causality import CausalityVerdict
from shiftcheck.report.edges import EffectiveHalo
from shiftcheck.report.equivariance import Verdict
from shiftcheck.report.invariance import InvarianceVerdict
from shiftcheck.report.linearity import Linearity
from shiftcheck.report.reading import read_report
from shiftcheck.report.streams import Streaming

STATUS: dict[Any, int] = {
    Verdict.EQUIVARIANT: PASSED,
    Verdict.BROKEN: BROKEN,
    Verdict.INCONCLUSIVE: INCONCLUSIVE,
    InvarianceVerdict.INVARIANT: PASSED,
    InvarianceVerdict.NOT_INVARIANT: BROKEN,
    InvarianceVerdict.INCONCLUSIVE: INCONCLUSIVE,
    Linearity.LINEAR: PASSED,
    Linearity.AFFINE: BROKEN,
    Linearity.NOT_LINEAR: BROKEN,
    Linearity.INCONCLUSIVE: INCONCLUSIVE,
    CausalityVerdict.CAUSAL: PASSED,
    CausalityVerdict.NOT_CAUSAL: BROKEN,
    CausalityVerdict.INCONCLUSIVE: INCONCLUSIVE,
    Streaming.FINITE: PASSED,
    Streaming.ENDLESS: BROKEN,
    Streaming.UNKNOWN: INCONCLUSIVE,
}


def run_demo(options: argparse.Namespace) -> int:
    """Show what there is to see."""
    from shiftcheck.demo.tour import run_demo

    run_demo(options.out, partial(print, flush=True), progress=sys.stderr.isatty())
    return PASSED


def run_check(options: argparse.Namespace) -> int:
    """Check equivariance."""
    report = _reported(
        check_equivariance,
        options,
        moved=True,
        boundary=options.boundary,
        spatial_dims=options.spatial_dims,
        rtol=options.rtol,
        atol=options.atol,
        seed=options.seed,
        max_batch=options.max_batch,
        fixed=options.fixed,
        outputs=options.outputs,
        training=options.training,
        weights=options.weights,
        effort=options.effort,
        grow=options.grow,
        progress=sys.stderr.isatty(),
    )
    return USAGE if report.verdict is None else STATUS[report.verdict]


def run_invariance(options: argparse.Namespace) -> int:
    """Check invariance."""
    report = _reported(
        check_invariance,
        options,
        moved=True,
        fill=options.fill,
        crop=options.crop,
        spatial_dims=options.spatial_dims,
        max_relative_error=options.max_relative_error,
        seed=options.seed,
        fixed=options.fixed,
        outputs=options.outputs,
        training=options.training,
        effort=options.effort,
        progress=sys.stderr.isatty(),
    )
    return STATUS.get(report.verdict, INCONCLUSIVE)  # what was measured is not judged


def run_linearity(options: argparse.Namespace) -> int:
    """Check linearity."""
    report = _reported(check_linear, options, seed=options.seed)
    if report.verdict is not Linearity.AFFINE or options.affine:
        return PASSED if report.verdict is Linearity.AFFINE else STATUS[report.verdict]
    if options.json != "-":
        print("remedy: leave the bias out, or give --affine to let a constant part pass")
    return STATUS[report.verdict]


def run_causality(options: argparse.Namespace) -> int:
    """Check causality."""
    report = _reported(
        check_causality,
        options,
        axis=options.axis,
        lookahead=options.lookahead,
        block=options.block,
        seed=options.seed,
        fixed=options.fixed,
        outputs=options.outputs,
        training=options.training,
    )
    return STATUS[report.verdict]


def run_geometry(options: argparse.Namespace) -> int:
    """Show the geometry."""
    _reported(geometry, options, **_of_space(options))
    return PASSED


def run_sizes(options: argparse.Namespace) -> int:
    """Show which input sizes a model takes."""
    _reported(input_sizes, options, **_of_space(options))
    return PASSED


def run_halo(options: argparse.Namespace) -> int:
    """Measure the effective halo."""
    asked = {} if options.tolerance is None else {"tolerances": options.tolerance}
    found = _reported(
        effective_halo,
        options,
        layers=options.layers,
        seed=options.seed,
        **asked,
        **_of_space(options),
    )
    return PASSED if _tells(found) else INCONCLUSIVE


def run_tiling(options: argparse.Namespace) -> int:
    """Plan the tiles."""
    plan = _reported(
        tiling,
        options,
        tile=options.tile,
        memory=options.memory,
        boundary=options.boundary,
        spatial_dims=options.spatial_dims,
    )
    return PASSED if plan.exact else INCONCLUSIVE


def run_streaming(options: argparse.Namespace) -> int:
    """Show what it takes to run a model on a stream."""
    asked = {"axis": options.axis, "spatial_dims": options.spatial_dims}
    return STATUS[_reported(streaming, options, **asked).streaming]


def run_sharding(options: argparse.Namespace) -> int:
    """Show what layers exchange between shards."""
    check_outputs(options)
    with contextlib.redirect_stdout(sys.stderr):
        model, x = _model_and_input(options)
        plan = guarded(
            sharding,
            model,
            x,
            options.parts,
            options.axis,
            bounds=options.bounds,
            spatial_dims=options.spatial_dims,
        )
    deliver(plan, options)
    return PASSED if plan.exact else BROKEN


def _tells(found: EffectiveHalo) -> bool:
    """Whether some side of an output has an overlap that is enough, or needs none to be sought."""
    sides = [side for output in found.outputs for side in output.sides]
    return any(s.levels_off or any(n is not None for row in s.needed for n in row) for s in sides)


def _of_space(options: argparse.Namespace) -> dict[str, Any]:
    """What says where the input may move and which outputs count."""
    return {
        name: getattr(options, name)
        for name in ("boundary", "spatial_dims", "fixed", "outputs", "training")
    }


def _reported(check: Any, options: argparse.Namespace, *, moved: bool = False, **given: Any) -> Any:
    """The report of a check, which was shown; ``moved``: it is given shifts."""
    check_outputs(options)
    with contextlib.redirect_stdout(sys.stderr):  # what the target prints is no part of the report
        model, x = _model_and_input(options)
        if moved:
            given["shifts"] = _chosen_shifts(options, x)
        if "layer" in options:
            given["layer"] = options.layer
        report = guarded(check, model, x, **given)
    deliver(report, options)
    return report


def run_render(options: argparse.Namespace) -> int:
    """Show a report from its JSON."""
    check_outputs(options)
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{options.file} cannot be read: {error}") from error
    try:
        report = read_report(text)
    except InputError as error:
        raise InputError(f"{options.file}: {error}") from error
    deliver(report, options)
    return PASSED


def run_explain(options: argparse.Namespace) -> int:
    """Say what a cause or a reason means."""
    print(explained(" ".join(options.words)))
    return PASSED


def _model_and_input(options: argparse.Namespace) -> tuple[Any, Any]:
    if not options.inputs:
        raise InputError("no input: give --shape, such as --shape 1,3,64,80, or --input FILE")
    arguments = parse_arguments(options.arg)
    torch.manual_seed(options.seed)
    model = load_target(options.target, arguments, function=options.function)
    entries = completed(
        model,
        options.inputs,
        options.spatial_dims,
        axes_matter=options.run not in (run_linearity.__name__, run_causality.__name__),
        any_size=options.run == run_sizes.__name__,
        has_axis=options.run in WITH_AN_AXIS,
    )
    try:
        if isinstance(model, torch.nn.Module):
            dtype = None if options.dtype is None else getattr(torch, options.dtype)
            model = model.to(device=options.device, dtype=dtype)
        device, dtype = _home(model, options)
        signals = tuple(
            _without_values(entry, dtype)
            if options.run in BY_SHAPES and _is_large(entry)
            else _signal(entry, options.seed + i, dtype).to(device)
            for i, entry in enumerate(entries)
        )
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {options.device}, --dtype {options.dtype}: {error}") from error
    return model, signals[0] if len(signals) == 1 else signals


WITH_AN_AXIS = run_causality.__name__, run_streaming.__name__, run_sharding.__name__


def _home(model: Any, options: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    """Where the input belongs: the device and dtype asked for, or else those of the model."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    of_model = next((p for p in parameters if p.dtype in DTYPES), torch.zeros((), device="cpu"))
    device = of_model.device if options.device is None else torch.device(options.device)
    return device, of_model.dtype if options.dtype is None else getattr(torch, options.dtype)


def _signal(entry: Any, seed: int, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(entry, Path):
        return read_signal(entry).to(dtype)
    if len(entry) == 2:  # batch and time
        return sample_signal((entry[0], 1, entry[1]), seed=seed, dtype=dtype)[:, 0]
    return sample_signal(entry, seed=seed, dtype=dtype)


BY_SHAPES = run_geometry.__name__, run_tiling.__name__
"""What the structure suffices for; a tiling is measured, too, where that is no large image."""

LARGE = 2**25
"""Values of a shape beyond which none are drawn where the structure suffices."""


def _is_large(entry: Any) -> bool:
    return isinstance(entry, tuple) and math.prod(entry) > LARGE


def _without_values(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _chosen_shifts(options: argparse.Namespace, x: Any) -> Any:
    if options.reach is None:
        return options.shifts
    first = x[0] if isinstance(x, tuple) else x
    axes = len(options.spatial_dims or range(2, first.ndim))
    reach = range(-options.reach, options.reach + 1)
    return [shift for shift in product(reach, repeat=axes) if any(shift)]
