"""The gatekeeper's service: holds trust store and policy, judges images, remembers verdicts while they hold.

It reads the trust store and policy anew whenever their files change, so that a revocation stops the next
start. A change made outside Vörðr is journalled as such before anything is judged by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vordr.actors import trusting
from vordr.actors.actor import Actor
from vordr.actors.handle import Handle
from vordr.formats import uuid7
from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import policy as policies
from vordr.gatekeeper import seen as sights
from vordr.gatekeeper import trust as trusts
from vordr.gatekeeper.decide import Mode, Report, decide_and_tell, explain, report
from vordr.gatekeeper.demands import Line
from vordr.gatekeeper.evidence import NOTHING, Beside
from vordr.gatekeeper.logproof import SignedHead
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.seen import Seen, SeenLog
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustedLog, TrustStore
from vordr.model.errors import StateError, TrustStoreMissing
from vordr.model.paths import Paths
from vordr.model.records import EPOCH_KEY, Cause, Draft, Kind
from vordr.model.verdict import Verdict

ASK_DEADLINE = 60.0
MOST_REMEMBERED = 4096

_T = TypeVar("_T")


@dataclass(frozen=True)
class Judge:
    """Decide on ``subject`` with ``bundle`` (None: there is none) and what lies beside it. Answered with a
    Verdict or a refusal."""

    subject: Subject
    bundle: bytes | None
    beside: Beside = NOTHING


@dataclass(frozen=True)
class Tell:
    """Report on ``subject`` without deciding; answered with a Report."""

    subject: Subject
    bundle: bytes | None
    mode: Mode
    beside: Beside = NOTHING


@dataclass(frozen=True)
class Explain:
    """Report on ``subject``, and on every demand of the policy's scopes; answered with a Report and Lines."""

    subject: Subject
    bundle: bytes | None
    beside: Beside


@dataclass(frozen=True)
class Look:
    """Answered with :class:`Trusted`."""


@dataclass(frozen=True)
class Recall:
    """Answered with what was seen of trust stores and logs."""


@dataclass(frozen=True)
class Follow:
    """Keep a head of ``log`` that was asked for when ``known`` was seen of it, and the ``proof`` from there.
    Answered with whether that is still what is known: if not, ask again. Refused if the log lies."""

    log: TrustedLog
    known: SeenLog
    head: SignedHead
    proof: Sequence[bytes]


@dataclass(frozen=True)
class Trusted:
    """Whom the host trusts now: store, policy, and the epoch that verdicts are bound to."""

    store: TrustStore
    policy: Policy
    epoch: int


