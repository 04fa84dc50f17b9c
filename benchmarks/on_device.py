"""What the checks take on an accelerator, in milliseconds beside the bare forward of their batch.

There the forward of a small batch takes less than the steps of Python that lead to it, so a ratio
says little: what counts is how long one waits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.cases import CASES
from benchmarks.measure import seconds


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    table = Table("network", "bare, ms", "assertion, ms", "report, ms", title=options.device)
    for make in CASES.values():
        case = make().to(options.device)
        row = [case.name]
        for work in (case.bare, case.asserted, case.reported):
            work()
            took = median(seconds(work) for _ in range(options.rounds))
            row.append(f"{1000 * took:.1f}")
        table.add_row(*row)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
