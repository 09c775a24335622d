"""LevelDB as the journal opens it: its errors in our words, and reads that cannot meet a closing database."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import plyvel

from vordr.journal.torn import Torn, drop, torn_ends
from vordr.model.errors import (
    JournalCorrupt,
    JournalFull,
    JournalStopped,
    StateError,
    StateLocked,
    VordrError,
)

# LevelDB keeps the newest writes in memory, 40 KiB of them for each container that comes and goes, up to this
# size (twice, while it writes them out), and replays them at the next opening. Left alone it takes 4 MiB, and
# 8 for blocks that were read.
_WRITE_BUFFER: Final = 1 << 20
_BLOCK_CACHE: Final = 4 << 20


def open_database(folder: Path) -> tuple[Any, tuple[Torn, ...]]:
    """The plyvel.DB in ``folder``, made if there is none, and the torn ends that were cut off before.

    Damage that LevelDB would skip is refused (paranoid checks).

    :raises StateLocked: another process, or this one, has it open.
    :raises JournalCorrupt: the files are not a LevelDB, or damaged otherwise than by an interrupted write.
    :raises JournalFull: the disk is too full to open it. JournalStopped: the disk refuses otherwise.
    """
    torn = _mend(folder)
    try:
        database = plyvel.DB(
            os.fspath(folder), create_if_missing=True, paranoid_checks=True, write_buffer_size=_WRITE_BUFFER,
            lru_cache_size=_BLOCK_CACHE)
        return database, torn
    except plyvel.Error as error:
        raise refusal(folder, error)


def _mend(folder: Path) -> tuple[Torn, ...]:
    """Cut off what an interrupted write left; nobody else has the database open meanwhile."""
    try:
        if not torn_ends(folder):
            return ()
    except (JournalCorrupt, OSError):
        pass  # or somebody is writing it just now, whose files these are
    _refuse_locked(folder)
    try:
        torn = torn_ends(folder)
    except OSError as error:
        raise refusal(folder, error)
    drop(folder, torn)
    return torn


def _refuse_locked(folder: Path) -> None:
    """Raise StateLocked when it is open: LevelDB takes its lock before it sees that it shall not open it."""
    try:
        plyvel.DB(os.fspath(folder), create_if_missing=False, error_if_exists=True).close()
    except plyvel.IOError as error:
        raise refusal(folder, error)
    except plyvel.Error:
        pass


def refusal(folder: Path, error: plyvel.Error | OSError) -> VordrError:
    """The error that says why the journal in ``folder`` could not be opened."""
    reason = str(error) if isinstance(error, OSError) else leveldb_message(error)
    message = f"the journal's database {folder} cannot be opened: {reason}"
    if not isinstance(error, (plyvel.IOError, OSError)):
        return JournalCorrupt(message)
    if "lock " in reason:
        return _locked(folder, reason)
    full = any(os.strerror(code) in reason for code in (errno.ENOSPC, errno.EDQUOT))
    return JournalFull(message) if full else JournalStopped(message)


def leveldb_message(error: BaseException) -> str:
    """LevelDB's message as text (plyvel hands over bytes)."""
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def _locked(folder: Path, reason: str) -> StateLocked:
    # Opening and closing LOCK in the process that holds it would drop its lock (POSIX record locks).
    owner = os.getpid() if "already held by process" in reason else lock_owner(folder / "LOCK")
    holder = f"process {owner}" if owner else "another process"
    details = {"pid": owner} if owner else {}
    return StateLocked(f"the journal in {folder.parent} is in use by {holder}", details=details)


def lock_owner(lock: Path) -> int | None:
    """The process that holds LevelDB's lock file, as the kernel tells (F_GETLK); None when it cannot."""
    query = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with open(lock, "rb+") as file:
            kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, query))
    except OSError:
        return None
    return int(pid) if kind != fcntl.F_UNLCK and pid > 0 else None


class Gate:
    """Lets any number of readers in until it is shut; shutting waits for those inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False
        self._stopped: str | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """:raises StateError: the gate is shut. JournalStopped: it is, since the journal stopped."""
        with self._changed:
            if self._stopped is not None:
                raise JournalStopped(self._stopped)
            if self._shut:
                raise StateError("the journal is closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self, stopped: str | None = None) -> bool:
        """Shut it; False when it was shut before. ``stopped``: why the journal stopped, if it did."""
        with self._changed:
            was, self._shut = self._shut, True
            if not was:
                self._stopped = stopped
            self._changed.wait_for(lambda: self._inside == 0)
            return not was
