"""LevelDB as the journal opens it: its errors in our words, and reads that cannot meet a closing database."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plyvel

from vordr.model.errors import JournalCorrupt, StateError, StateLocked


def open_database(folder: Path, *, create: bool) -> Any:
    """The plyvel.DB in ``folder``; damage that LevelDB would skip is refused (paranoid checks).

    :raises StateLocked: another process, or this one, has it open.
    :raises JournalCorrupt: the files are not a LevelDB, or damaged.
    """
    try:
        return plyvel.DB(os.fspath(folder), create_if_missing=create, paranoid_checks=True)
    except plyvel.Error as error:
        reason = leveldb_message(error)
        if isinstance(error, plyvel.IOError) and "lock " in reason:
            raise _locked(folder, reason)
        raise JournalCorrupt(f"the journal's database {folder} cannot be opened: {reason}")


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

    @contextmanager
    def passing(self) -> Iterator[None]:
        """:raises StateError: the gate is shut."""
        with self._changed:
            if self._shut:
                raise StateError("the journal is closed")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self) -> bool:
        """Shut it; False when it was shut before."""
        with self._changed:
            was, self._shut = self._shut, True
            self._changed.wait_for(lambda: self._inside == 0)
            return not was
