"""The .ctp: one tar with an image, its attestation bundle, and views of it. Layout: docs/formats.md, ".ctp".

Read in one pass and in constant memory, so a pipe will do. Everything small comes first and is checked when
the package is opened; the image manifest and config follow, then the layers, each compared with its digest as
it streams by. What is read out of a package is *consistent*; whether it is trusted is for
:mod:`~vordr.gatekeeper.decide` to say.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final, NoReturn

from vordr.formats import canonical, dsse
from vordr.formats.digests import parse_digest, sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import ustar
from vordr.gatekeeper.bundle import Bundle
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.label import Label, parse_label
from vordr.gatekeeper.statements import PREDICATES, PROVENANCE, SPDX, view
from vordr.gatekeeper.subject import (
    LARGEST_DOCUMENT,
    MANIFEST_TYPES,
    Blob,
    Subject,
    read_manifest,
    subject_of,
)
from vordr.gatekeeper.trust import ADOPTERS, BUILDERS, TrustStore
from vordr.model.errors import ImageUnreadable, VerificationRejected
from vordr.model.progress import Progress, silent

LABEL: Final = "manifest.toml"
BUNDLE: Final = "attestations/bundle.json"
SBOM: Final = "attestations/sbom.json"
PROVENANCE_VIEW: Final = "attestations/provenance.json"
RELEASE: Final = "signatures/release.sig"
LAYOUT: Final = "oci-layout/oci-layout"
INDEX: Final = "oci-layout/index.json"
RELEASE_TYPE: Final = "application/vnd.vordr.ctp-release+json"
LAYOUT_FILE: Final = b'{"imageLayoutVersion":"1.0.0"}'

_TELL_EVERY: Final = 8 << 20
_BLOBS: Final = "oci-layout/blobs/sha256/"
_PROOF = re.compile(r"signatures/logs/(0|[1-9][0-9]{0,2})\.proof")
_LIMITS: Final[Mapping[str, int]] = {
    LABEL: 8 * 1024,  # twice what the longest name and packer need; why so tight: formats.toml
    BUNDLE: bundles.LARGEST_BUNDLE,
    SBOM: bundles.LARGEST_BUNDLE,
    PROVENANCE_VIEW: bundles.LARGEST_BUNDLE,
    RELEASE: 1024 * 1024,
    LAYOUT: 4096,
    INDEX: 64 * 1024,
}
_LARGEST_PROOF = 64 * 1024
_FOLDERS: Final = frozenset(
    {
        "attestations", "signatures", "signatures/logs", "oci-layout", "oci-layout/blobs",
        "oci-layout/blobs/sha256",
    }
)


class _Share:
    """Tells ``progress`` of bytes that pass: at the beginning, at the end, and at every few MiB between."""

    def __init__(self, progress: Progress, phase: str, total: int) -> None:
        self._progress, self._phase, self._total = progress, phase, total
        self._done = self._next = 0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._done >= min(self._next, self._total):
            self._next = self._done + _TELL_EVERY
            self._progress(self._phase, self._done, self._total)


class CtpReader:
    """An opened package; made by :func:`open_ctp`.

    ``label`` is manifest.toml's content, ``bundle`` the bundle's bytes, ``manifest`` and ``config`` the
    image's, ``subject`` what they are; all of it is consistent. ``layers`` are the layers' descriptors.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._members = ustar.members(source)
        small, first = self._read_small()
        self.label: Label = parse_label(small[LABEL])
        self.bundle: bytes = small[BUNDLE]
        self._release = _release(small)
        parsed = bundles.parse(self.bundle)
        _check_views(parsed, small)
        self.manifest: bytes = self._read_document(first, self.label.manifest, "image manifest")
        config_blob, self.layers = read_manifest(self.manifest)
        second = next(self._files(), None)
        self.config: bytes = self._read_document(second, config_blob.digest, "image config")
        self.subject: Subject = subject_of(self.manifest, self.config)
        if small[LAYOUT] != LAYOUT_FILE or small[INDEX] != index_file(self.manifest, self.label):
            raise ImageUnreadable(f"{LAYOUT} or {INDEX}: not those of an image {self.label.manifest} alone")

    def blobs(
        self, progress: Progress = silent, phase: str = "check"
    ) -> Iterator[tuple[str, int, CheckedStream]]:
        """(digest, size, stream) of manifest, config, and each distinct layer, in the package's order.

        To be run through once; what is left of a stream is read and checked before the next one comes.
        ``progress`` is called with ``phase``, the bytes read so far, and how many there are. Raises
        ImageUnreadable: other bytes than the digest's, a blob that the manifest does not name, one twice, one
        missing, or anything after the last.
        """
        wanted = {layer.digest: layer for layer in self.layers}
        wanted.pop(self.subject.config, None)
        documents = (self.manifest, self.config)
        told = _Share(progress, phase, sum(map(len, documents)) + sum(one.size for one in wanted.values()))
        for document in documents:
            digest = sha256_digest(document)
            yield digest, len(document), CheckedStream(
                io.BytesIO(document), digest, len(document), digest, told)
        for member, content in self._files():
            digest = _blob_digest(member)
            layer = wanted.pop(digest, None)
            if layer is None or layer.size != member.size:
                raise ImageUnreadable(f"{member.name}: not a layer of this image, twice, or of another size")
            with CheckedStream(content, digest, member.size, member.name, told) as stream:
                yield digest, member.size, stream
                stream.drain()
        if wanted:
            raise ImageUnreadable(f"package: the layer {next(iter(wanted))} is missing")

    def verify_release(self, trust: TrustStore, now_us: int) -> tuple[str, ...]:
        """Ids of the keys that signed the package's own members (release.sig), all of them trusted and valid.

        This vouches for name and date in manifest.toml; the image itself is the bundle's affair. Raises
        VerificationRejected (step 5) with the spec's code.
        """
        signed = self._release.pae()
        for signature in self._release.signatures:
            key = trust.key(signature.keyid)
            if key is None or trust.revoked(key.id) or not {BUILDERS, ADOPTERS} & set(key.roles):
                _refuse("UNKNOWN_KEY", f"no usable key {signature.keyid} in the trust store")
            if now_us < key.valid_from:
                _refuse("KEY_NOT_YET_VALID", f"{key.id} is not valid yet")
            if key.valid_until is not None and now_us >= key.valid_until:
                _refuse("EXPIRED_KEY", f"{key.id} has expired")
            if not key.public.verify(signature.sig, signed):
                _refuse("INVALID_SIGNATURE", f"the signature of {key.id} does not hold")
        return tuple(signature.keyid for signature in self._release.signatures)

    def _files(self) -> Iterator[tuple[ustar.Member, ustar.Content]]:
        """The members that are left, without the folders."""
        for member, content in self._members:
            if not member.folder:
                yield member, content
            elif member.name not in _FOLDERS:
                raise ImageUnreadable(f"package: {member.name[:200]!r} is no folder of a package")

    def _read_small(self) -> tuple[dict[str, bytes], tuple[ustar.Member, ustar.Content] | None]:
        """Everything before the first blob, and that blob."""
        small: dict[str, bytes] = {}
        first = None
        for member, content in self._files():
            if member.name.startswith(_BLOBS):
                first = member, content
                break
            limit = _LARGEST_PROOF if _PROOF.fullmatch(member.name) else _LIMITS.get(member.name)
            if limit is None:
                raise ImageUnreadable(f"package: {member.name[:200]!r} does not belong into a package")
            if member.name in small:
                raise ImageUnreadable(f"package: {member.name} is there twice")
            if member.size > limit:
                raise ImageUnreadable(f"package: {member.name} is larger than {limit} bytes")
            if not small and member.name != LABEL:
                raise ImageUnreadable(f"package: starts with {member.name}, not with {LABEL}")
            small[member.name] = content.read()
            if len(small) > len(_LIMITS) + bundles.MOST_ENTRIES:
                raise ImageUnreadable("package: too many members")
        if missing := [name for name in _LIMITS if name not in small]:
            raise ImageUnreadable(f"package: {missing[0]} is missing")
        return small, first

    def _read_document(
        self, found: tuple[ustar.Member, ustar.Content] | None, digest: str, what: str
    ) -> bytes:
        if found is None or _blob_digest(found[0]) != digest:
            raise ImageUnreadable(f"package: the {what} {digest} is not in its place")
        member, content = found
        if member.size > LARGEST_DOCUMENT:
            raise ImageUnreadable(f"package: the {what} is larger than {LARGEST_DOCUMENT} bytes")
        return CheckedStream(content, digest, member.size, member.name).read()


