"""Signatures and thresholds of the Python, and of the proved model, over random stores and bundles."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from proof_oracle import ask, listed

from vordr.formats import dsse
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper.bundle import Attestation, Bundle
from vordr.gatekeeper.statements import ADOPT_BUILD, PROVENANCE, SPDX
from vordr.gatekeeper.steps import Findings, meet_thresholds, verify_signatures
from vordr.gatekeeper.trust import ADOPTERS, BUILDERS, Group, Revocation, TrustedKey, TrustStore
from vordr.model.errors import VerificationRejected

KEYS = 5
STRANGER = "sha256:" + "0" * 64
TYPES = (PROVENANCE, SPDX)
ROLES = ((BUILDERS,), (BUILDERS,), (ADOPTERS,), (BUILDERS, ADOPTERS), (BUILDERS,), ("auditors",))
# (the key that a signature names, or a stranger's; the key that made it, or nobody: bytes of another text)
Signature = tuple[int, int | None]


@cache
def key(number: int) -> PrivateKey:
    return PrivateKey.from_seeds(Suite.ED25519, bytes([number]) * 32)


@cache
def signed(maker: int | None, at: int) -> bytes:
    text = b"another text" if maker is None else dsse.pae("t", bytes([at]))
    return key(0 if maker is None else maker).sign(text)


def key_id(number: int) -> str:
    return key(number).public.key_id if number < KEYS else STRANGER


def attestation(at: int, adopted: bool, signatures: list[Signature]) -> Attestation:
    envelope = dsse.Envelope("t", bytes([at]), tuple(
        dsse.Signature(key_id(named), signed(maker, at)) for named, maker in signatures))
    build = ADOPT_BUILD if adopted else "https://example.org/build"
    return Attestation(envelope, "", TYPES[at], {"buildDefinition": {"buildType": build}}, ())


def accepted(trust: TrustStore, adopted: bool, attestations: list[list[Signature]], now: int) -> bool:
    found = Findings(bundle=Bundle("", tuple(
        attestation(at, adopted, signatures) for at, signatures in enumerate(attestations)), ()))
    try:
        verify_signatures(found, trust, now)
        meet_thresholds(found, trust)
    except VerificationRejected:
        return False
    return True


def question(trust: TrustStore, adopted: bool, attestations: list[list[Signature]], now: int) -> str:
    number = {key_id(n): n for n in range(KEYS)}
    keys = listed((":".join((
        str(number[k.id]), str(number[k.id]), str(int(BUILDERS in k.roles)),
        str(int(bool({BUILDERS, ADOPTERS} & set(k.roles)))), str(k.valid_from),
        "-" if k.valid_until is None else str(k.valid_until))) for k in trust.keys), ";")
    groups = listed((
        f"{int(g.name == ADOPTERS)}:{g.k}:{listed(number[m] for m in g.members)}" for g in trust.groups), ";")
    bundle = "/".join(
        listed((f"{named}:{99 if maker is None else maker}" for named, maker in signatures), ";")
        for signatures in attestations)
    revoked = listed(number[r.key_id] for r in trust.revocations)
    return f"threshold {now} {int(adopted)} {keys} {groups} {revoked} {bundle}"


@st.composite
def stores(draw: st.DrawFn) -> TrustStore:
    numbers = draw(st.lists(st.integers(0, KEYS - 1), min_size=2, max_size=KEYS, unique=True))
    keys = tuple(TrustedKey(
        key(n).public, draw(st.sampled_from(ROLES)), draw(st.sampled_from((0,) * 9 + (5, 6))),
        draw(st.sampled_from((None,) * 9 + (5, 6)))) for n in numbers)
    groups = []
    for name in draw(st.lists(st.sampled_from((ADOPTERS, BUILDERS, "release")), unique=True, max_size=2)):
        members = draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
        k = draw(st.integers(1, min(2, len(members))))
        groups.append(Group(name, k, tuple(key_id(n) for n in members)))
    revoked = draw(st.sampled_from(([],) * 9 + ([numbers[0]],)))
    return TrustStore("t", 0, keys, tuple(groups), (), tuple(
        Revocation(key_id(n), "compromised", 0) for n in revoked))


@st.composite
def cases(draw: st.DrawFn) -> tuple[TrustStore, list[list[Signature]]]:
    """A store, and signatures that mostly hold, by keys that mostly are in it."""
    trust = draw(stores())
    known = [n for n in range(KEYS) if trust.key(key_id(n)) is not None]

    def signature() -> Signature:
        named = draw(st.sampled_from(known))
        match draw(st.integers(0, 39)):
            case 0:
                return draw(st.integers(0, KEYS)), named
            case 1:
                return named, None
            case 2:
                return named, draw(st.integers(0, KEYS - 1))
        return named, named

    def attestation() -> list[Signature]:
        return [signature() for _ in range(draw(st.integers(1, 3)))]

    first = attestation()
    return trust, [first, first if draw(st.booleans()) else attestation()]


@settings(max_examples=600, deadline=None)
@given(cases(), st.booleans(), st.integers(4, 6))
def test_what_is_accepted_is_what_the_model_accepts(
    case: tuple[TrustStore, list[list[Signature]]], adopted: bool, now: int
) -> None:
    trust, attestations = case
    there = ask(question(trust, adopted, attestations, now))
    assert accepted(trust, adopted, attestations, now) is (there == "accept")
