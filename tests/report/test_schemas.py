"""Every report has a schema that is checked in, and what it writes fits it."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import importlib
import json
import pkgutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.report.test_base import REPORTS
from tests.test_site import load
from torch import nn

import shiftcheck
from shiftcheck.report.base import Shown
from shiftcheck.rules import registry

schemas = load("schemas")
KINDS = {cls.__name__: cls for cls in schemas.kinds()}
ROOT = Path(__file__).parent.parent.parent


def test_the_checks_of_schemas_are_run_where_the_tests_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(need.startswith("jsonschema") for need in project["optional-dependencies"]["dev"])


def test_the_files_are_those_of_the_types() -> None:
    wrong = schemas.faults(KINDS.values())
    assert not wrong, "\n".join(wrong)


def test_all_reports_live_where_they_are_looked_for() -> None:
    for module in pkgutil.walk_packages(shiftcheck.__path__, "shiftcheck."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    inside = {c for c in schemas._below(Shown) if c.__module__.startswith("shiftcheck.")}
    assert {c for c in inside if dataclasses.is_dataclass(c)} == set(KINDS.values())


def validator(schema: Any) -> Any:
    """What holds reports against a schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@cache
def example(name: str) -> Shown:
    """The report that the example in the docstring of its class makes."""
    cls = KINDS[name]
    rules = dict(registry._table)
    namespace: dict[str, Any] = {}
    torch.manual_seed(0)
    try:
        for one in doctest.DocTestParser().get_examples(cls.__doc__ or ""):
            exec(compile(one.source, name, "single"), namespace)
    finally:
        registry._table.clear()
        registry._table.update(rules)
    made = [value for value in namespace.values() if type(value) is cls]
    assert made, f"the example in the docstring of {name} must give a name to a {name}"
    return made[-1]


@cache
def checked_in(name: str) -> Any:
    """The validator of the file of a kind."""
    text = (schemas.FOLDER / schemas.file_of(KINDS[name])).read_text(encoding="utf-8")
    return validator(json.loads(text))


def errors(report_or_data: Shown | dict[str, Any]) -> list[str]:
    """What a report has against the file of its kind."""
    data = report_or_data
    if isinstance(data, Shown):
        data = json.loads(data.to_json())
    return [error.message for error in checked_in(data["kind"]).iter_errors(data)]


@pytest.mark.parametrize("name", KINDS)
def test_a_report_of_each_kind_fits(name: str) -> None:
    assert errors(example(name)) == []


def strided() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.GroupNorm(1, 4))


MORE: dict[str, Callable[[], Shown]] = {
    "with what was tried": lambda: shiftcheck.check_equivariance(
        strided(), torch.randn(1, 1, 16, 18), shifts=[(1, 0), (0, 1)], boundary="circular"
    ),
    "tiles that are not exact": lambda: shiftcheck.tiling(strided(), (1, 1, 96, 96), tile=48),
    "a halo along a line": lambda: shiftcheck.effective_halo(
        nn.Conv1d(1, 1, 5, padding=2), torch.randn(1, 1, 40)
    ),
}


@pytest.mark.parametrize("name", [*REPORTS, *MORE])
def test_reports_that_are_full_fit(name: str) -> None:
    torch.manual_seed(0)
    assert errors((REPORTS | MORE)[name]()) == []