class _File(Generic[_T]):
    """A parsed file that is read again when its stamp changes."""

    def __init__(self, path: Any, load: Callable[[Any], _T]) -> None:
        self.path = path
        self.load = load
        self.stamp: object = None
        self.value: _T | None = None

    def read(self) -> _T:
        stamp = self._stamp()
        if self.value is None or stamp != self.stamp:
            self.value, self.stamp = self.load(self.path), stamp
        return self.value

    def _stamp(self) -> object:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return "absent"
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class GatekeeperActor(Actor):
    """Asked: Judge, Tell, Explain, Look, Recall, Follow."""

    def __init__(self, paths: Paths, journal: Any, entropy: Callable[[], bytes]) -> None:
        super().__init__()
        self.paths = paths
        self.journal = journal
        self.entropy = entropy
        self.trust: _File[TrustStore] = _File(paths.trust_store, trusts.load)
        self.policy: _File[Policy] = _File(paths.trust / "policy.toml", policies.load)
        self.seen: _File[Seen] = _File(paths.seen, sights.load)
        self.verdicts: dict[tuple[str, ...], Verdict] = {}

    def receive(self, message: object) -> object:
        match message:
            case Judge(subject, bundle, beside):
                return self._judge(subject, bundle, beside)
            case Tell(subject, bundle, mode, beside):
                trusted = self._look()
                return report(
                    subject, bundle, trusted.store, trusted.policy, self.clock.now_us(), mode, beside,
                    self.seen.read())
            case Explain(subject, bundle, beside):
                trusted = self._look()
                return explain(
                    subject, bundle, trusted.store, trusted.policy, self.clock.now_us(), beside,
                    self.seen.read())
            case Look():
                return self._look()
            case Recall():
                return self.seen.read()
            case Follow(log, known, head, proof):
                seen = self.seen.read()
                if seen.log(log) != known:
                    return False
                self._remember(seen.with_head(log, head, proof))
                return True
        raise StateError(f"the gatekeeper does not understand {type(message).__name__}")

    def _look(self) -> Trusted:
        if not self.paths.trust_store.exists():
            raise TrustStoreMissing(f"there is no trust store in {self.paths.trust}: nobody is trusted yet")
        store, policy = self.trust.read(), self.policy.read()
        self._remember(self.seen.read().with_store(store))
        digest = trusting.digests(store.digest, policy.digest)
        if self._known(digest):
            return Trusted(store, policy, int(self.journal.get(EPOCH_KEY) or 0))
        epoch = int(self.journal.get(EPOCH_KEY) or 0)
        if trusting.being_made(self.journal) == digest:
            # Saved, and about to be recorded: what is judged by it holds from that record on.
            return Trusted(store, policy, epoch + 1)
        if self._known(digest):  # it was being recorded a moment ago
            return Trusted(store, policy, int(self.journal.get(EPOCH_KEY) or 0))
        return Trusted(store, policy, self._record_change(digest))

    def _remember(self, seen: Seen) -> None:
        """Keep durably what nobody may take back, before anything rests on it."""
        if seen is not self.seen.read():
            sights.save(seen, self.paths.seen)

    def _known(self, digest: str) -> bool:
        return bool(self.journal.get(trusting.DIGEST_KEY) == digest)

    def _record_change(self, digest: str) -> int:
        """Somebody with root changed trust or policy beside us: say so, and begin a new epoch."""
        txn = uuid7.uuid7(self.clock.now_us() // 1000, self.entropy())
        common: dict[str, Any] = {
            "txn": txn, "cause": Cause.ACT, "subject": trusting.SUBJECT, "operation": "trust_changed",
            "principal": "host"}
        args = {"summary": "trust or policy changed", "plan": [], "reversible": False}
        writes, condition = trusting.next_epoch(self.journal, digest)
        self.journal.append((
            Draft(kind=Kind.BEGIN, args=args, **common),
            Draft(kind=Kind.DONE, args={"step": {}, "writes": writes}, **common),
            Draft(kind=Kind.COMMIT, **common)), condition)
        return int(writes[EPOCH_KEY])

    def _judge(self, subject: Subject, bundle: bytes | None, beside: Beside) -> Verdict:
        trusted = self._look()
        now = self.clock.now_us()
        key = (subject.manifest, _digest(bundle), trusted.store.digest, trusted.policy.digest,
               str(trusted.epoch), *_kept(beside, trusted.policy))
        known = self.verdicts.get(key)
        if known is not None and known.decided <= now < known.expires:
            return known
        seen = self.seen.read()
        verdict, shown = decide_and_tell(
            subject, bundle, trusted.store, trusted.policy, now, trusted.epoch, beside, seen)
        self._remember(seen.with_sights(shown))
        if len(self.verdicts) >= MOST_REMEMBERED:
            self.verdicts.clear()
        self.verdicts[key] = verdict
        return verdict


def _digest(bundle: bytes | None) -> str:
    return "none" if bundle is None else sha256_digest(bundle)


def _kept(beside: Beside, policy: Policy) -> tuple[str, ...]:
    """All of ``beside`` that a verdict rests on: nothing, where no scope looks at it."""
    if not policy.scopes:
        return ()
    return (*beside.names, "/", *(piece.digest for piece in beside.pieces), "/", *beside.lost)


class GatekeeperClient:
    """Asks the gatekeeper from any thread. Raises what it refuses with."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    def judge(self, subject: Subject, bundle: bytes | None, beside: Beside = NOTHING) -> Verdict:
        verdict = self.handle.ask(Judge(subject, bundle, beside), timeout=ASK_DEADLINE)
        assert isinstance(verdict, Verdict)
        return verdict

    def report(
        self, subject: Subject, bundle: bytes | None, mode: Mode, beside: Beside = NOTHING
    ) -> Report:
        told = self.handle.ask(Tell(subject, bundle, mode, beside), timeout=ASK_DEADLINE)
        assert isinstance(told, Report)
        return told

    def explain(
        self, subject: Subject, bundle: bytes | None, beside: Beside
    ) -> tuple[Report, tuple[Line, ...]]:
        told: tuple[Report, tuple[Line, ...]] = self.handle.ask(
            Explain(subject, bundle, beside), timeout=ASK_DEADLINE)
        return told

    def seen(self) -> Seen:
        found = self.handle.ask(Recall(), timeout=ASK_DEADLINE)
        assert isinstance(found, Seen)
        return found

    def follow(self, log: TrustedLog, known: SeenLog, head: SignedHead, proof: Sequence[bytes]) -> bool:
        return bool(self.handle.ask(Follow(log, known, head, proof), timeout=ASK_DEADLINE))

    def trusted(self) -> Trusted:
        found = self.handle.ask(Look(), timeout=ASK_DEADLINE)
        assert isinstance(found, Trusted)
        return found
