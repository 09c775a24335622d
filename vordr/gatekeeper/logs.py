"""The logs that what this host attests is submitted to: its own, and those of others that have an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vordr.formats.dsse import Envelope
from vordr.gatekeeper import seen as sights
from vordr.gatekeeper.log_client import RemoteLog, remote_logs
from vordr.gatekeeper.logproof import LogEntry
from vordr.gatekeeper.seen import Seen
from vordr.gatekeeper.translog import local_logs
from vordr.gatekeeper.trust import TrustStore
from vordr.model.paths import Paths


class Log(Protocol):
    """Somewhere to submit to."""

    @property
    def id(self) -> str: ...

    def submit(self, envelope: Envelope, subject: str, predicate_type: str, now_us: int) -> LogEntry:
        """Have the statement in ``envelope`` about the manifest ``subject`` (``sha256:<hex>``) taken in
        durably, and proved. ``now_us`` is the time of the act; a log of others gives its own.

        Raises StateError (a local log failed), NetworkFailed, VerificationRejected (a log of others lies).
        """


@dataclass(frozen=True)
class _Others:
    log: RemoteLog
    seen: Seen

    @property
    def id(self) -> str:
        return self.log.id

    def submit(self, envelope: Envelope, subject: str, predicate_type: str, now_us: int) -> LogEntry:
        return self.log.submit(envelope, subject, predicate_type, now_us, self.seen)


def logs_of(paths: Paths, trust: TrustStore, passphrase: str | None = None) -> tuple[Log, ...]:
    """All unrevoked logs of the trust store that can be submitted to; one that this root folder runs is not
    asked over the network. Raises as :func:`~vordr.gatekeeper.translog.local_logs`, and TrustStoreInvalid:
    what was seen of logs is damaged."""
    own = local_logs(paths, trust, passphrase)
    ids = {log.id for log in own}
    known = sights.load(paths.seen)
    return (*own, *(_Others(log, known) for log in remote_logs(trust) if log.id not in ids))
