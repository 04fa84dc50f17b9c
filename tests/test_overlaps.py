"""The table of what overlaps cost is the one that the benchmark writes from stored results."""

from __future__ import annotations

import importlib
import json
from types import ModuleType

import pytest
import torch
from torch import nn


def module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


overlaps = module("overlaps")


def test_the_page_shows_what_is_stored() -> None:
    page = overlaps.PAGE.read_text(encoding="utf-8")
    assert page == overlaps.written(page, overlaps.STORED.read_text(encoding="utf-8"))
    assert all(name in page for name in overlaps.NETWORKS)


def test_what_is_stored_is_right_where_that_is_known() -> None:
    """Half of the overlap is a margin: no smaller than the halo, it has to be exact."""
    stored = json.loads(overlaps.STORED.read_text(encoding="utf-8"))
    halos = {fact["network"]: fact for fact in stored["facts"]}
    for found in stored["outcomes"]:
        fact = halos[found["network"]]
        if found["way"] == overlaps.PLAN:
            assert found["share"] == 0
        elif found["way"] == "cut" and fact["exactness"] == "exact":
            enough = found["overlap"] * stored["tile"] / 2 >= fact["halo"]
            assert (found["share"] == 0) == enough, found


@pytest.mark.parametrize("overlap", [0, 2, 4, 6, 8])
def test_cut_tiles_are_exact_from_twice_the_halo_on(overlap: int) -> None:
    torch.manual_seed(0)
    net, x = nn.Conv2d(1, 2, 5, padding=2), torch.randn(1, 1, 40, 44)
    with torch.no_grad():
        share = overlaps.outcome(
            "net", "cut", None, overlaps.gaps(net(x), overlaps.cut(net, x, 16, overlap))
        ).share
    assert (share == 0) == (overlap >= 4)
