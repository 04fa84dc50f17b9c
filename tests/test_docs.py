"""Every block of Python in README.md and docs/ runs, and prints what the page shows."""

from __future__ import annotations

import contextlib
import io
import operator
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import shiftcheck
import shiftcheck.strategies
from shiftcheck.report import CauseKind, Reason
from shiftcheck.rules import registry

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent>\s*)(?P<marks>`{3,}|~{3,})(?P<info>.*)$")
KINDS = ("python", "text", "sh", "json", "toml")
COLONS = re.compile(r"^\s*:{3,}")
DIRECTIVES = (":::", ":::{toctree}")
TYPED = ("README.md", "quickstart.md", "mending.md")
"""Pages that show what commands print: tests/users/test_as_typed.py types them."""
WITHOUT_CODE = ("calls.md", "gallery.md", "releasing.md", "versions.md")


class PageError(AssertionError):
    """A page shows something that is not so; the message starts with its name and line."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its kind, the line of its first fence, and what stands before it."""

    kind: str
    line: int
    text: str
    adjoins: bool


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page; ``adjoins``: only blank lines since the block before."""
    found: list[Block] = []
    opened: tuple[str, int] | None = None
    inside: list[str] = []
    adjoins = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if opened is not None and line.rstrip() == "```":
            text = "".join(f"{entry}\n" for entry in inside)
            found.append(Block(kind=opened[0], line=opened[1], text=text, adjoins=adjoins))
            opened, inside, adjoins = None, [], True
        elif opened is not None:
            inside.append(line)
        elif fence:
            if fence["indent"] or fence["marks"] != "```" or fence["info"] not in KINDS:
                raise PageError(f"{page.name}:{number}: no block may open with {line!r}")
            opened = fence["info"], number
        elif COLONS.match(line) and line.rstrip() not in DIRECTIVES:
            raise PageError(f"{page.name}:{number}: no directive may open with {line!r}")
        elif line.strip():
            adjoins = False
    if opened is not None:
        raise PageError(f"{page.name}:{opened[1]}: the block is never closed")
    return found


def named(block: Block) -> str | None:
    """The file that a block of code is to be saved as, which its first line tells."""
    found = re.match(r"# (\w+\.py)\n", block.text)
    return found[1] if found else None


def run_page(page: Path) -> int:
    """Run the Python of a page in one namespace; returns how many blocks there were.

    Raises PageError where a block raises or prints something else than the text block below it.
    """
    blocks = blocks_of(page)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    before = ""
    for block in blocks:
        typed = before == "sh" and block.adjoins and page.name in TYPED
        before = block.kind
        if block.kind == "python":
            printed = _run(page, block, namespace)
        elif block.kind == "text" and not typed:
            if printed is None or not block.adjoins:
                raise PageError(f"{page.name}:{block.line}: output of no block of Python")
            if block.text != printed:
                raise PageError(
                    f"{page.name}:{block.line}: the page shows\n{block.text}\nbut the block above"
                    f" prints\n{printed}"
                )
            printed = None
        else:
            printed = None
    return sum(block.kind == "python" for block in blocks)


def _run(page: Path, block: Block, namespace: dict[str, Any]) -> str:
    source = "\n" * block.line + block.text  # so that line numbers are those of the page
    file = named(block)
    if file is not None:
        Path(file).write_text(block.text, encoding="utf-8")
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(source, str(page), "exec"), namespace)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(page)]
        line = lines[-1] if lines else getattr(error, "lineno", None) or block.line
        raise PageError(f"{page.name}:{line}: {type(error).__name__}: {error}") from error
    return out.getvalue()


@pytest.fixture
def _undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files, modules, rules and random numbers of a page stay its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules, rules = set(sys.modules), dict(registry._table)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]
    registry._table.clear()
    registry._table.update(rules)


@pytest.mark.usefixtures("_undisturbed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path) -> None:
    if page.name == "training.md":
        pytest.importorskip("torchmetrics")
    assert (run_page(page) > 0) == (page.name not in WITHOUT_CODE)


def test_the_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_has_no_links_that_break_where_it_is_shown_alone() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)|^\[[^]]+\]:\s*(\S+)", text, re.MULTILINE)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert all((ROOT / picture).exists() for picture in pictures)
    for target in {"".join(t) for t in targets} - set(pictures):
        assert re.match(r"https://|#", target), f"README.md links to {target}"


def test_every_cause_has_a_section() -> None:
    page = (ROOT / "docs" / "causes.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## ([A-Z_]+)$", page, re.MULTILINE))
    assert sections == set(CauseKind) - {CauseKind.UNEXPLAINED, CauseKind.ALIASING}
    shown = set(re.findall(r": ([A-Z_]+) in layer '", page))
    assert shown == sections


def test_every_cause_is_named() -> None:
    page = (ROOT / "docs" / "causes.md").read_text(encoding="utf-8")
    assert [kind for kind in CauseKind if not re.search(rf"\b{kind}\b", page)] == []


def test_the_page_of_calls_names_what_there_is() -> None:
    page = (ROOT / "docs" / "calls.md").read_text(encoding="utf-8")
    calls = re.findall(r"\bshiftcheck\.([a-z_.]+)\(?", page)
    assert len(calls) > 12
    for call in calls:
        assert operator.attrgetter(call)(shiftcheck), call


def test_the_quick_start_is_quick() -> None:
    words = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8").split()
    assert len(words) < 1000


def test_the_page_on_invariance_lists_every_reason() -> None:
    page = (ROOT / "docs" / "invariance.md").read_text(encoding="utf-8")
    reasons = [reason for reason in Reason if reason.hints.invariance is not None]
    assert len(reasons) == 21
    for reason in reasons:
        assert f"`{reason}`" in page


FINE = """\
# Page

```python
a = 1
print(a)
```

```text
1
```

and

```python
assert a == 1
```
"""


def _page(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_a_page_that_is_right(tmp_path: Path) -> None:
    assert run_page(_page(tmp_path, FINE)) == 2


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("\n1\n", "\n2\n", r"page\.md:8: the page shows"),
        ("\n1\n", "\n1 \n", r"page\.md:8: the page shows"),
        ("\n1\n", "\n", r"page\.md:8: the page shows"),
        ("assert a == 1", "\nassert a == 2", r"page\.md:16: AssertionError"),
        ("assert a == 1", "assert a ==", r"page\.md:15: SyntaxError"),
        ("```\n\n```text", "```\n\nprints\n\n```text", r"page\.md:10: output of no block"),
        ("```python\na", "```python no-run\na", r"page\.md:3: no block may open"),
        ("```python\na", "```py\na", r"page\.md:3: no block may open"),
        ("```python\na", "  ```python\na", r"page\.md:3: no block may open"),
        ("```python\na", "~~~python\na", r"page\.md:3: no block may open"),
        ("== 1\n```\n", "== 1\n", r"page\.md:14: the block is never closed"),
        ("```python\na", "```sh\na", r"page\.md:8: output of no block"),
        ("and", ":::{code-block} python\n1 / 0\n:::", r"page\.md:12: no directive may open"),
    ],
)
def test_a_page_that_is_wrong(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    assert right in FINE
    with pytest.raises(PageError, match=message):
        run_page(_page(tmp_path, FINE.replace(right, wrong, 1)))
