"""What a refusal and a report say: whom they name is acted on, so every name in them is held here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gatekeeper_world import BEGIN, NOW, SUBJECT, World, key, raw
from test_bundles import ATTACKS, Case, judge

from vordr.formats.digests import sha256_digest
from vordr.formats.signature import Suite
from vordr.gatekeeper.decide import Mode, decide, decide_and_tell, explain, report
from vordr.gatekeeper.demands import Line, Outcome
from vordr.gatekeeper.evidence import Beside, Kind, Piece
from vordr.gatekeeper.policy import Policy, Require, parse
from vordr.gatekeeper.seen import NOTHING_SEEN
from vordr.gatekeeper.statements import ADOPT_BUILD, PACK_BUILD
from vordr.gatekeeper.trust import Group, TrustStore
from vordr.model.errors import PolicyDenied, VerificationRejected

ALICE, BOB, CARL, OLGA, MALLORY, LOG_A = (
    key(name).public.key_id for name in ("alice", "bob", "carl", "olga", "mallory", "log-a"))
DAY = 86_400_000_000
MAKERS = {name: make for name, _, _, make in ATTACKS}
POLICY_TEXT = '[[scope]]\nname = "ours"\nimages = ["ghcr.io/**"]\n'
HERE = Beside(("ghcr.io/ours/web:v1",))


def refused(case: Case) -> VerificationRejected:
    with pytest.raises(VerificationRejected) as refusal:
        judge(case)
    return refusal.value


DETAILS: dict[str, tuple[dict[str, Any], str]] = {
    "provenance of another image": ({"attestation": 0}, "attestation 0 is about sha256:777"),
    "a digest beside the right one": (
        {"attestation": 1}, f"{SUBJECT.manifest}, md5:{'0' * 32}, not about {SUBJECT.manifest} alone"),
    "stranger's key": ({"key": MALLORY}, f"attestation 0: no key {MALLORY}"),
    "revoked key": ({"key": ALICE, "revoked": "key_compromise"}, "attestation 0"),
    "key of another role": ({"key": CARL, "roles": ["auditors"]}, "trusted as auditors only"),
    "key of tomorrow": ({"key": ALICE}, f"{ALICE} is valid from 2026-03-01T12:00:00.000001Z"),
    "expired key": ({"key": ALICE}, f"{ALICE} was valid until 2026-02-28T12:00:00"),
    "malleated signature": ({"attestation": 0, "key": ALICE}, f"the signature of {ALICE} does not hold"),
    "entry about something else": ({"log": "log-a", "entry": 0}, "log entry 0 of log-a: "),
    "logged tomorrow": ({"log": "log-a", "entry": 0}, "log entry 0 of log-a: integrated at 2026-03-01T12:00"),
    "timestamp by another log's key": ({"log": "log-a", "entry": 0}, "log entry 0 of log-a: "),
    "second tree of the same size": ({"log": "log-a", "entry": 6}, "log entry 6 of log-a: a second tree of"),
    "logged before the key was valid": (
        {"attestation": 0, "key": ALICE}, f"logged at 2026-01-30T11:59:59.999999Z, before {ALICE} was valid"),
    "one attestation in one log": (
        {"attestation": 1}, "attestation 1 is proved by 1 known logs, 2 are needed"),
    "logs of one operator where two are demanded": (
        {"attestation": 0, "operators": ["One"]}, "by logs of 1 operators, policy demands 2"),
    "second signer on one attestation only": (
        {"attestation": 1, "group": "release-signers", "signed": 1, "needed": 2},
        "attestation 1: 1 keys of release-signers signed, 2 must"),
}


@pytest.mark.parametrize("name", DETAILS)
def test_a_refusal_names_the_attestation_key_log_or_group_that_it_is_about(name: str) -> None:
    details, words = DETAILS[name]
    refusal = refused(MAKERS[name]())
    assert refusal.details == {"code": refusal.code, "step": refusal.step, **details}
    assert words in refusal.message


def test_a_key_of_other_roles_is_refused_with_all_of_them() -> None:
    made = World(signers=("carl",))
    store = made.trust()
    store = replace(store, keys=tuple(
        replace(one, roles=("auditors", "watchers")) if one.id == CARL else one for one in store.keys))
    refusal = refused(Case(raw(made.document()), store))
    assert "is trusted as auditors, watchers only" in refusal.message
    assert refusal.details["roles"] == ["auditors", "watchers"]


def test_a_key_of_a_suite_that_nothing_here_can_verify_is_named_with_its_suite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = World()
    case = Case(raw(made.document()), made.trust())
    monkeypatch.setattr(Suite, "available", property(lambda suite: False))
    refusal = refused(case)
    assert refusal.details == {
        "code": "INVALID_SIGNATURE", "step": 5, "attestation": 0, "key": ALICE, "suite": "CT-SIG-01"}


def test_without_a_bundle_the_remedy_is_to_adopt_or_to_take_another_image() -> None:
    refusal = refused(Case(None, World().trust()))
    assert set(refusal.details) == {"code", "step"}
    assert "vordr adopt IMAGE" in (refusal.remedy or "")


def test_a_key_may_be_valid_from_the_very_moment_of_the_log() -> None:
    made = World()
    assert judge(Case(raw(made.document(time=BEGIN)), made.trust()))


def test_an_entry_may_be_of_this_very_moment() -> None:
    made = World()
    assert judge(Case(raw(made.document(time=NOW)), made.trust()))


def test_entries_of_logs_that_are_not_counted_do_not_end_the_reading_of_the_others() -> None:
    made = World()
    document = made.document()
    document["logEntries"][1]["logId"] = "log-z"
    assert judge(Case(raw(document), made.trust())).logs == ("log-a", "log-b", "log-c")


# -- what the evidence of a verdict says -----------------------------------------------------------


def test_the_evidence_of_a_verdict_names_each_step_its_keys_and_its_logs() -> None:
    made = World(threshold=2, signers=("alice", "bob"))
    bundle = raw(made.document())
    verdict = decide(SUBJECT, bundle, made.trust(), Policy(), NOW, 7)
    keys = tuple(sorted((ALICE, BOB)))
    assert (verdict.epoch, verdict.decided) == (7, NOW)
    assert [(one.step, one.name, one.keys, one.logs) for one in verdict.evidence] == [
        (1, "digest", (), ()), (2, "bundle", (), ()), (3, "parse", (), ()), (4, "subject", (), ()),
        (5, "signatures", keys, ()), (6, "logs", keys, ("log-a", "log-b", "log-c")),
        (7, "threshold", keys, ()), (8, "record", (), ())]
    texts = [one.text for one in verdict.evidence]
    by = ", ".join(f"{owner} ({id[:19]}…)" for id, owner in sorted(((ALICE, "Alice"), (BOB, "Bob"))))
    assert texts == [
        f"manifest {SUBJECT.manifest}, 1 layers", f"{len(bundle)} bytes", "2 attestations, 6 log entries",
        f"SLSA provenance v1 and SPDX document are both about {SUBJECT.manifest}", "4 signatures hold",
        "3 logs of 3 operators: North, South, West", f"release-signers (2 of 2); published by {by}",
        f"bundle {sha256_digest(bundle)}, trust store {made.trust().digest}, policy {Policy().digest}"]


@pytest.mark.parametrize(("ends", "expires"), [(5_000_000, 5_000_000), (10**15, 3_600_000_000)])
def test_a_verdict_outlives_neither_the_trust_store_nor_its_hour(ends: int, expires: int) -> None:
    made = World()
    store = replace(made.trust(), expires=NOW + ends)
    assert judge(Case(raw(made.document()), store)).expires == NOW + expires


def test_a_nameless_key_is_called_so_and_no_group_is_said_to_be_none() -> None:
    made = World()
    store = made.trust()
    store = replace(store, groups=(), keys=tuple(replace(one, owner="") for one in store.keys))
    verdict = judge(Case(raw(made.document()), store))
    assert verdict.evidence[6].text == f"no group is set; published by a nameless key ({ALICE[:19]}…)"


def test_an_image_is_attested_by_those_whose_role_says_so() -> None:
    """A builder's and an adopter's key on one bundle: who published, and who took it in."""
    published, adopted = (
        World(signers=("alice", "olga"), build_type=kind) for kind in (PACK_BUILD, ADOPT_BUILD))
    verdicts = [judge(Case(raw(made.document()), made.trust())) for made in (published, adopted)]
    assert [one.attested_by for one in verdicts] == [
        f"published by Alice ({ALICE[:19]}…)", f"adopted by Olga ({OLGA[:19]}…)"]


def test_without_a_group_of_adopters_every_group_must_sign_what_is_adopted() -> None:
    def shown(*signers: str) -> Case:
        made = World(signers=signers, build_type=ADOPT_BUILD)
        store = made.trust()
        groups = (store.groups[0], Group("watchers", 1, (OLGA, ALICE)))
        return Case(raw(made.document()), replace(store, groups=groups))

    assert refused(shown("olga")).details["group"] == "release-signers"
    told = judge(shown("alice"))
    assert told.evidence[6].text == (
        f"release-signers (1 of 2), watchers (1 of 2); adopted by Alice ({ALICE[:19]}…)")


def with_logs_at(url: str, operator: str | None = None) -> tuple[World, TrustStore]:
    made = World()
    store = made.trust()
    return made, replace(store, logs=tuple(
        replace(log, url=url, operator=operator or log.operator) for log in store.logs))


@pytest.mark.parametrize("url", ["file:///logs", "http://127.0.0.1:80", "http://localhost/x", "http://[::1]/"])
def test_logs_of_one_operator_on_this_host_are_called_local(url: str) -> None:
    made, store = with_logs_at(url, "Ada")
    assert judge(Case(raw(made.document()), store)).evidence[5].text == "3 logs of one operator (local)"


def test_logs_of_one_operator_elsewhere_are_not_called_local() -> None:
    made, store = with_logs_at("https://logs.example.org", "Ada")
    assert judge(Case(raw(made.document()), store)).evidence[5].text == "3 logs of one operator"


# -- reports ---------------------------------------------------------------------------------------


def test_a_report_of_a_sound_bundle_is_the_contracts_document_whole() -> None:
    made = World()
    bundle = raw(made.document())
    told = report(SUBJECT, bundle, made.trust(), Policy(), NOW).to_json()
    verdict = judge(Case(bundle, made.trust()))
    assert told == {
        "decision": "ALLOW", "mode": "strict", "attestationsVerified": 2, "logEntriesVerified": 6,
        "thresholdsMet": ["release-signers"], "origin": "published", "attestedBy": verdict.attested_by,
        "warnings": [], "evidence": [
            {"step": one.step, "name": one.name, "text": one.text, "keys": list(one.keys),
             "logs": list(one.logs)} for one in verdict.evidence]}


@pytest.mark.parametrize("mode", Mode)
def test_a_report_of_a_refused_bundle_says_the_code_in_every_mode_and_lets_it_pass_only_warned(
    mode: Mode,
) -> None:
    case = MAKERS["one of two"]()
    refusal = refused(case)
    told = report(SUBJECT, case.bundle, case.trust, case.policy, NOW, mode)
    document = dict(told.to_json())
    steps = [one["step"] for one in document.pop("evidence")]  # type: ignore[attr-defined]
    assert steps == [1, 2, 3, 4, 5, 6]
    allowed: dict[str, object] = {} if mode is Mode.STRICT else {
        "attestationsVerified": 0, "logEntriesVerified": 6, "thresholdsMet": []}
    assert document == {
        "decision": "REJECT" if mode is Mode.STRICT else "ALLOW", "mode": mode.value,
        "errorCode": "THRESHOLD_NOT_MET", "step": 7, "message": refusal.message, **allowed,
        "warnings": [f"{mode.value}: step 7 refused: THRESHOLD_NOT_MET: {refusal.message}"]}
    assert (told.origin, told.attested_by, told.name) == (None, None, "threshold")
    assert told.details == refusal.details


def test_a_report_of_what_the_policy_refuses_says_who_attested_it() -> None:
    made = World(build_type=ADOPT_BUILD, signers=("olga",))
    policy = Policy(require=Require.PUBLISHED)
    with pytest.raises(PolicyDenied) as refusal:
        judge(Case(raw(made.document()), made.trust(), policy))
    assert refusal.value.details == {"origin": "adopted", "policy": policy.digest}
    assert "adopted by Olga" in refusal.value.message
    assert 'require = "any"' in (refusal.value.remedy or "")
    told = report(SUBJECT, raw(made.document()), made.trust(), policy, NOW)
    assert (told.code, told.step, told.name, told.message) == (
        "POLICY_DENIED", 7, "policy", refusal.value.message)
    assert (told.origin, told.attestations_verified, told.log_entries_verified) == ("adopted", 2, 6)
    assert told.attested_by is not None and told.attested_by.startswith("adopted by Olga (")
    assert (told.details, told.decision, told.evidence[-1].step) == (refusal.value.details, "REJECT", 7)


def test_a_report_that_refuses_nothing_says_nothing_of_a_refusal() -> None:
    made = World()
    told = report(SUBJECT, raw(made.document()), made.trust(), Policy(), NOW)
    assert (told.code, told.step, told.message, told.name, told.details) == (None, None, "", "", {})
    assert told.attested.manifest == SUBJECT.manifest


# -- demands of the policy's scopes ----------------------------------------------------------------


def scoped(demand: str) -> Policy:
    return parse(POLICY_TEXT + demand, "policy.toml", lambda name: b"")


def test_a_demand_that_fails_is_named_with_its_scope() -> None:
    made = World()
    policy = scoped(f'signers = ["{BOB}"]\n')
    with pytest.raises(PolicyDenied) as refusal:
        decide(SUBJECT, raw(made.document()), made.trust(), policy, NOW, 1, HERE)
    assert refusal.value.details == {"scope": "ours", "demand": "signers", "outcome": "fails"}
    assert refusal.value.message == (
        f"policy: scope ours, signers: signed by {ALICE}, which is not among the signers")
    assert refusal.value.remedy == "vordr policy check IMAGE"


def test_a_demand_that_cannot_be_judged_is_refused_and_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("ours", "x", Outcome.UNJUDGED, "who knows")
    monkeypatch.setattr("vordr.gatekeeper.judging.judge", lambda scopes, case: iter([line]))
    made = World()
    with pytest.raises(PolicyDenied) as refusal:
        judge(Case(raw(made.document()), made.trust()))
    assert refusal.value.message == "policy: scope ours, x: who knows (cannot be judged)"
    assert refusal.value.details["outcome"] == "cannot be judged"


def test_a_demand_that_holds_is_evidence_and_its_end_is_the_verdicts() -> None:
    made = World()
    document = raw(made.document(time=NOW - DAY + 1_000_000))
    policy = scoped(f'max_attestation_age_days = 1\nsigners = ["{ALICE}"]\n')
    verdict = decide(SUBJECT, document, made.trust(), policy, NOW, 1, HERE)
    assert verdict.expires == NOW + 1_000_000
    demands = [one for one in verdict.evidence if one.name == "policy"]
    assert [(one.step, one.keys) for one in demands] == [(7, ()), (7, (ALICE,))]
    assert demands[1].text == "scope ours, signers: only allowed keys signed"
    assert demands[0].text.startswith("scope ours, max_attestation_age_days: first logged at 2026-02-28T12")


def test_demands_are_judged_on_this_image_by_what_was_found_and_lies_beside_and_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases: list[Any] = []
    monkeypatch.setattr("vordr.gatekeeper.judging.judge", lambda scopes, case: iter(cases.append(case) or ()))
    made = World()
    document, policy = raw(made.document()), Policy(allow_host_network=True)
    decide(SUBJECT, document, made.trust(), policy, NOW, 1, HERE)
    explain(SUBJECT, document, made.trust(), policy, NOW, HERE)
    assert len(cases) == 3
    for case in cases:
        assert (case.subject, case.beside, case.host_network, case.now_us) == (SUBJECT, HERE, True, NOW)
        assert case.found.attested_by.startswith("published by Alice")


def test_the_record_names_the_evidence_beside_the_bundle_where_a_scope_looks_at_it() -> None:
    made = World()
    pieces = (Piece(Kind.DSSE, b"one"), Piece(Kind.SIGSTORE, b"two"))
    document, beside = raw(made.document()), replace(HERE, pieces=pieces)

    def recorded(policy: Policy) -> str:
        return decide(SUBJECT, document, made.trust(), policy, NOW, 1, beside).evidence[-1].text

    policy = scoped(f'signers = ["{ALICE}"]\n')
    assert recorded(Policy()).endswith(f"policy {Policy().digest}")
    assert recorded(policy).endswith(
        f"policy {policy.digest}, dsse-envelope {pieces[0].digest}, sigstore-bundle {pieces[1].digest}")


def test_an_explanation_is_the_report_and_every_demand() -> None:
    made = World()
    document, policy = raw(made.document()), scoped(f'require = "published"\nsigners = ["{BOB}"]\n')
    told, lines = explain(SUBJECT, document, made.trust(), policy, NOW, HERE)
    assert told == report(SUBJECT, document, made.trust(), policy, NOW, beside=HERE)
    assert (told.code, told.evidence[-1].name) == ("POLICY_DENIED", "policy")
    assert [(line.demand, line.outcome) for line in lines] == [
        ("require", Outcome.HOLDS), ("signers", Outcome.FAILS)]


def test_reports_and_explanations_hold_the_logs_to_what_they_showed() -> None:
    made, forked = World(), World()
    forked.logs["log-b"].leaves[0] = bytes(32)
    shown = decide_and_tell(
        SUBJECT, raw(forked.document()), forked.trust(), Policy(), NOW, 1, Beside(), NOTHING_SEEN)[1]
    known, document = NOTHING_SEEN.with_sights(shown), raw(made.document())
    told = report(SUBJECT, document, made.trust(), Policy(), NOW, known=known)
    assert (told.code, told.step) == ("LOG_PROOF_INVALID", 6)
    assert explain(SUBJECT, document, made.trust(), Policy(), NOW, known=known) == (told, ())
    proofs = [log for one in told.attested.attestations for log in one.logs]
    assert {log.log for log in proofs if not log.holds} == {"log-b"}
    assert {log.log for log in proofs if log.holds} == {"log-a", "log-c"}


def test_what_entries_showed_of_their_logs_is_told_for_the_next_decision() -> None:
    made = World()
    document = made.document()
    _, shown = decide_and_tell(SUBJECT, raw(document), made.trust(), Policy(), NOW, 1, HERE, NOTHING_SEEN)
    leaves = {(log.id, at): leaf for log in made.logs.values() for at, leaf in enumerate(log.leaves)}
    assert {(one.log.id, one.index): one.leaf for one in shown} == {
        (entry["logId"], entry["logIndex"]): leaves[entry["logId"], entry["logIndex"]]
        for entry in document["logEntries"]}


def test_a_subject_whose_digest_is_none_is_refused_with_the_place() -> None:
    crooked = replace(SUBJECT, config="sha256:A")
    with pytest.raises(VerificationRejected) as refusal:
        decide(crooked, None, World().trust(), Policy(), NOW, 1)
    assert refusal.value.message.startswith("subject: not sha256:") and "'sha256:A'" in refusal.value.message
