"""Tensors that are read in one transfer, and comparisons that ask for them side by side."""

from __future__ import annotations

import pytest
import torch

from shiftcheck.measuring.gaps import read
from shiftcheck.measuring.gaps.read import Asking, alike, all_answered, answered, held


@pytest.fixture(name="transfers")
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of every transfer, as if all tensors were elsewhere."""
    sizes: list[int] = []
    plain = torch.Tensor.cpu

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return plain(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(read, "waits", lambda tensor: True)
    return sizes


TENSORS = (
    torch.tensor(True),
    torch.arange(5, dtype=torch.int16),
    torch.randn(3, 4).T,
    torch.randn(2, 2, dtype=torch.complex128),
    torch.tensor(3, dtype=torch.int64),
    torch.zeros(0, 3),
    torch.randn(3, dtype=torch.bfloat16),
    torch.tensor([float("nan"), float("inf")], dtype=torch.float64),
    torch.randn(4, 6)[1:3, ::2],
)


def test_tensors_of_all_types_travel_together(transfers: list[int]) -> None:
    found = read.read(TENSORS)
    assert len(transfers) == 1
    for before, after in zip(TENSORS, found, strict=True):
        assert after.dtype == before.dtype
        assert after.shape == before.shape
        assert torch.equal(after.nan_to_num(), before.nan_to_num())
        assert torch.equal(after.isnan(), before.isnan())


def test_what_is_asked_for_twice_travels_once(transfers: list[int]) -> None:
    one = torch.randn(10)
    first, second = read.read((one, one))
    assert first is second
    assert transfers == [40]


def test_a_large_one_travels_by_itself(
    transfers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "LARGE", 8)
    given = torch.randn(3), torch.randn(8), torch.randn(2), torch.randn(9)
    assert all(torch.equal(a, b) for a, b in zip(read.read(given), given, strict=True))
    assert sorted(transfers) == [20, 32, 36]
    transfers.clear()
    assert torch.equal(read.read(given[1:2])[0], given[1])
    assert transfers == [32]


def test_on_a_cpu_nothing_is_moved() -> None:
    given = torch.randn(3), torch.randn(2)
    assert all(a is b for a, b in zip(read.read(given), given, strict=True))


def counts(rounds: int, start: int, log: list[str]) -> Asking[int]:
    total = start
    for i in range(rounds):
        log.append(f"{start}.{i}")
        one, two = yield torch.tensor(i), torch.tensor(start)
        total += int(one) * int(two)
    return total


@pytest.mark.parametrize("rounds", [(3, 1, 0, 2), (), (0, 0)])
def test_all_that_waits_asks_together(transfers: list[int], rounds: tuple[int, ...]) -> None:
    log: list[str] = []
    askings = (counts(n, i, log) for i, n in enumerate(rounds))
    found = all_answered(askings, torch.zeros(1))
    assert found == [i + i * n * (n - 1) // 2 for i, n in enumerate(rounds)]
    assert len(transfers) == max(rounds, default=0)
    assert sorted(log, key=lambda entry: entry[-1]) == log


def test_on_a_cpu_one_comes_after_the_other() -> None:
    log: list[str] = []
    assert all_answered((counts(2, i, log) for i in (1, 2)), torch.zeros(1)) == [2, 4]
    assert log == ["1.0", "1.1", "2.0", "2.1"]


def test_one_by_itself() -> None:
    assert answered(counts(3, 2, [])) == 2 + 2 * (0 + 1 + 2)


@pytest.mark.parametrize("block", [1, 6, 1000])
@pytest.mark.usefixtures("transfers")
def test_alike_in_blocks_is_alike(block: int) -> None:
    one = torch.randn(4, 3, 5)
    assert bool(alike(one, one.clone(), block))
    for place in ((0, 0, 0), (3, 2, 4), (1, 1, 1)):
        other = one.clone()
        other[place] += 1
        assert not alike(one, other, block)
        other[place] = float("nan")
        assert not alike(other, other, block)


def test_what_is_held_is_made_once_unless_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    kept = held(lambda: made.append(1), torch.zeros(1))
    assert made == []
    kept()
    kept()
    assert made == [1]
    monkeypatch.setattr(read, "waits", lambda tensor: True)
    again = held(lambda: made.append(2), torch.zeros(1))
    again()
    again()
    assert made == [1, 2, 2]
