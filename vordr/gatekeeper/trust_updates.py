"""Signed updates: a new trust store, vouched for by those whom the present one names as updaters. Pure.

An update is a DSSE envelope of type :data:`PAYLOAD_TYPE` whose payload is a whole trust store. It is taken if

1. every signature is by a key with the role ``updaters`` in the present store or in the new one, unrevoked
   in both and valid now, and holds;
2. k distinct public keys of the present store's group ``updaters`` signed; where it has no such group, all
   its usable keys of that role did;
3. so it is by the new store's own rule: nobody is handed an update after which no further one could follow;
4. it is a store of the same id, with a greater ``revision`` and a later ``updated``, which is not to come,
   and it has not expired;
5. what was revoked stays revoked: no key and no digest comes back.

So an older update (rollback) is refused whoever signed it, and a mirror that keeps the new ones back (freeze)
is found out when the store that it froze expires; where stores carry no ``expires``, it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

from vordr.formats import canonical, dsse
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import trust
from vordr.gatekeeper.trust import UPDATERS, TrustedKey, TrustStore
from vordr.model.errors import TrustStoreInvalid

PAYLOAD_TYPE: Final = "application/vnd.vordr.trust-store+json"
LARGEST_UPDATE: Final = 2 * 1024 * 1024
_MEMBERS: Final = {"payloadType", "payload", "signatures"}


@dataclass(frozen=True)
class Update:
    """The new store, and the ids of the keys that vouch for it by the present store's rule."""

    store: TrustStore
    signers: tuple[str, ...]


def accept(present: TrustStore, raw: bytes, now_us: int) -> Update:
    """The update in ``raw``, by the word of ``present``. Raises TrustStoreInvalid with a ``code`` in its
    details: MALFORMED_TRUST_STORE, UNKNOWN_KEY, INVALID_SIGNATURE, THRESHOLD_NOT_MET, ROLLBACK, EXPIRED or
    UNREVOKED."""
    envelope = parse(raw)
    new = trust.parse(envelope.payload, "update")
    signers = _signers(envelope, present, new, now_us)
    if not updaters(present, now_us):
        _refuse("THRESHOLD_NOT_MET", "the trust store of this host has no usable key of role updaters",
                "vordr trust add --role updaters --owner NAME KEY.pem")
    _meet(present, signers, now_us, "the present trust store")
    _meet(new, signers, now_us, "the new trust store")
    _follows(present, new, now_us)
    _keeps_revocations(present, new)
    known = {key.id for key in updaters(present, now_us)}
    return Update(new, tuple(sorted(known & set(signers))))


def parse(raw: bytes) -> dsse.Envelope:
    """The envelope of an update, nothing verified. Raises TrustStoreInvalid."""
    try:
        document = canonical.loads(raw, max_bytes=LARGEST_UPDATE, where="update")
        envelope = dsse.parse(document, "update")
    except FormatError as error:
        raise TrustStoreInvalid(
            str(error), remedy="vordr trust sign makes an update of a trust store",
            details={"code": "MALFORMED_TRUST_STORE"}) from error
    if set(document) != _MEMBERS or envelope.payload_type != PAYLOAD_TYPE:
        _refuse("MALFORMED_TRUST_STORE", f"update: not an envelope of {PAYLOAD_TYPE} and nothing more")
    return envelope


def sign(raw: bytes, key: PrivateKey) -> bytes:
    """``raw``, a trust store or an update, as an update that ``key`` has signed too.

    Whether the signatures that are there hold is for the host that takes the update to say. Raises
    TrustStoreInvalid: neither, or a store without revision; or a signature under this key's id does not hold.
    """
    try:
        document: Any = canonical.loads(raw, max_bytes=LARGEST_UPDATE, where="update")
    except FormatError as error:
        raise TrustStoreInvalid(str(error)) from error
    if isinstance(document, dict) and "payloadType" in document:
        envelope = parse(raw)
        store = trust.parse(envelope.payload, "update")
    else:
        store = trust.parse(raw)
        envelope = dsse.Envelope(PAYLOAD_TYPE, canonical.dumps(store.to_document()), ())
    if not store.revision:
        raise TrustStoreInvalid(
            "trust store: $.revision: is missing",
            remedy='set "revision" above that of the hosts (vordr trust show), and "updated"')
    try:
        return canonical.dumps(envelope.signed_by(key).to_json())
    except FormatError as error:
        raise TrustStoreInvalid(f"update: {error}") from error


