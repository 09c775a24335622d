"""OCI image manifests, indexes and configurations, read strictly (image-spec v1.1; docker's schema 2 alike).

What two readers could understand differently is refused: a manifest that is also an index (CVE-2021-41190), a
media type that contradicts the content, duplicate keys, digests other than sha256, sizes that do not fit.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vordr.formats import canonical
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.images.decompress import Compression
from vordr.model.errors import ImageUnreadable
from vordr.model.state import ImageConfig, Layer

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"

MAX_LAYERS: Final = 128
MAX_DOCUMENT: Final = 4 * 1024 * 1024
_LARGEST_BLOB: Final = 2**53 - 1
_ENTRY_OF_ENVIRONMENT: Final = re.compile(r"[^=\x00]+=[^\x00]*")


LAYER_TYPES: Final[Mapping[str, Compression]] = {
    OCI_LAYER: Compression.NONE,
    f"{OCI_LAYER}+gzip": Compression.GZIP,
    f"{OCI_LAYER}+zstd": Compression.ZSTD,
    DOCKER_LAYER: Compression.NONE,
    f"{DOCKER_LAYER}.gzip": Compression.GZIP,
    f"{DOCKER_LAYER}.zstd": Compression.ZSTD,
}

_ARCHITECTURES: Final = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386",
    "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x",
}


@dataclass(frozen=True)
class Descriptor:
    """A content descriptor: media type, ``sha256:<hex>``, and bytes (image-spec descriptor.md)."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class ImageContents:
    """One image for one platform. ``manifest`` is the digest of ``manifest_bytes``; layers bottom first."""

    manifest: str
    manifest_bytes: bytes
    config_digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]

    @property
    def blobs(self) -> tuple[tuple[str, int], ...]:
        """(digest, bytes) of the layer blobs, each once."""
        return tuple({layer.blob: layer.size for layer in self.layers}.items())


def host_architecture() -> str:
    """The host's architecture in OCI's (Go's) words: amd64, arm64…"""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def parse_image(
    read: Callable[[str], bytes], manifest_digest: str, *, architecture: str | None = None
) -> ImageContents:
    """The image of a manifest; ``read`` gives the bytes of a digest and is checked here again.

    ``architecture`` is what the image must be built for, the host's by default. Raises ImageUnreadable naming
    the document and the place in it.
    """
    manifest_bytes = _checked(read(manifest_digest), manifest_digest, None)
    manifest = _document(manifest_bytes, "manifest")
    config_at, layers_at = _parse_manifest(manifest)
    config_bytes = _checked(read(config_at.digest), config_at.digest, config_at.size)
    config, diff_ids = parse_config(config_bytes, architecture or host_architecture())
    if len(diff_ids) != len(layers_at):
        raise ImageUnreadable(f"manifest has {len(layers_at)} layers, its config {len(diff_ids)} diff_ids")
    layers = tuple(
        Layer(diff_id=diff_id, blob=at.digest, size=at.size, media_type=at.media_type)
        for diff_id, at in zip(diff_ids, layers_at, strict=True)
    )
    return ImageContents(manifest_digest, manifest_bytes, config_at.digest, config, layers)


