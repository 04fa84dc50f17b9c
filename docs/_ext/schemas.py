"""The JSON schema of every report, made from the types of its fields; and the page that lists them.

``python docs/_ext/schemas.py`` writes what is missing or has changed to ``docs/schemas``.
``--freeze`` notes what is there as released: from then on a file stays as it is, and a report with
other fields needs another ``schema_version``.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from shiftcheck import report
from shiftcheck.report.base import Shown
from shiftcheck.report.serialization import KIND

FOLDER = Path(__file__).parent.parent / "schemas"
RELEASED = "released.json"
"""The files that were released, with the SHA-256 of what they held."""

PAGE = "schemas"
MARK = "{{ schemas }}"
REMEDY = "run `make schemas`"

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    NoneType: {"type": "null"},
}
NUMBERS: dict[Any, tuple[str, dict[str, Any]]] = {
    float: ("number", {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}),
    Fraction: ("fraction", {"type": "string", "pattern": "^-?[0-9]+(/[1-9][0-9]*)?$"}),
}
"""What strict JSON has no number for."""


class SchemaError(Exception):
    """A schema that cannot be made, or must not be written."""


def kinds() -> list[type[Shown]]:
    """Every report that can be written as JSON, by name."""
    for module in pkgutil.iter_modules(report.__path__):
        if not module.ispkg:
            import_module(f"{report.__name__}.{module.name}")
    found = {cls for cls in _below(Shown) if is_dataclass(cls)}
    return sorted(found, key=lambda cls: cls.__name__)


def _below(cls: type) -> Iterable[type]:
    for below in cls.__subclasses__():
        yield below
        yield from _below(below)


class _Shapes:
    """What is described once and referred to by its name."""

    def __init__(self) -> None:
        self.described: dict[str, Any] = {}
        self.owners: dict[str, Any] = {}

    def refer(self, name: str, owner: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A reference; ``make`` describes what has not been described yet."""
        if self.owners.setdefault(name, owner) is not owner:
            raise SchemaError(f"two types are called {name}: {owner}, {self.owners[name]}")
        if name not in self.described:
            self.described[name] = {}
            self.described[name] = make()
        return {"$ref": f"#/$defs/{name}"}


def file_of(cls: type[Shown]) -> str:
    """The name of the file that describes a report."""
    return f"{cls.__name__}-{cls.schema_version}.json"


def schema_of(cls: type[Shown]) -> dict[str, Any]:
    """The schema of what ``to_json`` of a report writes: all its fields, and no other."""
    shapes = _Shapes()
    described = _record(cls, shapes)
    described["properties"] = {
        KIND: {"const": cls.__name__},
        **described["properties"],
        "schema_version": {"const": cls.schema_version},
    }
    described["required"] = list(described["properties"])
    return {
        "$schema": DIALECT,
        "$id": f"urn:shiftcheck:{file_of(cls).removesuffix('.json')}",
        "title": cls.__name__,
        **described,
        "$defs": dict(sorted(shapes.described.items())),
    }


def _record(cls: Any, shapes: _Shapes) -> dict[str, Any]:
    hints = get_type_hints(cls)
    properties = {f.name: _value(hints[f.name], shapes) for f in fields(cls)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _value(kind: Any, shapes: _Shapes) -> dict[str, Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if kind in NUMBERS:
        name, shape = NUMBERS[kind]
        return shapes.refer(name, kind, lambda: shape)
    if origin in (Union, UnionType):
        return {"anyOf": [_value(part, shapes) for part in parts]}
    if origin is tuple and parts[-1] is ...:
        return {"type": "array", "items": _value(parts[0], shapes)}
    if origin is tuple:
        entries = [_value(part, shapes) for part in parts]
        return {"type": "array", "prefixItems": entries, "items": False, "minItems": len(parts)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _value(parts[1], shapes)}
    if is_dataclass(kind):
        return shapes.refer(kind.__name__, kind, lambda: _record(kind, shapes))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return shapes.refer(kind.__name__, kind, lambda: {"enum": [one.value for one in kind]})
    raise SchemaError(f"a field of type {kind} has no place in JSON: see report/serialization.py")


def text_of(cls: type[Shown]) -> str:
    """The file that describes a report."""
    return json.dumps(schema_of(cls), indent=2) + "\n"


def faults(classes: Iterable[type[Shown]], folder: Path = FOLDER) -> list[str]:
    """What is wrong with the files in a folder, one sentence each, with what to do."""
    found = []
    for cls in classes:
        path = folder / file_of(cls)
        if not path.exists():
            found.append(f"{path.name} is missing: {REMEDY}")
        elif path.read_text(encoding="utf-8") != text_of(cls):
            found.append(f"{path.name} is no longer what {cls.__name__} writes: {REMEDY}")
    for name, digest in _released(folder).items():
        if not (folder / name).exists() or _digest(folder / name) != digest:
            found.append(f"{name} was released and must stay as it was: take it back from git")
    return found


def write(classes: Iterable[type[Shown]], folder: Path = FOLDER) -> list[str]:
    """Write the files that are missing or have changed; returns their names.

    Raises SchemaError where a file would change that was released, before anything is written.
    """
    folder.mkdir(exist_ok=True)
    texts = {file_of(cls): text_of(cls) for cls in classes}
    new = {name: text for name, text in texts.items() if _held(folder / name) != text}
    released = [name for name in new if name in _released(folder)]
    if released:
        name, version = released[0].removesuffix(".json").rsplit("-", 1)
        raise SchemaError(
            f"{released[0]} was released and stays as it is: set the schema_version of {name} to"
            f" {int(version) + 1}, then {REMEDY}"
        )
    for name, text in new.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(new)


def freeze(folder: Path = FOLDER) -> None:
    """Note all files as released."""
    digests = {path.name: _digest(path) for path in _files(folder)}
    text = json.dumps(digests, indent=2) + "\n"
    (folder / RELEASED).write_text(text, encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.name != RELEASED)


def _held(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _released(folder: Path) -> dict[str, str]:
    text = _held(folder / RELEASED)
    digests: dict[str, str] = json.loads(text) if text else {}
    return digests


def as_markdown(classes: Iterable[type[Shown]], folder: Path = FOLDER) -> str:
    """A table of all reports, with their files, those of earlier versions too."""
    lines = ["| `kind` | what it is | files |", "|---|---|---|"]
    for cls in classes:
        first = (getdoc(cls) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        files = [path for path in _files(folder) if path.stem.rsplit("-", 1)[0] == cls.__name__]
        links = ", ".join(f"[{path.name}]({folder.name}/{path.name})" for path in files)
        lines.append(f"| `{cls.__name__}` | {first} | {links} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The page with the table in the place of its mark; ValueError where the mark is missing."""
    if text.count(MARK) != 1:
        raise ValueError(f"docs/{PAGE}.md must hold {MARK} once")
    return text.replace(MARK, as_markdown(kinds()))


def _on_read(app: Any, docname: str, source: list[str]) -> None:
    if docname == PAGE:
        source[0] = filled(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx to fill the page when it reads it."""
    app.connect("source-read", _on_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(arguments: list[str]) -> int:
    """Write the files, or note them as released."""
    try:
        written = write(kinds())
    except SchemaError as error:
        print(error)
        return 1
    if arguments == ["--freeze"]:
        freeze()
    print("\n".join(f"wrote {name}" for name in written) or "all schemas are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
