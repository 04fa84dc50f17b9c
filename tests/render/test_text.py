"""A report as a table."""

from __future__ import annotations

import torch
from torch import nn

import shiftcheck


def test_the_table_of_the_lenet() -> None:
    text = str(shiftcheck.geometry(shiftcheck.models.LeNet(), (1, 1, 28, 28)))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(" ")}
    assert rows["conv4"] == ["conv4", "5x12x12", "1", "1", "17", "0+16", "0:12"]
    assert rows["max_pool2d"] == ["max_pool2d", "5x6x6", "2", "2", "18", "0+17", "0:6", "STRIDE"]
    assert rows["fc1"] == ["fc1", "10", "-", "-", "-", "-", "-", "MIXING"]


def test_names_from_the_model_are_no_markup() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("[red]x[/red]", nn.Conv1d(1, 1, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return next(self.children())(x)

    report = shiftcheck.check_equivariance(Odd(), torch.randn(1, 1, 20))
    assert "[red]x[/red]" in str(report)


def test_figures_of_a_measured_report() -> None:
    report = shiftcheck.check_equivariance(nn.Conv1d(1, 2, 3, padding=1), torch.randn(1, 1, 20))
    text = str(report)
    assert text.startswith("Conv1d on 1x1x20: EQUIVARIANT over")
    assert "PADDING" in text
    assert report.layers[0].border_error is not None
    assert f"{report.layers[0].border_error:.1e}" in text
