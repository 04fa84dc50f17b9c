"""Frozen records as strict JSON, and back by the types of their fields."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from shiftcheck.errors import InputError


def to_strict_json(record: Any, indent: int | None) -> str:
    """A record as JSON in which infinite numbers, NaN and fractions are strings."""
    return json.dumps(_plain(asdict(record)), indent=indent, allow_nan=False)


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
    try:
        return _value(cls, data)
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


def _value(kind: Any, data: Any) -> Any:
    """What stands in JSON, as the type of a field wants it; TypeError where it cannot be that."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(parts, data)
    if origin is tuple:
        return _entries(parts, _checked(list, data))
    if origin is not None and issubclass(origin, Mapping):
        return {k: _value(parts[1], v) for k, v in _checked(dict, data).items()}
    if is_dataclass(kind):
        return _record(kind, _checked(dict, data))
    if kind is float and isinstance(data, str):
        return float(data)
    if kind is Fraction or issubclass(kind, Enum):
        return kind(_checked(str, data))
    return _checked((int, float) if kind is float else kind, data)


def _one_of(kinds: tuple[Any, ...], data: Any) -> Any:
    """A value that may be None, or of several plain types."""
    if data is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    return _value(others[0], data) if len(others) == 1 else _checked(tuple(others), data)


def _entries(kinds: tuple[Any, ...], data: list[Any]) -> tuple[Any, ...]:
    if kinds[-1] is ...:
        return tuple(_value(kinds[0], entry) for entry in data)
    return tuple(_value(kind, entry) for kind, entry in zip(kinds, data, strict=True))


def _record(cls: Any, data: dict[str, Any]) -> Any:
    kinds = _kinds(cls)
    return cls(**{name: _value(kind, data[name]) for name, kind in kinds.items() if name in data})


@cache
def _kinds(cls: Any) -> dict[str, Any]:
    """The type of each field."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _checked(kinds: Any, data: Any) -> Any:
    if not isinstance(data, kinds):
        raise TypeError(f"{data!r} is no {getattr(kinds, '__name__', kinds)}")
    return data
