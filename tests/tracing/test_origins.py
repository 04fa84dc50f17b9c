"""A constant was there before the run, or was seen being made; anything else is unknown."""

from __future__ import annotations

import asyncio
import atexit
import copy
import io
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck import Verdict
from shiftcheck.tracing.leaving.handing_over import WAYS

Model = Callable[[torch.Tensor], torch.Tensor]
Work = Callable[[], Any]
SHIFTS = {"chosen": None, "given": [(1, 0), (0, 1)]}


def image() -> torch.Tensor:
    return torch.randn(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))


def check(model: Model, how: str) -> tuple[Verdict | None, str]:
    report = shiftcheck.check_equivariance(model, image(), shifts=SHIFTS[how])
    return report.verdict, report.reason


LEFT = (Verdict.INCONCLUSIVE, "values leave torch")
PASSES = (Verdict.EQUIVARIANT, "")

# -- threads ---------------------------------------------------------------------------------------

POOL, THREADS = ThreadPoolExecutor(1), ThreadPool(1)
atexit.register(THREADS.terminate)  # else Python says at its end that it is still open
POOL.submit(int).result()  # its thread runs from now on
INBOX: queue.Queue[tuple[Work, threading.Event]] = queue.Queue()


def serve() -> None:
    while True:
        work, done = INBOX.get()
        work()
        done.set()


SERVANT = threading.Thread(target=serve, daemon=True)
SERVANT.start()


def in_a_thread(work: Work) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def in_a_pool(work: Work) -> Any:
    with ThreadPoolExecutor() as pool:
        return pool.submit(work).result()


def through_a_queue(work: Work) -> Any:
    found: list[Any] = []
    done = threading.Event()
    INBOX.put((lambda: found.append(work()), done))
    done.wait(20)
    return found[0]


ELSEWHERE: dict[str, Callable[[Work], Any]] = {
    "a thread": in_a_thread,
    "a pool": in_a_pool,
    "a pool that runs": lambda work: POOL.submit(work).result(),
    "a pool of processes' kind": lambda work: THREADS.apply(work),
    "its map": lambda work: THREADS.map(lambda _: work(), [0])[0],
    "a coroutine": lambda work: asyncio.run(asyncio.to_thread(work)),
}


