"""A disk that fails: the journal stops for good, nothing acknowledged is lost, no act stays half done.

faultfs.c, preloaded into a process of its own, lets each sync, write or rename of the journal fail in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import failing_disk
import pytest
import whole_engine
from failpoint import faults
from failpoint.choice import SOAK

from vordr.engine.remote import RemoteEngine
from vordr.formats.typed import convert
from vordr.gatekeeper.keys import load_host_key
from vordr.journal.auditor import audit
from vordr.model.errors import JournalStopped, ServiceUnreachable
from vordr.model.operations import REGISTRY
from vordr.model.paths import Paths

PROGRAM = failing_disk.__file__


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faults.build(tmp_path_factory.mktemp("faultfs"))


@pytest.fixture
def failing(library: Path, memory_path: Path) -> dict[str, str]:
    """The environment in which what lies below memory_path is on a failing disk."""
    return faults.environment(library, memory_path)


def run(environment: dict[str, str], *words: object, prefix: tuple[str, ...] = ()) -> list[str]:
    command = [*prefix, sys.executable, PROGRAM, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# Every act with the fault that matters most, every fault of one file with one act; VORDR_SOAK: all with all.
MET = [(fault, act) for fault in failing_disk.FAULTS for act in failing_disk.ACTS
       if fault != "any write" and (
           SOAK or fault == "sync of the log" or (act == "stop" and fault != "any sync"))]


@pytest.mark.parametrize(("fault", "act"), MET)
def test_an_act_on_a_failing_disk_stops_the_journal_and_is_whole_after_a_restart(
    fault: str, act: str, failing: dict[str, str], memory_path: Path
) -> None:
    (failed,) = run(failing, "acts", memory_path, fault, act)
    # An act of one step writes twice: what begins it and the step, then its outcome and the commit; one of
    # two once more at least. One head may cover several commits.
    writes = 3 if act in ("run", "restart", "rm -f") else 2
    assert int(failed) >= (1 if "head" in fault else writes)


@pytest.mark.parametrize("fault", failing_disk.FAULTS)
def test_a_journal_whose_opening_fails_opens_later_with_all_its_records(
    fault: str, failing: dict[str, str], memory_path: Path
) -> None:
    (failed,) = run(failing, "opening", memory_path, fault)
    assert int(failed) >= 1


def test_a_full_disk_does_not_keep_the_journal_from_opening(tmp_path: Path) -> None:
    # A small file system of its own, in a mount namespace that ends with the process.
    small = f'mount -t tmpfs -o size=48m none {tmp_path}; exec "$@"'
    prefix = ("unshare", "-m", "--propagation", "private", "sh", "-ec", small, "sh")
    words = run(dict(os.environ), "full", tmp_path, prefix=prefix)
    assert words == ["begun", "0", "bytes", "free", "opened", "1", "JournalFull", "finished", "2", "True"]


# -- the service ----------------------------------------------------------------------------------------


class Service:
    """The program of failing_disk as a service that is ready; ended by :meth:`ends` or :meth:`stop`."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "service", str(root), str(writing)], pass_fds=(writing,),
            stderr=subprocess.PIPE, text=True, env=environment)
        os.close(writing)
        with open(reading, "rb") as pipe:
            assert pipe.read() == b"ready\n"
        self.engine = RemoteEngine(root / "vordr.sock")

    def call(self, operation: str, **args: Any) -> Any:
        return self.engine.call(operation, convert(args, REGISTRY[operation].args)).answer

    def ends(self) -> int:
        _, self.log = self.process.communicate(timeout=20)
        return self.process.returncode

    def stop(self) -> int:
        self.process.terminate()
        return self.ends()


@pytest.fixture
def services() -> Iterator[list[Service]]:
    started: list[Service] = []
    yield started
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


@pytest.mark.parametrize("suffix", [".log", "head.new"])
def test_a_service_whose_journal_cannot_sync_says_so_and_ends_with_46(
    suffix: str, failing: dict[str, str], memory_path: Path, services: list[Service]
) -> None:
    root, trigger = memory_path / "root", memory_path / "trigger"
    whole_engine.planted(root).close()
    services.append(Service(root, {**failing, "FAULTFS_TRIGGER": str(trigger), "FAULTFS_SUFFIX": suffix}))
    done = services[0].call("run", image=whole_engine.IMAGE, name="kept", command=["/bin/serve"])
    acknowledged = done.receipt.seq
    trigger.touch()
    with pytest.raises((JournalStopped, ServiceUnreachable)) as caught:
        for number in range(3):  # where the head fails, it is the next act that meets it
            services[0].call("run", image=whole_engine.IMAGE, name=f"lost{number}", command=["/bin/serve"])
    assert services[0].ends() == JournalStopped.exit_code == 46
    if suffix == ".log":
        assert isinstance(caught.value, JournalStopped)
        assert "Input/output error" in caught.value.message

    services.append(Service(root, dict(os.environ)))
    names = {row.name for row in services[1].call("list", all=True).containers}
    assert "kept" in names
    assert services[1].call("run", image=whole_engine.IMAGE, name="next", command=["/bin/serve"])
    assert services[1].stop() == 0
    paths = Paths(root, root / "run")
    report = audit(paths.journal, paths.journal_head, load_host_key(paths).public)
    assert report.ok, report.reason
    assert report.records > acknowledged
    assert not [line for line in map(json.loads, services[1].log.splitlines()) if line["level"] == "error"]
