"""Typed answers of every operation in :mod:`vordr.model.operations`; times in µs, sizes in bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from vordr.model.attested import Attested
from vordr.model.records import Inverse, StepDone
from vordr.model.state import ContainerState, ImageState


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a mutating operation did: its transaction, where it is in the journal, and how to undo it.

    ``undo`` lists the inverses in the order in which an undo would run them; ``irreversible`` names what
    would not come back.
    """

    txn: str
    seq: int
    undo: tuple[Inverse, ...] = ()
    irreversible: tuple[str, ...] = ()


class ContainerAnswer(Answer, frozen=True, kw_only=True):
    """``attach`` tells whether a descriptor of the attach socket came along (descriptor 0 of the answer)."""

    container: ContainerState
    receipt: Receipt
    attach: bool = False


class ShownContainer(ContainerState, frozen=True, kw_only=True):
    """A container as it is shown; ``parked`` is why it waits for ``wake``, where it does."""

    parked: str | None = None


def shown(container: ContainerState, parked: str | None) -> ShownContainer:
    """``container`` with why it is parked."""
    return ShownContainer(**msgspec.structs.asdict(container), parked=parked)


class ListAnswer(Answer, frozen=True, kw_only=True):
    containers: tuple[ShownContainer, ...]


class InspectAnswer(Answer, frozen=True, kw_only=True):
    """``digest`` is the state digest, ``verdict`` who vouched for the image, ``busy`` an open txn."""

    container: ShownContainer
    digest: str
    image: ImageState | None
    log_path: str
    verdict: dict[str, Any]
    busy: str | None = None


class LogLine(msgspec.Struct, frozen=True):
    """One line of output: time, stream (stdout or stderr), text; undecodable bytes are replaced."""

    time: int
    stream: str
    text: str


class LogsAnswer(Answer, frozen=True, kw_only=True):
    lines: tuple[LogLine, ...]


class ExecAnswer(Answer, frozen=True, kw_only=True):
    """``session`` names the exec for wait and resize; an attach descriptor comes along unless detached."""

    session: str
    receipt: Receipt
    attach: bool


class WaitAnswer(Answer, frozen=True, kw_only=True):
    """``code`` is the exit code, 128+n for signal n; None when nobody can know (the host went down)."""

    code: int | None


class Empty(Answer, frozen=True, kw_only=True):
    pass


class ImagesAnswer(Answer, frozen=True, kw_only=True):
    images: tuple[ImageState, ...]


class ImageAnswer(Answer, frozen=True, kw_only=True):
    image: ImageState
    receipt: Receipt


class PackAnswer(Answer, frozen=True, kw_only=True):
    output: str
    manifest: str
    bundle: str
    size: int
    receipt: Receipt


class VerifyStep(msgspec.Struct, frozen=True):
    step: int
    name: str
    ok: bool
    text: str


class Cure(msgspec.Struct, frozen=True):
    """A command line that mends a refusal, and when or how; words in capitals are the reader's to fill in."""

    command: str
    text: str


class VerifyAnswer(Answer, frozen=True, kw_only=True):
    """``decision`` ALLOW or REJECT; ``code`` and ``message`` say why, ``steps`` what was checked.

    In the modes that only report, ``code`` says what strict would have refused with, and ``decision`` is
    ALLOW. ``cures`` are what mends that, the likeliest first, and ``remedy`` is the first one's command.
    ``attested`` is there if it was asked for.
    """

    decision: str
    manifest: str | None
    mode: str
    code: str | None = None
    message: str | None = None
    remedy: str | None = None
    steps: tuple[VerifyStep, ...] = ()
    attested_by: str | None = None
    expires: int | None = None
    cures: tuple[Cure, ...] = ()
    attested: Attested | None = None


class AdmitAnswer(Answer, frozen=True, kw_only=True):
    """``decision`` is ALLOW, a refusal is an error. ``manifest`` is the image that vouches, None for a pinned
    sandbox; ``seq`` is the number of the verdict's record."""

    decision: str
    manifest: str | None
    attested_by: str | None
    seq: int | None


class PolicyDemand(msgspec.Struct, frozen=True, kw_only=True):
    """One demand of a scope; ``outcome`` is ``holds``, ``fails`` or ``cannot be judged``."""

    scope: str
    demand: str
    outcome: str
    text: str
    keys: tuple[str, ...] = ()


class PolicyEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A signature or attestation kept beside an image, not said to hold."""

    digest: str
    kind: str


class PolicyAnswer(Answer, frozen=True, kw_only=True):
    """``decision`` is what a start would meet now. ``steps`` are the spec's that passed; ``demands`` all of
    the image's scopes, empty where a step refused. ``lost`` are digests of evidence whose files are
    damaged."""

    decision: str
    manifest: str
    names: tuple[str, ...]
    policy: str
    code: str | None = None
    message: str | None = None
    steps: tuple[VerifyStep, ...] = ()
    scopes: tuple[str, ...] = ()
    demands: tuple[PolicyDemand, ...] = ()
    evidence: tuple[PolicyEvidence, ...] = ()
    lost: tuple[str, ...] = ()


class TrustKey(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    role: str
    algorithm: str
    owner: str
    valid_from: int
    valid_until: int | None = None
    revoked: int | None = None
    reason: str | None = None


class TrustLog(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    operator: str
    url: str


class TrustWithdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """A revoked attestation or image, by its digest."""

    digest: str
    at: int
    reason: str


class TrustAnswer(Answer, frozen=True, kw_only=True):
    """``thresholds`` maps each group to ``k of n``; ``epoch`` counts changes of trust that this host saw,
    ``revision`` those that made this store. ``revoked`` are digests; revoked keys say so themselves."""

    id: str
    digest: str
    epoch: int
    keys: tuple[TrustKey, ...]
    logs: tuple[TrustLog, ...]
    thresholds: dict[str, str]
    revision: int = 0
    updated: int = 0
    expires: int | None = None
    revoked: tuple[TrustWithdrawal, ...] = ()


class LogSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a log: its largest tree, its highest index (-1: none), when its newest head was
    signed (µs; 0: none was asked for), and what is ``wrong``, if it was asked and did not answer well."""

    id: str
    operator: str
    url: str
    size: int
    index: int
    time: int
    wrong: str | None = None


class LogsSeenAnswer(Answer, frozen=True, kw_only=True):
    logs: tuple[LogSeen, ...]


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan in words: what, on what, and what it cannot bring back."""

    subject: str
    name: str
    operation: str
    text: str
    losses: tuple[str, ...] = ()


class UndoAnswer(Answer, frozen=True, kw_only=True):
    """``undone`` are the acts (txn, summary) taken back; ``stays`` what no undo touches (logs, volumes).

    With dry_run ``receipt`` is None and nothing happened.
    """

    undone: tuple[tuple[str, str], ...]
    steps: tuple[PlannedStep, ...]
    losses: tuple[str, ...]
    stays: tuple[str, ...]
    receipt: Receipt | None = None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    txn: str
    seq: int
    time: int
    act: str
    summary: str
    cause: str
    principal: str
    status: str
    undoable: bool
    undone_by: str | None = None
    undoes: str | None = None
    origin: str | None = None
    steps: tuple[StepDone, ...] = ()


class HistoryAnswer(Answer, frozen=True, kw_only=True):
    acts: tuple[HistoryEntry, ...]


class AuditAnswer(Answer, frozen=True, kw_only=True):
    """``model`` says in words how much was held against the proved model; None when that was not asked."""

    ok: bool
    records: int
    root: str
    head: str
    unanchored: int
    first_bad: int | None = None
    reason: str | None = None
    public_key: str = ""
    model: str | None = None
    proof: dict[str, Any] | None = None


class LapsedVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A container whose process may go on, and of which none could be made now. ``code`` is the spec's, or
    POLICY_DENIED, or the id of the error that a start would meet; ``step`` the spec's, where it is one."""

    id: str
    name: str
    state: str
    image: str
    manifest: str
    code: str
    message: str
    step: int | None = None
    cures: tuple[Cure, ...] = ()


class VerdictsAnswer(Answer, frozen=True, kw_only=True):
    """``judged`` counts the containers that were looked at; ``epoch`` is the trust epoch by which, None where
    the trust store or the policy cannot be read."""

    judged: int
    lapsed: tuple[LapsedVerdict, ...]
    epoch: int | None = None


class TrashEntry(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    name: str
    removed: int
    deadline: int
    size: int
    txn: str


class TrashAnswer(Answer, frozen=True, kw_only=True):
    items: tuple[TrashEntry, ...]


class TrashEmptiedAnswer(Answer, frozen=True, kw_only=True):
    """What is gone, with the bytes that it took; ``receipt`` is None where there was nothing to do."""

    items: tuple[TrashEntry, ...]
    receipt: Receipt | None = None


class ExplainAnswer(Answer, frozen=True, kw_only=True):
    text: str


class DoctorCheck(msgspec.Struct, frozen=True, kw_only=True):
    category: str
    name: str
    status: str
    message: str
    fix: str | None = None


class DoctorAnswer(Answer, frozen=True, kw_only=True):
    """``supervision`` is the tree as lines: child, state, restarts."""

    checks: tuple[DoctorCheck, ...]
    supervision: tuple[str, ...] = ()


class VersionAnswer(Answer, frozen=True, kw_only=True):
    version: str
    pid: int
    root: str
    containers: int
    started: int
