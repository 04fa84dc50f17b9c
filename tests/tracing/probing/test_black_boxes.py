"""A callable that is probed runs often, and is not followed while it does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.frames import Frames
from shiftcheck.tracing.leaving.ways_out import WaysOut

LAYERS = 5


class Layered(nn.Module):
    """A network that takes no more than some pixels."""

    def __init__(self, most: int = 10**6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.most = most
        self.layers = nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1) for _ in range(LAYERS)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > self.most:
            raise ValueError("too large")
        out: torch.Tensor = self.layers(x)
        return out


def met_in(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> dict[str, int]:
    """What is noticed while the model is probed: functions of torch, and modules that begin."""
    met, runs = {"functions": 0, "modules": 0}, itertools.count()
    notice, path_of, run = WaysOut.__torch_function__, Frames._path, BlackBox.__call__

    def noticed(self: Any, *args: Any) -> Any:
        met["functions"] += 1
        return notice(self, *args)

    def path(self: Any, module: nn.Module) -> str | None:
        known = path_of(self, module)
        met["modules"] += known is not None
        return known

    def counted(self: BlackBox, *args: Any) -> Any:
        next(runs)  # no number that the check would put back
        return run(self, *args)

    monkeypatch.setattr(BlackBox, "__call__", counted)
    monkeypatch.setattr(WaysOut, "__torch_function__", noticed)
    monkeypatch.setattr(Frames, "_path", path)
    shiftcheck.geometry(BlackBox(model, arrays=False), torch.randn(1, 1, 40))
    return {**met, "runs": next(runs)}


def test_what_is_probed_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    met = met_in(monkeypatch, Layered())
    assert met["runs"] > 20
    assert met["modules"] <= 2 * (LAYERS + 2), met
    assert met["functions"] < 3 * met["modules"], met


@pytest.mark.parametrize("most", [10**6, 41])
def test_modes_are_as_they_were_however_it_ends(most: int) -> None:
    class Noting(torch.overrides.TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.met = 0

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.met += 1
            return func(*args, **(kwargs or {}))

    with Noting() as own:
        report = shiftcheck.geometry(BlackBox(Layered(most), arrays=False), torch.randn(1, 1, 40))
        assert (report.outputs[0].stride == (1,)) == (most > 41)
        probed = own.met
        torch.zeros(1) + 1
    assert probed > 20 * LAYERS, "a mode of the caller meets what is probed"
    assert own.met > probed
    assert torch._C._len_torch_function_stack() == 0