def chain_id(diff_ids: Sequence[str]) -> str:
    """The ChainID of one or more layers, given bottom first (image-spec config.md, Layer ChainID)."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


def is_index(document: bytes) -> bool:
    """Whether the bytes are an image index (or docker's manifest list) rather than a manifest."""
    value = _document(document, "manifest")
    return "manifests" in value


def find_manifest(index: bytes, architecture: str | None = None) -> Descriptor:
    """The index's entry for Linux on ``architecture`` (the host's by default); it may be an index again.

    Entries of unknown platform (build attestations) are passed over, but a lone entry needs no platform.
    Raises ImageUnreadable with the platforms there are.
    """
    wanted = architecture or host_architecture()
    value = _document(index, "index")
    if "layers" in value or "config" in value:
        raise ImageUnreadable("index: is a manifest too")
    _expect_media_type(value, "index", (OCI_INDEX, DOCKER_LIST))
    entries = _list(value, "manifests", "index", 1024)
    found, seen = [], []
    for number, entry in enumerate(entries):
        where = f"index.manifests[{number}]"
        descriptor = _descriptor(entry, where, (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))
        target = entry.get("platform")
        if target is None and len(entries) == 1:
            return descriptor
        if not isinstance(target, dict):
            continue
        words = f"{target.get('os')}/{target.get('architecture')}"
        seen.append(words)
        if words == f"linux/{wanted}":
            found.append((_rank(target.get("variant")), number, descriptor))
    if not found:
        there = ", ".join(sorted(set(seen))) or "no platform"
        raise ImageUnreadable(f"the image is not built for linux/{wanted}; it has {there}")
    return min(found, key=lambda item: item[:2])[2]


def _rank(variant: object) -> int:
    """Of several variants the most general first: none, then v8 (arm64) or v7 (arm), then the others."""
    return {None: 0, "v8": 1, "v7": 1}.get(variant if isinstance(variant, str) else None, 2)


def _parse_manifest(manifest: dict[str, Any]) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    if manifest.get("schemaVersion") != 2:
        raise ImageUnreadable("manifest.schemaVersion: must be 2; docker's old schema 1 cannot be verified")
    if "manifests" in manifest or "fsLayers" in manifest:
        raise ImageUnreadable("manifest: is an index or a schema 1 manifest too")
    _expect_media_type(manifest, "manifest", (OCI_MANIFEST, DOCKER_MANIFEST))
    if not isinstance(manifest.get("config"), dict):
        raise ImageUnreadable("manifest.config: is missing")
    config = _descriptor(manifest["config"], "manifest.config", (OCI_CONFIG, DOCKER_CONFIG))
    layers = tuple(
        _descriptor(layer, f"manifest.layers[{number}]", tuple(LAYER_TYPES))
        for number, layer in enumerate(_list(manifest, "layers", "manifest", MAX_LAYERS))
    )
    return config, layers


def parse_config(document: bytes, architecture: str) -> tuple[ImageConfig, tuple[str, ...]]:
    """The run configuration and the diffIDs of an image configuration (image-spec config.md)."""
    config = _document(document, "config")
    if (system := config.get("os")) != "linux":
        raise ImageUnreadable(f"config.os: the image is built for {system!r}, this host runs linux")
    if (built := config.get("architecture")) != architecture:
        raise ImageUnreadable(
            f"config.architecture: the image is built for {built!r}, this host is {architecture}"
        )
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise ImageUnreadable("config.rootfs.type: must be layers")
    diff_ids = tuple(
        _digest(value, f"config.rootfs.diff_ids[{number}]")
        for number, value in enumerate(_list(rootfs, "diff_ids", "config.rootfs", MAX_LAYERS))
    )
    run = config.get("config")
    if run is None:
        run = {}
    if not isinstance(run, dict):
        raise ImageUnreadable("config.config: must be an object")
    return _run_config(run, architecture), diff_ids


def _run_config(run: dict[str, Any], architecture: str) -> ImageConfig:
    environment = _strings(run, "Env")
    for entry in environment:
        if _ENTRY_OF_ENVIRONMENT.fullmatch(entry) is None:
            raise ImageUnreadable(f"config.config.Env: {entry[:100]!r} is not NAME=value")
    workdir = _string(run, "WorkingDir") or "/"
    if not workdir.startswith("/"):
        raise ImageUnreadable(f"config.config.WorkingDir: {workdir[:100]!r} is not absolute")
    labels = run.get("Labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise ImageUnreadable("config.config.Labels: must map strings to strings")
    return ImageConfig(
        entrypoint=_strings(run, "Entrypoint"), command=_strings(run, "Cmd"), environment=environment,
        workdir=workdir, user=_string(run, "User"), stop_signal=_string(run, "StopSignal") or None,
        labels=labels, os="linux", architecture=architecture,
    )


def _document(document: bytes, where: str) -> dict[str, Any]:
    try:
        value = canonical.loads(document, max_bytes=MAX_DOCUMENT, where=where)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from None
    if not isinstance(value, dict):
        raise ImageUnreadable(f"{where}: is not an object")
    return value


def _checked(content: bytes, digest: str, size: int | None) -> bytes:
    _digest(digest, "digest")
    if size is not None and len(content) != size:
        raise ImageUnreadable(f"{digest} is {len(content)} bytes long, its descriptor says {size}")
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ImageUnreadable(f"{digest} holds other bytes than its digest says")
    return content


def _expect_media_type(value: dict[str, Any], where: str, allowed: tuple[str, ...]) -> None:
    """The media type is optional for OCI and must not contradict the content where it is given."""
    if "mediaType" in value and value["mediaType"] not in allowed:
        raise ImageUnreadable(
            f"{where}.mediaType: {str(value['mediaType'])[:100]!r} is not one of {', '.join(allowed)}"
        )


def _descriptor(value: Any, where: str, allowed: tuple[str, ...]) -> Descriptor:
    if not isinstance(value, dict):
        raise ImageUnreadable(f"{where}: is not a descriptor")
    media_type = value.get("mediaType")
    if media_type not in allowed:
        raise ImageUnreadable(f"{where}.mediaType: {str(media_type)[:100]!r} is not supported")
    size = value.get("size")
    if type(size) is not int or not 0 <= size <= _LARGEST_BLOB:
        raise ImageUnreadable(f"{where}.size: {str(size)[:40]!r} is not a size")
    return Descriptor(media_type, _digest(value.get("digest"), f"{where}.digest"), size)


def _digest(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ImageUnreadable(f"{where}: is not a digest")
    try:
        return f"sha256:{parse_digest(value, where)}"
    except FormatError as error:
        raise ImageUnreadable(str(error)) from None


def _list(value: dict[str, Any], key: str, where: str, most: int) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ImageUnreadable(f"{where}.{key}: is not a list")
    if len(found) > most:
        raise ImageUnreadable(f"{where}.{key}: has {len(found)} entries, at most {most} are allowed")
    return found


def _string(run: dict[str, Any], key: str) -> str:
    value = run.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise ImageUnreadable(f"config.config.{key}: is not a string without NUL")
    return value


def _strings(run: dict[str, Any], key: str) -> tuple[str, ...]:
    value = run.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise ImageUnreadable(f"config.config.{key}: is not a list of strings without NUL")
    return tuple(value)