def open_ctp(fd: int) -> CtpReader:
    """Open the package at the current position of the descriptor ``fd``, which stays the caller's and open.

    Raises ImageUnreadable: not a package, or one that contradicts itself; VerificationRejected
    (MALFORMED_BUNDLE, INSUFFICIENT_LOG_COVERAGE): its bundle is none.
    """
    return CtpReader(os.fdopen(fd, "rb", closefd=False))


def _refuse(code: str, message: str) -> NoReturn:
    raise VerificationRejected(code, f"{RELEASE}: {message}", step=5)


def _blob_digest(member: ustar.Member) -> str:
    digest = "sha256:" + member.name.removeprefix(_BLOBS)
    try:
        parse_digest(digest)
    except FormatError as error:
        raise ImageUnreadable(f"package: {member.name[:200]!r} is not the name of a blob") from error
    return digest


# -- what the small members must be ----------------------------------------------------------------


def views(parsed: Bundle) -> dict[str, bytes]:
    """The members that derive from a bundle: SPDX document, provenance, and one proof per log entry."""
    found = {}
    for name, kind in ((SBOM, SPDX), (PROVENANCE_VIEW, PROVENANCE)):
        predicates = [one.predicate for one in parsed.attestations if one.predicate_type == kind]
        if len(predicates) != 1:
            raise ImageUnreadable(f"{BUNDLE}: has {len(predicates)} of {PREDICATES[kind]}, not one")
        try:
            found[name] = view(predicates[0])
        except FormatError as error:
            raise ImageUnreadable(f"{BUNDLE}: {PREDICATES[kind]}: {error}") from error
    for at, entry in enumerate(parsed.entries):
        found[f"signatures/logs/{at}.proof"] = canonical.dumps(entry.to_json())
    return found


