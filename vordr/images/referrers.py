"""What lies beside an image: bundles, signatures and attestations that refer to its manifest.

Looked for in a registry or in an OCI layout folder, by all names that are in use:

- referrers (OCI 1.1): the registry's API; where it has none, the index under the tag ``sha256-<hex>``; in a
  layout, the manifests of ``index.json`` whose subject is the image
- cosign's tags ``sha256-<hex>.sig`` and ``sha256-<hex>.att``

Nothing is verified here but that blobs are what their digests say, and nothing is believed: a media type
decides who will read the bytes. All is bounded, so that nobody who may push can keep a host busy for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from vordr.formats import base64s, canonical
from vordr.formats.digests import parse_digest, sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.reference import Reference
from vordr.images.layout import MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST
from vordr.images.local_layout import read_blob, read_file
from vordr.images.registry_http import RegistryClient
from vordr.model.errors import ImageUnreadable, VordrError

BUNDLE_TYPE: Final = "application/vnd.verified-container.bundle+json"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
SIGSTORE: Final = "application/vnd.dev.sigstore.bundle"
"""Beginning of the media types of sigstore bundles; the version follows."""
_READ: Final = (BUNDLE_TYPE, SIMPLE_SIGNING, DSSE)
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
LOG_ANNOTATION: Final = "dev.sigstore.cosign/bundle"
REF_NAME: Final = "org.opencontainers.image.ref.name"

MOST_MANIFESTS: Final = 64
MOST_BLOBS: Final = 64
MOST_PAGES: Final = 8
LARGEST_BLOB: Final = 4 * 1024 * 1024
LARGEST_BUNDLE: Final = 16 * 1024 * 1024
LARGEST_ALL: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class Attached:
    """A blob that refers to the image. ``signature`` and ``log`` are cosign's annotations, where there are
    some."""

    media_type: str
    content: bytes
    signature: bytes | None = None
    log: bytes | None = None


@dataclass
class Found:
    """``bundles`` are those of verified-container-spec; ``failures`` say in words what could not be read, and
    ``cut`` that there was more than is looked at."""

    bundles: list[bytes] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cut: bool = False


class Place(Protocol):
    """Where manifests and blobs of one repository are."""

    def referrers(self, digest: str) -> Iterator[bytes] | None:
        """Image indexes of what refers to ``digest``; None where only tags can tell."""
        ...

    def manifest(self, wanted: str) -> bytes | None:
        """The manifest of a digest or tag, hashed where it is of a digest; None: there is none."""
        ...

    def blob(self, digest: str, limit: int) -> bytes:
        """A blob, hashed. Raises VordrError."""
        ...


class RegistryPlace:
    """A repository of a registry."""

    def __init__(
        self, reference: Reference, *, insecure: bool = False, auth_file: Path | None = None
    ) -> None:
        self._client = RegistryClient(reference, insecure=insecure, auth_file=auth_file)

    def referrers(self, digest: str) -> Iterator[bytes] | None:
        return self._client.referrers(digest, MOST_PAGES)

    def manifest(self, wanted: str) -> bytes | None:
        return self._client.manifest(wanted)

    def blob(self, digest: str, limit: int) -> bytes:
        return self._client.blob(digest, limit)


class LayoutPlace:
    """An OCI layout folder. Its index names manifests by tag, and those with a subject refer to it."""

    def __init__(self, layout: Path) -> None:
        self._layout = layout
        self._index = _entries(read_file(layout / "index.json", MAX_DOCUMENT))

    def referrers(self, digest: str) -> Iterator[bytes]:
        # cosign's own layouts and those of oras keep referrers as ordinary entries of the index.
        entries = [one for one in self._index if one.get("mediaType") == OCI_MANIFEST]
        yield canonical.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        tag = f"sha256-{parse_digest(digest)}"
        if (index := self.manifest(tag)) is not None:
            yield index

    def manifest(self, wanted: str) -> bytes | None:
        if wanted.startswith("sha256:"):
            return self.blob(wanted, MAX_DOCUMENT)
        for entry in self._index:
            annotations = entry.get("annotations")
            if isinstance(annotations, dict) and annotations.get(REF_NAME) == wanted:
                return self.blob(str(entry.get("digest")), MAX_DOCUMENT)
        return None

    def blob(self, digest: str, limit: int) -> bytes:
        content = read_blob(self._layout, digest, limit)
        if sha256_digest(content) != digest:
            raise ImageUnreadable(f"{self._layout}: blob {digest} holds other bytes than its digest says")
        return content


def gather(place: Place, manifest: str) -> Found:
    """All that refers to ``manifest`` in ``place``, within the bounds of this module.

    Raises nothing for what the place holds: what cannot be read is told in ``failures``, and an image without
    evidence is one that demands will refuse.
    """
    found = Found()
    asked = total = 0
    try:
        for layer in _layers(_manifests(place, manifest, found)):
            if asked >= MOST_BLOBS or total > LARGEST_ALL:
                found.cut = True
                break
            asked += 1
            total += _take(place, layer, found)
    except VordrError as error:
        found.failures.append(error.message)
    return found


def _manifests(place: Place, manifest: str, found: Found) -> Iterator[dict[str, Any]]:
    """Manifests that refer to the image, each once: cosign's tags first, which a flood of referrers must not
    push out, then the referrers."""
    tag = f"sha256-{parse_digest(manifest)}"
    seen = {manifest}
    for suffix in (".sig", ".att"):
        # A tag names its subject by its own name; what it holds is verified against the digest later.
        if (one := _readable(place, tag + suffix, seen, found)) is not None:
            yield one
    pages = place.referrers(manifest)
    if pages is None:
        index = place.manifest(tag)
        pages = iter(()) if index is None else iter((index,))
    looked = 0
    for page in pages:
        for digest in _digests(page):
            if digest in seen:
                continue
            looked += 1
            if looked > MOST_MANIFESTS:
                found.cut = True
                return
            one = _readable(place, digest, seen, found)
            if one is not None and _subject(one) == manifest:
                yield one


def _readable(place: Place, wanted: str, seen: set[str], found: Found) -> dict[str, Any] | None:
    """The manifest of a digest or tag; None: absent, seen before, or not to be read, which is told."""
    try:
        content = place.manifest(wanted)
        if content is None or sha256_digest(content) in seen:
            return None
        seen.add(sha256_digest(content))
        return _manifest(content)
    except ImageUnreadable as error:
        found.failures.append(error.message)
        return None


def _take(place: Place, layer: Mapping[str, Any], found: Found) -> int:
    """Fetch one layer; its bytes."""
    kind, digest = str(layer["mediaType"]), str(layer.get("digest"))
    try:
        parse_digest(digest)
        content = place.blob(digest, LARGEST_BUNDLE if kind == BUNDLE_TYPE else LARGEST_BLOB)
        if kind == BUNDLE_TYPE:
            found.bundles.append(content)
        else:
            annotations = layer.get("annotations")
            told: Mapping[str, Any] = annotations if isinstance(annotations, dict) else {}
            found.attached.append(Attached(kind, content, _signature(told), _log(told)))
    except (FormatError, VordrError) as error:
        found.failures.append(str(error))
        return 0
    return len(content)


def _signature(annotations: Mapping[str, Any]) -> bytes | None:
    value = annotations.get(SIGNATURE_ANNOTATION)
    return base64s.decode(value, SIGNATURE_ANNOTATION) if isinstance(value, str) and value else None


def _log(annotations: Mapping[str, Any]) -> bytes | None:
    value = annotations.get(LOG_ANNOTATION)
    return value.encode() if isinstance(value, str) and value else None


# -- documents -------------------------------------------------------------------------------------


def _document(content: bytes, where: str) -> dict[str, Any]:
    try:
        value = canonical.loads(content, max_bytes=MAX_DOCUMENT, where=where)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from None
    if not isinstance(value, dict):
        raise ImageUnreadable(f"{where}: is not an object")
    return value


def _manifest(content: bytes) -> dict[str, Any]:
    """A manifest that is no index too (CVE-2021-41190)."""
    value = _document(content, "referring manifest")
    if "manifests" in value or not isinstance(value.get("layers"), list):
        raise ImageUnreadable("referring manifest: has no layers, or is an index")
    return value


def _layers(manifests: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The layers of media types that somebody here reads."""
    for manifest in manifests:
        for layer in manifest["layers"]:
            kind = layer.get("mediaType") if isinstance(layer, dict) else None
            if isinstance(kind, str) and (kind in _READ or kind.startswith(SIGSTORE)):
                yield layer


def _subject(manifest: Mapping[str, Any]) -> str | None:
    match manifest.get("subject"):
        case {"digest": str(digest)}:
            return digest
    return None


def _entries(index: bytes) -> list[dict[str, Any]]:
    entries = _document(index, "index").get("manifests")
    if not isinstance(entries, list):
        raise ImageUnreadable("index.manifests: is not a list")
    return [entry for entry in entries if isinstance(entry, dict)]


def _digests(index: bytes) -> Iterator[str]:
    for entry in _entries(index):
        digest = entry.get("digest")
        try:
            if isinstance(digest, str) and entry.get("mediaType") == OCI_MANIFEST:
                yield f"sha256:{parse_digest(digest)}"
        except FormatError:
            continue
