"""Adding one signer to what is signed already: a bundle, or the bundle of a package.

What the signer signs are the very bytes that the first one signed. Payloads, their digests, and with them the
logs' entries stay as they are; so k of n people can sign one after the other, in any order, each on a machine
of her own. Whether the signatures that are there hold is for the trust store's owner to say, not for the next
signer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vordr.formats import canonical
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.gatekeeper.package import CtpReader, open_ctp, write_ctp
from vordr.gatekeeper.subject import Blob
from vordr.model.errors import ImageUnreadable, UsageError


@dataclass(frozen=True)
class Signed:
    """``key`` is the signer's id; ``changed`` is False where it had signed before; ``about`` are the image
    manifests and ``kinds`` the predicate types of the statements; ``signers`` the key ids that every one of
    them carries."""

    key: str
    changed: bool
    about: tuple[str, ...]
    kinds: tuple[str, ...]
    signers: tuple[str, ...]


def add_signature(raw: bytes, key: PrivateKey) -> bytes:
    """The bundle ``raw`` with a signature by ``key`` on every attestation, as canonical JSON; ``raw`` itself
    where all of them have it already.

    Raises VerificationRejected: ``raw`` is no bundle, or would have too many signatures; UsageError: a
    signature under this key's id does not hold.
    """
    parsed = bundles.parse(raw)
    try:
        envelopes = [one.envelope.signed_by(key) for one in parsed.attestations]
    except FormatError as error:
        raise UsageError(f"bundle: {error}", remedy="ask for the bundle again: somebody wrote your key's id"
                         ) from error
    if envelopes == [one.envelope for one in parsed.attestations]:
        return raw
    document = canonical.loads(raw, max_bytes=bundles.LARGEST_BUNDLE, where="bundle")
    made = canonical.dumps({**document, "attestations": [envelope.to_json() for envelope in envelopes]})
    bundles.parse(made)
    return made


def sign_bundle(source: Path, output: Path, key: PrivateKey) -> Signed:
    """Add ``key`` to the bundle in the file ``source`` and write it to ``output`` (which may be the same).

    Raises as :func:`add_signature`, and UsageError: a file cannot be read or written.
    """
    with _opened(source) as fd, os.fdopen(os.dup(fd), "rb") as file:
        raw = file.read(bundles.LARGEST_BUNDLE + 1)
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
    made = add_signature(raw, key)
    if made != raw or output != source:
        with whole_or_absent(output, mode) as target:
            target.write(made)
    return _told(raw, made, key)


def sign_package(source: Path, output: Path, key: PrivateKey) -> Signed:
    """Add ``key`` to the bundle of the package ``source`` and write it, every blob checked on the way, to
    ``output``. Where that is the same file and the signature is there already, nothing is written.

    release.sig covers all of the package, signatures too: whoever signed it before signed another package, so
    it is signed anew, by ``key``. Raises as :func:`sign_bundle`, ImageUnreadable: the package contradicts
    itself, and LayerSpaceExhausted.
    """
    with _opened(source) as fd:
        reader = open_ctp(fd)
        made = add_signature(reader.bundle, key)
        signed = _told(reader.bundle, made, key)
        if signed.changed or output != source:
            with whole_or_absent(output, stat.S_IMODE(os.fstat(fd).st_mode)) as target:
                write_ctp(target, label=reader.label, bundle=made, manifest=reader.manifest,
                          config=reader.config, layers=_layers(reader), signers=[key])
    return signed


def _told(before: bytes, after: bytes, key: PrivateKey) -> Signed:
    parsed = bundles.parse(after)
    about = dict.fromkeys(f"sha256:{one.get('sha256')}" for a in parsed.attestations for one in a.subjects)
    on_all = set.intersection(
        *({signature.keyid for signature in one.envelope.signatures} for one in parsed.attestations))
    return Signed(key.public.key_id, after != before, tuple(about),
                  tuple(one.predicate_type for one in parsed.attestations), tuple(sorted(on_all)))


def _layers(reader: CtpReader) -> Iterator[tuple[Blob, CheckedStream]]:
    known = {layer.digest: layer for layer in reader.layers}
    for number, (digest, _, stream) in enumerate(reader.blobs()):
        if number > 1:  # manifest and config come first
            yield known[digest], stream


class _opened:
    """The descriptor of a regular file, closed at the end of the block. Raises UsageError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise ImageUnreadable(f"{self._path}: not a regular file")
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
