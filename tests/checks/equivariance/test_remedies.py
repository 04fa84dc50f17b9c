"""Remedies: what a message recommends makes the check pass when a user does it by hand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Report, Verdict
from shiftcheck.report import Change, Trial

RING: dict[str, Any] = {"boundary": "circular"}


def image(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(2)).to(dtype)


def conv(stride: int = 1, mode: str = "zeros", k: int = 3) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(2, 2, k, stride, k // 2, padding_mode=mode)


class DownUp(nn.Module):
    def __init__(self, steps: int, mode: str = "zeros") -> None:
        super().__init__()
        self.first = conv(mode=mode)
        self.down, self.up = nn.MaxPool2d(steps), nn.Upsample(scale_factor=steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return y + self.up(self.down(y))  # type: ignore[no-any-return]


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 2, 16, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


class Factor(Table):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.table


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv(), *layers)


# the model, the input, the options, and the change that helps
CASES: dict[str, tuple[Callable[[], Any], torch.Tensor, dict[str, Any], Change | None]] = {
    "period": (lambda: DownUp(2), image(16, 18), {}, Change(multiples=(2, 2))),
    "period of 4": (lambda: DownUp(4), image(16, 24), {}, Change(multiples=(4, 4))),
    "circular padding": (conv, image(16, 18), RING, Change(circular_padding=True)),
    "both": (
        lambda: DownUp(2),
        image(16, 18),
        RING,
        Change(circular_padding=True, multiples=(2, 2)),
    ),
    "period on a circle": (
        lambda: DownUp(2, "circular"),
        image(16, 18),
        RING,
        Change(multiples=(2, 2)),
    ),
    "a size that fits": (lambda: conv(2, "circular"), image(15, 18), RING, Change(size=(16, 18))),
    "a table left out": (
        lambda: stack(Table(), nn.ReLU()),
        image(16, 18),
        {},
        Change(constants=("1.table",)),
    ),
    "before the flatten": (
        lambda: stack(nn.ReLU(), nn.Flatten(), nn.Linear(2 * 16 * 18, 3)),
        image(16, 18),
        {},
        Change(layer="1"),
    ),
    "another signal": (conv, torch.ones(1, 2, 16, 18), {}, Change(signal=True)),
    "no tolerances": (nn.ReLU, image(16, 18), {"rtol": 10.0, "atol": 0.0}, Change(tolerances=True)),
    "a finer type": (
        lambda: lambda x: x * 300,
        image(16, 18, dtype=torch.float16) * 200,
        {},
        Change(dtype="float32"),
    ),
    "on the lattice": (
        lambda: conv(2),
        image(16, 18),
        {"shifts": [(1, 0)]},
        Change(multiples=(2, 2)),
    ),
    "the axes alone": (
        lambda: lambda x: x.relu().mean(-1),
        image(16, 18),
        {},
        Change(shifts=((1, 0),)),
    ),
    "a circle": (
        lambda: lambda x: x - x.mean((2, 3), keepdim=True),
        image(16, 18),
        {},
        Change(boundary=("circular", "circular")),
    ),
    "eval mode": (
        lambda: nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5)),
        image(16, 18),
        {"training": True},
        Change(evaluation=True),
    ),
    "nothing": (lambda: lambda x: x + torch.linspace(0, 1, 18), image(16, 18), {}, None),
    "a factor left out": (Factor, image(16, 18), {}, Change(factors=("table",))),
}


def padded_circularly(model: Any) -> Any:
    new = copy.deepcopy(model)
    for module in new.modules() if isinstance(new, nn.Module) else ():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
            module._reversed_padding_repeated_twice = [
                module.padding[1],
                module.padding[1],
                module.padding[0],
                module.padding[0],
            ]
    return new


def by_hand(model: Any, x: torch.Tensor, options: dict[str, Any], change: Change) -> Report:
    """The check as a user would write it after reading the remedy."""
    if change.circular_padding:
        model = padded_circularly(model)
    if change.multiples:
        steps = change.multiples
        axes = range(len(steps))
        options |= {"shifts": [tuple(k * steps[b] if a == b else 0 for b in axes)
                               for a in axes for k in (1, -1)]}  # fmt: skip
    if change.shifts:
        options |= {"shifts": list(change.shifts)}
    model = copy.deepcopy(model)
    for name in (*change.constants, *change.factors):
        model.get_parameter(name).data.fill_(name in change.factors)
    if change.outputs:
        options |= {"outputs": change.outputs}
    if change.layer:
        options |= {"layer": change.layer}
    if change.size:
        x = torch.randn(*x.shape[:2], *change.size)
    if change.boundary:
        options |= {"boundary": change.boundary}
    if change.signal:
        x = torch.randn_like(x)
    if change.dtype:
        x = x.to(getattr(torch, change.dtype))
    if change.tolerances:
        options = {k: v for k, v in options.items() if k not in ("rtol", "atol")}
    if change.evaluation:
        options = {k: v for k, v in options.items() if k != "training"}
    return shiftcheck.check_equivariance(model, x, **options)


@pytest.mark.parametrize("case", CASES)
def test_a_remedy_is_found_and_helps(case: str) -> None:
    make, x, options, expected = CASES[case]
    model = make()
    report = shiftcheck.check_equivariance(model, x, **options)
    assert report.verdict is not Verdict.EQUIVARIANT
    working = [trial.change for trial in report.trials if trial.works]
    assert working == ([] if expected is None else [expected])
    for trial in report.trials:
        again = by_hand(model, x, dict(options), trial.change)
        assert (again.verdict is Verdict.EQUIVARIANT) == trial.works


@pytest.mark.parametrize("case", CASES)
def test_only_what_was_tried_is_called_a_remedy(case: str) -> None:
    make, x, options, expected = CASES[case]
    report = shiftcheck.check_equivariance(make(), x, **options)
    text = str(report)
    assert ("remedy: " in text) == (expected is not None)
    failed = tuple(replace(t, verdict=Verdict.BROKEN) for t in report.trials)
    assert "remedy: " not in str(replace(report, trials=failed))


def test_the_size_that_would_do_does_and_a_smaller_one_does_not() -> None:
    model = stack(conv(k=7), conv(k=7), nn.MaxPool2d(2))
    report = shiftcheck.check_equivariance(model, image(12, 13))
    assert report.needed is not None
    assert f"at least {report.needed[0]} x {report.needed[1]}" in str(report)
    assert shiftcheck.check_equivariance(model, image(*report.needed)).verdict is (
        Verdict.EQUIVARIANT
    )
    for axis in (0, 1):
        smaller = tuple(n - (a == axis) for a, n in enumerate(report.needed))
        assert shiftcheck.check_equivariance(model, image(*smaller)).reason == "too little compared"


def test_what_circular_padding_would_change_is_told_where_it_is_not_all() -> None:
    model = DownUp(2)
    report = shiftcheck.check_equivariance(model, image(16, 18), **RING)
    first = report.trials[0]
    assert first.change == Change(circular_padding=True)
    assert first.guilty is not None
    assert (first.guilty.kind, first.guilty.layer) == ("STRIDE", "down")
    alone = shiftcheck.check_equivariance(padded_circularly(model), image(16, 18), **RING)
    assert first.relative_error == pytest.approx(alone.relative_error)
    assert "; what is left is STRIDE in layer 'down'" in " ".join(str(report).split())


def test_a_pass_and_a_check_of_outputs_alone_try_nothing() -> None:
    assert shiftcheck.check_equivariance(conv(), image(16, 18)).trials == ()
    quick = shiftcheck.check_equivariance(DownUp(2), image(16, 18), measure="outputs")
    assert quick.verdict is Verdict.BROKEN
    assert quick.trials == ()


def test_what_the_model_cannot_do_is_no_trial() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.dtype is not torch.float16:
            raise TypeError("halves only")
        return x * 300

    report = shiftcheck.check_equivariance(model, image(16, 18, dtype=torch.float16) * 200)
    assert report.reason == "not finite"
    assert all(not t.change.dtype for t in report.trials)


def test_trials_survive_the_way_through_json() -> None:
    report = shiftcheck.check_equivariance(DownUp(2), image(16, 18), **RING)
    again = Report.from_json(report.to_json())
    assert again == report
    assert all(isinstance(t, Trial) for t in again.trials)


def test_trials_leave_everything_as_it_was() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("runs", torch.zeros(1))
            self.runs: torch.Tensor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.runs += 1
            return F.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)

    model, x = Counts(), image(16, 18)
    before = x.clone()
    state = torch.get_rng_state()
    shiftcheck.check_equivariance(model, x)
    assert float(model.runs) == 0
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


class ScaledTable(nn.Module):
    """A table of positions beside a gain for each channel, which depends on no place."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([0.5, 2.0]))
        self.table = nn.Parameter(torch.randn(1, 2, 16, 18))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain[:, None, None] + self.table


