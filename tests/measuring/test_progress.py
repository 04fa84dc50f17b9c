"""What a terminal is told of a check that takes long."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.measuring import progress

SENTENCE = "the check goes on"


class Screen(io.StringIO):
    """A terminal that notes when something was written to it."""

    def __init__(self, *, terminal: bool = True) -> None:
        super().__init__()
        self.terminal, self.told = terminal, threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        count = super().write(text)
        if SENTENCE in self.getvalue():
            self.told.set()
        return count


@pytest.fixture(name="screen")
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


@contextmanager
def shown(screen: Screen, *, otherwise_shown: bool = False) -> Iterator[None]:
    """What tells it, on that screen, which pytest would take away before the test begins."""
    with redirect_stderr(screen), progress.shown_if_long(otherwise_shown=otherwise_shown):
        yield


@pytest.fixture(name="_no_patience")
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)


def threads() -> int:
    return sum("_show_until" in thread.name for thread in threading.enumerate())


@pytest.mark.usefixtures("_no_patience")
def test_a_terminal_is_told_that_a_long_check_goes_on(screen: Screen) -> None:
    before = threads()
    with shown(screen):
        assert screen.told.wait(60)
    assert threads() == before


def test_two_seconds_are_waited_for_first(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    asked = threading.Event()
    plain = threading.Event.wait

    def wait(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread() is not threading.main_thread():
            waited.append(timeout)
            asked.set()
        return plain(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait)
    with shown(screen):
        assert plain(asked, 60)
    assert waited == [2.0]
    assert screen.getvalue() == ""


@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize("kind", ["a bar is shown", "no terminal"])
def test_nothing_waits_where_nothing_is_to_be_told(screen: Screen, kind: str) -> None:
    screen.terminal = kind != "no terminal"
    before = threading.active_count()
    with shown(screen, otherwise_shown=kind == "a bar is shown"):
        assert threading.active_count() == before
    assert screen.getvalue() == ""


@pytest.mark.usefixtures("_no_patience")
def test_it_ends_with_what_the_check_raises(screen: Screen) -> None:
    before = threads()
    with pytest.raises(RuntimeError, match="of the model"):
        raised(screen)
    assert threads() == before


def raised(screen: Screen) -> None:
    with shown(screen):
        assert screen.told.wait(60)
        raise RuntimeError("of the model")


class Patient(nn.Module):
    """Goes on when the terminal was told."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.conv, self.screen = nn.Conv2d(1, 1, 3), screen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.screen.told.wait(60)
        y: torch.Tensor = self.conv(x)
        return y


@pytest.mark.usefixtures("_no_patience")
def test_a_check_tells_it(screen: Screen) -> None:
    model = Patient(screen)
    with redirect_stderr(screen):
        report = shiftcheck.check_equivariance(model, torch.randn(1, 1, 9, 9), measure="layers")
    assert report.verdict is shiftcheck.Verdict.EQUIVARIANT
    assert SENTENCE in screen.getvalue()
