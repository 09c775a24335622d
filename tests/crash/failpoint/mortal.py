"""The process that dies: opens a real engine, brings a scene about, and is killed at a point of it.

Told what to do by lines of JSON on standard input, it forks for each, so that imports are paid for once, and
answers with the wait status. What the fork has to say it appends to the file of the request, a line each.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from failpoint import composition, faults, holdings, scenes, soundness  # noqa: E402 - found by the path of this file
from failpoint.load import carry_on  # noqa: E402 - likewise
from failpoint.points import CGROUPS, Fatal, Points  # noqa: E402 - likewise
from vordr.engine.local import LocalEngine  # noqa: E402 - likewise
from vordr.model.errors import StateLocked  # noqa: E402 - likewise
from vordr.model.lifecycle import State  # noqa: E402 - likewise
from vordr.model.paths import Paths  # noqa: E402 - likewise
from vordr.model.spec import RestartMode  # noqa: E402 - likewise
from vordr.model.state import ContainerState  # noqa: E402 - likewise

WITNESSES = ("witness", "sleeper")
OWNERS_PATIENCE = 300.0
"""Seconds in which whoever owned the root folder must have ended, before it is left where it is."""

Say = Callable[[str], None]


class Mortal:
    """One life: an engine with points, opened on ``root``."""

    def __init__(self, root: Path, say: Say) -> None:
        self.paths = Paths.of(root)
        self.say = say
        self.refused: set[str] = set()
        self.points = Points(say, (self.paths.root, self.paths.run, CGROUPS))
        self.points.watch_journal()
        self.points.watch_files()

    def open(self, fatal: Fatal | None = None, *, armed: bool = False) -> LocalEngine:
        """An engine on the folder; ``armed``: the points of its opening count, until it has settled."""
        if armed:
            self.points.arm(fatal)
        engine = LocalEngine.open_on(composition.pointed(self.points, self.refused), self.paths)
        if armed:
            soundness.rest(engine)
            self.points.disarm()
        return engine

    def play(
        self, engine: LocalEngine, scene: scenes.Scene, fatal: Fatal | None, standing: int | None = None
    ) -> int:
        """Clear the stage, bring ``scene`` about, and interrupt it; since when (µs) its containers are.

        With ``standing``, since then it stands there as the scene wants it.
        """
        since = engine.host.now_us() if standing is None else standing
        if standing is None:
            clear(engine)
            for call in scene.before:
                self.perform(engine, call)
        soundness.rest(engine)
        self.tell("ready", engine, since)
        engine.host.journal._store.anchor()  # no head of what came before is written when the act begins
        self.points.arm(fatal)
        self.perform(engine, scene.act)
        self.say("acted")
        soundness.rest(engine)
        self.points.disarm()
        self.tell("after", engine, since)
        return since

    def survey(self, engine: LocalEngine) -> None:
        """Play every scene to its end; one that begins where the last one ended goes on from there."""
        stands: tuple[scenes.Call, ...] | None = None
        since = 0
        for scene in scenes.scenes():
            self.say(f"scene {scene.name}")
            since = self.play(engine, scene, None, since if scene.before == stands else None)
            stands = (*scene.before, scene.act)

    def perform(self, engine: LocalEngine, call: scenes.Call) -> None:
        """One act; where it makes a process, until that can be asked to end."""
        operation, args = call
        match operation:
            case scenes.END:
                end_by_itself(engine)
            case scenes.PARK:
                self._park(engine)
            case scenes.WAKE:
                soundness.call(engine, operation, **args)
                await_process(engine, soundness.by_name(engine, scenes.NAME))
            case _:
                soundness.call(engine, operation, **args)
        for container in soundness.containers(engine).values():
            if container.state is State.RUNNING and container.pid is not None:
                soundness.await_trap(container.pid)

    def _park(self, engine: LocalEngine) -> None:
        """Let the process end when the world refuses to launch it again."""
        self.refused.add("launch")
        web = soundness.by_name(engine, scenes.NAME)
        assert web.pid is not None
        os.kill(web.pid, 15)
        soundness.eventually(
            lambda: engine.host.parking.reason(soundness.containers(engine)[web.id]), lambda: "parked")
        self.refused.clear()

    def tell(self, word: str, engine: LocalEngine, since: int) -> None:
        mine = soundness.since(engine, since)
        about = {"since": since, "declared": soundness.declared(mine), "ids": [c.id for c in mine],
                 "processes": [[c.pid, soundness.started(c.pid)] for c in mine if c.pid]}
        self.say(f"{word} {json.dumps(about)}")


def end_by_itself(engine: LocalEngine) -> None:
    """Let the process end, and wait for what its policy makes of that."""
    web = soundness.by_name(engine, scenes.NAME)
    assert web.pid is not None
    os.kill(web.pid, 15)
    if wanted_after_end(web.spec.auto_remove, web.spec.restart.mode) is State.RUNNING:
        await_process(engine, web)
        return
    wanted = wanted_after_end(web.spec.auto_remove, web.spec.restart.mode)
    soundness.eventually(
        lambda: soundness.containers(engine)[web.id].state is wanted, lambda: f"{wanted} after the end")


def await_process(engine: LocalEngine, before: ContainerState) -> None:
    """Wait until a policy has started the process after that of ``before``."""
    def come() -> bool:
        now = soundness.containers(engine)[before.id]
        return now.state is State.RUNNING and now.process == before.process + 1

    soundness.eventually(come, lambda: "the next process")


def wanted_after_end(auto_remove: bool, mode: RestartMode) -> State:
    if auto_remove:
        return State.REMOVED
    return State.STOPPED if mode is RestartMode.NO else State.RUNNING


def clear(engine: LocalEngine) -> None:
    """Remove every container but the witnesses: whatever a crash left can be removed."""
    for container in soundness.containers(engine).values():
        if container.state is not State.REMOVED and container.name not in WITNESSES:
            soundness.call(engine, "remove", container=container.id, force=True)


def live(root: Path, request: dict[str, Any], say: Say) -> None:
    """What one fork does."""
    mortal = Mortal(root, say)
    fatal = tuple(request["fatal"]) if request.get("fatal") else None
    known = {scene.name: scene for scene in scenes.scenes()}
    match request["do"]:
        case "survey":
            engine = mortal.open()
            mortal.survey(engine)
            engine.close()
        case "play":
            engine = mortal.open()
            mortal.play(engine, known[request["scene"]], fatal, request.get("standing"))
            engine.close()
        case "recover":
            engine = mortal.open(fatal, armed=True)
            engine.close()
        case "load":
            say = _or_stacks(say)
            engine = mortal.open()
            if request.get("fault"):
                say = _failing_after(engine, say, request)
            carry_on(engine, say, request["seed"])
        case "act":
            act(mortal, request, fatal)


def _or_stacks(say: Say) -> Say:
    """``say``; when nothing has been said for as long as a test waits for it, standard error is told where
    every thread stands."""
    faulthandler.dump_traceback_later(soundness.PATIENCE - 1)

    def said(text: str) -> None:
        faulthandler.cancel_dump_traceback_later()
        say(text)

    return said


def _failing_after(engine: LocalEngine, say: Say, request: dict[str, Any]) -> Say:
    """``say``; some time after the first word, which the seed chooses, the journal's disk fails. Tells when
    the journal has stopped."""
    begun = threading.Event()

    def fail() -> None:
        begun.wait()
        time.sleep(random.Random(request["seed"]).uniform(0, request["within"]))
        faults.arm(request["fault"])
        engine.failed.wait()
        say("stopped")

    def said(text: str) -> None:
        say(text)
        begun.set()

    threading.Thread(target=fail, daemon=True).start()
    return said


def act(mortal: Mortal, request: dict[str, Any], fatal: Fatal | None) -> None:
    """Do what comes ``before``, then interrupt the ``act``; tells what stands before it and after each
    transaction of it."""
    engine, say = mortal.open(), mortal.say
    outputs = Path(request["outputs"])
    for operation, args in request["before"]:
        soundness.call(engine, operation, **args)
    soundness.rest(engine)
    say(f"stands {json.dumps(holdings.declared(engine, outputs))}")
    mortal.points.on_commit = lambda: say(f"stands {json.dumps(holdings.declared(engine, outputs))}")
    mortal.points.arm(fatal)
    operation, args = request["act"]
    soundness.call(engine, operation, **args)
    say("acted")
    soundness.rest(engine)
    mortal.points.disarm()
    engine.close()


def take_away(home: Path) -> None:
    """Remove the stage in ``home`` with all that runs on it; whoever played there has ended, or is ending."""
    paths = Paths.of(home / "root")
    if paths.lock.exists():
        with _own_again(paths) as engine:
            for container in soundness.containers(engine).values():
                if container.state is not State.REMOVED:
                    soundness.call(engine, "remove", container=container.id, force=True)
            soundness.rest(engine)
    holdings.remove(home)
    for folder in (paths.run / "c", paths.run / "runc", paths.run):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def _own_again(paths: Paths) -> contextlib.closing[LocalEngine]:
    def opened() -> LocalEngine | None:
        try:
            return LocalEngine.open_on(composition.production(), paths)
        except StateLocked:  # its owner is about to end
            return None

    deadline = time.monotonic() + OWNERS_PATIENCE
    while (engine := opened()) is None:
        assert time.monotonic() < deadline, f"{paths.root} is not let go of"
        time.sleep(0.1)
    return contextlib.closing(engine)


def main(home: Path) -> None:
    composition.facts()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            report = os.open(request["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

            def say(text: str, report: int = report) -> None:
                os.write(report, text.encode() + b"\n")

            try:
                live(Path(request.get("root", home / "root")), request, say)
            except BaseException:  # noqa: BLE001 - told to the test, which fails by it
                say("failed " + json.dumps(traceback.format_exc()))
                os._exit(1)
            os._exit(0)
        _tell({"pid": child})
        _tell({"status": _await(child)})
    take_away(home)


def _tell(answer: dict[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: the next line is the end
        print(json.dumps(answer), flush=True)


def _await(child: int) -> int:
    """The wait status of ``child``, which ends with whoever asked for it."""
    poll = select.poll()
    poll.register(descriptor := os.pidfd_open(child), select.POLLIN)
    poll.register(sys.stdin, 0)  # hang-up alone
    if descriptor not in dict(poll.poll()):
        os.kill(child, signal.SIGKILL)
    os.close(descriptor)
    return os.waitpid(child, 0)[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
