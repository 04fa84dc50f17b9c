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


class Deep(nn.Module):
    """Layers with long names, of which two break the output, and one a branch beside it."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.ModuleDict({"a_convolution_of_" + "long_name" * 2: nn.Conv2d(2, 2, 3)})
        self.stages_of_the_encoder = nn.ModuleDict({"first_of_all": inner})
        self.place = nn.Parameter(torch.linspace(0, 1, 14))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = next(iter(self.stages_of_the_encoder["first_of_all"].values()))(x) * self.place
        return {"map": x * x.mean((2, 3), keepdim=True), "side": x.flatten(1) @ torch.ones(392, 3)}


def test_long_names_break_at_dots_and_no_word_is_lost() -> None:
    report = shiftcheck.check_equivariance(Deep(), torch.randn(1, 2, 16, 16))
    text = str(report)
    table = text.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 120
    cells = [line.split("  ")[0].strip() for line in table]
    name = report.layers[0].name
    start = next(i for i, cell in enumerate(cells) if cell and name.startswith(cell))
    assert "".join(cells[start : start + 2]) == name
    assert cells[start + 1].startswith(".")
    assert "GLOBAL; not\n" in text
    assert any(line.strip() == "spatial" for line in table)


def test_the_other_causes_are_named_where_they_break_this_output() -> None:
    x = torch.randn(1, 2, 16, 16)
    report = shiftcheck.check_equivariance(Deep(), x)
    text = str(report)
    assert "cause GLOBAL: every sample" in text
    assert "also: cause POSITION in layer 'mul' (mul)" in text
    assert "remedy: " not in text  # nobody wants the part before what is broken
    local = str(shiftcheck.check_equivariance(Deep(), x, layer="mul"))
    assert "cause POSITION: a constant" in local
    assert "also" not in local


def test_the_shift_that_is_shown_is_one_that_the_cause_explains() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.MaxPool2d(4), nn.Upsample(scale_factor=4)
    )
    report = shiftcheck.check_equivariance(
        model, torch.randn(1, 1, 32, 32), shifts=[(1, 0), (2, 0)]
    )
    assert report.guilty is not None
    assert (report.guilty.layer, report.guilty.period) == ("0", 2)
    assert all(s.verdict is shiftcheck.Verdict.BROKEN for s in report.outputs[0].shifts)
    assert "shift (1, 0): gap" in str(report)


def test_a_pooled_side_output_is_not_told_of_the_map() -> None:
    up = nn.Upsample(scale_factor=2)

    def model(x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = up(nn.functional.max_pool2d(x, 2))
        return {"map": y, "pooled": y.mean((2, 3)), "classes": y.flatten(1) @ torch.ones(512, 3)}

    report = shiftcheck.check_equivariance(model, torch.randn(1, 2, 16, 16))
    assert {"GLOBAL", "MIXING"} <= {cause.kind for cause in report.causes}
    text = str(report)
    assert "cause STRIDE" in text
    assert "also" not in text
