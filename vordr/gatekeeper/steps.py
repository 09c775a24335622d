"""The steps of verification, one function each; :mod:`~vordr.gatekeeper.decide` says what they demand.

Each reads what earlier steps put into :class:`Findings`, adds its own, and raises VerificationRejected with
the spec's code where it fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NoReturn

from vordr.formats import merkle
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper.bundle import Attestation, Bundle
from vordr.gatekeeper.logproof import LogEntry, leaf_bytes
from vordr.gatekeeper.statements import ADOPT_BUILD, PREDICATES, PROVENANCE, SPDX
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import ADOPTERS, BUILDERS, UPDATERS, Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import VerificationRejected
from vordr.model.verdict import Evidence

FEWEST_LOGS: Final = 2
NAMES: Final = ("digest", "bundle", "parse", "subject", "signatures", "logs", "threshold", "record")
"""Of the steps, from 1."""


class Origin(StrEnum):
    """Who vouches: whoever built the image, or the operator of this host who took it in."""

    PUBLISHED = "published"
    ADOPTED = "adopted"


@dataclass
class Findings:
    """What the steps so far have established. Later steps rely on earlier ones having passed."""

    bundle: Bundle = field(default_factory=lambda: Bundle("", (), ()))
    signers: dict[int, tuple[TrustedKey, ...]] = field(default_factory=dict)
    """Position of the attestation → the distinct keys whose signatures hold."""
    proofs: dict[int, list[tuple[LogEntry, TrustedLog]]] = field(default_factory=dict)
    """Position of the attestation → the log entries that prove it."""
    covered: int = 0
    """Log entries that prove an attestation."""
    log_ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    origin: Origin = Origin.ADOPTED
    attested_by: str = ""
    limits: list[int] = field(default_factory=list)
    """When demands of the policy hold no longer by themselves, in µs."""
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def keys(self) -> tuple[TrustedKey, ...]:
        """Every key that signed, once, in the order of its id."""
        every = {key.id: key for keys in self.signers.values() for key in keys}
        return tuple(every[key_id] for key_id in sorted(every))

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(key.id for key in self.keys)

    @property
    def key_ends(self) -> list[int]:
        """Ends of validity of the keys that have one, in µs."""
        return [key.valid_until for key in self.keys if key.valid_until is not None]

    def add(
        self, step: int, name: str, text: str, keys: Iterable[str] = (), logs: Iterable[str] = ()
    ) -> None:
        self.evidence.append(Evidence(step, name, text, tuple(keys), tuple(logs)))


def _reject(code: str, message: str, step: int, **details: Any) -> NoReturn:
    raise VerificationRejected(code, message, step=step, details=details)


# -- 1 to 4 ----------------------------------------------------------------------------------------


def check_digests(found: Findings, subject: Subject) -> None:
    try:
        for digest in (subject.manifest, subject.config, *(d for pair in subject.layers for d in pair)):
            parse_digest(digest, "subject")
    except FormatError as error:
        _reject("SUBJECT_MISMATCH", str(error), 1)
    found.add(1, "digest", f"manifest {subject.manifest}, {len(subject.layers)} layers")


def require_bundle(found: Findings, raw: bytes | None) -> bytes:
    if raw is None:
        raise VerificationRejected(
            "MISSING_ATTESTATION",
            "the image has no attestation bundle",
            step=2,
            remedy="vordr adopt IMAGE (vouch for it yourself), or use an image whose publisher attested it",
        )
    found.add(2, "bundle", f"{len(raw)} bytes")
    return raw


def parse_bundle(found: Findings, raw: bytes) -> None:
    found.bundle = bundles.parse(raw)
    attestations, entries = len(found.bundle.attestations), len(found.bundle.entries)
    found.add(3, "parse", f"{attestations} attestations, {entries} log entries")


def match_subject(found: Findings, subject: Subject) -> None:
    wanted = {"sha256": parse_digest(subject.manifest)}
    for at, one in enumerate(found.bundle.attestations):
        for digests in one.subjects:
            if digests != wanted:
                shown = ", ".join(f"{name}:{value}" for name, value in digests.items())
                _reject(
                    "SUBJECT_MISMATCH",
                    f"attestation {at} is about {shown[:300]}, not about {subject.manifest} alone",
                    4,
                    attestation=at,
                )
    types = [one.predicate_type for one in found.bundle.attestations]
    for needed, name in PREDICATES.items():
        if needed not in types:
            _reject("MISSING_ATTESTATION", f"no {name} ({needed}) among the attestations", 4)
        if types.count(needed) > 1:
            _reject("MALFORMED_BUNDLE", f"more than one {name}: which of them counts?", 4)
    if foreign := [kind for kind in types if kind not in PREDICATES]:
        _reject("MALFORMED_BUNDLE", f"a predicate of type {foreign[0][:200]!r}, which nothing here checks", 4)
    _check_predicates(found.bundle.attestations)
    found.add(4, "subject", f"SLSA provenance v1 and SPDX document are both about {subject.manifest}")


def _check_predicates(attestations: Sequence[Attestation]) -> None:
    for one in attestations:
        match one.predicate_type, one.predicate:
            case (
                kind,
                {"buildDefinition": {"buildType": str()}, "runDetails": {"builder": {"id": str()}}},
            ) if kind == PROVENANCE:
                pass
            case kind, {"spdxVersion": str(version)} if kind == SPDX and version.startswith("SPDX-2."):
                pass
            case kind, _:
                _reject("MALFORMED_BUNDLE", f"the predicate is not a {PREDICATES[kind]}", 4)


# -- 5: signatures ---------------------------------------------------------------------------------


def verify_signatures(found: Findings, trust: TrustStore, now_us: int) -> None:
    count = 0
    for at, one in enumerate(found.bundle.attestations):
        signed = one.envelope.pae()
        keys: dict[bytes, TrustedKey] = {}
        for signature in one.envelope.signatures:
            key = _usable_key(trust, signature.keyid, now_us, at)
            if not key.public.suite.available:
                _reject(
                    "INVALID_SIGNATURE", f"attestation {at}: {key.id} is of {key.public.suite.value}, which "
                    "the installed cryptography library cannot verify", 5, attestation=at, key=key.id,
                    suite=key.public.suite.value,
                )
            if not key.public.verify(signature.sig, signed):
                _reject(
                    "INVALID_SIGNATURE", f"attestation {at}: the signature of {key.id} does not hold", 5,
                    attestation=at, key=key.id,
                )
            keys[key.public.raw] = key
            count += 1
        found.signers[at] = tuple(keys.values())
    found.add(5, "signatures", f"{count} signatures hold", found.key_ids)


def _usable_key(trust: TrustStore, key_id: str, now_us: int, at: int) -> TrustedKey:
    key = trust.key(key_id)
    if key is None:
        _reject("UNKNOWN_KEY", f"attestation {at}: no key {key_id} in the trust store", 5, key=key_id)
    if revocation := trust.revoked(key.id):
        _reject("UNKNOWN_KEY", f"attestation {at}: {key.id} was revoked: {revocation.reason}", 5, key=key_id,
                revoked=revocation.reason)
    if not {BUILDERS, ADOPTERS} & set(key.roles):
        roles = ", ".join(key.roles)
        _reject("UNKNOWN_KEY", f"attestation {at}: {key.id} is trusted as {roles} only", 5, key=key_id,
                roles=list(key.roles))
    if now_us < key.valid_from:
        begin = format_rfc3339(key.valid_from)
        _reject("KEY_NOT_YET_VALID", f"{key.id} is valid from {begin}", 5, key=key_id)
    if key.valid_until is not None and now_us >= key.valid_until:
        end = format_rfc3339(key.valid_until)
        _reject("EXPIRED_KEY", f"{key.id} was valid until {end}", 5, key=key_id)
    return key


# -- 6: transparency logs --------------------------------------------------------------------------


def verify_logs(found: Findings, subject: Subject, trust: TrustStore, operators: int, now_us: int) -> None:
    proofs: dict[int, list[tuple[LogEntry, TrustedLog]]] = {at: [] for at in found.signers}
    roots: dict[tuple[str, int], bytes] = {}
    for number, entry in enumerate(found.bundle.entries):
        log = trust.log(entry.log_id)
        if log is None or trust.revoked(log.public.key_id):
            continue
        if entry.time_us > now_us:
            _bad_proof(number, entry, f"integrated at {entry.time}, which has not come yet")
        if roots.setdefault((log.id, entry.tree_size), entry.root) != entry.root:
            _bad_proof(number, entry, f"a second tree of the same size {entry.tree_size}")
        at, leaf = _proved(found.bundle.attestations, entry, number, subject)
        if not entry.signed_by(log.public, leaf):
            _bad_proof(number, entry, "the signed entry timestamp does not hold")
        proofs[at].append((entry, log))
        found.covered += 1
    for at, proved in proofs.items():
        _check_coverage(at, [log for _, log in proved], operators)
        _check_dates(at, found.signers[at], min(entry.time_us for entry, _ in proved))
    found.proofs = proofs
    logs = {log.id: log for proved in proofs.values() for _, log in proved}
    found.log_ids = tuple(sorted(logs))
    found.add(6, "logs", _coverage_text(list(logs.values())), found.key_ids, found.log_ids)


def _bad_proof(number: int, entry: LogEntry, wrong: str) -> NoReturn:
    message = f"log entry {number} of {entry.log_id[:100]}: {wrong}"
    _reject("LOG_PROOF_INVALID", message, 6, log=entry.log_id, entry=number)


def _proved(
    attestations: Sequence[Attestation], entry: LogEntry, number: int, subject: Subject
) -> tuple[int, bytes]:
    """Position and leaf hash of the attestation whose leaf the entry's proof includes."""
    for at, one in enumerate(attestations):
        leaf = merkle.leaf_hash(leaf_bytes(one.digest, subject.manifest, one.predicate_type, entry.time))
        if entry.includes(leaf):
            return at, leaf
    _bad_proof(number, entry, "the inclusion proof is for none of the attestations")


