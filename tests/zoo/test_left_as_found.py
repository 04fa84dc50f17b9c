"""Networks of other people before and after a check: the same objects, with the same in them."""

from __future__ import annotations

import pytest
import torch
from tests.zoo.models import ZOO
from tests.zoo.others import OTHERS
from tests.zoo.snapshot import described, process

import shiftcheck

FAMILIES = {**ZOO, **OTHERS}


def test_there_are_thirty() -> None:
    assert len(FAMILIES) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_everything_is_the_same(name: str) -> None:
    family = FAMILIES[name]
    model, x = family.model(), family.x()
    with torch.no_grad():
        model(x)  # what is made in the first call only is there
    model.train()
    next(iter(model.children())).eval()
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before, around = described(model, x), process()
    shiftcheck.check_equivariance(model, x, **family.options)
    after = described(model, x)
    assert before.keys() == after.keys()
    assert not [thing for key, (thing, words) in before.items() if after[key][1] != words]
    assert process() == around
