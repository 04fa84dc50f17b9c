"""How far an evaluation has come, in a file that is exchanged at once or not at all."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shiftcheck.checks.evaluation.accumulators import NOTHING, State
from shiftcheck.errors import InputError
from shiftcheck.report.serialization import from_strict_json, to_strict_json


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The blocks of one process that are done, and what is kept of them.

    ``keys``: what tells the evaluation from others. ``seen``: of a stream, what tells the items so
    far from others.
    """

    keys: Mapping[str, str]
    done: int = 0
    state: State = NOTHING
    seen: str = ""
    schema_version: int = 1


class Checkpoint:
    """The file of one process; ``rank`` of ``processes``."""

    def __init__(
        self, path: Path, keys: Mapping[str, str], *, rank: int = 0, processes: int = 1
    ) -> None:
        self.given, self.keys = path, keys
        self.path = _path(path, rank, processes)
        self._require_as_many(processes)

    def read(self) -> Saved:
        """How far the evaluation has come; nowhere, where there is no file.

        Raises InputError where the file is about something else, and leaves it as it is.
        """
        if not self.path.exists():
            return Saved(keys=self.keys)
        name = f"checkpoint={str(self.path)!r}"
        try:
            saved: Saved = from_strict_json(Saved, self.path.read_text("utf-8"), "checkpoint")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{name} cannot be read ({error}): delete it to start anew, or give another name"
            ) from error
        other = [key for key, text in self.keys.items() if saved.keys.get(key) != text]
        if other:
            raise InputError(
                f"{name} is of another evaluation: not the same {', '.join(other)}; delete it to"
                " start anew, or give another name"
            )
        return saved

    def write(self, saved: Saved) -> None:
        """Keep how far it has come; where that fails, the file before is as good as it was."""
        beside = self.path.with_name(self.path.name + ".part")
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(to_strict_json(saved, None))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            warnings.warn(
                f"checkpoint={str(self.path)!r} could not be written ({error.strerror or error}):"
                " the one before is kept, and the evaluation goes on",
                RuntimeWarning,
                stacklevel=2,
            )

    def delete(self) -> None:
        """The evaluation is over."""
        self.path.unlink(missing_ok=True)

    def _require_as_many(self, processes: int) -> None:
        """Raise InputError where other files say that there were more or fewer processes."""
        folder = self.given.parent
        if not folder.is_dir():
            raise InputError(f"checkpoint={str(self.given)!r}: there is no folder {str(folder)!r}")
        began = {processes}
        for path in folder.glob(f"{glob.escape(self.given.name)}.*-of-*"):
            number = path.name.rpartition("-of-")[2]
            began |= {int(number)} if number.isdigit() else set()
        began |= {1} if self.given.exists() else set()
        if began != {processes}:
            (other,) = sorted(began - {processes})[:1]
            raise InputError(
                f"checkpoint={str(self.given)!r} was begun by {_processes(other)}, and this is"
                f" {_processes(processes)}: start as many, or delete its files to start anew"
            )


def _path(path: Path, rank: int, processes: int) -> Path:
    return path if processes == 1 else path.with_name(f"{path.name}.{rank}-of-{processes}")


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"
