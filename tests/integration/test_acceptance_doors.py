"""Library, socket and command line are one engine: they do the same, and reach everything."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from real_world import OBEDIENT, Instance, instance

from vordr.cli import entry
from vordr.cli.context import Session
from vordr.engine import Engine, Reply
from vordr.engine.local import LocalEngine
from vordr.model import arguments as take
from vordr.model.errors import UsageError, VordrError
from vordr.model.operations import REGISTRY

# -- one story by three doors --------------------------------------------------------------------------


def by_command_line(world: Instance) -> None:
    world.run("same", options=("-l", "a=b", "--memory", "32m"))
    world.vordr("pause", "same")
    world.vordr("unpause", "same")
    world.vordr("stop", "-t", "3", "same")
    world.vordr("start", "same")
    world.vordr("exec", "-d", "same", "true")
    world.vordr("rm", "-f", "same")
    world.undo_last()
    world.vordr("redo", "--yes")


def by_engine(engine: Engine) -> None:
    container = engine.run(
        "hello", name="same", command=("sh", "-c", OBEDIENT), labels={"a": "b"}, memory="32m", pull="never")
    container.pause()
    container.resume()
    container.stop(3)
    container.start()
    engine.call("exec", take.ExecArgs(container=container.id, command=("true",), detach=True))
    container.remove(force=True)
    engine.undo()
    engine.redo()


def by_socket(world: Instance) -> None:
    with world.engine() as engine:
        by_engine(engine)


def by_library(world: Instance) -> None:
    world.stop_service()
    with Engine.open(world.root) as engine:
        assert isinstance(engine, LocalEngine)
        by_engine(engine)


def records(root: Path) -> list[Any]:
    with LocalEngine.open(root) as engine:
        return [msgspec.to_builtins(record) for record, _ in engine.host.journal.records()]


class Normal:
    """Records without what may differ: ids, times, pids, digests of what holds an id, record numbers."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def of(self, value: Any, key: str = "") -> Any:
        match value:
            case dict():
                return {self.of(k): self.of(v, k) for k, v in value.items() if k not in _DIFFERENT}
            case list() | tuple():
                return [self.of(item, key) for item in value]
            case str():
                return _VARYING.sub(self._name, value)
        return value

    def _name(self, found: re.Match[str]) -> str:
        return self.names.setdefault(found[0], f"<{len(self.names)}>")


_DIFFERENT = {"seq", "time", "pid", "first", "created", "started", "finished", "opened", "removed",
              "deadline", "decided", "expires", "before", "after", "compensates", "ended", "end", "boot_id"}
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|ranges/\d+")


def test_the_same_story_by_three_doors_is_the_same_in_the_journal() -> None:
    doors: tuple[Callable[[Instance], None], ...] = (by_command_line, by_socket, by_library)
    with instance() as world:
        world.vordr("create", "--name", "importer", str(world.pack()))
        world.vordr("rm", "importer")
        sizes = [world.head()]
        for door in doors:
            door(world)
            world.vordr("ps")
            sizes.append(world.head())
        world.stop_service()
        told = records(world.root)
        stories = [told[start:stop] for start, stop in zip(sizes, sizes[1:], strict=False)]
        # What the journal says of itself (checkpoints) comes when it comes.
        stories = [[record for record in story if record["kind"] != "checkpoint"] for story in stories]
        line, socket, library = ([Normal().of(story)] for story in stories)
        assert [r["kind"] for r in line[0]].count("commit") == 9
        assert socket == line
        assert library == line
        world.vordr("ps")


