"""What starting up costs: in fresh processes, the package after torch, a first check and a second.

Seconds of CPU time, the median of several processes, as a table and as JSON lines. Bytecode is
written to a folder of its own before anything is measured, as an installed package has it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.heap import usual

PROGRAM = """
import json, sys, time
import torch
from torch import nn

def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start

def package():
    import shiftcheck

    assert shiftcheck.__version__

took = {"import": seconds(package)}
import shiftcheck

def check():
    shiftcheck.assert_equivariant(nn.Conv2d(1, 1, 3), torch.randn(1, 1, 9, 9))

took["first check"] = seconds(check)
took["second check"] = seconds(check)
took["imports the compiler"] = float("torch._dynamo" in sys.modules)
print(json.dumps(took))
"""


def measured(environment: dict[str, str]) -> dict[str, float]:
    """What one process says of itself."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return took


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="how many are measured")
    wanted = parser.parse_args().processes
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**usual(), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        measured(environment)
        runs = [measured(environment) for _ in range(wanted)]
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:22} {median(values):8.4f}   {min(values):8.4f} to {max(values):.4f}")
    for name in runs[0]:
        print(json.dumps({"what": name, "median": median([run[name] for run in runs])}))


if __name__ == "__main__":
    main()
