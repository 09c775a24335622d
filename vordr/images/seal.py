"""Sealed layers: one EROFS image per diffID, whose digest is journalled and checked at every start.

An image is a pure function of its layer: the file system's UUID comes from the diffID, and a build time
later than any file time (SOURCE_DATE_EPOCH, which mkfs.erofs takes as an upper bound) keeps the files' own
times. So a seal that broke is remade byte for byte, and anybody can repeat it from the blob.

What is trusted at a start: the seal the caller took from the journal. The open descriptor must be the inode
that was hashed, unchanged since (device, inode, size, mtime, ctime; root cannot set a ctime back without
setting the clock or writing to the disk below the file system), else it is hashed again. The immutable flag
stands in the way of accidents; fs-verity, where the file system has it, makes the kernel check every read.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from vordr.images import mountapi, tree
from vordr.images.space import full_disk_is_space_exhausted
from vordr.images.store import ImageStore
from vordr.images.unpack import DEFAULT_LIMITS, Limits, unpack
from vordr.model.errors import LayerSpaceExhausted, RuntimeFailed, RuntimeNotFound, SealBroken
from vordr.model.paths import Paths
from vordr.model.progress import Progress, silent
from vordr.model.state import Layer, Seal

_UNFINISHED: Final = ".unsealed-"
# The latest time that ext4 can hold; no unpacked file is younger.
_BUILD_TIME: Final = 15032385535
_CHUNK: Final = 1 << 20
# Stamps of files that this process hashed again and found right: not every caller keeps refreshed seals.
_hashed_here: Final[dict[tuple[str, str], str]] = {}
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def seal_layer(
    store: ImageStore,
    layer: Layer,
    paths: Paths,
    progress: Progress = silent,
    *,
    known: Seal | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Seal:
    """Make the sealed file of ``layer`` from its blob, durably, and return its seal; idempotent per diffID.

    ``known`` is the journalled seal where another image has the layer already: while it holds, nothing is
    made. A file that no journalled seal vouches for is made anew. Raises ImageUnreadable,
    LayerSpaceExhausted, RuntimeNotFound (no mkfs.erofs) or RuntimeFailed; then no file is left behind.
    """
    with _locks[layer.diff_id]:
        if known is not None:
            try:
                descriptor, seal = open_and_refresh(paths, known)
            except SealBroken:
                return _make(store, layer, paths, progress, limits)
            os.close(descriptor)
            return seal
        return _make(store, layer, paths, progress, limits)


def remake(store: ImageStore, layer: Layer, paths: Paths, progress: Progress = silent) -> Seal:
    """Replace a broken sealed file by a new one from the layer's blob; errors as seal_layer."""
    return seal_layer(store, layer, paths, progress)


def open_sealed(paths: Paths, seal: Seal) -> int:
    """A read-only descriptor of the sealed file, checked against ``seal``; the caller closes it.

    Raises SealBroken when the file is missing or not the bytes that were sealed.
    """
    return open_and_refresh(paths, seal)[0]


