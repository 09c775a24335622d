"""Which distribution packages an image says it holds: its topmost /var/lib/dpkg/status, whiteouts heeded.

Only dpkg's own database is believed, and only where it could be read whole: a layer in a compression that
this interpreter cannot read, or beyond the limits, leaves the list empty and says so.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Final, cast

from vordr.gatekeeper.checked import Readable
from vordr.gatekeeper.subject import Blob

_STATUS: Final = "var/lib/dpkg/status"
_ABOVE: Final = frozenset({"var", "var/lib", "var/lib/dpkg"})
_HIDING: Final = frozenset(
    {
        "var/lib/dpkg/.wh.status", "var/lib/dpkg/.wh..wh..opq", "var/lib/.wh.dpkg", "var/lib/.wh..wh..opq",
        "var/.wh.lib", "var/.wh..wh..opq", ".wh.var", ".wh..wh..opq",
    }
)
_LARGEST_STATUS: Final = 64 * 1024 * 1024
_LARGEST_LAYER: Final = 64 * 1024**3
_GZIPPED: Final[Mapping[str, bool]] = {
    "application/vnd.oci.image.layer.v1.tar": False,
    "application/vnd.oci.image.layer.v1.tar+gzip": True,
    "application/vnd.docker.image.rootfs.diff.tar": False,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": True,
}


OpenBlob = Callable[[str], AbstractContextManager[Readable]]
"""Digest → its stored bytes, closed by leaving them."""


@dataclass(frozen=True, order=True)
class Package:
    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class Inventory:
    """``comment`` says how the list came about, or why it is empty."""

    packages: tuple[Package, ...]
    comment: str


NOT_READ: Final = Inventory((), "The layers were not searched for package databases.")


class _Unreadable(Exception):
    """A layer could not be searched; the message says which and why."""


def inventory(layers: Iterable[Blob], open_blob: OpenBlob) -> Inventory:
    """The installed packages of an image with these layers, bottom first. ``open_blob`` gives the stored
    bytes of a digest; they are read to their end. What a layer holds raises nothing: the comment says what
    could not be read. What ``open_blob`` and its streams raise passes through, but for OSError."""
    status = b""
    try:
        for layer in layers:
            found = _search(layer, open_blob)
            status = status if found is None else found
        packages = parse_status(status)
    except _Unreadable as error:
        return Inventory((), f"Packages are not listed: {error}")
    if not status:
        return Inventory((), f"Packages are not listed: the image has no /{_STATUS}.")
    return Inventory(packages, f"Packages as listed by the image's /{_STATUS}; other software is not listed.")


def _search(layer: Blob, open_blob: OpenBlob) -> bytes | None:
    """The status file as this layer leaves it: its bytes, b"" where the layer hides it, None where it does
    not touch it."""
    gzipped = _GZIPPED.get(layer.media_type)
    if gzipped is None:
        raise _Unreadable(f"layer {layer.digest} is of type {layer.media_type}")
    found: bytes | None = None
    hidden = False
    try:
        with open_blob(layer.digest) as stream:
            for tar, member in _walk(stream, gzipped):
                name = member.name.removeprefix("./").strip("/")
                hidden |= name in _HIDING
                if member.offset_data + member.size > _LARGEST_LAYER:
                    raise _Unreadable(f"layer {layer.digest} unpacks to more than {_LARGEST_LAYER} bytes")
                if name in _ABOVE and not member.isdir():
                    raise _Unreadable(f"in layer {layer.digest}, /{name} is not a folder")
                if name == _STATUS:
                    found = _content(tar, member, layer)
            while stream.read(1 << 20):  # a stream that checks its digest does so at its end
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise _Unreadable(f"layer {layer.digest} is not a readable tar: {error}") from error
    return b"" if found is None and hidden else found


def _walk(stream: Readable, gzipped: bool) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a layer. gzip by itself and not by tarfile, which stops at the first of several gzip
    members."""
    source = cast(IO[bytes], stream)  # both need read() alone
    if gzipped:
        source = cast(IO[bytes], gzip.GzipFile(fileobj=source))
    with tarfile.open(fileobj=source, mode="r|") as tar:
        while member := tar.next():
            yield tar, member
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every member it has seen


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, layer: Blob) -> bytes:
    if not member.isreg():
        raise _Unreadable(f"in layer {layer.digest}, /{_STATUS} is not a regular file")
    if member.size > _LARGEST_STATUS:
        raise _Unreadable(f"in layer {layer.digest}, /{_STATUS} is larger than {_LARGEST_STATUS} bytes")
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def parse_status(status: bytes) -> tuple[Package, ...]:
    """The packages of a dpkg status file (deb-control(5) stanzas) whose state is ``installed``, sorted."""
    found = set()
    for stanza in status.decode("utf-8", "replace").split("\n\n"):
        fields = {}
        for line in stanza.splitlines():
            name, colon, value = line.partition(":")
            if colon and not line[:1].isspace():
                fields[name.strip().lower()] = value.strip()
        if fields.get("status", "").endswith(" installed") and fields.get("package"):
            found.add(Package(fields["package"], fields.get("version", ""), fields.get("architecture", "")))
    return tuple(sorted(found))
