"""Models that run on streams give what they give on the whole, with memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.networks.streamed import Ahead, CausalStack, Decoder, Encoder, Lstm, frames
from torch import Tensor, nn
from torch.nn import functional as F

import shiftcheck
from shiftcheck import InputError, ModelError


class Net(nn.Module):
    """A U-Net of two levels, with two outputs of different strides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv1d(2, 4, 5, stride=2, padding=2)
        self.deep = nn.Conv1d(4, 4, 5, stride=2, padding=2)
        self.up = nn.ConvTranspose1d(4, 4, 4, stride=2, padding=1)
        self.out = nn.ConvTranspose1d(8, 2, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.elu(self.down(x))
        return self.out(torch.cat([self.up(F.elu(self.deep(hidden))), hidden], 1)), hidden


MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "stack": CausalStack(),
    "ahead": Ahead(),
    "encoder": Encoder(),
    "decoder": Decoder(),
    "unpadded": nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Conv1d(3, 1, 4, stride=3)),
    "reflect": nn.Conv1d(2, 2, 5, padding=2, padding_mode="reflect"),
    "resampled": nn.Sequential(nn.ConvTranspose1d(2, 2, 4, stride=2, padding=1), nn.AvgPool1d(3)),
    "frames": frames,
}


@pytest.mark.parametrize("length", [30, 397, 400])
@pytest.mark.parametrize("name", MODELS)
def test_a_stream_is_the_whole(name: str, length: int) -> None:
    model = MODELS[name]
    x = torch.randn(2, 1 if name == "frames" else 2, length)
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, x.shape[1], 240)), chunk=48)
    with torch.no_grad():
        whole = model(x)
    for size in (1 if length < 100 else 13, 77, 1000):
        pieces = list(run(x.split(size, -1)))
        assert len(pieces) > (length > 300)
        torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=1e-5, atol=1e-6)


def test_several_outputs_and_arrays() -> None:
    model, x = Net(), torch.randn(1, 2, 400)
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 2, 240)), chunk=64)
    with torch.no_grad():
        whole = model(x)
    pieces = list(run(chunk.numpy() for chunk in x.split(50, -1)))
    assert isinstance(pieces[0], tuple)
    for number, output in enumerate(whole):
        joined = np.concatenate([piece[number] for piece in pieces], -1)
        np.testing.assert_allclose(joined, output.numpy(), rtol=1e-5, atol=1e-6)


def test_time_may_be_any_axis() -> None:
    model = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.randn(1, 1, 70, 9)
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 1, 50, 9), axis=2), chunk=8)
    pieces = list(run(x.split(7, 2)))
    torch.testing.assert_close(torch.cat(pieces, 2), model(x).detach(), rtol=1e-5, atol=1e-6)


def test_what_is_known_comes_before_the_end() -> None:
    model = CausalStack()
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 2, 240)), chunk=16)
    taken = []

    def chunks() -> Iterator[Tensor]:
        for number in range(40):
            taken.append(number)
            yield torch.randn(1, 2, 4)

    next(run(chunks()))
    assert len(taken) < 20


def test_an_empty_stream() -> None:
    model = CausalStack()
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 2, 240)))
    assert list(run([])) == []
    assert list(run([torch.zeros(1, 2, 0)])) == []


TEN_MILLION = """
import torch, shiftcheck

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

def length_and_peak(number):
    chunks = (torch.randn(1, 1, 10_000) for _ in range(number))
    pieces = ((int(piece.shape[-1]), anonymous()) for piece in run(chunks))
    lengths, peaks = zip(*pieces)
    return sum(lengths), max(peaks)

torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.ConstantPad1d((6, 0), 0.0), torch.nn.Conv1d(1, 2, 7))
run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 1, 10_000_000)))
length, before = length_and_peak(20)
assert length == 200_000
length, after = length_and_peak(1000)
assert length == 10_000_000
print(after - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no count of pages")
def test_ten_million_samples_in_constant_memory() -> None:
    """By the memory held with each piece: a peak of the process may be that of its parent."""
    source = Path(shiftcheck.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", TEN_MILLION],
        env={"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 * 2**20  # the signal has 40 MB, the output 80 MB


def test_what_cannot_be_used() -> None:
    model = Encoder()
    plan = shiftcheck.streaming(model, (1, 2, 240))
    with pytest.raises(InputError, match=r"chunk=3: .* multiples of 4 samples: give 4"):
        shiftcheck.streamed(model, plan, chunk=3)
    with pytest.raises(InputError, match=r"chunk=10: .* give 8 or 12"):
        shiftcheck.streamed(model, plan, chunk=10)
    with pytest.raises(InputError, match="chunk='all': give a whole number"):
        shiftcheck.streamed(model, plan, chunk="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="other modules or weights"):
        shiftcheck.streamed(CausalStack(), plan)
    with pytest.raises(InputError, match=r"give what shiftcheck\.streaming"):
        shiftcheck.streamed(model, "plan")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be called"):
        shiftcheck.streamed(3, plan)  # type: ignore[arg-type]
    run = shiftcheck.streamed(model, plan)
    with pytest.raises(InputError, match=r"number 1 has shape \(1, 3, 8\)"):
        list(run([torch.zeros(1, 2, 8), torch.zeros(1, 3, 8)]))
    with pytest.raises(InputError, match="number 0 is a list"):
        list(run([[1, 2]]))


def test_a_state_without_an_end_is_refused() -> None:
    model = Lstm()
    with pytest.raises(InputError, match=r"because of lstm \(recurrent state\).*assert_streamable"):
        shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 2, 240)))
    norm = nn.GroupNorm(1, 2)
    with pytest.raises(InputError, match=r"group_norm \(statistic over time\)"):
        shiftcheck.streamed(norm, shiftcheck.streaming(norm, (1, 2, 240)))


def test_an_error_of_the_model_is_told() -> None:
    def moody(x: Tensor) -> Tensor:
        if x.shape[-1] < 20:
            raise ValueError("too short for me")
        return x * 2

    run = shiftcheck.streamed(moody, shiftcheck.streaming(moody, (1, 2, 240)))
    with pytest.raises(ModelError, match="too short for me"):
        list(run([torch.zeros(1, 2, 8)]))


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Conv1d(2, 2, 3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    run = shiftcheck.streamed(model, shiftcheck.streaming(model, (1, 2, 240)), chunk=16)
    list(run(torch.randn(1, 2, 100).split(10, -1)))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
