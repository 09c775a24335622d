"""One demand of the policy on one image, and those that are judged by the bundle alone. Pure.

Each demand becomes one line: it holds, it fails, or nothing here can judge it. Only the first lets an image
start: what cannot be judged is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vordr.formats.times import format_rfc3339
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.steps import Findings
from vordr.gatekeeper.subject import Subject

DAY: Final = 86_400_000_000


class Outcome(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNJUDGED = "cannot be judged"


@dataclass(frozen=True)
class Line:
    """One demand and what came of it. ``until`` is when it holds no longer by itself, in µs."""

    scope: str
    demand: str
    outcome: Outcome
    text: str
    keys: tuple[str, ...] = ()
    until: int | None = None


@dataclass(frozen=True)
class Case:
    """One image, after the spec's steps passed: what they found, and what is known beside."""

    subject: Subject
    found: Findings
    beside: Beside
    host_network: bool
    now_us: int

    @property
    def oldest(self) -> int:
        """When a log first took in the attestation that was taken in first, in µs."""
        return min(entry.time_us for proofs in self.found.proofs.values() for entry, _ in proofs)


def operators(scope: str, demand: str, wanted: int, case: Case) -> Line:
    """Logs of so many different operators must prove each attestation."""
    fewest = min(len({log.operator for _, log in proofs}) for proofs in case.found.proofs.values())
    text = f"logs of {fewest} operators prove each attestation, {wanted} must"
    return Line(scope, demand, Outcome.HOLDS if fewest >= wanted else Outcome.FAILS, text)


def age(scope: str, demand: str, days: int, case: Case) -> Line:
    """The time is that of the logs, which sign it; what a bundle says of itself is not looked at."""
    oldest = case.oldest
    until = oldest + days * DAY
    text = f"first logged at {format_rfc3339(oldest)}, at most {days} days ago is allowed"
    return Line(scope, demand, Outcome.HOLDS if case.now_us < until else Outcome.FAILS, text, (), until)


def signers(scope: str, demand: str, allowed: Sequence[str], case: Case) -> Line:
    """Every key that signed must be among the allowed ones."""
    others = [key for key in case.found.key_ids if key not in allowed]
    if others:
        return Line(scope, demand, Outcome.FAILS, f"signed by {others[0]}, which is not among the signers")
    return Line(scope, demand, Outcome.HOLDS, "only allowed keys signed", case.found.key_ids)
