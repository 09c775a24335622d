"""A folder as one OCI image of one layer, the same bytes for the same folder: how local root file systems
come in.

Members are sorted by name; owners, modes, times to the nanosecond, links and the attributes a layer may
carry stay. Device nodes and sockets are left out: a container's /dev is made by the runtime. Nothing of
another file system mounted in the folder is taken.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from vordr.formats import canonical
from vordr.images.layout import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, host_architecture
from vordr.images.space import full_disk_is_space_exhausted
from vordr.model.errors import ImageUnreadable
from vordr.model.progress import Progress
from vordr.model.state import ImageConfig

DEFAULT_CONFIG: Final = ImageConfig(
    command=("/bin/sh",),
    environment=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
    architecture=host_architecture(),
)
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_KINDS: Final = {
    stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def make_layout(source: Path, layout: Path, config: ImageConfig, progress: Progress) -> str:
    """Write the OCI image layout ``layout`` (made here) of the folder ``source``; returns the manifest
    digest.

    Raises ImageUnreadable when a file changes while it is read, LayerSpaceExhausted on a full disk.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with full_disk_is_space_exhausted("an image layout"):
        layer, size = _write_layer(source, blobs, progress)
        config_bytes = canonical.dumps(_config(config, layer))
        config_digest = _put(blobs, config_bytes)
        manifest = canonical.dumps({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config_digest, "size": len(config_bytes)},
            "layers": [{"mediaType": OCI_LAYER, "digest": layer, "size": size}],
        })
        digest = _put(blobs, manifest)
        entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(manifest)}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        (layout / "index.json").write_bytes(canonical.dumps(index))
        (layout / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    return digest


def _config(config: ImageConfig, diff_id: str) -> dict[str, object]:
    plain = msgspec.to_builtins(config)
    run = {
        "Entrypoint": plain["entrypoint"], "Cmd": plain["command"], "Env": plain["environment"],
        "WorkingDir": config.workdir, "User": config.user, "StopSignal": config.stop_signal,
        "Labels": config.labels,
    }
    return {
        "architecture": config.architecture, "os": config.os,
        "config": {key: value for key, value in run.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }


def _put(blobs: Path, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    return f"sha256:{name}"


class _HashingFile(io.RawIOBase):
    """A file that hashes what is written to it, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: ReadableBuffer) -> int:
        self._hash.update(data)
        written = self._file.write(data)
        self.size += written
        return written

    def close(self) -> None:
        self._file.close()
        super().close()

    def digest(self) -> str:
        """SHA-256 of all that was written, as hex."""
        return self._hash.hexdigest()


def _write_layer(source: Path, blobs: Path, progress: Progress) -> tuple[str, int]:
    """Write the layer's tar; its digest (blob's and diffID, as it is not compressed) and bytes."""
    unnamed = blobs / "layer"
    output = _HashingFile(unnamed)
    with output, tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        first_names: dict[int, str] = {}
        for number, (path, name) in enumerate(_walk(source)):
            _add(tar, path, name, first_names)
            if number % 256 == 0:
                progress("reading folder", number, None)
    unnamed.rename(blobs / output.digest())
    return f"sha256:{output.digest()}", output.size


def _walk(source: Path) -> Iterator[tuple[str, str]]:
    """(path, name in the layer) of everything below ``source`` on its file system, parents first, sorted."""
    device = source.stat().st_dev
    waiting = [(str(source), "./")]
    while waiting:
        path, name = waiting.pop()
        yield path, name
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
            prefix = "" if name == "./" else f"{name}/"
            inner = sorted(os.listdir(path), key=os.fsencode, reverse=True)
            waiting += [(os.path.join(path, entry), prefix + entry) for entry in inner]


def _add(tar: tarfile.TarFile, path: str, name: str, first_names: dict[int, str]) -> None:
    found = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return
    member = tarfile.TarInfo(name)
    member.type, member.mode = kind, stat.S_IMODE(found.st_mode)
    member.uid, member.gid, member.mtime = found.st_uid, found.st_gid, found.st_mtime_ns // 10**9
    extended = _attributes(path) if kind != tarfile.SYMTYPE else {}
    if found.st_mtime_ns % 10**9:
        extended["mtime"] = f"{found.st_mtime_ns // 10**9}.{found.st_mtime_ns % 10**9:09d}"
    if kind == tarfile.SYMTYPE:
        member.linkname = os.readlink(path)
    elif kind == tarfile.REGTYPE and found.st_nlink > 1:
        first = first_names.setdefault(found.st_ino, name)
        if first != name:
            member.type, member.linkname = tarfile.LNKTYPE, first
    member.pax_headers = extended
    if member.type != tarfile.REGTYPE:
        tar.addfile(member)
        return
    member.size = found.st_size
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        try:
            tar.addfile(member, file)
        except OSError as error:
            if error.errno is not None:
                raise
            raise ImageUnreadable(f"{path} became shorter while it was read") from None


def _attributes(path: str) -> dict[str, str]:
    """The extended attributes that a layer may carry, as pax records."""
    found = {}
    for key in sorted(os.listxattr(path, follow_symlinks=False)):
        if key == "security.capability" or key.startswith("user."):
            value = os.getxattr(path, key, follow_symlinks=False)
            found[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    return found
