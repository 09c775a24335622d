"""The process that meets a failing disk: run by test_failing_disk with the library of faultfs.c preloaded.

``acts FOLDER FAULT ACT``: one act of a whole engine, again and again, each time with the next call failing,
until it gets through. ``opening FOLDER FAULT``: the same with the opening of a journal. ``service ROOT
FD``: a service whose engine has a fake world. ``full FOLDER``: a journal on a disk without a byte left. The
first two print how many calls failed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fakeworld import PATIENCE, FakeWorld  # noqa: E402 - found by the path of this file
from whole_engine import Whole, facts, planted  # noqa: E402 - likewise

from vordr.actors.clock import SystemClock  # noqa: E402 - likewise
from vordr.engine.composition import Composition  # noqa: E402 - likewise
from vordr.engine.local import LocalEngine  # noqa: E402 - likewise
from vordr.formats.signature import PrivateKey, Suite  # noqa: E402 - likewise
from vordr.gatekeeper.keys import load_host_key  # noqa: E402 - likewise
from vordr.journal.auditor import audit  # noqa: E402 - likewise
from vordr.journal.batch import Group  # noqa: E402 - likewise
from vordr.journal.space import Space  # noqa: E402 - likewise
from vordr.journal.store import JournalStore  # noqa: E402 - likewise
from vordr.model.errors import JournalFull, JournalStopped, VordrError  # noqa: E402 - likewise
from vordr.model.lifecycle import State  # noqa: E402 - likewise
from vordr.model.paths import Paths  # noqa: E402 - likewise
from vordr.model.records import Cause, Draft, Kind  # noqa: E402 - likewise

SYNC, WRITE, SHORT_WRITE, RENAME = range(4)


@dataclass(frozen=True)
class Fault:
    """Which calls fail, on files with what ending, and how."""

    kind: int
    code: int
    suffix: str


FAULTS = {
    "sync of the log": Fault(SYNC, errno.EIO, ".log"),
    "write of the log": Fault(WRITE, errno.ENOSPC, ".log"),
    "half a write of the log": Fault(SHORT_WRITE, errno.ENOSPC, ".log"),
    "sync of the head": Fault(SYNC, errno.EIO, "head.new"),
    "write of the head": Fault(WRITE, errno.ENOSPC, "head.new"),
    "rename of the head": Fault(RENAME, errno.EIO, "head.new"),
    "any sync": Fault(SYNC, errno.EIO, ""),
    "any write": Fault(WRITE, errno.ENOSPC, ""),
}


class Disk:
    """The preloaded library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def arm(self, fault: Fault, nth: int) -> None:
        """Let the ``nth`` such call from now on fail."""
        self._library.faultfs_arm(fault.kind, ctypes.c_long(nth), fault.code, fault.suffix.encode())

    def disarm(self) -> None:
        self._library.faultfs_disarm()

    @property
    def fired(self) -> int:
        return int(self._library.faultfs_fired())

    @property
    def synced_again(self) -> int:
        """How often the file whose sync failed was synced after that."""
        return int(self._library.faultfs_again())

    def synced(self, path: Path) -> int:
        """What a power failure leaves of ``path`` for certain, in bytes."""
        synced = self._library.faultfs_synced
        synced.restype = ctypes.c_long
        return int(synced(os.fsencode(path)))


DISK = Disk()


@dataclass(frozen=True)
class Act:
    """``before`` prepares the container web, ``act`` is under test; afterwards web is in one of ``ends``."""

    before: Callable[[Whole], object]
    act: Callable[[Whole], object]
    ends: tuple[State | None, ...]


def _run(whole: Whole) -> object:
    return whole.run()


def _run_and_stop(whole: Whole) -> object:
    whole.run()
    return whole.do("stop")


