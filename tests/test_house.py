"""Imports only go down floors, and what must stay apart stays apart."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

LAYOUT = {"layout", "windows", "combining", "joining", "frequencies", "splicing"}
FLOORS = {
    0: {"errors", "axis", "records", "report", "invariance_report", "linear_report", "placement"}
    | {"bands", "budget_store", "containers", "choosing", "shares", "subclasses"}
    | {"leaks"},
    1: LAYOUT
    | {
        "shifts",
        "sample_signals",
        "arrangement",
        "regions",
        "compare",
        "differences",
        "rules",
        "inputs",
    }
    | {"resampling", "between", "velocity", "surroundings", "surrogates", "distances"},
    2: {
        "generators",
        "contents",
        "tensors",
        "reach",
        "turns",
        "products",
        "sized_by_values",
        "state",
        "modules",
        "boxes",
        "local_constants",
        "ledger",
        "recipes",
        "laws",
        "draws",
        "handing_over",
        "origins",
        "testimony",
        "ways_out",
        "whole",
        "without_values",
        "probe",
        "fallback",
        "circular",
        "higher_order",
        "trace",
    },
    3: {
        "structure",
        "sizes",
        "outside",
        "progress",
        "job",
        "copies",
        "alone",
        "measurement",
        "local",
        "guilt",
        "verdict",
        "confirm",
        "in_float64",
        "left_out",
        "too_little",
        "results",
    }
    | {"examination", "diagnosis", "randomized", "check"}
    | {"invariance_measurement", "invariance_verdict", "invariance_examination", "invariance"}
    | {"operators", "superposition", "rounding", "linearity"}
    | {"metrics", "lie_derivative", "feature_maps"}
    | {"impulse", "polyphase", "asked", "agreement", "theorem"},
    4: {"testing", "budgets", "layer_tests", "under_pytest", "invariance_testing"}
    | {"accepted_sizes", "strategies", "targets", "input_files", "option_types"}
    | {"linear_assertion", "convolved", "matrix", "plot"}
    | {"render", "models", "datasets", "demo", "moving_digit", "panels"},
    5: {"cli", "__main__", "__init__"},
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}


def _package() -> Path:
    spec = find_spec("shiftcheck")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


MODULES = sorted(p.relative_to(_package()) for p in _package().rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_down_only(module: Path) -> None:
    own = FLOOR_OF[module.parts[0].removesuffix(".py")]
    for name in _imports(_package() / module):
        parts = name.split(".")
        if parts[0] == "shiftcheck" and len(parts) > 1 and parts[1] in FLOOR_OF:
            assert FLOOR_OF[parts[1]] <= own, f"{module} imports {name} from a floor above"


@pytest.mark.parametrize(
    "module",
    ["axis.py", "report.py", "errors.py", "verdict.py", "linear_report.py", "placement.py"],
)
def test_no_tensor_is_seen(module: str) -> None:
    assert not any(name.split(".")[0] == "torch" for name in _imports(_package() / module))


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] == "render"], ids=str)
def test_renderers_never_compute(module: Path) -> None:
    assert not any(n.split(".")[0] in ("torch", "numpy") for n in _imports(_package() / module))


def test_semi_private_names_stay_in_the_trace() -> None:
    for module in MODULES:
        if module.name != "trace.py":
            assert "_python_dispatch" not in (_package() / module).read_text(encoding="utf-8")


CONSTRUCTORS = {
    "arange",
    "as_tensor",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "rand",
    "randint",
}
CONSTRUCTORS |= {"randn", "randperm", "tensor", "zeros", "fftfreq", "rfftfreq"}


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] != "models"], ids=str)
def test_new_tensors_name_their_device(module: Path) -> None:
    tree = ast.parse((_package() / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch."):
            made = ast.unparse(node.func).split(".")[-1] in CONSTRUCTORS
            assert not made or any(k.arg == "device" for k in node.keywords), ast.unparse(node)
