"""Steps of other kinds, what cannot be used, what tells nothing, and that all is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.networks.streamed import (
    Ahead,
    BatchMixed,
    CachedEncoder,
    CachedStack,
    CausalStack,
    Delayed,
    Encoder,
    HalfPrecision,
    Held,
    Lstm,
    OnlyThisChunk,
    carried,
    signal,
)
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, ModelError
from shiftcheck.report import StreamReport

check = shiftcheck.check_streamable
STACK, X = CausalStack(), signal(2, 2, 100)


class GapOfOne(CachedStack):
    def keep(self, both: Tensor) -> Tensor:
        return F.pad(both, (4, 0))[..., -5:-1]


class Ring(nn.Module):
    """Caches in buffers, which are written to in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = STACK
        self.register_buffer("first", torch.zeros(2, 2, 4))
        self.register_buffer("second", torch.zeros(2, 6, 4))

    def _with_past(self, past: Tensor, x: Tensor) -> Tensor:
        both = torch.cat([past, x], -1)
        past.copy_(both[..., -4:])
        return both

    def forward(self, chunk: Tensor) -> Tensor:
        hidden = torch.relu(self.stack.first(self._with_past(self.first, chunk)))
        out: Tensor = self.stack.second(self._with_past(self.second, hidden))
        return out


class FixedLength(CachedStack):
    def forward(self, chunk: Tensor) -> Tensor:
        if chunk.shape[-1] != 20:
            raise ValueError("twenty samples, please")
        return super().forward(chunk)


def by_generator() -> Callable[[Tensor], Tensor]:
    def run() -> Iterator[Any]:
        step, out = CachedStack(STACK), None
        while True:
            out = step((yield out))

    running = run()
    next(running)
    return running.send  # type: ignore[attr-defined,no-any-return]


def faults(report: StreamReport) -> tuple[str, ...]:
    assert report.verdict == ("different" if report.faults else "same"), report
    return report.faults


# -- of other kinds --------------------------------------------------------------------------------


def test_a_gap_of_one_sample() -> None:
    report = check(GapOfOne(STACK), STACK, X, 16)
    assert faults(report) == ("gap in the state",)
    assert report.findings[0].samples == 1


def test_buffers_are_put_back_with_and_without_gradients() -> None:
    ring = Ring()
    assert faults(check(ring, STACK, X, 16)) == ()
    report = check(ring, STACK, X, 16, gradients=True)
    assert faults(report) == ()
    for buffer in (ring.first, ring.second):
        assert not buffer.any()
        assert not buffer.requires_grad
        assert buffer.is_leaf
    assert not any("put back" in note for note in report.notes)
    assert all(p.grad is None for p in STACK.parameters())


def test_a_reset_that_does_nothing() -> None:
    report = check(Ring(), STACK, X, 16, reset=lambda: None)
    assert faults(report) == ("state of another sequence",)


def test_a_factory_that_makes_the_same_again() -> None:
    one = CachedStack(STACK)
    report = check(None, STACK, X, 16, make_step=lambda: one)
    assert faults(report) == ("state of another sequence",)


def test_a_state_that_cannot_be_put_back() -> None:
    report = check(by_generator(), STACK, X, 16)
    assert (report.verdict, report.reason) == ("inconclusive", "step not repeatable")
    assert "make_step" in str(report)
    assert faults(check(None, STACK, X, 16, make_step=by_generator)) == ()


def test_chunks_of_one_length_only() -> None:
    report = check(FixedLength(STACK), STACK, X, 20)
    assert faults(report) == ()
    assert {run.outcome for run in report.runs} == {"right", "refused"}
    with pytest.raises(ModelError, match=r"chunk=16: .* chunk 0 of 16 samples.*twenty samples"):
        check(FixedLength(STACK), STACK, X, 16)
    longer = signal(2, 2, 110)
    with pytest.raises(ModelError, match="give an x of 100 or 120 samples"):
        check(FixedLength(STACK), STACK, longer, 20)


def test_a_delay_that_is_a_chunk() -> None:
    def buffered() -> Callable[[Tensor], Tensor]:
        inner, waiting = CachedStack(STACK), [torch.zeros(2, 3, 16)]

        def step(chunk: Tensor) -> Tensor:
            waiting.append(inner(chunk))
            return waiting.pop(0)

        return step

    report = check(None, STACK, X, 16, make_step=buffered, delay=16, complete=False)
    assert "depends on the length of the chunks" in faults(report)


