"""What a type checker must find: each line that ends in a mark is wrong, and no other one."""

from __future__ import annotations

import torch
from torch import nn

import shiftcheck

model, x = nn.ReLU(), torch.zeros(1, 1, 8, 8)

shiftcheck.chek_equivariance(model, x)  # wrong: there is no such name
shiftcheck.check_equivariance(model)  # wrong: an argument is missing
shiftcheck.check_equivariance(model, x, shift=(1, 0))  # wrong: no such argument
shiftcheck.check_equivariance(model, x, effort="some")  # wrong: none of the choices
shiftcheck.check_equivariance(model, x, seed="one")  # wrong: no number
report = shiftcheck.check_equivariance(model, x)
print(report.verdct)  # wrong: no such field
report.verdict = None  # wrong: a record is frozen
layers: list[str] = report.layers  # wrong: another type
size: int = report.outputs[0].error  # wrong: it may be None, and is no whole number
print(shiftcheck.geometry(model, x).verdict.value)  # wrong: nothing was measured
print(shiftcheck.strategies.sizs)  # wrong: no such strategy
shiftcheck.report.Report.from_json(3)  # wrong: no text


@shiftcheck.parametrize_with_layers(model, x)
def test_layer(layer: str) -> None:
    assert layer


test_layer(3)  # wrong: the decorated test keeps its type
