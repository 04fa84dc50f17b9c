"""Cumulative sums and recurrent layers see all of their past; sorting has no places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.measuring.structure_pass import read_structure

Model = Callable[[torch.Tensor], Any]
SIGNAL, MAP, VOLUME = (2, 4, 12), (2, 4, 6, 8), (1, 4, 4, 5, 6)
INFINITE = float("inf")


def check(model: Model, shape: tuple[int, ...], **options: Any) -> shiftcheck.Report:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return shiftcheck.check_equivariance(model, x, **options)


def kinds(report: shiftcheck.Report) -> set[str]:
    return {cause.kind for cause in report.causes}


RUNNING: dict[str, Model] = {
    "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(-1),
    "logcumsumexp": lambda x: x.logcumsumexp(-1),
    "cummax": lambda x: x.cummax(-1)[0],
    "cummin": lambda x: x.cummin(-1)[0],
    "cumulative_trapezoid": lambda x: torch.cumulative_trapezoid(x),
}


@pytest.mark.parametrize("shape", [SIGNAL, MAP, VOLUME], ids=str)
@pytest.mark.parametrize("name", RUNNING)
def test_a_running_sum_along_an_axis(name: str, shape: tuple[int, ...]) -> None:
    model = RUNNING[name]
    report = check(model, shape)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert report.guilty is not None
    assert report.guilty.kind == "GLOBAL"
    assert report.outputs[0].halo[-1][0] == INFINITE
    assert report.outputs[0].stride == (1,) * (len(shape) - 2)
    around = check(model, shape, boundary="circular")
    assert around.verdict is Verdict.BROKEN
    assert around.guilty is not None
    assert around.guilty.kind == "GLOBAL"


@pytest.mark.parametrize("name", [n for n in RUNNING if n != "cumulative_trapezoid"])
def test_a_running_sum_over_channels(name: str) -> None:
    report = check(lambda x: RUNNING[name](x.movedim(1, -1)).movedim(-1, 1), MAP)
    assert report.verdict is Verdict.EQUIVARIANT
    assert report.outputs[0].halo == ((0, 0), (0, 0))


def test_along_the_other_axis_it_moves() -> None:
    report = check(lambda x: x.cumsum(-1), MAP, shifts=[(1, 0), (-2, 0)])
    assert report.outputs[0].shifts[0].verdict is Verdict.EQUIVARIANT


def test_a_difference_of_running_sums_is_not_passed_on_the_plane() -> None:
    assert check(lambda x: x.cumsum(-1).diff(dim=-1), SIGNAL).verdict is Verdict.INCONCLUSIVE


def test_no_larger_size_is_looked_for_where_none_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    def counted(model: Any, inputs: Any, **options: Any) -> Any:
        looked_at.append(inputs.pixels[0])
        return read_structure(model, inputs, **options)

    monkeypatch.setattr("shiftcheck.measuring.required_size.read_structure", counted)
    assert check(lambda x: x.cumsum(-1), SIGNAL).needed is None
    assert set(looked_at) == {SIGNAL[-1]}
    check(nn.Conv1d(4, 4, 13, padding=6), SIGNAL)
    assert max(looked_at) > SIGNAL[-1]


def test_the_index_of_a_running_maximum() -> None:
    assert "INDEX" in kinds(check(lambda x: x.cummax(-1)[1].float(), SIGNAL))
    assert check(lambda x: x.cummax(1)[1].float(), MAP).verdict is Verdict.EQUIVARIANT


LAYERS: dict[str, Callable[..., nn.Module]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


class Along(nn.Module):
    """A recurrent layer along the last axis of ``[N, C, T]``."""

    def __init__(self, layer: nn.Module, result: int = 0) -> None:
        super().__init__()
        self.layer, self.result = layer, result

    def forward(self, x: torch.Tensor) -> Any:
        first = self.layer.batch_first
        found = self.layer(x.permute(0, 2, 1) if first else x.permute(2, 0, 1))
        out = found[0].permute(0, 2, 1) if first else found[0].permute(1, 2, 0)
        return out if self.result == 0 else found[1]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "two layers, both ways": {"batch_first": True, "num_layers": 2, "bidirectional": True},
    "without biases": {"bias": False},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_along_the_axis(kind: str, options: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](4, 5, **OPTIONS[options])
    report = check(Along(layer), SIGNAL)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.layer) == ("GLOBAL", "layer")
    left, right = report.outputs[0].halo[0]
    assert (left, right) == (INFINITE, INFINITE if "both" in options else 0)
    assert check(Along(layer), SIGNAL, boundary="circular").verdict is Verdict.BROKEN


@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_over_channels_at_each_place(kind: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](1, 3, batch_first=True)

    def model(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        places = x.permute(0, 2, 3, 1).reshape(-1, c, 1)
        return layer(places)[0].reshape(n, h, w, 3 * c).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    report = check(model, MAP)
    assert report.verdict is Verdict.EQUIVARIANT, report.causes


def test_a_recurrent_layer_along_one_axis_of_two() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(4, 3, batch_first=True)

    def model(x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(n * h, w, c)
        return layer(rows)[0].reshape(n, h, w, 3).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    report = check(model, MAP)
    assert report.reason == "no valid region"
    assert [s.verdict for s in report.outputs[0].shifts if s.shift[1] == 0] == [
        Verdict.EQUIVARIANT
    ] * sum(s.shift[1] == 0 for s in report.outputs[0].shifts)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_final_state_and_an_initial_state_that_is_not_zero(kind: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind](4, 5, batch_first=True)
    final = check(Along(layer, result=1), SIGNAL)
    assert (final.verdict, final.reason) == (Verdict.INCONCLUSIVE, "not spatial")
    start = torch.randn(1, 6 * 8, 3)
    over = nn.GRU(4, 3)

    def model(x: torch.Tensor) -> torch.Tensor:
        columns = x.permute(1, 2, 3, 0).reshape(4, 48, -1).permute(2, 1, 0)
        return over(columns, start)[0].permute(0, 2, 1).reshape(-1, 3, 6, 8)  # type: ignore[no-any-return]

    report = check(model, (1, 4, 6, 8))
    assert report.verdict is not Verdict.EQUIVARIANT


def test_dropout_between_layers_and_states_that_depend_on_the_input() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(4, 5, num_layers=2, dropout=0.5)
    report = check(Along(layer), SIGNAL, training=True)
    assert report.reason == "nondeterministic"
    once = nn.GRU(4, 4)

    def model(x: torch.Tensor) -> Any:
        steps = x.permute(2, 0, 1)
        return once(steps, once(steps)[1])[0].permute(1, 2, 0)

    assert check(model, SIGNAL).reason == "unsupported operation"


def test_a_batch_that_is_run_through_as_time() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(12, 12)  # the batch is taken for time, channels for the batch
    report = check(lambda x: layer(x)[0], SIGNAL)
    assert report.verdict is Verdict.BROKEN
    assert "MIXING" in kinds(report)


def test_cells_are_followed_inside() -> None:
    torch.manual_seed(0)
    cell, gate = nn.LSTMCell(4, 4), nn.GRUCell(4, 4)

    def model(x: torch.Tensor) -> torch.Tensor:
        tokens = x.permute(0, 2, 3, 1).reshape(-1, 4)
        out = gate(cell(tokens)[0], tokens)
        return out.reshape(x.shape[0], 6, 8, 4).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    assert check(model, MAP).verdict is Verdict.EQUIVARIANT


OVER_CHANNELS: dict[str, Model] = {
    "sort": lambda x: x.sort(1)[0],
    "stable sort": lambda x: torch.sort(x, dim=1, stable=True, descending=True)[0],
    "argsort": lambda x: x.argsort(1).float(),
    "topk": lambda x: x.topk(2, 1)[0],
    "topk indices": lambda x: x.topk(2, -x.ndim + 1)[1].float(),
    "kthvalue": lambda x: x.kthvalue(2, 1, keepdim=True)[0],
    "median": lambda x: x.nanmedian(1, keepdim=True)[0],
    "mode": lambda x: x.round().mode(1, keepdim=True)[0],
    "aminmax": lambda x: torch.cat(list(x.aminmax(dim=1, keepdim=True)), 1),
    "count_nonzero": lambda x: x.relu().count_nonzero(1).float()[:, None],
    "quantile": lambda x: x.quantile(0.3, 1, keepdim=True),
    "quantiles": lambda x: x.quantile(torch.tensor([0.3, 0.6]), 1).movedim(0, 1),
    "bucketize": lambda x: torch.bucketize(x, torch.linspace(-1, 1, 5)).float(),
    "one_hot": lambda x: nn.functional.one_hot((x[:, 0] > 0).long(), 2).movedim(-1, 1).float(),
}


@pytest.mark.parametrize("shape", [SIGNAL, MAP, VOLUME], ids=str)
@pytest.mark.parametrize("name", OVER_CHANNELS)
def test_order_over_channels(name: str, shape: tuple[int, ...]) -> None:
    report = check(OVER_CHANNELS[name], shape)
    assert report.verdict is Verdict.EQUIVARIANT, report.causes
    out = report.outputs[0]
    assert all(runs == ((0, n),) for runs, n in zip(out.valid, shape[2:], strict=True))


OVER_AN_AXIS: dict[str, Model] = {
    "sort": lambda x: x.sort(-1)[0],
    "argsort": lambda x: x.argsort(-1).float(),
    "topk": lambda x: x.topk(4, -1)[0],
    "msort": lambda x: x.movedim(-1, 0).msort().movedim(0, -1),
    "sort of all places": lambda x: x.flatten(2).sort(-1)[0].reshape(x.shape),
}


@pytest.mark.parametrize("boundary", ["valid", "circular"])
@pytest.mark.parametrize("name", OVER_AN_AXIS)
def test_order_over_an_axis_has_no_places(name: str, boundary: str) -> None:
    report = check(OVER_AN_AXIS[name], MAP, boundary=boundary)
    assert report.verdict is not Verdict.EQUIVARIANT
    assert "INDEX" in kinds(report)


@pytest.mark.parametrize(
    "gate",
    [
        lambda x: x.kthvalue(3, -1, keepdim=True)[0],
        lambda x: x.quantile(0.25, -1, keepdim=True),
        lambda x: x.nanmedian(-1, keepdim=True)[0],
        lambda x: x.aminmax(dim=-1, keepdim=True)[1],
    ],
    ids=["kthvalue", "quantile", "median", "largest"],
)
def test_a_rank_of_the_whole_axis_is_global(gate: Model) -> None:
    around = check(lambda x: x * gate(x), SIGNAL, boundary="circular")
    assert around.verdict is Verdict.EQUIVARIANT
    on_the_plane = check(lambda x: x * gate(x), SIGNAL)
    assert (on_the_plane.verdict, on_the_plane.reason) == (Verdict.INCONCLUSIVE, "no valid region")
    assert on_the_plane.guilty is not None
    assert on_the_plane.guilty.kind == "GLOBAL"


def test_classes_whose_number_depends_on_the_values() -> None:
    report = check(lambda x: nn.functional.one_hot((x[:, 0] > 0).long()).movedim(-1, 1), MAP)
    assert report.reason == "unsupported operation"