def _check_coverage(at: int, logs: list[TrustedLog], operators: int) -> None:
    ids = {log.id for log in logs}
    if len(ids) < FEWEST_LOGS:
        _reject(
            "INSUFFICIENT_LOG_COVERAGE",
            f"attestation {at} is proved by {len(ids)} known logs, {FEWEST_LOGS} are needed", 6,
            attestation=at,
        )
    names = {log.operator for log in logs}
    if len(names) < operators:
        _reject(
            "INSUFFICIENT_LOG_COVERAGE",
            f"attestation {at} is proved by logs of {len(names)} operators, policy demands {operators}", 6,
            attestation=at, operators=sorted(names),
        )


def _check_dates(at: int, keys: Iterable[TrustedKey], first_seen: int) -> None:
    """An end before now was refused in step 5, and no entry lies after now: only the begin is left."""
    for key in keys:
        if first_seen < key.valid_from:
            _reject(
                "KEY_NOT_YET_VALID",
                f"attestation {at} was logged at {format_rfc3339(first_seen)}, before {key.id} was valid", 5,
                attestation=at, key=key.id,
            )


def _coverage_text(logs: list[TrustedLog]) -> str:
    operators = sorted({log.operator for log in logs})
    if len(operators) == 1:
        local = " (local)" if all(_is_local(log) for log in logs) else ""
        return f"{len(logs)} logs of one operator{local}"
    return f"{len(logs)} logs of {len(operators)} operators: {', '.join(operators)}"


