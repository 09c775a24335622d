"""Walking and deleting folders that a stranger filled: of any depth, with any names, nothing followed.

shutil.rmtree recurses and joins paths, so a thousand nested folders end it; a container makes those in a
blink. Here one descriptor moves down and up the tree, and what it finds on the way up must be what it left.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Visit = Callable[[int, str, os.stat_result], None]
"""Called with the descriptor of the folder, the entry's name in it, and its status."""


@dataclass
class _Level:
    name: str
    found: os.stat_result
    left: list[str]


def visit(folder: Path, leaf: Visit, left: Visit) -> None:
    """Call ``leaf`` for every entry that is no folder, ``left`` for every folder after all in it; not for
    itself.

    Does not enter other file systems mounted in the tree (``leaf`` sees their mount points). Raises OSError.
    """
    current = os.open(folder, _OPEN)
    try:
        root = os.fstat(current)
        levels = [_Level("", root, os.listdir(current))]
        while True:
            level = levels[-1]
            if level.left:
                name = level.left.pop()
                found = os.stat(name, dir_fd=current, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode) or found.st_dev != root.st_dev:
                    leaf(current, name, found)
                    continue
                current = _move(current, name, found)
                levels.append(_Level(name, found, os.listdir(current)))
                continue
            levels.pop()
            if not levels:
                return
            current = _move(current, "..", levels[-1].found)
            left(current, level.name, level.found)
    finally:
        os.close(current)


def _move(current: int, name: str, expected: os.stat_result) -> int:
    """The descriptor of a neighbouring folder in exchange for ``current``."""
    there = os.open(name, _OPEN, dir_fd=current)
    found = os.fstat(there)
    if (found.st_dev, found.st_ino) != (expected.st_dev, expected.st_ino):
        os.close(there)
        raise OSError(f"the folder {name!r} was replaced while it was being walked")
    os.close(current)
    return there


def delete(folder: Path) -> None:
    """Delete a folder with all in it, for good. Absent is fine; a symlink in its place is refused
    (OSError).
    """
    with contextlib.suppress(FileNotFoundError):
        visit(
            folder,
            lambda inside, name, _: os.unlink(name, dir_fd=inside),
            lambda inside, name, _: os.rmdir(name, dir_fd=inside),
        )
        os.rmdir(folder)


def bytes_on_disk(folder: Path) -> int:
    """Bytes (blocks) that everything below ``folder`` takes, hard links once; 0 when it is absent."""
    total, linked = 0, set()

    def count(_: int, __: str, found: os.stat_result) -> None:
        nonlocal total
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if found.st_ino in linked:
                return
            linked.add(found.st_ino)
        total += found.st_blocks * 512

    with contextlib.suppress(FileNotFoundError):
        visit(folder, count, count)
    return total


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder below ``parent`` (0700), deleted when the block ends, whatever was unpacked into it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        delete(folder)
