"""The verdicts on networks of other people's packages, beside those that are stored.

    python benchmarks/suites.py             compare with results/suites.json; 1 if any differs
    python benchmarks/suites.py --update    store what is measured now
    python benchmarks/suites.py timm monai  only these packages

Random weights, nothing is downloaded. Each network is run in a process of its own, by ``geometry``
and by ``check_equivariance``. A package that is not installed is skipped, and said so. timm and
segmentation-models-pytorch want a torchvision that fits the torch at hand, so this is for an
environment of its own, in which those of ``CASES`` are installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "suites.json"
SECONDS = 600
Shape = tuple[int, ...]
PIP = {"segmentation_models_pytorch": "segmentation-models-pytorch"}


class Picked:
    """A network whose output is a tensor: a field of what it returns, or the last of several."""

    def __new__(cls, model: Any, pick: Callable[[Any], Any]) -> Any:
        """A module around ``model``."""
        from torch import nn

        class Around(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, x: Any) -> Any:
                return pick(self.model(x))

        return Around()


def timm(name: str, **settings: Any) -> Any:
    """The last feature map of a network of timm."""
    import timm

    settings = {"pretrained": False, "features_only": True, "out_indices": (-1,)} | settings
    return Picked(timm.create_model(name, **settings), lambda maps: maps[0])


def smp(name: str, encoder: str = "resnet18", **settings: Any) -> Any:
    """A segmentation network."""
    import segmentation_models_pytorch

    make = getattr(segmentation_models_pytorch, name)
    return make(encoder_name=encoder, encoder_weights=None, classes=2, **settings)


def monai(name: str, **settings: Any) -> Any:
    """A network of MONAI."""
    from monai.networks import nets

    return getattr(nets, name)(**settings)


def transformers(name: str, field: str = "last_hidden_state", **settings: Any) -> Any:
    """A network of transformers, ``name`` without Config and Model."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**settings)
    model = getattr(transformers, f"{name}Model")(config)
    return Picked(model, lambda returned: getattr(returned, field))


def diffusers(name: str, part: str = "", **settings: Any) -> Any:
    """A network of diffusers, or a part of it."""
    import diffusers

    model = getattr(diffusers, name)(**settings)
    return getattr(model, part) if part else model


def neuraloperator(name: str, **settings: Any) -> Any:
    """A network of neuraloperator."""
    from neuralop import models

    return getattr(models, name)(**settings)


U3 = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
U2 = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
STEPS = {"channels": (8, 16, 32), "strides": (2, 2)}
VAE = {"block_out_channels": (16, 32), "down_block_types": ("DownEncoderBlock2D",) * 2}
CODEC = {"encoder_hidden_size": 16, "downsampling_ratios": [2, 4], "decoder_hidden_size": 64}

CASES: dict[str, dict[str, tuple[Callable[[], Any], Shape]]] = {
    "timm": {
        "resnet18": (partial(timm, "resnet18"), (1, 3, 160, 160)),
        "resnet18 at 480": (partial(timm, "resnet18"), (1, 3, 480, 480)),
        "resnetblur50": (partial(timm, "resnetblur50"), (1, 3, 160, 160)),
        "convnext_atto": (partial(timm, "convnext_atto"), (1, 3, 128, 128)),
        "mobilenetv3_small_050": (partial(timm, "mobilenetv3_small_050"), (1, 3, 128, 128)),
        "efficientnet_b0": (partial(timm, "efficientnet_b0"), (1, 3, 128, 128)),
        "densenet121": (partial(timm, "densenet121"), (1, 3, 128, 128)),
        "vgg11, 3 stages": (partial(timm, "vgg11", out_indices=(3,)), (1, 3, 96, 96)),
        "hrnet_w18_small": (partial(timm, "hrnet_w18_small"), (1, 3, 128, 128)),
        "regnetx_002, 2 stages": (partial(timm, "regnetx_002", out_indices=(2,)), (1, 3, 160, 160)),
        "swin_tiny": (
            partial(timm, "swin_tiny_patch4_window7_224"),
            (1, 3, 224, 224),
        ),
        "vit_tiny": (partial(timm, "vit_tiny_patch16_224"), (1, 3, 224, 224)),
        "edgenext_xx_small": (partial(timm, "edgenext_xx_small"), (1, 3, 128, 128)),
    },
    "segmentation_models_pytorch": {
        "Unet": (partial(smp, "Unet"), (1, 3, 128, 160)),
        "UnetPlusPlus": (partial(smp, "UnetPlusPlus"), (1, 3, 128, 160)),
        "FPN": (partial(smp, "FPN"), (1, 3, 128, 160)),
        "Linknet": (partial(smp, "Linknet"), (1, 3, 128, 160)),
        "PSPNet": (partial(smp, "PSPNet"), (1, 3, 128, 160)),
        "DeepLabV3Plus": (partial(smp, "DeepLabV3Plus"), (1, 3, 128, 160)),
        "Segformer": (partial(smp, "Segformer"), (1, 3, 128, 160)),
    },
    "monai": {
        "UNet 2-D": (partial(monai, "UNet", **U2, **STEPS), (1, 1, 96, 96)),
        "UNet 3-D": (partial(monai, "UNet", **U3, **STEPS), (1, 1, 32, 32, 32)),
        "UNet 2-D, batch norm": (
            partial(monai, "UNet", **U2, **STEPS, norm="BATCH"),
            (1, 1, 96, 96),
        ),
        "BasicUNet": (partial(monai, "BasicUNet", **U2), (1, 1, 96, 96)),
        "AttentionUnet": (partial(monai, "AttentionUnet", **U2, **STEPS), (1, 1, 64, 64)),
        "SegResNet": (partial(monai, "SegResNet", **U2, init_filters=8), (1, 1, 64, 64)),
        "HighResNet": (partial(monai, "HighResNet", **U2), (1, 1, 96, 96)),
    },
    "transformers": {
        "ConvNext": (
            partial(transformers, "ConvNext", depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 32, 64]),
            (1, 3, 128, 128),
        ),
        "ResNet": (
            partial(transformers, "ResNet", depths=[1, 1], hidden_sizes=[16, 32], embedding_size=8),
            (1, 3, 128, 128),
        ),
        "MobileNetV2": (partial(transformers, "MobileNetV2"), (1, 3, 128, 128)),
        "RegNet": (
            partial(
                transformers, "RegNet", depths=[1, 1], hidden_sizes=[16, 32], embedding_size=8,
                groups_width=8,
            ),
            (1, 3, 128, 128),
        ),
        "Encodec": (
            partial(transformers, "Encodec", field="audio_values", num_filters=4),
            (1, 1, 9600),
        ),
        "Dac": (partial(transformers, "Dac", field="audio_values", **CODEC), (1, 1, 4096)),
    },
    "diffusers": {
        "AutoencoderKL, encoder": (
            partial(diffusers, "AutoencoderKL", "encoder", **VAE, norm_num_groups=8),
            (1, 3, 64, 64),
        ),
        "AutoencoderTiny, decoder": (
            partial(diffusers, "AutoencoderTiny", "decoder"),
            (1, 4, 48, 48),
        ),
    },
    "neuralop": {
        "FNO": (
            partial(
                neuraloperator, "FNO", n_modes=(8, 8), in_channels=1, out_channels=1,
                hidden_channels=8,
            ),
            (1, 1, 32, 32),
        ),
        "FNO without positions": (
            partial(
                neuraloperator, "FNO", n_modes=(8, 8), in_channels=1, out_channels=1,
                hidden_channels=8, positional_embedding=None,
            ),
            (1, 1, 32, 32),
        ),
    },
}  # fmt: skip
CIRCLES = {("neuralop", "FNO"), ("neuralop", "FNO without positions")}
"""Their signals are periodic."""