def updaters(store: TrustStore, now_us: int) -> tuple[TrustedKey, ...]:
    """The keys of role updaters that count now."""
    return tuple(key for key in store.keys if UPDATERS in key.roles and _usable(store, key, now_us))


def rule(store: TrustStore, now_us: int) -> tuple[int, frozenset[str]]:
    """How many of which key ids must sign an update of ``store``."""
    ids = frozenset(key.id for key in updaters(store, now_us))
    group = store.group(UPDATERS)
    return (len(ids), ids) if group is None else (group.k, ids & frozenset(group.members))


def _usable(store: TrustStore, key: TrustedKey, now_us: int) -> bool:
    ended = key.valid_until is not None and now_us >= key.valid_until
    return store.revoked(key.id) is None and key.valid_from <= now_us and not ended


def _signers(
    envelope: dsse.Envelope, present: TrustStore, new: TrustStore, now_us: int
) -> dict[str, TrustedKey]:
    """The keys whose signatures hold, by id; an id is the digest of its public key, so each counts once."""
    signed = envelope.pae()
    known = {key.id: key for store in (new, present) for key in updaters(store, now_us)}
    found: dict[str, TrustedKey] = {}
    for signature in envelope.signatures:
        key = known.get(signature.keyid)
        if key is None or any(store.revoked(key.id) for store in (present, new)):
            _refuse("UNKNOWN_KEY", f"update: {signature.keyid[:100]} is no usable key of role updaters")
        if not key.public.suite.available or not key.public.verify(signature.sig, signed):
            _refuse("INVALID_SIGNATURE", f"update: the signature of {key.id} does not hold")
        found[key.id] = key
    return found


def _meet(store: TrustStore, signers: dict[str, TrustedKey], now_us: int, whose: str) -> None:
    needed, ids = rule(store, now_us)
    present = {key.public.raw for key_id, key in signers.items() if key_id in ids}
    if needed == 0 or len(present) < needed:
        _refuse("THRESHOLD_NOT_MET",
                f"update: {len(present)} updaters of {whose} signed, {max(needed, 1)} must",
                "vordr trust sign")


def _follows(present: TrustStore, new: TrustStore, now_us: int) -> None:
    if new.id != present.id:
        _refuse("ROLLBACK", f"update: of {new.id[:100]!r}, and this host's trust store is {present.id!r}")
    if new.revision <= present.revision:
        _refuse("ROLLBACK", f"update: revision {new.revision} is not above {present.revision}")
    if new.updated <= present.updated:
        _refuse("ROLLBACK", f"update: of {format_rfc3339(new.updated)}, and the present trust store is of "
                f"{format_rfc3339(present.updated)}")
    if new.updated > now_us:
        _refuse("ROLLBACK", f"update: of {format_rfc3339(new.updated)}, which has not come yet")
    if new.expires is not None and now_us >= new.expires:
        _refuse("EXPIRED", f"update: it expired at {format_rfc3339(new.expires)}")


def _keeps_revocations(present: TrustStore, new: TrustStore) -> None:
    for revocation in present.revocations:
        if new.revoked(revocation.key_id) is None:
            _refuse("UNREVOKED", f"update: {revocation.key_id} was revoked, and would count again")
    for withdrawal in present.withdrawals:
        if new.withdrawn(withdrawal.digest) is None:
            _refuse("UNREVOKED", f"update: {withdrawal.digest} was revoked, and would count again")


def _refuse(code: str, message: str, remedy: str | None = None) -> NoReturn:
    raise TrustStoreInvalid(message, remedy=remedy, details={"code": code})
