"""Files that are whole or absent after a power cut: written aside, synced, then given their name."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def private_folder(folder: Path, mode: int = 0o700) -> None:
    """Make ``folder`` and its missing parents durably; one that is there stays as it is."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        private_folder(folder.parent, mode)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create ``path`` with ``content``; raises FileExistsError when the name is taken."""
    aside = _write_aside(path, content, mode)
    try:
        os.link(aside, path)
    finally:
        os.unlink(aside)
    sync_folder(path.parent)


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put ``content`` at ``path`` in one step, whatever was there."""
    aside = _write_aside(path, content, mode)
    try:
        os.rename(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    sync_folder(path.parent)


def _write_aside(path: Path, content: bytes, mode: int) -> Path:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view):]
        os.fsync(fd)
    except OSError:
        os.unlink(aside)
        raise
    finally:
        os.close(fd)
    return aside
