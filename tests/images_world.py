"""What image tests share: tars built by hand, small images in a store, an instance that cleans up."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vordr.images import mountapi
from vordr.images.layout import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
)
from vordr.images.rootfs import mounted_containers, unmount_rootfs
from vordr.images.store import ImageStore
from vordr.model.paths import Paths
from vordr.model.spec import IdRange
from vordr.model.state import Layer
from vordr.model.verdict import Verdict

IDS = IdRange(3_000_000)
FILE, LINK, SYMLINK, FOLDER = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member of a tar; ``fields`` are TarInfo's own (type, linkname, mode, uid, mtime, pax_headers…)."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mtime = fields.pop("mtime", 1_000_000_000)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar_of(*entries: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zstd(content: bytes) -> bytes:
    """``content`` as one zstd frame."""
    library = ctypes.CDLL("libzstd.so.1")
    for function in (library.ZSTD_compress, library.ZSTD_compressBound):
        function.restype = ctypes.c_size_t
    room = library.ZSTD_compressBound(ctypes.c_size_t(len(content)))
    output = ctypes.create_string_buffer(room)
    written = library.ZSTD_compress(output, ctypes.c_size_t(room), content, ctypes.c_size_t(len(content)), 3)
    return output.raw[:written]


def layer_of(store: ImageStore, tar: bytes, packing: str = "+gzip") -> Layer:
    """Put a layer's blob into the store."""
    blob = {"": bytes, "+gzip": gzip.compress, "+zstd": zstd}[packing](tar)
    store.add_bytes(blob, sha256(blob))
    return Layer(diff_id=sha256(tar), blob=sha256(blob), size=len(blob), media_type=OCI_LAYER + packing)


def image_blobs(
    layers: Sequence[tuple[str, bytes, bytes]], *, docker: bool = False, **config: Any
) -> tuple[str, dict[str, bytes]]:
    """An image's manifest digest and all its blobs; ``layers`` are (media type, blob, tar)."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for _, _, tar in layers]},
        **config,
    }
    raw = json.dumps(document).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
                "digest": sha256(raw),
                "size": len(raw),
            },
            "layers": [
                {"mediaType": kind, "digest": sha256(blob), "size": len(blob)} for kind, blob, _ in layers
            ],
        }
    ).encode()
    blobs = {sha256(content): content for content in (manifest, raw, *(blob for _, blob, _ in layers))}
    return sha256(manifest), blobs


def gzip_layer(tar: bytes, *, docker: bool = False) -> tuple[str, bytes, bytes]:
    return (f"{DOCKER_LAYER}.gzip" if docker else f"{OCI_LAYER}+gzip"), gzip.compress(tar, mtime=0), tar


def write_layout(
    folder: Path, manifest: str, blobs: Mapping[str, bytes], media_type: str = OCI_MANIFEST
) -> Path:
    """An OCI image layout folder of one image."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for digest, content in blobs.items():
        (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(content)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    descriptor = {"mediaType": media_type, "digest": manifest, "size": len(blobs[manifest])}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    return folder


def busybox_folder(folder: Path) -> Path:
    """A root file system with busybox's shell in it."""
    for part in ("bin", "etc", "tmp"):
        (folder / part).mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    (folder / "bin" / "sh").symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (folder / "tmp").chmod(0o1777)
    return folder


def verdict_over(layers: Sequence[Layer]) -> Verdict:
    """A verdict as the gatekeeper would issue it for these layers."""
    return Verdict._issue(  # the door of gatekeeper.decide, used here to test what needs a verdict
        manifest="sha256:" + "0" * 64,
        config="sha256:" + "1" * 64,
        layers=tuple((layer.blob, layer.diff_id) for layer in layers),
        bundle="",
        trust="",
        policy="",
        epoch=1,
        origin="adopted",
        attested_by="a test",
        keys=(),
        logs=(),
        evidence=(),
        decided=0,
        expires=1 << 52,
    )


@contextlib.contextmanager
def instance(folder: Path) -> Iterator[Paths]:
    """The folders of an instance; at the end nothing of it is mounted and no file is immutable."""
    paths = Paths(folder / "root", folder / "run")
    paths.root.mkdir(mode=0o711)
    try:
        yield paths
    finally:
        for container in list(mounted_containers(paths)):
            unmount_rootfs(paths, container)
        mountapi.detach(str(paths.run / "c"))  # what a test put there keeps it
        for sealed in paths.layers.glob("*.erofs"):
            if sealed.is_file() and not sealed.is_symlink():
                with mountapi.closing(os.open(sealed, os.O_RDONLY)) as descriptor:
                    mountapi.set_immutable(descriptor, False)


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or below ``folder``."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(str(folder))]
