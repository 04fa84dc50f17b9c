"""Running what is compiled as it was before it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from shiftcheck.tracing.eager import eagerly


@contextmanager
def not_compiled() -> Iterator[None]:
    """Run compiled parts of a model as they were before, and without a word about hooks."""
    with warnings.catch_warnings(), eagerly():
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are")
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        yield
