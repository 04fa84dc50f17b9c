"""Targets of the command line: found, imported and built, or refused with what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shiftcheck import InputError
from shiftcheck.cli.target import load_target, parse_arguments

SOURCE = """
import torch
from torch import nn
from neighbour_of_net import KERNEL

net = nn.Conv2d(1, 2, KERNEL)
number = 3

class Small(nn.Conv2d):
    def __init__(self, width=2, *, bias=True):
        super().__init__(1, width, KERNEL, bias=bias)

class Groups:
    @staticmethod
    def make():
        return Small()

def factory(width, kernel=3):
    return nn.Conv2d(1, width, kernel)

def blur(x):
    return x * 2

def raises():
    raise ValueError("the weights are missing")

def leaves():
    raise SystemExit(0)

def returns_number():
    return 3
"""


@pytest.fixture
def _paths_and_modules_stay() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in ("neighbour_of_net", "net_of_mine", "breaks"):
        sys.modules.pop(name, None)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _paths_and_modules_stay: None) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour_of_net.py").write_text("KERNEL = 3", "utf-8")
    (tmp_path / "net_of_mine.py").write_text(SOURCE, "utf-8")
    return str(tmp_path / "net_of_mine.py")


def test_a_module_a_class_and_a_factory(file: str) -> None:
    assert isinstance(load_target(f"{file}:net"), nn.Conv2d)
    assert load_target("net_of_mine.py:Small", {"width": 5, "bias": False}).out_channels == 5
    assert load_target("net_of_mine:factory", {"width": 4, "kernel": (1, 3)}).kernel_size == (1, 3)
    assert isinstance(load_target(f"{file}:Groups.make"), nn.Conv2d)
    assert isinstance(load_target("torch.nn:ReLU"), nn.ReLU)


def test_a_function_of_the_input(file: str) -> None:
    model = load_target(f"{file}:blur", function=True)
    assert float(model(torch.ones(()))) == 2.0


@pytest.mark.parametrize(
    ("target", "arguments", "says"),
    [
        ("net", {}, "give package.module:callable or path"),
        ("{file}", {}, "defines Small, Groups, factory, blur"),
        ("{file}:", {}, "give package.module"),
        (":net", {}, "give package.module"),
        ("missing.py:net", {}, "there is no file missing.py"),
        ("no_such_module_here:net", {}, "there is no module 'no_such_module_here'"),
        ("torch.no_such:net", {}, "there is no module 'torch.no_such'"),
        ("a-b:net", {}, "'a-b' is no name of a module"),
        ("{file}:smal", {}, "has no 'smal'; it has Small"),
        ("{file}:Groups.none", {}, "has no 'none'; it has make"),
        ("{file}:number.none", {}, "has no 'none'$"),
        ("net_of_mind.py:net", {}, r"no file net_of_mind\.py; there is net_of_mine\.py"),
        ("{file}:number", {}, "is a int: give a torch.nn.Module"),
        (
            "{file}:returns_number",
            {},
            "returns_number returned a int",
        ),
        ("{file}:factory", {}, "factory wants width: give --arg width=...; if it is itself"),
        ("{file}:factory", {"size": 3}, "--arg size: factory has no such argument, it takes width"),
        ("{file}:net", {"width": 3}, "--arg width: net is a module already"),
        ("torch.nn:Conv2d", {"in_channels": 1}, "wants out_channels, kernel_size"),
        ("{file}:raises", {}, "ValueError: the weights are missing"),
        ("{file}:leaves", {}, "SystemExit"),
    ],
)
def test_what_cannot_be_loaded(file: str, target: str, arguments: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_target(target.format(file=file), arguments)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import a_package_that_is_missing", "No module named 'a_package_that_is_missing'"),
        ("x = 1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_an_import_that_fails_shows_its_own_error(
    file: str, source: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text(source, "utf-8")
    for target in ("breaks.py:net", "breaks:net"):
        with pytest.raises(InputError, match=r"importing breaks") as caught:
            load_target(target)
        assert says in str(caught.value)
        assert "targets.py" not in str(caught.value)
        assert "importlib" not in str(caught.value)


def test_all_names_are_suggested_the_nearest_first(file: str) -> None:
    with pytest.raises(InputError) as caught:
        load_target(f"{file}:BLURS")
    names = str(caught.value).partition("; it has ")[2].split(", ")
    assert names[0] == "blur"
    assert set(names) == {
        "net", "Small", "Groups", "factory", "blur", "raises", "leaves", "returns_number"
    }  # fmt: skip


def test_what_is_imported_comes_after_what_is_defined(file: str) -> None:
    Path("net_of_mine.py").write_text(
        "from torch.nn import Conv2d, Conv1d\ndef wide(): pass\ndef _own(): pass\n", "utf-8"
    )
    with pytest.raises(InputError, match=r"it has wide, Conv[12]d, Conv[12]d"):
        load_target(f"{file}:xyz")
    with pytest.raises(InputError, match="it has Conv2d, Conv1d, wide"):
        load_target(f"{file}:conv2")
    with pytest.raises(InputError, match="it has _own, "):
        load_target(f"{file}:_won")


def test_no_more_than_ten_names_are_suggested(file: str) -> None:
    text = "\n".join(f"def model_{n}(): pass" for n in range(14))
    Path("net_of_mine.py").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"it has model_3, .*model_\d+ and 4 more$"):
        load_target(f"{file}:model_3x")


def test_arguments_are_literals_or_words() -> None:
    given = ["a=1", "b=-0.5", "c=(1, 2)", "d=circular", "e='x y'", "f=None"]
    read = {"a": 1, "b": -0.5, "c": (1, 2), "d": "circular", "e": "x y", "f": None}
    assert parse_arguments(given) == read


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["width"], "--arg width: give name=value"),
        (["=3"], "give name=value"),
        (["a b=3"], "give name=value"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=true"], "write True, False or None"),
        (["a=6 4"], "no literal"),
        (["a=__import__('os')"], "no literal"),
        (["a="], "no literal"),
    ],
)
def test_bad_arguments(entries: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_arguments(entries)
