"""An engine and the reference model side by side: the same acts on both, then everything is compared.

The engine may die at any durable step. Then its successor opens what it left, and the act either was or was
not; the model is told which, and must agree with all the rest.
"""

from __future__ import annotations

import atexit
import functools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakeworld import FakeWorld
from memory_folder import memory_folder
from undo_model import ALIVE, CREATED, RUNNING, STOPPED, Box, Change, Deed, Image, Model, Refused, stands
from whole_engine import Doom, Whole, bring_in, eventually, image_of, planted, seed, standing_clock

from vordr.actors.clock import VirtualClock
from vordr.engine.protocol import Caller
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.typed import convert
from vordr.model.errors import (
    ImageNotFound,
    PolicyDenied,
    UndoBlocked,
    UndoError,
    VerificationRejected,
    VordrError,
)
from vordr.model.operations import Scope
from vordr.model.records import Act, ActStatus, Cause, Kind, act_key
from vordr.model.restart import Sequel, after_exit
from vordr.model.state import ImageState

CALLERS = {"uid:0": Scope.ADMIN, "uid:1001": Scope.OPERATE, "uid:1002": Scope.OPERATE}
NAMES = ("a", "b", "c")
IMAGES = ("one", "two")
"""The second one nobody has vouched for, at first."""
OPTIONS = (
    {}, {}, {"auto_remove": True}, {"restart": {"mode": "always"}}, {"restart": {"mode": "on-failure"}})


@functools.cache
def two_images() -> Path:
    """A closed root folder with the two images. They have no layers: nothing here looks into one."""
    folder = memory_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    whole = planted(folder / "root", seed=seed)
    try:
        for name in IMAGES:
            manifest, config, image = plain(name)
            for digest, content in ((image.manifest, manifest), (image.config_digest, config)):
                whole.host.store.add_bytes(content, digest)
            bring_in(whole, manifest, config, image, vouch=name == "one")
    finally:
        whole.close()
    return folder / "root"


def plain(name: str) -> tuple[bytes, bytes, ImageState]:
    return image_of(f"docker.io/library/{name}:latest", [], Labels={"name": name})


