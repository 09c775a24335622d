"""What each operation answers, listed here once more by hand, and what an older engine leaves out of it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest
from struct_tables import by_name_only, own_fields, sample, structs

from vordr.formats import canonical
from vordr.model import answers, attested
from vordr.model.answers import ShownContainer, shown
from vordr.model.state import ContainerState

# What is always there, and what stands for the rest where it is not; without what comes from above.
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Answer": ("", {}),
    "Receipt": ("txn seq", {"undo": (), "irreversible": ()}),
    "ContainerAnswer": ("container receipt", {"attach": False}),
    "ShownContainer": ("", {"parked": None}),
    "ListAnswer": ("containers", {}),
    "InspectAnswer": ("container digest image log_path verdict", {"busy": None}),
    "LogLine": ("time stream text", {}),
    "LogsAnswer": ("lines", {}),
    "ExecAnswer": ("session receipt attach", {}),
    "WaitAnswer": ("code", {}),
    "Empty": ("", {}),
    "ImagesAnswer": ("images", {}),
    "ImageAnswer": ("image receipt", {}),
    "PackAnswer": ("output manifest bundle size receipt", {}),
    "VerifyStep": ("step name ok text", {}),
    "Cure": ("command text", {}),
    "VerifyAnswer": ("decision manifest mode", {
        "code": None, "message": None, "remedy": None, "steps": (), "attested_by": None, "expires": None,
        "cures": (), "attested": None}),
    "AdmitAnswer": ("decision manifest attested_by seq", {}),
    "PolicyDemand": ("scope demand outcome text", {"keys": ()}),
    "PolicyEvidence": ("digest kind", {}),
    "PolicyAnswer": ("decision manifest names policy", {
        "code": None, "message": None, "steps": (), "scopes": (), "demands": (), "evidence": (), "lost": ()}),
    "TrustKey": ("id role algorithm owner valid_from", {
        "valid_until": None, "revoked": None, "reason": None}),
    "TrustLog": ("id operator url", {}),
    "TrustWithdrawal": ("digest at reason", {}),
    "TrustAnswer": ("id digest epoch keys logs thresholds", {
        "revision": 0, "updated": 0, "expires": None, "revoked": ()}),
    "LogSeen": ("id operator url size index time", {"wrong": None}),
    "LogsSeenAnswer": ("logs", {}),
    "PlannedStep": ("subject name operation text", {"losses": ()}),
    "UndoAnswer": ("undone steps losses stays", {"receipt": None}),
    "HistoryEntry": ("txn seq time act summary cause principal status undoable", {
        "undone_by": None, "undoes": None, "origin": None, "steps": ()}),
    "HistoryAnswer": ("acts", {}),
    "AuditAnswer": ("ok records root head unanchored", {
        "first_bad": None, "reason": None, "public_key": "", "model": None, "proof": None}),
    "LapsedVerdict": ("id name state image manifest code message", {"step": None, "cures": ()}),
    "VerdictsAnswer": ("judged lapsed", {"epoch": None}),
    "TrashEntry": ("id kind name removed deadline size txn", {}),
    "TrashAnswer": ("items", {}),
    "TrashEmptiedAnswer": ("items", {"receipt": None}),
    "ExplainAnswer": ("text", {}),
    "DoctorCheck": ("category name status message", {"fix": None}),
    "DoctorAnswer": ("checks", {"supervision": ()}),
    "VersionAnswer": ("version pid root containers started", {}),
}
ATTESTED: dict[str, tuple[str, dict[str, Any]]] = {
    "Signer": ("key holds", {"owner": "", "roles": (), "groups": ()}),
    "LogProof": ("log index size root time holds", {"operator": ""}),
    "Attestation": ("digest predicate name signers logs", {}),
    "Demanded": ("scope demand holds text", {"keys": ()}),
    "Attested": ("manifest bundle", {"attestations": (), "unproved": (), "demanded": ()}),
}
# Rows of a table, which have few fields and are many: by place, too.
ROWS = {"LogLine", "VerifyStep", "Cure"}
EACH = pytest.mark.parametrize(
    "struct", [*structs(answers), *structs(attested)], ids=lambda struct: struct.__name__)


@pytest.mark.parametrize(
    ("module", "listed"), [(answers, ANSWERS), (attested, ATTESTED)], ids=["answers", "attested"])
def test_what_is_answered_and_what_stands_for_what_is_not_are_this_list(
    module: ModuleType, listed: dict[str, tuple[str, dict[str, Any]]]
) -> None:
    assert {struct.__name__: own_fields(struct) for struct in structs(module)} == listed


@EACH
def test_answers_cannot_be_changed_and_are_given_by_name(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen
    assert by_name_only(struct) is (struct.__name__ not in ROWS)


@EACH
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "least"])
def test_answers_survive_canonical_json(struct: type[msgspec.Struct], whole: bool) -> None:
    value = sample(struct, whole=whole)
    assert msgspec.convert(canonical.loads(canonical.dumps(msgspec.to_builtins(value))), struct) == value


@EACH
def test_an_answer_of_a_newer_engine_is_read_without_what_is_new(struct: type[msgspec.Struct]) -> None:
    value = sample(struct)
    assert msgspec.convert(msgspec.to_builtins(value) | {"of_tomorrow": 1}, struct) == value


@pytest.mark.parametrize("parked", [None, "failed 6 times"])
def test_a_container_is_shown_as_it_is_with_why_it_is_parked(parked: str | None) -> None:
    container = sample(ContainerState)
    made = shown(container, parked)
    assert isinstance(made, ShownContainer) and made.parked == parked
    assert msgspec.structs.asdict(made) == msgspec.structs.asdict(container) | {"parked": parked}
    assert made.digest() == container.digest()
