import torch
from models.audio import Keywords

import shiftcheck

torch.manual_seed(2)
MODEL = Keywords()
SOUND = torch.randn(1, 1, 96, generator=torch.Generator().manual_seed(2))


@shiftcheck.parametrize_with_layers(
    MODEL,
    SOUND,
    expected_inconclusive={
        "mean": "a mean over all of the time has no time left",
        "words": "it follows the mean",
    },
)
def test_up_to_each_layer(layer):
    shiftcheck.assert_equivariant(MODEL, SOUND, layer=layer)


def test_nothing_is_seen_before_it_sounds():
    before, after = shiftcheck.geometry(MODEL, (1, 1, 96))["high"].halo[0]
    assert (before, after) == (8, 0)
