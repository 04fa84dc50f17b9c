"""Train the MLP that shiftcheck ships to remove noise from MNIST's digits.

python examples/train_mlp.py FOLDER --epochs 3 --seed 0 --out mlp.safetensors
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shiftcheck.datasets import mnist
from shiftcheck.models import MLP
from training import arguments, fit, prepare, save

NOISE = 0.5  # the standard deviation of what is added, in units of the images' own


@torch.inference_mode()
def squared_error(model: MLP, images: Tensor, seed: int) -> float:
    """Return the mean squared error of denoised images; of the noisy ones it is ``NOISE**2``."""
    clean = prepare(images)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return F.mse_loss(model.eval()(clean + NOISE * noise), clean).item()


def main() -> None:
    """Train, test and save as the command line says."""
    options = arguments("Train an MLP to denoise MNIST.", epochs=3, out="mlp.safetensors")
    images, labels = mnist(options.folder, "train")
    test_images, _ = mnist(options.folder, "test")
    torch.manual_seed(options.seed)
    model = MLP()

    def loss_of(clean: Tensor, _labels: Tensor) -> Tensor:
        return F.mse_loss(model(clean + NOISE * torch.randn_like(clean)), clean)

    fit(model, images, labels, loss_of, epochs=options.epochs, seed=options.seed)
    error = squared_error(model, test_images, options.seed)
    print(f"mean squared error {error:.4f}, of the noisy images {NOISE**2:.4f}")
    facts = {"test_error": f"{error:.4f}", "epochs": options.epochs, "seed": options.seed}
    save(model, options.out, torch.float16, **facts)


if __name__ == "__main__":
    main()
