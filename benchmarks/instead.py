"""What people would use instead: hooks and allclose, a loop over shifts, another tracer.

None of them tells which samples may be compared, or why a layer breaks. All compare the middle of
the output, where no border of these networks reaches.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from benchmarks.measure import Work
from torch import nn


def two_forwards(model: nn.Module, x: torch.Tensor, shift: tuple[int, ...]) -> list[bool]:
    """Two passes, with hooks that keep what each layer gives, and allclose; for one shift."""
    kept: list[list[torch.Tensor]] = [[], []]
    for values, given in zip(kept, (x, x.roll(shift, (2, 3))), strict=True):
        keep = partial(_keep, values)
        leaves = [m for m in model.modules() if not list(m.children())]
        hooks = [m.register_forward_hook(keep) for m in leaves]
        with torch.inference_mode():
            model(given)
        for hook in hooks:
            hook.remove()
    return [_alike(one, other, x, shift) for one, other in zip(*kept, strict=True)]


def _keep(values: list[torch.Tensor], module: nn.Module, args: Any, output: Any) -> None:
    values.append(output.clone())  # the next one may work in place


def _alike(one: torch.Tensor, other: torch.Tensor, x: torch.Tensor, shift: tuple[int, ...]) -> bool:
    stride = x.shape[-1] // one.shape[-1]
    moved = one.roll([v // stride for v in shift], (2, 3))
    inner = [slice(None)] * 2 + [slice(3 * n // 8, n - 3 * n // 8) for n in one.shape[2:]]
    return torch.allclose(moved[tuple(inner)], other[tuple(inner)], atol=1e-5)


def loop(model: nn.Module, x: torch.Tensor, shifts: Sequence[tuple[int, ...]]) -> list[bool]:
    """The output alone, one pass for every shift."""
    with torch.inference_mode():
        base = model(x)
        return [_alike(base, model(x.roll(v, (2, 3))), x, v) for v in shifts]


def torchlens_trace(model: nn.Module, x: torch.Tensor) -> Any:
    """Every operation and what it gave, for x alone."""
    import torchlens

    return torchlens.trace(model, x)


def torchlens_fields(model: nn.Module, x: torch.Tensor) -> list[Any]:
    """The same, and the receptive field of every operation that has one."""
    from torchlens.receptive_field import ReceptiveFieldError

    found = []
    for op in torchlens_trace(model, x).layer_list:
        try:
            found.append(op.receptive_field)
        except ReceptiveFieldError:  # it says of some that it cannot tell
            continue
    return found


def without_wrappers() -> None:
    """Give torch its own functions back, which torchlens has wrapped for the whole process."""
    from torchlens.backends.torch.wrappers import unwrap_torch

    unwrap_torch()


def works(model: nn.Module, x: torch.Tensor, shifts: Sequence[tuple[int, ...]]) -> dict[str, Work]:
    """What compares, by its name."""
    return {
        "two forwards, hooks, allclose (one shift)": partial(two_forwards, model, x, shifts[-1]),
        "a loop over the shifts (the output)": partial(loop, model, x, shifts),
    }


def tracers(model: nn.Module, x: torch.Tensor) -> dict[str, Work]:
    """What torchlens tells of x alone, where that is installed; ``without_wrappers`` follows."""
    if not importlib.util.find_spec("torchlens"):
        return {}
    return {
        "torchlens, trace of x alone": partial(torchlens_trace, model, x),
        "torchlens, receptive fields of x alone": partial(torchlens_fields, model, x),
    }
