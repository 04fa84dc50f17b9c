"""Parameters and buffers that depend on the place, found by the structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from shiftcheck.errors import ShiftcheckError
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.remembered import remembering
from shiftcheck.measuring.structure_pass import read_structure
from shiftcheck.report.causes import CauseKind
from shiftcheck.report.equivariance import Change
from shiftcheck.tracing.restoring.state import exchanged

MOST_TABLES = 6
"""How many tensors are left out at most, to see whether they depend on the place."""

CONTAINERS = (torch.nn.Embedding, torch.nn.ParameterList, torch.nn.ParameterDict)
"""Modules of torch that hold what a user put into them."""


def tables_left_out(plan: Plan, scaled: bool) -> Change | None:
    """The change that leaves them all out; None where there are none.

    ``scaled``: the signal is multiplied by them, so that one takes their place, and zero else. A
    tensor is one of them where without it there are fewer causes of that kind.
    """
    candidates = list(_candidates(plan.model))[:MOST_TABLES]
    before = _positions(plan) if candidates else 0
    names = []
    for name in candidates:
        with left_out(plan, _change((name,), scaled)):
            if _positions(plan) < before:
                names.append(name)
    return _change(tuple(names), scaled) if names else None


def _change(names: tuple[str, ...], scaled: bool) -> Change:
    return Change(factors=names) if scaled else Change(constants=names)


def _candidates(model: Any) -> Iterator[str]:
    """Tensors of the user's own modules and of embeddings; weights of torch's layers are none."""
    modules = model.named_modules() if isinstance(model, torch.nn.Module) else ()
    for path, module in modules:
        if type(module).__module__.startswith("torch.nn.") and not isinstance(module, CONTAINERS):
            continue
        for name, tensor in _held(module):
            if tensor.is_floating_point() and tensor.numel() > 1:
                yield f"{path}.{name}" if path else name


def _held(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [(name, tensor) for name, tensor in own if not _is_uninitialised(tensor)]


def _is_uninitialised(tensor: torch.Tensor) -> bool:
    return torch.nn.parameter.is_lazy(tensor)


def _positions(plan: Plan) -> int:
    """How many causes of that kind there are on the way to the outputs."""
    try:
        _, outputs, _ = read_structure(
            plan.model, plan.inputs, layer=plan.layer, training=plan.training, computed=True
        )
    except ShiftcheckError:
        return 0
    causes = {c for row in outputs for c in row.layout.causes}
    return sum(c.kind is CauseKind.POSITION and not c.latent for c in causes)


@contextmanager
def left_out(plan: Plan, change: Change) -> Iterator[None]:
    """Have zeros and ones in the tensors that a change names so."""
    with (
        remembering(),
        exchanged(_named(plan.model, change.constants), lambda t: torch.zeros_like(t)),
        exchanged(_named(plan.model, change.factors), lambda t: torch.ones_like(t)),
    ):
        yield


def _named(model: Any, names: Sequence[str]) -> list[torch.Tensor]:
    modules = dict(model.named_modules()) if names else {}  # scripted ones have no get_submodule
    found = []
    for name in names:
        path, _, own = name.rpartition(".")
        found.append(dict(_held(modules[path]))[own])
    return found
