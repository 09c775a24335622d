"""The engine that owns a root folder: opens it, plants the tree, recovers, and answers calls."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vordr.actors.childspec import Action, Decision
from vordr.actors.container import Surroundings
from vordr.actors.containers import ContainerDirectory
from vordr.actors.gatekeeper import GatekeeperClient
from vordr.actors.pool import EffectPool
from vordr.actors.reasons import Reason
from vordr.actors.recovery import Recovered, Recovery
from vordr.actors.root import GATEKEEPER, IMAGES, ServicePerformer, Tree, plant
from vordr.actors.transaction import Transactions
from vordr.actors.tree import stop_tree
from vordr.engine import settings
from vordr.engine.aftermath import Aftermath
from vordr.engine.authority import authorise
from vordr.engine.composition import KERNEL, Composition, Machine, Surface
from vordr.engine.expiry import Expiry
from vordr.engine.finding import all_containers
from vordr.engine.handlers import HANDLERS
from vordr.engine.host import Call, Host, entropy
from vordr.engine.library import Library
from vordr.engine.parking import Parking
from vordr.engine.protocol import Caller, Engine, OnEvent, Reply
from vordr.engine.sweeping import sweep
from vordr.formats import uuid7
from vordr.gatekeeper.keys import load_host_key
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.journal.store import JournalStore, host_boot_id
from vordr.model import arguments
from vordr.model.errors import (
    JournalStopped,
    NotPrivileged,
    StateError,
    StateLocked,
    UsageError,
    VordrError,
)
from vordr.model.operations import REGISTRY
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind
from vordr.runtime.probe import HostFacts

# One instance's folders, and who may enter: the mapped root user of a container walks through 0711.
_FOLDERS: Final = (
    ("containers", 0o711), ("trash", 0o711), ("layers", 0o700), ("exits", 0o700), ("bundles", 0o700),
)
POLICY_WORKERS: Final = 16
POLICY_PATIENCE: Final = 5.0
"""Seconds that a closing engine gives to policy acts under way; the next opening ends those left open."""
# Seconds from fork to exec at most, on a host that is busy.
_FORKED: Final = 2.0
_log = logging.getLogger("vordr.engine")


class LocalEngine(Engine):
    """See the module. ``failed`` is set when the journal stopped: nothing acts any more.

    ``recovered`` tells what recovery did about transactions that a crash had left open.
    """

    def __init__(self, host: Host, tree: Tree, parts: _Parts) -> None:
        self.host = host
        self.tree = tree
        self.failed = parts.failed
        self.recovered: list[Recovered] = []
        self._parts = parts
        self._closed = False

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None) -> LocalEngine:
        """Own the root folder and run its engine in this process.

        :raises NotPrivileged: not root. StateLocked: another process owns it. JournalCorrupt, ConfigInvalid,
            KeyUnusable: what stands in the folder is not sound.
        """
        from vordr.engine.opening import resolve_root

        if os.geteuid() != 0:
            raise NotPrivileged("running containers needs root: namespaces, mounts and control groups")
        return cls.open_on(KERNEL, Paths.of(resolve_root(None if root is None else Path(root))))

    @classmethod
    def open_on(cls, composition: Composition, paths: Paths) -> LocalEngine:
        """Own the folders of ``paths`` and run an engine of these parts in this process. Raises as open."""
        lock = _own(paths)
        try:
            parts = _Parts(composition, paths, lock)
        except BaseException:
            os.close(lock)
            raise
        try:
            store = JournalStore.open(paths, parts.host_key, parts.clock.now_us)
        except BaseException:
            parts.close()
            raise
        try:
            engine = _assemble(cls, composition, paths, parts, store)
        except BaseException:
            parts.close()
            store.close()
            raise
        try:
            engine._begin()
        except BaseException:
            engine.close()
            raise
        return engine

    def _begin(self) -> None:
        """Hear of ends, recover what a crash left open, then take over the containers."""
        host = self.host
        self._parts.watch()  # first: taking a start back waits for the end of its process
        self.recovered = Recovery(host.journal, host.transactions).run()
        for recovered in self.recovered:
            _log.warning("recovery: %s: %s %s", recovered.summary, recovered.how, list(recovered.left) or "")
        sweep(host.paths, host.journal)
        for container in list(all_containers(host.journal)):
            self._take_over(container.id)

    def _take_over(self, container: str) -> None:
        try:
            self.host.containers.handle(container)
        except VordrError as error:  # one bad container keeps nobody from the others
            _log.warning("container %s cannot be taken over: %s", container[:12], error)

    def expire_trash(self) -> None:
        """From now on, until it is closed, empty the trash of what is past its deadline: a service does so, a
        program that opens an engine for a while need not."""
        Expiry(self.host, self._parts.policies).begin()

    # -- calls -------------------------------------------------------------------------------------

    def call(
        self, operation: str, args: arguments.Args, *, files: Sequence[int] = (),
        on_event: OnEvent | None = None,
    ) -> Reply:
        return self.call_as(Caller.local(), operation, args, files=files, on_event=on_event)

    def call_as(
        self, caller: Caller, operation: str, args: arguments.Args, *, files: Sequence[int] = (),
        on_event: OnEvent | None = None, cancelled: threading.Event | None = None,
    ) -> Reply:
        """``call`` for ``caller``; ``cancelled`` is set by the door when the caller goes away."""
        row = REGISTRY.get(operation)
        if row is None or not isinstance(args, row.args):
            raise UsageError(f"unknown operation {operation!r}")
        if self._closed:
            raise StateError("the engine is closed")
        if self.failed.is_set():
            raise JournalStopped("the journal has stopped: nothing can be recorded, so nothing may happen")
        authorise(row, args, caller)
        if row.mutating:
            self._parts.warm_up()
        call = Call(caller, files, on_event, cancelled or threading.Event())
        return HANDLERS[operation](self.host, call, args)

    def close(self) -> None:
        """Stop the tree and let go of the root folder; containers go on, and are taken over next time."""
        if self._closed:
            return
        self._closed = True
        self._parts.policies.close(timeout=POLICY_PATIENCE)  # while their actors still live
        stop_tree(self.tree.root.handle, timeout=30.0)
        self._parts.close()


class _Parts:
    """What an engine owns beside its tree: lock, key, clock, pools, machine."""

    def __init__(self, composition: Composition, paths: Paths, lock: int) -> None:
        self.lock = lock
        self.failed = threading.Event()
        self.settings = settings.load(paths.config)
        self.host_key = load_host_key(paths)
        self.clock = composition.clock()
        self.effects = EffectPool(self.settings.effect_workers)
        self.policies = EffectPool(POLICY_WORKERS)
        self.facts: HostFacts = composition.facts()
        self.machine: Machine | None = None
        self._watching = False

    def warm_up(self) -> None:
        """Have the kernel's wait for the first write to a control group over before it is in the way."""
        try:
            if self.machine is not None:
                self.effects.submit(self.machine.warm_up, on_done=lambda result, error: None)
        except VordrError:
            pass  # a full or closing pool: then the wait is where it would have been

    def watch(self) -> None:
        if self.machine is not None:
            self.machine.exits.start()
            self._watching = True

    def _unwatch(self) -> None:
        if self.machine is not None and self._watching:
            self.machine.exits.stop()

    def close(self) -> None:
        self.policies.close(timeout=POLICY_PATIENCE)
        self.effects.close(timeout=10.0)
        self._unwatch()  # after the last effect that may want something watched
        if self.machine is not None:
            self.machine.close()
        self.clock.close()
        os.close(self.lock)


