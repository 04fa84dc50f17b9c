"""Imports only go down floors, packages hold no circles, and what must stay apart stays apart."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import shiftcheck
from shiftcheck import rules

FLOORS = (
    {"errors"},
    {"report"},
    {"lattice"},
    {"rules"},
    {"tracing"},
    {"measuring"},
    {"checks"},
    {"testing", "strategies", "plot", "metrics", "models"},
    {"datasets", "demo"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
"""From the ground up; a name imports from names on lower floors only."""

INTERNALS = "tracing.torch_internals"
"""The one module that may use what torch calls private."""

WITHOUT_TORCH = ("report", "lattice")


@cache
def package() -> Path:
    spec = find_spec("shiftcheck")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def name_of(path: Path) -> str:
    parts = path.relative_to(package()).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(package().rglob("*.py"))}


def for_each(modules: Iterable[str]) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """A test of one module, run for these as one test for each package: a test has its price."""
    inside_of: dict[str, list[str]] = {}
    for module in modules:
        inside_of.setdefault(module.rpartition(".")[0] or "at the top", []).append(module)

    def decorated(test: Callable[[str], None]) -> Callable[[str], None]:
        @pytest.mark.parametrize("parent", inside_of)
        def run(parent: str) -> None:
            for module in inside_of[parent]:
                test(module)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorated


def test_a_test_for_each_module_meets_all_of_them() -> None:
    met: list[str] = []
    run: Any = for_each(MODULES)(met.append)
    for parent in run.pytestmark[0].args[1]:
        run(parent)
    assert sorted(met) == sorted(MODULES)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports_of(module: str) -> Iterator[str]:
    """Everything that a module imports, wherever in it, with its dots."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(imported: str) -> str | None:
    """The module of the package that an import leads to."""
    if imported.split(".")[0] != "shiftcheck":
        return None
    name = imported.removeprefix("shiftcheck").removeprefix(".")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "__init__"


@cache
def needs(module: str) -> frozenset[str]:
    """The modules of the package that a module imports itself."""
    return frozenset(m for name in imports_of(module) if (m := inside(name)) and m != module)


def floor_of(module: str) -> int:
    top = module.split(".")[0]
    (floor,) = (i for i, names in enumerate(FLOORS) if top in names)
    return floor


@for_each(MODULES)
def test_imports_go_down_only(module: str) -> None:
    own = module.split(".")[0]
    for other in needs(module):
        lower = floor_of(other) < floor_of(module)
        assert lower or other.split(".")[0] == own, f"{module} imports {other}, no floor below"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


PACKAGES = sorted({name.rpartition(".")[0] for name in MODULES if "." in name})


def test_modules_import_each_other_in_no_circle() -> None:
    assert not circle({module: set(needs(module)) for module in MODULES})


@pytest.mark.parametrize("parent", PACKAGES)
def test_no_circle_inside_a_package(parent: str) -> None:
    """A package in it counts as one, whatever it holds."""

    def part(module: str) -> str:
        return module.removeprefix(f"{parent}.").split(".")[0]

    graph: dict[str, set[str]] = {}
    own = [m for m in MODULES if m.startswith(f"{parent}.")]
    for module in own:
        others = {part(o) for o in needs(module) if o in own}
        graph.setdefault(part(module), set()).update(others - {part(module)})
    assert not circle(graph)


