"""The weights that the library ships, one safetensors file a model, and how they are loaded."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TypeVar

import torch
from torch import Tensor, nn

from shiftcheck.errors import ShiftcheckError

Model = TypeVar("Model", bound=nn.Module)


def load(model: type[Model], file_name: str) -> Model:
    """Return a ``model`` on the CPU, in float32, with the weights shipped as ``file_name``.

    The model is built without storage, so no random number is drawn.

    Raises:
        ShiftcheckError: when ``safetensors`` is not installed.
    """
    weights = _read(file_name)
    with torch.device("meta"):
        network = model()
    owned = {name: w.to(torch.float32, copy=True) for name, w in weights.items()}
    network.load_state_dict(owned, assign=True)
    return network


def _read(file_name: str) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ShiftcheckError(
            f"pretrained weights ({file_name}) need the package safetensors, which is not "
            "installed: pip install 'torch-shiftcheck[demo]'"
        ) from error
    with as_file(files(__name__).joinpath(file_name)) as path:
        return load_file(path)