def places(data: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a report: keys and numbers, from the outside to the inside."""
    if way:
        yield way
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, *way, key)


def changed(data: Any, way: tuple[Any, ...], value: Any) -> Any:
    """A copy in which another value stands at a place; nothing at all for ``...``."""
    data = copy.deepcopy(data)
    inside = data
    for key in way[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[way[-1]]
    else:
        inside[way[-1]] = value
    return data


@pytest.mark.parametrize("name", KINDS)
def test_a_report_that_was_changed_does_not(name: str) -> None:
    data = json.loads(example(name).to_json())
    first = {way[0]: way for way in places(data)}  # one deep place below each key
    for way in [(key,) for key in data] + list(first.values()):
        if way != ("kind",) and way[0] != "versions":
            assert errors(changed(data, way, {"wrong": 0}))
    for key in data.keys() - {"kind"}:
        assert errors(changed(data, (key,), ...)) == [f"{key!r} is a required property"]
    assert errors(data | {"more": 1})
    assert errors(data | {"schema_version": data["schema_version"] + 1})


def of(**types: Any) -> type[Shown]:
    """A class of reports with fields of these types."""
    made = [(name, kind) for name, kind in types.items()]
    version = ("schema_version", int, dataclasses.field(default=1))
    cls = dataclasses.make_dataclass(
        "Made", [*made, version], bases=(Shown,), frozen=True, kw_only=True
    )
    cls.__module__ = __name__
    return cls


def test_a_report_without_a_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    assert schemas.faults([of(a=int)], tmp_path) == ["Made-1.json is missing: run `make schemas`"]


def test_a_changed_field_is_told(tmp_path: Path) -> None:
    assert schemas.write([of(a=int)], tmp_path) == ["Made-1.json"]
    assert schemas.faults([of(a=int)], tmp_path) == []
    for other in (of(a=float), of(b=int), of(a=int, b=int), of(a=int | None)):
        told = "Made-1.json is no longer what Made writes: run `make schemas`"
        assert schemas.faults([other], tmp_path) == [told]


def test_what_was_released_needs_another_version(tmp_path: Path) -> None:
    schemas.write([of(a=int)], tmp_path)
    schemas.freeze(tmp_path)
    held = (tmp_path / "Made-1.json").read_text(encoding="utf-8")
    with pytest.raises(schemas.SchemaError, match=r"set the schema_version of Made to 2, then run"):
        schemas.write([of(a=float)], tmp_path)
    assert (tmp_path / "Made-1.json").read_text(encoding="utf-8") == held
    newer = of(a=float)
    newer.schema_version = 2
    assert schemas.write([newer], tmp_path) == ["Made-2.json"]
    assert schemas.faults([newer], tmp_path) == []
    assert "[Made-1.json](" in schemas.as_markdown([newer], tmp_path)
    (tmp_path / "Made-1.json").write_text("{}", encoding="utf-8")
    assert schemas.faults([newer], tmp_path) == [
        "Made-1.json was released and must stay as it was: take it back from git"
    ]


@dataclass(frozen=True, kw_only=True)
class Inner:
    half: Fraction


def test_types_are_what_json_holds() -> None:
    shape = schemas.schema_of(of(pair=tuple[int, float], inner=Inner | None))
    fits = validator(shape).is_valid
    data = {"kind": "Made", "pair": [1, "inf"], "inner": {"half": "-3/2"}, "schema_version": 1}
    assert fits(data)
    assert fits(data | {"inner": None})
    for wrong in (
        {"pair": [1]},
        {"pair": [1, 2, 3]},
        {"pair": [1.5, 2]},
        {"pair": [True, 2]},
        {"pair": [1, "much"]},
        {"inner": {"half": "1.5"}},
        {"inner": {"half": "1/0"}},
        {"inner": {}},
        {"kind": "Report"},
    ):
        assert not fits(data | wrong), wrong


def test_a_type_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(schemas.SchemaError, match="has no place in JSON"):
        schemas.schema_of(of(a=complex))


def test_two_types_of_one_name_are_refused() -> None:
    other = dataclasses.make_dataclass("Inner", [("third", int)])
    with pytest.raises(schemas.SchemaError, match="two types are called Inner"):
        schemas.schema_of(of(a=Inner, b=other))


def test_a_page_without_a_table_is_refused() -> None:
    page = (ROOT / "docs" / "schemas.md").read_text(encoding="utf-8")
    assert all(
        f"(schemas/{schemas.file_of(cls)})" in schemas.filled(page) for cls in KINDS.values()
    )
    with pytest.raises(ValueError, match="must hold"):
        schemas.filled(page.replace(schemas.MARK, ""))
