"""The process that dies: opens a real engine, brings a scene about, and is killed at a point of it.

Told what to do by lines of JSON on standard input, it forks for each, so that imports are paid for once, and
answers with the wait status. What the fork has to say it appends to the file of the request, a line each.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from failpoint import composition, scenes, soundness  # noqa: E402 - found by the path of this file
from failpoint.load import carry_on  # noqa: E402 - likewise
from failpoint.points import CGROUPS, Fatal, Points  # noqa: E402 - likewise
from vordr.engine.local import LocalEngine  # noqa: E402 - likewise
from vordr.model.lifecycle import State  # noqa: E402 - likewise
from vordr.model.paths import Paths  # noqa: E402 - likewise
from vordr.model.spec import RestartMode  # noqa: E402 - likewise

WITNESSES = ("witness", "sleeper")
Say = Callable[[str], None]


class Mortal:
    """One life: an engine with points, opened on ``root``."""

    def __init__(self, root: Path, say: Say) -> None:
        self.paths = Paths.of(root)
        self.say = say
        self.points = Points(say, (self.paths.root, self.paths.run, CGROUPS))
        self.points.watch_journal()
        self.points.watch_files()

    def open(self, fatal: Fatal | None = None, *, armed: bool = False) -> LocalEngine:
        """An engine on the folder; ``armed``: the points of its opening count, until it has settled."""
        if armed:
            self.points.arm(fatal)
        engine = LocalEngine.open_on(composition.pointed(self.points), self.paths)
        if armed:
            soundness.settle(engine)
            self.points.disarm()
        return engine

    def play(self, engine: LocalEngine, scene: scenes.Scene, fatal: Fatal | None) -> None:
        """Clear the stage, bring ``scene`` about, and interrupt it."""
        clear(engine)
        since = engine.host.now_us()
        for operation, args in scene.before:
            perform(engine, operation, args)
        soundness.settle(engine)
        self.tell("ready", engine, since)
        self.points.arm(fatal)
        perform(engine, *scene.act)
        self.say("acted")
        soundness.settle(engine)
        self.points.disarm()
        self.tell("after", engine, since)

    def tell(self, word: str, engine: LocalEngine, since: int) -> None:
        known = [ident for ident, c in soundness.containers(engine).items() if c.created > since]
        pids = [c.pid for c in soundness.containers(engine).values() if c.created > since and c.pid]
        about = {"since": since, "declared": soundness.declared(engine, since), "ids": known,
                 "processes": [[pid, soundness.started(pid)] for pid in pids]}
        self.say(f"{word} {json.dumps(about)}")


def perform(engine: LocalEngine, operation: str, args: dict[str, Any]) -> None:
    """One act; where it makes a process, until that can be asked to end."""
    if operation == scenes.END:
        end_by_itself(engine)
        return
    soundness.call(engine, operation, **args)
    for container in soundness.containers(engine).values():
        if container.state is State.RUNNING and container.pid is not None:
            soundness.await_trap(container.pid)


def end_by_itself(engine: LocalEngine) -> None:
    """Let the process end, and wait for what its policy makes of that."""
    web = soundness.by_name(engine, scenes.NAME)
    assert web.pid is not None
    os.kill(web.pid, 15)
    wanted = wanted_after_end(web.spec.auto_remove, web.spec.restart.mode)

    def come() -> bool:
        now = soundness.containers(engine).get(web.id)
        return now is not None and now.state is wanted and (
            wanted is not State.RUNNING or now.process == web.process + 1)

    soundness.eventually(come, lambda: f"{wanted} after the end")


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
            for scene in known.values():
                say(f"scene {scene.name}")
                mortal.play(engine, scene, None)
            engine.close()
        case "play":
            engine = mortal.open()
            mortal.play(engine, known[request["scene"]], fatal)
            engine.close()
        case "recover":
            engine = mortal.open(fatal, armed=True)
            engine.close()
        case "load":
            carry_on(mortal.open(), say, request["seed"])


def main(root: Path) -> None:
    composition.facts()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            report = os.open(request["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

            def say(text: str, report: int = report) -> None:
                os.write(report, text.encode() + b"\n")

            try:
                live(root, request, say)
            except BaseException:  # noqa: BLE001 - told to the test, which fails by it
                say("failed " + json.dumps(traceback.format_exc()))
                os._exit(1)
            os._exit(0)
        print(json.dumps({"pid": child}), flush=True)
        print(json.dumps({"status": os.waitpid(child, 0)[1]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
