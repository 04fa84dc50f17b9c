"""An average before the stride of a layer, which makes the error of the stride smaller."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.remembered import remembering
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change, Report

STRIDED = {
    torch.nn.MaxPool1d: torch.nn.AvgPool1d,
    torch.nn.Conv1d: torch.nn.AvgPool1d,
    torch.nn.MaxPool2d: torch.nn.AvgPool2d,
    torch.nn.Conv2d: torch.nn.AvgPool2d,
    torch.nn.MaxPool3d: torch.nn.AvgPool3d,
    torch.nn.Conv3d: torch.nn.AvgPool3d,
}
"""Layers that keep some of the samples, and what averages instead."""

MOST_LAYERS = 3
"""How many layers are changed at most."""


def blurred(report: Report, plan: Plan) -> Change | None:
    """The change that averages before the strides on the way; None where that cannot be done."""
    guilty = report.guilty
    if guilty is None or guilty.kind is not CauseKind.STRIDE:
        return None
    names = dict.fromkeys(c.layer for c in report.causes if c.kind is CauseKind.STRIDE)
    steps = {name: _stride_of(_module(plan.model, name)) for name in names}
    strided = tuple((name, step) for name, step in steps.items() if step)
    known = bool(strided) and len(strided) == len(names) <= MOST_LAYERS
    return Change(blurred=strided) if known else None


def _module(model: Any, name: str) -> torch.nn.Module | None:
    modules = dict(model.named_modules()) if isinstance(model, torch.nn.Module) else {}
    return modules.get(name) if name else None


def _stride_of(module: torch.nn.Module | None) -> int:
    """The stride of a layer that can be changed, the same along all axes; 0 for others."""
    if type(module) not in STRIDED or getattr(module, "return_indices", False):
        return 0
    given: Any = module.stride if module is not None else ()
    strides = set(given) if isinstance(given, tuple) else {given}
    stride = strides.pop() if len(strides) == 1 else 0
    return stride if isinstance(stride, int) and stride > 1 else 0


@contextmanager
def averaged(plan: Plan, change: Change) -> Iterator[None]:
    """Have the layers that a change names keep all samples, and the average of some follow."""
    replaced = [_exchange(plan.model, name, step) for name, step in change.blurred]
    try:
        with remembering():
            yield
    finally:
        for parent, own, module in replaced:
            parent.register_module(own, module)


def _exchange(model: Any, name: str, step: int) -> tuple[torch.nn.Module, str, torch.nn.Module]:
    path, _, own = name.rpartition(".")
    modules: dict[str, torch.nn.Module] = dict(model.named_modules())
    parent, module = modules[path], modules[name]
    dense: Any = copy.copy(module)
    dense.stride = 1
    average = STRIDED[type(module)](step, ceil_mode=True)
    parent.register_module(own, torch.nn.Sequential(dense, average).train(module.training))
    return parent, own, module