def open_and_refresh(paths: Paths, seal: Seal) -> tuple[int, Seal]:
    """As open_sealed, and the seal with its new stamp when the file had to be hashed again and was right.

    Stamps change without harm when a disk gets another device number or the root folder was copied; a caller
    that keeps the new seal saves the next start the hashing.
    """
    path = paths.layer(seal.diff_id)
    if seal.format != "erofs":
        raise _broken(seal, path, f"unknown format {seal.format!r}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _broken(seal, path, f"cannot be opened: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _broken(seal, path, "is not a file")
        if seal.verity is not None and mountapi.measure_verity(descriptor) == seal.verity:
            return descriptor, seal
        stamp, key = stamp_of(descriptor), (str(path), seal.sha256)
        if stamp == seal.stamp:
            return descriptor, seal
        if stamp == _hashed_here.get(key):
            return descriptor, msgspec.structs.replace(seal, stamp=stamp)
        fresh = _hashed_again(descriptor, seal, path)
        _hashed_here[key] = fresh.stamp
        return descriptor, fresh
    except BaseException:
        os.close(descriptor)
        raise


def scrub(paths: Paths, seals: Iterable[Seal]) -> Iterator[tuple[Seal, bool, str]]:
    """Hash every sealed file whatever its stamp says; yields (seal, whether it holds, why not or "")."""
    for seal in seals:
        path = paths.layer(seal.diff_id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            yield seal, False, f"cannot be opened: {error.strerror}"
            continue
        with mountapi.closing(descriptor):
            digest = hash_descriptor(descriptor)
            fine = digest == seal.sha256
            yield seal, fine, "" if fine else f"has digest {digest}, sealed was {seal.sha256}"


def remove_layer(paths: Paths, diff_id: str) -> bool:
    """Delete the sealed file of a diffID, durably; False when there is none. Mounts of it live on."""
    with _locks[diff_id]:
        removed = _unlink(paths.layer(diff_id))
        if removed:
            _sync_folder(paths.layers)
        return removed


def clear_unfinished(paths: Paths) -> int:
    """Delete what a crash left of layers in the making; how many. Only while nothing is being sealed."""
    left = list(paths.layers.glob(f"{_UNFINISHED}*")) if paths.layers.is_dir() else []
    for folder in left:
        tree.delete(folder)
    return len(left)


def stamp_of(descriptor: int) -> str:
    """``dev:inode:size:mtime_ns:ctime_ns`` of an open file."""
    found = os.fstat(descriptor)
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def hash_descriptor(descriptor: int) -> str:
    """SHA-256 of an open file from its start as hex; the file offset is left alone."""
    digest, offset, buffer = hashlib.sha256(), 0, bytearray(_CHUNK)
    while count := os.preadv(descriptor, [buffer], offset):
        digest.update(memoryview(buffer)[:count])
        offset += count
    return digest.hexdigest()


def _hashed_again(descriptor: int, seal: Seal, path: Path) -> Seal:
    before = stamp_of(descriptor)
    if os.fstat(descriptor).st_size != seal.size:
        raise _broken(seal, path, f"is {os.fstat(descriptor).st_size} bytes long, sealed were {seal.size}")
    if hash_descriptor(descriptor) != seal.sha256:
        raise _broken(seal, path, "holds other bytes than were sealed")
    if stamp_of(descriptor) != before:
        raise _broken(seal, path, "changed while it was being checked")
    mountapi.set_immutable(descriptor, True)
    return msgspec.structs.replace(seal, stamp=stamp_of(descriptor))


def _broken(seal: Seal, path: Path, why: str) -> SealBroken:
    return SealBroken(
        f"sealed layer {seal.diff_id} {why}",
        remedy="try again: the layer is being made anew from its blob (vordr history tells)",
        details={"diff_id": seal.diff_id, "path": str(path)},
    )


def _make(store: ImageStore, layer: Layer, paths: Paths, progress: Progress, limits: Limits) -> Seal:
    paths.layers.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        full_disk_is_space_exhausted(f"layer {layer.diff_id}"),
        tree.temporary_folder(paths.layers, _UNFINISHED) as folder,
    ):
        files, image = folder / "files", folder / "image"
        files.mkdir(mode=0o755)
        with mountapi.closing(store.open(layer.blob)) as blob:
            unpack(blob, layer.media_type, layer.diff_id, files, limits, progress)
        progress("sealing layer", 0, None)
        make_erofs(files, image, layer.diff_id)
        return _put_in_place(image, paths.layer(layer.diff_id), layer.diff_id)


def make_erofs(files: Path, image: Path, diff_id: str) -> None:
    """Write folder ``files`` as an uncompressed EROFS image that depends on the files and the diffID only."""
    name = diff_id.removeprefix("sha256:")[:32]
    uuid = "-".join((name[:8], name[8:12], name[12:16], name[16:20], name[20:]))
    command = ("mkfs.erofs", "--quiet", "--preserve-mtime", "-U", uuid, str(image), str(files))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_BUILD_TIME), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise RuntimeNotFound("mkfs.erofs is not installed", remedy="apt install erofs-utils") from None
    if done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()[-3:]
        if any("No space left" in line or "quota exceeded" in line for line in said):
            raise LayerSpaceExhausted(f"no space left while sealing layer {diff_id}")
        raise RuntimeFailed(f"{' '.join(command)}: exit {done.returncode}: {'; '.join(said)}")


def _put_in_place(image: Path, path: Path, diff_id: str) -> Seal:
    with mountapi.closing(os.open(image, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
        os.fchmod(descriptor, 0o400)
        os.fsync(descriptor)
        digest = hash_descriptor(descriptor)
        verity = mountapi.measure_verity(descriptor) if mountapi.enable_verity(descriptor) else None
        _unlink(path)
        image.rename(path)
        mountapi.set_immutable(descriptor, True)
        os.fsync(descriptor)
        _sync_folder(path.parent)
        size = os.fstat(descriptor).st_size
        return Seal(diff_id=diff_id, sha256=digest, size=size, stamp=stamp_of(descriptor), verity=verity)


def _unlink(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    with mountapi.closing(descriptor):
        mountapi.set_immutable(descriptor, False)
    path.unlink()
    return True


def _sync_folder(folder: Path) -> None:
    with mountapi.closing(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        os.fsync(descriptor)
