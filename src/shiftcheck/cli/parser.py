"""The commands and their arguments; nothing here imports torch, so that help is there at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shiftcheck import __version__
from shiftcheck.cli import texts
from shiftcheck.cli.arguments import (
    add_causality,
    add_check,
    add_cut,
    add_evaluation,
    add_halo,
    add_invariance,
    add_linearity,
    add_model,
    add_results,
    add_sharding,
    add_signal,
    add_spatial,
    add_streaming,
    add_target,
    add_tiling,
    add_wide,
)

LISTS = {
    "--shifts": (re.compile(r"[\[(]*[+-]?\d[\d,;.+\-\s()\[\]]*"), " "),
    "--shape": (re.compile(r"\d+"), ","),
    "--tolerance": (re.compile(r"[\[(]*[+-]?\.?\d[\d.eE,+\-\s\])]*"), " "),
}
"""What may follow an option as further parts of its value, and what stands between them."""


def joined(given: Sequence[str]) -> list[str]:
    """The arguments with ``--shifts 1,0 -1,0`` as one, and ``--shape 1 3 64 80``.

    argparse would take the target for a shift, and a negative number for an option.
    """
    whole: list[str] = []
    for entry in given:
        option, equals, _ = whole[-1].partition("=") if whole else ("", "", "")
        part, between = LISTS.get(option, (None, ""))
        if part is not None and part.fullmatch(entry):
            whole[-1] += f"{between if equals else '='}{entry}"
        else:
            whole.append(entry)
    return whole


def parser() -> argparse.ArgumentParser:
    """The parser; what runs a command stands in ``run``, by the name of its function."""
    made = argparse.ArgumentParser(
        prog="shiftcheck",
        description=texts.DESCRIPTION,
        epilog=texts.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"shiftcheck {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", title="commands")
    _add_checks(commands)
    _add_evaluation(commands)
    structure = _command(
        commands,
        "geometry",
        "what every layer does to a shift",
        texts.GEOMETRY,
        texts.GEOMETRY_END,
    )
    add_model(structure)
    add_spatial(add_signal(structure))
    add_results(structure)
    _add_space(commands)
    _add_streaming(commands)
    _add_sharding(commands)
    _add_render(commands)
    _add_explain(commands)
    _add_demo(commands)
    return made


def _add_checks(commands: Any) -> None:
    check = _command(commands, "check", "check a model of your own", texts.CHECK, texts.CHECK_END)
    add_model(check)
    add_spatial(add_signal(check))
    add_check(check)
    add_results(check)
    invariance = _command(
        commands,
        "invariance",
        "check a classifier: whether its output stays the same",
        texts.INVARIANCE,
        texts.INVARIANCE_END,
    )
    add_model(invariance)
    add_invariance(invariance, add_signal(invariance))
    add_results(invariance)
    linearity = _command(
        commands, "linearity", "check for linearity", texts.LINEARITY, texts.LINEARITY_END
    )
    add_linearity(linearity)
    add_results(linearity)
    causality = _command(
        commands,
        "causality",
        "whether anything of the future reaches the output",
        texts.CAUSALITY,
        texts.CAUSALITY_END,
    )
    add_model(causality)
    add_causality(causality, add_signal(causality))
    add_results(causality)


def _add_evaluation(commands: Any) -> None:
    evaluation = _command(
        commands,
        "evaluate",
        "how bad a break is over a whole set of data",
        texts.EVALUATE,
        texts.EVALUATE_END,
    )
    add_model(evaluation)
    add_evaluation(evaluation)
    add_results(evaluation)


def _add_space(commands: Any) -> None:
    sizes = _command(
        commands, "sizes", "which input sizes a model takes", texts.SIZES, texts.SIZES_END
    )
    add_model(sizes)
    add_spatial(add_signal(sizes))
    add_results(sizes)
    halo = _command(
        commands, "halo", "how much overlap is enough for tiles", texts.HALO, texts.HALO_END
    )
    add_model(halo)
    add_spatial(add_signal(halo))
    add_halo(halo)
    add_results(halo)
    tiling = _command(
        commands,
        "tiling",
        "which tiles of an image give what the whole gives",
        texts.TILING,
        texts.TILING_END,
    )
    add_target(tiling, layers=False)
    add_cut(add_signal(tiling))
    add_tiling(tiling)
    add_results(tiling)


def _add_streaming(commands: Any) -> None:
    streaming = _command(
        commands,
        "streaming",
        "what a model has to remember to run on a stream",
        texts.STREAMING,
        texts.STREAMING_END,
    )
    add_streaming(streaming)
    add_results(streaming)


def _add_sharding(commands: Any) -> None:
    shards = _command(
        commands,
        "sharding",
        "what layers exchange when an image is split over devices",
        texts.SHARDING,
        texts.SHARDING_END,
    )
    add_sharding(shards)
    add_results(shards)


def _add_render(commands: Any) -> None:
    shown = _command(
        commands, "render", "show a report from its JSON", texts.RENDER, texts.RENDER_END
    )
    shown.add_argument("file", metavar="FILE", help="what --json wrote")
    shown.add_argument("--html", metavar="FILE", type=Path, help="write the report as a page")
    add_wide(shown)
    shown.set_defaults(json=None)


def _add_explain(commands: Any) -> None:
    explain = _command(
        commands, "explain", "what a word of a report means", texts.EXPLAIN, texts.EXPLAIN_END
    )
    explain.add_argument(
        "words", metavar="WORD", nargs="+", help="a cause, such as STRIDE, or a reason"
    )


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="check the LeNet on real digits, in half a minute", description=texts.DEMO
    )
    demo.add_argument(
        "--out", type=Path, default=Path("shiftcheck-demo"), help="folder (default: %(default)s)"
    )
    demo.set_defaults(run="run_demo")


def _command(
    commands: Any, name: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(run=f"run_{name}")
    return made
