"""What tells one evaluation from another: the model, the question, the data, and the versions."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from shiftcheck.checks.evaluation.asked import Asked
from shiftcheck.checks.evaluation.batches import Data
from shiftcheck.checks.tiles.fingerprint import fingerprint
from shiftcheck.tracing.modules import modules_of


def keys_of(asked: Asked, data: Data, select: Any) -> Mapping[str, str]:
    """The same texts for the same evaluation, each about one thing, which the name says."""
    numbers = data.numbers
    chosen = None if numbers is None or isinstance(numbers, range) else list(numbers)
    code = [*_code_of(asked.model), *(c for m in modules_of(asked.model) for c in _code_of(m))]
    told = {
        "weights or modules of the model": fingerprint(asked.model),
        "code of the model": "\n".join(code),
        "question": repr(asked.told()) + repr(select if _is_plain(select) else _code_of(select)),
        "length or choice of the data": repr((data.length, chosen)),
        "batch size": repr(data.batch_size),
        "versions of torch, numpy or this record": f"{torch.__version__} {np.__version__} {SCHEMA}",
    }
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in told.items()}


SCHEMA = 1
"""Goes up where what is kept means something else than before."""


def one_key(keys: Mapping[str, str]) -> str:
    """All of it as one text."""
    return hashlib.sha256("".join(keys.values()).encode()).hexdigest()


def _is_plain(select: Any) -> bool:
    return select is None or isinstance(select, str | int)


def _code_of(called: Any) -> list[str]:
    """What Python runs for a function, or for the forward of a module; or what TorchScript runs."""
    if isinstance(called, torch.jit.ScriptModule):
        return [str(getattr(called, "inlined_graph", ""))]
    function = type(called).forward if isinstance(called, torch.nn.Module) else called
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return [] if code is None else list(_told(code))


def _told(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _told(constant)
        else:
            yield repr(constant)
