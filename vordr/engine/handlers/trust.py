"""Handlers of the operations on trust. Each change begins a new trust epoch: older verdicts start nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vordr.actors import trusting
from vordr.actors.stores import Made
from vordr.actors.transaction import Plan
from vordr.engine.host import Call, Host
from vordr.engine.protocol import Reply
from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey, Suite
from vordr.gatekeeper import init, policy, seen, trust, trust_updates
from vordr.gatekeeper.log_client import RemoteLog, remote_logs
from vordr.gatekeeper.schema import REASONS
from vordr.gatekeeper.trust import TrustedKey, TrustStore
from vordr.model import answers, arguments
from vordr.model.errors import NetworkFailed, TrustStoreInvalid, UsageError, VerificationRejected
from vordr.model.records import Step


def trust_init(host: Host, call: Call, args: arguments.TrustInitArgs) -> Reply:
    if host.paths.trust_store.exists():
        raise TrustStoreInvalid(f"{host.paths.trust_store}: there is a trust store already")

    try:
        suite = Suite(args.suite)
    except ValueError:
        known = ", ".join(one.value for one in Suite)
        raise UsageError(f"unknown suite {args.suite!r}", remedy=f"one of: {known}") from None
    with init.prepared(
        host.paths, args.owner, host.now_us(), passphrase=args.passphrase, suite=suite
    ) as made:
        def install() -> None:
            # Made anew on purpose: a store of the same id that was here before is no longer the newest.
            known = seen.load(host.paths.seen)
            if (fresh := known.without_store(made.store.id)) != known:
                seen.save(fresh, host.paths.seen)
            made.install()

        digest = trusting.digests(made.store.digest, policy.load(host.paths.trust / "policy.toml").digest)

        def plan() -> Plan:
            return _plan(call, "trust_init", f"trust {args.owner}", {"owner": args.owner, "digest": digest},
                         install)

        host.transactions.run(plan)
    return trust_show(host, call, arguments.NoArgs())


def _plan(
    call: Call, act: str, summary: str, args: dict[str, str], save: Callable[[], None],
    conditions: Mapping[str, Any] | None = None,
) -> Plan:
    """A change of trust; ``args`` carry the digests that it makes (:mod:`vordr.actors.trusting`)."""
    def work() -> Made:
        save()
        return Made()

    step = Step(subject=trusting.SUBJECT, operation=act, args=args)
    return Plan(act, summary, (step,), call.caller.principal, reversible=False, conditions=conditions or {},
                payload={f"{act} {trusting.SUBJECT}": work})


def trust_show(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    trusted = host.gatekeeper.trusted()
    store = trusted.store
    keys = [_key(store, key, role) for key in store.keys for role in key.roles]
    return Reply(answers.TrustAnswer(
        id=store.id, digest=store.digest, epoch=trusted.epoch, keys=tuple(keys),
        revision=store.revision, updated=store.updated, expires=store.expires,
        revoked=tuple(answers.TrustWithdrawal(digest=one.digest, at=one.at, reason=one.reason)
                      for one in store.withdrawals),
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
    return _change(
        host, call, "trust_add", f"trust key {key.id[7:19]} of {args.owner} as {args.role}",
        {"key": key.id, "role": args.role}, lambda store: trust.add_key(store, args.role, key, now))


def _public_key(pem: str) -> PublicKey:
    """A public key of any suite, from PEM (CT-SIG-02 has two blocks) or the base64 of its SPKI."""
    try:
        return PublicKey.from_text(pem)
    except FormatError as error:
        raise UsageError(
            f"not a public key of CT-SIG-01, CT-SIG-02 or CT-SIG-04: {error.message}",
            remedy="openssl pkey -in KEY.pem -pubout") from error


def trust_revoke(host: Host, call: Call, args: arguments.TrustRevokeArgs) -> Reply:
    if args.reason not in REASONS:
        raise UsageError(f"unknown reason {args.reason!r}", remedy=f"one of: {', '.join(REASONS)}")
    now = host.now_us()
    if args.digest:
        return _change(
            host, call, "trust_revoke", f"revoke {args.key[:19]}",
            {"revoked": args.key, "reason": args.reason},
            lambda store: trust.withdraw(store, args.key, args.reason, now))
    store = host.gatekeeper.trusted().store
    known = {key.id for key in store.keys} | {log.public.key_id for log in store.logs}
    found = [key for key in known if key.removeprefix("sha256:").startswith(args.key.removeprefix("sha256:"))]
    if len(found) != 1 or not args.key:
        raise UsageError(
            f"{'no key has' if not found else 'several keys have'} an id beginning with {args.key!r}",
            remedy="vordr trust show; of an image or attestation: vordr trust revoke --digest sha256:…")
    return _change(
        host, call, "trust_revoke", f"revoke key {found[0][7:19]}", {"key": found[0], "reason": args.reason},
        lambda store: trust.revoke_key(store, found[0], args.reason, now))


def trust_update(host: Host, call: Call, args: arguments.TrustUpdateArgs) -> Reply:
    """Take a new trust store that the present one's updaters signed."""
    raw = args.document.encode()
    present, now = host.gatekeeper.trusted().store, host.now_us()
    update = trust_updates.accept(present, raw, now)
    return _change(
        host, call, "trust_update", f"trust store revision {update.store.revision}",
        {"revision": str(update.store.revision), "signers": " ".join(update.signers)},
        lambda store: trust_updates.accept(store, raw, now).store)


def trust_logs(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    """What was seen of each log, once those of others have been asked for their heads."""
    store = host.gatekeeper.trusted().store
    wrong: dict[str, str] = {}
    for log in remote_logs(store):
        try:
            _follow(host, log)
        except (NetworkFailed, VerificationRejected) as error:
            wrong[log.id] = error.message
    seen = host.gatekeeper.seen()
    known = [(log, seen.log(log)) for log in store.logs]
    return Reply(answers.LogsSeenAnswer(logs=tuple(
        answers.LogSeen(id=log.id, operator=log.operator, url=log.url, size=one.size, index=one.index,
                        time=one.time, wrong=wrong.get(log.id))
        for log, one in known)))


def _follow(host: Host, log: RemoteLog) -> None:
    while True:
        seen = host.gatekeeper.seen()
        head, proof = log.newest(seen, host.now_us())
        if host.gatekeeper.follow(log.log, seen.log(log.log), head, proof):
            return


def _change(
    host: Host, call: Call, act: str, summary: str, told: dict[str, str],
    change: Callable[[TrustStore], TrustStore],
) -> Reply:
    def plan() -> Plan:
        trusted = host.gatekeeper.trusted()
        store = change(trusted.store)
        args = {**told, "digest": trusting.digests(store.digest, trusted.policy.digest)}
        return _plan(
            call, act, summary, args, lambda: trust.save(store, host.paths.trust_store),
            {trusting.DIGEST_KEY: trusting.digests(trusted.store.digest, trusted.policy.digest)})

    host.transactions.run(plan)
    return trust_show(host, call, arguments.NoArgs())
