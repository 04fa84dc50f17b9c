"""Random is what comes from a state that outlives the call, or differs from run to run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftcheck
from shiftcheck import Verdict

Model = Callable[[torch.Tensor], torch.Tensor]


def image() -> torch.Tensor:
    return torch.randn(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def after_seeding(model: Model) -> Model:
    def seeding(y: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return model(y)

    return seeding


def in_a_fork(y: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return y + torch.rand(2, 1, 1)


def twice(y: torch.Tensor) -> torch.Tensor:
    own = seeded()
    return y * torch.rand(2, 1, 1, generator=own) + torch.rand(2, 1, 1, generator=own)


WORDS = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(1))
RECURRENT = nn.LSTM(4, 4, 2, batch_first=True).train()
DROPPING = nn.LSTM(4, 4, 2, batch_first=True, dropout=0.5).train()


def attended(dropout: float) -> torch.Tensor:
    """Attention over a constant, a number for each channel."""
    return F.scaled_dot_product_attention(WORDS, WORDS, WORDS, dropout_p=dropout)[0, :, :1, None]


STEADY: dict[str, Model] = {
    "dropout in eval mode": lambda y: y * F.dropout(torch.ones(12, 13), 0.5, training=False),
    "dropout2d in eval mode": lambda y: y * F.dropout2d(torch.ones(1, 2, 1, 1), training=False),
    "alpha dropout in eval mode": lambda y: y * F.alpha_dropout(torch.ones(2, 1, 1), 0.5),
    "dropout of nothing": lambda y: y * F.dropout(torch.ones(12, 13), 0.0, training=True),
    "feature dropout of nothing": lambda y: y * F.dropout2d(torch.ones(1, 2, 1, 1), 0.0, True),
    "attention": lambda y: y * attended(0.0),
    "a recurrent layer in training": lambda y: y * RECURRENT(WORDS)[0][0, :, :1, None],
    "rrelu in eval mode": lambda y: y * F.rrelu(-torch.ones(2, 1, 1)),
    "a generator of its own": lambda y: y + torch.randn(2, 1, 1, generator=seeded()),
    "one that was never seeded": lambda y: y + torch.randn(2, 1, 1, generator=torch.Generator()),
    "two draws": twice,
    "written in place": lambda y: y * torch.empty(2, 1, 1).normal_(generator=seeded()),
    "torch.manual_seed": after_seeding(lambda y: y * torch.randn(2, 1, 1)),
    "a permutation": after_seeding(lambda y: y[:, torch.randperm(2)]),
    "in a fork": in_a_fork,
}


@pytest.mark.parametrize("model", STEADY.values(), ids=STEADY)
@pytest.mark.parametrize("shifts", [None, [(1, 0), (0, 1)]], ids=["chosen", "given"])
def test_what_is_the_same_in_every_call_is_a_constant(
    model: Model, shifts: list[tuple[int, int]] | None
) -> None:
    report = shiftcheck.check_equivariance(model, image(), shifts=shifts)
    assert report.verdict is Verdict.EQUIVARIANT


VARYING: dict[str, Model] = {
    "of a fixed size": lambda y: y + torch.randn(12, 13, generator=seeded()),
    "of the size of x": after_seeding(lambda y: y + torch.randn_like(y)),
    "of the shape of x": lambda y: y * torch.rand(y.shape, generator=seeded()),
}


@pytest.mark.parametrize("model", VARYING.values(), ids=VARYING)
def test_steady_noise_depends_on_the_position(model: Model) -> None:
    report = shiftcheck.check_equivariance(model, image())
    assert report.verdict is Verdict.BROKEN
    assert report.guilty is not None
    assert report.guilty.kind == "POSITION"


class Noisy(nn.Module):
    """Has a generator that goes on from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = seeded()

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + torch.randn(2, 1, 1, generator=self.generator)


KEPT = seeded()
PYTHON, NUMPY = random.Random(0), np.random.default_rng(0)


def seeded_by_the_clock(y: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(time.perf_counter_ns())
    return y * torch.rand(2, 1, 1)


def seeded_by_the_system(y: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator()
    generator.seed()
    return y * torch.rand(2, 1, 1, generator=generator)


def after_the_seeded(y: torch.Tensor) -> torch.Tensor:
    return y + torch.rand(2, 1, 1, generator=seeded()) * torch.rand(2, 1, 1)


RANDOM: dict[str, Any] = {
    "the generator of torch": lambda y: y + torch.randn(1, 1, 1),
    "of the size of x": lambda y: y + torch.rand_like(y),
    "dropout of a constant": lambda y: y * F.dropout(torch.ones(2, 1, 1), 0.5),
    "attention to some of a constant": lambda y: y * attended(0.5),
    "in place": lambda y: y + torch.empty(1).uniform_(),
    "random channels": lambda y: y + torch.randperm(200)[0],
    "beside a seeded one": after_the_seeded,
    "a generator of the module": Noisy(),
    "a generator of a closure": lambda y: y + torch.rand(2, 1, 1, generator=KEPT),
    "seeded by the clock": seeded_by_the_clock,
    "seeded by the system": seeded_by_the_system,
    "Python": lambda y: y + random.random(),
    "NumPy": lambda y: y + np.random.rand(),
    "an object of Python": lambda y: y + PYTHON.random(),
    "an object of NumPy": lambda y: y + NUMPY.random(),
    "the clock": lambda y: y + time.perf_counter() % 1,
}


@pytest.mark.parametrize("model", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("shifts", [None, [(1, 0), (0, 1)]], ids=["chosen", "given"])
def test_what_goes_on_from_call_to_call_is_random(
    model: Any, shifts: list[tuple[int, int]] | None
) -> None:
    report = shiftcheck.check_equivariance(model, image(), shifts=shifts)
    assert (report.verdict, report.reason) == (Verdict.INCONCLUSIVE, "nondeterministic")


@pytest.mark.parametrize("model", [Noisy(), RANDOM["the generator of torch"]])
def test_who_draws_is_named(model: Any) -> None:
    report = shiftcheck.check_equivariance(model, image())
    assert report.guilty is not None
    assert (report.guilty.kind, report.guilty.op) == ("STOCHASTIC", "add")


def test_the_structure_knows_what_is_random() -> None:
    def kinds(model: Model) -> set[str]:
        return {cause.kind for cause in shiftcheck.geometry(model, image()).causes}

    assert "STOCHASTIC" in kinds(lambda y: y + torch.rand_like(y))
    assert "STOCHASTIC" not in kinds(STEADY["torch.manual_seed"])
    assert "STOCHASTIC" not in kinds(STEADY["dropout in eval mode"])


def test_the_generators_are_left_as_they_were() -> None:
    before, kept = torch.get_rng_state(), KEPT.get_state()
    for model in (STEADY["torch.manual_seed"], RANDOM["the generator of torch"]):
        shiftcheck.check_equivariance(model, image())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(KEPT.get_state(), kept)


@pytest.mark.parametrize(
    ("layers", "reason"), [(RECURRENT, ""), (DROPPING, "nondeterministic")], ids=["0", "0.5"]
)
def test_layers_in_training_draw_where_they_drop_something(layers: nn.LSTM, reason: str) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return y * self.layers(WORDS)[0][0, :, :1, None]

    report = shiftcheck.check_equivariance(Beside(), image(), training=True)
    assert report.reason == reason