def _is_local(log: TrustedLog) -> bool:
    return log.url.startswith(("file:", "http://127.0.0.1", "http://localhost", "http://[::1]"))


# -- 7: thresholds ---------------------------------------------------------------------------------


def meet_thresholds(found: Findings, trust: TrustStore) -> None:
    found.origin = _origin(found)
    applicable = groups_for(found.origin, trust)
    for at, keys in found.signers.items():
        for group in applicable:
            present = {key.public.raw for key in keys if key.id in group.members}
            if len(present) < group.k:
                _reject(
                    "THRESHOLD_NOT_MET",
                    f"attestation {at}: {len(present)} keys of {group.name} signed, {group.k} must", 7,
                    attestation=at, group=group.name, signed=len(present), needed=group.k,
                )
    found.groups = tuple(group.name for group in applicable)
    found.attested_by = _attested_by(found)
    met = ", ".join(f"{group.name} ({group.k} of {len(group.members)})" for group in applicable)
    found.add(7, "threshold", f"{met or 'no group is set'}; {found.attested_by}", found.key_ids)


def groups_for(origin: Origin, trust: TrustStore) -> tuple[Group, ...]:
    """The groups that must sign: for an adopted image the group ``adopters`` where there is one (else all),
    for a published image every other group. Updaters vouch for trust stores, not for images."""
    groups = tuple(group for group in trust.groups if group.name != UPDATERS)
    own = tuple(group for group in groups if group.name == ADOPTERS)
    if origin is Origin.ADOPTED and own:
        return own
    return groups if origin is Origin.ADOPTED else tuple(g for g in groups if g not in own)


def _origin(found: Findings) -> Origin:
    """Published only if the provenance does not say adopted and a builder signed each attestation."""
    provenance = next(one for one in found.bundle.attestations if one.predicate_type == PROVENANCE)
    if provenance.predicate["buildDefinition"]["buildType"] == ADOPT_BUILD:
        return Origin.ADOPTED
    built = all(any(BUILDERS in key.roles for key in keys) for keys in found.signers.values())
    return Origin.PUBLISHED if built else Origin.ADOPTED


def _attested_by(found: Findings) -> str:
    role = BUILDERS if found.origin is Origin.PUBLISHED else ADOPTERS
    keys = [key for key in found.keys if role in key.roles] or list(found.keys)
    people = ", ".join(f"{key.owner or 'a nameless key'} ({key.id[:19]}…)" for key in keys)
    return f"{found.origin.value} by {people}"
