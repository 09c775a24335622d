"""A consistent copy of a LevelDB folder that another thread or process may be writing.

A LevelDB opened is a LevelDB changed (its log is replayed, its manifest rewritten), so the auditor opens a
copy. Table files never change once named by a manifest; CURRENT, the manifest and the logs only grow or are
replaced by files of another name. So a round that begins and ends with the same names and table sizes has
copied a state that was on the disk, but for a tail of the log, which LevelDB takes as a crash.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vordr.model.errors import JournalCorrupt

_ROUNDS = 50
_TABLES = (".ldb", ".sst")
# Opening and closing LOCK in the process that holds it would drop its lock; LOG is LevelDB's diary.
_SKIPPED = ("LOCK", "LOG", "LOG.old")


def copy_database(source: Path, target: Path) -> None:
    """Copy the database folder ``source`` to the new folder ``target``.

    :raises JournalCorrupt: there is no such folder, it cannot be read, or it never held still.
    """
    target.mkdir(mode=0o700)
    try:
        for _ in range(_ROUNDS):
            if _round(source, target):
                return
    except OSError as error:
        raise JournalCorrupt(f"the journal's database {source} cannot be copied: {error.strerror or error}")
    raise JournalCorrupt(f"the journal's database {source} changes too fast to be copied", remedy="try again")


def _round(source: Path, target: Path) -> bool:
    before = _sizes(source)
    for name in set(_sizes(target)) - set(before):
        (target / name).unlink()
    copied = _sizes(target)
    try:
        for name, size in before.items():
            if not name.endswith(_TABLES) or copied.get(name) != size:
                shutil.copyfile(source / name, target / name)
    except FileNotFoundError:
        return False  # a compaction took it; the next round sees what came instead
    after, copied = _sizes(source), _sizes(target)
    tables = (name for name in after if name.endswith(_TABLES))
    return set(before) == set(after) and all(copied.get(name) == after[name] for name in tables)


def _sizes(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in _SKIPPED or entry.name.endswith(".dbtmp"):
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
    return found
