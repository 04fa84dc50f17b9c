"""Frozen records as strict JSON, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from fractions import Fraction
from typing import Any

from shiftcheck.errors import InputError


def to_strict_json(record: Any, indent: int | None) -> str:
    """A record as JSON in which infinite numbers, NaN and fractions are strings."""
    return json.dumps(_plain(asdict(record)), indent=indent, allow_nan=False)


def read_record(text: str, newest: int) -> dict[str, Any]:
    """The fields of a record, as they stand in its JSON.

    Raises InputError for text that is no record, or one of a schema above ``newest``.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"text is no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
        raise InputError("text is no shiftcheck report: it has no schema_version")
    if data["schema_version"] > newest:
        raise InputError(
            f"this report has schema_version {data['schema_version']}, this shiftcheck reads up"
            f" to {newest}: upgrade with 'pip install -U torch-shiftcheck'"
        )
    return data


def known_fields(cls: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the fields that a record has, with lists as tuples and its numbers as floats."""
    numbers = {f.name for f in fields(cls) if f.type == "float | None"}
    names = {f.name for f in fields(cls)}
    found = {k: _tuples(v) for k, v in data.items() if k in names}
    return {k: number(v) if k in numbers else v for k, v in found.items()}


def number(value: Any) -> float | None:
    """A number that may have been written as a string, as infinity is."""
    return None if value is None else float(value)


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


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
