"""A plan of shards, and a comparison of them with the whole, as text and as a page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

import shiftcheck
from shiftcheck.report import (
    Exchange,
    ShardedComparison,
    ShardFault,
    ShardingPlan,
    read_report,
)

NET = nn.Sequential(
    nn.Conv1d(1, 4, 5, stride=2, padding=2), nn.GroupNorm(2, 4), nn.Conv1d(4, 1, 3, padding=1)
)


@pytest.fixture
def plan() -> ShardingPlan:
    return shiftcheck.sharding(NET, (1, 1, 67), 3)


@pytest.fixture
def found() -> ShardedComparison:
    torch.manual_seed(0)
    return shiftcheck.check_sharded(
        NET, lambda shards: [NET(x) for x in shards], torch.randn(1, 1, 66), 3
    )


def test_the_plan_says_what_layers_need(plan: ShardingPlan) -> None:
    text = str(plan)
    assert "3 shards along dimension 2: EXACT WITH HALOS AND 1 STATISTIC" in text
    assert "shards begin at 0, 22, 44 and are 22 to 23 wide, of 67 (pixels)" in text
    assert "multiples of 2; the last one has the 1 left over" in text
    assert "'0' (Conv1d): halo 2 left, 1 right" in text
    assert "'1' (GroupNorm): sum and sum of squares over all shards" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_what_blocks_is_said_first() -> None:
    net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Linear(62, 5))
    text = str(shiftcheck.sharding(net, (1, 1, 64), 2))
    assert "NOT EXACT BY HALOS AND STATISTICS" in text
    assert "'1' (Linear): every sample depends on all shards" in text


def test_a_long_plan_is_cut_short_in_the_text_alone() -> None:
    net = nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1) for _ in range(40)))
    plan = shiftcheck.sharding(net, (1, 1, 256), 2)
    assert "and 16 more layers, in plan.layers" in str(plan)
    assert plan._repr_html_().count("Conv1d") == 40


def test_the_comparison_says_the_layer_the_side_and_the_width(found: ShardedComparison) -> None:
    text = str(found)
    assert "3 shards in one process: DIFFERENT, border padding in the middle" in text
    assert "first layer that differs: '0' (Conv1d), on shard 0: wrong in 1 sample next to" in text
    assert "was given a halo of 0 on the left and 0 on the right there, and needs 0 on" in text
    assert "these need all shards: 1" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("name", ["plan", "found"])
def test_json_page_and_notebook(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    record = request.getfixturevalue(name)
    assert read_report(record.to_json()) == record
    record.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Conv1d" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<strong>Sequential on 1x1x6" in record._repr_html_()


def test_records_are_frozen_and_words_are_there(plan: ShardingPlan) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.period = 1  # type: ignore[misc]
    assert all(fault.plain and fault.remedy for fault in ShardFault)
    assert all(exchange.meaning for exchange in Exchange)
    with pytest.raises(KeyError, match="no layer 'conv'; there are 0, 1, 2"):
        plan["conv"]
