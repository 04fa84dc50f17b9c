"""What a person reads in a log: the fact, the place, the measure, the remedy."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck.rules import registry


def down_up() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(2, 2, 2, stride=2))


def squeeze(x: torch.Tensor) -> torch.Tensor:
    return x * x.mean((2, 3), keepdim=True).sigmoid()


CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], list[str]]] = {
    "STRIDE": (
        down_up,
        {},
        [
            "Sequential on 1x2x16x18: BROKEN over 9 shifts",
            "output 'output' [1, 2, 16, 18]: stride 1, period 2, valid 0:16 x 0:18",
            "compared 9 shifts, at least # of the samples each; largest gap #, relative #"
            " (allowed #, the smallest break this run would have caught)",
            "shift #: gap #, at output index #",
            "first guilty layer: '0' (max_pool2d), cause STRIDE: it keeps only every so many"
            " samples, so other shifts meet other samples",
            "remedy: use shifts that are multiples of (2, 2), the period of this output",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
    "PADDING": (
        lambda: nn.Conv2d(2, 1, 3, padding=1),
        {"boundary": ("valid", "circular"), "shifts": [(0, 2)]},
        [
            "Conv2d on 1x2x16x18: BROKEN over 1 shift",
            "output 'output' [1, 1, 16, 18]: stride 1, period 1, valid 1:15 x 1:17",
            "compared 1 shift, # of the samples each; largest gap #, relative # (allowed"
            " #, the smallest break this run would have caught)",
            "shift #: gap #, at output index #",
            "first guilty layer: 'conv2d' (conv2d), cause PADDING: samples near the border see"
            " padding instead of the signal",
            "remedy: pad circularly (padding_mode='circular') where the boundary is circular",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], boundary=('valid',"
            " 'circular'), seed=0)",
        ],
    ),
    "GLOBAL": (
        lambda: squeeze,
        {"shifts": [(1, 0)]},
        [
            "squeeze on 1x2x16x18: INCONCLUSIVE (no valid region) over 1 shift",
            "output 'output' [1, 2, 16, 18]: stride 1, period 1, valid none",
            "first guilty layer: 'mean' (mean), cause GLOBAL: every sample depends on the whole"
            " axis (a reduction over the axis)",
            "remedy: no larger input helps; check up to a layer before it, or boundary='circular'",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
    "RESIZE": (
        lambda: lambda x: F.max_pool2d(x, 2) + x[..., :8, :9],
        {"shifts": [(2, 0)]},
        [
            "<lambda> on 1x2x16x18: BROKEN over 1 shift",
            "output 'output' [1, 2, 8, 9]: stride -, period -, valid -",
            "compared 1 shift, at least # of the samples each; largest gap #, relative #"
            " (allowed #, the smallest break this run would have caught)",
            "shift #: gap #, at output index #",
            "first guilty layer: 'add' (add), cause RESIZE: it changes the sampling by a ratio, or"
            " combines tensors of different strides (strides differ)",
            "remedy: bring the tensors that 'add' combines to the same stride before it",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
    "a rule that refuses": (
        lambda: lambda x: x * x[..., :1],
        {"shifts": [(1, 0)]},
        [
            "<lambda> on 1x2x16x18: INCONCLUSIVE (unsupported operation) over 1 shift",
            "output 'output' [1, 2, 16, 18]: stride -, period -, valid -",
            "first guilty layer: 'mul' (mul), cause UNSUPPORTED_OP: no rule knows what the"
            " operation does to a shift (aten.mul.Tensor: a spatial axis of size 1 is stretched)",
            "remedy: check up to a layer before it, write that step with other operations of torch,"
            " or mend its rule where that is your own",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
    "a value that is read": (
        lambda: lambda x: x * float(x.sum()),
        {"shifts": [(1, 0)]},
        [
            "<lambda> on 1x2x16x18: INCONCLUSIVE (unsupported operation) over 1 shift",
            "output 'output' [1, 2, 16, 18]: stride -, period -, valid -",
            "first guilty layer: 'item' (_local_scalar_dense), cause UNSUPPORTED_OP: no rule knows"
            " what the operation does to a shift (a value is read from a tensor: what follows may"
            " depend on it)",
            "remedy: check up to a layer before it, write that step with other operations of torch,"
            " or mend its rule where that is your own",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
    "UNSUPPORTED_OP": (
        lambda: lambda x: F.relu(x).renorm(2, 1, 1.0),
        {"shifts": [(1, 0)]},
        [
            "<lambda> on 1x2x16x18: INCONCLUSIVE (unsupported operation) over 1 shift",
            "output 'output' [1, 2, 16, 18]: stride -, period -, valid -",
            "first guilty layer: 'renorm' (renorm), cause UNSUPPORTED_OP: no rule knows what the"
            " operation does to a shift (no rule for aten.renorm.default, and probing fails: no"
            " shift of up to 32 samples along axis 0 moves what it gives)",
            "remedy: check up to a layer before it, or give it a rule; if each sample of its result"
            " is computed from the same sample of its arguments, it is this one:"
            ' @shiftcheck.register_rule("aten::renorm") def rule(*args): return'
            " shiftcheck.rules.pointwise(*args)",
            "another law: see 'A rule for your own operation' in the documentation",
            "reproduce: shiftcheck.assert_equivariant(model, x, shifts=[#], seed=0)",
        ],
    ),
}


def masked(text: str) -> list[str]:
    """The message unwrapped, with everything that depends on rounding replaced."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("    "):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    out = []
    for line in lines:
        line = re.sub(r"\d\.\de[+-]\d\d|\d+%", "#", line)
        line = re.sub(r"(gap|relative|allowed) 0\b", r"\1 #", line)
        line = re.sub(r"(shift |shifts=\[)\(-?\d+, -?\d+\)", r"\1#", line)
        out.append(re.sub(r"index \[[\d, ]+\]", "index #", line))
    return out


