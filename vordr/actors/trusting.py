"""What the journal says of trust while it changes: the file is saved before the record of it is durable.

The intent of a change names the digests that it is about to make. So whoever meets the new file without its
record knows that this is not a change made beside us, and a recovery knows whether it happened.
"""

from __future__ import annotations

from typing import Any, Final

from vordr.formats.typed import convert
from vordr.gatekeeper import durable, trust
from vordr.model.errors import TrustStoreInvalid
from vordr.model.paths import Paths
from vordr.model.records import EPOCH_KEY, Act, act_key, busy_key

SUBJECT: Final = "trust"
DIGEST_KEY: Final = "trust/digest"


def digests(store: str, policy: str) -> str:
    """The value under :data:`DIGEST_KEY` for the digests of a trust store and a policy."""
    return f"{store} {policy}"


def next_epoch(journal: Any, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the record of a change to ``digest`` writes, and on which condition it may."""
    epoch = journal.get(EPOCH_KEY)
    return {EPOCH_KEY: int(epoch or 0) + 1, DIGEST_KEY: digest}, {EPOCH_KEY: epoch}


def being_made(journal: Any) -> str | None:
    """The digests that a change under way has made or is about to make; None where none is."""
    txn = journal.get(busy_key(SUBJECT))
    value = None if txn is None else journal.get(act_key(txn))
    intent = None if value is None else convert(value, Act).intent
    found = None if intent is None else intent.args.get("digest")
    return None if found is None else str(found)


def stands(paths: Paths, digest: str) -> bool:
    """Whether the trust store on disk is the one of ``digest``; durably so, when it is."""
    try:
        found = trust.load(paths.trust_store).digest
    except TrustStoreInvalid:
        return False
    if found != digest.partition(" ")[0]:
        return False
    durable.sync_folder(paths.trust)
    return True
