"""Bringing what was found beside an image into the store: its bundle, if one verifies, and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from vordr.actors.stores import Made, Work
from vordr.engine import beside
from vordr.engine.beside import Gathered
from vordr.engine.host import Call, Host
from vordr.engine.library import Planned, more_names, subject_of
from vordr.formats.digests import sha256_digest
from vordr.formats.typed import convert
from vordr.gatekeeper.evidence import Beside, Piece
from vordr.model.errors import PolicyDenied, TrustStoreInvalid, VerificationRejected
from vordr.model.state import ImageState
from vordr.model.verdict import Verdict


@dataclass(frozen=True)
class Joined:
    """Steps that make the image be as it was found, their work, and the verdict where a bundle verified."""

    planned: Planned
    verdicts: Mapping[str, Verdict]


def tell(call: Call, gathered: Gathered) -> None:
    """Say what could not be read to whoever waits."""
    for note in gathered.notes:
        call.progress(f"beside the image: {note}", 0, None)


def join(
    host: Host, call: Call, image: ImageState, known: ImageState | None, gathered: Gathered
) -> Joined:
    """How ``image`` comes into the store with what was gathered. ``known`` is what the store has of it.

    A bundle is taken only by an image that has none, and only if the image may start by it now; evidence is
    added to what is there. Asked again when the world moved before the begin.
    """
    before = image if known is None else known
    names = beside.names_of(before, *image.names)
    old = beside.read(host.paths, before).pieces
    pieces = beside.bounded(dict.fromkeys((*old, *gathered.pieces)))
    found = None
    if before.bundle is None:
        found = _vouched(host, call, before, gathered, Beside(names, pieces))
    changes: dict[str, Any] = {}
    digests = tuple(piece.digest for piece in pieces)
    if digests and digests != before.evidence:
        changes["evidence"] = list(digests)
    if found is not None:
        bundle, verdict = found
        changes |= {"bundle": sha256_digest(bundle), "origin": verdict.origin,
                    "attested_by": verdict.attested_by}
    work = _work(host, call, before, pieces, None if found is None else found[0])
    verdicts = {} if found is None else {image.manifest: found[1]}
    if known is None:
        whole = convert({**msgspec.to_builtins(image), **changes}, ImageState)
        return Joined(host.library.import_steps(whole, work), verdicts)
    return Joined(host.library.change_steps(known, changes | more_names(known, image), work), verdicts)


def _vouched(
    host: Host, call: Call, image: ImageState, gathered: Gathered, known: Beside
) -> tuple[bytes, Verdict] | None:
    """The first bundle that lets the image start, and the verdict by it. Others are told, and not kept."""
    for bundle in gathered.bundles:
        try:
            return bundle, host.gatekeeper.judge(subject_of(image), bundle, known)
        except (VerificationRejected, PolicyDenied, TrustStoreInvalid) as refused:
            code = refused.code if isinstance(refused, VerificationRejected) else refused.id
            call.progress(f"a bundle beside the image is refused: {code}: {refused.message}", 0, None)
    return None


def _work(
    host: Host, call: Call, image: ImageState, pieces: tuple[Piece, ...], bundle: bytes | None
) -> Work:
    def work() -> Made:
        beside.keep(host.paths, pieces)
        if bundle is None:
            return Made()
        host.library.keep_bundle(bundle)
        return Made(seals=host.library.seal(image, call.progress))

    return work
