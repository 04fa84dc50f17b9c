"""Several processes that share an evaluation: the same figures, and clear errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.checks.evaluation.slow_network import Slow, data
from torch import nn

import shiftcheck
from shiftcheck.checks.evaluation import check, shards
from shiftcheck.checks.evaluation.shards import Processes
from shiftcheck.errors import InputError, ProcessLostError
from shiftcheck.report import EvaluationReport

WEIGHTS = Slow().state_dict()

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch has no distributed")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "PAUSE", 0.02)
    monkeypatch.setattr(shards, "POLL", 0.002)
    monkeypatch.setattr(shards, "FAREWELL", 0.2)


def together(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    run: Callable[[int], Any],
    *,
    timeout: float = 30.0,
) -> list[Any]:
    """What each of several processes gives or raises; each is a thread, with a store they share."""
    store = dist.HashStore()
    ranks = threading.local()
    found: list[Any] = [None] * size

    def processes(distributed: bool | None, _: float) -> Processes:
        return Processes(ranks.mine, size, store, timeout)

    def one(rank: int) -> None:
        ranks.mine = rank
        try:
            found[rank] = run(rank)
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    with monkeypatch.context() as patched:
        patched.setattr(check, "processes", processes)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    return found


def evaluated(items: int, model: nn.Module | None = None, **kwargs: Any) -> EvaluationReport:
    return shiftcheck.evaluate(
        model or Slow(weights=WEIGHTS),
        data(items),
        ["invariance", "classes"],
        draws=2,
        batch_size=3,
        fill="zeros",
        **kwargs,
    )


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("items", [1, 8, 13])
def test_any_number_of_processes_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, size: int, items: int
) -> None:
    alone = evaluated(items)
    found = together(monkeypatch, size, lambda rank: evaluated(items))
    for report in found:
        assert not isinstance(report, BaseException), report
        assert replace(report, processes=1) == alone


def test_one_that_fails_ends_the_others_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(rank: int) -> EvaluationReport:
        return evaluated(30, Fails() if rank == 1 else Fails(after=10**9), errors="raise")

    found = together(monkeypatch, 3, run)
    assert isinstance(found[1], shiftcheck.ModelError)
    for rank in (0, 2):
        assert isinstance(found[rank], ProcessLostError)
        assert "process 1 of 3 failed" in str(found[rank])
        assert "out of order" in str(found[rank])


class Fails(Slow):
    """Raises after some passes; the count is no weight, so that it is the same model."""

    def __init__(self, after: int = 6) -> None:
        super().__init__(weights=WEIGHTS)
        self.__dict__["left"] = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.__dict__["left"] -= 1
        if self.__dict__["left"] < 0:
            raise RuntimeError("out of order")
        return super().forward(x)


def test_one_that_is_gone_ends_the_others_in_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = threading.Event()

    class Gone(BaseException):
        pass

    def run(rank: int) -> EvaluationReport:
        if rank == 1:
            monkeypatch.setattr(Processes, "fail", lambda self, error: None)
            gone.set()
            raise Gone
        return evaluated(12, checkpoint=tmp_path / "kept")

    begun = time.monotonic()
    found = together(monkeypatch, 2, run, timeout=0.3)
    assert time.monotonic() - begun < 20
    assert isinstance(found[0], ProcessLostError)
    assert "process 1 of 2 has given no sign of life for 0.3 seconds" in str(found[0])


def test_another_model_in_one_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = together(monkeypatch, 2, lambda rank: evaluated(8, seed=rank))
    for rank in range(2):
        assert isinstance(found[rank], InputError | ProcessLostError)
    assert any("evaluates another model" in str(error) for error in found)


def test_each_process_has_its_own_checkpoint_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "kept"

    def broken(rank: int) -> EvaluationReport:
        model = Fails() if rank == 1 else Fails(after=10**9)
        return evaluated(20, model, errors="raise", checkpoint=path, checkpoint_every=0.0)

    together(monkeypatch, 2, broken)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.0-of-2", "kept.1-of-2"]
    with pytest.raises(InputError, match="begun by 2 processes, and this is 1 process"):
        evaluated(20, Fails(after=10**9), errors="raise", checkpoint=path)

    def whole(rank: int) -> EvaluationReport:
        return evaluated(20, Fails(after=10**9), errors="raise", checkpoint=path)

    found = together(monkeypatch, 2, whole)
    alone = evaluated(20, Fails(after=10**9), errors="raise")
    assert [replace(report, processes=1) for report in found] == [alone, alone]
    assert not list(tmp_path.iterdir())


def test_a_stream_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    found = together(
        monkeypatch,
        2,
        lambda rank: shiftcheck.evaluate(Slow(weights=WEIGHTS), iter([data(4)]), "invariance"),
    )
    assert all("yields batches that have no numbers" in str(error) for error in found)


def test_a_launcher_without_init_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="init_process_group"):
        evaluated(4)
    assert evaluated(4, distributed=False).items == 4
