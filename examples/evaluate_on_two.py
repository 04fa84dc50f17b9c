"""The digit network over many digits, on as many processes as there are.

Run it with ``torchrun --standalone --nproc-per-node 2 examples/evaluate_on_two.py``, or with
``python`` on one. Stopped at any moment, the same command with ``--checkpoint`` goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

import shiftcheck
from shiftcheck.datasets import digits, mnist, standardise
from shiftcheck.models import lenet


class ManyDigits(Dataset[torch.Tensor]):
    """The fifty digits that are shipped, again and again, each time with other noise."""

    def __init__(self, count: int) -> None:
        self.images, self.count = digits()[0], count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        noise = torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(number))
        return standardise(self.images[number % 50] + 0.05 * noise)


class Mnist(Dataset[torch.Tensor]):
    """The ten thousand test digits, from a folder with the four original files."""

    def __init__(self, folder: Path) -> None:
        self.images = mnist(folder, "test")[0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> torch.Tensor:
        return standardise(self.images[number][None].float() / 255)


def main() -> None:
    """Evaluate, and let the first process tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=int, default=400, help="how many, without --data")
    parser.add_argument("--data", type=Path, help="a folder with the files of MNIST")
    parser.add_argument("--draws", type=int, default=2, help="shifts of each digit")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--checkpoint", type=Path, help="go on from here, and keep here")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between checkpoints")
    parser.add_argument("--json", type=Path, help="write the report here")
    given = parser.parse_args()

    torch.set_num_threads(1)  # one for each process
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    data = ManyDigits(given.digits) if given.data is None else Mnist(given.data)
    report = shiftcheck.evaluate(
        lenet(pretrained=True),
        DataLoader(data, batch_size=given.batch),
        what=["invariance", "classes"],
        draws=given.draws,
        max_shift=5,
        fill="zeros",
        checkpoint=given.checkpoint,
        checkpoint_every=given.every,
    )
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(report)
        if given.json is not None:
            given.json.write_text(report.to_json(), encoding="utf-8")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
