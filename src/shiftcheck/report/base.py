"""What every report can: text, JSON there and back, a page, and what a notebook shows."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

from shiftcheck.errors import InputError
from shiftcheck.report.reasons import Reasoned
from shiftcheck.report.serialization import from_strict_json, to_strict_json

renderers: dict[tuple[str, str], Callable[..., str]] = {}
"""By format and class of what is shown; filled by the renderers, which live above this module."""

RENDERERS = "shiftcheck.report.render"
"""Where they are: imported by name when a record is shown, since they need ``rich``."""


def rendered(form: str, record: Any, **options: Any) -> str:
    """A record in a format, such as ``"text"``; ``options`` of its renderer."""
    import_module(RENDERERS)
    return renderers[form, type(record).__name__](record, **options)


class Shown:
    """The base of a record that can be shown and written: frozen, of plain numbers and strings."""

    schema_version: int
    _called: ClassVar[str]
    """What it is, in the messages."""

    def __str__(self) -> str:
        return rendered("text", self)

    def _repr_html_(self) -> str:
        return rendered("notebook", self)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write the report to ``path``, one HTML file with all that it needs, of some 50 kB.

        It opens without a network, and without another file beside it. The folder has to be there;
        a file of this name is written over. Raises MissingExtraError where the extra ``html`` is
        not installed, and InputError where the file cannot be written.
        """
        page = rendered("html", self)
        try:
            Path(path).write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"path={str(path)!r} cannot be written: {error.strerror}") from error

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as strict JSON: infinite numbers and fractions are strings.

        ``indent``: spaces that each level is set in by; None for a single line. The page of schemas
        in the documentation has a JSON Schema for every report.
        """
        return to_strict_json(self, indent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The report that ``to_json`` wrote.

        Raises InputError for text that is no such report, or one of a newer schema.
        """
        report: Self = from_strict_json(cls, text, cls._called)
        return report


class AnyReport(Shown, Reasoned):
    """The base of a report, which has a reason for what it says."""
