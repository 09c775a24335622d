"""A pytest plugin for mutation runs. Hypothesis draws the same values each time, and stops at a failure:
survivors are compared with a list, so a mutant must not be killed by luck today and survive tomorrow.

The first failure ends a run, so the tests that killed other mutants of the same function come first.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None,
    phases=(Phase.explicit, Phase.generate), suppress_health_check=tuple(HealthCheck))
settings.load_profile("mutation")


def _killers() -> Path | None:
    """Where the names of tests that killed mutants of this function stand; None: no mutant is tested."""
    function, mutant, _ = os.environ.get("MUTANT_UNDER_TEST", "").partition("__mutmut_")
    return Path("killers", function) if mutant else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    path = _killers()
    if path is not None and path.exists():
        counts = Counter(path.read_text().split("\n"))
        items.sort(key=lambda item: -counts[item.nodeid])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    path = _killers()
    if path is not None and report.failed:
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(report.nodeid + "\n")
