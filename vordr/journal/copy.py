"""A consistent copy of a LevelDB folder that another thread or process may be writing.

A LevelDB opened is a LevelDB changed (its log is replayed, its manifest rewritten), so the auditor opens a
copy. LevelDB makes this possible without its help (leveldb/doc/impl.md): the manifest names the tables, which
never change once named; it grows with each version; a log is complete once there is a younger one. So a
manifest that did not grow while it was copied names one version, and that version with its logs, each up to
some point, is a state that was on the disk. If one of these files is gone before it was copied: once more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from vordr.model.errors import JournalCorrupt

_ROUNDS = 50
_TABLES = (".ldb", ".sst")
# Opening and closing LOCK in the process that holds it would drop its lock; LOG is LevelDB's diary.
_SKIPPED = ("LOCK", "LOG", "LOG.old")


def copy_database(
    source: Path, target: Path, copy_file: Callable[[Path, Path], object] = shutil.copyfile
) -> None:
    """Copy the database folder ``source`` to the new folder ``target``, each file by ``copy_file``.

    :raises JournalCorrupt: there is no such folder, it cannot be read, or it never held still.
    """
    target.mkdir(mode=0o700)
    try:
        for _ in range(_ROUNDS):
            if _round(source, target, copy_file):
                return
    except OSError as error:
        raise JournalCorrupt(f"the journal's database {source} cannot be copied: {error.strerror or error}")
    raise JournalCorrupt(f"the journal's database {source} changes too fast to be copied", remedy="try again")


def link_or_copy(source: Path, target: Path) -> None:
    """Link a table, where both are on one file system: LevelDB never writes into one again, it only unlinks
    it. Copy everything else."""
    if source.name.endswith(_TABLES):
        try:
            os.link(source, target)
            return
        except FileNotFoundError:
            raise
        except OSError:
            pass
    shutil.copyfile(source, target)


def _round(source: Path, target: Path, copy_file: Callable[[Path, Path], object]) -> bool:
    before = _sizes(source)
    try:
        for name in filter(_is_version, before):
            copy_file(source / name, target / name)
        listed = _sizes(source)
        if _versions(before) != _versions(listed):
            return False
        copied = _sizes(target)
        for name in set(copied) - set(listed):
            (target / name).unlink()
        # Logs first, the oldest before all: they live shortest.
        for name in sorted(listed, key=lambda name: (name.endswith(_TABLES), name)):
            if not _is_version(name) and not (name.endswith(_TABLES) and copied.get(name) == listed[name]):
                copy_file(source / name, target / name)
    except FileNotFoundError:
        return False
    return True


def _is_version(name: str) -> bool:
    return name == "CURRENT" or name.startswith("MANIFEST-")


def _versions(sizes: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if _is_version(name)}


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