class Sides:
    """Both sides. Every public method is one thing that can happen."""

    def __init__(self) -> None:
        self.folder = memory_folder()
        two_images()  # before the clock stands still: what vouches for them must not come after it
        self.whole = planted(self.folder / "root", clock=standing_clock(), seed=two_images)
        self.model = Model()
        self.image = {name: f"image/{plain(name)[2].manifest}" for name in IMAGES}
        self.seen = 0
        self.unheard: list[Act] = []
        self.begins: dict[str, int] = {}
        self.keys: list[str] = []
        self.ended: set[str] = set()
        self.signalled: set[str] = set()  # paused, and they end when they thaw
        self.leaving: set[str] = set()
        self.due: dict[str, int] = {}  # with the number of the process that ended
        self.digests: dict[tuple[str, Box], str] = {}
        there = {f"image/{i.manifest}": Image(i.names, i.bundle) for i in self._images()}
        for act in self.news():
            subjects = [step.subject for step in act.steps if step.subject in there]
            self._happened(act, [(subject, None, there[subject]) for subject in subjects])

    def close(self) -> None:
        try:
            self.whole.check()
        finally:
            self.whole.close()
            shutil.rmtree(self.folder)

    # -- looking at the engine ---------------------------------------------------------------------

    def _images(self) -> list[ImageState]:
        return [convert(value, ImageState) for _, value in self.whole.journal.scan("images/")]

    def _trash(self) -> dict[str, str]:
        return {f"container/{key.partition('/')[2]}": value["name"]
                for key, value in self.whole.journal.scan("trash/") if value["kind"] != "image"}

    def agree(self) -> None:
        """What stands in the journal is what the model says, and one state has one digest."""
        self._wait_for_ends()
        self.whole.check(lawful=False)
        boxes = self.model.boxes()
        there = {f"container/{ident}": c for ident, c in self.whole.containers().items()}
        assert there.keys() == boxes.keys()
        for ident, c in there.items():
            box = boxes[ident]
            numbers = tuple(generation.number for generation in c.generations)
            assert (box.name, box.image, box.state, box.generations) == (
                c.name, f"image/{c.image}", c.state, numbers)
            assert box.state not in ALIVE or c.process_act == box.starter
            known = self.digests.setdefault((ident, replace(box, starter=None)), c.digest())
            assert known == c.digest(), "a state came back with another digest"
        assert {key.partition("/")[2]: f"container/{ident}" for key, ident
                in self.whole.journal.scan("names/")} == self.model.holders()
        images = {f"image/{i.manifest}": Image(i.names, i.bundle) for i in self._images()}
        assert images == {k: v for k, v in self.model.things.items() if isinstance(v, Image)}
        assert self._trash() == {ident: box.name for ident, box in self.model.in_trash().items()}

    def vouched(self, image: str) -> bool:
        found = self.model.things.get(image)
        return isinstance(found, Image) and found.bundle is not None

    def news(self) -> list[Act]:
        """Acts that were committed since the last look, in the order of their ends."""
        ended = [record for record, _ in self.whole.journal.records(self.seen + 1)
                 if record.kind in (Kind.COMMIT, Kind.ABORT)]
        self.seen = ended[-1].seq if ended else self.seen
        found = [convert(self.whole.journal.get(act_key(record.txn)), Act) for record in ended]
        return [act for act in found if act.status is ActStatus.COMMITTED]

    def nothing_happened(self) -> None:
        kinds = {record.kind for record, _ in self.whole.journal.records(self.seen + 1)}
        assert Kind.BEGIN not in kinds, "it journalled something"

    # -- what follows by itself --------------------------------------------------------------------

    def _follow(self, act: Act) -> None:
        """An act that nobody asked for: the model is told of it only if it was to be expected."""
        ident = act.steps[0].subject
        box = self.model.boxes()[ident]
        assert act.origin == box.starter
        match act.act, act.cause:
            case "exit", Cause.EXIT:
                assert ident in self.ended | self.signalled, "an end that there was not"
                self.ended.discard(ident)
                self.signalled.discard(ident)
                self._happened(act, self.model.changes("exit", ident, act.txn, 0))
                self._look_after(ident)
            case "remove", Cause.POLICY:
                assert ident in self.leaving
                self.leaving.discard(ident)
                self._happened(act, self.model.changes("remove", ident, act.txn, 0))
            case "restart", Cause.POLICY:
                assert ident in self.due
                self._happened(act, self.model.changes("revive", ident, act.txn, 0))
            case _:
                raise AssertionError(f"{act.summary}, by {act.cause}")

    def _happened(self, act: Act, changes: list[Change]) -> None:
        self.begins[act.txn] = act.seq
        self.model.happened(Deed(act.txn, act.principal, act.act, changes, origin=act.origin))

    def _look_after(self, ident: str) -> None:
        """What the end of a process has as a sequel (which that is: tests/unit/test_model_restart.py)."""
        container = self.whole.get(ident.partition("/")[2])
        assert container is not None
        match after_exit(container).sequel:
            case Sequel.REMOVE:
                self.leaving.add(ident)
            case Sequel.RESTART:
                self.due[ident] = container.process

    def _absorb(self) -> list[Act]:
        """Tell the model what followed by itself; the acts that somebody asked for.

        What followed such an act waits until the model knows of that: :meth:`agree` looks again.
        """
        asked: list[Act] = []
        self.unheard += self.news()
        while self.unheard and not asked:
            act = self.unheard.pop(0)
            if act.cause is Cause.ACT:
                asked.append(act)
            else:
                self._follow(act)
        return asked

    def _wait_for_ends(self) -> None:
        def quiet() -> bool:
            assert not self._absorb()
            boxes, alive = self.model.boxes(), self.whole.world.alive()
            dead = {ident for ident in self.signalled & boxes.keys()
                    if boxes[ident].state in ALIVE and ident.partition("/")[2] not in alive}
            return not self.ended and not self.leaving and not dead

        eventually(quiet, f"the ends of {self.ended}, and the removals of {self.leaving}")
        self.signalled = self._signalled()

    def _signalled(self) -> set[str]:
        return {f"container/{ident}" for ident in self.whole.world.signalled()}

    def process_ends(self, ident: str, code: int) -> None:
        self.ended.add(ident)
        self.whole.world.end(ident.partition("/")[2], code)
        self._wait_for_ends()

    def time_passes(self) -> None:
        """What restart policies asked for falls due, of containers that are as their end has left them.

        Where nobody vouches for the image any more, they stay down.
        """
        due = {ident for ident, process in self.due.items() if self._as_it_ended(ident, process)}

        def restarted() -> bool:
            self.whole.host.clock.advance(60.0)
            assert not self._absorb()
            return all(self.model.boxes()[ident].state == RUNNING for ident in due)

        eventually(restarted, f"the restarts of {due}")
        self.due.clear()

    def _as_it_ended(self, ident: str, process: int) -> bool:
        now = self.whole.get(ident.partition("/")[2])
        last = next(deed for deed in reversed(self.model.deeds) if ident in deed.things)
        return (now is not None and now.state == STOPPED and now.process == process and last.what == "exit"
                and not now.asked_to_stop and self.vouched(f"image/{now.image}"))

    # -- crashes -----------------------------------------------------------------------------------

    def reopen(self, how: str, ends: Sequence[str] = ()) -> None:
        """The engine is closed, dropped, or goes down with the host; ``ends``: processes end meanwhile."""
        world = self.whole.world
        if how != "close":
            doom = Doom(self.whole, 0)
            doom.step()
            assert doom.left is not None
            world = doom.left
        if how == "reboot":
            world.reboot()
            self.ended = {ident for ident, box in self.model.boxes().items() if box.state in ALIVE}
        self._open(world, () if how == "reboot" else ends)
        self._wait_for_ends()

    def _open(self, world: FakeWorld, ends: Sequence[str] = ()) -> None:
        now = self.whole.host.clock.now_us()
        self.whole.close()
        for ident in ends:
            world.end(ident.partition("/")[2], 3, tell=False)
        self.ended |= set(ends)
        self.whole = Whole(self.whole.paths.root, world, VirtualClock(now))
        assert not [one for one in self.whole.engine.recovered if one.left]
        self.due.clear()
        for ident, container in self.whole.containers().items():
            if container.state == STOPPED:
                self._look_after(f"container/{ident}")

    # -- acts --------------------------------------------------------------------------------------

    def call(self, who: str, operation: str, **args: Any) -> Any:
        return self.whole.call(operation, Caller(who, CALLERS[who]), **args)

    def _attempt(self, who: str, operation: str, dies: int | None, **args: Any) -> Act | None:
        """The act, when it was committed; None when the engine died at a durable step of it and it was not.

        Raises what refuses it.
        """
        doom = None if dies is None else Doom(self.whole, dies)
        refused = None
        try:
            self.call(who, operation, **args)
        except VordrError as error:
            refused = error
        if doom is not None and not doom.averted():
            assert doom.left is not None
            self._open(doom.left)
            self.signalled |= self._signalled()
        elif refused is not None:
            raise refused
        acts = self._absorb()
        assert len(acts) == 1 or (doom is not None and not acts)
        return acts[0] if acts else None

    def refuse(
        self, who: str, operation: str, error: type[VordrError] = VordrError, **args: Any
    ) -> VordrError:
        with pytest.raises(error) as refused:
            self.call(who, operation, **args)
        self.nothing_happened()
        return refused.value

    def make(self, who: str, operation: str, name: str, image: str, option: int, dies: int | None) -> None:
        wishes: dict[str, Any] = {
            "image": image, "name": name, "command": ["/bin/serve"], "pull": "never", **OPTIONS[option]}
        if name in self.model.holders() or not self.vouched(self.image[image]):
            self.refuse(who, operation, **wishes)
            return
        made = Box(
            name, self.image[image], CREATED, rm=bool(wishes.get("auto_remove")),
            restarts=wishes.get("restart", {}).get("mode", "no"))
        act = self._attempt(who, operation, dies, **wishes)
        if act is None:
            # What a recovery takes back lies in the trash, if there was anything of it yet.
            new = self._trash().keys() - self.model.in_trash().keys()
            self.model.trash.update(dict.fromkeys(new, made))
            assert len(new) <= 1
            return
        ident = act.steps[0].subject
        changes: list[Change] = [(ident, None, made)]
        if operation == "run":
            changes.append((ident, made, replace(made, state=RUNNING, generations=(1,), starter=act.txn)))
        self._happened(act, changes)

    def act(self, who: str, what: str, ident: str, dies: int | None) -> None:
        """A legal act on a standing container."""
        box = self.model.boxes()[ident]
        operation = {"remove-f": "remove", "signal": "kill"}.get(what, what)
        args: dict[str, Any] = {"container": box.name}
        args |= {"remove-f": {"force": True}, "signal": {"signal": "USR1"},
                 "exec": {"command": ["true"], "detach": True}}.get(what, {})
        if what in ("start", "restart") and not self.vouched(box.image):
            self.refuse(who, operation, **args)
            return
        act = self._attempt(who, operation, dies, **args)
        if act is None:
            return
        opened = next((int(step.args["generation"]) for step in act.steps if "generation" in step.args), 0)
        assert not opened or opened > max(box.generations, default=0)
        self._happened(act, self.model.changes(what, ident, act.txn, opened))

    def restore(self, who: str, ident: str, name: str | None, dies: int | None) -> None:
        box = self.model.in_trash()[ident]
        args: dict[str, Any] = {"item": ident.partition("/")[2], "name": name}
        name = name or box.name
        if name in self.model.holders():
            self.refuse(who, "trash_restore", **args)
            return
        act = self._attempt(who, "trash_restore", dies, **args)
        if act is None:
            return
        box = replace(box, name=name) if ident not in self.model.boxes() else box
        changes: list[Change] = [] if ident in self.model.boxes() else [(ident, None, box)]
        if not stands(box):
            back = STOPPED if box.starter is not None else CREATED
            changes.append((ident, box, replace(box, name=name, state=back)))
        self._happened(act, changes)

    def adopt(self, who: str, image: str, dies: int | None) -> None:
        before = self.model.things.get(self.image[image])
        if not isinstance(before, Image) or CALLERS[who] is not Scope.ADMIN:
            self.refuse(who, "adopt", image=image)
            return
        act = self._attempt(who, "adopt", dies, image=image)
        if act is not None:
            after = replace(before, bundle=str(act.steps[0].args["bundle"]))
            assert after != before
            self._happened(act, [(self.image[image], before, after)])

    def bring_in(self, image: str) -> None:
        """An image that is not there comes again, vouched for."""
        if self.image[image] not in self.model.things or self.model.things[self.image[image]] is None:
            bring_in(self.whole, *plain(image))
            (act,), (there,) = self._absorb(), [i for i in self._images() if i.names == plain(image)[2].names]
            self._happened(act, [(self.image[image], None, Image(there.names, there.bundle))])

    def remove_image(self, who: str, image: str, dies: int | None) -> None:
        subject = self.image[image]
        before = self.model.things.get(subject)
        if before is None or any(box.image == subject and stands(box) for box in self.model.boxes().values()):
            self.refuse(who, "remove_image", image=image)
            return
        act = self._attempt(who, "remove_image", dies, image=image)
        if act is not None:
            self._happened(act, [(subject, before, None)])

    def trust(self, who: str, dies: int | None) -> None:
        """Trust a new key, or revoke one: acts that no undo takes back, and that are in nobody's way."""
        if self.keys:
            operation, args = "trust_revoke", {"key": self.keys[-1]}
        else:
            key = PrivateKey.generate(Suite.ED25519).public
            operation = "trust_add"
            pem = f"-----BEGIN PUBLIC KEY-----\n{key.to_spki_base64()}\n-----END PUBLIC KEY-----\n"
            args = {"public_key": pem, "role": "adopters", "owner": "Bo"}
        if CALLERS[who] is not Scope.ADMIN:
            self.refuse(who, operation, PolicyDenied, **args)
            return
        act = self._attempt(who, operation, dies, **args)
        if act is not None:
            self.keys = [] if self.keys else [key.key_id]
            self._happened(act, [])

    # -- undo and redo -----------------------------------------------------------------------------

    def undo(
        self, who: str, asked: list[Deed] | Refused, dies: int | None, *, cascade: bool, **args: Any
    ) -> None:
        self._reverse(who, "undo", asked, dies, cascade=cascade, args={**args, "cascade": cascade})

    def redo(self, who: str, asked: list[Deed] | Refused, dies: int | None, **args: Any) -> None:
        self._reverse(who, "redo", asked, dies, cascade=False, args=args)

    def _reverse(
        self, who: str, what: str, asked: list[Deed] | Refused, dies: int | None, *, cascade: bool,
        args: dict[str, Any],
    ) -> None:
        try:
            if isinstance(asked, Refused):
                raise asked
            chosen = self.model.select(asked, cascade=cascade)
            self._authorise(who, chosen)
        except Refused as expected:
            self._refused(who, what, expected, args)
            return
        if len(self.model.deeds) % 4 == 0:
            told = self._possible(lambda: self.call(who, what, dry_run=True, **args), chosen)
            self.nothing_happened()
            assert told is None or {txn for txn, _ in told.undone} == {deed.txn for deed in chosen}
        act = self._possible(lambda: self._attempt(who, what, dies, **args), chosen)
        if act is None:
            return
        assert act.undoes is not None and set(act.undoes.split(",")) == {deed.txn for deed in chosen}
        self.begins[act.txn] = act.seq
        self.model.undid(act.txn, who, what, chosen)

    def _refused(self, who: str, what: str, expected: Refused, args: dict[str, Any]) -> None:
        error = self.refuse(who, what, PolicyDenied if expected.why == "denied" else UndoError, **args)
        assert isinstance(error, UndoBlocked) == (expected.why == "blocked")
        if expected.why == "blocked":
            assert {entry["txn"] for entry in error.details["blocked_by"]} == expected.by
            assert all(entry["summary"] for entry in error.details["blocked_by"])

    def _possible(self, call: Any, chosen: Sequence[Deed]) -> Any:
        """What ``call`` gives; None when a process would have to be made of an image nobody vouches for."""
        try:
            return call()
        except (VerificationRejected, ImageNotFound):
            self.nothing_happened()
            images = {box.image for deed in chosen for _, before, after in deed.changes
                      for box in (before, after) if isinstance(box, Box)}
            assert not all(self.vouched(image) for image in images)
            return None

    def _authorise(self, who: str, chosen: Sequence[Deed]) -> None:
        """Only an administrator takes an adoption back, or brings an image back that others removed."""
        if CALLERS[who] is Scope.ADMIN:
            return
        for thing, before, after in (change for deed in chosen for change in deed.changes):
            if isinstance(before, Image):
                others = any(deed.who != who for deed in chosen if thing in deed.things)
                if isinstance(after, Image) or others:
                    raise Refused("denied")
