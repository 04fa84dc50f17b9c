"""Identifiers that carry their words, and read as their text."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from shiftcheck.errors import InputError


class Word(StrEnum):
    """A text of a fixed set: equal to that text, shown as it, and written as it to JSON."""

    def __repr__(self) -> str:
        return repr(str(self))

    @classmethod
    def _missing_(cls, value: object) -> Any:
        known = ", ".join(repr(str(member)) for member in cls if member)
        raise InputError(f"{value!r} is none of {known}")


class Fault(Word):
    """A word for what is wrong, with what it means in plain words and what mends it."""

    plain: str
    remedy: str

    def __new__(cls, text: str, plain: str = "", remedy: str = "") -> Self:
        """A member with its words."""
        member = str.__new__(cls, text)
        member._value_, member.plain, member.remedy = text, plain, remedy
        return member
