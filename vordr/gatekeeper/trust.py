"""The trust store: whose signatures and whose logs count. A value; every change makes a new one.

Shape: trust-store.schema, extensions that it permits (``suite`` in a key; ``revocations``, a list of {keyId
or digest, reason, revokedAt}; ``revision`` and ``expires``), and one that it does not: signing keys of
CT-SIG-02 and CT-SIG-04, with algorithms of their own (schema.ALGORITHMS). Stricter than the schema:

- a key's id is ``sha256:<hex>`` of its SubjectPublicKeyInfo, so that an id cannot be given to another key;
- one public key has one place: it may hold several roles, but is never listed twice in one, nor is a signing
  key also a log's key, nor one key two logs', nor the half of a hybrid key also a key of its own;
- no owner's or operator's name can be taken for another's (:mod:`~vordr.gatekeeper.lookalikes`);
- a group has exactly n distinct members, all of them known, and 1 ≤ k ≤ n;
- unknown members, empty validity periods and format versions other than 1 are refused.

A recorded revocation counts at once and for signatures of every age: after a compromise, dates prove nothing.
One of a ``digest`` takes back an attestation, or all that was said of an image's manifest.

``revision`` counts the changes of a store: every change makes a greater one of a later time, so that of two
stores it can be told which is older. A store with ``expires`` counts only until then.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

from vordr.formats import canonical
from vordr.formats.errors import FormatError
from vordr.formats.signature import PublicKey, Suite
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.gatekeeper import durable, lookalikes, schema
from vordr.model.errors import TrustStoreInvalid, TrustStoreMissing

BUILDERS: Final = "builders"
ADOPTERS: Final = "adopters"
UPDATERS: Final = "updaters"
"""Role and group of those who may hand out a new trust store; they vouch for no image."""
FEWEST_LOGS: Final = 3
_LARGEST_FILE = 1024 * 1024
_SUITES: Final[Mapping[str, Suite]] = dict(
    zip(schema.ALGORITHMS, (Suite.ED25519, Suite.ED25519_ML_DSA_87, Suite.ED448), strict=True))
_ALGORITHMS: Final[Mapping[Suite, str]] = {suite: name for name, suite in _SUITES.items()}
_SCHEMA_ID = "https://verified-container.org/schema/trust-store-v1.json"
_KEY_EXTENSIONS = {"suite"}
_DIGEST = schema.Text(r"sha256:[a-f0-9]{64}")
_EXTENSIONS: Final[Mapping[str, schema.Shape]] = {
    "revocations": schema.Many(
        schema.Members(
            {"reason": schema.Text(one_of=schema.REASONS), "revokedAt": schema.TIME},
            {"keyId": _DIGEST, "digest": _DIGEST},
        )
    ),
    "revision": schema.Whole(1),
    "expires": schema.TIME,
}
_LARGEST_REVISION = 2**53 - 1


@dataclass(frozen=True)
class TrustedKey:
    """A signing key. It counts from ``valid_from`` until before ``valid_until`` (µs; None: no end)."""

    public: PublicKey
    roles: tuple[str, ...]
    valid_from: int
    valid_until: int | None = None
    owner: str = ""
    description: str = ""

    @property
    def id(self) -> str:
        return self.public.key_id


@dataclass(frozen=True)
class Group:
    """``k`` distinct public keys among ``members`` (key ids) must sign."""

    name: str
    k: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class TrustedLog:
    id: str
    operator: str
    public: PublicKey
    url: str


@dataclass(frozen=True)
class Revocation:
    """Of a signing key or a log's key."""

    key_id: str
    reason: str
    at: int


@dataclass(frozen=True)
class Withdrawal:
    """Of an attestation, or of all that was said of the image with the manifest ``digest``."""

    digest: str
    reason: str
    at: int


