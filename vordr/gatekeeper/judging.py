"""Judging what the policy's scopes demand of one image. Pure: what was found in and beside it in; lines out.

What one piece of evidence lacks is not held against another: whoever may push to a repository may add junk.
So evidence that does not hold counts as none, and the reasons are told where too little holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vordr.formats.errors import FormatError
from vordr.gatekeeper import cosign, demands, edge_demands
from vordr.gatekeeper.demands import Case, Line, Outcome
from vordr.gatekeeper.evidence import Kind, Piece
from vordr.gatekeeper.pinned_keys import PinnedKey
from vordr.gatekeeper.scopes import CosignDemand, Scope, SigstoreDemand
from vordr.gatekeeper.steps import Origin

_MOST_REASONS: Final = 3


def judge(scopes: Sequence[Scope], case: Case) -> Iterator[Line]:
    """A line for every demand of every scope that the image is in."""
    for scope in scopes:
        if scope.matches(case.beside.names):
            yield from _of_scope(scope, case)


def _of_scope(scope: Scope, case: Case) -> Iterator[Line]:
    found = case.found
    if scope.published:
        held = found.origin is Origin.PUBLISHED
        yield _line(scope, "require", held, f"the image is {found.attested_by}")
    if scope.distinct_log_operators > 1:
        yield demands.operators(scope.name, "distinct_log_operators", scope.distinct_log_operators, case)
    if scope.max_age_days is not None:
        yield demands.age(scope.name, "max_attestation_age_days", scope.max_age_days, case)
    if scope.signers:
        yield demands.signers(scope.name, "signers", scope.signers, case)
    for at, demand in enumerate(scope.cosign):
        yield _cosign(scope, f"cosign[{at}]", demand, case)
    for at, wanted in enumerate(scope.sigstore):
        yield _sigstore(scope, f"sigstore[{at}]", wanted, case)
    for at, layout in enumerate(scope.in_toto):
        yield Line(
            scope.name, f"in_toto[{at}]", Outcome.UNJUDGED,
            f"no start can judge the layout {layout.layout.file} yet: check it with vordr verify --layout "
            "and adopt the image")
    for at, policy in enumerate(scope.svalinn):
        yield from edge_demands.judge(policy, case, scope.name, f"svalinn[{at}]")


def _line(scope: Scope, demand: str, held: bool, text: str, keys: tuple[str, ...] = ()) -> Line:
    return Line(scope.name, demand, Outcome.HOLDS if held else Outcome.FAILS, text, keys)


def _cosign(scope: Scope, name: str, demand: CosignDemand, case: Case) -> Line:
    manifest, held, reasons = case.subject.manifest, dict[PinnedKey, None](), list[str]()
    for piece in case.beside.pieces:
        try:
            for key in _cosign_keys(demand, piece, manifest):
                held[key] = None
        except FormatError as error:
            reasons.append(str(error))
    what = "signature" if demand.attests is None else f"attestation of {demand.attests}"
    text = f"cosign {what}: {len(held)} of {len(demand.keys)} pinned keys, {demand.threshold} must"
    if len(held) >= demand.threshold:
        return _line(scope, name, True, text, tuple(key.key_id for key in held))
    return _line(scope, name, False, text + _because(reasons, case))


def _cosign_keys(demand: CosignDemand, piece: Piece, manifest: str) -> tuple[PinnedKey, ...]:
    if demand.attests is not None:
        return cosign.attester_of(piece, manifest, demand.attests, demand.keys, logs=demand.logs)[0]
    if piece.kind is Kind.SIMPLE_SIGNING:
        return (cosign.signer_of(
            piece, manifest, demand.keys, logs=demand.logs, annotations=demand.annotations),)
    if demand.annotations:
        raise FormatError("evidence", "annotations are looked for in simple signing payloads only")
    return cosign.attester_of(
        piece, manifest, cosign.SIGNATURE_PREDICATE, demand.keys, logs=demand.logs)[0]


def _sigstore(scope: Scope, name: str, demand: SigstoreDemand, case: Case) -> Line:
    pieces = [piece for piece in case.beside.pieces if piece.kind is Kind.SIGSTORE]
    wanted = (f"a sigstore bundle of {demand.identity}"
              + (f" attesting {demand.attests}" if demand.attests else ""))
    if not pieces:
        return _line(scope, name, False, f"{wanted}: there is none{_because([], case)}")
    from vordr.gatekeeper import sigstore_bundles  # half a second, for hosts whose policy asks for it

    reasons = []
    for piece in pieces:
        try:
            said = sigstore_bundles.verify(
                piece, case.subject.manifest, demand.trusted_root.content, identity=demand.identity,
                issuer=demand.issuer, predicate=demand.attests)
        except FormatError as error:
            reasons.append(str(error))
        else:
            return _line(scope, name, True, f"sigstore bundle: {said}")
    return _line(scope, name, False, f"{wanted}: none holds{_because(reasons, case)}")


def _because(reasons: Sequence[str], case: Case) -> str:
    said = list(dict.fromkeys(reasons))[:_MOST_REASONS]
    if case.beside.lost:
        said.append(f"{len(case.beside.lost)} kept pieces of evidence are damaged: vordr pull it again")
    if not case.beside.pieces and not said:
        said.append("no evidence is kept beside the image: vordr pull it, or vordr policy gather")
    return "; " + "; ".join(said) if said else ""
