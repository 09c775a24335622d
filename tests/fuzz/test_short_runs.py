"""Each harness: over its seeds as plain functions, and for some thousand inputs under the fuzzer.

``make fuzz`` runs the same harnesses for minutes. Short runs are the same ones each time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harnesses import HARNESSES

DRIVER = Path(__file__).with_name("driver.py")


@pytest.mark.parametrize("name", HARNESSES)
def test_a_harness_holds_for_its_seeds_and_accepts_some_of_them(name: str) -> None:
    """One that refused everything would find nothing."""
    harness = HARNESSES[name]
    seeds = list(harness.seeds())
    assert max(map(len, seeds)) <= harness.longest
    accepted = [harness.run(seed) for seed in seeds]
    assert any(accepted)


@pytest.mark.parametrize("name", HARNESSES)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    """In a process of its own, which libFuzzer ends. It fails where the fuzzer is not installed."""
    runs = HARNESSES[name].runs
    command = [sys.executable, str(DRIVER), name, f"-runs={runs}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    told = done.stderr[-4000:]
    assert done.returncode == 0, told
    assert re.search(rf"Done {runs} runs|DONE", done.stderr), told
