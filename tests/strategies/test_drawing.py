"""Shifts, signals, sizes and boundaries: what is drawn, what it shrinks to, what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from torch import nn

import shiftcheck
from shiftcheck.strategies import boundaries, sample_signal, shifts, signals, sizes

QUICK = hypothesis.settings(
    max_examples=25,
    database=None,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],  # to explain takes its time
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)


@QUICK
@given(st.data())
def test_shifts_are_on_the_lattice_within_reach_and_not_zero(data: st.DataObject) -> None:
    ndim = data.draw(st.integers(1, 3))
    lattice = data.draw(st.tuples(*[st.integers(1, 4)] * ndim))
    most = tuple(step * data.draw(st.integers(0, 5)) for step in lattice)
    hypothesis.assume(any(most))
    shift = data.draw(shifts(ndim, most, lattice=lattice))
    assert len(shift) == ndim
    assert any(shift)
    assert all(v % s == 0 and abs(v) <= m for v, s, m in zip(shift, lattice, most, strict=True))


def test_shifts_of_every_kind_are_drawn() -> None:
    seen: set[tuple[bool, ...]] = set()

    @hypothesis.settings(QUICK, max_examples=200)
    @given(shifts(2, 3))
    def look(shift: tuple[int, ...]) -> None:
        seen.add((*(v > 0 for v in shift), *(v < 0 for v in shift)))

    look()
    assert len(seen) == 8  # each axis forwards, backwards or not at all, but not none at all


@pytest.mark.parametrize(
    ("offends", "smallest"),
    [
        (lambda v: True, (1, 0)),
        (lambda v: v[1] != 0, (0, 1)),
        (lambda v: abs(v[0]) >= 3, (3, 0)),
        (lambda v: v[0] <= -2, (-2, 0)),
        (lambda v: bool(v[0] and v[1]), (1, 1)),
    ],
)
def test_shifts_shrink_to_the_smallest_offending_one(
    offends: Callable[[tuple[int, ...]], bool], smallest: tuple[int, ...]
) -> None:
    assert find(shifts(2, 8), offends, settings=QUICK) == smallest


def test_signals_shrink_to_one_channel_white_noise_and_seed_zero() -> None:
    shape = st.tuples(st.just(1), st.integers(1, 5), st.integers(4, 9), st.integers(4, 9))
    smallest = find(signals(shape), lambda x: True, settings=QUICK)
    assert torch.equal(smallest, sample_signal((1, 1, 4, 4), kind="white", seed=0))
    several = find(signals(shape), lambda x: x.shape[1] >= 3, settings=QUICK)
    assert several.shape == (1, 3, 4, 4)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
def test_a_failing_signal_is_shown_as_the_call_that_makes_it() -> None:
    @QUICK
    @given(x=signals((1, 2, 30, 40), kind="blobs"))
    def fails(x: torch.Tensor) -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fails()
    shown = "\n".join(caught.value.__notes__)
    assert "sample_signal" in shown
    assert "kind='blobs'" in shown
    assert "tensor(" not in shown


def test_boundaries_shrink_to_valid() -> None:
    assert find(boundaries(3), lambda b: True, settings=QUICK) == ("valid",) * 3
    assert find(boundaries(2), lambda b: b[0] == "circular", settings=QUICK)[1] == "valid"


class UNet(nn.Module):
    """Two pools and skip connections: only multiples of 4 fit together."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = nn.functional.max_pool2d(self.conv(x), 2)
        back = nn.functional.max_pool2d(half, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return x + (half + back).repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_sizes_shrink_to_the_smallest() -> None:
    assert find(sizes(nn.MaxPool2d(3)), lambda s: True, settings=QUICK) == (9, 9)
    assert find(sizes(nn.MaxPool2d(3)), lambda s: s[0] > s[1], settings=QUICK) == (10, 9)


@pytest.mark.parametrize("boundary", ["valid", "circular"])
def test_every_size_that_is_drawn_is_accepted(boundary: str) -> None:
    model = UNet()
    drawn: set[tuple[int, ...]] = set()

    @QUICK
    @given(sizes(model, boundary=boundary))
    def look(size: tuple[int, ...]) -> None:
        model(torch.zeros(1, 1, *size))
        drawn.add(size)

    look()
    assert len(drawn) > 8
    assert {n % 4 for size in drawn for n in size} == {0}


def test_sizes_of_a_model_that_takes_squares_only() -> None:
    class Turned(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.transpose(2, 3).flip(2).flip(2).transpose(2, 3) * (x + x.mT).sign().abs()

    found = sizes(Turned(), ndim=2, channels=1)
    assert all(
        a == b for a, b in (find(found, lambda s, n=n: s[0] > n, settings=QUICK) for n in (2, 7))
    )


def test_sizes_of_one_size_only() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.place = nn.Conv2d(1, 2, 1), nn.Parameter(torch.randn(1, 2, 9, 11))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) + self.place

    assert find(sizes(Embedded()), lambda s: True, settings=QUICK) == (9, 11)


def test_sizes_of_a_function_of_several_inputs() -> None:
    def scaled(x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x, 3) * by

    found = sizes(scaled, ndim=2, arguments=lambda x: (x, torch.tensor(2.0)))
    assert find(found, lambda s: True, settings=QUICK) == (9, 9)


def conv2(**options: Any) -> Any:
    return sizes(nn.Conv2d(3, 1, 3), **options)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: shifts(0, 3), "ndim=0"),
        (lambda: shifts(True, 3), "ndim=True"),
        (lambda: shifts(4, 3), "ndim=4"),
        (lambda: shifts(2, -1), "max=-1"),
        (lambda: shifts(2, 1.5), r"max=1\.5"),
        (lambda: shifts(2, (1, 2, 3)), r"max=\(1, 2, 3\)"),
        (lambda: shifts(2, 0), "max=0: no axis is moved"),
        (lambda: shifts(2, 3, lattice=4), "max=3, lattice=4: along axis 0"),
        (lambda: shifts(2, 3, lattice=0), "lattice=0"),
        (lambda: shifts(2, 3, lattice="2"), "lattice='2'"),
        (lambda: signals((3, 8, 0)), r"shape=\[3, 8, 0\]|shape=\(3, 8, 0\)"),
        (lambda: signals((8, 8)), r"shape=\[8, 8\]"),
        (lambda: signals(7), "shape=7"),
        (lambda: signals("abc"), "shape='abc'"),
        (lambda: signals((1, 1, 8), kind="pink"), "kind='pink'"),
        (lambda: signals((1, 1, 8), kind=()), r"kind=\(\)"),
        (lambda: signals((1, 1, 8), kind=["white", 3]), "kind=3"),
        (lambda: signals((1, 1, 8), dtype=torch.int64), r"dtype=torch\.int64"),
        (lambda: signals((1, 1, 8), dtype="float32"), "dtype='float32'"),
        (lambda: boundaries(5), "ndim=5"),
        (lambda: sizes(3), "model=3 cannot be called"),
        (lambda: sizes(nn.Conv2d), "model=Conv2d is a class"),
        (lambda: sizes(nn.ReLU()), "ndim=None: the model has no layer that tells"),
        (lambda: conv2(boundary="open"), "boundary='open'"),
        (lambda: conv2(boundary=("valid",)), r"boundary=\('valid',\)"),
        (lambda: conv2(channels=0), "channels=0"),
        (lambda: conv2(channels=[]), r"channels=\[\]"),
        (lambda: conv2(shift=(0, 0)), r"shift=\(0, 0\)"),
        (lambda: conv2(shift=1), "shift=1"),
        (lambda: conv2(channels=2), "accepts none of .* with 2 channels"),
        (lambda: conv2(layer="nowhere"), "layer='nowhere'"),
        (lambda: sizes(nn.InstanceNorm2d(3)), "leaves something to compare"),
        (lambda: sample_signal((1, 1, 4), seed=-1), "seed=-1"),
        (lambda: sample_signal((1, 1, 4), seed=1.0), r"seed=1\.0"),
    ],
)
def test_bad_arguments_are_refused_when_they_are_given(call: Any, says: str) -> None:
    with pytest.raises(shiftcheck.InputError, match=says):
        call()


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_the_package_imports_no_hypothesis_and_the_strategies_name_the_pip_line() -> None:
    code = (
        "import sys, shiftcheck\n"
        "assert not any(name.split('.')[0] == 'hypothesis' for name in sys.modules)\n"
        "sys.modules['hypothesis'] = None\n"
        "try:\n    shiftcheck.strategies\n"
        "except shiftcheck.MissingExtraError as error:\n    print(error)\n"
        "from shiftcheck import strategies\n"
    )
    done = python(code)
    assert "pip install 'torch-shiftcheck[hypothesis]'" in done.stdout
    assert done.returncode == 1
    assert "ImportError" in done.stderr or "MissingExtraError" in done.stderr


def test_only_the_strategies_import_hypothesis() -> None:
    done = python(
        "import sys, shiftcheck\nassert 'hypothesis' not in sys.modules\n"
        "print(shiftcheck.strategies.shifts.__module__)"
    )
    assert done.stdout.startswith("shiftcheck.strategies"), done.stderr


def test_hypothesis_seeds_torch_and_puts_it_back() -> None:
    drawn: list[float] = []

    @QUICK
    @given(st.integers())
    def look(_: int) -> None:
        drawn.append(float(torch.rand(())))

    torch.manual_seed(5)
    before = torch.get_rng_state()
    look()
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(drawn)) == 1
