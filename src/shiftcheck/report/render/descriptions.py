"""Descriptions of tensors for bioimage.io, and the check of one, as text and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shiftcheck.report.bioimageio import DescribedAxis, DescribedTensor, TensorsDescription
from shiftcheck.report.descriptions import (
    CheckedInput,
    CheckedOutput,
    DescriptionCheck,
    DescriptionFault,
)
from shiftcheck.report.render.contents import Contents, Sheet, wrapped
from shiftcheck.report.render.numbers import count, describe, each

SHOWN = 4
"""So many sizes are named."""


def render_description(found: TensorsDescription) -> str:
    """The axes of every tensor."""
    return "\n".join([headline_of_description(found), *wrapped(_of_tensors(found))])


def headline_of_description(found: TensorsDescription) -> str:
    """The model, and how many tensors there are."""
    tensors = f"{count(len(found.inputs), 'input')}, {count(len(found.outputs), 'output')}"
    return f"{found.model} in the words of bioimage.io: {tensors}"


def _of_tensors(found: TensorsDescription) -> Iterator[str]:
    for tensor in (*found.inputs, *found.outputs):
        yield f"{tensor.id}: {', '.join(_axis(axis) for axis in tensor.axes)}"
    yield from (f"note: {note}" for note in found.notes)


def _axis(axis: DescribedAxis) -> str:
    if axis.is_batch:
        return axis.id
    size = "" if axis.size is None else f" {axis.size}"
    if axis.least is not None:
        size = f" {axis.least} + n * {axis.step}"
    if axis.reference is not None:
        offset = f" {axis.offset:+d}" if axis.offset else ""
        size = f" as {'.'.join(axis.reference)}{offset}"
    scale = f" scale {axis.scale:g}" if axis.scale != 1 else ""
    halo = f" halo {axis.halo}" if axis.halo else ""
    return f"{axis.id}{size}{scale}{halo}"


def contents_of_description(found: TensorsDescription) -> Contents:
    """What a page or a notebook shows."""
    rows = [(tensor, axis) for tensor in (*found.inputs, *found.outputs) for axis in tensor.axes]
    columns: dict[str, Callable[[tuple[DescribedTensor, DescribedAxis]], str]] = {
        "tensor": lambda row: row[0].id,
        "axis": lambda row: _axis(row[1]),
        "type": lambda row: row[1].type,
    }
    return Contents(
        headline=headline_of_description(found),
        verdict="",
        sentences=tuple(f"note: {note}" for note in found.notes),
        sheets=(Sheet.of("Axes", rows, columns),),
    )


def render_check(found: DescriptionCheck) -> str:
    """What is wrong with the description, and what is right instead."""
    return "\n".join([headline_of_check(found), *wrapped(_of_check(found))])


def headline_of_check(found: DescriptionCheck) -> str:
    """The model, and the faults."""
    why = ", ".join(found.faults) or "right"
    return f"description of {found.model}: {why.upper() if found.right else why}"


def _of_check(found: DescriptionCheck) -> Iterator[str]:
    for one in found.inputs:
        yield from _of_input(one)
    for out in found.outputs:
        yield from _of_output(out)
    for fault in found.faults:
        yield f"{fault}: {fault.plain}; {fault.remedy}"
    if DescriptionFault.ANY_HALO in found.faults and found.layers:
        yield f"no halo is enough because of {', '.join(found.layers)}"
    yield f"the halo was looked at on {each(found.sizes)} pixels"
    yield from (f"note: {note}" for note in found.notes)


def _of_input(one: CheckedInput) -> Iterator[str]:
    where = f"{one.tensor}.{one.axis}"
    if one.refused:
        sizes = ", ".join(map(str, one.refused[:SHOWN]))
        yield f"{where}: the model does not take {sizes}"
    if DescriptionFault.GRID in one.faults:
        step = "" if one.step is None else f", sizes are {one.step} apart"
        yield (
            f"{where}: the first block begins at {one.begin}, and others {one.blocks} pixels from"
            f" each other{step}: not all are multiples of {one.period}"
        )


def _of_output(out: CheckedOutput) -> Iterator[str]:
    where = f"{out.tensor}.{out.axis}"
    if DescriptionFault.SIZES in out.faults:
        at = "" if out.pixels is None else f" at {out.pixels} pixels of the input"
        right = ""
        if out.scale is not None:
            right = f": scale {describe(out.scale)} of the input, offset {describe(out.offset)}"
        yield f"{where}: {out.declared} samples are declared{at}, it has {out.size}{right}"
    if DescriptionFault.HALO in out.faults and out.needed is not None:
        yield (
            f"{where}: halo {out.halo} is too small by {out.missing}: {out.needed[0]} samples are"
            f" wrong at the beginning of a block and {out.needed[1]} at its end; {out.enough} does"
        )
    elif out.needed is not None and out.halo:
        yield f"{where}: halo {out.halo} is enough, of {count(max(out.needed), 'sample')} needed"


def contents_of_check(found: DescriptionCheck) -> Contents:
    """What a page or a notebook shows."""
    columns: dict[str, Callable[[CheckedOutput], str]] = {
        "output": lambda out: f"{out.tensor}.{out.axis}",
        "halo": lambda out: str(out.halo),
        "needed": lambda out: "-" if out.needed is None else f"{out.needed[0]}, {out.needed[1]}",
        "enough": lambda out: "-" if out.enough is None else str(out.enough),
        "faults": lambda out: ", ".join(out.faults),
    }
    return Contents(
        headline=headline_of_check(found),
        verdict="right" if found.right else "wrong",
        sentences=tuple(_of_check(found)),
        sheets=(Sheet.of("Outputs", found.outputs, columns),),
    )
