"""The network has the article's form, and its shipped weights know the digits."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from shiftcheck.datasets import mnist, standardise
from shiftcheck.errors import ShiftcheckError
from shiftcheck.models import LeNet, lenet

DATA = Path(__file__).parents[1] / "data"


def test_layers_and_parameter_count():
    shapes = {name: tuple(p.shape) for name, p in LeNet().named_parameters()}
    assert shapes == {
        "conv1.weight": (20, 1, 5, 5),
        "conv1.bias": (20,),
        "conv2.weight": (40, 20, 5, 5),
        "conv2.bias": (40,),
        "conv3.weight": (40, 40, 5, 5),
        "conv3.bias": (40,),
        "conv4.weight": (5, 40, 5, 5),
        "conv4.bias": (5,),
        "fc1.weight": (10, 180),
        "fc1.bias": (10,),
    }
    assert sum(p.numel() for p in LeNet().parameters()) == 67_415


def test_shapes_of_the_feature_maps():
    model, seen = LeNet(), {}
    for name, module in model.named_children():
        module.register_forward_hook(
            lambda _module, inputs, output, name=name: seen.update(
                {name: (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))}
            )
        )
    model(torch.zeros(2, 1, 28, 28))
    assert seen == {
        "conv1": ((1, 28, 28), (20, 24, 24)),
        "conv2": ((20, 24, 24), (40, 20, 20)),
        "conv3": ((40, 20, 20), (40, 16, 16)),
        "conv4": ((40, 16, 16), (5, 12, 12)),
        "fc1": ((180,), (10,)),
    }


def test_forward_is_the_articles_formula():
    model = LeNet()
    x = torch.randn(3, 1, 28, 28)
    y = x
    for conv in (model.conv1, model.conv2, model.conv3, model.conv4):
        y = F.conv2d(y, conv.weight, conv.bias).clamp(min=0)
    y = y.reshape(3, 5, 6, 2, 6, 2).amax((3, 5)).flatten(1)
    torch.testing.assert_close(model(x), y @ model.fc1.weight.T + model.fc1.bias)


def test_a_size_that_does_not_fit_the_linear_layer_is_refused_by_torch():
    with pytest.raises(RuntimeError, match="180"):
        LeNet()(torch.zeros(1, 1, 30, 30))


@pytest.mark.slow
def test_shipped_weights_know_the_ten_thousand_test_digits():
    images, labels = mnist(DATA, "test")
    model = lenet(pretrained=True).eval()
    with torch.inference_mode():
        batches = standardise(images[:, None] / 255).split(1000)
        found = torch.cat([model(batch).argmax(1) for batch in batches])
    assert len(labels) == 10_000
    assert (found != labels).double().mean().item() <= 0.01


def test_shipped_weights_are_loaded_the_same_each_time_and_draw_no_random_number():
    before = torch.get_rng_state()
    first, second = lenet(pretrained=True), lenet(pretrained=True)
    assert torch.equal(torch.get_rng_state(), before)
    for mine, yours in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, yours)
        assert mine.data_ptr() != yours.data_ptr()
        assert mine.requires_grad
        assert mine.dtype == torch.float32


def test_without_pretrained_the_weights_are_random():
    assert not torch.equal(lenet().conv1.weight, lenet().conv1.weight)


def test_missing_safetensors_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ShiftcheckError, match=r"pip install 'torch-shiftcheck\[demo\]'"):
        lenet(pretrained=True)
    lenet()
