"""The command that measures over a whole set of data."""

from __future__ import annotations

import argparse
import contextlib
import sys
from itertools import product
from typing import Any

import torch

from shiftcheck.checks.evaluation.check import evaluate
from shiftcheck.checks.prepare import dtype_of
from shiftcheck.cli.data_files import read_items
from shiftcheck.cli.delivery import check_outputs, deliver, guarded
from shiftcheck.cli.statuses import INCONCLUSIVE, PASSED
from shiftcheck.cli.target import load_target, parse_arguments
from shiftcheck.errors import InputError
from shiftcheck.report.evaluation import EvaluationReport


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate over a set of data."""
    check_outputs(options)
    with contextlib.redirect_stdout(sys.stderr):  # what the target prints is no part of the report
        model = _model(options)
        data = read_items(options.data, _type(model, options))
        report: EvaluationReport = guarded(
            evaluate,
            model,
            data,
            options.what,
            shifts=_shifts(options, data),
            draws=options.draws,
            max_shift=options.max_shift,
            boundary=options.boundary,
            fill=options.fill,
            spatial_dims=options.spatial_dims,
            fixed=options.fixed,
            outputs=options.outputs,
            layer=options.layer,
            items=options.items,
            batch_size=options.batch_size,
            checkpoint=options.checkpoint,
            seed=options.seed,
            training=options.training,
            pictures=options.html is not None or options.json is not None,
            progress=sys.stderr.isatty(),
        )
    deliver(report, options)
    return PASSED if tells_of_all(report) else INCONCLUSIVE


def tells_of_all(report: EvaluationReport) -> bool:
    """Whether there is something to tell of all that was asked."""
    told = {q.what for q in report.quantities if q.pairs.count and not q.reason}
    return not report.reason and told == set(report.what)


def _model(options: argparse.Namespace) -> Any:
    arguments = parse_arguments(options.arg)
    torch.manual_seed(options.seed)
    model = load_target(options.target, arguments, function=options.function)
    if not isinstance(model, torch.nn.Module):
        return model
    try:
        dtype = None if options.dtype is None else getattr(torch, options.dtype)
        return model.to(device=options.device, dtype=dtype)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {options.device}, --dtype {options.dtype}: {error}") from error


def _type(model: Any, options: argparse.Namespace) -> torch.dtype:
    dtype: torch.dtype = dtype_of(model) if options.dtype is None else getattr(torch, options.dtype)
    return dtype


def _shifts(options: argparse.Namespace, data: Any) -> Any:
    """The shifts that every item gets; None where each gets its own."""
    if options.shifts is not None and options.reach is None:
        return options.shifts
    if options.reach is None:
        return None
    axes = len(options.spatial_dims or range(1, _first(data).ndim))
    reach = range(-options.reach, options.reach + 1)
    return [shift for shift in product(reach, repeat=axes) if any(shift)]


def _first(data: Any) -> torch.Tensor:
    """The first item that can be read."""
    for number in range(len(data)):
        with contextlib.suppress(Exception):
            item: torch.Tensor = data[number]
            return item
    raise InputError("--data: none of its items can be read")