def _own(paths: Paths) -> int:
    """Take the root folder for this process; returns the locked descriptor."""
    try:
        paths.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for name, mode in _FOLDERS:
            (paths.root / name).mkdir(mode=mode, exist_ok=True)
        for folder in (paths.run.parent, paths.run, paths.run / "c"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"cannot use the root folder {paths.root}: {error.strerror}", remedy="vordr --root DIR …",
        ) from error
    owner = _lock(lock)
    if owner is not None:
        os.close(lock)
        raise StateLocked(
            f"the root folder {paths.root} is owned by process {owner or 'unknown'}",
            remedy=f"talk to its service, or end it: kill {owner}" if owner else None,
            details={"pid": owner}) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _lock(lock: int) -> str | None:
    """Lock the descriptor; when somebody else has it, the pid that the file names (maybe empty).

    An owner killed between fork and exec of a command leaves its lock to that child, until it calls exec:
    so one that lives no more is waited for.
    """
    deadline = time.monotonic() + _FORKED
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
        dead = owner.isdigit() and not os.path.exists(f"/proc/{owner}")
        if not dead or time.monotonic() >= deadline:
            return owner
        time.sleep(0.01)


def _assemble(
    cls: type[LocalEngine], composition: Composition, paths: Paths, parts: _Parts, store: JournalStore
) -> LocalEngine:
    """Plant the tree and connect its parts."""
    clock, trash_days = parts.clock, parts.settings.trash_days
    later: list[Aftermath] = []

    def on_decision(decision: Decision) -> None:
        directory.decided(decision)
        if decision.action is not Action.FATAL:
            tree_box[0].journal.note(_decision_draft(decision))

    def on_fatal(reason: Reason) -> None:
        parts.failed.set()

    tree_box: list[Tree] = []
    tree = plant(
        paths, store, clock=clock, effects=parts.effects, trash_days=trash_days, entropy=entropy,
        on_decision=on_decision, on_fatal=on_fatal)
    tree_box.append(tree)
    journal = tree.journal
    secrets = SecretStore(paths)
    parts.machine = composition.machine(Surface(
        paths=paths, journal=journal, secrets=secrets, facts=parts.facts, settings=parts.settings,
        on_exit=lambda container, exit: directory.ended(container, exit),
        on_broken=lambda manifest, seal, broken: later[0].broken_seal(manifest, seal, broken)))
    world = parts.machine.world
    changes = threading.Condition()

    def changed(container: str) -> None:
        with changes:
            changes.notify_all()

    around = Surroundings(
        journal=journal, world=world, boot_id=host_boot_id(), trash_days=trash_days, entropy=entropy,
        after_exit=lambda container: later[0].after_exit(container), changed=changed)
    directory = ContainerDirectory(tree.containers, journal, lambda: around)
    services = ServicePerformer(tree.services(IMAGES), journal)
    gatekeeper = GatekeeperClient(tree.services(GATEKEEPER))
    images = ImageStore(paths)
    images.prepare()
    library = Library(paths, journal, gatekeeper, images, clock.now_us)
    transactions = Transactions(
        journal, {"container": directory, "image": services, "trust": services, "engine": services,
                  "trash": services},
        library.judge_manifest, clock.now_us, entropy)
    host = Host(
        paths=paths, clock=clock, journal=journal, transactions=transactions, gatekeeper=gatekeeper,
        library=library, store=images, secrets=secrets, containers=directory,
        parking=Parking(directory, lambda container: later[0].after_exit(container)), world=world,
        facts=parts.facts, host_key=parts.host_key.public, trash_days=trash_days, started=clock.now_us(),
        changes=changes)
    later.append(Aftermath(host, parts.policies))
    return cls(host, tree, parts)


def _decision_draft(decision: Decision) -> Draft:
    """A supervisor's decision as a journal record."""
    args: dict[str, Any] = {
        "action": str(decision.action), "child": decision.child, "count": decision.count,
        "reason": str(decision.reason)[:500], "supervisor": decision.supervisor}
    return Draft(
        txn=uuid7.uuid7(decision.time // 1000, entropy()), kind=Kind.DECISION, cause=Cause.POLICY,
        subject=f"supervision/{decision.child}", operation="supervise", args=args, principal="supervisor")