ACTS = {
    "run": Act(lambda whole: None, _run, (None, State.RUNNING)),
    "pause": Act(_run, lambda whole: whole.do("pause"), (State.RUNNING, State.PAUSED)),
    "stop": Act(_run, lambda whole: whole.do("stop"), (State.RUNNING, State.STOPPED)),
    "rm -f": Act(_run, lambda whole: whole.do("remove", force=True), (State.RUNNING, None)),
    "restart": Act(_run, lambda whole: whole.do("restart"), (State.RUNNING,)),
    "undo": Act(_run_and_stop, lambda whole: whole.call("undo"), (State.STOPPED, State.RUNNING)),
}


def acts(folder: Path, fault: Fault, act: Act) -> int:
    nth = 0
    while _one(folder / f"{nth}", fault, nth + 1, act):
        nth += 1
    return nth


def _one(folder: Path, fault: Fault, nth: int, act: Act) -> bool:
    """One engine, one failing call; whether the act met it."""
    whole = planted(folder / "root")
    act.before(whole)
    before = whole.journal.last()
    DISK.arm(fault, nth)
    error = _error_of(lambda: act.act(whole))
    if error is None:  # nobody waits for the head: the next act meets what happened to it
        _error_of(whole.journal._store.anchor)
        error = _error_of(lambda: whole.run("next")) if DISK.fired else None
    if error is None and not DISK.fired:
        DISK.disarm()
        whole.close()
        shutil.rmtree(folder)
        return False
    if error is not None and not isinstance(error, JournalStopped):
        _refused_without_a_trace(whole, act, error, before)
        shutil.rmtree(folder)
        return True
    assert isinstance(error, JournalStopped), repr(error)
    assert whole.engine.failed.wait(PATIENCE)
    last = whole.journal.last()
    assert last >= before
    refused = _error_of(lambda: whole.run("later"))
    assert isinstance(refused, JournalStopped), repr(refused)
    whole.close()
    assert whole.journal.last() == last
    if fault.kind == SYNC:
        assert DISK.synced_again == 0, "a sync that failed was tried again"
    DISK.disarm()
    for lost in (False, True):
        _start_again(folder, whole, act, last, lost)
    shutil.rmtree(folder)
    return True


def _refused_without_a_trace(whole: Whole, act: Act, error: VordrError, before: tuple[int, bytes]) -> None:
    """A file beside the journal failed, before anything was begun: the same act goes through afterwards."""
    assert "Input/output error" in error.message, repr(error)
    assert whole.journal.last() == before and not whole.engine.failed.is_set()
    DISK.disarm()
    act.act(whole)
    whole.check()
    whole.close()


def _start_again(folder: Path, whole: Whole, act: Act, last: tuple[int, bytes], lost: bool) -> None:
    """Start on what the disk has; ``lost``: on what it has for certain, after a power failure."""
    root = folder / f"again-{lost}"
    shutil.copytree(whole.paths.root, root, ignore=shutil.ignore_patterns("LOCK", "lock", "*.sock"))
    paths = Paths(root, root / "run")
    if lost:
        for log in whole.paths.journal.glob("*.log"):
            os.truncate(paths.journal / log.name, max(0, DISK.synced(log)))
    again = Whole(root, whole.world.copy())
    try:
        if last[0]:
            assert again.journal.record(last[0])[1] == last[1], "an acknowledged record is gone"
        again.check()
        found = again.get()
        state = None if found is None or found.state is State.REMOVED else found.state
        assert state in act.ends, state
        again.run("after")
    finally:
        again.close()
    key = load_host_key(paths).public
    report = audit(paths.journal, paths.journal_head, key)
    assert report.ok, report.reason


def _error_of(call: Callable[[], object]) -> VordrError | None:
    try:
        call()
    except VordrError as error:
        return error
    return None


# -- opening --------------------------------------------------------------------------------------------

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))


