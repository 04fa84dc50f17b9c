"""Where values leave torch, every check says at which line of the user's file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import Cause, CauseKind
from shiftcheck.tracing.leaving.user_lines import LONGEST, user_line

X = torch.randn(1, 2, 12, 14, generator=torch.Generator().manual_seed(0))


def item(x: torch.Tensor) -> torch.Tensor:
    return x if x.mean().item() > 0 else -x  # here


def as_float(x: torch.Tensor) -> torch.Tensor:
    scale = float(x.max())  # here
    return x * scale


def as_bool(x: torch.Tensor) -> torch.Tensor:
    return -x if (x > 9).any() else x  # here


def as_list(x: torch.Tensor) -> torch.Tensor:
    return x * x.flatten().tolist()[0]  # here


def as_text(x: torch.Tensor) -> torch.Tensor:
    return x * len(f"{x}")  # here


def by_numpy(x: torch.Tensor) -> Any:
    return x * np.mean(x.numpy())  # here


def as_array(x: torch.Tensor) -> Any:
    return x * float(np.mean(np.asarray(x)))  # here


def counted(x: torch.Tensor) -> torch.Tensor:
    return x * len((x > 1).nonzero())  # here


def caught(x: torch.Tensor) -> torch.Tensor:
    try:
        torch.linalg.cholesky(x[0, 0, :9, :9])  # here
    except RuntimeError:
        return x
    return -x


def run_together(text: str) -> str:
    """A text without the places where a line may be broken."""
    return "".join(text.split())


READERS = [item, as_float, as_bool, as_list, as_text, by_numpy, as_array, counted, caught]


def here(function: Callable[..., Any]) -> str:
    """The file and the number of the line of a function that says so, and what it says."""
    lines, first = inspect.getsourcelines(function)
    (number,) = (n for n, line in enumerate(lines) if line.rstrip().endswith("# here"))
    return f"{Path(__file__).name}:{first + number}: {lines[number].strip()}"


@pytest.mark.parametrize("model", READERS)
def test_the_message_shows_the_line(model: Callable[..., Any]) -> None:
    with pytest.raises(shiftcheck.InconclusiveError) as caught:
        shiftcheck.assert_equivariant(model, X)
    assert "values leave torch at " in str(caught.value)
    assert run_together(here(model)) in run_together(str(caught.value))


class Inside(nn.Module):
    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.conv, self.model = nn.Conv2d(2, 2, 3), model

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(self.conv(x))


@pytest.mark.parametrize("model", [item, counted])
def test_the_line_is_that_of_the_module_where_it_happens(model: Callable[..., Any]) -> None:
    report = shiftcheck.check_equivariance(nn.Sequential(Inside(model), nn.ReLU()), X)
    assert report.guilty is not None
    assert report.guilty.line.endswith(here(model))


def test_the_check_of_linearity_shows_the_line() -> None:
    report = shiftcheck.check_linear(item, X)
    assert any(here(item) in note for note in report.notes)


def there_and_back(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.flip(x.numpy(), -1).copy())  # here


def test_a_callable_seen_from_outside_says_why() -> None:
    with pytest.raises(shiftcheck.InconclusiveError) as caught:
        shiftcheck.assert_equivariant(there_and_back, X)
    assert run_together(here(there_and_back)) in run_together(str(caught.value))
    assert any(here(there_and_back) in n for n in shiftcheck.check_linear(there_and_back, X).notes)


def twice(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(2 * x.numpy())  # here


@pytest.mark.parametrize("check", [shiftcheck.check_equivariance, shiftcheck.check_linear])
def test_a_pass_from_outside_says_why(check: Callable[..., Any]) -> None:
    assert any(here(twice) in note for note in check(twice, X).notes)


def test_a_structure_that_ends_there_shows_the_line() -> None:
    with pytest.raises(shiftcheck.ModelError, match="left torch by numpy at ") as caught:
        shiftcheck.geometry(twice, X)
    assert here(twice) in str(caught.value)


def test_the_line_is_kept_with_the_report() -> None:
    report = shiftcheck.check_equivariance(item, X)
    assert shiftcheck.Report.from_json(report.to_json()) == report
    assert Cause(kind=CauseKind.STRIDE).line == ""


# -- which line it is ------------------------------------------------------------------------------


def looked(call: Callable[[], str]) -> str:
    """What is found within this function."""
    return call()


def test_what_is_outside_of_the_call_does_not_count() -> None:
    assert Path(__file__).name in looked(lambda: user_line(looked.__code__))
    assert user_line(looked.__code__) == ""


def module_at(path: Path, text: str) -> Any:
    made: dict[str, Any] = {"user_line": user_line}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    exec(compile(text, str(path), "exec"), made)
    return made


def test_a_line_of_an_installed_package_comes_after_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = module_at(
        tmp_path / "site" / "layers.py", "def read(code):\n    return user_line(code)\n"
    )
    own = module_at(tmp_path / "own" / "net.py", "def model(read, code):\n    return read(code)\n")
    monkeypatch.setattr("shiftcheck.tracing.leaving.user_lines.INSTALLED", f"{tmp_path}/site/")
    monkeypatch.chdir(tmp_path)

    def within(call: Callable[[], str]) -> str:
        return call()

    both = within(lambda: own["model"](installed["read"], within.__code__))
    assert both.startswith("own/net.py:2: return read(code), in site/layers.py:2: return user_line")


def test_a_long_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"def read(code):\n    return user_line(code) + '{'x' * LONGEST}'[:0]\n"
    padded = module_at(tmp_path / "net.py", text)
    line = looked(lambda: padded["read"](looked.__code__))
    assert line.startswith("net.py:2: return user_line(code) + 'xxx")
    assert line.endswith("xxx...")
