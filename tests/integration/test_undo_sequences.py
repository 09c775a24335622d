"""Random sequences of acts, undos, ends and kills of the service on the real runtime, against the model.

The model is that of the property tests (undo_model). Here the files count as well: whatever was written in a
generation is there exactly while the generation is.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from real_world import OBEDIENT, Instance, eventually
from undo_model import ALIVE, CREATED, LEGAL, RUNNING, STOPPED, Box, Change, Deed, Model, Refused, stands

from vordr.engine.remote import RemoteEngine
from vordr.formats.typed import convert
from vordr.model import answers
from vordr.model.errors import ServiceUnreachable, UndoError, VordrError
from vordr.model.operations import REGISTRY
from vordr.model.records import ActStatus

SOAK = bool(os.environ.get("VORDR_SOAK"))
STEPS = 200 if SOAK else 30
SEEDS = range(20 if SOAK else 2)
pytestmark = pytest.mark.timeout(3600 if SOAK else 150)


class Real:
    """A service and the model side by side; ``written`` are the words in the files of each generation."""

    def __init__(self, world: Instance, seed: int) -> None:
        self.world = world
        self.choice = random.Random(seed)
        self.names = [f"seq{seed}{letter}" for letter in "ab"]
        self.model = Model()
        self.engine: RemoteEngine = world.engine()
        self.written: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.digests: dict[tuple[str, Box], str] = {}
        self.words = 0
        self.seen = {entry.txn for entry in self.history()}

    def close(self) -> None:
        for container in self.engine.containers(all=True):
            if container.name in self.names:
                self.call("remove", container=container.id, force=True)
        self.engine.close()

    def call(self, operation: str, **args: Any) -> Any:
        reply = self.engine.call(operation, convert(args, REGISTRY[operation].args))
        for file in reply.files:
            os.close(file)
        return reply.answer

    def history(self) -> list[answers.HistoryEntry]:
        return [entry for entry in reversed(self.engine.history(limit=100_000).acts)
                if entry.status == ActStatus.COMMITTED]

    # -- one step ----------------------------------------------------------------------------------

    def step(self) -> str:
        """One thing that happens; in words, for the report of a failure."""
        name = self.choice.choice(self.names)
        ident = self.model.holders().get(name)
        match self.choice.randrange(12):
            case 0 | 1:
                return self.undo(self.choice.randint(1, 3), cascade=False)
            case 2:
                return self.undo(self.choice.randint(1, 4), cascade=True)
            case 3 | 4:
                return self.redo()
            case 5:
                return self.restore()
            case 6 if ident is not None and self.model.boxes()[ident].state == RUNNING:
                return self.process_ends(ident)
            case 7 if self.choice.random() < 0.3:
                return self.service_is_killed()
            case _ if ident is None:
                return self.make(name)
            case _:
                legal = LEGAL[self.model.boxes()[ident].state]
                return self.act(self.choice.choice(legal), ident)

    def asked_for(self) -> answers.HistoryEntry:
        """The one act that has come since the last look."""
        (entry,) = self.news()
        return entry

    def news(self) -> list[answers.HistoryEntry]:
        new = [entry for entry in self.history() if entry.txn not in self.seen]
        self.seen |= {entry.txn for entry in new}
        return new

    def happened(self, entry: answers.HistoryEntry, changes: list[Change]) -> None:
        self.model.happened(Deed(entry.txn, "me", entry.act, changes, origin=entry.origin))

    def make(self, name: str) -> str:
        operation = self.choice.choice(("run", "create"))
        self.call(operation, image="hello", name=name, command=["sh", "-c", OBEDIENT])
        entry = self.asked_for()
        ident = entry.steps[0].subject
        made = Box(name, "hello", CREATED)
        changes: list[Change] = [(ident, None, made)]
        if operation == "run":
            changes.append((ident, made, replace(made, state=RUNNING, generations=(1,), starter=entry.txn)))
        self.happened(entry, changes)
        return f"{operation} {name}"

    def act(self, what: str, ident: str) -> str:
        container = ident.partition("/")[2]
        box = self.model.boxes()[ident]
        if what == "exec":
            self.words += 1
            self.world.sh(container, f"echo w{self.words} >> /words")
            self.written[ident, box.generations[-1]].append(f"w{self.words}")
        else:
            operation = {"remove-f": "remove", "signal": "kill"}.get(what, what)
            self.call(operation, container=container, **{
                "remove-f": {"force": True}, "signal": {"signal": "CONT"}}.get(what, {}))
        entry = self.asked_for()
        opened = next((int(s.args["generation"]) for s in entry.steps if "generation" in s.args), 0)
        assert not opened or opened > max(box.generations, default=0)
        self.happened(entry, self.model.changes(what, ident, entry.txn, opened))
        return f"{what} {box.name}"

    def restore(self) -> str:
        there = {i: box for i, box in self.model.in_trash().items() if box.name not in self.model.holders()}
        if not there:
            return "nothing to restore"
        ident = self.choice.choice(sorted(there))
        box, name = there[ident], there[ident].name
        self.call("trash_restore", item=ident.partition("/")[2])
        changes: list[Change] = [] if ident in self.model.boxes() else [(ident, None, box)]
        if not stands(box):
            back = STOPPED if box.starter is not None else CREATED
            changes.append((ident, box, replace(box, state=back)))
        self.happened(self.asked_for(), changes)
        return f"restore {name}"

    def undo(self, steps: int, *, cascade: bool) -> str:
        try:
            chosen = self.model.select(self.model.newest("me", None, steps), cascade=cascade)
        except Refused as refused:
            return self.refused("undo", refused, steps=steps, cascade=cascade)
        self.call("undo", steps=steps, cascade=cascade)
        self.model.undid(self.asked_for().txn, "me", "undo", chosen)
        return f"undo {[deed.what for deed in chosen]}"

    def redo(self) -> str:
        try:
            chosen = self.model.select(self.model.standing_undo("me"), cascade=False)
        except Refused as refused:
            return self.refused("redo", refused)
        self.call("redo")
        self.model.undid(self.asked_for().txn, "me", "redo", chosen)
        return f"redo {[deed.what for deed in chosen]}"

    def refused(self, operation: str, expected: Refused, **args: Any) -> str:
        if expected.why == "nothing":
            return f"nothing to {operation}"  # of this sequence: others may have been here before
        with pytest.raises(UndoError) as refused:
            self.call(operation, **args)
        assert {entry["txn"] for entry in refused.value.details["blocked_by"]} == expected.by
        assert not self.news()
        return f"{operation} refused: {expected.why}"

    def process_ends(self, ident: str) -> str:
        pid = self.engine.inspect(ident.partition("/")[2]).container.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        found: list[answers.HistoryEntry] = []
        eventually(lambda: found.extend(self.news()) or found, "the end in the record")
        (entry,) = found
        assert (entry.act, entry.origin) == ("exit", self.model.boxes()[ident].starter)
        self.happened(entry, self.model.changes("exit", ident, entry.txn, 0))
        return f"the end of {self.model.boxes()[ident].name}"

    def service_is_killed(self) -> str:
        self.world.kill_service(keeper=False)
        self.world.vordr("ps")  # its keeper gives up after some: then whoever asks starts another

        def back() -> bool:
            with contextlib.suppress(ServiceUnreachable):
                self.engine.close()
                self.engine = self.world.engine()
                return bool(self.call("version"))
            return False

        eventually(back, "a service")
        return "the service is killed"

    # -- after each --------------------------------------------------------------------------------

    def agree(self) -> None:
        boxes = self.model.boxes()
        there = {f"container/{c.id}": c for c in self.engine.containers(all=True) if c.name in self.names}
        assert {c.name: ident for ident, c in there.items()} == self.model.holders()
        for ident, handle in there.items():
            told = self.engine.inspect(handle.id)
            now, box = told.container, boxes[ident]
            numbers = tuple(generation.number for generation in now.generations)
            assert replace(box, name=now.name, state=now.state, generations=numbers) == box
            assert self.digests.setdefault((ident, replace(box, starter=None)), told.digest) == told.digest
            self.agree_with_the_host(now.pid, box)
            words = [word for number in box.generations for word in self.written[ident, number]]
            if box.state == RUNNING:
                assert self.in_container(now.pid) == words
        trash = {f"container/{item.id}" for item in self.call("trash").items if item.kind != "image"}
        assert self.model.in_trash().keys() <= trash and not trash & there.keys()

    @staticmethod
    def agree_with_the_host(pid: int | None, box: Box) -> None:
        assert (pid is not None) == (box.state in ALIVE)
        if pid is not None:
            assert Path(f"/proc/{pid}/root/words").parent.exists()

    @staticmethod
    def in_container(pid: int | None) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return Path(f"/proc/{pid}/root/words").read_text().split()
        return []


@pytest.mark.parametrize("seed", SEEDS)
def test_any_sequence_leaves_what_the_model_says_on_the_real_runtime(world: Instance, seed: int) -> None:
    real, said = Real(world, seed), []
    try:
        for _ in range(STEPS):
            said.append(real.step())
            real.agree()
    except (AssertionError, VordrError) as error:
        raise AssertionError(f"after {said}") from error
    finally:
        real.close()
    world.assert_sound()