@pytest.mark.parametrize("cause", CASES)
def test_the_message(cause: str) -> None:
    model, options, expected = CASES[cause]
    torch.manual_seed(0)
    with pytest.raises(shiftcheck.ShiftcheckError) as caught:
        shiftcheck.assert_equivariant(model(), torch.randn(1, 2, 16, 18), **options)
    text = str(caught.value)
    assert isinstance(caught.value, AssertionError)
    assert masked(text) == expected
    assert len(text.splitlines()) <= 30
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_reproducing_line_reproduces() -> None:
    model, x = down_up(), torch.randn(1, 2, 16, 18)
    with pytest.raises(shiftcheck.NotEquivariantError) as caught:
        shiftcheck.assert_equivariant(model, x)
    line = next(part for part in str(caught.value).splitlines() if part.startswith("reproduce: "))
    with pytest.raises(shiftcheck.NotEquivariantError):
        eval(line.removeprefix("reproduce: "), {"shiftcheck": shiftcheck, "model": model, "x": x})


@torch.library.custom_op("message::squash", mutates_args=())
def squash(x: torch.Tensor, scale: float) -> torch.Tensor:
    assert x.shape[-1] == 18  # so it cannot be probed on other sizes
    return scale * x / (1 + x.abs())


@squash.register_fake
def _(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.empty_like(x)


def rule_shown(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> str:
    """The indented lines of the message, as they are written under the remedy."""
    with pytest.raises(shiftcheck.InconclusiveError) as caught:
        shiftcheck.assert_equivariant(model, x)
    lines = str(caught.value).splitlines()
    start = next(i for i, line in enumerate(lines) if "register_rule" in line)
    assert lines[start - 1].endswith("it is this one:")
    return textwrap.dedent("\n".join(lines[start : start + 3]))


@pytest.mark.parametrize(
    ("operation", "model"),
    [
        ("message::squash", lambda x: squash(x, 2.0)),
        ("aten::renorm", lambda x: (x + 0).renorm_(2, 1, 1e9)),  # changes nothing; in place
    ],
)
def test_the_three_lines_of_the_remedy_make_it_pass(
    operation: str, model: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    x = torch.randn(1, 2, 16, 18)
    lines = rule_shown(model, x)
    assert f'"{operation}"' in lines
    exec(lines, {"shiftcheck": shiftcheck})
    shiftcheck.assert_equivariant(model, x)


def test_the_three_lines_do_not_make_a_wrong_rule_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", dict(registry._table))
    x = torch.randn(1, 2, 16, 16)
    exec(rule_shown(torch.linalg.matrix_exp, x), {"shiftcheck": shiftcheck})
    report = shiftcheck.check_equivariance(torch.linalg.matrix_exp, x)
    assert (report.verdict, report.reason) == ("broken", "disagrees with the structure")
