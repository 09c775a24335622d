"""Writable layers of a container on disk: one numbered folder per generation, with overlayfs' two parts.

``containers/<id>/gen/<n>/upper`` is what the container wrote, ``work`` is overlayfs' own. Going back a
generation renames one folder into the trash, so it costs the same for a byte and for a terabyte.
"""

from __future__ import annotations

import os
from pathlib import Path

from vordr.images import tree
from vordr.images.space import full_disk_is_space_exhausted
from vordr.model.errors import RuntimeFailed, StateError
from vordr.model.paths import Paths
from vordr.model.spec import IdRange


def generation_folder(paths: Paths, container: str, number: int) -> Path:
    """Where generation ``number`` of a container lives."""
    return paths.container(container) / "gen" / str(number)


def upper_folder(paths: Paths, container: str, number: int) -> Path:
    """The folder with what the container wrote in generation ``number``."""
    return generation_folder(paths, container, number) / "upper"


def work_folder(paths: Paths, container: str, number: int) -> Path:
    """overlayfs' own folder of generation ``number``, on the same file system as its upper."""
    return generation_folder(paths, container, number) / "work"


def open_generation(paths: Paths, container: str, number: int, ids: IdRange) -> Path:
    """Make the empty generation ``number`` (from 1), its upper owned by the range's first id; it lasts from
    :func:`make_durable` on.

    Idempotent while the generation is empty, so that a recovery may repeat it; raises StateError when it
    holds anything already, and LayerSpaceExhausted on a full disk. Its first mount gives the upper the
    owner and mode of the folder below it.
    """
    folder = generation_folder(paths, container, number)
    upper, work = upper_folder(paths, container, number), work_folder(paths, container, number)
    with full_disk_is_space_exhausted(f"generation {number}"):
        # A root folder is closed to other users; overlayfs reads uppers with its mounter's rights.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (upper, work):
            part.mkdir(mode=0o755 if part == upper else 0o700, exist_ok=True)
            if next(part.iterdir(), None) is not None:
                raise StateError(f"generation {number} of {container[:12]} holds files already")
        os.chown(upper, ids.first, ids.first)
        upper.chmod(0o755)
    return folder


def make_durable(paths: Paths, container: str, number: int) -> None:
    """Have the folders of generation ``number``, and their names, outlast a loss of power.

    Raises LayerSpaceExhausted on a full disk, RuntimeFailed when the disk fails.
    """
    folder = generation_folder(paths, container, number)
    upper, work = upper_folder(paths, container, number), work_folder(paths, container, number)
    try:
        with full_disk_is_space_exhausted(f"generation {number}"):
            for place in (upper, work, folder, folder.parent, folder.parent.parent, paths.containers):
                _sync(place)
    except OSError as error:
        words = f"generation {number} of {container[:12]} cannot be kept: {error.strerror}"
        raise RuntimeFailed(words) from error


def drop_generation(paths: Paths, container: str, number: int, trash: Path) -> bool:
    """Move generation ``number`` into the folder ``trash`` (made when absent), durably; O(1).

    False when it is not there any more, which a repeated recovery may meet. Raises StateError when the trash
    holds a generation of this number already, or lies on another file system.
    """
    return _move(generation_folder(paths, container, number), trash / str(number), number, container)


def restore_generation(paths: Paths, container: str, number: int, trash: Path) -> bool:
    """Move generation ``number`` back out of ``trash``; the reverse of drop_generation, with its errors."""
    return _move(trash / str(number), generation_folder(paths, container, number), number, container)


def generation_size(paths: Paths, container: str, number: int) -> int:
    """Bytes on disk that the writable layer holds (blocks, hard links counted once); 0 when it is absent."""
    return folder_size(upper_folder(paths, container, number))


def folder_size(folder: Path) -> int:
    """Bytes on disk below any folder, such as one in the trash; as generation_size."""
    return tree.bytes_on_disk(folder)


def discard(folder: Path) -> None:
    """Delete a folder that a container filled, for good; symlinks in it are not followed. Absent is fine."""
    tree.delete(folder)


def _move(source: Path, target: Path, number: int, container: str) -> bool:
    if not source.exists():
        return False
    if target.exists():
        raise StateError(f"generation {number} of {container[:12]} is in both places: {source} and {target}")
    with full_disk_is_space_exhausted(f"generation {number}"):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        source.rename(target)
        for place in (target.parent, source.parent, target.parent.parent):
            _sync(place)
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
