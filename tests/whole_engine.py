"""A whole engine around a fake world: the production tree, journal, gatekeeper, transactions and handlers.

Only the machine is fake (:mod:`fakeworld`), and time where a test asks for it. The image is tiny, and
attested by the keys that ``trust init`` made, so that every verdict is the gatekeeper's own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from fakeworld import PATIENCE, FakeWorld
from memory_folder import memory_folder

from vordr.actors.clock import Clock, SystemClock, VirtualClock
from vordr.actors.stores import Made, Work
from vordr.engine import intake
from vordr.engine.composition import Composition
from vordr.engine.finding import all_acts
from vordr.engine.host import Call
from vordr.engine.library import Incoming
from vordr.engine.local import LocalEngine
from vordr.engine.protocol import Caller
from vordr.formats.digests import sha256_digest
from vordr.formats.typed import convert
from vordr.gatekeeper.adopt import attest
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.translog import local_logs
from vordr.journal.lawful import check_history
from vordr.model.errors import JournalStopped
from vordr.model.lifecycle import State
from vordr.model.operations import REGISTRY, Scope
from vordr.model.paths import Paths
from vordr.model.records import Act
from vordr.model.state import ContainerState, ImageConfig, ImageState, Layer
from vordr.runtime.probe import HostFacts, probe

CALLER = Caller("uid:0", Scope.ADMIN)
IMAGE = "docker.io/library/tiny:latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

T = TypeVar("T")


def standing_clock() -> VirtualClock:
    """A clock that stands still, at a time when the seed's keys and attestations hold."""
    seed()
    return VirtualClock(time.time_ns() // 1000)


@functools.cache
def facts() -> HostFacts:
    return probe()


def eventually(look: Callable[[], T], what: str) -> T:
    """The first true value of ``look``: for what comes about on other threads."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"there never was: {what}"
        time.sleep(0.002)
    return found


def wait_for_restart(whole: Whole) -> None:
    """Let time pass until a policy has web run again; its clock stands still otherwise."""
    def running() -> bool:
        whole.host.clock.advance(60.0)
        web = whole.get()
        return web is not None and web.state is State.RUNNING

    eventually(running, "web runs again")


def meanwhile(monkeypatch: pytest.MonkeyPatch, whole: Whole, happens: Callable[[], object]) -> None:
    """Let something happen once, between the next plan and its begin."""
    new_txn, left = whole.host.transactions.new_txn, [happens]

    def meddled() -> str:
        if left:
            left.pop()()
        return str(new_txn())

    monkeypatch.setattr(whole.host.transactions, "new_txn", meddled)


class Whole:
    """One engine on one root folder and one world."""

    def __init__(self, root: Path, world: FakeWorld | None = None, clock: Clock | None = None) -> None:
        self.paths = Paths(root, root / "run")
        self.world = world or FakeWorld()
        self.engine = LocalEngine.open_on(
            Composition(lambda: clock or SystemClock(), facts, self.world.machine), self.paths)
        self.host = self.engine.host
        self.journal = self.engine.host.journal

    def close(self) -> None:
        self.engine.close()

    # -- asking ------------------------------------------------------------------------------------

    def call(self, operation: str, caller: Caller = CALLER, **args: Any) -> Any:
        made = convert(args, REGISTRY[operation].args)
        return self.engine.call_as(caller, operation, made).answer

    def run(self, name: str = "web", **wishes: Any) -> ContainerState:
        container: ContainerState = self.call(
            "run", image=IMAGE, name=name, command=["/bin/serve"], **wishes).container
        return container

    def do(self, operation: str, container: str = "web", **args: Any) -> Any:
        return self.call(operation, container=container, **args)

    def begin(self, call: Callable[[], T]) -> Asked[T]:
        """Ask on a thread of its own."""
        return Asked(call)

    # -- looking -----------------------------------------------------------------------------------

    def get(self, name: str = "web") -> ContainerState | None:
        """The container that has this name, or this id (a removed one too)."""
        ident = self.journal.get(f"names/{name}") or name
        value = self.journal.get(f"containers/{ident}")
        return None if value is None else convert(value, ContainerState)

    def containers(self) -> dict[str, ContainerState]:
        return {key.partition("/")[2]: convert(value, ContainerState)
                for key, value in self.journal.scan("containers/")}

    def acts(self) -> list[Act]:
        return all_acts(self.journal)

    def last(self) -> Act:
        return self.acts()[-1]

    def said(self) -> list[str]:
        """What happened, as act names with their causes where nobody asked for them."""
        return [act.act if act.cause == "act" else f"{act.act}:{act.cause}" for act in self.acts()]

    def declared(self) -> dict[str, Any]:
        """The declared state of everything, with who has which name: what undo brings back."""
        return {
            "containers": {ident: c.digest() for ident, c in self.containers().items()},
            "names": dict(self.journal.scan("names/"))}

    def wait_state(self, state: State, name: str = "web") -> ContainerState:
        def look() -> ContainerState | None:
            found = self.get(name)
            return found if found is not None and found.state is state else None

        return eventually(look, f"{name} is {state}")  # type: ignore[return-value]  # never None, by eventually

    def wait_said(self, *expected: str) -> None:
        eventually(lambda: self.said()[-len(expected):] == list(expected), f"{expected}, but {self.said()}")

    def settle(self) -> None:
        """Wait until nothing is open and every exit that lies there has been dealt with."""
        def quiet() -> bool:
            if next(iter(self.journal.scan("open/")), None) is not None:
                return False
            return all(place.exit is None for place in list(self.world.places.values()))

        eventually(quiet, "peace")

    def check(self, *, lawful: bool = True) -> None:
        """Nothing is open or held, and world and journal say the same of every container there ever was.

        ``lawful``: the whole history is held against the model too, which reads all of it.
        """
        self.settle()
        assert dict(self.journal.scan("open/")) == {}
        assert dict(self.journal.scan("busy/")) == {}
        declared = self.containers()

        def differences() -> list[str]:
            places = set(self.world.places) | set(self.containers())
            return [f"{ident[:6]}: {what}" for ident in sorted(places)
                    for what in self.world.disagreements(ident, self.containers().get(ident))]

        eventually(lambda: not differences(), f"agreement, but {differences()}")
        if lawful:
            history = check_history(record for record, _ in self.journal.records())
            assert history.ok, f"the model does not allow {history.unlawful}"
        taken = dict(self.journal.scan("names/"))
        there = {f"names/{c.name}": c.id for c in declared.values() if c.state is not State.REMOVED}
        assert taken == there


class Doom:
    """The death of an engine after so many durable steps: appends to its journal, and effects in its world.

    ``left`` is the world at that moment, None while the engine lives. What it does after its death is not
    journalled, and not in ``left``.
    """

    def __init__(self, whole: Whole, steps: int) -> None:
        self.left: FakeWorld | None = None
        self._steps = steps
        self._whole = whole
        self._lock = threading.Lock()
        store = whole.journal._store
        append = store.append_batch

        def append_or_die(groups: Any) -> Any:
            if self.left is None:
                outcomes = append(groups)
                self.step()
            if self.left is not None:
                raise JournalStopped("the engine is dead")
            return outcomes

        store.append_batch = append_or_die
        whole.world.on_call = self.step

    def step(self) -> None:
        with self._lock:
            self._steps -= 1
            if self._steps < 0 and self.left is None:
                self.left = self._whole.world.copy()

    def averted(self) -> bool:
        """Whether the engine still lives; then it goes on as if nothing had been meant to happen."""
        if self.left is None:
            del self._whole.journal._store.append_batch
            self._whole.world.on_call = None
        return self.left is None


class Asked:
    """A call on a thread of its own; :meth:`result` waits for its answer, or raises its error."""

    def __class_getitem__(cls, item: Any) -> type[Asked]:
        return cls

    def __init__(self, call: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert self.over, "the call never came back"
        if self._error is not None:
            raise self._error
        return self._outcome[0]


# -- the seed: a root folder with trust and one attested image --------------------------------------------


@functools.cache
def seed() -> Path:
    """A closed root folder, made once: keys, logs, trust store, and the image :data:`IMAGE`."""
    folder = memory_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = folder / "root"
    whole = Whole(root)
    try:
        whole.call("trust_init", owner="Ada")
        import_image(whole, IMAGE)
    finally:
        whole.close()
    return root


def import_image(whole: Whole, name: str, content: bytes = b"layer") -> str:
    """Attest an image with the operator's key and bring it in; returns its manifest digest."""
    return bring_in(whole, *make_image(name, content))


def bring_in(whole: Whole, manifest: bytes, config: bytes, image: ImageState, *, vouch: bool = True) -> str:
    """Bring an image in, attested with the operator's key if ``vouch``; returns its manifest digest."""
    host = whole.host
    name = image.names[0]
    host.store.add_bytes(manifest, image.manifest)
    bundle = b""
    if vouch:
        signer = KeyRing(whole.paths).load(OPERATOR, None)
        logs = local_logs(whole.paths, host.gatekeeper.trusted().store)
        bundle = attest(manifest, config, name=name, source="a test", signers=[signer], logs=logs,
                        now_us=host.now_us())
        image = msgspec.structs.replace(
            image, bundle=sha256_digest(bundle), origin="adopted", attested_by="adopted by Ada")

    def work() -> Made:
        if vouch:
            host.library.keep_bundle(bundle)
        return Made()

    import_by(whole, image, work)
    return image.manifest


def import_by(whole: Whole, image: ImageState, work: Work) -> None:
    """Bring in an image whose blobs are in the store; ``work`` is what the step does."""
    incoming = Incoming(image, lambda: whole.host.library.import_steps(image, work))
    intake.bring_in(whole.host, Call(CALLER), incoming, f"import {image.names[0]}")


def make_image(name: str, content: bytes) -> tuple[bytes, bytes, ImageState]:
    layer = Layer(sha256_digest(b"diff" + content), sha256_digest(content), len(content), LAYER_TYPE)
    return image_of(name, [layer])


def image_of(name: str, layers: list[Layer], **more: Any) -> tuple[bytes, bytes, ImageState]:
    """Manifest, config and state of an unverified image; ``more`` goes into its config."""
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": more,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)},
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.blob, "size": layer.size} for layer in layers],
    }).encode()
    return manifest, config, ImageState(
        manifest=sha256_digest(manifest), config_digest=sha256_digest(config), names=(name,),
        layers=tuple(layers), seals=(), config=ImageConfig(), bundle=None, origin="unverified",
        attested_by="", imported=0)


def planted(
    root: Path, world: FakeWorld | None = None, clock: Clock | None = None, *,
    seed: Callable[[], Path] = seed,
) -> Whole:
    """An engine on a copy of the seed at ``root``."""
    shutil.copytree(seed(), root)
    return Whole(root, world, clock)


@contextlib.contextmanager
def whole_engine(folder: Path, clock: Clock | None = None) -> Iterator[Whole]:
    whole = planted(folder / "root", clock=clock)
    try:
        yield whole
    finally:
        whole.close()