@pytest.mark.parametrize("how", SHIFTS)
@pytest.mark.parametrize("elsewhere", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_number_read_in_another_thread(elsewhere: Callable[[Work], Any], how: str) -> None:
    assert check(lambda y: y * elsewhere(lambda: float(y.max())), how) == LEFT


@pytest.mark.parametrize("how", SHIFTS)
@pytest.mark.parametrize(
    "elsewhere", [*ELSEWHERE.values(), through_a_queue], ids=[*ELSEWHERE, "a queue"]
)
def test_a_tensor_made_in_another_thread(elsewhere: Callable[[Work], Any], how: str) -> None:
    assert check(lambda y: y * elsewhere(lambda: y.amax()), how) == LEFT


@pytest.mark.parametrize("how", SHIFTS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_may_fail(how: str) -> None:
    def model(y: torch.Tensor) -> torch.Tensor:
        found = [1.0]
        thread = threading.Thread(target=lambda: found.append(float(y.max())))
        thread.start()
        thread.join()
        return y * found[-1]

    assert check(model, how) == LEFT


@pytest.mark.parametrize("how", SHIFTS)
def test_a_thread_that_has_nothing_to_do_with_it(how: str) -> None:
    def model(y: torch.Tensor) -> torch.Tensor:
        assert in_a_thread(lambda: 3) == 3
        return y * 2

    assert check(model, how) == PASSES


def test_nothing_stays_watched() -> None:
    before = [vars(owner)[name] for owner, name in WAYS]
    shiftcheck.check_equivariance(lambda y: y * 2, image())
    with pytest.raises(shiftcheck.ModelError):
        shiftcheck.check_equivariance(lambda y: y.no_such_attribute, image())
    assert [vars(owner)[name] for owner, name in WAYS] == before


def only_with_values(y: torch.Tensor) -> torch.Tensor:
    if type(y) is not torch.Tensor:
        raise TypeError("only tensors with values")
    return y * 2


def test_another_thread_may_start_threads() -> None:
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            in_a_thread(int)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        report = shiftcheck.check_equivariance(only_with_values, image())
    finally:
        stop.set()
        thread.join()
    assert report.verdict is Verdict.EQUIVARIANT


# -- tensors of unknown origin ---------------------------------------------------------------------

RAMP = torch.linspace(0, 1, 13)


def unseen(y: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.Tensor._make_subclass(nn.Parameter, y)  # type: ignore[attr-defined]
    return found


def written(y: torch.Tensor) -> torch.Tensor:
    return y + torch.zeros(2, 12, 13).copy_(unseen(y * RAMP)[0])


def combined(y: torch.Tensor) -> torch.Tensor:
    return y + torch.ones(()) * unseen(y * RAMP).relu()


def decided(y: torch.Tensor) -> torch.Tensor:
    return y if unseen(y * 2).max() > 50 else 2 * y


def counted(y: torch.Tensor) -> torch.Tensor:
    return y / (1 + len((unseen(y * 2) > 50).nonzero()))


STRANGERS: dict[str, Model] = {
    "a parameter": lambda y: y + nn.Parameter(y * RAMP),
    "a parameter of its mean": lambda y: y * nn.Parameter(y.mean((2, 3), keepdim=True)),
    "another class": lambda y: y + (y * RAMP).as_subclass(nn.Parameter),
    "written": written,
    "combined with constants": combined,
    "a decision": decided,
    "a count": counted,
}


@pytest.mark.parametrize("how", SHIFTS)
@pytest.mark.parametrize("model", STRANGERS.values(), ids=STRANGERS)
def test_a_tensor_that_was_not_seen_being_made(model: Model, how: str) -> None:
    assert check(model, how) == LEFT


def test_such_a_tensor_where_torch_finds_none_without_values() -> None:
    def model(y: torch.Tensor) -> torch.Tensor:
        if type(y) is not torch.Tensor:
            raise TypeError("only tensors with values")
        return y + nn.Parameter(y * RAMP)

    assert check(model, "chosen") == LEFT


with torch.inference_mode():
    GAIN = torch.rand(2, 1, 1)


class Made(nn.Module):
    """Keeps a tensor that was made in inference mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.table = {"gain": GAIN}

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return self.conv(y) * self.table["gain"]


def loaded(y: torch.Tensor) -> torch.Tensor:
    file = io.BytesIO()
    torch.save(GAIN, file)
    file.seek(0)
    return y * torch.load(file)


WEIGHT = nn.Parameter(torch.rand(2, 1, 1))

CONSTANTS: dict[str, Any] = {
    "a closure's": lambda y: y * GAIN,
    "and more of it": lambda y: y * (GAIN.exp() + WEIGHT)[None].contiguous(),
    "a module's": Made(),
    "a deep copy": lambda y: y * copy.deepcopy(GAIN),
    "a new parameter": lambda y: y * nn.Parameter(torch.ones(2, 1, 1)),
    "of NumPy": lambda y: y * torch.from_numpy(np.hanning(5)).float()[1:3, None, None],
    "of a buffer": lambda y: y * torch.frombuffer(np.ones(1, np.float32), dtype=torch.float32),
    "of a list": lambda y: y * torch.tensor([[[1.0]], [[2.0]]]),
    "of a file": loaded,
    "of the shape": lambda y: y * torch.zeros_like(y[:1, :, :1, :1]).add(1),
    "a number of a constant": lambda y: y * float(GAIN.max()),
}


@pytest.mark.parametrize("how", SHIFTS)
@pytest.mark.parametrize("model", CONSTANTS.values(), ids=CONSTANTS)
def test_what_was_there_before_is_a_constant(model: Any, how: str) -> None:
    assert check(model, how) == PASSES


def test_values_that_stand_still() -> None:
    def model(y: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return y * gain.exp()

    report = shiftcheck.check_equivariance(model, (image(), torch.rand(2, 1, 1)))
    assert report.verdict is Verdict.EQUIVARIANT
