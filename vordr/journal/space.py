"""Room for the journal: refuse new acts while there is still space to finish the open ones.

LevelDB does not survive a failed write (the state of its log is then unknown), so a write must never meet a
full disk: free space is asked before each batch. A reserve file keeps bytes back; it is given up when what
was begun needs them, and made again when there is room.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from vordr.model.errors import JournalFull

MIB = 1024 * 1024


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write to the file system of ``folder``."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Space:
    """``floor`` bytes must be free for a begin: room for LevelDB to flush and compact. ``reserve`` bytes are
    kept back for outcomes; ``slack`` bytes must stay free beside any batch."""

    def __init__(
        self, folder: Path, *, floor: int = 32 * MIB, reserve: int = 8 * MIB, slack: int = MIB,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = folder
        self._file = folder / "reserve"
        self._floor = floor
        self._reserve = reserve
        self._slack = slack
        self._free = free

    @property
    def held(self) -> bool:
        """Whether the reserve is in place."""
        try:
            return self._file.stat().st_size == self._reserve
        except FileNotFoundError:
            return False

    def make_way(self) -> None:
        """Before the database is opened: LevelDB rewrites its log then, so where less than the reserve is
        free, the reserve is given up.

        :raises OSError: the disk cannot be asked, or refuses.
        """
        if self.held and self._free(self._folder) < self._reserve:
            self._file.unlink()

    def keep(self) -> None:
        """Make the reserve, or make it again, when there is room for it above the floor.

        :raises OSError: the disk refuses, though it is not full.
        """
        if self.held or self._free(self._folder) < self._floor + self._reserve:
            return
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._reserve)
            os.fsync(descriptor)
        except OSError as error:
            self._file.unlink()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        finally:
            os.close(descriptor)

    def refuse_begin(self) -> JournalFull | None:
        """Why no new act may begin, or None."""
        free = self._free(self._folder)
        if free < self._floor:
            return JournalFull(
                f"the disk of {self._folder} has {free // MIB} MiB free; "
                f"new acts need {self._floor // MIB} MiB, open ones may finish",
                details={"free": free, "needed": self._floor},
            )
        if not self.held:
            self.keep()
        return None

    def refuse_write(self, size: int) -> JournalFull | None:
        """Why ``size`` bytes cannot be written even with the reserve (given up here if need be), or None."""
        needed = size + self._slack
        free = self._free(self._folder)
        if free < needed and self.held:
            self._file.unlink()
            free = self._free(self._folder)
        if free >= needed:
            return None
        return JournalFull(
            f"the disk of {self._folder} has {free} bytes free, and the reserve is used up",
            details={"free": free, "needed": needed},
        )
