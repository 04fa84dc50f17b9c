"""The main job on real digits: what moves with its input in a LeNet, and what does not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from shiftcheck.checks.equivariance.check import check_equivariance
from shiftcheck.demo.film import write_gif, write_page
from shiftcheck.demo.moving_digit import Film, moving_digit
from shiftcheck.errors import InputError, MissingExtraError
from shiftcheck.measuring.signals.shifting import shift
from shiftcheck.models import lenet, mlp
from shiftcheck.models.digit_images import digits, embed, standardise
from shiftcheck.report.equivariance import Report
from shiftcheck.report.render import explain, render_report, render_table

CANVAS = (38, 38)
FEW = 20
"""So many of the digits are shifted by every shift and looked at layer by layer."""
REACH = 5
SHIFTS = tuple(product(range(-REACH, REACH + 1), repeat=2))


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """What the classifier says of 28x28 crops while the digits move.

    ``agreement``: the share of moved digits with the class of the unmoved one; ``accuracy``: with
    the right class; ``change``: the mean distance of the logits from the unmoved ones, over the
    mean distance between different digits. By the largest entry of the shift, in pixels.
    """

    reach: int
    agreement: float
    accuracy: float
    change: float


def run_demo(out: Path, say: Callable[[str], None] = print, *, progress: bool = False) -> Report:
    """Print what a user would want to know of the LeNet; write what there is to see into ``out``.

    The report as JSON and as a page, and a digit that moves, as a page and as a GIF. What an extra
    is missing for is skipped, with the line that installs it.

    Raises InputError where the folder cannot be written, before anything is computed.
    """
    _prepare(out)
    say(BEFORE.format(out=out))
    images, labels = digits()
    canvas = standardise(embed(images, CANVAS))
    model = lenet(pretrained=True)
    say(
        f"1/5  The LeNet up to its max-pool: {FEW} test digits on a {CANVAS[0]}x{CANVAS[1]} canvas,"
        f" all {len(SHIFTS)} shifts in [-{REACH}, {REACH}]^2\n"
    )
    report = check_equivariance(
        model, canvas[:FEW], layer="max_pool2d", shifts=SHIFTS, progress=progress
    )
    say(render_table(report))
    say(_on_the_lattice(report))
    say("\n2/5  The whole network, on 28x28\n")
    whole = check_equivariance(model, standardise(images))
    say(render_report(whole))
    say("\n3/5  An MLP from image to image\n")
    say(explain(check_equivariance(mlp(pretrained=True), standardise(images))))
    say(f"\n4/5  The classifier on 28x28 crops of {len(images)} moving digits")
    say("   (the logits' way as a share of the mean distance between two digits)\n")
    for line in steadiness(model, canvas, labels):
        say(
            f"shifts up to {line.reach}: {line.agreement:.1%} keep their class,"
            f" {line.accuracy:.1%} are right, the logits move by {line.change:.0%}"
        )
    say("\n5/5  The report, and a film of a digit that moves")
    path = out / "report.json"
    path.write_text(report.to_json(), encoding="utf-8")
    say(f"wrote {path}")
    for name, write in PICTURES:
        try:
            write(report, out / name)
            say(f"wrote {out / name}")
        except MissingExtraError as error:
            say(f"skipped {name}: {error}")
    return report


@functools.cache
def _film() -> Film:
    return moving_digit(3)


PICTURES: tuple[tuple[str, Callable[[Report, Path], None]], ...] = (
    ("report.html", lambda report, path: report.to_html(path)),
    ("moving_digit.html", lambda _, path: write_page(_film(), path)),
    ("moving_digit.gif", lambda _, path: write_gif(_film(), path)),
)
"""What is written beside the report, and how; each needs an extra."""


BEFORE = """\
A LeNet that was trained on centred digits is given digits that move over a canvas. Which of its
layers move along, and up to which shift does it know them? Five steps, about half a minute; nothing
is downloaded, and a report and a film are written to
{out}
"""


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--out {out} cannot be written: {error}") from error


def _on_the_lattice(report: Report) -> str:
    conv4, pool = report["conv4"], report["max_pool2d"]
    moved = [s for s in conv4.shifts if any(s.shift)]
    same = sum(s.verdict == "equivariant" for s in moved)
    on = [s for s in pool.shifts if s.error is not None and any(s.shift)]
    exact = sum(s.verdict == "equivariant" for s in on)
    return (
        f"conv4 is equivariant at {same} of {len(moved)} shifts (and trivially at (0, 0)).\n"
        "max_pool2d has stride 2: a shift by an odd number of pixels is no whole number of its\n"
        f"samples and is skipped there. {len(on)} of the {len(moved)} shifts are multiples of its"
        f" period\n{pool.period}, and it is equivariant at {exact} of those {len(on)}."
    )


def steadiness(
    model: torch.nn.Module, canvas: torch.Tensor, labels: torch.Tensor
) -> list[Steadiness]:
    """How far the logits and the classes of the central crop change, by the reach of the shift."""
    margin = (CANVAS[0] - 28) // 2
    background = canvas.min()
    figures: dict[int, list[tuple[float, float, float]]] = {}
    with torch.inference_mode():
        base = model(_crop(canvas, margin))
        apart = torch.cdist(base, base).sum() / (len(base) * (len(base) - 1))
        for offset in SHIFTS:
            moved = shift(canvas - background, offset, fill="zeros") + background
            logits = model(_crop(moved, margin))
            figures.setdefault(max(map(abs, offset)), []).append(
                (
                    float((logits.argmax(1) == base.argmax(1)).float().mean()),
                    float((logits.argmax(1) == labels).float().mean()),
                    float((logits - base).norm(dim=1).mean() / apart),
                )
            )
    lines = []
    for reach in sorted(figures):
        kept, right, change = (sum(c) / len(c) for c in zip(*figures[reach], strict=True))
        lines.append(Steadiness(reach=reach, agreement=kept, accuracy=right, change=change))
    return lines


def _crop(canvas: torch.Tensor, margin: int) -> torch.Tensor:
    return canvas[..., margin : margin + 28, margin : margin + 28].contiguous()
