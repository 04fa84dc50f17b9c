"""The training loop that the examples share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from shiftcheck.datasets import standardise

BATCH = 128
PEAK_RATE = 3e-3

Loss = Callable[[Tensor, Tensor], Tensor]


def arguments(description: str, *, epochs: int, out: str) -> argparse.Namespace:
    """Read the command line: the folder of MNIST's files, and the options with these defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="holds the four files of MNIST (IDX, .gz or not)")
    parser.add_argument("--epochs", type=int, default=epochs, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path(out), help="default: %(default)s")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {options.epochs}")
    return options


def prepare(images: Tensor) -> Tensor:
    """Turn bytes ``[n, 28, 28]`` into standardised images ``[n, 1, 28, 28]``."""
    return standardise(images[:, None] / 255)


def fit(
    model: nn.Module, images: Tensor, labels: Tensor, loss_of: Loss, *, epochs: int, seed: int
) -> None:
    """Train with Adam and a one-cycle rate on batches drawn in an order that the seed fixes.

    Args:
        model: trained in place.
        images: bytes ``[n, 28, 28]``.
        labels: ``[n]``.
        loss_of: the loss of prepared images ``[batch, 1, 28, 28]`` and their labels ``[batch]``.
        epochs: how many times every image is seen.
        seed: of the order.
    """
    order = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK_RATE)
    schedule = OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps)
    model.train()
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for epoch in range(1, epochs + 1):
            for batch in torch.randperm(len(images), generator=order).split(BATCH):
                optimizer.zero_grad()
                loss = loss_of(prepare(images[batch]), labels[batch])
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update(task, advance=1)
            progress.print(f"epoch {epoch} of {epochs}: loss of its last batch {loss.item():.4f}")


def save(model: nn.Module, path: Path, dtype: torch.dtype, **facts: object) -> None:
    """Write the weights in ``dtype``, with the facts of the training as the file's metadata."""
    weights = {name: w.to(dtype).contiguous() for name, w in model.state_dict().items()}
    save_file(weights, path, metadata={name: str(fact) for name, fact in facts.items()})
    print(f"{path}: {path.stat().st_size:,} bytes")
