"""What the checks cost, as ratios within one run against the bare forward of the same batch.

With ``--device cuda`` the networks and their inputs are there; the bounds are those of a CPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.networks.resnet import ResNet, resnet50

Work = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, its input and shifts, and the same layers without any check."""

    name: str
    model: nn.Module
    layer: str
    trunk: nn.Module
    x: torch.Tensor
    shifts: Sequence[tuple[int, ...]]

    def to(self, device: str) -> Case:
        """The same on a device."""
        here = [part.to(device) for part in (self.model, self.trunk, self.x)]
        return replace(self, model=here[0], trunk=here[1], x=here[2])

    def bare(self) -> None:
        """The forward pass of the batch that a check runs."""
        batch = self.x.repeat(len(self.shifts) + 1, 1, 1, 1)
        with torch.inference_mode():
            self.trunk(batch)

    def asserted(self) -> None:
        """The assertion, in passes of at most the same batch."""
        shiftcheck.assert_equivariant(
            self.model,
            self.x,
            shifts=self.shifts,
            layer=self.layer,
            max_batch=len(self.shifts) + 1,
        )

    def reported(self) -> None:
        """The report of every layer, in passes of at most the same batch."""
        shiftcheck.check_equivariance(
            self.model,
            self.x,
            shifts=self.shifts,
            layer=self.layer,
            max_batch=len(self.shifts) + 1,
        )


def lenet() -> Case:
    """The LeNet on a canvas at all 121 shifts."""
    torch.manual_seed(0)
    model = shiftcheck.models.LeNet().eval()
    convolutions = (model.conv1, model.conv2, model.conv3, model.conv4)
    trunk = nn.Sequential(*(m for conv in convolutions for m in (conv, nn.ReLU())))
    return Case(
        name="LeNet, 121 shifts",
        model=model,
        layer="relu_3",
        trunk=trunk,
        x=torch.rand(1, 1, 38, 38),
        shifts=list(product(range(-5, 6), repeat=2)),
    )


def resnet() -> Case:
    """The first two stages of a ResNet-50 at 224, where samples without padding are left."""
    torch.manual_seed(0)
    model = resnet50().eval()
    return Case(
        name="ResNet-50 up to stage 2, 8 shifts",
        model=model,
        layer="stages.1.3",
        trunk=nn.Sequential(
            model.conv1, model.bn1, model.relu, model.maxpool, *model.stages[:2]
        ).eval(),
        x=torch.rand(1, 3, 224, 224),
        shifts=[(8 * a, 8 * b) for a, b in product((-1, 0, 1), repeat=2) if (a, b) != (0, 0)],
    )


CASES = {"lenet": lenet, "resnet": resnet}


def seconds(work: Work) -> float:
    """The time of one call."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratio(work: Work, bare: Work, rounds: int) -> float:
    """The median over rounds of the time of ``work`` over that of ``bare``, alternating."""
    work(), bare()
    ratios = []
    for _ in range(rounds):
        before, own, after = seconds(bare), seconds(work), seconds(bare)
        ratios.append(2 * own / (before + after))
    return median(ratios)


def memory(case: str, work: str, device: str = "cpu") -> int:
    """The growth of memory at its largest, in a process of its own, in kilobytes."""
    command = [sys.executable, __file__, "--device", device, "--memory", case, work]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(case: str, work: str, device: str) -> None:
    """How far one call makes resident memory, or that of the device, grow at its largest."""
    chosen = STRUCTURES[case] if case in STRUCTURES else CASES[case]().to(device)
    if isinstance(chosen, Structure):
        assert not chosen.model.training
    small = shiftcheck.check_equivariance(nn.Conv2d(1, 1, 3), torch.rand(1, 1, 9, 9))
    assert small.verdict is not None
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        getattr(chosen, work)()
        print((torch.cuda.max_memory_allocated() - before) // 1000)
        return
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()["VmRSS"]
    getattr(chosen, work)()
    print(resident()["VmHWM"] - before)


def resident() -> dict[str, int]:
    """The present and the largest resident memory of this process, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) for name, value in pairs}


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A network without values, and the size of the image whose structure is read."""

    name: str
    make: Callable[[], nn.Module]
    size: int

    def bare(self) -> None:
        """The forward pass on fake tensors, without rules."""
        with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
            self.model(torch.empty(1, 3, self.size, self.size))

    def ruled(self) -> None:
        """The geometry."""
        shiftcheck.geometry(self.model, (1, 3, self.size, self.size))

    @cached_property
    def model(self) -> nn.Module:
        """The network, in eval mode."""
        return self.make().eval()


def vit_large() -> nn.Module:
    """The ViT-L of the paper, with patches of 16 and the positions of an image of 1024 pixels."""
    import transformers  # comes with the extra zoo

    config = transformers.ViTConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        image_size=1024,
    )
    network: nn.Module = transformers.ViTModel(config)
    return network


STRUCTURES = {
    "resnet-224": Structure(name="ResNet-50 at 224", make=resnet50, size=224),
    "resnet-4096": Structure(name="ResNet-50 at 4096", make=resnet50, size=4096),
    "resnet-152": Structure(
        name="ResNet-152 at 4096", make=lambda: ResNet((3, 8, 36, 3)), size=4096
    ),
    "vit": Structure(name="ViT-L at 1024", make=vit_large, size=1024),
}


def static(key: str, rounds: int) -> list[tuple[str, str, float, float]]:
    """The cost of geometry: time against the same forward pass without rules, and memory."""
    chosen = STRUCTURES[key]
    return [
        (chosen.name, "geometry, time", ratio(chosen.ruled, chosen.bare, rounds), 4.0),
        (chosen.name, "geometry, MB beyond the model", memory(key, "ruled") / 1000, 200.0),
    ]


def main() -> None:
    """Print every ratio beside what it should be at most; the exit status is 1 if one is above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WORK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(*options.memory, options.device)
        return
    rows = []
    for key, make in CASES.items():
        case = make().to(options.device)
        most, least = (memory(key, work, options.device) for work in ("reported", "bare"))
        rows += [
            (case.name, "assertion, time", ratio(case.asserted, case.bare, options.rounds), 1.1),
            (case.name, "report, time", ratio(case.reported, case.bare, options.rounds), 1.3),
            (case.name, "report, memory", most / least, 1.2),
        ]
    for key in STRUCTURES:
        rows += static(key, options.rounds)
    table = Table("network", "what", "measured", "at most", title=options.device)
    for name, what, value, bound in rows:
        table.add_row(name, what, f"{value:.2f}", f"{bound:.2f}")
    Console(width=100).print(table)
    above = [f"{name}: {what}" for name, what, value, bound in rows if value > bound]
    if above:
        sys.exit("above what they should be: " + "; ".join(above))


if __name__ == "__main__":
    main()
