"""Draw where steps with a fault differ from their model: each fault has a pattern of its own.

python examples/streams.py docs/_static/streaming.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK, LENGTH = 32, 192


class Causal(nn.Module):
    """Two causal convolutions of look-back 8 and 8."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv1d(1, 8, 9), nn.Conv1d(8, 1, 9)

    def forward(self, x: Tensor) -> Tensor:
        """All of the signal at once."""
        hidden = torch.relu(self.first(F.pad(x, (8, 0))))
        out: Tensor = self.second(F.pad(hidden, (8, 0)))
        return out


def step_of(
    model: Causal, keep: Callable[[Tensor], Tensor], late: int = 0
) -> Callable[..., Tensor]:
    """A step that keeps what ``keep`` makes of the last 8 samples, ``late`` chunks later."""
    caches: list[list[Tensor]] = [[torch.zeros(1, channels, 8)] * (late + 1) for channels in (1, 8)]

    def with_past(number: int, x: Tensor) -> Tensor:
        both = torch.cat([caches[number].pop(0), x], -1)
        caches[number].append(keep(both[..., -8:]))
        return both

    def step(chunk: Tensor) -> Tensor:
        hidden = torch.relu(model.first(with_past(0, chunk)))
        out: Tensor = model.second(with_past(1, hidden))
        return out

    return step


def faults(model: Causal) -> dict[str, Callable[..., Tensor]]:
    """Steps by the fault that they have."""
    return {
        "no state": model,
        "look-back too short": step_of(model, lambda past: F.pad(past[..., -4:], (4, 0))),
        "stale state": step_of(model, lambda past: past, late=1),
        "coarser type": step_of(model, lambda past: past.half().float()),
    }


def main() -> None:
    """Read the path, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    model, x = Causal(), torch.randn(1, 1, LENGTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(x)
        errors = {
            name: (torch.cat([step(c) for c in x.split(CHUNK, -1)], -1) - whole).abs()[0, 0]
            for name, step in faults(model).items()
        }
    figure, rows = plt.subplots(len(errors), 1, figsize=(7, 5), sharex=True)
    for row, (name, error) in zip(rows, errors.items(), strict=True):
        relative = error / whole.abs().max()
        row.semilogy(relative.clamp_min(1e-9), color="tab:red", linewidth=1)
        row.set_ylim(3e-8, 3)
        row.set_title(name, fontsize=9, loc="left")
        for start in range(CHUNK, LENGTH, CHUNK):
            row.axvline(start, color="0.8", linewidth=0.8, zorder=0)
    rows[-1].set_xlabel("sample (grey: a chunk begins)")
    rows[len(errors) // 2].set_ylabel("error, relative to the largest value")
    figure.tight_layout()
    figure.savefig(parser.parse_args().file, dpi=90)
    print(*(f"{name}: {float(e.max() / whole.abs().max()):.0e}" for name, e in errors.items()))


if __name__ == "__main__":
    main()
