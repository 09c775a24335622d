"""What this host has seen of trust stores and logs, so that nobody shows it less, or something else, later.

Kept in ``trust/seen.json`` (formats.md, "What was seen"). A value; every sight makes a new one. The rules:

- a trust store of a known id has no smaller ``revision`` and no earlier ``updated`` than the newest one seen
  (rollback). One of the same revision and time may differ: that is the operator's edit, journalled as such;
- a log shows one root for a tree size and one leaf for an index, for good (split view, equivocation);
- a log's head has no smaller size and no earlier time than the newest one seen, and one of a larger tree
  comes with a proof that it has grown out of that one (rollback of the log, rewritten history).

An inclusion proof in a bundle may be of any size: it was made when the image was packed, and images are
started in any order. Who keeps an outdated image from starting: revocations of digests in the trust store,
and ``max_age_days`` in the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from vordr.formats import canonical, merkle
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339
from vordr.formats.typed import convert
from vordr.gatekeeper import durable
from vordr.gatekeeper.bundle import Attestation
from vordr.gatekeeper.logproof import LogEntry, SignedHead, leaf_bytes
from vordr.gatekeeper.trust import TrustedLog, TrustStore
from vordr.model.errors import StateError, TrustStoreInvalid, VerificationRejected

MOST_OF_A_LOG: Final = 1024
"""Tree sizes and leaves that are kept of each log, the largest ones."""
_MOST_STORES: Final = 16
_LARGEST_FILE: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Sight:
    """What one verified log entry tells of its log: a tree, and a leaf in it."""

    log: TrustedLog
    size: int
    root: bytes
    index: int
    leaf: bytes


class SeenStore(msgspec.Struct, frozen=True):
    """The newest trust store of an id; ``updated`` in µs."""

    revision: int
    updated: int


class SeenLog(msgspec.Struct, frozen=True):
    """``size`` is that of the newest head, ``time`` when it was signed (µs; 0: no head was asked for),
    ``index`` the highest seen. ``roots`` are by tree size and ``leaves`` by index, hashes in hexadecimal."""

    id: str
    size: int = 0
    time: int = 0
    index: int = -1
    roots: dict[str, str] = {}
    leaves: dict[str, str] = {}

    def root(self, size: int) -> bytes | None:
        return _hash(self.roots.get(str(size)))

    def leaf(self, index: int) -> bytes | None:
        return _hash(self.leaves.get(str(index)))


def _hash(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    stores: dict[str, SeenStore]
    logs: dict[str, SeenLog]


@dataclass(frozen=True)
class Seen:
    """``stores`` by their id, ``logs`` by the id of their key."""

    stores: Mapping[str, SeenStore] = field(default_factory=dict)
    logs: Mapping[str, SeenLog] = field(default_factory=dict)

    def log(self, log: TrustedLog) -> SeenLog:
        return self.logs.get(log.public.key_id, SeenLog(log.id))

    # -- trust stores ------------------------------------------------------------------------------

    def with_store(self, store: TrustStore) -> Seen:
        """This, and ``store``. Raises TrustStoreInvalid (code ROLLBACK): it is older than one seen before."""
        newest = self.stores.get(store.id)
        now = SeenStore(store.revision, store.updated)
        if newest == now:
            return self
        if newest is not None and (now.revision < newest.revision or now.updated < newest.updated):
            raise TrustStoreInvalid(
                f"trust store {store.id[:100]}: revision {now.revision} of {format_rfc3339(now.updated)} is "
                f"older than revision {newest.revision} of {format_rfc3339(newest.updated)}, in force before",
                remedy="put the newer one back; to go back on purpose, give it a greater revision and time",
                details={"code": "ROLLBACK"})
        kept = sorted({**self.stores, store.id: now}.items(), key=lambda one: -one[1].updated)[:_MOST_STORES]
        return replace(self, stores=dict(kept))

    def without_store(self, store_id: str) -> Seen:
        """This, as if no store of that id had been seen: for one that is made anew."""
        return replace(self, stores={name: one for name, one in self.stores.items() if name != store_id})

    # -- logs --------------------------------------------------------------------------------------

    def check(self, sights: Iterable[Sight]) -> None:
        """Raises VerificationRejected (LOG_PROOF_INVALID): a log shows something else than it did before."""
        for sight in sights:
            seen = self.log(sight.log)
            if seen.root(sight.size) not in (None, sight.root):
                _bad_log(sight.log, f"another tree of {sight.size} entries than it showed before")
            if seen.leaf(sight.index) not in (None, sight.leaf):
                _bad_log(sight.log, f"another entry number {sight.index} than it showed before")

    def with_sights(self, sights: Sequence[Sight]) -> Seen:
        """This, and ``sights`` that passed :meth:`check`; this one itself where they are known."""
        logs = dict(self.logs)
        for sight in sights:
            logs[sight.log.public.key_id] = _wider(
                logs.get(sight.log.public.key_id, SeenLog(sight.log.id)), sight)
        return self if logs == self.logs else replace(self, logs=logs)

    def with_head(self, log: TrustedLog, head: SignedHead, proof: Sequence[bytes]) -> Seen:
        """This, and a head whose signature holds; ``proof`` leads to it from the newest tree seen of the log.

        Raises VerificationRejected (LOG_PROOF_INVALID): the head is older, or has not grown out of that tree.
        """
        seen = self.log(log)
        if head.size < seen.size:
            _bad_log(log, f"its head has {head.size} entries, it had {seen.size} before")
        if head.time_us < seen.time:
            _bad_log(log, f"its head is of {head.time}, it showed one of {format_rfc3339(seen.time)} before")
        self.check([Sight(log, head.size, head.root, -1, b"")])
        before = seen.root(seen.size) if seen.size else merkle.EMPTY_ROOT
        if before is None or not merkle.verify_consistency(
                seen.size, head.size, before, head.root, list(proof)):
            _bad_log(log, f"its tree of {head.size} entries has not grown out of the one of {seen.size}")
        roots = {**seen.roots, str(head.size): head.root.hex()}
        newest = msgspec.structs.replace(seen, size=head.size, time=head.time_us, roots=_largest(roots))
        return replace(self, logs={**self.logs, log.public.key_id: newest})

    # -- the file ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The file's content, canonical JSON."""
        return canonical.fast_dumps(msgspec.to_builtins(_File(1, dict(self.stores), dict(self.logs))))


