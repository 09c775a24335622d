"""Whoever plays on a stage may be killed: nothing of it stays on the host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from failpoint import soundness

from vordr.model.paths import Paths

CRASH = Path(__file__).resolve().parent
# A stage with its witnesses, and a life under way on it that would never end.
_PLAYS = f"""
import sys
sys.path[:0] = [{str(CRASH.parent)!r}, {str(CRASH)!r}]
from failpoint.stage import stage
with stage() as made:
    made.begin(do="load", seed=1)
    print(made.home, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_whose_test_is_killed_is_taken_away(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PLAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as test:
        assert test.stdout is not None
        home = Path(test.stdout.readline().strip())
        assert home.name.startswith("vordr-crash-") and home.is_dir(), "no stage was made"
        os.killpg(test.pid, how)
    soundness.eventually(lambda: not home.exists(), lambda: f"{home} is still there")
    run = Paths.of(home / "root").run
    soundness.eventually(lambda: not run.exists(), lambda: f"{run} is still there: {list(run.rglob('*'))}")
    assert [line for line in Path("/proc/mounts").read_text().splitlines() if str(run) in line] == []


@pytest.mark.parametrize(("caught", "asked"), [
    ("0000000000014002", True),  # the shell with its trap
    ("0000000000000000", False),  # the shell before it
    ("fffffffd7fc1feff", False)])  # the runtime, about to become the shell
def test_a_process_is_asked_to_end_only_when_it_is_the_program_and_has_its_trap(
    caught: str, asked: bool
) -> None:
    assert soundness.catches_term(f"Name:\tsh\nSigIgn:\t0\nSigCgt:\t{caught}\n") is asked
