"""How far a run in tiles has come, in a small file, so that it can go on after an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from shiftcheck.errors import InputError
from shiftcheck.tracing.reductions import Statistic

ENDING = ".tiles.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """The passes that are over, the tiles of the next one that are, and all statistics."""

    passes: int = 0
    tiles: int = 0
    known: Mapping[int, Statistic] = field(default_factory=dict)
    partial: Mapping[int, Statistic] = field(default_factory=dict)


class Journal:
    """The file; ``key``: of the model, the plan and the image that it is about."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def read(self, *, fresh: bool) -> Progress:
        """How far the run has come; from the start where there is no file, or all is ``fresh``.

        Raises InputError where the file is about something else.
        """
        if fresh or not self.path.exists():
            return Progress()
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            key = data["key"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"journal={str(self.path)!r} cannot be read ({error!r}): delete it to start anew"
            ) from error
        if key != self.key:
            raise InputError(
                f"journal={str(self.path)!r} is of a run with another model, plan or image: delete"
                " it to start anew, or give another out"
            )
        return Progress(
            passes=data["passes"],
            tiles=data["tiles"],
            known=_read(data["known"]),
            partial=_read(data["partial"]),
        )

    def write(self, progress: Progress) -> None:
        """Keep how far the run has come; the file is exchanged at once, or not at all."""
        data = {
            "key": self.key,
            "passes": progress.passes,
            "tiles": progress.tiles,
            "known": _written(progress.known),
            "partial": _written(progress.partial),
        }
        beside = self.path.with_name(self.path.name + ".part")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def remove(self) -> None:
        """The run is over."""
        self.path.unlink(missing_ok=True)


def _written(statistics: Mapping[int, Statistic]) -> dict[str, Any]:
    return {
        str(number): {
            "kind": s.kind,
            "count": s.count,
            "shape": list(s.first.shape),
            "type": str(s.first.dtype).removeprefix("torch."),
            "first": s.first.double().flatten().tolist(),
            "second": s.second.double().flatten().tolist(),
        }
        for number, s in statistics.items()
    }


def _read(data: Mapping[str, Any]) -> dict[int, Statistic]:
    def tensor(entry: Mapping[str, Any], key: str) -> torch.Tensor:
        dtype = getattr(torch, entry["type"])
        values = torch.tensor(entry[key], dtype=torch.float64, device="cpu")
        return values.reshape(entry["shape"]).to(dtype)

    return {
        int(number): Statistic(
            kind=entry["kind"],
            count=entry["count"],
            first=tensor(entry, "first"),
            second=tensor(entry, "second"),
        )
        for number, entry in data.items()
    }
