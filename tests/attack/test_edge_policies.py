"""Svalinn's policies as demands of a scope: every member is judged, refused, or waived by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gatekeeper_world import NOW, SUBJECT, World, key, raw
from published import published

from vordr.formats.digests import sha256_hex
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import edge_policy
from vordr.gatekeeper.decide import decide, explain
from vordr.gatekeeper.demands import Line, Outcome
from vordr.gatekeeper.edge_policy import Form
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.policy import Policy, parse
from vordr.gatekeeper.statements import PROVENANCE, SPDX
from vordr.model.errors import ConfigInvalid, PolicyDenied

DAY = 86_400_000_000
NAME = "ghcr.io/hyperpolymath/web:v1"
ALICE = key("alice").public.key_id
PUBLISHED = sorted(published("svalinn/policies").glob("*.json"))
HOLDS, FAILS, UNJUDGED = Outcome.HOLDS, Outcome.FAILS, Outcome.UNJUDGED


def policy_of(document: dict[str, Any], waive: tuple[str, ...] = ()) -> Policy:
    content = json.dumps(document).encode()
    return parse(
        '[[scope]]\nname = "edge"\nimages = ["*"]\n[[scope.svalinn]]\n'
        f'policy = {{ file = "p.json", sha256 = "{sha256_hex(content)}" }}\n'
        + (f"waive = {json.dumps(list(waive))}\n" if waive else ""), "policy.toml", lambda name: content)


def edge(**sections: Any) -> dict[str, Any]:
    return {"version": "1.0", "name": "test", **sections}


def lines(document: dict[str, Any], waive: tuple[str, ...] = (), *, name: str = NAME,
          world: World | None = None, policy_text: str = "") -> dict[str, Line]:
    made = world or World()
    policy = policy_of(document, waive)
    if policy_text:
        policy = Policy(allow_host_network=True, scopes=policy.scopes)
    _, told = explain(SUBJECT, raw(made.document()), made.trust(), policy, NOW, Beside((name,)))
    return {line.demand.removeprefix("svalinn[0]."): line for line in told}


def outcome(section: str, member: str, value: Any, **more: Any) -> Outcome:
    found = lines(edge(**{section: {member: value}}), **more)
    assert len(found) == 1
    return next(iter(found.values())).outcome


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_policy_is_read(path: Path) -> None:
    form = Form.GATEKEEPER if path.stem == "mvp-policy" else Form.EDGE
    assert edge_policy.parse(path.read_bytes()).form is form


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_policy_starts_nothing_here_as_it_is(path: Path) -> None:
    """Each names signers that are not ours, or demands what nothing here can judge."""
    document = json.loads(path.read_bytes())
    world = World()
    with pytest.raises(PolicyDenied):
        decide(SUBJECT, raw(world.document()), world.trust(), policy_of(document), NOW, 1, Beside((NAME,)))
    assert {line.outcome for line in lines(document).values()} & {FAILS, UNJUDGED}


@pytest.mark.parametrize("path", [p for p in PUBLISHED if p.stem != "mvp-policy"], ids=lambda path: path.stem)
def test_every_member_of_a_published_policy_has_its_line(path: Path) -> None:
    document = json.loads(path.read_bytes())
    wanted = {f"{section}.{member}" for section, members in document.items() if isinstance(members, dict)
              for member in members} - {"verification.transparencyLogs"}
    assert wanted <= set(lines(document))


def test_the_minimal_policy_holds_with_our_signer() -> None:
    document = {"version": 1, "requiredPredicates": [PROVENANCE, SPDX], "allowedSigners": [ALICE],
                "logQuorum": 3, "mode": "strict", "notes": "x"}
    assert {line.outcome for line in lines(document).values()} == {HOLDS}
    world = World()
    assert decide(SUBJECT, raw(world.document()), world.trust(), policy_of(document), NOW, 1, Beside((NAME,)))


@pytest.mark.parametrize(("change", "demand"), [
    ({"allowedSigners": ["sha256:" + "0" * 64]}, "allowedSigners"),
    ({"logQuorum": 4}, "logQuorum"),
])
def test_the_minimal_policy_fails_by_the_member_that_fails(change: dict[str, Any], demand: str) -> None:
    document = {"version": 1, "requiredPredicates": [SPDX], "allowedSigners": [ALICE], "logQuorum": 1,
                **change}
    assert [name for name, line in lines(document).items() if line.outcome is FAILS] == [demand]


def test_a_predicate_that_no_bundle_holds_cannot_be_judged() -> None:
    document = {"version": 1, "requiredPredicates": [SPDX, "https://in-toto.io/attestation/vulns/v0.1"],
                "allowedSigners": [ALICE], "logQuorum": 1}
    assert lines(document)["requiredPredicates"].outcome is UNJUDGED


ROWS: list[tuple[str, str, Any, Outcome]] = [
    ("registries", "allow", ["ghcr.io"], HOLDS),
    ("registries", "allow", ["*.io"], HOLDS),
    ("registries", "allow", ["*.ghcr.io"], FAILS),
    ("registries", "allow", ["ghcr.i"], FAILS),
    ("registries", "allow", [], FAILS),
    ("registries", "deny", ["docker.io"], HOLDS),
    ("registries", "deny", ["ghcr.io"], FAILS),
    ("registries", "requireSignature", True, HOLDS),
    ("registries", "allowedSigners", [ALICE], HOLDS),
    ("registries", "allowedSigners", ["sha256:" + "1" * 64], FAILS),
    ("images", "allowPatterns", ["ghcr.io/hyperpolymath/*"], HOLDS),
    ("images", "allowPatterns", ["ghcr.io/other/*"], FAILS),
    ("images", "denyPatterns", ["*:latest"], HOLDS),
    ("images", "denyPatterns", ["*:v1"], FAILS),
    ("images", "denyPatterns", ["*/web"], FAILS),
    ("images", "requireSbom", True, HOLDS),
    ("images", "maxVulnerabilities", {"critical": 0}, UNJUDGED),
    ("resources", "maxMemoryMb", 1, UNJUDGED),
    ("security", "allowPrivileged", False, HOLDS),
    ("security", "allowHostNetwork", False, HOLDS),
    ("security", "readOnlyRoot", True, UNJUDGED),
    ("security", "readOnlyRoot", False, HOLDS),
    ("security", "dropCapabilities", ["ALL"], UNJUDGED),
    ("security", "addCapabilities", [], HOLDS),
    ("security", "seccompProfile", "RuntimeDefault", HOLDS),
    ("security", "seccompProfile", "Unconfined", UNJUDGED),
    ("security", "apparmorProfile", "runtime/default", UNJUDGED),
    ("network", "allowEgress", True, HOLDS),
    ("network", "allowEgress", False, UNJUDGED),
    ("network", "deniedPorts", [22], UNJUDGED),
    ("verification", "signatureAlgorithms", ["ed25519", "ecdsa-p256"], HOLDS),
    ("verification", "signatureAlgorithms", ["ml-dsa-87"], FAILS),
    ("verification", "transparencyLogs", {"required": ["log-a", "North"]}, HOLDS),
    ("verification", "transparencyLogs", {"required": ["rekor"]}, FAILS),
    ("verification", "transparencyLogs", {"quorum": 3}, HOLDS),
    ("verification", "transparencyLogs", {"quorum": 4}, FAILS),
    ("verification", "sbomRequired", True, HOLDS),
    ("verification", "sbomFormats", ["cyclonedx", "spdx"], HOLDS),
    ("verification", "sbomFormats", ["cyclonedx"], FAILS),
    ("verification", "provenanceLevel", 1, HOLDS),
    ("verification", "provenanceLevel", 2, UNJUDGED),
    ("verification", "maxSignatureAgeDays", 1, HOLDS),
    ("verification", "maxSignatureAgeDays", 0, FAILS),
    ("verification", "keyTrustLevel", "self-signed", HOLDS),
    ("verification", "keyTrustLevel", "hardware-backed", UNJUDGED),
    ("verification", "allowedKeyIds", [ALICE], HOLDS),
    ("verification", "allowedKeyIds", ["sha256:" + "1" * 64], FAILS),
    ("verification", "requiredPredicates", [PROVENANCE], HOLDS),
    ("verification", "requiredPredicates", ["https://cyclonedx.org/bom/v1.5"], UNJUDGED),
]


@pytest.mark.parametrize(("section", "member", "value", "wanted"), ROWS)
def test_a_member_is_judged(section: str, member: str, value: Any, wanted: Outcome) -> None:
    assert outcome(section, member, value) is wanted


def test_the_hosts_network_is_judged_by_the_engines_own_policy() -> None:
    assert outcome("security", "allowHostNetwork", False, policy_text="host") is FAILS
    assert outcome("security", "allowHostNetwork", True, policy_text="host") is HOLDS


class _Built(World):
    """Provenance that says when the build was finished."""

    finished: Any = None

    def statement(self, kind: str, subject: Any = SUBJECT) -> dict[str, Any]:
        made = super().statement(kind, subject)
        if kind == PROVENANCE:
            made["predicate"]["runDetails"]["metadata"] = {"finishedOn": self.finished}
        return made


@pytest.mark.parametrize(("finished", "wanted"), [
    (format_rfc3339(NOW - DAY), HOLDS), (format_rfc3339(NOW - 31 * DAY), FAILS),
    (format_rfc3339(NOW), UNJUDGED), ("yesterday", UNJUDGED), (7, UNJUDGED), (None, UNJUDGED),
])
def test_an_images_age_is_what_its_publisher_attests_and_no_younger_than_its_logs(
    finished: Any, wanted: Outcome
) -> None:
    world = _Built()
    world.finished = finished
    assert outcome("images", "maxAgeDays", 30, world=world) is wanted


def test_the_age_of_an_adopted_image_cannot_be_judged() -> None:
    world = _Built(signers=["olga"], build_type="https://vordr.dev/adopt/v1")
    world.finished = format_rfc3339(NOW - DAY)
    assert outcome("images", "maxAgeDays", 30, world=world) is UNJUDGED


def test_what_cannot_be_judged_starts_once_it_is_waived_by_name_and_the_verdict_says_so() -> None:
    document = edge(resources={"maxMemoryMb": 64, "maxCpuCores": 0.5}, security={"readOnlyRoot": True})
    world = World()
    verdict = decide(
        SUBJECT, raw(world.document()), world.trust(),
        policy_of(document, ("resources", "security.readOnlyRoot")), NOW, 1, Beside((NAME,)))
    assert sum("waived by the operator" in step.text for step in verdict.evidence) == 3


def test_what_fails_is_not_waived() -> None:
    document = edge(registries={"allow": ["docker.io"]}, resources={"maxMemoryMb": 1})
    found = lines(document, ("registries", "resources"))
    assert [found["registries.allow"].outcome, found["resources.maxMemoryMb"].outcome] == [FAILS, HOLDS]


def test_only_members_of_the_policy_can_be_waived() -> None:
    with pytest.raises(ConfigInvalid, match="waive"):
        policy_of(edge(), ("resources",))


def test_an_image_without_a_name_is_of_no_allowed_registry() -> None:
    world = World()
    _, told = explain(SUBJECT, raw(world.document()), world.trust(),
                      policy_of(edge(registries={"allow": ["*"]}, images={"allowPatterns": ["*"]})), NOW,
                      Beside())
    assert [line.outcome for line in told] == [FAILS, FAILS]


@pytest.mark.parametrize("document", [
    {}, {"version": "1.0"}, {"version": "2.0", "name": "x"}, {"version": 1},
    edge(unknown={}), edge(registries={"alow": []}), edge(images={"maxVulnerabilities": {"severe": 0}}),
    edge(resources={"maxMemoryMb": "1"}), edge(resources={"maxMemoryMb": True}),
    edge(security={"allowPrivileged": "false"}), edge(verification={"transparencyLogs": {"quorums": 1}}),
    edge(verification=[]), edge(verification={"allowedKeyIds": ["key"]}),
    {"version": 1, "requiredPredicates": ["a:b"], "allowedSigners": ["sha256:" + "0" * 64], "logQuorum": 1,
     "mode": "permissive"},
    {"version": 1, "requiredPredicates": ["a:b"], "allowedSigners": ["sha256:" + "0" * 64], "logQuorum": 1,
     "allowAll": True},
    {"version": 1, "requiredPredicates": [], "allowedSigners": ["sha256:" + "0" * 64], "logQuorum": 1},
    {"version": 1, "requiredPredicates": ["a:b"], "allowedSigners": [], "logQuorum": 1},
    {"version": 2, "requiredPredicates": ["a:b"], "allowedSigners": ["sha256:" + "0" * 64], "logQuorum": 1},
])
def test_a_policy_of_another_shape_is_refused_whole(document: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        edge_policy.parse(json.dumps(document).encode())


def test_a_policy_with_a_duplicate_key_is_refused() -> None:
    with pytest.raises(FormatError, match="duplicate key"):
        edge_policy.parse(b'{"version": 1, "version": 1}')
