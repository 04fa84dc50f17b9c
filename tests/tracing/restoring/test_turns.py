"""Several threads: checks take turns, and who merely runs a module does not show."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing.restoring.turns import one_at_a_time


def image() -> torch.Tensor:
    return torch.randn(1, 4, 16, 18, generator=torch.Generator().manual_seed(5))


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """What each gives in a thread of its own; raises what one of them raises."""
    given: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(i: int, work: Callable[[], Any]) -> None:
        start.wait()
        try:
            given[i] = work()
        except BaseException as error:
            given[i] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in given:
        if isinstance(one, BaseException):
            raise one
    return given


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))


def test_four_checks_at_once_of_a_module_that_they_share() -> None:
    model = network().train()
    alone = shiftcheck.check_equivariance(model, image())
    state, logger = torch.get_rng_state(), logging.getLogger("torch._subclasses.fake_tensor")

    def check() -> Any:
        return shiftcheck.check_equivariance(model, image())

    reports = in_threads(check, check, lambda: shiftcheck.geometry(model, image()), check)
    for report in (reports[0], reports[1], reports[3]):
        assert report.verdict is Verdict.EQUIVARIANT
        assert [row.name for row in report] == [row.name for row in alone]
    assert all(m.training for m in model.modules())
    assert not model[1].running_mean.any()
    assert torch.backends.mha.get_fastpath_enabled()
    assert not logger.disabled
    assert torch.equal(torch.get_rng_state(), state)


def test_randomised_weights_of_one_check_are_not_met_by_another() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]

    def drawn() -> Any:
        return shiftcheck.check_equivariance(model, image(), weights="randomized", draws=2)

    def own() -> Any:
        return shiftcheck.check_equivariance(model, image()).outputs[0].shifts[0].scale

    expected = own()
    given = in_threads(drawn, own, own, drawn)
    assert given[1:3] == [expected, expected]
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


class Meets(nn.Module):
    """In its forward, another thread runs the same layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 3), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        other = torch.zeros(1, 4, 9, 9, dtype=self.conv.weight.dtype)
        in_threads(lambda: self.act(self.conv(other)))
        return self.act(self.conv(x))  # type: ignore[no-any-return]


def test_a_thread_that_runs_the_same_module_adds_no_rows() -> None:
    report = shiftcheck.check_equivariance(Meets(), image())
    assert [row.name for row in report] == ["conv", "act"]
    assert report.verdict is Verdict.EQUIVARIANT


def test_a_thread_that_runs_the_same_module_ends_no_check_before_its_layer() -> None:
    report = shiftcheck.check_equivariance(Meets(), image(), layer="act")
    assert [row.name for row in report] == ["conv", "act"]


def test_a_thread_that_runs_the_same_module_moves_nothing_in_a_lie_derivative() -> None:
    one, other = Meets().double(), nn.Sequential().double()
    other.conv, other.act = one.conv, one.act
    rows = shiftcheck.lie_derivatives(one, image().double())
    alone = shiftcheck.lie_derivatives(other, image().double())
    assert [row.name for row in rows] == ["conv", "act", "output"]
    assert rows[:2] == alone[:2]


def test_a_check_within_a_check_does_not_wait_for_itself() -> None:
    class Checks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shiftcheck.geometry(nn.Conv2d(4, 4, 3), (1, 4, 9, 9))
            return x * 2

    done = in_threads(lambda: shiftcheck.geometry(Checks(), (1, 4, 9, 9)))
    assert done[0].outputs


def _child(answers: Any) -> None:
    with one_at_a_time():
        answers.put("went on")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_lacks() -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    held, go_on = threading.Event(), threading.Event()

    def holds() -> None:
        with one_at_a_time():
            held.set()
            go_on.wait(20)

    thread = threading.Thread(target=holds)
    thread.start()
    held.wait()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    try:
        assert answers.get(timeout=10) == "went on"
    finally:
        go_on.set()
        thread.join()
        child.kill()
        child.join()
