"""The reports of networks that others wrote: a row for each layer, each understood, word for word.

The texts are in ``tests/golden``, with what depends on rounding masked. To write them anew after a
change that is meant to change them, and to read what git then shows::

    SHIFTCHECK_UPDATE_GOLDEN=1 python -m pytest tests/zoo/test_reports.py
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.zoo.models import ZOO, Family
from torch import nn

import shiftcheck
from shiftcheck.report import LayerResult
from shiftcheck.report.render import render_report

GOLDEN = Path(__file__).parent.parent / "golden"
ROUNDED = re.compile(
    r"\d\.\de[+-]\d\d|(?<=  )0(?= )|(?<=gap )0|(?<=relative )0|\d+%|(?<=output index )\[.*?\]"
)


FIGURES = [
    "error",
    "relative_error",
    "border_error",
    "relative_border_error",
    "local_interior",
    "local_border",
]


def exactly(row: LayerResult) -> LayerResult:
    """The row with 0 in the place of rounding, which is another one on another processor."""
    shifts = []
    for shift in row.shifts:
        figures = {name: getattr(shift, name) for name in FIGURES}
        small = {name: 0.0 for name, v in figures.items() if v is not None and abs(v) < 1e-5}
        shifts.append(replace(shift, **small))
    return replace(row, shifts=tuple(shifts))


def masked(report: shiftcheck.Report) -> str:
    """The text with errors as ``#``; columns are set apart by two blanks."""
    layers, outputs = tuple(map(exactly, report.layers)), tuple(map(exactly, report.outputs))
    exact = replace(report, layers=layers, outputs=outputs)
    text = render_report(exact, wide=True, width=120)
    lines = [ROUNDED.sub("#", f"{line} ").rstrip() for line in text.splitlines()]
    lines = [re.sub(r"(?<=\S) {2,}", "  ", line) for line in lines]
    return "\n".join(re.sub("─+", "─", line) for line in lines) + "\n"


def layers_that_see_the_input(family: Family) -> set[str]:
    """The layers without children whose results differ between two inputs, in plain passes."""
    model = family.model()
    results: dict[str, list[torch.Tensor]] = defaultdict(list)

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, out: results[name].append(out) if torch.is_tensor(out) else None

    for name, module in model.named_modules():
        if not any(module.children()):
            module.register_forward_hook(keep(name))
    with torch.inference_mode():
        for x in (family.x(), family.x().flip(-1)):
            model(x)
    halves = {name: len(outs) // 2 for name, outs in results.items()}
    return {n for n, outs in results.items() if not torch.equal(outs[0], outs[halves[n]])}


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_has_a_row_that_is_understood(name: str) -> None:
    family = ZOO[name]
    report = shiftcheck.geometry(family.model(), family.shape)
    assert layers_that_see_the_input(family) <= {row.name for row in report.layers}
    causes = [*report.causes, *(cause for row in report.layers for cause in row.causes)]
    assert not [c for c in causes if c.kind in ("UNSUPPORTED_OP", "BATCH_COUPLED", "STOCHASTIC")]
    assert not report.notes
    lost = {row.name for row in report.layers if not row.reduced}
    if name == "DPT":  # its upsampling aligns corners, so two stages do not fit together
        start = [row.name for row in report.layers].index("neck.fusion_stage.layers.1.add")
        lost -= {row.name for row in report.layers[start:]}
    assert not {row for row in lost if not any(part in row for part in OF_A_PLACE.get(name, ()))}


OF_A_PLACE = {
    "ViT": ("pooler",),
    "DPT": ("reassemble_stage.select", "reassemble_stage.expand_as", "reassemble_stage.unsqueeze"),
    "UPerNet on Swin": ("psp_modules.0.", "psp_modules.upsample_bilinear2d"),
}
"""Rows without axes that still depend on places: of a class token, of a mean with padding."""


LARGE = {"DPT", "EfficientNet", "FocalNet", "SegFormer", "SegFormer, segmentation", "Swin2SR"}
LARGE |= {"UPerNet on ConvNeXt", "UPerNet on Swin"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in ZOO]
)
def test_the_report_is_the_golden_one(name: str) -> None:
    family = ZOO[name]
    text = masked(shiftcheck.check_equivariance(family.model(), family.x(), **family.options))
    path = GOLDEN / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.txt"
    if os.environ.get("SHIFTCHECK_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_masking_hides_figures_and_nothing_else() -> None:
    report = shiftcheck.check_equivariance(nn.Conv1d(1, 2, 3, padding=1), torch.randn(1, 1, 20))
    text = masked(report)
    assert "conv1d  2x20  1  1  3  1+1  1:19  #  #" in text
    assert "stride 1, period 1, valid 1:19" in text
    assert not re.search(r"e-\d\d", text)
