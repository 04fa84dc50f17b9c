"""Names as a tree: the same names in the same order, each under its modules."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from shiftcheck.report.render.tree import TreeLine, tree


def full_names(lines: Sequence[TreeLine]) -> list[str]:
    """The names that a reader makes of the tree: those of the modules above, and their own."""
    open_modules: list[str] = []
    names = []
    for line in lines:
        open_modules = [*open_modules[: line.depth], line.name]
        if line.row is not None:
            names.append(".".join(open_modules))
    return names


def test_modules_stand_above_their_layers() -> None:
    names = ["stem", "down.conv", "down.relu", "max_pool2d", "up.0.conv", "up.0.conv#2", "up.add"]
    assert tree(names) == [
        TreeLine(0, "stem", 0),
        TreeLine(0, "down", None),
        TreeLine(1, "conv", 1),
        TreeLine(1, "relu", 2),
        TreeLine(0, "max_pool2d", 3),
        TreeLine(0, "up", None),
        TreeLine(1, "0", None),
        TreeLine(2, "conv", 4),
        TreeLine(2, "conv#2", 5),
        TreeLine(1, "add", 6),
    ]


def test_modules_that_hold_one_module_alone_share_its_line() -> None:
    lines = tree(["encoder.stages.0.conv", "encoder.stages.0.relu", "head"])
    assert [line.name for line in lines] == ["encoder.stages.0", "conv", "relu", "head"]


def test_a_module_that_is_entered_again_has_another_line() -> None:
    lines = tree(["a.x", "relu", "a.y"])
    assert [(line.name, line.row) for line in lines if line.depth == 0] == [
        ("a", None),
        ("relu", 1),
        ("a", None),
    ]


def test_a_layer_that_bears_the_name_of_a_module_before_it() -> None:
    assert full_names(tree(["a", "a.b", "a", "a.b.c"])) == ["a", "a.b", "a", "a.b.c"]


def test_a_dot_in_a_key_parts_no_names() -> None:
    names = ["gate.lstm[0]", "gate.lstm['a.b']", "gate.[red]x[/red]"]
    assert [line.name for line in tree(names)[1:]] == ["lstm[0]", "lstm['a.b']", "[red]x[/red]"]


@pytest.mark.parametrize("seed", range(50))
def test_every_name_can_be_read_off(seed: int) -> None:
    draw = random.Random(seed)
    parts = ["0", "1", "conv", "conv#2", "relu_1", "out[1]"]
    names = [".".join(draw.choices(parts, k=draw.randint(1, 5))) for _ in range(draw.randint(0, 9))]
    lines = tree(names)
    assert full_names(lines) == names
    assert [line.row for line in lines if line.row is not None] == list(range(len(names)))
    assert len(names) < 1 or len(lines) <= sum(name.count(".") + 1 for name in names)
