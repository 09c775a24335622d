"""What is verified: one image manifest, and the bytes that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vordr.formats import canonical
from vordr.formats.digests import parse_digest, sha256_digest
from vordr.formats.errors import FormatError
from vordr.model.errors import ImageUnreadable

MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
LARGEST_DOCUMENT: Final = 4 * 1024 * 1024
"""Bytes; of a manifest or an image config."""
MOST_LAYERS: Final = 1024


@dataclass(frozen=True)
class Subject:
    """Digests ``sha256:<hex>``; ``layers`` are (blob digest, diffID) pairs from the bottom up."""

    manifest: str
    config: str
    layers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Blob:
    """A descriptor of the manifest: digest, size in bytes, media type."""

    digest: str
    size: int
    media_type: str


def read_manifest(manifest: bytes) -> tuple[Blob, tuple[Blob, ...]]:
    """The config and the layers that an image manifest names (OCI image-spec, manifest.md).

    Raises ImageUnreadable.
    """
    document = _json(manifest, "manifest")
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise ImageUnreadable("manifest: not an image manifest of schema version 2")
    if document.get("mediaType", MANIFEST_TYPES[0]) not in MANIFEST_TYPES:
        raise ImageUnreadable(f"manifest: media type {document['mediaType']!r} is no image manifest")
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) > MOST_LAYERS:
        raise ImageUnreadable(f"manifest.layers: must be an array of at most {MOST_LAYERS} layers")
    return (
        _descriptor(document.get("config"), "manifest.config"),
        tuple(_descriptor(layer, f"manifest.layers[{at}]") for at, layer in enumerate(layers)),
    )


def read_diff_ids(config: bytes) -> tuple[str, ...]:
    """``rootfs.diff_ids`` of an image config. Raises ImageUnreadable."""
    document = _json(config, "config")
    rootfs = document.get("rootfs") if isinstance(document, dict) else None
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list):
        raise ImageUnreadable("config.rootfs.diff_ids: missing")
    return tuple(_digest(item, f"config.rootfs.diff_ids[{at}]") for at, item in enumerate(found))


def subject_of(manifest: bytes, config: bytes) -> Subject:
    """The subject whose manifest and config are these bytes, every digest computed or compared.

    Raises ImageUnreadable: not a manifest, not its config, or layers and diffIDs that do not pair.
    """
    config_blob, layers = read_manifest(manifest)
    if sha256_digest(config) != config_blob.digest or len(config) != config_blob.size:
        raise ImageUnreadable("config: not the bytes that the manifest names")
    diff_ids = read_diff_ids(config)
    if len(diff_ids) != len(layers):
        raise ImageUnreadable(f"config: {len(diff_ids)} diffIDs for {len(layers)} layers")
    pairs = tuple((layer.digest, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True))
    return Subject(sha256_digest(manifest), config_blob.digest, pairs)


def _json(data: bytes, where: str) -> Any:
    try:
        return canonical.loads(data, max_bytes=LARGEST_DOCUMENT, where=where)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from error


def _digest(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ImageUnreadable(f"{where}: missing")
    try:
        parse_digest(value, where)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from error
    return value


def _descriptor(value: object, where: str) -> Blob:
    if not isinstance(value, dict):
        raise ImageUnreadable(f"{where}: not a descriptor")
    size, media_type = value.get("size"), value.get("mediaType")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(media_type, str):
        raise ImageUnreadable(f"{where}: size or media type missing")
    return Blob(_digest(value.get("digest"), f"{where}.digest"), size, media_type)
