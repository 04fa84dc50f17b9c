"""Long tables: folded by module in a terminal, whole everywhere else, the guilty rows kept."""

from __future__ import annotations

import io
import sys

import pytest
import torch
from tests.networks.resnet import resnet50
from torch import nn

import shiftcheck
from shiftcheck import Report
from shiftcheck.report.render.folding import folded
from shiftcheck.report.render.table import render_report


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def geometry() -> Report:
    return shiftcheck.geometry(resnet50(), (1, 3, 224, 224))


def block() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.Tanh(), nn.Conv1d(2, 2, 1), nn.Tanh())


def broken() -> Report:
    """Eight blocks of four layers; the sixth pads with zeros on a circle."""
    torch.manual_seed(0)
    net = nn.Sequential(*(block() for _ in range(8)))
    for module in net.modules():
        if isinstance(module, nn.Conv1d) and module.padding == (1,):
            module.padding_mode = "circular"
            module._reversed_padding_repeated_twice = [1, 1]
    net[5][0].padding_mode = "zeros"
    return shiftcheck.check_equivariance(net, torch.randn(1, 2, 40), boundary="circular")


def test_a_terminal_shows_modules_and_a_file_every_layer(
    geometry: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = str(geometry)
    assert all(row.name.split(".")[-1] in whole for row in geometry)
    monkeypatch.setattr(sys, "stdout", Terminal())
    short = str(geometry)
    assert len(short.splitlines()) < 75 < len(whole.splitlines())
    assert "layers)" in short
    assert "layers)" not in whole


def test_all_columns_come_with_all_rows(geometry: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert len(geometry.table(wide=True).splitlines()) == len(geometry.layers) + 2


@pytest.mark.parametrize("most", [5, 10, 20, 40, 60, 1000])
def test_every_layer_is_in_one_group_in_order(geometry: Report, most: int) -> None:
    groups = folded(geometry, most)
    assert [row.name for g in groups for row in g.rows] == [row.name for row in geometry]
    assert all(row.name.startswith(g.name) for g in groups for row in g.rows)
    if most >= len(geometry.layers):
        assert all(len(g.rows) == 1 for g in groups)
    if most >= 20:
        assert len(groups) <= most


def test_the_guilty_layer_keeps_its_row_and_modules_show_the_worst() -> None:
    report = broken()
    assert report.verdict is shiftcheck.Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.layer == "5.0"
    text = render_report(report, width=80, most=12)
    lines = {line.split()[0]: line for line in text.splitlines() if line[:2].strip()}
    own = text.splitlines()[text.splitlines().index(" 5") + 1]
    assert own.split()[0] == "0"
    assert "broken" in own
    assert "equivariant" in lines["4"]
    assert "layers)" in lines["4"]
    assert "broken" in lines["7"]  # the error travels
    assert max(map(len, text.splitlines())) <= 80


def test_a_table_of_a_long_network_fits_80_columns(geometry: Report) -> None:
    assert max(map(len, render_report(geometry, width=80, most=60).splitlines())) <= 80
