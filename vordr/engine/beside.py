"""What is kept beside an image's bundle: found in a registry or layout, kept, read at each start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper import durable, evidence
from vordr.gatekeeper.evidence import LARGEST_ALL, LARGEST_FILE, MOST_PIECES, Beside, Kind, Piece
from vordr.images import referrers
from vordr.images.referrers import Attached, Place
from vordr.model.paths import Paths
from vordr.model.state import ImageState

MOST_BUNDLES: Final = 8
"""Of verified-container-spec, for one image; the first that verifies is taken."""


@dataclass(frozen=True)
class Gathered:
    """``notes`` say in words what could not be read, or was too much to look at."""

    bundles: tuple[bytes, ...] = ()
    pieces: tuple[Piece, ...] = ()
    notes: tuple[str, ...] = ()


def gather(place: Place, manifest: str) -> Gathered:
    """Everything that refers to ``manifest`` in ``place``, unverified. Raises nothing for what is there."""
    found = referrers.gather(place, manifest)
    notes = list(found.failures)
    if found.cut or len(found.bundles) > MOST_BUNDLES:
        notes.append("there is more beside the image than is looked at")
    pieces = tuple(dict.fromkeys(piece for one in found.attached if (piece := _piece(one)) is not None))
    return Gathered(tuple(found.bundles[:MOST_BUNDLES]), bounded(pieces), tuple(notes))


def _piece(attached: Attached) -> Piece | None:
    match attached.media_type:
        case referrers.SIMPLE_SIGNING:
            if attached.signature is None:
                return None
            return Piece(Kind.SIMPLE_SIGNING, attached.content, attached.signature, attached.log)
        case referrers.DSSE:
            return Piece(Kind.DSSE, attached.content, None, attached.log)
    return Piece(Kind.SIGSTORE, attached.content)


def bounded(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The first of ``pieces`` that one image may have, by number and bytes."""
    kept, total = list[Piece](), 0
    for piece in pieces:
        total += len(piece.content)
        if len(kept) == MOST_PIECES or total > LARGEST_ALL:
            break
        kept.append(piece)
    return tuple(kept)


def keep(paths: Paths, pieces: Iterable[Piece]) -> None:
    """Write the pieces, durably, each under its digest."""
    for piece in pieces:
        path = paths.bundle(piece.digest)
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            durable.replace(path, piece.to_bytes())


def read(paths: Paths, image: ImageState) -> Beside:
    """What is known of an image of the store beside its bundle; each file compared with the digest that the
    journal holds. A file that is missing or holds other bytes is told as lost."""
    pieces, lost = [], []
    for digest in image.evidence:
        try:
            with paths.bundle(digest).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
            if sha256_digest(raw) != digest:
                raise FormatError("evidence", "holds other bytes")
            pieces.append(evidence.parse(raw))
        except (OSError, FormatError):
            lost.append(digest)
    return Beside(names_of(image), tuple(pieces), tuple(lost))


def names_of(image: ImageState, *more: str) -> tuple[str, ...]:
    """All names that the image has, had, or is about to have."""
    return tuple(dict.fromkeys((*more, *image.names, *image.known_as)))