def test_several_outputs_of_other_strides() -> None:
    torch.manual_seed(0)
    fine, coarse = nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 4, stride=2)

    def model(x: Tensor) -> dict[str, Tensor]:
        both = F.pad(x, (2, 0))
        return {"fine": fine(both), "coarse": coarse(both)}

    def step(chunk: Tensor, past: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        past = chunk.new_zeros(2, 2, 2) if past is None else past
        both = torch.cat([past, chunk], -1)
        return {"fine": fine(both), "coarse": coarse(both)}, both[..., -2:]

    def scaled(chunk: Tensor, past: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        out, past = step(chunk, past)
        return out | {"coarse": out["coarse"] * 1.5}, past

    assert faults(check(step, model, X, 16)) == ()
    report = check(scaled, model, X, 16)
    assert faults(report) == ("something else",)
    assert report.findings[0].output == "output['coarse']"


def test_two_dimensions() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(1, 2, 3, padding=(0, 1)), signal(2, 1, 60, 9)

    def model(x: Tensor) -> Tensor:
        out: Tensor = conv(F.pad(x, (0, 0, 2, 0)))
        return out

    def step(chunk: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        past = chunk.new_zeros(chunk.shape[0], 1, 2, 9) if past is None else past
        both = torch.cat([past, chunk], 2)
        return conv(both), both[:, :, -2:]

    assert faults(check(step, model, x, 10, axis=2)) == ()
    report = check(model, model, x, 10, axis=2)
    assert faults(report) == ("no state",)
    assert (report.findings[0].chunk, report.findings[0].sample) == (1, 10)


def test_layers_of_torch_are_steps() -> None:
    torch.manual_seed(0)
    x, there = signal(2, 48, 4), {"axis": 1, "spatial_dims": (1,)}
    lstm, gru = nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3, batch_first=True)
    assert faults(check(lstm, lambda x: lstm(x)[0], x, 16, **there)) == ()
    assert faults(check(gru, gru, x, 16, **there)) == ()
    alone = check(lambda c: gru(c)[0], lambda x: gru(x)[0], x, 16, **there)
    assert faults(alone) == ("no state",)


def test_attention_with_a_cache_that_grows() -> None:
    torch.manual_seed(0)
    project, x = nn.Linear(4, 12), signal(2, 64, 4)

    def model(x: Tensor) -> Tensor:
        q, k, v = project(x).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def step(chunk: Tensor, past: Any = None, *, masked: bool = True) -> tuple[Tensor, Any]:
        q, k, v = project(chunk).chunk(3, -1)
        before = 0 if past is None else past[0].shape[1]
        if past is not None:
            k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        mask = torch.arange(k.shape[1]) <= torch.arange(q.shape[1])[:, None] + before
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask if masked else None), (k, v)

    there = {"axis": 1, "spatial_dims": (1,)}
    assert faults(check(step, model, x, 16, **there)) == ()
    unmasked = check(lambda c, p=None: step(c, p, masked=False), model, x, 16, **there)
    assert faults(unmasked) == ("looks at the whole chunk",)


def test_arrays() -> None:
    total = [0.0]

    def step(chunk: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        out: np.ndarray[Any, Any] = np.cumsum(chunk, -1) + total[0]
        total[0] = out[..., -1:]
        return out

    x = np.random.default_rng(0).normal(size=(1, 2, 64))
    assert faults(check(step, lambda x: np.cumsum(x, -1), x, 8)) == ()
    assert total == [0.0]
    fails = check(lambda c: np.cumsum(c, -1), lambda x: np.cumsum(x, -1), x, 8)
    assert faults(fails) == ("no state",)


def test_another_beginning_than_the_padding_of_the_model() -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(2, 3, 5)

    def step(chunk: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        both = torch.cat([torch.zeros(2, 2, 4) if past is None else past, chunk], -1)
        return conv(both), both[..., -4:]

    report = check(step, lambda x: conv(F.pad(x, (4, 0), mode="replicate")), X, 16)
    assert faults(report) == ("another beginning",)
    assert report.findings[0].samples == 4


def test_a_first_state_is_not_written_to() -> None:
    torch.manual_seed(0)
    conv, first = nn.Conv1d(2, 3, 5), torch.zeros(2, 2, 4)

    def step(chunk: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([past, chunk], -1)
        past.copy_(both[..., -4:])
        return conv(both), past

    assert faults(check(step, lambda x: conv(F.pad(x, (4, 0))), X, 16, state=first)) == ()
    assert not first.any()


def test_short_chunks_as_given() -> None:
    report = check(OnlyThisChunk(STACK), STACK, X, 3)
    assert faults(report) == ("chunks shorter than the look-back",)


def test_a_batch_of_one_gets_company() -> None:
    assert faults(check(BatchMixed(STACK), STACK, X[:1], 16)) == ("batch mixed",)
    assert faults(check(CachedStack(STACK), STACK, X[:1], 16)) == ()


def test_types_of_states() -> None:
    class Single(CachedStack):
        def keep(self, both: Tensor) -> Tensor:
            return both[..., -4:].float().double()

    double = copy.deepcopy(STACK).double()
    report = check(Single(double), double, X.double(), 16)
    assert faults(report) == ("coarser type",)
    assert "float32" in report.findings[0].detail
    assert "float16" in check(HalfPrecision(STACK), STACK, X, 16).findings[0].detail


@pytest.mark.parametrize(("samples", "fault"), [(2, "flush missing"), (5, "another length")])
def test_a_flush_of_another_length(samples: int, fault: str) -> None:
    ahead = Ahead()
    step = Held(ahead)
    report = check(step, ahead, X, 16, flush=lambda: step(torch.zeros(2, 2, samples)))
    assert faults(report) == (fault,)
    assert report.findings[0].samples == abs(3 - samples)


@pytest.mark.parametrize("declared", [0, 1, 5, 16])
def test_the_delay_that_is_there_is_told(declared: int) -> None:
    ahead = Ahead()
    report = check(Delayed(ahead), ahead, X, 16, delay=declared, flush="flush")
    assert faults(report) == ("another delay",)
    assert report.findings[0].samples == 3


# -- gradients -------------------------------------------------------------------------------------


def test_gradients_of_right_steps() -> None:
    lstm = Lstm()
    assert faults(check(CachedStack(STACK), STACK, X, 16, gradients=True)) == ()
    assert faults(check(carried(lstm), lstm, X, 16, gradients=True)) == ()
    copied = CachedStack(copy.deepcopy(STACK))
    assert faults(check(copied, STACK, X, 16, gradients=True)) == ()


def test_a_part_of_the_state_is_detached() -> None:
    lstm = Lstm()

    def step(chunk: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, (h, c) = lstm.lstm(chunk.transpose(1, 2), state)
        return out.transpose(1, 2), (h.detach(), c)

    report = check(step, lstm, X, 16, gradients=True)
    assert faults(report) == ("gradients end at chunks",)


def test_a_layer_without_gradients() -> None:
    class Frozen(CachedStack):
        def forward(self, chunk: Tensor) -> Tensor:
            hidden = torch.relu(self.stack.first(self._with_past(0, chunk)))
            weight, bias = self.stack.second.weight.detach(), self.stack.second.bias
            return F.conv1d(self._with_past(1, hidden), weight, bias, dilation=2)

    report = check(Frozen(STACK), STACK, X, 16, gradients=True)
    assert faults(report) == ("other gradients",)
    assert "second.weight" in report.findings[0].detail


# -- what tells nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        (lambda x: 0 * x, X, "dead output"),
        (lambda x: 0 * x + 1, X, "constant output"),
        (lambda x: x / 0, X, "not finite"),
        (STACK, torch.ones(2, 2, 100), "constant input"),
    ],
)
def test_outputs_that_tell_nothing(model: Callable[..., Tensor], x: Tensor, reason: str) -> None:
    step = CachedStack(STACK) if model is STACK else model
    report = check(step, model, x, 16)
    assert (report.verdict, report.reason) == ("inconclusive", reason)


def test_nothing_that_streams() -> None:
    for model in (lambda x: x.mean(-1), lambda x: x[..., :0]):
        with pytest.raises(ModelError, match="nothing"):
            check(model, model, X, 16)


def test_a_single_chunk_tells_nothing() -> None:
    def step(chunk: Tensor) -> Tensor:
        if chunk.shape[-1] < 100:
            raise ValueError("all or nothing")
        out: Tensor = STACK(chunk)
        return out

    report = check(step, STACK, X, 100)
    assert (report.verdict, report.reason) == ("inconclusive", "no seam")


def test_a_look_back_that_changes_nothing_tells_nothing() -> None:
    conv = nn.Conv1d(2, 3, 5)
    with torch.no_grad():
        conv.weight[..., :4] = 0

    def model(x: Tensor) -> Tensor:
        out: Tensor = conv(F.pad(x, (4, 0)))
        return out

    report = check(model, model, X, 16)
    assert (report.verdict, report.reason) == ("inconclusive", "state not visible")


def test_a_tolerance_larger_than_the_signal() -> None:
    report = check(CachedStack(STACK), STACK, X, 16, rtol=2.0, atol=0.0)
    assert (report.verdict, report.reason) == ("inconclusive", "tolerance larger than the signal")


def test_tolerances_of_the_user() -> None:
    assert faults(check(HalfPrecision(STACK), STACK, X, 16, rtol=1e-2, atol=0.0)) == ()


# -- off the grid ----------------------------------------------------------------------------------


def test_off_the_grid_is_told_and_counts_if_asked() -> None:
    encoder, x = Encoder(), signal(2, 2, 96)
    report = check(CachedEncoder(encoder), encoder, x, 8)
    assert faults(report) == ()
    assert any("off the grid of 4" in note for note in report.notes)
    assert {run.outcome for run in report.runs if not run.demanded} >= {"wrong"}
    counted = check(CachedEncoder(encoder), encoder, x, 8, any_chunk=True)
    assert faults(counted) == ("off the chunk grid",)
    whole = check(CachedEncoder(encoder, keeps=True), encoder, x, 8, any_chunk=True)
    assert faults(whole) == ()


def test_a_chunk_below_the_grid_is_told_what_would_work() -> None:
    encoder, inner = Encoder(), CachedEncoder(Encoder())

    def strict(chunk: Tensor) -> Tensor | None:
        if chunk.shape[-1] % 4:
            raise RuntimeError("no multiple of four")
        return inner(chunk)

    with pytest.raises(ModelError, match=r"(?s)chunk=2: .* multiples of 4: give chunk=4"):
        check(strict, encoder, signal(2, 2, 96), 2)
    with pytest.raises(ModelError, match=r"(?s)chunk=6: .* multiples of 4: give chunk=8"):
        check(strict, encoder, signal(2, 2, 96), 6)


# -- what cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"step": None}, "give a step, .* or make_step"),
        ({"make_step": lambda: STACK}, "not both"),
        ({"step": 3}, "step=3 cannot be called"),
        ({"step": CachedStack}, "CachedStack is a class: give an instance, or make_step"),
        ({"step": None, "make_step": lambda: 3}, "made a int that cannot be called"),
        ({"chunk": 0}, "chunk=0: give how many samples"),
        ({"chunk": 2.5}, r"chunk=2\.5: give"),
        ({"chunk": ()}, r"chunk=\(\): give"),
        ({"chunk": (4, -1)}, r"chunk=\(4, -1\): give"),
        ({"delay": -1}, "delay=-1: give"),
        ({"axis": 0}, "axis=0 is the batch"),
        ({"axis": 1}, "axis=1 holds the channels"),
        ({"flush": "drain"}, "flush='drain': a CachedStack has no such method"),
        ({"reset": 3}, "reset=3: give a callable, or the name"),
        ({"rtol": 0.1}, "give both or neither"),
        ({"model": 3}, "model=3"),
    ],
)
def test_arguments_that_cannot_be_used(given: dict[str, Any], words: str) -> None:
    whole = {"step": CachedStack(STACK), "model": STACK, "x": X, "chunk": 16} | given
    with pytest.raises(InputError, match=words):
        check(**whole)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda c: [1, 2], "returned a list without tensors for chunk 0"),
        (lambda c: "out", "returned a str without tensors"),
        (lambda c: c, r"shape \(2, 2, 16\) for chunk 0: the output .* return \[2, 3, time\]"),
        (lambda c: (c, c, c), "returned 3 tensors for chunk 0, and the model gives 1"),
        (lambda c: 1 / 0, "ZeroDivisionError on chunk 0"),
        (lambda c, state: c, "was given a state, and returned a Tensor that is no pair"),
    ],
)
def test_steps_that_return_something_else(step: Callable[..., Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check(step, STACK, X, 16)


def test_a_step_that_returns_another_length() -> None:
    inner = CachedStack(STACK)
    report = check(lambda c: inner(c)[..., :-1], STACK, X, 16)
    assert faults(report) == ("another length",)
    finding = report.findings[0]
    assert finding.chunk == 0
    assert "chunk 0 of 16 gave 15" in finding.detail


def test_a_flush_that_raises() -> None:
    with pytest.raises(ModelError, match="flush raised ZeroDivisionError"):
        check(CachedStack(STACK), STACK, X, 16, flush=lambda: 1 / 0)


# -- left as found ---------------------------------------------------------------------------------


def test_everything_is_as_it_was() -> None:
    step = CachedStack(CausalStack()).train()
    kept = signal(2, 6, 4)
    step.caches[1] = kept
    x, random = X.clone(), torch.get_rng_state()
    check(step, STACK, x, 16)
    assert step.caches[0] is None
    assert step.caches[1] is kept
    assert step.training
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), random)


def test_everything_is_as_it_was_after_an_error() -> None:
    step = CachedStack(STACK)
    calls = []

    def raises(chunk: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise ValueError("enough")
        return step(chunk)

    with pytest.raises(ModelError, match="enough"):
        check(raises, STACK, X, 16)
    assert step.caches == [None, None]


def test_a_report_is_read_back_and_shown() -> None:
    for step in (STACK, CachedStack(STACK)):
        report = check(step, STACK, X, 16)
        assert StreamReport.from_json(report.to_json()) == report
        assert shiftcheck.report.read_report(report.to_json()) == report
        assert report.faults[:1] == report.faults
        assert "<" in report._repr_html_()