def judged(package: str, name: str) -> dict[str, Any]:
    """The verdicts on one network, as plain values."""
    import torch

    import shiftcheck

    torch.manual_seed(0)
    make, shape = CASES[package][name]
    model = make().eval()
    boundary = "circular" if (package, name) in CIRCLES else "valid"
    plan = shiftcheck.geometry(model, shape, boundary=boundary)
    report = shiftcheck.check_equivariance(model, torch.randn(shape), boundary=boundary)
    guilty = report.guilty
    output = plan.outputs[0]
    return {
        "shape": list(shape),
        "stride": [stride and str(stride) for stride in output.stride],
        "period": list(output.period),
        "halo": [axis and [f"{side:g}" for side in axis] for axis in output.halo],
        "verdict": str(report.verdict),
        "reason": str(report.reason),
        "guilty": guilty and guilty.layer,
        "cause": guilty and str(guilty.kind),
    }


def in_a_process(package: str, name: str) -> dict[str, Any]:
    """The same in a process of its own, or how that ended."""
    command = [sys.executable, __file__, "--one", package, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {SECONDS} s"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    judgement: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return judgement


def difference(package: str, name: str, found: dict[str, Any], kept: Any) -> str:
    """What is not as it was stored; empty where all is."""
    if kept is None:
        return "is not stored"
    keys = sorted(key for key in {*found, *kept} if found.get(key) != kept.get(key))
    return "; ".join(f"{key}: {found.get(key)}, stored {kept.get(key)}" for key in keys)


def run(packages: list[str], *, update: bool) -> int:
    """Judge all networks of the packages; how many are not as stored."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    networks, differing = dict(kept.get("networks", {})), 0
    for package in packages:
        if importlib.util.find_spec(package) is None:
            print(f"{package}: not installed, skipped")
            continue
        for name in CASES[package]:
            key = f"{package} {name}"
            found = in_a_process(package, name)
            apart = difference(package, name, found, networks.get(key))
            differing += bool(apart)
            print(f"{key}: {apart or 'as stored'}", flush=True)
            networks[key] = found
    if update:
        versions = kept.get("versions", {}) | versions_of(packages)
        content = json.dumps({"versions": versions, "networks": networks}, indent=1)
        RESULTS.write_text(f"{content}\n", encoding="utf-8")
        return 0
    return differing


def versions_of(packages: list[str]) -> dict[str, str]:
    """The versions of what is installed."""
    names = ["torch", *(PIP.get(p, {"neuralop": "neuraloperator"}.get(p, p)) for p in packages)]
    return {
        name: importlib.metadata.version(name)
        for name in names
        if importlib.util.find_spec(name.replace("-", "_").replace("neuraloperator", "neuralop"))
    }


def main() -> int:
    """Read the packages, judge their networks; 1 where a verdict is not the stored one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=", ".join(CASES))
    parser.add_argument("--update", action="store_true", help="store what is measured")
    parser.add_argument("--one", nargs=2, metavar=("PACKAGE", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(judged(*options.one)))
        return 0
    unknown = [p for p in options.packages if p not in CASES]
    if unknown:
        parser.error(f"no networks of {', '.join(unknown)}; there are some of {', '.join(CASES)}")
    return int(run(options.packages or list(CASES), update=options.update) > 0)


if __name__ == "__main__":
    sys.exit(main())
