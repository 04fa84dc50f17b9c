"""A resource description of bioimage.io: the axes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from shiftcheck.errors import InputError, MissingExtraError
from shiftcheck.report.bioimageio import DescribedAxis, DescribedTensor, TensorsDescription


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a description says of the tensors of a model."""

    inputs: tuple[DescribedTensor, ...]
    outputs: tuple[DescribedTensor, ...]


def read_rdf(rdf: Any) -> Described:
    """The tensors of a description: of a file, a mapping, or an object of bioimageio.spec.

    Raises InputError for what is none of the version 0.5.
    """
    content = _content(rdf)
    version = str(content.get("format_version", "0.5"))
    if not version.startswith("0.5"):
        raise InputError(
            f"rdf has format_version {version}: give one of 0.5, into which bioimageio.spec"
            " converts others, bioimageio.spec.load_description(rdf)"
        )
    each = {
        field: tuple(
            _tensor(entry, f"{field}[{n}]") for n, entry in enumerate(_listed(content, field))
        )
        for field in ("inputs", "outputs")
    }
    return Described(inputs=each["inputs"], outputs=each["outputs"])


def _content(rdf: Any) -> Mapping[str, Any]:
    if isinstance(rdf, str | PathLike):
        return _of_file(Path(rdf))
    if isinstance(rdf, TensorsDescription):
        return rdf.to_rdf()
    if hasattr(rdf, "model_dump"):
        rdf = rdf.model_dump(mode="json")
    if not isinstance(rdf, Mapping):
        raise InputError(
            f"rdf is a {type(rdf).__name__}: give a file, a mapping with inputs and outputs, or a"
            " description of bioimageio.spec"
        )
    return rdf


def _of_file(path: Path) -> Mapping[str, Any]:
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"rdf={str(path)!r} needs pyyaml, which is not installed:"
            " pip install 'torch-shiftcheck[tiles]'"
        ) from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"rdf={str(path)!r} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"rdf={str(path)!r} is no YAML: {error}") from error
    return _mapping(content, f"rdf={str(path)!r}")


def _listed(content: Mapping[str, Any], field: str) -> Sequence[Any]:
    found = content.get(field)
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise InputError(f"rdf has no list of {field}: it describes no model of the version 0.5")
    return found


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is {value!r}: a description has a mapping there")
    return value


def _tensor(entry: Any, where: str) -> DescribedTensor:
    content = _mapping(entry, f"rdf: {where}")
    axes = content.get("axes")
    if isinstance(axes, str) or not isinstance(axes, Sequence):
        raise InputError(
            f"rdf: {where}.axes is {axes!r}: in 0.5 it is a list of axes; older descriptions are"
            " converted by bioimageio.spec.load_description(rdf)"
        )
    data = content.get("data")
    first = data[0] if isinstance(data, Sequence) and data and not isinstance(data, str) else data
    dtype = first.get("type", "float32") if isinstance(first, Mapping) else "float32"
    name = content.get("id", "input" if where.startswith("inputs") else "output")
    return DescribedTensor(
        id=str(name),
        axes=tuple(_axis(axis, f"{where}.axes[{n}]") for n, axis in enumerate(axes)),
        dtype=str(dtype),
    )


DEFAULTS = {"batch": "batch", "channel": "channel", "index": "index", "time": "time", "space": "x"}
"""The names of axes that have none, by their types."""


def _axis(entry: Any, where: str) -> DescribedAxis:
    content = _mapping(entry, f"rdf: {where}")
    kind = content.get("type")
    if kind not in DEFAULTS:
        raise InputError(f"rdf: {where}.type is {kind!r}: give one of {', '.join(DEFAULTS)}")
    made = {"type": kind, "id": str(content.get("id", DEFAULTS[kind]))}
    if kind == "batch":
        return DescribedAxis(**made)
    if kind == "channel":
        names = content.get("channel_names", ())
        return DescribedAxis(**made, size=len(names) if isinstance(names, Sequence) else None)
    size, halo = content.get("size"), content.get("halo") or 0
    scale = content.get("scale") or 1.0
    if not _is_count(halo, 0) or not isinstance(scale, int | float) or not scale > 0:
        raise InputError(f"rdf: {where} has halo {halo!r} and scale {scale!r}: give numbers")
    more: dict[str, Any] = {"halo": halo, "scale": float(scale)}
    return DescribedAxis(**made, **more, **_size(size, where))


def _size(size: Any, where: str) -> dict[str, Any]:
    """The fields of an axis that say which sizes it has."""
    if _is_count(size, 1):
        return {"size": size}
    if isinstance(size, Mapping) and "axis_id" in size:
        offset = size.get("offset", 0)
        if isinstance(offset, int):
            reference = str(size.get("tensor_id")), str(size["axis_id"])
            return {"reference": reference, "offset": offset}
    if isinstance(size, Mapping) and _is_count(size.get("min"), 1):
        if _is_count(size.get("step"), 1):
            return {"least": size["min"], "step": size["step"]}
        if "max" in size or "step" not in size:  # a size that depends on the data
            return {}
    raise InputError(
        f"rdf: {where}.size is {size!r}: give a number of at least 1, min and step, or tensor_id,"
        " axis_id and offset"
    )


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
