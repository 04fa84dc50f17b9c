"""The perceptron maps images to images, and its shipped weights remove noise."""

import pytest
import torch

from shiftcheck.datasets import digits, standardise
from shiftcheck.models import MLP, mlp


def test_layers_and_parameter_count():
    shapes = {name: tuple(p.shape) for name, p in MLP().named_parameters()}
    assert shapes == {
        "fc1.weight": (500, 784),
        "fc1.bias": (500,),
        "fc2.weight": (784, 500),
        "fc2.bias": (784,),
    }
    assert sum(p.numel() for p in MLP().parameters()) == 785_284


def test_forward_keeps_the_shape_and_is_two_matrices_with_relu_between():
    model = MLP()
    x = torch.randn(3, 1, 28, 28)
    hidden = (x.flatten(1) @ model.fc1.weight.T + model.fc1.bias).clamp(min=0)
    expected = (hidden @ model.fc2.weight.T + model.fc2.bias).unflatten(1, (1, 28, 28))
    torch.testing.assert_close(model(x), expected)


def test_a_size_that_does_not_fit_is_refused_by_torch():
    with pytest.raises(RuntimeError, match="784"):
        MLP()(torch.zeros(1, 1, 30, 30))


def test_shipped_weights_remove_most_of_the_noise():
    images, _ = digits()
    clean = standardise(images)
    noise = 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        denoised = mlp(pretrained=True)(clean + noise)
    assert (denoised - clean).square().mean() < 0.4 * noise.square().mean()


def test_shipped_weights_are_float32_the_same_each_time_and_draw_no_random_number():
    before = torch.get_rng_state()
    first, second = mlp(pretrained=True), mlp(pretrained=True)
    assert torch.equal(torch.get_rng_state(), before)
    for mine, yours in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, yours)
        assert mine.dtype == torch.float32
        assert mine.requires_grad
