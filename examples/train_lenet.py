"""Train the LeNet that shiftcheck ships on MNIST, and print its error on the test digits.

python examples/train_lenet.py FOLDER --epochs 5 --seed 0 --out lenet.safetensors
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shiftcheck.datasets import mnist
from shiftcheck.models import LeNet
from training import arguments, fit, prepare, save


def channels_last(model: LeNet) -> LeNet:
    """Let the convolutions work with channels innermost, which is faster on a CPU.

    The network's ``view`` wants rows innermost, so the last and smallest feature map goes back.
    """
    model.conv4.register_forward_hook(lambda _module, _inputs, output: output.contiguous())
    return model.to(memory_format=torch.channels_last)


@torch.inference_mode()
def error_percent(model: LeNet, images: Tensor, labels: Tensor) -> float:
    """Return the share of images ``[n, 28, 28]`` (bytes) that are given a wrong class, in %."""
    model.eval()
    found = torch.cat([model(prepare(batch)).argmax(1) for batch in images.split(1000)])
    return 100 * (found != labels).double().mean().item()


def main() -> None:
    """Train, test and save as the command line says."""
    options = arguments("Train LeNet on MNIST.", epochs=5, out="lenet.safetensors")
    images, labels = mnist(options.folder, "train")
    test = mnist(options.folder, "test")
    torch.manual_seed(options.seed)
    model = channels_last(LeNet())

    def loss_of(batch: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(batch), targets)

    fit(model, images, labels, loss_of, epochs=options.epochs, seed=options.seed)
    error = error_percent(model, *test)
    print(f"test error {error:.2f} % of {len(test[1]):,} digits")
    facts = {"test_error_percent": f"{error:.2f}", "epochs": options.epochs, "seed": options.seed}
    save(model, options.out, torch.float32, **facts)


if __name__ == "__main__":
    main()
