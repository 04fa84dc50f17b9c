"""What is stored of other people's networks is all that the script runs."""

from __future__ import annotations

import importlib
import json

suites = importlib.import_module("benchmarks.suites")
STORED = json.loads(suites.RESULTS.read_text(encoding="utf-8"))


def test_every_network_has_a_verdict() -> None:
    names = [f"{package} {name}" for package, cases in suites.CASES.items() for name in cases]
    assert sorted(STORED["networks"]) == sorted(names)
    verdicts = [network["verdict"] for network in STORED["networks"].values()]
    assert set(verdicts) == {"equivariant", "broken", "inconclusive"}
    assert all(("guilty" in n) and n["shape"] for n in STORED["networks"].values())


def test_the_versions_are_stored() -> None:
    assert {"torch", "timm", "monai", "transformers", "diffusers"} <= set(STORED["versions"])


def test_a_verdict_that_changed_is_told() -> None:
    kept = STORED["networks"]["monai HighResNet"]
    assert suites.difference("monai", "HighResNet", kept, kept) == ""
    changed = kept | {"verdict": "broken"}
    told = suites.difference("monai", "HighResNet", changed, kept)
    assert told == "verdict: broken, stored equivariant"
    assert suites.difference("monai", "HighResNet", kept, None) == "is not stored"
