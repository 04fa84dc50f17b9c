"""What may be done about an error of the model: the change of the input with which it runs.

Each change is tried, on shapes alone, and only one that lets the model run is told. So a hint about
another size comes where sizes are the matter.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from shiftcheck.measuring.attempts import Attempt, attempt
from shiftcheck.measuring.call import call, faked, home_of
from shiftcheck.measuring.model_errors import GRADIENTS, RaisedError
from shiftcheck.measuring.other_sizes import SizesTried, needed_sizes, size_that_runs
from shiftcheck.measuring.plan import Plan
from shiftcheck.measuring.signals.arguments import Inputs
from shiftcheck.tracing.black_box import BlackBox
from shiftcheck.tracing.modules import modules_of
from shiftcheck.tracing.restoring.state import preserved
from shiftcheck.tracing.torch_internals import NOT_KNOWN_WITHOUT_VALUES, fake_mode
from shiftcheck.tracing.without_values import quiet


def remedy(error: RaisedError) -> str:
    """A sentence about what to give instead; empty where nothing was found that helps."""
    plan, cause = error.plan, error.__cause__
    if any(words in str(cause) for words in GRADIENTS):
        return (
            "The check runs without gradients: a forward that needs them has to ask for them,"
            " inside torch.enable_grad()"
        )
    if isinstance(cause, TypeError) and (sentence := _other_arguments(plan)):
        return sentence
    if isinstance(plan.model, BlackBox):
        return ""
    here = attempt(plan, plan.inputs)
    if isinstance(here.error, NOT_KNOWN_WITHOUT_VALUES):
        return ""
    if here.runs:  # as with a type for which torch has no kernel
        return _other_type(plan, values=True)
    if sentence := _other_container(plan):
        return sentence
    if here.call is None:  # its own words say what they are about, unless it is the shape
        told = _other_size(error, here)
        return told or (_other_dimensions(plan) if ABOUT_DIMENSIONS.search(str(cause)) else "")
    for other in (_other_type, _other_channels):
        if sentence := other(plan):
            return sentence
    return _other_size(error, here) or _other_dimensions(plan)


ABOUT_DIMENSIONS = re.compile(r"\d-?[dD]\b|\b[Dd]im(ension)?s?\b|\brank\b")
"""What the words of a model that looks at its input itself may say of its dimensions."""


def _other_arguments(plan: Plan) -> str:
    """Where the model cannot be called with so many arguments."""
    model = plan.model
    called = model.forward if isinstance(model, torch.nn.Module) else model
    args, kwargs = plan.inputs.call(list(plan.inputs.leaves))
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return _what_it_takes(called, signature, len(args) + len(kwargs))
    return ""


def _what_it_takes(called: object, signature: inspect.Signature, given: int) -> str:
    names = [str(p).partition(":")[0] for p in signature.parameters.values()]
    by_position = [
        p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, POSITIONAL)
    ]
    name = str(getattr(called, "__name__", type(called).__name__))
    if not by_position:
        call_of_it = "" if name == "<lambda>" else f", {name}()"
        return f"{name} takes no input: if it makes the model, give what it makes{call_of_it}"
    if names[0] == "self" and inspect.isfunction(called):
        owner = called.__qualname__.rpartition(".")[0].rpartition(".")[2]
        return f"It belongs to a class: give an instance, such as {owner}(...)"
    return (
        f"The model takes ({', '.join(names)}), and x is {given} of them: give a tuple with one"
        " entry for each, or a dict by name"
    )


POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _with(plan: Plan, shape: Sequence[int], dtype: torch.dtype | None = None) -> Inputs:
    """The inputs of a plan, the main one of another shape or type and without values."""
    like = plan.inputs.main.tensor.dtype if dtype is None else dtype
    return plan.inputs.with_main(torch.empty(tuple(shape), dtype=like, device="meta"))


NAMES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "half",
    torch.bfloat16: "bfloat16",
    torch.int64: "long",
}
"""The methods by which a tensor is given another type."""


def _other_container(plan: Plan) -> str:
    inputs = plan.inputs
    if inputs.kind != "single" or not isinstance(inputs.structure, list):
        return ""
    if not attempt(plan, replace(inputs, kind="tuple")).runs:
        return ""
    return "x is a list, which is one argument: the model runs with tuple(x), one for each entry"


def _other_type(plan: Plan, *, values: bool = False) -> str:
    x = plan.inputs.main.tensor
    parameters = [p for m in modules_of(plan.model) for p in m.parameters(False)]
    likely = [p.dtype for p in parameters if p.is_floating_point()][:1]
    for dtype in dict.fromkeys([*likely, torch.float32, torch.int64]):
        if dtype == x.dtype or dtype not in NAMES:
            continue
        as_type = plan.inputs.with_main(x.to(dtype)) if values else _with(plan, x.shape, dtype)
        if attempt(plan, as_type, values=values).runs:
            return f"x has dtype {x.dtype}: the model runs with x.{NAMES[dtype]}()"
    return ""


def _other_channels(plan: Plan) -> str:
    x, spatial = plan.inputs.main.tensor, plan.inputs.main.spatial
    places = [d for d in range(1, x.ndim) if d not in spatial]
    if len(places) != 1:
        return ""
    named = ("in_channels", "num_features", "num_channels", "in_features")
    counts = [getattr(m, name, None) for m in modules_of(plan.model) for name in named]
    first = [n for n in counts if isinstance(n, int)][:1]
    for count in dict.fromkeys([*first, 3, 1, 4, 2]):
        shape = list(x.shape)
        shape[places[0]] = count
        if shape != list(x.shape) and attempt(plan, _with(plan, shape)).runs:
            has = x.shape[places[0]]
            channels = f"{has} channel{'s' * (has != 1)}"
            return f"x has {channels} in dimension {places[0]}: the model runs with {count}"
    return ""


def _other_dimensions(plan: Plan) -> str:
    shape = tuple(plan.inputs.main.tensor.shape)
    ways = (
        ("x[None]", (1, *shape), "a batch dimension in front"),
        ("x[:, None]", (shape[0], 1, *shape[1:]), "a channel dimension after the batch"),
        ("x.flatten(2)", (*shape[:2], torch.Size(shape[2:]).numel()), "one spatial axis"),
        ("x[:, :, None]", (*shape[:2], 1, *shape[2:]), "one spatial axis more"),
    )
    for written, other, words in ways:
        if other != shape and attempt(plan, _with(plan, other)).runs:
            return f"x has shape {shape}: the model runs with {words}, {written}"
    return ""


def _other_size(error: RaisedError, here: Attempt) -> str:
    """A size at which the model runs, what it needs, and the layer before which to stop."""
    tried = SizesTried(error.plan, here)
    taken = size_that_runs(tried)
    if taken is None:
        return ""
    before = _last_layer(error)
    ways = []
    if taken:
        ways.append(f"the model runs on an input of {' x '.join(map(str, taken))}")
    elif here.call is not None:
        ways.append("the model needs an input of another size")
    if before and ways:
        ways.append(f"what comes before the error is checked with layer={before!r}")
    told = "; ".join(ways)
    told = told[:1].upper() + told[1:]
    needed = needed_sizes(tried, taken) if taken else ""
    return f"{told}. {needed}" if needed else told


def _last_layer(error: RaisedError) -> str:
    """The last layer that ran before the model raised."""
    rows = list(error.rows)
    plan, fake = error.plan, fake_mode()
    if rows:
        return rows[-1].name
    home = home_of(plan.model)
    with preserved(
        modules_of(plan.model), plan.inputs.tensors, training=plan.training, model=plan.model
    ) as originals:
        try:
            with plan.inputs.without_gradients(), fake, quiet():
                values = [faked(leaf, fake, home) for leaf in plan.inputs.leaves]
                call(
                    plan,
                    values,
                    copies=1,
                    originals=originals,
                    on_row=lambda row, _: rows.append(row),
                )
        except Exception:  # it is known that it raises
            pass
    return rows[-1].name if rows else ""