# -- everything by every door --------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How an operation is reached: typed arguments, and a command line that calls it.

    They are about things that are not there, so nothing happens; ``{r}`` runs, ``{s}`` does not.
    """

    args: take.Args
    words: tuple[str, ...]


NOBODY = "nobody"
NOTHING = "sha256:" + "0" * 64
WAYS: dict[str, Way] = {
    "create": Way(take.CreateArgs(image=NOBODY, pull="never"), ("create", "--pull", "never", NOBODY)),
    "run": Way(take.RunArgs(image=NOBODY, pull="never"), ("run", "--pull", "never", NOBODY)),
    "start": Way(take.StartArgs(container=NOBODY), ("start", NOBODY)),
    "stop": Way(take.StopArgs(container=NOBODY), ("stop", NOBODY)),
    "restart": Way(take.StopArgs(container=NOBODY), ("restart", NOBODY)),
    "kill": Way(take.KillArgs(container=NOBODY), ("kill", NOBODY)),
    "pause": Way(take.ContainerArgs(container=NOBODY), ("pause", NOBODY)),
    "resume": Way(take.ContainerArgs(container=NOBODY), ("unpause", NOBODY)),
    "remove": Way(take.RemoveArgs(container=NOBODY), ("rm", NOBODY)),
    "wake": Way(take.ContainerArgs(container=NOBODY), ("wake", NOBODY)),
    "list": Way(take.ListArgs(), ("ps",)),
    "inspect": Way(take.ContainerArgs(container=NOBODY), ("inspect", NOBODY)),
    "logs": Way(take.LogsArgs(container=NOBODY), ("logs", NOBODY)),
    "exec": Way(take.ExecArgs(container=NOBODY, command=("true",)), ("exec", NOBODY, "true")),
    "attach": Way(take.AttachArgs(container=NOBODY), ("attach", "{s}")),
    "resize": Way(take.ResizeArgs(container=NOBODY, rows=3, columns=4), ("exec", "-it", "{r}", "true")),
    "wait": Way(take.WaitArgs(container=NOBODY), ("wait", NOBODY)),
    "images": Way(take.ImagesArgs(), ("images",)),
    "pull": Way(take.PullArgs(reference="127.0.0.1:1/nobody"), ("pull", "127.0.0.1:1/nobody")),
    "remove_image": Way(take.RemoveImageArgs(image=NOBODY), ("rmi", NOBODY)),
    "pack": Way(take.PackArgs(source="/nobody", output="/nobody/x", name="x"),
                ("pack", "/nobody", "/nobody/x")),
    "adopt": Way(take.AdoptArgs(image=NOBODY), ("adopt", NOBODY)),
    "verify": Way(take.VerifyArgs(image=NOBODY), ("verify", NOBODY)),
    "policy_check": Way(take.ImageArgs(image=NOBODY), ("policy", "check", NOBODY)),
    "gather": Way(take.GatherArgs(image=NOBODY), ("policy", "gather", NOBODY)),
    "admit": Way(take.AdmitArgs(engine="tests", container=NOBODY, chain=NOTHING),
                 ("system", "admit", NOTHING, NOBODY)),
    "trust_init": Way(take.TrustInitArgs(owner="nobody"), ("trust", "init", "--owner", "nobody")),
    "trust_show": Way(take.NoArgs(), ("trust", "show")),
    "trust_add": Way(take.TrustAddArgs(public_key="none", role="builders", owner="nobody"),
                     ("trust", "add", "--owner", "nobody", "/dev/null")),
    "trust_revoke": Way(take.TrustRevokeArgs(key="ffff"), ("trust", "revoke", "ffff")),
    "trust_logs": Way(take.NoArgs(), ("trust", "logs")),
    "trust_update": Way(take.TrustUpdateArgs(document=""), ("trust", "update", "/dev/null")),
    "undo": Way(take.UndoArgs(container=NOBODY), ("undo", NOBODY)),
    "redo": Way(take.RedoArgs(txn="01234567-0000"), ("redo", "01234567-0000")),
    "history": Way(take.HistoryArgs(), ("history",)),
    "audit": Way(take.AuditArgs(), ("audit",)),
    "verdicts": Way(take.NoArgs(), ("audit", "--verdicts")),
    "trash": Way(take.NoArgs(), ("trash", "ls")),
    "trash_empty": Way(take.TrashEmptyArgs(items=(NOBODY,)), ("trash", "empty", "-y", NOBODY)),
    "trash_restore": Way(take.TrashRestoreArgs(item=NOBODY), ("trash", "restore", NOBODY)),
    "explain": Way(take.ExplainArgs(), ("explain",)),
    "doctor": Way(take.NoArgs(), ("doctor",)),
    "version": Way(take.NoArgs(), ("version",)),
}


def test_the_table_has_every_operation_of_the_registry() -> None:
    assert set(WAYS) == set(REGISTRY)
    assert all(isinstance(WAYS[name].args, row.args) for name, row in REGISTRY.items())


class Recording(Engine):
    """Another engine, and the names of what it was asked for."""

    def __init__(self, behind: Engine) -> None:
        self.behind = behind
        self.asked: list[str] = []

    def call(self, operation: str, args: take.Args, **more: Any) -> Reply:
        self.asked.append(operation)
        return self.behind.call(operation, args, **more)

    def close(self) -> None:
        self.behind.close()


RECORDER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_acceptance_doors import record
from pathlib import Path
record(Path(sys.argv[2]), sys.argv[4:], Path(sys.argv[3]))
"""


def record(root: Path, words: list[str], into: Path) -> None:
    """Run a command line with a recording engine and write down what it asked for."""
    from vordr.engine.opening import client_engine

    engine = Recording(client_engine(root))
    code = entry.run(words, Session(root, opener=lambda _: engine))
    into.write_text("\n".join([*engine.asked, str(code)]))


def reached(engine: Engine, name: str) -> bool:
    """Whether the operation's handler answered, with an answer of its kind or a refusal of its own."""
    try:
        answer = engine.call(name, WAYS[name].args).answer
    except UsageError as refused:
        return "unknown operation" not in refused.message
    except VordrError:
        return True
    return isinstance(answer, REGISTRY[name].answer)


@pytest.fixture(scope="module")
def standing(world: Instance) -> Iterator[dict[str, str]]:
    """Names of a running and of a stopped container, as the words of :data:`WAYS` have them."""
    world.run("runner")
    world.vordr("create", "--name", "stander", "hello")
    yield {"{r}": "runner", "{s}": "stander"}
    world.vordr("rm", "-f", "runner", "stander")


@pytest.mark.parametrize("name", REGISTRY)
def test_every_operation_is_reached_by_the_command_line(
    world: Instance, standing: dict[str, str], name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [standing.get(word, word) for word in WAYS[name].words]
    if name == "resize":
        asked = on_a_terminal(world, words, tmp_path / "asked")
    else:
        engine = Recording(world.engine())
        entry.run(words, Session(world.root, opener=lambda _: engine))
        asked = engine.asked
        capfd.readouterr()
    assert name in asked


def on_a_terminal(world: Instance, words: list[str], into: Path) -> list[str]:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", RECORDER, str(Path(__file__).parent), str(world.root), str(into), *words],
            stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=30, check=False)
        assert done.returncode == 0, done
    finally:
        os.close(ours)
        os.close(theirs)
    return into.read_text().splitlines()


def test_every_operation_is_reached_by_the_socket(world: Instance) -> None:
    with world.engine() as engine:
        assert [name for name in REGISTRY if not reached(engine, name)] == []


def test_every_operation_is_reached_by_the_library(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with LocalEngine.open(root) as engine:
        assert [name for name in REGISTRY if not reached(engine, name)] == []
        run = engine.host.paths.run
    for folder in (run / "c", run / "runc", run):
        if folder.exists():
            folder.rmdir()
