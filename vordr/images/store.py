"""The image store: an OCI image layout (image-spec, image-layout.md) addressed by digest only.

Names live in the journal's projection, so ``index.json`` stays empty here. A blob is in the store whole or
not at all: it is written beside, hashed while it is written, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.images.space import full_disk_is_space_exhausted
from vordr.model.errors import ImageUnreadable
from vordr.model.paths import Paths

_CHUNK: Final = 1 << 20
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX: Final = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)


class Readable(Protocol):
    """Anything with ``read(n) -> bytes``, empty at the end."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


class ImageStore:
    """Blobs below ``paths.store``. Thread-safe: each blob is written under a name of its own."""

    def __init__(self, paths: Paths) -> None:
        self.folder = paths.store
        self._blobs = paths.store / "blobs" / "sha256"
        self._incoming = paths.store / "incoming"

    def prepare(self) -> None:
        """Make the layout's folders and files where they are missing, and drop what a crash left
        half-written.
        """
        for folder in (self.folder, self._blobs.parent, self._blobs, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in (("oci-layout", _LAYOUT), ("index.json", _EMPTY_INDEX)):
            if not (self.folder / name).exists():
                (self.folder / name).write_bytes(content)
        for left in self._incoming.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob of ``digest`` lies, there or not. Raises ImageUnreadable for another algorithm."""
        try:
            return self._blobs / parse_digest(digest)
        except FormatError as error:
            raise ImageUnreadable(str(error)) from None

    def has(self, digest: str) -> bool:
        """Whether the blob is there, whole."""
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """Bytes of the blob. Raises ImageUnreadable when it is missing."""
        with self._found(digest):
            return self.path(digest).stat().st_size

    def open(self, digest: str) -> int:
        """A read-only descriptor, for the caller to close. Its bytes are not hashed again here."""
        with self._found(digest):
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def read(self, digest: str, limit: int) -> bytes:
        """The bytes of a small blob, hashed again. Raises ImageUnreadable: missing, over ``limit``, other
        bytes.
        """
        with self._found(digest), open(self.open(digest), "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ImageUnreadable(f"blob {digest} is longer than {limit} bytes")
        if hashlib.sha256(content).hexdigest() != parse_digest(digest):
            raise ImageUnreadable(
                f"blob {digest} holds other bytes than its digest says",
                remedy="pull the image again", details={"digest": digest, "path": str(self.path(digest))},
            )
        return content

    def add(self, stream: Readable, digest: str, size: int) -> None:
        """Store ``size`` bytes of ``stream`` as ``digest``, durably; nothing to do when it is there.

        Raises ImageUnreadable when the stream is shorter, longer or has another digest, LayerSpaceExhausted
        on a full disk; then nothing stays.
        """
        target = self.path(digest)
        if target.is_file():
            return
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        with (
            full_disk_is_space_exhausted(f"blob {digest}"),
            tempfile.NamedTemporaryFile(dir=self._incoming, delete=False) as file,
            _unlinked_on_error(file.name),
        ):
            _read_checked(stream, digest, size, file.write)
            file.flush()
            os.fchmod(file.fileno(), 0o400)
            os.fsync(file.fileno())
            os.rename(file.name, target)
        _sync_folder(self._blobs)

    def add_bytes(self, content: bytes, digest: str) -> None:
        """Store a small blob; as :meth:`add`."""
        self.add(io.BytesIO(content), digest, len(content))

    def take(self, source: Path, digest: str, size: int) -> None:
        """Move a file of the store's own file system in as a blob, hashed first; errors as :meth:`add`."""
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise ImageUnreadable(f"blob {digest} did not arrive: {error.strerror}") from None
        with open(descriptor, "rb") as file, full_disk_is_space_exhausted(f"blob {digest}"):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageUnreadable(f"blob {digest} is not a file")
            _read_checked(file, digest, size, lambda chunk: None)
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
            os.rename(source, self.path(digest))
        _sync_folder(self._blobs)

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder on the store's file system for the length of a transfer."""
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._incoming) as folder:
            yield Path(folder)

    def remove(self, digest: str) -> bool:
        """Delete a blob; False when it was not there."""
        try:
            self.path(digest).unlink()
        except FileNotFoundError:
            return False
        _sync_folder(self._blobs)
        return True

    def digests(self) -> Iterator[str]:
        """Digests of all blobs, sorted."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self._blobs)):
                yield f"sha256:{name}"

    @contextlib.contextmanager
    def _found(self, digest: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise ImageUnreadable(
                f"blob {digest} is missing from the store",
                remedy="pull the image again", details={"digest": digest},
            ) from None


def _read_checked(stream: Readable, digest: str, size: int, write: Callable[[bytes], object]) -> None:
    """Hand all chunks of the stream to ``write`` and refuse it unless it is ``size`` bytes of ``digest``."""
    hashed, left = hashlib.sha256(), size
    while left and (chunk := stream.read(min(_CHUNK, left))):
        hashed.update(chunk)
        write(chunk)
        left -= len(chunk)
    if left:
        raise ImageUnreadable(f"blob {digest} ends {left} bytes early")
    if stream.read(1):
        raise ImageUnreadable(f"blob {digest} is longer than its {size} bytes")
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise ImageUnreadable(f"blob {digest} has the digest sha256:{hashed.hexdigest()}")


@contextlib.contextmanager
def _unlinked_on_error(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
