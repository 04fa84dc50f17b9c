"""Frozen records as strict JSON, and back by the types of their fields."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from shiftcheck.errors import InputError


def to_strict_json(record: Any, indent: int | None) -> str:
    """A record as JSON that names its class; infinite numbers, NaN and fractions are strings."""
    data = {KIND: type(record).__name__, **_plain(asdict(record))}
    return json.dumps(data, indent=indent, allow_nan=False)


KIND = "kind"
"""The key of the class that a record is of; what was written before there was one lacks it."""


def from_strict_json(cls: Any, text: str, called: str) -> Any:
    """The record of a class that ``to_strict_json`` wrote, with a ``schema_version``.

    A field that the text lacks has its default; what the text holds beside is passed over. Raises
    InputError for text that is no such record, or one of a newer schema than that of the class.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"text is no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
        raise InputError("text is no shiftcheck report: it has no schema_version")
    if data["schema_version"] > cls.schema_version:
        raise InputError(
            f"this report has schema_version {data['schema_version']}, this shiftcheck reads up"
            f" to {cls.schema_version}: upgrade with 'pip install -U torch-shiftcheck'"
        )
    kind = data.get(KIND, cls.__name__)
    if kind != cls.__name__:
        raise InputError(
            f"text is no {called} but a {kind}: read it with shiftcheck.report.{kind}.from_json"
        )
    try:
        return _reader(cls)(data)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"text is no complete {called}: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


Read = Callable[[Any], Any]
"""From what stands in JSON to a value of a type; TypeError where it cannot be that."""


@cache
def _reader(kind: Any) -> Read:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(parts)
    if origin is tuple:
        return _entries(parts)
    if origin is not None and issubclass(origin, Mapping):
        read = _reader(parts[1])
        return lambda data: {k: read(v) for k, v in _checked(dict, data).items()}
    if is_dataclass(kind):
        return _record(kind)
    if kind is float:
        return lambda data: float(data) if isinstance(data, str) else _checked((int, float), data)
    if kind is Fraction or issubclass(kind, Enum):
        return lambda data: kind(_checked(str, data))
    return partial(_checked, kind)


def _one_of(kinds: tuple[Any, ...]) -> Read:
    """Of a value that may be None, or of several plain types."""
    others = tuple(kind for kind in kinds if kind is not NoneType)
    read = _reader(others[0]) if len(others) == 1 else partial(_checked, others)
    if others == kinds:
        return read
    return lambda data: None if data is None else read(data)


def _entries(kinds: tuple[Any, ...]) -> Read:
    if kinds[-1] is ...:
        read = _reader(kinds[0])
        return lambda data: tuple(read(entry) for entry in _checked(list, data))
    each = tuple(map(_reader, kinds))
    return lambda data: tuple(
        read(entry) for read, entry in zip(each, _checked(list, data), strict=True)
    )


def _record(cls: Any) -> Read:
    hints = get_type_hints(cls)
    by_name = {field.name: _reader(hints[field.name]) for field in fields(cls)}

    def read(data: Any) -> Any:
        known = _checked(dict, data)
        return cls(**{name: one(known[name]) for name, one in by_name.items() if name in known})

    return read


def _checked(kinds: Any, data: Any) -> Any:
    if not isinstance(data, kinds):
        raise TypeError(f"{data!r} is no {getattr(kinds, '__name__', kinds)}")
    return data
