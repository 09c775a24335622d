"""What a package's provenance tells of where the image came from: looked at before and after it was read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Self

from vordr.gatekeeper.pack import Origin
from vordr.gatekeeper.statements import Material
from vordr.images.local_layout import LayoutKind, kind_of
from vordr.model.arguments import PackArgs
from vordr.model.errors import ImageUnreadable
from vordr.model.progress import Progress

_CHUNK: Final = 1 << 20
_MADE: Final = {LayoutKind.ROOT_FOLDER, LayoutKind.DOCKER_ARCHIVE}
"""Kinds without a manifest of their own: packing makes it."""


class Source:
    """The folder or archive that is packed. An archive is hashed; a folder has no digest and claims none, but
    an OCI layout's manifest and layers have theirs."""

    def __init__(self, kind: LayoutKind, path: Path, digest: str, stamp: tuple[int, ...]) -> None:
        self._kind = kind
        self._path = path
        self._digest = digest
        self._stamp = stamp

    @classmethod
    def look(cls, path: Path, progress: Progress) -> Self:
        """Raises ImageNotFound, ImageUnreadable."""
        kind = kind_of(path)
        if kind in (LayoutKind.OCI_FOLDER, LayoutKind.ROOT_FOLDER):
            return cls(kind, path, "", ())
        digest, stamp = _hash(path, progress)
        return cls(kind, path, digest, stamp)

    def origin(self, args: PackArgs, invocation: str) -> Origin:
        """What to tell, now that the image has been read. Raises ImageUnreadable: the archive changed
        meanwhile, so nobody knows which of its contents went in."""
        if self._stamp and _stamp_of(os.stat(self._path)) != self._stamp:
            raise ImageUnreadable(f"{self._path}: changed while it was packed")
        options: dict[str, object] = {"sourceKind": self._kind.value}
        if self._kind is LayoutKind.ROOT_FOLDER:
            options |= {"entrypoint": list(args.entrypoint), "command": list(args.command)}
        material = Material(self._kind.value, self._path.absolute().as_uri(), self._digest)
        return Origin(self._kind in _MADE, (material,), options, invocation)


def _hash(path: Path, progress: Progress) -> tuple[str, tuple[int, ...]]:
    hasher, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                done += len(chunk)
                progress("hashing archive", done, found.st_size)
    except OSError as error:
        raise ImageUnreadable(f"{path}: {error.strerror}") from error
    return f"sha256:{hasher.hexdigest()}", _stamp_of(found)


def _stamp_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
