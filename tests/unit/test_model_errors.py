"""Each way to refuse has its id and exit code, listed here once more by hand, and survives the wire whole."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from published import published, svalinn_schema

from vordr.model import errors
from vordr.model.errors import VerificationRejected, VordrError, every_error, from_wire

# Exit code and, after ERR_, id.
CODES = {
    "VordrError": (1, "GENERAL"), "UsageError": (2, "USAGE"),
    "RuntimeFailed": (10, "RUNTIME"), "RuntimeNotFound": (11, "RUNTIME_NOT_FOUND"),
    "NotPrivileged": (13, "PRIVILEGE"), "ServiceUnreachable": (14, "SERVICE_UNREACHABLE"),
    "NetworkFailed": (20, "NETWORK"),
    "RegistryFailed": (30, "REGISTRY"), "RegistryDenied": (31, "AUTH"),
    "ImageNotFound": (32, "IMAGE_NOT_FOUND"), "PullFailed": (33, "PULL"),
    "ImageUnreadable": (34, "IMAGE_UNREADABLE"), "ImageInUse": (35, "IMAGE_IN_USE"),
    "LayerSpaceExhausted": (36, "STORAGE_FULL"),
    "StateError": (40, "STATE"), "JournalCorrupt": (41, "STATE_CORRUPT"), "StateLocked": (42, "STATE_LOCKED"),
    "SubjectBusy": (43, "STATE_BUSY"), "StaleState": (44, "STATE_STALE"), "JournalFull": (45, "JOURNAL_FULL"),
    "JournalStopped": (46, "JOURNAL_STOPPED"),
    "PolicyError": (50, "POLICY"), "PolicyDenied": (51, "POLICY_DENIED"),
    "VerificationRejected": (51, "POLICY_DENIED"), "SealBroken": (52, "SEAL_BROKEN"),
    "TrustStoreInvalid": (53, "TRUST_STORE"), "TrustStoreMissing": (53, "TRUST_STORE"),
    "KeyUnusable": (54, "KEY"), "VerdictsLapsed": (55, "VERDICTS_LAPSED"),
    "ConfigError": (60, "CONFIG"), "ConfigUnparsable": (61, "CONFIG_PARSE"),
    "ConfigInvalid": (62, "CONFIG_INVALID"),
    "ContainerError": (70, "CONTAINER"), "ContainerNotFound": (71, "CONTAINER_NOT_FOUND"),
    "ContainerRunning": (72, "CONTAINER_RUNNING"), "ContainerStopped": (73, "CONTAINER_STOPPED"),
    "IllegalTransition": (74, "ILLEGAL_TRANSITION"), "NameInUse": (75, "NAME_IN_USE"),
    "UndoError": (80, "UNDO"), "NothingToUndo": (81, "UNDO_NOTHING"), "UndoBlocked": (82, "UNDO_BLOCKED"),
    "UndoPartial": (83, "UNDO_PARTIAL"), "UndoExpired": (84, "UNDO_EXPIRED"),
    "SupervisionError": (90, "SUPERVISION"), "ActorDead": (91, "ACTOR_DEAD"),
    "DeadlineExceeded": (92, "DEADLINE"), "InboxFull": (93, "INBOX_FULL"), "Parked": (94, "PARKED"),
    "StartFailed": (95, "CHILD_START"), "Fenced": (96, "FENCED"),
    "ExecFailed": (126, "RUNTIME_EXEC"), "CommandNotFound": (127, "RUNTIME_EXEC"),
}
# A kind of its parent, told apart by its details or its remedy: docker knows only one code for each.
SHARED = {"VerificationRejected", "TrustStoreMissing", "CommandNotFound"}
# What mends every error of a class: a command, or words (None).
REMEDIES = {
    "RuntimeFailed": "vordr doctor", "RuntimeNotFound": "vordr doctor", "NotPrivileged": None,
    "ServiceUnreachable": "vordr serve", "RegistryDenied": None, "ImageNotFound": "vordr images",
    "LayerSpaceExhausted": None, "JournalCorrupt": "vordr audit --chain", "SubjectBusy": None,
    "StaleState": None, "JournalFull": None, "JournalStopped": None,
    "VerificationRejected": "vordr verify IMAGE", "TrustStoreInvalid": "vordr trust show",
    "TrustStoreMissing": "vordr trust init", "VerdictsLapsed": "vordr audit --verdicts",
    "ContainerNotFound": "vordr ps -a", "NothingToUndo": "vordr history",
}
PUBLIC = [cls for cls in every_error() if cls.__module__ == errors.__name__]
EACH = pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)


def contract() -> dict[str, int]:
    """Ids and codes that the surface contract lists; ``_X`` goes on where the first id of a decade ends."""
    text = published("svalinn/contract.md").read_text().partition("## Exit codes")[2]
    ids: dict[str, int] = {}
    first = ""
    for code, word in re.findall(r"(\d+) ((?:ERR)?_[A-Z_]+)", text.partition("\nrun,")[0]):
        first = word if int(code) % 10 == 0 else first
        ids[first + word if word[0] == "_" else word] = int(code)
    return ids


def made(cls: type[VordrError], **more: Any) -> VordrError:
    """An error of a class, with a message and evidence."""
    if issubclass(cls, VerificationRejected):
        return cls("UNKNOWN_KEY", "nobody knows it", step=5, details={"key": "k"}, **more)
    return cls("it did not work", details={"n": 1, "all": ["a", None, True]}, **more)


def test_the_list_of_exit_codes_and_ids_is_this_one() -> None:
    assert {cls.__name__: (cls.exit_code, cls.id.removeprefix("ERR_")) for cls in PUBLIC} == CODES
    assert all(cls.id.startswith("ERR_") for cls in PUBLIC)


def test_ids_and_codes_are_unique() -> None:
    own = [cls for cls in PUBLIC if cls.__name__ not in SHARED]
    assert len({cls.id for cls in own}) == len(own)
    assert len({cls.exit_code for cls in own}) == len(own)


def test_what_the_contract_lists_has_the_contracts_code_and_what_is_ours_takes_free_numbers() -> None:
    listed = contract()
    assert listed["ERR_CONFIG_PARSE"] == 61 and len(listed) == 24
    ours = {cls.id: cls.exit_code for cls in PUBLIC}
    # A command that cannot be executed passes docker's 126 and 127 through; networks are not made yet.
    assert listed.keys() - ours.keys() == {"ERR_NETWORK_CONFIG", "ERR_NETWORK_CREATE"}
    assert {id for id in listed.keys() & ours.keys() if ours[id] != listed[id]} == {"ERR_RUNTIME_EXEC"}
    assert not {code for id, code in ours.items() if id not in listed} & set(listed.values())


def test_the_remedies_that_all_errors_of_a_class_share_are_these() -> None:
    shared = {cls.__name__: cls.default_remedy for cls in PUBLIC if cls.default_remedy is not None}
    assert shared.keys() == REMEDIES.keys()
    assert all(command in (None, shared[name]) for name, command in REMEDIES.items())


@EACH
def test_what_goes_over_the_wire_comes_back_the_same_and_is_an_error_of_svalinns_schema(
    cls: type[VordrError],
) -> None:
    error = made(cls, remedy="try this")
    assert error.remedy == "try this"
    back = from_wire(error.to_wire())
    assert type(back) is cls
    assert (back.message, back.remedy, back.details) == (error.message, error.remedy, error.details)
    assert str(back) == error.message and back.args == (error.message,)
    wire = back.to_wire()
    assert wire == error.to_wire() and (wire["code"], wire["id"]) == (cls.exit_code, cls.id)
    schema = svalinn_schema("error-response.v1.json")
    jsonschema.Draft7Validator(schema).validate({"error": wire})


@EACH
def test_an_error_without_a_remedy_of_its_own_takes_that_of_its_class(cls: type[VordrError]) -> None:
    assert made(cls).remedy == cls.default_remedy
    assert made(cls).to_wire()["suggestions"] == [cls.default_remedy] * (cls.default_remedy is not None)


@EACH
def test_an_error_without_a_remedy_comes_back_without_one_although_its_class_has_a_default(
    cls: type[VordrError],
) -> None:
    error = made(cls)
    error.remedy = None
    assert error.to_wire()["suggestions"] == []
    assert from_wire(error.to_wire()).remedy is None


def test_a_rejection_carries_the_specs_code_and_step_as_fields_and_as_evidence() -> None:
    error = VerificationRejected("UNKNOWN_KEY", "no", step=5, details={"key": "k"})
    for one in (error, from_wire(error.to_wire())):
        assert isinstance(one, VerificationRejected)
        assert (one.code, one.step) == ("UNKNOWN_KEY", 5)
        assert one.details == {"code": "UNKNOWN_KEY", "step": 5, "key": "k"}
    assert VerificationRejected("X", "no", step=1).details == {"code": "X", "step": 1}


def test_the_evidence_of_an_error_is_its_own() -> None:
    given = {"n": 1}
    error = VordrError("no", details=given)
    given["n"] = 2
    assert error.details == {"n": 1}
    wire = error.to_wire()
    from_wire(wire)
    assert wire["details"] == {"type": "VordrError", "n": 1}


def test_an_error_of_a_newer_engine_is_still_an_error() -> None:
    wire = {"code": 99, "id": "ERR_NEW", "message": "new", "details": {"type": "NewError", "x": 1}}
    assert type(from_wire(wire)) is VordrError
    assert from_wire(wire).details == {"x": 1}


def test_an_error_of_which_hardly_anything_is_told_is_still_an_error() -> None:
    nothing: list[dict[str, Any]] = [
        {}, {"details": None, "suggestions": None}, {"details": {}, "suggestions": []}]
    for wire in nothing:
        error = from_wire(wire)
        assert type(error) is VordrError
        assert (error.message, error.remedy, error.details) == ("", None, {})
    rejected = from_wire({"details": {"type": "VerificationRejected"}})
    assert isinstance(rejected, VerificationRejected)
    assert (rejected.code, rejected.step, rejected.remedy) == ("", 0, None)


def test_every_error_is_listed_once_after_its_parents() -> None:
    listed = every_error()
    assert listed[0] is VordrError and len(set(listed)) == len(listed)
    assert all(issubclass(cls, VordrError) for cls in listed)
    for place, cls in enumerate(listed[1:], 1):
        assert all(base in listed[:place] for base in cls.__bases__)