NOTHING_SEEN: Final = Seen()


def _wider(seen: SeenLog, sight: Sight) -> SeenLog:
    roots = seen.roots if str(sight.size) in seen.roots else _largest(
        {**seen.roots, str(sight.size): sight.root.hex()})
    leaves = seen.leaves if str(sight.index) in seen.leaves else _largest(
        {**seen.leaves, str(sight.index): sight.leaf.hex()})
    return msgspec.structs.replace(
        seen, size=max(seen.size, sight.size), index=max(seen.index, sight.index), roots=roots, leaves=leaves)


def _largest(by_number: dict[str, str]) -> dict[str, str]:
    if len(by_number) <= MOST_OF_A_LOG:
        return by_number
    return dict(sorted(by_number.items(), key=lambda one: int(one[0]))[-MOST_OF_A_LOG:])


def sights(
    attestations: Sequence[Attestation], proofs: Mapping[int, Sequence[tuple[LogEntry, TrustedLog]]],
    manifest: str,
) -> tuple[Sight, ...]:
    """What verified log entries tell; ``proofs`` are by the position of the attestation that they prove."""
    return tuple(
        Sight(log, entry.tree_size, entry.root, entry.index, merkle.leaf_hash(
            leaf_bytes(attestations[at].digest, manifest, attestations[at].predicate_type, entry.time)))
        for at, proved in proofs.items() for entry, log in proved)


def load(path: Path) -> Seen:
    """What the file says; nothing where there is none. Raises TrustStoreInvalid: it is damaged."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
        document: Any = canonical.loads(raw, max_bytes=_LARGEST_FILE, where=str(path))
        found = convert(document, _File)
        return _sound(found)
    except FileNotFoundError:
        return NOTHING_SEEN
    except (OSError, FormatError, msgspec.ValidationError, ValueError) as error:
        raise TrustStoreInvalid(
            f"{path}: damaged: {error}",
            remedy=f"look who changed it; without {path.name}, this host begins to remember anew") from error


def _sound(found: _File) -> Seen:
    """Raises ValueError: numbers or hashes that :meth:`Seen.to_bytes` does not write."""
    if found.format != 1:
        raise ValueError(f"format {found.format} is not 1")
    for log in found.logs.values():
        for number, text in (*log.roots.items(), *log.leaves.items()):
            if not number.isdecimal() or str(int(number)) != number or len(bytes.fromhex(text)) != 32:
                raise ValueError(f"{number[:40]}: {text[:80]}")
        if log.size and str(log.size) not in log.roots:
            raise ValueError(f"no root for the newest tree of {log.id[:100]}")
    return Seen(found.stores, found.logs)


def save(seen: Seen, path: Path) -> None:
    """Write durably what was seen. Raises StateError: the disk refuses, and nothing may rest on it then."""
    try:
        durable.replace(path, seen.to_bytes())
    except OSError as error:
        raise StateError(
            f"{path}: what was seen of the logs cannot be kept: {error.strerror}",
            remedy="free space on the disk of the root folder") from error


def _bad_log(log: TrustedLog, wrong: str) -> NoReturn:
    raise VerificationRejected(
        "LOG_PROOF_INVALID", f"log {log.id[:100]}: {wrong}", step=6,
        remedy=f"ask {log.operator} what happened to the log; until then: vordr trust revoke its key",
        details={"log": log.id})
