"""Images that are on this host already: OCI layouts, archives of docker and OCI, plain root folders."""

from __future__ import annotations

import os
import stat
import tarfile
from enum import Enum
from pathlib import Path
from typing import Final

from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.images.layout import MAX_DOCUMENT, ImageContents, find_manifest, is_index, parse_image
from vordr.images.rootfs_tar import DEFAULT_CONFIG, make_layout
from vordr.images.skopeo import run_skopeo
from vordr.images.store import ImageStore
from vordr.model.errors import ImageNotFound, ImageUnreadable
from vordr.model.progress import Progress, silent
from vordr.model.state import ImageConfig

_DEEPEST_INDEX: Final = 4
_LOOKED_AT: Final = 10_000


class LayoutKind(Enum):
    """How an image on this host is kept."""

    OCI_FOLDER = "oci-dir"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    ROOT_FOLDER = "rootfs-folder"


def kind_of(source: Path) -> LayoutKind:
    """What ``source`` is, by its content. Raises ImageNotFound when absent, ImageUnreadable when unknown."""
    if source.is_dir():
        return LayoutKind.OCI_FOLDER if (source / "oci-layout").is_file() else LayoutKind.ROOT_FOLDER
    if not source.is_file():
        raise ImageNotFound(f"{source}: no such file or folder")
    try:
        with tarfile.open(source) as tar:
            for _, member in zip(range(_LOOKED_AT), tar, strict=False):
                match member.name.removeprefix("./"):
                    case "oci-layout":
                        return LayoutKind.OCI_ARCHIVE
                    case "manifest.json" | "repositories":
                        return LayoutKind.DOCKER_ARCHIVE
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageUnreadable(f"{source}: not an image archive: {error}") from None
    raise ImageUnreadable(f"{source}: a tar, but neither of OCI nor of docker")


def open_layout(
    source: Path,
    workdir: Path,
    progress: Progress = silent,
    *,
    kind: LayoutKind | None = None,
    config: ImageConfig = DEFAULT_CONFIG,
) -> tuple[Path, str]:
    """An OCI layout folder of ``source`` and the digest of its manifest for this host.

    An OCI folder is given back itself; the others are converted into ``workdir/layout``. ``config`` is what
    a root folder's image runs. A docker archive has no manifest digest of its own, so its layers stay as
    they are and the digest is that of the OCI manifest made for them, always the same. Nothing is trusted
    here: the layout's blobs are hashed when they are imported. Raises ImageNotFound, ImageUnreadable,
    LayerSpaceExhausted.
    """
    layout = workdir / "layout"
    match kind or kind_of(source):
        case LayoutKind.OCI_FOLDER:
            layout = source
        case LayoutKind.ROOT_FOLDER:
            return layout, make_layout(source, layout, config, progress)
        case LayoutKind.OCI_ARCHIVE:
            _convert("oci-archive", source, workdir, ("--preserve-digests",), progress)
        case LayoutKind.DOCKER_ARCHIVE:
            _convert("docker-archive", source, workdir, ("--dest-oci-accept-uncompressed-layers",), progress)
    return layout, manifest_of(layout)


def manifest_of(layout: Path) -> str:
    """The digest of the layout's manifest for this host; follows indexes. Raises ImageUnreadable."""
    index = read_file(layout / "index.json", MAX_DOCUMENT)
    for _ in range(_DEEPEST_INDEX):
        digest = find_manifest(index).digest
        content = read_blob(layout, digest, MAX_DOCUMENT)
        if not is_index(content):
            return digest
        index = content
    raise ImageUnreadable(f"{layout}: more than {_DEEPEST_INDEX} nested indexes")


def import_layout(
    layout: Path, manifest: str, into: ImageStore, progress: Progress = silent
) -> ImageContents:
    """Copy an image of a layout folder into the store, each blob hashed on the way, the manifest last.

    Raises ImageUnreadable when anything is not what its digest says, LayerSpaceExhausted.
    """
    image = parse_image(lambda digest: read_blob(layout, digest, MAX_DOCUMENT), manifest)
    for number, (digest, size) in enumerate(image.blobs):
        progress("storing", number, len(image.blobs))
        if not into.has(digest):
            with open(_open_file(_blob_path(layout, digest)), "rb") as file:
                into.add(file, digest, size)
    into.add_bytes(read_blob(layout, image.config_digest, MAX_DOCUMENT), image.config_digest)
    into.add_bytes(image.manifest_bytes, manifest)
    return image


def read_blob(layout: Path, digest: str, limit: int) -> bytes:
    """A small blob of a layout folder, not yet hashed. Raises ImageUnreadable."""
    return read_file(_blob_path(layout, digest), limit)


def _blob_path(layout: Path, digest: str) -> Path:
    try:
        return layout / "blobs" / "sha256" / parse_digest(digest)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from None


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a plain file of at most ``limit`` bytes. Raises ImageUnreadable."""
    with open(_open_file(path), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ImageUnreadable(f"{path}: is longer than {limit} bytes")
    return content


def _open_file(path: Path) -> int:
    """A descriptor of a plain file: a layout from elsewhere may hold pipes, or links to the host's files."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImageUnreadable(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageUnreadable(f"{path}: is not a file")
    return descriptor


def _convert(
    transport: str, source: Path, workdir: Path, options: tuple[str, ...], progress: Progress
) -> None:
    """Let skopeo make ``workdir/layout``. By a link, because skopeo takes a colon in a path for a tag."""
    workdir.mkdir(parents=True, exist_ok=True)
    link = workdir / "source"
    link.symlink_to(source.resolve())
    progress("converting archive", 0, None)
    try:
        run_skopeo(("copy", *options, f"{transport}:{link}", f"oci:{workdir}/layout"), str(source))
    finally:
        link.unlink()
