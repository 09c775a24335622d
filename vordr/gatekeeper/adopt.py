"""Vouching for an image that somebody else built and nobody signed: the operator's own attestation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import sbom
from vordr.gatekeeper.attest import make_bundle
from vordr.gatekeeper.logs import Log
from vordr.gatekeeper.sbom import OpenBlob
from vordr.gatekeeper.statements import ADOPT_BUILD, Act
from vordr.gatekeeper.subject import read_manifest, subject_of


def attest(
    manifest: bytes, config: bytes, *, name: str, source: str, signers: Sequence[PrivateKey],
    logs: Sequence[Log], now_us: int, open_blob: OpenBlob | None = None,
    clock: Callable[[], int] | None = None,
) -> bytes:
    """The bundle that adopts the image with these manifest and config bytes.

    ``name`` is what the image is called, ``source`` where it was taken from; the first signer is named as who
    did it. With ``open_blob`` the layers are searched for software, else the SPDX document says that they
    were not. The act began at ``now_us`` and ends by ``clock`` (by default at once).

    Raises ImageUnreadable, UsageError, StateError.
    """
    subject = subject_of(manifest, config)
    _, layers = read_manifest(manifest)
    inventory = sbom.NOT_READ if open_blob is None else sbom.inventory(layers, open_blob)
    builder = signers[0].public.key_id if signers else ""
    finished = None if clock is None else clock()
    act = Act(ADOPT_BUILD, name, source, builder, now_us, finished)
    return make_bundle(subject, act, inventory, signers=signers, logs=logs)
