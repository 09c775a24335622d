"""The gatekeeper's service: holds trust store and policy, judges images, remembers verdicts while they hold.

It reads the trust store and policy anew whenever their files change, so that a revocation stops the next
start. A change made outside Vörðr is journalled as such before anything is judged by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vordr.actors.actor import Actor
from vordr.actors.handle import Handle
from vordr.formats import uuid7
from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import policy as policies
from vordr.gatekeeper import trust as trusts
from vordr.gatekeeper.decide import Mode, Report, decide, report
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustStore
from vordr.model.errors import StateError, TrustStoreMissing
from vordr.model.paths import Paths
from vordr.model.records import EPOCH_KEY, Cause, Draft, Kind
from vordr.model.verdict import Verdict

ASK_DEADLINE = 60.0
MOST_REMEMBERED = 4096

_T = TypeVar("_T")


@dataclass(frozen=True)
class Judge:
    """Decide on ``subject`` with ``bundle`` (None: there is none). Answered with a Verdict or a refusal."""

    subject: Subject
    bundle: bytes | None


@dataclass(frozen=True)
class Tell:
    """Report on ``subject`` without deciding; answered with a Report."""

    subject: Subject
    bundle: bytes | None
    mode: Mode


@dataclass(frozen=True)
class Look:
    """Answered with :class:`Trusted`."""


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
    """Asked: Judge, Tell, Look."""

    def __init__(self, paths: Paths, journal: Any, entropy: Callable[[], bytes]) -> None:
        super().__init__()
        self.paths = paths
        self.journal = journal
        self.entropy = entropy
        self.trust: _File[TrustStore] = _File(paths.trust_store, trusts.load)
        self.policy: _File[Policy] = _File(paths.trust / "policy.toml", policies.load)
        self.verdicts: dict[tuple[str, ...], Verdict] = {}

    def receive(self, message: object) -> object:
        match message:
            case Judge(subject, bundle):
                return self._judge(subject, bundle)
            case Tell(subject, bundle, mode):
                trusted = self._look()
                return report(subject, bundle, trusted.store, trusted.policy, self.clock.now_us(), mode)
            case Look():
                return self._look()
        raise StateError(f"the gatekeeper does not understand {type(message).__name__}")

    def _look(self) -> Trusted:
        if not self.paths.trust_store.exists():
            raise TrustStoreMissing(f"there is no trust store in {self.paths.trust}: nobody is trusted yet")
        store, policy = self.trust.read(), self.policy.read()
        epoch = int(self.journal.get(EPOCH_KEY) or 0)
        digest = f"{store.digest} {policy.digest}"
        if self.journal.get("trust/digest") != digest:
            epoch = self._record_change(digest, epoch)
        return Trusted(store, policy, epoch)

    def _record_change(self, digest: str, epoch: int) -> int:
        """Somebody with root changed trust or policy beside us: say so, and begin a new epoch."""
        txn = uuid7.uuid7(self.clock.now_us() // 1000, self.entropy())
        common: dict[str, Any] = {
            "txn": txn, "cause": Cause.ACT, "subject": "trust", "operation": "trust_changed",
            "principal": "host"}
        args = {"summary": "trust or policy changed", "plan": [], "reversible": False}
        writes = {EPOCH_KEY: epoch + 1, "trust/digest": digest}
        self.journal.append((
            Draft(kind=Kind.BEGIN, args=args, **common),
            Draft(kind=Kind.DONE, args={"step": {}, "writes": writes}, **common),
            Draft(kind=Kind.COMMIT, **common)), {EPOCH_KEY: epoch or None})
        return epoch + 1

    def _judge(self, subject: Subject, bundle: bytes | None) -> Verdict:
        trusted = self._look()
        now = self.clock.now_us()
        key = (subject.manifest, _digest(bundle), trusted.store.digest, trusted.policy.digest,
               str(trusted.epoch))
        known = self.verdicts.get(key)
        if known is not None and known.decided <= now < known.expires:
            return known
        verdict = decide(subject, bundle, trusted.store, trusted.policy, now, trusted.epoch)
        if len(self.verdicts) >= MOST_REMEMBERED:
            self.verdicts.clear()
        self.verdicts[key] = verdict
        return verdict


def _digest(bundle: bytes | None) -> str:
    return "none" if bundle is None else sha256_digest(bundle)


class GatekeeperClient:
    """Asks the gatekeeper from any thread. Raises what it refuses with."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    def judge(self, subject: Subject, bundle: bytes | None) -> Verdict:
        verdict = self.handle.ask(Judge(subject, bundle), timeout=ASK_DEADLINE)
        assert isinstance(verdict, Verdict)
        return verdict

    def report(self, subject: Subject, bundle: bytes | None, mode: Mode) -> Report:
        told = self.handle.ask(Tell(subject, bundle, mode), timeout=ASK_DEADLINE)
        assert isinstance(told, Report)
        return told

    def trusted(self) -> Trusted:
        found = self.handle.ask(Look(), timeout=ASK_DEADLINE)
        assert isinstance(found, Trusted)
        return found
