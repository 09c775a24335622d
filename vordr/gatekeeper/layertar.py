"""The members of a layer's tar, read forward and in bounded memory."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final, cast

from vordr.gatekeeper.checked import CHUNK, Readable
from vordr.gatekeeper.subject import Blob

_GZIPPED: Final[Mapping[str, bool]] = {
    "application/vnd.oci.image.layer.v1.tar": False,
    "application/vnd.oci.image.layer.v1.tar+gzip": True,
    "application/vnd.docker.image.rootfs.diff.tar": False,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": True,
}
_LARGEST_LAYER: Final = 64 * 1024**3
_LARGEST_READ: Final = 4 * 1024 * 1024
"""Bytes at once: an extension header may claim any size, and tarfile reads it whole."""

ReadMember = Callable[[int], bytes]


class LayerUnreadable(Exception):
    """A layer could not be read; the message says which and why."""


def members(layer: Blob, stream: Readable) -> Iterator[tuple[tarfile.TarInfo, ReadMember]]:
    """Each member of ``layer``, and a way to read it before the next one comes; ``stream`` has its stored
    bytes and is read to its end. Raises LayerUnreadable, as reading a member does, and what ``stream`` raises
    but for OSError."""
    gzipped = _GZIPPED.get(layer.media_type)
    if gzipped is None:
        raise LayerUnreadable(f"layer {layer.digest} is of type {layer.media_type}")
    source = cast(IO[bytes], stream)
    if gzipped:  # not by tarfile, which stops at the first of several gzip members
        source = cast(IO[bytes], gzip.GzipFile(fileobj=source))
    with _readable(layer), tarfile.open(fileobj=cast(IO[bytes], _Forward(source)), mode="r:") as tar:
        while member := tar.next():
            if member.offset_data + member.size > _LARGEST_LAYER:
                raise LayerUnreadable(f"layer {layer.digest} unpacks to more than {_LARGEST_LAYER} bytes")
            yield member, _reader(layer, tar, member)
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every member it has seen
    with _readable(layer):
        _drain(layer, source)  # gzip compares its checksum at its end, and
        _drain(layer, stream)  # a stream that checks its digest does so at its own


def _drain(layer: Blob, source: Readable) -> None:
    left = _LARGEST_LAYER
    while chunk := source.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise LayerUnreadable(f"layer {layer.digest} unpacks to more than {_LARGEST_LAYER} bytes")


def _reader(layer: Blob, tar: tarfile.TarFile, member: tarfile.TarInfo) -> ReadMember:
    file: list[IO[bytes] | None] = []

    def read(size: int) -> bytes:
        with _readable(layer):
            if not file:
                file.append(tar.extractfile(member) if member.isreg() else None)
            return b"" if file[0] is None else file[0].read(size)

    return read


@contextmanager
def _readable(layer: Blob) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise LayerUnreadable(f"layer {layer.digest} is not a readable tar: {error}") from error


class _Forward:
    """A file that can be read, and sought forward only: by reading."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._at = 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise tarfile.ReadError(f"{size} bytes at once")
        parts, left = [], size
        while left and (chunk := self._source.read(left)):
            parts.append(chunk)
            left -= len(chunk)
        self._at += size - left
        return b"".join(parts)

    def seek(self, to: int, whence: int = 0) -> int:
        if whence or to < self._at:
            raise tarfile.ReadError("a member that lies before the one read last")
        while self._at < to and self.read(min(CHUNK, to - self._at)):
            pass
        return self._at
