"""An evaluation that takes its time, to be killed: ``python -m`` with a checkpoint and a report."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import shiftcheck


class Slow(nn.Module):
    """Padded convolutions; each pass takes some milliseconds more than it has to."""

    def __init__(self, pause: float = 0.0, weights: Any = None) -> None:
        super().__init__()
        self.pause = pause
        self.layers = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=2, padding=1)
        )
        if weights is None:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                weights = {k: torch.randn(v.shape) for k, v in self.state_dict().items()}
        self.load_state_dict(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause)
        scores: torch.Tensor = self.layers(x).flatten(1)[:, :10]
        return scores


def data(items: int) -> torch.Tensor:
    return torch.rand(items, 1, 9, 8, generator=torch.Generator().manual_seed(1))


def evaluation(items: int, checkpoint: Path | None, pause: float, **kwargs: Any) -> Any:
    return shiftcheck.evaluate(
        Slow(pause),
        data(items),
        ["invariance", "classes"],
        batch_size=4,
        fill="zeros",
        checkpoint=checkpoint,
        checkpoint_every=0.0,
        **kwargs,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    evaluation(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
