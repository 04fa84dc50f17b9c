"""What is imported, and when: each question is put to a process of its own."""

from __future__ import annotations

import ast
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import shiftcheck

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    "OMP_NUM_THREADS": "1",
}

COMPILING = ("torch._dynamo", "torch.export", "sympy")

NOT_FOR_A_CHECK = (
    "shiftcheck.checks.figures",
    "shiftcheck.checks.invariance",
    "shiftcheck.checks.linearity",
    "shiftcheck.metrics",
    "shiftcheck.models",
    "shiftcheck.plot",
    "shiftcheck.report.render",
    "shiftcheck.strategies",
    "hypothesis",
    "jinja2",
    "matplotlib",
    "pytest",
    "rich",
    "torchmetrics",
)
"""What only another question needs, or a report that is shown."""


def in_another_process(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def modules_after(code: str) -> set[str]:
    """The modules that are there in the end of a program."""
    names = "import json, sys\nprint(json.dumps(sorted(sys.modules)))"
    return set(json.loads(in_another_process(f"{code}\n{names}").splitlines()[-1]))


def of(packages: tuple[str, ...], modules: set[str]) -> list[str]:
    dotted = tuple(f"{package}." for package in packages)
    return sorted(m for m in modules if m in packages or m.startswith(dotted))


@pytest.fixture(scope="module")
def of_torch() -> set[str]:
    return modules_after("import torch")


def test_importing_the_package_imports_nothing_else(of_torch: set[str]) -> None:
    there = modules_after("import torch, shiftcheck\nshiftcheck.__version__") - of_torch
    assert of(("shiftcheck", "numpy", "torch", *NOT_FOR_A_CHECK), there) == ["shiftcheck"]
    assert not of(COMPILING, there)


def test_first_checks_import_no_compiler_and_nothing_that_shows_reports(of_torch: set[str]) -> None:
    there = modules_after(
        """
import torch, shiftcheck
from shiftcheck import Verdict
from torch import nn

net = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.AvgPool2d(2, 1),
    nn.ConvTranspose2d(4, 2, 2), nn.InstanceNorm2d(2),
).eval()
x = torch.randn(1, 1, 16, 16)
shiftcheck.assert_equivariant(net[:6], x)
for model, verdict in (
    (net[:6], Verdict.EQUIVARIANT),
    (net, Verdict.INCONCLUSIVE),
    (nn.Sequential(nn.AvgPool2d(2), nn.ConvTranspose2d(1, 1, 2, 2)), Verdict.BROKEN),
):
    report = shiftcheck.check_equivariance(model, x)
    assert report.verdict is verdict, report.reason
"""
    )
    assert not of(COMPILING, there - of_torch)
    assert not of(NOT_FOR_A_CHECK, there - of_torch)


LATE = """
import sys
import torch, shiftcheck

compiled, finders = [], list(sys.meta_path)

def backend(graph, inputs):
    compiled.append(graph)
    return graph.forward

def smooth(x):
    return torch.nn.functional.avg_pool1d(x, 3, 1)

class Late(torch.nn.Module):
    f = None

    def forward(self, x):
        self.f = self.f or torch.compile(smooth, backend=backend, fullgraph=True)
        return self.f(x)

model, x = Late(), torch.randn(1, 1, 24)
assert "torch._dynamo" not in sys.modules
report = shiftcheck.check_equivariance(model, x)
assert report.verdict is shiftcheck.Verdict.EQUIVARIANT, report
assert "torch._dynamo" in sys.modules
assert not compiled, "it was compiled within the check"

again = shiftcheck.check_equivariance(model, x)
assert again.verdict is report.verdict
assert [(o.name, o.stride, o.halo) for o in again.layers] == [
    (o.name, o.stride, o.halo) for o in report.layers
]
assert not compiled

import importlib.machinery
import torch._dynamo

assert isinstance(torch._dynamo.__loader__, importlib.machinery.SourceFileLoader)
assert torch._dynamo.__spec__.loader is torch._dynamo.__loader__
assert sys.meta_path == finders
assert torch._dynamo.eval_frame._stance.stance == "default"
model(x)
assert len(compiled) == 1, "it is compiled after the check"
"""


def test_a_model_that_compiles_for_the_first_time_on_its_way_is_not_compiled() -> None:
    in_another_process(LATE)


def test_an_unpickled_report_can_be_shown(tmp_path: Path) -> None:
    report = shiftcheck.check_equivariance(torch.nn.Conv1d(1, 1, 3), torch.randn(1, 1, 16))
    (tmp_path / "report").write_bytes(pickle.dumps(report))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))"
    assert in_another_process(code, str(tmp_path / "report")).strip() == str(report).strip()


def test_all_public_names_and_modules_are_there_and_listed() -> None:
    code = """
import gc
import shiftcheck

for collects in (False, True):
    (gc.enable if collects else gc.disable)()
    assert callable(shiftcheck.shift if collects else shiftcheck.geometry)
    assert gc.isenabled() is collects
for name in ("datasets", "models", "report", "rules", "checks", "testing", "errors"):
    assert getattr(shiftcheck, name).__name__ == f"shiftcheck.{name}"
listed = dir(shiftcheck)
assert not set(shiftcheck.__all__) - set(listed)
for name in listed:
    getattr(shiftcheck, name)
namespace = {}
exec("from shiftcheck import *", namespace)
assert not set(shiftcheck.__all__) - set(namespace)
"""
    in_another_process(code)


def test_type_checkers_see_the_names_where_they_are() -> None:
    assert shiftcheck.__file__ is not None
    tree = ast.parse(Path(shiftcheck.__file__).read_text(encoding="utf-8"))
    seen, _hidden = (n for n in tree.body if isinstance(n, ast.If))
    homes, modules = {}, set()
    for node in seen.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            if node.module == "shiftcheck":
                modules.add(alias.name)
            else:
                homes[alias.name] = f"{node.module}".removeprefix("shiftcheck.")
    assert homes == shiftcheck._HOMES
    assert modules <= set(shiftcheck._MODULES)
    assert set(shiftcheck.__all__) <= {*homes, *modules}
