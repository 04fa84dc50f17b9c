"""What fits a width, and what is shortened or left out for it."""

from __future__ import annotations

import io
import os
import sys

import pytest
from rich.cells import cell_len

from shiftcheck.report.render.fitting import (
    Column,
    console_width,
    fitted,
    shorter_end,
    shorter_name,
    shorter_shape,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_width_is_fixed_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((73, 20)))
    assert console_width() == 100
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert console_width() == 73


@pytest.mark.parametrize("terminal", [io.StringIO, Terminal])
def test_columns_counts_everywhere(
    monkeypatch: pytest.MonkeyPatch, terminal: type[io.StringIO]
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal())
    monkeypatch.setenv("COLUMNS", "64")
    assert console_width() == 64
    monkeypatch.setenv("COLUMNS", "3")
    assert console_width() == 20


@pytest.mark.parametrize("columns", ["", "0", "wide", "-5", "1.5"])
def test_columns_that_are_no_width(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", columns)
    assert console_width() == 100


def test_names_lose_their_middle() -> None:
    assert shorter_name("convolution", 11) == "convolution"
    assert shorter_name("convolution", 10) == "conv…ution"
    assert shorter_name("convolution", 1) == "…"
    assert shorter_name("    convolution", 12) == "    con…tion"
    assert shorter_name("    convolution", 9) == " con…tion"  # the name is worth more
    assert shorter_name("層層層層層", 8) == "層…層層"
    assert all(cell_len(shorter_name("  層a層b層#2", n)) <= n for n in range(1, 12))


def test_shapes_lose_whole_sizes() -> None:
    assert shorter_shape("16x24x28x12", 11) == "16x24x28x12"
    assert shorter_shape("16x24x28x12", 10) == "16x…x28x12"
    assert shorter_shape("16x24x28x12", 9) == "16x…x12"
    assert shorter_shape("16x24x28x12", 0) == "16x…x12"
    assert shorter_shape("1024x768", 0) == "1024x768"
    assert shorter_shape("scalar", 0) == "scalar"


def test_words_lose_their_end() -> None:
    assert shorter_end("STRIDE, off the lattice", 23) == "STRIDE, off the lattice"
    assert shorter_end("STRIDE, off the lattice", 13) == "STRIDE, off…"
    assert shorter_end("STRIDE, off the lattice", 1) == "…"


def columns() -> list[Column]:
    return [
        Column(title="name", cells=("a_long_name_of_a_layer",), elastic=(10, shorter_name)),
        Column(title="n", cells=("12 x 14",), right=True),
        Column(title="why", cells=("STRIDE",), elastic=(6, shorter_end)),
    ]


def test_what_fits_stays() -> None:
    head, row = fitted(columns(), 40, ("n",))
    assert row == ["a_long_name_of_a_layer", "12 x 14", "STRIDE"]
    assert head == ["name".ljust(22), "      n", "why   "]


def test_texts_are_shortened_before_a_column_is_left_out() -> None:
    assert fitted(columns(), 39, ("n",))[1] == ["a_long_nam…of_a_layer", "12 x 14", "STRIDE"]
    assert fitted(columns(), 28, ("n",))[1] == ["a_lo…layer", "12 x 14", "STRIDE"]
    assert fitted(columns(), 27, ("n",))[1] == ["a_long_n…f_a_layer", "STRIDE"]
    assert fitted(columns(), 27, ("why", "n"))[1] == ["a_long_n…_a_layer", "12 x 14"]


def test_where_nothing_can_be_left_out_the_rest_is_shortened_further() -> None:
    assert fitted(columns(), 16, ("n",))[1] == ["a_l…yer", "STRIDE"]
    assert fitted(columns(), 12, ("n",))[1] == ["a…er", "STRI…"]


@pytest.mark.parametrize("width", range(12, 60))
def test_every_line_fits(width: int) -> None:
    for line in fitted(columns(), width, ("n",)):
        assert 1 + len("  ".join(line)) <= width
