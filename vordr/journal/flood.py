"""Floods become counted summaries: a token bucket for each subject (a container's alerts, a crash loop).

Only facts that others will repeat are held back: records of kind anomaly, decision and loss that write
nothing into the projection. Nothing is lost in number: what is not journalled itself is counted in a
``summary`` record of the same subject, whose args are ``count``, ``first`` and ``last`` (µs), and
``operations`` (operation → count; beyond 32 different ones, ``…``). Pure: time comes in with each call.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from vordr.model.records import Draft, Kind

LIMITED: Final = frozenset({Kind.ANOMALY, Kind.DECISION, Kind.LOSS})
OPERATION: Final = "flood"
_OPERATIONS = 32
_REST = "…"


def is_limited(draft: Draft) -> bool:
    """Whether ``draft`` may be counted instead of journalled."""
    return draft.kind in LIMITED and "writes" not in draft.args


@dataclass
class _Bucket:
    """``next_free`` is when (µs) the bucket will be full again: the generic cell rate algorithm's arrival
    time (ITU-T I.371), so that a bucket is one number and no clock ticks."""

    next_free: int
    count: int = 0
    first: int = 0
    last: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    latest: Draft | None = None

    def hold(self, draft: Draft, now: int) -> None:
        if not self.count:
            self.first = now
        self.count += 1
        self.last = now
        self.latest = draft
        known = draft.operation in self.operations or len(self.operations) < _OPERATIONS
        self.operations[draft.operation if known else _REST] += 1

    def summary(self) -> Draft:
        held = self.latest
        assert held is not None, "asked for only where something is counted"
        args = {"count": self.count, "first": self.first, "last": self.last,
                "operations": dict(self.operations)}
        self.count, self.latest = 0, None
        self.operations.clear()
        return Draft(txn=held.txn, kind=Kind.SUMMARY, cause=held.cause, subject=held.subject,
                     operation=OPERATION, args=args, principal=held.principal)


class Flood:
    """The buckets. At most ``burst`` + ``rate`` · t records of a subject pass in any t seconds, summaries
    included."""

    def __init__(self, *, rate: float = 1.0, burst: int = 20) -> None:
        self._interval = max(1, round(1_000_000 / rate))
        self._tolerance = self._interval * (burst - 1)
        self._buckets: dict[str, _Bucket] = {}
        self._now = 0

    def admit(self, draft: Draft, now: int) -> tuple[Draft, ...]:
        """What to journal now that ``draft`` has come at ``now`` (µs): the draft or nothing, and before it
        the summary of what was counted meanwhile."""
        now = self._forward(now)
        if not is_limited(draft):
            return (draft,)
        bucket = self._buckets.setdefault(draft.subject, _Bucket(now))
        passed: list[Draft] = []
        if bucket.count and self._take(bucket, now):
            passed.append(bucket.summary())
        if not bucket.count and self._take(bucket, now):
            passed.append(draft)
        else:
            bucket.hold(draft, now)
        return tuple(passed)

    def due(self, now: int) -> tuple[Draft, ...]:
        """The summaries that may be journalled at ``now`` (µs); forgets subjects that have been quiet."""
        now = self._forward(now)
        passed = [bucket.summary() for bucket in self._buckets.values()
                  if bucket.count and self._take(bucket, now)]
        self._buckets = {subject: bucket for subject, bucket in self._buckets.items()
                         if bucket.count or bucket.next_free > now}
        return tuple(passed)

    def next_due(self) -> int | None:
        """When (µs) the next summary may be journalled; None while nothing is counted."""
        times = [bucket.next_free - self._tolerance for bucket in self._buckets.values() if bucket.count]
        return min(times, default=None)

    def flush(self) -> tuple[Draft, ...]:
        """All that is counted, at once: the end of the service."""
        return tuple(bucket.summary() for bucket in self._buckets.values() if bucket.count)

    def _take(self, bucket: _Bucket, now: int) -> bool:
        if bucket.next_free - self._tolerance > now:
            return False
        bucket.next_free = max(bucket.next_free, now) + self._interval
        return True

    def _forward(self, now: int) -> int:
        self._now = max(self._now, now)  # the wall clock may be set back
        return self._now
