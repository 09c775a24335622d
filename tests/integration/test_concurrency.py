"""64 clients and a crowd of containers on one service: every act happens once, nobody hangs, nobody starves.

40 containers here, 300 with VORDR_SOAK=1, where the ratios of times are asserted too.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from footprint import resident
from real_world import Instance, eventually, instance
from watchdog import Watchdog, ask_for_stacks

from vordr.engine.remote import RemoteEngine
from vordr.model import answers, arguments
from vordr.model.errors import (
    ContainerError,
    ContainerNotFound,
    ExecFailed,
    IllegalTransition,
    InboxFull,
    NameInUse,
    RuntimeFailed,
    ServiceUnreachable,
    StaleState,
    SubjectBusy,
    UndoError,
    VordrError,
)
from vordr.model.spec import parse_restart
from vordr.model.state import ContainerState

SOAK = bool(os.environ.get("VORDR_SOAK"))
CLIENTS = 64
COUNT = 300 if SOAK else 40
ACTS = 30 if SOAK else 4
DEADLINE = 60.0
SAMPLES = 15
OBEDIENT = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")

pytestmark = pytest.mark.timeout(1800 if SOAK else 150)

LOSER = (IllegalTransition, ContainerError, ContainerNotFound, SubjectBusy, StaleState, InboxFull, NameInUse,
         ExecFailed, UndoError)
"""What somebody may hear who came too late. Anything else is a fault."""


@dataclass
class Crowd:
    """A service with many running containers; ``alone`` is the time of a start before there were any."""

    world: Instance
    alone: float
    containers: list[ContainerState] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)


@pytest.fixture
def watchdog(crowd: Crowd, tmp_path: Path) -> Iterator[Watchdog]:
    """A deadline on every call; a service that hangs is asked where, and ended so that the calls return."""

    def expired() -> None:
        pid = crowd.world.service_pid()
        if pid is not None:
            told = ask_for_stacks(pid, crowd.world.root / "service.log")
            with (tmp_path / "stacks").open("a") as report:
                report.write(f"\n--- the service ---\n{told}")
            crowd.world.kill_service(keeper=True)

    with Watchdog(DEADLINE, tmp_path / "stacks", expired) as watching:
        yield watching


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with instance() as world:
        world.pack()
        world.vordr("create", "--name", "importer", str(world.home / "hello.ctp"))
        world.vordr("rm", "importer")
        with world.engine() as engine:
            start_seconds(engine)
            made = Crowd(world, start_seconds(engine))
            began = time.monotonic()
            for answer in at_once(world, COUNT, lambda client, number: client.call(
                    "run", arguments.RunArgs(image="hello", name=f"c{number}", command=OBEDIENT)).answer):
                made.containers.append(answer.container)
                made.receipts.append(answer.receipt.txn)
            print(f"\n{COUNT} containers by {CLIENTS} clients in {time.monotonic() - began:.1f} s")
            yield made
            everything = engine.containers(all=True)
            with ThreadPoolExecutor(8) as many:
                list(many.map(lambda one: one.remove(force=True), everything))


def at_once(world: Instance, count: int, act: Callable[[RemoteEngine, int], Any]) -> list[Any]:
    """``act`` for 0 … count-1 by up to 64 clients that begin together; every one must succeed."""
    width = min(CLIENTS, count)
    gate = threading.Barrier(width)

    def client(first: int) -> list[Any]:
        with world.engine() as engine:
            gate.wait(10)
            return [act(engine, number) for number in range(first, count, width)]

    with ThreadPoolExecutor(width) as threads:
        return [answer for done in threads.map(client, range(width)) for answer in done]


def outcomes(
    world: Instance, watchdog: Watchdog, what: str, act: Callable[[RemoteEngine, int], Any]
) -> tuple[list[Any], list[VordrError]]:
    """What 64 clients got who all do the same at once: answers, and errors of those who came too late."""
    won: list[Any] = []
    lost: list[VordrError] = []

    def one(engine: RemoteEngine, number: int) -> None:
        try:
            won.append(watchdog.call(f"{what} {number}", lambda: act(engine, number)))
        except LOSER as error:
            lost.append(error)

    at_once(world, CLIENTS, one)
    assert len(won) + len(lost) == CLIENTS
    return won, lost


def start_seconds(engine: RemoteEngine) -> float:
    """Median time of a start of a container, which is then removed."""
    times = []
    for _ in range(SAMPLES):
        made = engine.create("hello", command=OBEDIENT)
        began = time.monotonic()
        made.start()
        times.append(time.monotonic() - began)
        made.remove(force=True)
    return statistics.median(times)


def history(world: Instance) -> list[answers.HistoryEntry]:
    """Every act, oldest first."""
    with world.engine() as engine:
        return list(reversed(engine.history(limit=1_000_000).acts))


# -- no act is lost, none happens twice ------------------------------------------------------------------


def test_each_of_many_runs_at_once_happens_once(crowd: Crowd) -> None:
    assert len({made.id for made in crowd.containers}) == COUNT
    assert {made.name for made in crowd.containers} == {f"c{number}" for number in range(COUNT)}
    ranges = [made.ids.first for made in crowd.containers if made.ids is not None]
    assert len(set(ranges)) == COUNT, "two containers share host ids"
    for made in crowd.containers:
        assert made.pid is not None and Path(f"/proc/{made.pid}").exists(), made.name
    mine = set(crowd.receipts)
    entries = [entry for entry in history(crowd.world) if entry.txn in mine]
    assert Counter(entry.txn for entry in entries) == Counter(crowd.receipts)
    assert {entry.status for entry in entries} == {"committed"}


def test_what_was_acknowledged_is_what_the_record_says_and_what_happened(
    crowd: Crowd, watchdog: Watchdog
) -> None:
    """Random acts on containers that all fight over; then record, states and files are compared."""
    before = len(history(crowd.world))
    tokens: dict[str, list[str]] = {made.id: [] for made in crowd.containers}
    acknowledged: list[str] = []
    refused: Counter[str] = Counter()
    world = crowd.world

    def mixed(engine: RemoteEngine, number: int) -> None:
        choice = random.Random(number)
        for turn in range(ACTS):
            target = choice.choice(crowd.containers[:max(8, COUNT // 4)]).id
            kind = choice.choice(("exec", "exec", "stop", "start", "restart", "pause", "resume", "kill",
                                  "inspect", "list", "logs", "history"))
            try:
                with watchdog.watching(f"client {number} {kind}"):
                    txn = act(engine, kind, target, f"{number}.{turn}", tokens)
            except (*LOSER, RuntimeFailed) as error:  # the runtime may be the first to see that it has ended
                refused[error.id] += 1
            else:
                acknowledged.extend([txn] if txn else [])

    at_once(world, CLIENTS, mixed)
    world.assert_settled(newest=1000)
    print(f"\n{len(acknowledged)} acts acknowledged, refused: {dict(refused)}")
    committed = [entry for entry in history(world)[before:]
                 if entry.cause == "act" and entry.status == "committed"]
    assert Counter(entry.txn for entry in committed) == Counter(acknowledged)
    assert_states_follow(world, crowd.containers)
    for container, expected in tokens.items():
        assert_effects(world, container, expected)


def act(
    engine: RemoteEngine, kind: str, target: str, token: str, tokens: dict[str, list[str]]
) -> str | None:
    """One act; its transaction, None for what only looks. A successful exec leaves its token in a file."""
    args: Any
    match kind:
        case "list":
            args = arguments.ListArgs(all=True)
        case "history":
            args = arguments.HistoryArgs(container=target)
        case "exec":
            args = arguments.ExecArgs(container=target, command=("sh", "-c", f"echo {token} >> /acts"))
        case "stop" | "restart":
            args = arguments.StopArgs(container=target, timeout=2)
        case "start" | "kill" | "logs":
            args = {"start": arguments.StartArgs, "kill": arguments.KillArgs,
                    "logs": arguments.LogsArgs}[kind](container=target)
        case _:
            args = arguments.ContainerArgs(container=target)
    reply = engine.call(kind, args)
    if kind == "exec":
        txn: str = reply.answer.receipt.txn
        with socket.socket(fileno=reply.files[0]) as attached:
            while attached.recv(8192):
                pass
        try:
            code = engine.call(
                "wait", arguments.WaitArgs(container=target, session=reply.answer.session)).answer.code
        except LOSER:  # removed or stopped meanwhile: nobody knows
            return txn
        if code == 0:
            tokens[target].append(token)
        return txn
    receipt = getattr(reply.answer, "receipt", None)
    return None if receipt is None else receipt.txn


def assert_states_follow(world: Instance, containers: Sequence[ContainerState]) -> None:
    """Each container is as the acts of its history, in their order, leave it; a start opened a generation."""
    with world.engine() as engine:
        for made in containers:
            now = engine.inspect(made.id).container
            state, starts = "absent", 0
            for entry in reversed(engine.history(made.id, limit=10_000).acts):
                if entry.status != "committed" or entry.act in ("exec", "signal"):
                    continue
                starts += entry.act in ("run", "start", "restart")
                state = {"run": "running", "start": "running", "restart": "running", "resume": "running",
                         "pause": "paused", "stop": "stopped", "kill": "stopped",
                         "exit": "stopped"}[entry.act]
            assert str(now.state) == state, (made.name, now.state, state)
            assert [one.number for one in now.generations] == list(range(1, starts + 1)), made.name


def assert_effects(world: Instance, container: str, expected: Sequence[str]) -> None:
    """Every acknowledged exec ran, and none ran twice."""
    with world.engine() as engine:
        handle = engine.get(container)
        if handle.state.state == "paused":
            handle.resume()
        if handle.refresh().state.state != "running":
            handle.start()
    said = Counter(world.sh(container, "cat /acts 2>/dev/null || true").split()) if expected else Counter()
    assert set(expected) <= set(said), (container, set(expected) - set(said))
    assert set(said.values()) <= {1}, said


def test_one_name_is_given_once_and_taken_back_once(crowd: Crowd, watchdog: Watchdog) -> None:
    won, lost = outcomes(crowd.world, watchdog, "run", lambda engine, _: engine.call(
        "run", arguments.RunArgs(image="hello", name="only-one", command=OBEDIENT)).answer)
    assert len(won) == 1 and {type(error) for error in lost} == {NameInUse}
    txn = won[0].receipt.txn
    won, lost = outcomes(
        crowd.world, watchdog, "undo", lambda engine, _: engine.undo(txn=txn).receipt)
    assert len(won) == 1, lost
    with crowd.world.engine() as engine, pytest.raises(ContainerNotFound):
        engine.get("only-one")
    assert len([entry for entry in history(crowd.world) if entry.undoes == txn]) == 1


def test_one_container_is_stopped_and_removed_once(crowd: Crowd, watchdog: Watchdog) -> None:
    with crowd.world.engine() as engine:
        made = engine.run("hello", command=OBEDIENT)
    for operation, args in (
        ("stop", arguments.StopArgs(container=made.id)), ("remove", arguments.RemoveArgs(container=made.id)),
    ):
        won, lost = outcomes(crowd.world, watchdog, operation,
                             lambda engine, _, o=operation, a=args: engine.call(o, a).answer.receipt.txn)
        assert len(won) == 1, (operation, lost)
        assert len([entry for entry in history(crowd.world) if entry.txn == won[0]]) == 1


# -- bounds and fairness ---------------------------------------------------------------------------------


def test_a_crowd_at_one_container_is_bounded_and_keeps_nobody_else_waiting(
    crowd: Crowd, watchdog: Watchdog
) -> None:
    """It does not hear TERM; while its stop waits, 64 clients press: looks and a kill pass, others go on."""
    world, pid = crowd.world, crowd.world.service_pid()
    assert pid is not None
    with world.engine() as engine, ThreadPoolExecutor(CLIENTS + 1) as threads:
        deaf = engine.run("hello", command=("sh", "-c", "trap '' TERM; while true; do sleep 1; done"))
        stopping = threads.submit(engine.call, "stop", arguments.StopArgs(container=deaf.id, timeout=30))
        eventually(lambda: engine.inspect(deaf.id).busy, "a stop under way")
        memory = resident(pid)
        pressing: list[Future[Any]] = [
            threads.submit(pressed, world, watchdog, deaf.id) for _ in range(CLIENTS - 8)]
        other = crowd.containers[-1].id
        for _ in range(5):
            with watchdog.watching("looks and acts beside"):
                began = time.monotonic()
                engine.inspect(deaf.id)
                reply = engine.call(
                    "exec", arguments.ExecArgs(container=other, command=("true",), detach=True))
                assert not reply.files
                assert time.monotonic() - began < 10, "held up by a busy container"
        with watchdog.watching("kill"):
            began = time.monotonic()
            deaf.kill()
            stopping.result(timeout=10)
            assert time.monotonic() - began < 10, "a kill did not pass the crowd"
        answered = [future.result(timeout=DEADLINE) for future in pressing]
        assert len(answered) == CLIENTS - 8
        assert resident(pid) - memory < 32 << 20
        deaf.remove(force=True)


def pressed(world: Instance, watchdog: Watchdog, container: str) -> str:
    """Pause it; how that came out."""
    with world.engine() as engine, watchdog.watching("a pause in the crowd"):
        try:
            engine.call("pause", arguments.ContainerArgs(container=container))
        except LOSER as error:
            return error.id
        return "done"


def test_clients_beyond_the_bound_are_told_so_and_the_others_go_on(
    crowd: Crowd, watchdog: Watchdog
) -> None:
    clients = [crowd.world.engine() for _ in range(300)]
    served = refused = 0
    try:
        for client in clients:
            with watchdog.watching("a connection among many"):
                try:
                    client.call("version", arguments.NoArgs())
                    served += 1
                except InboxFull:
                    refused += 1
        assert served >= 240 and refused >= 40 and served + refused == len(clients)
        with watchdog.watching("one of those served"):
            clients[0].call("list", arguments.ListArgs())
    finally:
        for client in clients:
            client.close()
    with crowd.world.engine() as engine:

        def let_in() -> bool:
            try:
                engine.call("version", arguments.NoArgs())
            except InboxFull:
                return False
            return True

        assert eventually(let_in, "room for a client")


def test_a_crash_loop_and_a_flood_of_log_keep_nobody_waiting(crowd: Crowd, watchdog: Watchdog) -> None:
    world = crowd.world
    with world.engine() as engine, world.engine() as reader:
        others = [made.id for made in crowd.containers[-4:]]
        quiet = [turn(engine, watchdog, one) for one in others for _ in range(3)]
        crashing = engine.run("hello", command=("sh", "-c", "exit 3"), restart=parse_restart("always"))
        flooding = engine.run(
            "hello", command=("sh", "-c", "while true; do echo flood flood flood; done"), cpus="0.2")
        slow = threading.Thread(target=read_slowly, args=(reader, flooding.id))
        slow.start()
        head = world.head()
        eventually(lambda: engine.inspect(crashing.id).container.restarts >= 3, "a crash loop")
        loud = [turn(engine, watchdog, one) for one in others for _ in range(3)]
        ratio = statistics.median(loud) / statistics.median(quiet)
        print(f"\nexec beside a crash loop and a flood: {statistics.median(loud) * 1000:.0f} ms, "
              f"{ratio:.2f} of {statistics.median(quiet) * 1000:.0f} ms alone; worst {max(loud):.2f} s")
        assert max(loud) < 10
        assert world.head() - head < 600, "a crash loop floods the journal"
        for noisy in (crashing, flooding):
            with watchdog.watching("the end of a noisy container"):
                began = time.monotonic()
                noisy.remove(force=True)
                assert time.monotonic() - began < 10
        reader.close()
        slow.join(10)
        assert not slow.is_alive()
        if SOAK:
            assert ratio < 3


def turn(engine: RemoteEngine, watchdog: Watchdog, container: str) -> float:
    """Seconds of one exec, from the call to its exit code."""
    with watchdog.watching("exec"):
        began = time.monotonic()
        reply = engine.call("exec", arguments.ExecArgs(container=container, command=("true",)))
        for file in reply.files:
            os.close(file)
        engine.call("wait", arguments.WaitArgs(container=container, session=reply.answer.session))
        return time.monotonic() - began


def read_slowly(engine: RemoteEngine, container: str) -> None:
    """Follows a log and takes a line at a time, far slower than they come."""
    try:
        engine.call("logs", arguments.LogsArgs(container=container, follow=True),
                    on_event=lambda event: time.sleep(0.01))
    except (ServiceUnreachable, *LOSER):
        return


def test_a_start_among_many_is_as_fast_as_alone(crowd: Crowd, watchdog: Watchdog) -> None:
    with crowd.world.engine() as engine, watchdog.watching("starts"):
        among = start_seconds(engine)
    print(f"\na start: {crowd.alone * 1000:.1f} ms alone, {among * 1000:.1f} ms beside {COUNT} running: "
          f"{among / crowd.alone:.2f}")
    if SOAK:
        assert among / crowd.alone <= 1.5


def test_after_all_that_the_record_is_sound(crowd: Crowd) -> None:
    crowd.world.assert_sound()


# -- the watchdog itself ---------------------------------------------------------------------------------


def test_the_watchdog_finds_a_deadlock_and_says_where(tmp_path: Path) -> None:
    first, second = threading.Semaphore(0), threading.Semaphore(0)

    def free() -> None:
        first.release()
        second.release()

    watching = Watchdog(0.3, tmp_path / "stacks", free)
    with pytest.raises(pytest.fail.Exception, match="no answer within") as failed, watching:
        def crossed(mine: threading.Semaphore, theirs: threading.Semaphore) -> None:
            with watching.watching("crossed"):
                mine.acquire()
                theirs.release()

        threads = [threading.Thread(target=crossed, args=pair) for pair in ((first, second), (second, first))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "in crossed" in str(failed.value)


def test_a_service_says_where_its_threads_stand_and_goes_on(crowd: Crowd) -> None:
    pid = crowd.world.service_pid()
    assert pid is not None
    told = ask_for_stacks(pid, crowd.world.root / "service.log")
    # The interpreter tells of the newest hundred threads; the accepting one is among the oldest.
    hundred = told.count("Thread 0x") >= 100
    assert ("in _accept_until_stopped" in told or hundred) and told.count("Thread 0x") > 5
    with crowd.world.engine() as engine:
        engine.call("version", arguments.NoArgs())