def test_only_the_table_that_depends_on_the_place_is_left_out() -> None:
    report = shiftcheck.check_equivariance(ScaledTable(), image(16, 18))
    working = [trial.change for trial in report.trials if trial.works]
    assert working == [Change(constants=("table",))]


class Held(nn.Module):
    """Two tables, one of them a buffer that is not stored, and a gain for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.gain = nn.Parameter(torch.tensor([[[0.5]], [[2.0]]]))
        self.rows = nn.ParameterList([torch.randn(16, 1)])
        self.register_buffer("waves", torch.arange(18.0).sin(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x) * self.gain + self.rows[0] + self.waves
        return y


def test_all_tables_that_depend_on_the_place_are_left_out_and_nothing_else() -> None:
    model, x = Held(), image(16, 18)
    kept = {name: t.clone() for name, t in (*model.named_parameters(), *model.named_buffers())}
    with pytest.raises(shiftcheck.NotEquivariantError) as caught:
        shiftcheck.assert_equivariant(model, x)
    text = str(caught.value)
    assert "leave 'waves', 'rows.0' out, which depend on the place" in text
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(tensor, kept[name])
    lines = text[text.index("place (zero does the same):") :].splitlines()[1:]
    pasted = "\n".join(line.strip() for line in lines if line.startswith("    "))
    exec(pasted, {"torch": torch, "shiftcheck": shiftcheck, "model": model, "x": x})


class Sampled(nn.Module):
    """Every second sample of a smooth signal, brought back to the size of the input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.down, self.up = layer, nn.Upsample(scale_factor=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.up(self.down(x))
        return y


@pytest.mark.parametrize(
    "layer", [nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, 2, 1), nn.MaxPool2d(3, 2, 1)]
)
def test_an_average_before_the_stride_is_tried_as_it_is_printed(layer: nn.Module) -> None:
    model, x = Sampled(layer), image(16, 18)
    report = shiftcheck.check_equivariance(model, x)
    trial = next(t for t in report.trials if t.change.blurred)
    assert trial.change.blurred == (("down", 2),)
    assert model.down is layer
    assert set(layer.stride if isinstance(layer.stride, tuple) else (layer.stride,)) == {2}
    dense = copy.deepcopy(layer)
    dense.stride = 1  # type: ignore[assignment]
    model.down = nn.Sequential(dense, nn.AvgPool2d(2, ceil_mode=True))
    again = shiftcheck.check_equivariance(model, x, shifts=report.shifts)
    assert again.relative_error == pytest.approx(trial.relative_error, rel=1e-4)
    model.down = layer
    text = str(report)
    if "or average before the stride" in text:
        lines = text[text.index("or average before") :].splitlines()[1:]
        block = itertools.takewhile(lambda line: line.startswith("    "), lines)
        pasted = "\n".join(line.strip() for line in block if line[-1:] != ":")
        exec(pasted, {"torch": torch, "model": model})
        pasted_report = shiftcheck.check_equivariance(model, x, shifts=report.shifts)
        assert pasted_report.relative_error == pytest.approx(trial.relative_error, rel=1e-4)
    else:
        assert "an average before the stride helps little" in text
