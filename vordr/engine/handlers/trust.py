"""Handlers of the operations on trust. Each change begins a new trust epoch: older verdicts start nothing."""

from __future__ import annotations

from vordr.actors.stores import Made
from vordr.engine.handlers.images import work_once
from vordr.engine.host import Call, Host
from vordr.engine.protocol import Reply
from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey, Suite
from vordr.gatekeeper import init, policy, trust
from vordr.gatekeeper.schema import REASONS
from vordr.gatekeeper.trust import TrustedKey, TrustStore
from vordr.model import answers, arguments
from vordr.model.errors import TrustStoreInvalid, UsageError
from vordr.model.records import EPOCH_KEY


def trust_init(host: Host, call: Call, args: arguments.TrustInitArgs) -> Reply:
    if host.paths.trust_store.exists():
        raise TrustStoreInvalid(f"{host.paths.trust_store}: there is a trust store already")

    def work() -> Made:
        store = init.trust_init(host.paths, args.owner, host.now_us(), passphrase=args.passphrase)
        return _made(host, store)

    work_once(host, call, "trust_init", f"trust {args.owner}", "trust", {"owner": args.owner}, work)
    return trust_show(host, call, arguments.NoArgs())


def _made(host: Host, store: TrustStore) -> Made:
    """The projection's share of a change: the digest of trust and policy, and the next epoch."""
    digest = f"{store.digest} {policy.load(host.paths.trust / 'policy.toml').digest}"
    epoch = int(host.journal.get(EPOCH_KEY) or 0)
    return Made(writes={EPOCH_KEY: epoch + 1, "trust/digest": digest})


def trust_show(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    trusted = host.gatekeeper.trusted()
    store = trusted.store
    keys = [_key(store, key, role) for key in store.keys for role in key.roles]
    return Reply(answers.TrustAnswer(
        id=store.id, digest=store.digest, epoch=trusted.epoch, keys=tuple(keys),
        logs=tuple(answers.TrustLog(id=log.id, operator=log.operator, url=log.url) for log in store.logs),
        thresholds={group.name: f"{group.k} of {len(group.members)}" for group in store.groups}))


def _key(store: TrustStore, key: TrustedKey, role: str) -> answers.TrustKey:
    revocation = store.revoked(key.id)
    return answers.TrustKey(
        id=key.id, role=role, algorithm=str(key.public.suite.value), owner=key.owner,
        valid_from=key.valid_from, valid_until=key.valid_until,
        revoked=None if revocation is None else revocation.at,
        reason=None if revocation is None else revocation.reason)


def trust_add(host: Host, call: Call, args: arguments.TrustAddArgs) -> Reply:
    public = _public_key(args.public_key)
    now = host.now_us()
    key = TrustedKey(public, (args.role,), now, args.valid_until, args.owner)
    store = trust.add_key(host.gatekeeper.trusted().store, args.role, key, now)
    return _save(host, call, "trust_add", f"trust key {key.id[7:19]} of {args.owner} as {args.role}", store,
                 {"key": key.id, "role": args.role})


def _public_key(pem: str) -> PublicKey:
    """An Ed25519 public key from PEM (``-----BEGIN PUBLIC KEY-----``) or the base64 of its SPKI."""
    body = "".join(line for line in pem.split() if "-" not in line and line not in ("BEGIN", "PUBLIC", "KEY"))
    try:
        return PublicKey.from_spki_base64(body, Suite.ED25519)
    except FormatError as error:
        raise UsageError(
            f"not an Ed25519 public key: {error.message}",
            remedy="openssl pkey -in KEY.pem -pubout") from error


def trust_revoke(host: Host, call: Call, args: arguments.TrustRevokeArgs) -> Reply:
    if args.reason not in REASONS:
        raise UsageError(f"unknown reason {args.reason!r}", remedy=f"one of: {', '.join(REASONS)}")
    store = host.gatekeeper.trusted().store
    known = {key.id for key in store.keys} | {log.public.key_id for log in store.logs}
    found = [key for key in known if key.removeprefix("sha256:").startswith(args.key.removeprefix("sha256:"))]
    if len(found) != 1 or not args.key:
        raise UsageError(
            f"{'no key has' if not found else 'several keys have'} an id beginning with {args.key!r}",
            remedy="vordr trust show")
    changed = trust.revoke_key(store, found[0], args.reason, host.now_us())
    return _save(host, call, "trust_revoke", f"revoke key {found[0][7:19]}", changed,
                 {"key": found[0], "reason": args.reason})


def _save(
    host: Host, call: Call, act: str, summary: str, store: TrustStore, told: dict[str, str]
) -> Reply:
    def work() -> Made:
        trust.save(store, host.paths.trust_store)
        return _made(host, store)

    work_once(host, call, act, summary, "trust", told, work)
    return trust_show(host, call, arguments.NoArgs())
