"""Every public docstring says what is given, in which shape and unit, what comes back, what raises.

`test_public_names.py` sees to the examples, and `test_doctests.py` runs them.
"""

from __future__ import annotations

import doctest
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any

import pytest
from tests.test_public_names import NAMES, public_modules

import shiftcheck

UNITS = {
    "shifts": "pixel",
    "offset": "pixel",
    "tile": "pixel",
    "memory": "byte",
    "crop": "size",
}
"""What arguments of these names are measured in: the word has to stand in what is said of them."""

SIGNALS = ("x",)
"""Arguments that are tensors: their shape has to stand there."""

ELSEWHERE = re.compile(r"\bas in `{1,2}(?:shiftcheck\.)?(\w+)`{1,2}")
SHAPE = re.compile(r"\[batch, channels, \*spatial\]|`\[batch,|of any shape")


def documented(value: Any) -> str:
    return inspect.getdoc(value) or ""


def arguments_of(doc: str) -> dict[str, str]:
    """What a docstring says of each argument."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside = re.search(r"^Args:\n((?: .*\n|\n)*)", doc + "\n", re.MULTILINE)
    joined = re.sub(r"(?<=\w,)\n +(?=[\w, ]+:)", " ", inside[1]) if inside else ""
    for line in joined.splitlines():
        entry = re.match(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*): ?(.*)", line)
        if entry:
            names = [name.strip("*") for name in entry[1].split(", ")]
        for name in names:
            found[name] = f"{found.get(name, '')} {entry[2] if entry else line.strip()}".strip()
    return found


def told(function: Callable[..., Any]) -> dict[str, str]:
    """What is said of each argument; one entry may speak for all keywords."""
    found = arguments_of(documented(function))
    for text in list(found.values()):
        if "so are all keywords" in text:
            parameters = inspect.signature(function).parameters.values()
            found |= {p.name: text for p in parameters if p.kind is p.KEYWORD_ONLY}
    return found


def told_of(function: Callable[..., Any], name: str) -> str:
    """What is said of an argument, here or in the docstring that is referred to."""
    text = told(function).get(name, "")
    for other in ELSEWHERE.findall(text):
        package = sys.modules[function.__module__.rpartition(".")[0]]
        home = getattr(package, other, None) or getattr(shiftcheck, other)
        text += " " + told(home).get(name, "")
    return text


FUNCTIONS = {n: v for n, v in NAMES.items() if isinstance(v, FunctionType)}
CALLS = {
    name: value
    for name, value in FUNCTIONS.items()
    if name.split(".")[1] not in ("rules", "report")
}
"""What users call; those who write rules find theirs by name, with their arguments in prose."""

TOP = {n: v for n, v in CALLS.items() if n.count(".") == 1}


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_a_sentence(name: str) -> None:
    first = documented(NAMES[name]).split("\n\n")[0]
    assert first.endswith((".", ":")), first
    assert first[0].isupper() or first[0] in "`0123456789"
    assert len(first) < 200


@pytest.mark.parametrize("name", CALLS)
def test_it_tells_of_every_argument(name: str) -> None:
    function = CALLS[name]
    parameters = list(inspect.signature(function).parameters)
    assert sorted(told(function)) == sorted(parameters)
    for argument in parameters:
        said = told_of(function, argument)
        assert len(said.split()) > 1, f"{name}: nothing is said of {argument}"
        assert UNITS.get(argument, "") in said, f"{name}: {argument} in {UNITS[argument]}s?"
        shaped = argument not in SIGNALS or SHAPE.search(said)
        assert shaped, f"{name}: of which shape is {argument}?"


@pytest.mark.parametrize("name", TOP)
def test_it_says_what_comes_back_and_what_raises(name: str) -> None:
    doc = documented(TOP[name])
    assert re.search(r"\bReturns\b", doc)
    raised = re.findall(r"^    (\w+Error): \S", doc.split("Raises:")[1], re.MULTILINE)
    assert "InputError" in raised
    for error in raised:
        assert issubclass(getattr(shiftcheck, error), shiftcheck.ShiftcheckError)


def methods() -> Iterator[tuple[str, Any]]:
    """The public methods and properties of every public class that are written here."""
    for name, cls in NAMES.items():
        held = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
        for base in cls.__mro__ if inspect.isclass(cls) else ():
            for key, value in vars(base).items():
                inner = getattr(value, "fget", None) or getattr(value, "__func__", value)
                if not isinstance(inner, FunctionType) or key.startswith("_") or key in held:
                    continue
                if inner.__module__.startswith("shiftcheck."):
                    yield f"{name}.{key}", inner


METHODS = dict(methods())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_begins_with_a_sentence_and_names_its_arguments(name: str) -> None:
    method = METHODS[name]
    doc = documented(method)
    assert doc.split("\n\n")[0].endswith("."), doc
    for argument in list(inspect.signature(method).parameters)[1:]:
        assert re.search(rf"\b{argument}\b", doc), f"{name}: nothing is said of {argument}"


def test_there_are_methods() -> None:
    assert {
        "shiftcheck.Report.to_json",
        "shiftcheck.Report.from_json",
        "shiftcheck.TilingPlan.size_of",
        "shiftcheck.report.InputSizes.nearest",
    } <= METHODS.keys()


def test_the_help_of_the_package_names_all_that_is_public() -> None:
    """Its lists stand by hand, in groups: put a new name where a reader looks for it."""
    doc = documented(shiftcheck)
    lines = re.findall(r"^    (?!>>>|<)(.*)$", doc, re.MULTILINE)
    listed = [word for line in lines for word in re.findall(r"\w+", line)]
    missing = set(shiftcheck.__all__) - set(listed)
    assert not missing, f"put {', '.join(sorted(missing))} into the docstring of shiftcheck"
    for word in listed:
        modules = {module.__name__.rpartition(".")[2] for module in public_modules()}
        assert word in {*shiftcheck.__all__, *modules, *BESIDE, "metrics"}, word


BESIDE = {"needs", "hypothesis", "matplotlib", "torchmetrics"}
BESIDE |= {"over", "a", "whole", "set", "of", "data"}
"""Words that explain a name of the lists."""


def test_the_help_of_the_package_fits_a_screen_and_runs() -> None:
    doc = documented(shiftcheck)
    lines = doc.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 100
    examples = doctest.DocTestParser().get_examples(doc)
    assert 4 <= len(examples) <= 6
    assert doctest.testmod(shiftcheck).failed == 0


def test_what_is_said_is_found() -> None:
    def check(x: int, shifts: int, seed: int) -> None:
        """Look.

        Args:
            x: a signal ``[batch, channels, *spatial]``,
                or none.
            shifts,
                seed: as in ``check_equivariance``.
        """

    assert arguments_of(documented(check))["x"].endswith("*spatial]``, or none.")
    assert arguments_of(documented(check)).keys() == {"x", "shifts", "seed"}
    assert "pixels, one tuple" in told_of(check, "shifts")
    assert "fresh content" in told_of(check, "seed")
