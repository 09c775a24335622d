"""SIGKILL to the service at any moment: containers go on, nothing is forgotten, nothing is half done."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_world import OBEDIENT, Instance, eventually, groups_of, instance

COUNTING = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture(scope="module")
def mortal() -> Iterator[Instance]:
    """An instance whose service is killed again and again."""
    with instance() as world:
        world.vordr("create", "--name", "importer", str(world.pack()))
        world.vordr("rm", "importer")
        yield world


def assert_consistent(world: Instance) -> None:
    """What the journal says of every container is what runtime, mounts and control groups say."""
    listed = world.json("ps", "-a")["containers"]
    alive = {c["id"] for c in listed if c["state"] in ("running", "paused")}
    runc = world.paths.runtime_state
    assert {entry.name for entry in runc.iterdir()} == alive if runc.exists() else not alive
    mounted = {part for line in Path("/proc/self/mountinfo").read_text().splitlines()
               if str(world.paths.run) in line for part in line.split()[4].split("/") if len(part) == 64}
    assert mounted == alive
    assert {entry.name for entry in (world.paths.run / "c").iterdir()} == alive
    for container in world.ids():
        assert bool(groups_of(container)) == (container in alive), container
    for container in listed:
        if container["id"] in alive:
            assert Path(f"/proc/{container['pid']}").exists()
    assert {entry.name for entry in world.paths.containers.iterdir()} == {c["id"] for c in listed}
    world.assert_sound()


# -- while nothing is being done -----------------------------------------------------------------------


@pytest.mark.parametrize("keeper", [False, True], ids=["service", "service-and-keeper"])
def test_containers_outlive_the_service_and_the_next_command_finds_them(
    mortal: Instance, keeper: bool
) -> None:
    mortal.run("lives")
    mortal.run("sleeps")
    mortal.vordr("pause", "sleeps")
    before = {name: mortal.inspect(name) for name in ("lives", "sleeps")}
    killed = mortal.kill_service(keeper=keeper)
    assert all(Path(f"/proc/{found['pid']}").exists() for found in before.values())
    shown = mortal.vordr("ps", "--format", "{{.Names}} {{.State}}").out.splitlines()
    assert sorted(shown) == ["lives running", "sleeps paused"]
    assert mortal.service_pid() not in (None, killed)
    assert {name: mortal.inspect(name) for name in before} == before
    assert mortal.sh("lives", "echo same") == "same\n"
    assert_consistent(mortal)
    mortal.vordr("rm", "-f", "lives", "sleeps")


def test_a_command_waits_for_the_service_that_its_keeper_is_starting(mortal: Instance) -> None:
    killed = mortal.kill_service(keeper=False)
    started = eventually(lambda: (pid := mortal.service_pid()) != killed and pid, "the next service")
    os.kill(started, signal.SIGSTOP)
    with mortal.start("ps") as asking:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1.5)
        os.kill(started, signal.SIGCONT)
        assert asking.wait(30) == 0
    assert mortal.service_pid() == started


def test_ends_while_no_service_ran_are_recorded_with_their_codes(mortal: Instance) -> None:
    mortal.run("seven", "sh", "-c", "trap 'exit 7' TERM; while true; do sleep 0.05; done")
    mortal.run("killed")
    mortal.run("gone", options=("--rm",))
    mortal.run("again", options=("--restart", "always"))
    pids = {name: mortal.inspect(name)["pid"] for name in ("seven", "killed", "gone", "again")}
    mortal.kill_service(keeper=True)
    for name, pid in pids.items():
        os.kill(pid, signal.SIGTERM if name == "seven" else signal.SIGKILL)
    for pid in pids.values():
        eventually(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "the end of the process")
    eventually(lambda: len(list(mortal.paths.exits.glob("?" * 64))) == 4, "four exit files")
    mortal.vordr("ps")
    for name, code in (("seven", 7), ("killed", 137)):
        eventually(lambda name=name: mortal.state(name) == "stopped", "the record of its end")
        assert mortal.inspect(name)["exit_code"] == code
    assert mortal.vordr("wait", "seven", code=7).out == "7\n"
    eventually(lambda: mortal.state("again") == "running" and mortal.inspect("again")["restarts"] == 1,
               "the restart by policy")
    eventually(lambda: "gone" not in mortal.vordr("ps", "-a", "--format", "{{.Names}}").out, "its removal")
    assert_consistent(mortal)
    mortal.vordr("rm", "-f", "seven", "killed", "again")


def test_output_and_input_go_on_after_the_service_came_back(mortal: Instance) -> None:
    mortal.run("speaks", "sh", "-c", COUNTING)
    mortal.run("listens", "cat", options=("-i",))
    eventually(lambda: "line 2\n" in mortal.vordr("logs", "speaks").out, "output")
    log = mortal.paths.log(mortal.inspect("speaks")["id"])
    mortal.kill_service(keeper=True)
    size = log.stat().st_size
    eventually(lambda: log.stat().st_size > size, "output while no service ran")
    with mortal.start("logs", "-f", "speaks") as following:
        assert following.stdout is not None
        lines = [following.stdout.readline() for _ in range(30)]
        following.terminate()
    assert lines == [f"line {n}\n" for n in range(1, 31)]
    with mortal.start("attach", "listens", stdin=subprocess.PIPE) as attached:
        assert attached.stdin is not None and attached.stdout is not None
        attached.stdin.write("heard\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "heard\n"
        attached.stdin.close()
        assert attached.wait(20) == 0
    assert mortal.state("listens") == "stopped"
    mortal.vordr("rm", "-f", "speaks", "listens")


# -- in the middle of an act ---------------------------------------------------------------------------


def test_in_the_middle_of_a_stop(mortal: Instance) -> None:
    mortal.run("deaf", "sleep", "1000")
    before = mortal.inspect("deaf")
    stopping = mortal.start("stop", "-t", "5", "deaf")
    eventually(lambda: mortal.inspect("deaf")["busy"], "the stop to begin")
    mortal.kill_service(keeper=True)
    _, told = stopping.communicate(timeout=20)
    assert stopping.returncode == 14 and told.count("Error [ERR_SERVICE_UNREACHABLE]") == 1, told
    after = eventually(lambda: mortal.vordr("ps", "-a").code == 0 and mortal.inspect("deaf"), "the service")
    assert after["state"] in ("running", "stopped") and after["busy"] is None
    if after["state"] == "running":
        assert after["pid"] == before["pid"]
    assert_consistent(mortal)
    mortal.vordr("rm", "-f", "deaf")


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.07, 0.12])
def test_in_the_middle_of_a_run(mortal: Instance, moment: float) -> None:
    running = mortal.start("run", "-d", "--name", "cut", "hello", "sh", "-c", OBEDIENT)
    size = mortal.head()
    eventually(lambda: mortal.head() > size or running.poll() is not None, "the run to begin")
    time.sleep(moment)  # a moment that no event names is what this is about
    mortal.kill_service(keeper=True)
    running.communicate(timeout=30)
    mortal.vordr("ps")
    assert_consistent(mortal)
    if "cut" in mortal.vordr("ps", "-a", "--format", "{{.Names}}").out.split():
        mortal.vordr("rm", "-f", "cut")


@pytest.mark.parametrize("moment", [0.0, 0.06])
def test_in_the_middle_of_an_undo_which_is_driven_forward(mortal: Instance, moment: float) -> None:
    mortal.run("back")
    before = mortal.inspect("back")["digest"]
    mortal.vordr("rm", "-f", "back")
    size = mortal.head()
    undoing = mortal.start("undo", "--last", "--yes")
    eventually(lambda: mortal.head() > size or undoing.poll() is not None, "the undo to begin")
    time.sleep(moment)
    mortal.kill_service(keeper=True)
    undoing.communicate(timeout=30)
    mortal.vordr("ps")
    assert_consistent(mortal)
    assert mortal.inspect("back")["digest"] == before
    mortal.vordr("rm", "-f", "back")


def test_recovery_a_second_time_changes_nothing(mortal: Instance) -> None:
    mortal.run("steady")
    mortal.kill_service(keeper=True)
    mortal.vordr("ps")
    size = mortal.head()
    mortal.kill_service(keeper=True)
    mortal.vordr("ps")
    assert mortal.head() == size
    mortal.vordr("rm", "-f", "steady")


# -- restart policies ----------------------------------------------------------------------------------


def test_on_failure_2_restarts_exactly_twice(mortal: Instance) -> None:
    mortal.run("fails", "sh", "-c", "echo try; exit 3", options=("--restart", "on-failure:2"))

    def given_up() -> bool:
        found = mortal.inspect("fails")
        return found["restarts"] == 2 and found["state"] == "stopped"

    eventually(given_up, "the second restart's end")
    mortal.stop_service()  # whatever was still to come would come after this start
    mortal.vordr("ps")
    time.sleep(0.6)  # the delay of a third restart would be 0.4 s
    assert given_up() and mortal.inspect("fails")["exit_code"] == 3
    assert mortal.vordr("logs", "fails").out == "try\n" * 3
    acts = [act["act"] for act in mortal.json("history", "fails")["acts"]]
    assert acts.count("restart") == 2 and acts.count("exit") == 3
    assert_consistent(mortal)
    mortal.vordr("rm", "fails")


def test_on_failure_lets_a_success_be_and_a_stop_is_not_undone_by_always(mortal: Instance) -> None:
    mortal.run("well", "true", options=("--restart", "on-failure"))
    mortal.run("always", options=("--restart", "always"))
    mortal.vordr("stop", "always")
    eventually(lambda: mortal.state("well") == "stopped", "the end")
    time.sleep(0.3)  # the first restart would come after 0.1 s
    assert (mortal.state("well"), mortal.state("always")) == ("stopped", "stopped")
    assert mortal.inspect("well")["restarts"] == mortal.inspect("always")["restarts"] == 0
    mortal.vordr("rm", "well", "always")


def test_undo_of_a_run_takes_its_policy_restarts_along(mortal: Instance) -> None:
    mortal.run("flaps", "sh", "-c", "exit 1", options=("--restart", "on-failure:1"))
    eventually(
        lambda: mortal.inspect("flaps")["restarts"] == 1 and mortal.state("flaps") == "stopped", "the end")
    mortal.undo_last()
    mortal.vordr("inspect", "flaps", code=71)
    assert_consistent(mortal)
