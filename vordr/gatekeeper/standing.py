"""Whether a trust store, and what it took back, still stands. Pure; asked before and during verification."""

from __future__ import annotations

from vordr.formats.times import format_rfc3339
from vordr.gatekeeper.bundle import Bundle
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import TrustStoreInvalid, VerificationRejected


def require_fresh(store: TrustStore, now_us: int) -> None:
    """Raises TrustStoreInvalid (code EXPIRED): the store has an end, and it has come. Who keeps updates back
    from a host (freeze) can do so no longer than this."""
    if store.expires is not None and now_us >= store.expires:
        raise TrustStoreInvalid(
            f"the trust store {store.id[:100]}, revision {store.revision}, expired at "
            f"{format_rfc3339(store.expires)}",
            remedy="vordr trust update FILE (a newer one, signed by its updaters)",
            details={"code": "EXPIRED"})


def require_not_withdrawn(store: TrustStore, bundle: Bundle, subject: Subject) -> None:
    """Raises VerificationRejected (MISSING_ATTESTATION): what vouched for the image was taken back, so that
    nothing does any more, however sound its signatures are."""
    every = [(one.digest, f"the {one.predicate_type} attestation") for one in bundle.attestations]
    for digest, what in ((subject.manifest, "all that was said of the image"), *every):
        if withdrawal := store.withdrawn(digest):
            raise VerificationRejected(
                "MISSING_ATTESTATION",
                f"{what[:200]} was revoked at {format_rfc3339(withdrawal.at)}: {withdrawal.reason}", step=4,
                remedy="use the image that supersedes it",
                details={"revoked": digest, "reason": withdrawal.reason})