def _check_views(parsed: Bundle, small: Mapping[str, bytes]) -> None:
    expected = views(parsed)
    proofs = {name for name in small if _PROOF.fullmatch(name)}
    if extra := proofs - set(expected):
        raise ImageUnreadable(f"package: {min(extra)} proves nothing that is in the bundle")
    for name, content in expected.items():
        if small.get(name) != content:
            raise ImageUnreadable(f"package: {name} is not what the bundle says")


def release_payload(small: Mapping[str, bytes]) -> bytes:
    """What release.sig signs: canonical JSON of the digest of every small member but itself."""
    digests = {name: sha256_digest(content) for name, content in small.items() if name != RELEASE}
    return canonical.dumps({"format": 1, "members": digests})


def _release(small: Mapping[str, bytes]) -> dsse.Envelope:
    try:
        envelope = dsse.parse(canonical.loads(small[RELEASE], where=RELEASE), RELEASE)
    except FormatError as error:
        raise ImageUnreadable(str(error)) from error
    if envelope.payload_type != RELEASE_TYPE or envelope.payload != release_payload(small):
        raise ImageUnreadable(f"{RELEASE}: signs other members than these")
    return envelope


def index_file(manifest: bytes, label: Label) -> bytes:
    """``index.json`` of an OCI layout with this one manifest, as canonical JSON."""
    media_type = canonical.loads(manifest, where="manifest").get("mediaType", MANIFEST_TYPES[0])
    descriptor = {
        "mediaType": media_type,
        "digest": label.manifest,
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": label.name},
    }
    return canonical.dumps({"schemaVersion": 2, "manifests": [descriptor]})


# -- writing ---------------------------------------------------------------------------------------


def write_ctp(
    target: BinaryIO, *, label: Label, bundle: bytes, manifest: bytes, config: bytes,
    layers: Iterable[tuple[Blob, CheckedStream]], signers: Sequence[PrivateKey],
) -> None:
    """Write a package to ``target``; ``layers`` are the distinct layers' descriptors and contents, in order.

    Raises ImageUnreadable where a layer is not what its descriptor says, or too large for a tar (8 GiB).
    """
    small = {
        LABEL: label.to_toml(),
        BUNDLE: bundle,
        **views(bundles.parse(bundle)),
        LAYOUT: LAYOUT_FILE,
        INDEX: index_file(manifest, label),
    }
    payload = release_payload(small)
    signed = dsse.pae(RELEASE_TYPE, payload)
    signatures = tuple(dsse.Signature(key.public.key_id, key.sign(signed)) for key in signers)
    small[RELEASE] = canonical.dumps(dsse.Envelope(RELEASE_TYPE, payload, signatures).to_json())
    tar = ustar.Writer(target, label.created // 1_000_000)
    for name, content in small.items():
        tar.add(name, len(content), io.BytesIO(content))
    for document in (manifest, config):
        tar.add(_BLOBS + parse_digest(sha256_digest(document)), len(document), io.BytesIO(document))
    for blob, stream in layers:
        tar.add(_BLOBS + parse_digest(blob.digest), blob.size, stream)
    tar.close()