def opening(folder: Path, fault: Fault) -> int:
    """A new journal, and one that a crash left behind: each call of the opening fails once."""
    failed = 0
    for records in (0, 3):
        left = folder / f"left-{records}"
        if records:
            _leave(left, records)
        nth = 1
        while True:
            root = folder / "root"
            shutil.rmtree(root, ignore_errors=True)
            if records:
                shutil.copytree(left, root)
            paths = Paths(root, root / "run")
            DISK.arm(fault, nth)
            error = _error_of(lambda: _open(paths).close())  # noqa: B023 - called at once
            DISK.disarm()
            assert DISK.synced_again == 0
            if error is None and not DISK.fired:
                break
            # Where a table's sync fails LevelDB may go on: the log it came from is still there.
            assert error is None or isinstance(error, (JournalStopped, JournalFull)), repr(error)
            failed += error is not None
            store = _open(paths)
            assert store.size == records
            store.append_batch([Group((_draft(),))])
            store.close()
            assert audit(paths.journal, paths.journal_head, KEY.public).ok
            nth += 1
    return failed


def _open(paths: Paths) -> JournalStore:
    return JournalStore.open(paths, KEY, space=Space(paths.journal.parent, reserve=4096))


def _leave(root: Path, records: int) -> None:
    paths = Paths(root, root / "run")
    store = _open(paths)
    for _ in range(records):
        store.append_batch([Group((_draft(),))])
    store.anchor()  # a head under way would come and go while the folder is copied
    copy = root.with_name("copy")
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("LOCK"))
    store.close()
    shutil.rmtree(root)
    copy.rename(root)


def _draft() -> Draft:
    return Draft(txn="t", kind=Kind.ANOMALY, cause=Cause.MONITOR, subject="c", operation="op")


# -- a full disk ----------------------------------------------------------------------------------------


def full(root: Path) -> None:
    """Fill the file system to its last byte while an act is open, crash, open again, finish the act."""
    begun = Draft(txn="t", kind=Kind.BEGIN, cause=Cause.ACT, subject="container/a", operation="op")
    child = os.fork()
    if child == 0:
        paths = Paths(root, root / "run")
        outcomes = JournalStore.open(paths, KEY).append_batch([Group((begun,))])
        os._exit(0 if isinstance(outcomes[0], tuple) else 1)
    assert os.waitpid(child, 0)[1] == 0
    with open(root / "ballast", "wb", buffering=0) as ballast:
        size = 1 << 20
        while size:
            try:
                ballast.write(bytes(size))
            except OSError:
                size //= 2
    print("begun", os.statvfs(root).f_bavail, "bytes free")
    paths = Paths(root, root / "run")
    store = JournalStore.open(paths, KEY)
    print("opened", store.size)
    (refused,) = store.append_batch([Group((msgspec.structs.replace(begun, txn="u"),))])
    print(type(refused).__name__)
    commit = msgspec.structs.replace(begun, kind=Kind.COMMIT)
    (finished,) = store.append_batch([Group((commit,), reserve=True)])
    assert isinstance(finished, tuple), finished
    store.close()
    os.unlink(root / "ballast")
    print("finished", finished[0].seq, audit(paths.journal, paths.journal_head, KEY.public).ok)


# -- a service ------------------------------------------------------------------------------------------


def service(rest: list[str]) -> None:
    from vordr.service.server import serve_and_exit

    root, ready = rest
    world = FakeWorld()

    def opener(at: Path) -> Any:
        return LocalEngine.open_on(Composition(SystemClock, facts, world.machine), Paths(at, at / "run"))

    serve_and_exit(Path(root), ready_fd=int(ready), opener=opener)


def main() -> None:
    match sys.argv[1:]:
        case ["acts", folder, fault, act]:
            print(acts(Path(folder), FAULTS[fault], ACTS[act]))
        case ["opening", folder, fault]:
            print(opening(Path(folder), FAULTS[fault]))
        case ["full", folder]:
            full(Path(folder))
        case ["service", *rest]:
            service(rest)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
