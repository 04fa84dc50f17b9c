"""Networks on which a passing check is measured, and structures without values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import shiftcheck

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.networks import DenseNet
from tests.networks.resnet import ResNet, resnet50


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

    def kept(self) -> int:
        """The bytes of what every layer gives for x alone."""
        sizes: list[int] = []

        def add(module: nn.Module, args: object, output: torch.Tensor) -> None:
            sizes.append(output.numel() * output.element_size())

        leaves = [m for m in self.trunk.modules() if not list(m.children())]
        hooks = [m.register_forward_hook(add) for m in leaves]
        with torch.inference_mode():
            self.trunk(self.x)
        for hook in hooks:
            hook.remove()
        return sum(sizes)


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


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A network without values, and the size of the image whose structure is read."""

    name: str
    make: Callable[[], nn.Module]
    size: int

    def bare(self) -> None:
        """The forward pass on fake tensors, without rules."""
        without_values(self.model, (1, 3, self.size, self.size))

    def ruled(self) -> None:
        """The geometry."""
        shiftcheck.geometry(self.model, (1, 3, self.size, self.size))

    @cached_property
    def model(self) -> nn.Module:
        """The network, in eval mode."""
        return self.make().eval()


def without_values(model: nn.Module, shape: Sequence[int]) -> None:
    """A pass on fake tensors."""
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        model(torch.empty(shape))


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
    "densenet": Structure(name="DenseNet-121 at 128", make=DenseNet, size=128),
    "resnet-224": Structure(name="ResNet-50 at 224", make=resnet50, size=224),
    "resnet-4096": Structure(name="ResNet-50 at 4096", make=resnet50, size=4096),
    "resnet-152": Structure(
        name="ResNet-152 at 4096", make=lambda: ResNet((3, 8, 36, 3)), size=4096
    ),
    "vit": Structure(name="ViT-L at 1024", make=vit_large, size=1024),
}