@for_each(m for m in MODULES if m.split(".")[0] in WITHOUT_TORCH or m == "errors")
def test_no_tensor_is_seen(module: str) -> None:
    """Neither here nor in anything that is imported from here."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        seen.add(name)
        assert not any(i.split(".")[0] == "torch" for i in imports_of(name)), name
        todo += needs(name) - seen


@for_each(m for m in MODULES if m.startswith("report.render"))
def test_renderers_never_compute(module: str) -> None:
    assert not any(i.split(".")[0] == "numpy" for i in imports_of(module))


def test_no_module_bears_the_name_of_a_public_function() -> None:
    functions = {n for n in shiftcheck.__all__ if callable(getattr(shiftcheck, n))}
    assert functions
    assert not functions & {name.rpartition(".")[2] for name in MODULES}


@cache
def made_here() -> frozenset[str]:
    """Private names that some module of the package gives a meaning of its own."""
    names = set()
    for module in MODULES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return frozenset(names)


ASKING = ("getattr", "hasattr", "setattr", "delattr", "attrgetter")


def foreign_private_names(module: str) -> Iterator[str]:
    """Private attributes, asked for by a dot or by their names, that nothing here defines."""
    for node in ast.walk(tree_of(module)):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ASKING:
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        for name in names:
            private = isinstance(name, str) and name.startswith("_") and name[:2] != "__"
            if private and name not in made_here():
                yield f"{ast.unparse(node)}, line {node.lineno}"
    for name in imports_of(module):
        if any(part.startswith("_") and part[:2] != "__" for part in name.split(".")[1:]):
            local = inside(name) is not None
            if not local:
                yield f"import of {name}"


@for_each(m for m in MODULES if m != INTERNALS)
def test_private_names_of_others_stay_in_one_module(module: str) -> None:
    assert not list(foreign_private_names(module))


def test_the_search_for_private_names_finds_some() -> None:
    assert len(list(foreign_private_names(INTERNALS))) > 10


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


@for_each(m for m in MODULES if m.split(".")[0] != "models")
def test_new_tensors_name_their_device(module: str) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch."):
            made = ast.unparse(node.func).split(".")[-1] in CONSTRUCTORS
            assert not made or any(k.arg == "device" for k in node.keywords), ast.unparse(node)


ROOT = Path(__file__).parents[1]


def test_what_is_listed_as_slow_is_there() -> None:
    defined: dict[str, set[str]] = {}
    for name in (ROOT / "tests" / "slow.txt").read_text("utf-8").splitlines():
        file, _, rest = name.partition("::")
        if file not in defined:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            defined[file] = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        assert rest.partition("[")[0].split("::")[-1] in defined[file], name


def test_mutation_testing_names_files_that_are_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "mutmut"
    ]
    files = settings["only_mutate"] + settings["pytest_add_cli_args_test_selection"]
    assert files
    assert not [file for file in files if not (ROOT / file).exists()]


MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_A_FUNCTION = 40
LONGER = {
    "checks.equivariance.check.check_equivariance",
    "checks.evaluation.check.evaluate",
    "checks.figures.metrics.equivariance_metrics",
    "checks.invariance.check.check_invariance",
    "checks.streams.check.check_streamable",
    "strategies.property_test.equivariant",
    "testing.assertions.assert_equivariant",
    "testing.streams.assert_streamable",
}
"""What users call: nearly all of it is its keywords, once as they are given and once passed on."""


@for_each(MODULES)
def test_files_and_functions_can_be_seen_as_a_whole(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef) and f"{module}.{node.name}" not in LONGER:
            assert node.end_lineno is not None
            told = ast.get_docstring(node, clean=False) or ""
            lines = node.end_lineno - node.lineno + 1 - (len(told.splitlines()) if told else 0)
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"


HOLD_STATE = ("tracing.restoring", "checks.linearity.operator", "strategies.search", "rules.turned")
"""Where records are filled step by step: what is put back, and searches."""


@for_each(m for m in MODULES if not m.startswith(HOLD_STATE))
def test_records_are_frozen(module: str) -> None:
    for node in ast.walk(tree_of(module)):
        for how in getattr(node, "decorator_list", []):
            if ast.unparse(how).startswith("dataclass"):
                assert "frozen=True" in ast.unparse(how), node.name


CHANGING = {"append", "extend", "add", "update", "setdefault", "pop", "clear", "insert", "remove"}
WRITERS = {
    "_keep",  # makes the hook that fills what its caller made
    "_stay",  # a cache of the base
    "_room_for_names",
    "shortened",  # the traceback of an error that is raised again
    "_tensor",  # what a memo has to hold
    "_cell",  # puts back
    "_set_flag",  # puts back
    "exec_module",  # gives a module its own loader back
}
"""Functions that write to an argument, each for the reason beside it."""


def root_of(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def written_by(function: ast.FunctionDef) -> Iterator[str]:
    given = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)} - {"self", "cls"}
    nodes = list(ast.walk(function))
    names = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    given -= {n.id for n in names}
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield from given & {root_of(node)}
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(method, ast.Attribute) and method.attr in CHANGING:
            yield from given & {root_of(method)}


@for_each(MODULES)
def test_no_function_writes_to_its_argument(module: str) -> None:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef) and node.name not in WRITERS:
            assert not list(written_by(node)), node.name


@pytest.mark.parametrize("body", ["a.append(1)", "a.b = 1", "a[0] += 1", "del a.b", "a.b.add(1)"])
def test_the_search_for_writing_functions_finds_one(body: str) -> None:
    (function,) = ast.parse(f"def f(a):\n    {body}").body
    assert isinstance(function, ast.FunctionDef)
    assert list(written_by(function)) == ["a"]


def test_the_earlier_name_of_a_layout_is_found() -> None:
    assert rules.Signal is rules.Layout