@dataclass(frozen=True)
class TrustStore:
    """Made by :func:`parse`, :func:`load` or a change to another; all rules above hold for it.

    ``revision`` 0 is a store that was never changed and does not say; ``updated`` and ``expires`` are µs.
    """

    id: str
    updated: int
    keys: tuple[TrustedKey, ...]
    groups: tuple[Group, ...]
    logs: tuple[TrustedLog, ...]
    revocations: tuple[Revocation, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    revision: int = 0
    expires: int | None = None

    def key(self, key_id: str) -> TrustedKey | None:
        return next((key for key in self.keys if key.id == key_id), None)

    def log(self, log_id: str) -> TrustedLog | None:
        return next((log for log in self.logs if log.id == log_id), None)

    def revoked(self, key_id: str) -> Revocation | None:
        return next((one for one in self.revocations if one.key_id == key_id), None)

    def withdrawn(self, digest: str) -> Withdrawal | None:
        return next((one for one in self.withdrawals if one.digest == digest), None)

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    def to_document(self) -> dict[str, Any]:
        """The store as trust-store.schema's JSON object; roles and names in sorted order."""
        roles = sorted({role for key in self.keys for role in key.roles})
        return {
            "$schema": _SCHEMA_ID,
            "version": 1,
            "id": self.id,
            "updated": format_rfc3339(self.updated),
            "keys": {role: [_key_entry(key) for key in self.keys if role in key.roles] for role in roles},
            "thresholds": {
                g.name: {"k": g.k, "n": len(g.members), "algorithm": "frost-ed25519",
                         "members": list(g.members)}
                for g in self.groups
            },
            "logs": {
                log.id: {"operator": log.operator, "publicKey": log.public.to_spki_base64(), "url": log.url,
                         "algorithm": "ed25519"}
                for log in self.logs
            },
            "revocations": [
                *({"keyId": r.key_id, "reason": r.reason, "revokedAt": format_rfc3339(r.at)}
                  for r in self.revocations),
                *({"digest": w.digest, "reason": w.reason, "revokedAt": format_rfc3339(w.at)}
                  for w in self.withdrawals),
            ],
            **({"revision": self.revision} if self.revision else {}),
            **({} if self.expires is None else {"expires": format_rfc3339(self.expires)}),
        }

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of the canonical JSON of :meth:`to_document`."""
        return canonical.digest(self.to_document())


def _key_entry(key: TrustedKey) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": key.id,
        "algorithm": _ALGORITHMS[key.public.suite],
        "suite": key.public.suite.value,
        "publicKey": key.public.to_spki_base64(),
        "validFrom": format_rfc3339(key.valid_from),
        "metadata": {"owner": key.owner, "description": key.description},
    }
    if key.valid_until is not None:
        entry["validUntil"] = format_rfc3339(key.valid_until)
    return entry


# -- reading and writing ---------------------------------------------------------------------------


def load(path: Path) -> TrustStore:
    """The trust store in a file that nobody but its owner can write.

    Raises TrustStoreMissing, or TrustStoreInvalid naming the file and the place in it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise TrustStoreMissing(f"{path}: there is no trust store") from error
    except OSError as error:
        raise TrustStoreInvalid(f"{path}: cannot be opened: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise TrustStoreInvalid(f"{path}: not a regular file")
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
            raise TrustStoreInvalid(
                f"{path}: others than its owner could have changed it",
                remedy=f"check its content, then: chown root {path} && chmod 600 {path}",
            )
        raw = file.read(_LARGEST_FILE + 1)
    return parse(raw, str(path))


def save(store: TrustStore, path: Path) -> None:
    """Write the store durably (0600), replacing what was there in one step.

    Raises TrustStoreInvalid: the disk failed, and what was there is there still.
    """
    try:
        durable.replace(path, canonical.dumps(store.to_document()))
    except OSError as error:
        raise TrustStoreInvalid(f"{path}: cannot be written: {error.strerror}") from error


def parse(raw: bytes, place: str = "trust store") -> TrustStore:
    """The trust store in JSON bytes; ``place`` names them in errors. Raises TrustStoreInvalid."""
    try:
        document = canonical.loads(raw, max_bytes=_LARGEST_FILE, where=place)
    except FormatError as error:
        raise TrustStoreInvalid(str(error)) from error
    return _Reader(place).store(document)


class _Reader:
    """Turns a JSON value into a store, naming the place of the first fault."""

    def __init__(self, place: str) -> None:
        self.place = place

    def refuse(self, path: str, wrong: str, code: str = "MALFORMED_TRUST_STORE") -> NoReturn:
        raise TrustStoreInvalid(f"{self.place}: {path}: {wrong}", details={"code": code, "path": path})

    def store(self, document: Any) -> TrustStore:
        faults = list(schema.TRUST_STORE_OF_ALL_SUITES.faults(document, "$"))
        if isinstance(document, dict):
            for name, shape in _EXTENSIONS.items():
                if name in document:
                    faults += shape.faults(document[name], f"$.{name}")
        for path, wrong in faults:
            few = path == "$.logs" and "at least" in wrong
            self.refuse(path, wrong, "INSUFFICIENT_LOG_OPERATORS" if few else "MALFORMED_TRUST_STORE")
        self.only(schema.TRUST_STORE, document, "$", set(_EXTENSIONS))
        if document["version"] != 1:
            self.refuse("$.version", f"{document['version']} is not 1")
        keys = self.keys(document["keys"])
        logs = tuple(self.log(name, item) for name, item in document["logs"].items())
        self.one_place_each(keys, logs)
        self.plain_names(keys, logs)
        known = {key.id for key in keys}
        groups = tuple(self.group(name, item, known) for name, item in document["thresholds"].items())
        ids = known | {log.public.key_id for log in logs}
        revoked = tuple(self.revocations(document.get("revocations", []), ids))
        updated = parse_rfc3339(document["updated"])
        expires = parse_rfc3339(document["expires"]) if "expires" in document else None
        if expires is not None and expires <= updated:
            self.refuse("$.expires", "is not after updated")
        if document.get("revision", 1) > _LARGEST_REVISION:
            self.refuse("$.revision", "is beyond 2^53 - 1")
        return TrustStore(
            document["id"], updated, keys, groups, logs,
            tuple(one for one in revoked if isinstance(one, Revocation)),
            tuple(one for one in revoked if isinstance(one, Withdrawal)),
            document.get("revision", 0), expires)

    def only(self, shape: schema.Members, value: Mapping[str, Any], path: str, more: set[str]) -> None:
        if unknown := [name for name in shape.unknown(value) if name not in more]:
            self.refuse(f"{path}.{unknown[0]}", "unknown member")

    def keys(self, roles: Mapping[str, list[Any]]) -> tuple[TrustedKey, ...]:
        found: dict[str, TrustedKey] = {}
        for role, entries in roles.items():
            for at, entry in enumerate(entries):
                path = f"$.keys.{role}[{at}]"
                key = self.key(entry, role, path)
                before = found.get(key.id)
                if before is None:
                    found[key.id] = key
                elif role in before.roles:
                    self.refuse(f"{path}.id", f"the key is listed twice in {role}")
                elif replace(before, roles=(role,)) != key:
                    self.refuse(path, f"differs from the entry of the same key in {before.roles[0]}")
                else:
                    found[key.id] = replace(before, roles=(*before.roles, role))
        return tuple(found.values())

    def key(self, entry: Mapping[str, Any], role: str, path: str) -> TrustedKey:
        self.only(schema.KEY, entry, path, _KEY_EXTENSIONS)
        metadata = entry.get("metadata", {})
        self.only(schema.KEY_METADATA, metadata, f"{path}.metadata", set())
        public = self.public(entry, path)
        if entry.get("suite", public.suite.value) != public.suite.value:
            self.refuse(f"{path}.suite", f"{entry['algorithm']} is {public.suite.value}")
        if entry["id"] != public.key_id:
            self.refuse(f"{path}.id", f"is not the SHA-256 of the public key, {public.key_id}")
        begin = parse_rfc3339(entry["validFrom"])
        end = parse_rfc3339(entry["validUntil"]) if "validUntil" in entry else None
        if end is not None and end <= begin:
            self.refuse(f"{path}.validUntil", "is not after validFrom")
        return TrustedKey(
            public, (role,), begin, end, metadata.get("owner", ""), metadata.get("description", "")
        )

    def public(self, entry: Mapping[str, Any], path: str) -> PublicKey:
        try:
            return PublicKey.from_spki_base64(entry["publicKey"], _SUITES[entry["algorithm"]])
        except FormatError as error:
            self.refuse(f"{path}.publicKey", str(error))

    def log(self, name: str, item: Mapping[str, Any]) -> TrustedLog:
        path = f"$.logs.{name}"
        self.only(schema.LOG, item, path, set())
        if not name or not item["operator"].strip():
            self.refuse(path, "a log and its operator must have a name")
        return TrustedLog(name, item["operator"], self.public(item, path), item["url"])

    def one_place_each(self, keys: tuple[TrustedKey, ...], logs: tuple[TrustedLog, ...]) -> None:
        places = [(f"$.logs.{log.id}.publicKey", log.public) for log in logs]
        places += [(f"$.keys: publicKey of {key.id}", key.public) for key in keys]
        found = Counter(part for _, public in places for part in public.parts)
        for path, public in places:
            if any(found[part] > 1 for part in public.parts):
                self.refuse(path, "one public key in two places")

    def plain_names(self, keys: tuple[TrustedKey, ...], logs: tuple[TrustedLog, ...]) -> None:
        places = [(f"$.logs.{log.id}.operator", log.operator) for log in logs]
        for path, name in [*places, *((f"$.keys: owner of {key.id}", key.owner) for key in keys)]:
            if wrong := lookalikes.fault(name):
                self.refuse(path, wrong)
        spelled: dict[str, str] = {}
        for path, name in places:
            if (other := spelled.setdefault(lookalikes.folded(name), name)) != name:
                self.refuse(path, f"looks like another operator, {other!r}")

    def group(self, name: str, item: Mapping[str, Any], known: set[str]) -> Group:
        path = f"$.thresholds.{name}"
        self.only(schema.GROUP, item, path, set())
        members = tuple(item["members"])
        if len(set(members)) != len(members):
            self.refuse(f"{path}.members", "a member is named twice")
        if item["n"] != len(members):
            self.refuse(f"{path}.n", f"{item['n']} is not the number of members, {len(members)}")
        if item["k"] > item["n"]:
            self.refuse(f"{path}.k", f"{item['k']} of {item['n']} can never be met")
        for member in members:
            if member not in known:
                self.refuse(f"{path}.members", f"no key has the id {member[:100]}")
        return Group(name, item["k"], members)

    def revocations(
        self, items: list[Mapping[str, Any]], known: set[str]
    ) -> Iterator[Revocation | Withdrawal]:
        seen: set[tuple[str, str]] = set()
        for at, item in enumerate(items):
            path = f"$.revocations[{at}]"
            if len(item) != 3 or len(item.keys() & {"keyId", "digest"}) != 1:
                self.refuse(path, "must have reason, revokedAt, and one of keyId and digest only")
            what = "keyId" if "keyId" in item else "digest"
            if what == "keyId" and item["keyId"] not in known:
                self.refuse(f"{path}.keyId", "no key or log has this id")
            if (what, item[what]) in seen:
                self.refuse(f"{path}.{what}", "is revoked twice")
            seen.add((what, item[what]))
            made = Revocation if what == "keyId" else Withdrawal
            yield made(item[what], item["reason"], parse_rfc3339(item["revokedAt"]))


# -- changes ---------------------------------------------------------------------------------------


def checked(store: TrustStore) -> TrustStore:
    """``store`` again, read from its own document: whoever builds a store by hand has the rules applied."""
    return _Reader("trust store").store(store.to_document())


def _changed(store: TrustStore, now_us: int, **parts: Any) -> TrustStore:
    """``store`` with other ``parts``, as the next revision, of a time after its own."""
    updated = max(now_us, store.updated + 1)
    return checked(replace(store, **parts, updated=updated, revision=store.revision + 1))


def add_key(store: TrustStore, role: str, key: TrustedKey, now_us: int) -> TrustStore:
    """A store in which ``key`` also holds ``role``; its own roles are not looked at.

    Raises TrustStoreInvalid: the key holds the role already, was revoked, or is known with other dates.
    """
    if revocation := store.revoked(key.id):
        raise TrustStoreInvalid(
            f"{key.id} was revoked ({revocation.reason}) and cannot be added again",
            remedy="add a new key: vordr trust add",
        )
    before = store.key(key.id)
    if before is None:
        keys = (*store.keys, replace(key, roles=(role,)))
    elif role in before.roles:
        raise TrustStoreInvalid(f"{key.id} holds the role {role} already")
    elif (before.valid_from, before.valid_until) != (key.valid_from, key.valid_until):
        raise TrustStoreInvalid(f"{key.id} is known with another validity period")
    else:
        wider = replace(before, roles=(*before.roles, role))
        keys = tuple(wider if one.id == key.id else one for one in store.keys)
    return _changed(store, now_us, keys=keys)


def revoke_key(store: TrustStore, key_id: str, reason: str, now_us: int) -> TrustStore:
    """A store in which the signing key or log key ``key_id`` no longer counts, for signatures of any age.

    ``reason`` is one of schema.REASONS. Raises TrustStoreInvalid: no such key, reason, or already revoked.
    """
    revocation = Revocation(key_id, reason, now_us)
    return _changed(store, now_us, revocations=(*store.revocations, revocation))


def withdraw(store: TrustStore, digest: str, reason: str, now_us: int) -> TrustStore:
    """A store in which the attestation ``digest`` no longer counts, or none about the image of that manifest.

    ``reason`` as for :func:`revoke_key`. Raises TrustStoreInvalid: not a digest, or withdrawn already.
    """
    return _changed(store, now_us, withdrawals=(*store.withdrawals, Withdrawal(digest, reason, now_us)))


def set_group(store: TrustStore, group: Group, now_us: int) -> TrustStore:
    """A store in which ``group`` is new or replaces the group of its name. Raises TrustStoreInvalid."""
    others = tuple(one for one in store.groups if one.name != group.name)
    return _changed(store, now_us, groups=(*others, group))


def add_log(store: TrustStore, log: TrustedLog, now_us: int) -> TrustStore:
    """A store that also knows ``log``. Raises TrustStoreInvalid: a log of that name, or its key, is known."""
    if store.log(log.id):
        raise TrustStoreInvalid(f"a log named {log.id} is known already")
    return _changed(store, now_us, logs=(*store.logs, log))
