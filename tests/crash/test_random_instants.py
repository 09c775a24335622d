"""SIGKILL at instants that nobody chose, while several callers do all sorts of things at once.

Every act that was acknowledged is in the journal as committed, and the invariants of any crash hold
(failpoint.stage). The same while the disk of the journal is full, and when a sync of it has failed. 4
instants of each; 300 with VORDR_SOAK.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest
from failpoint import faults, soundness
from failpoint.choice import SOAK
from failpoint.mortal import clear
from failpoint.stage import Stage, Told, stage

from vordr.formats.typed import convert
from vordr.model.records import Act, ActStatus, act_key

INSTANTS = 300 if SOAK else 4
LIVES = 10 if SOAK else 4
LONGEST = 0.6
FAULTS = ("none", *faults.FAULTS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(faults.build(tmp_path_factory.mktemp("faultfs"))) as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("first", range(0, INSTANTS, LIVES))
def test_a_crash_at_any_instant_loses_nothing_that_was_acknowledged(
    world: Stage, first: int, fault: str
) -> None:
    promised: list[str] = []
    stopped = 0
    for seed in range(first, first + LIVES):
        told = _life(world, seed, fault)
        promised += told.all("promised")
        stopped += told.has("stopped")
        with world.engine() as engine:
            soundness.settle(engine)
            assert [r.left for r in engine.recovered if r.left] == []
            for txn in told.all("promised"):
                act = convert(engine.host.journal.get(act_key(txn)), Act)
                assert act.status is ActStatus.COMMITTED, (seed, act)
            clear(engine)  # restart policies end here, so that the journal can be seen to rest
        world.assert_sound()
    assert promised
    assert bool(stopped) is (fault != "none"), f"in {stopped} lives the journal stopped"
    world.assert_audit()


def _life(world: Stage, seed: int, fault: str) -> Told:
    """Under load until the instant, with the disk of its journal failing before, or not."""
    failing = {} if fault == "none" else {"fault": fault, "within": LONGEST / 2}
    pid = world.begin(do="load", seed=seed, **failing)
    soundness.eventually(
        lambda: soundness.started(pid) is None or (world.report.exists() and world.report.stat().st_size),
        lambda: "nothing acknowledged")
    if soundness.started(pid) is not None:
        time.sleep(random.Random(f"instant {seed}").uniform(0, LONGEST))  # an instant that no event names
        os.kill(pid, signal.SIGKILL)
    told = world.ended()
    assert told.signal == signal.SIGKILL
    return told
