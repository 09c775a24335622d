"""Each way to refuse has its id and exit code, listed here once more by hand."""

import pytest

from vordr.model import errors
from vordr.model.errors import VerificationRejected, VordrError, every_error, from_wire

CODES = {
    "VordrError": 1, "UsageError": 2,
    "RuntimeFailed": 10, "RuntimeNotFound": 11, "NotPrivileged": 13, "ServiceUnreachable": 14,
    "NetworkFailed": 20,
    "RegistryFailed": 30, "RegistryDenied": 31, "ImageNotFound": 32, "PullFailed": 33,
    "ImageUnreadable": 34, "ImageInUse": 35, "LayerSpaceExhausted": 36,
    "StateError": 40, "JournalCorrupt": 41, "StateLocked": 42, "SubjectBusy": 43, "StaleState": 44,
    "JournalFull": 45, "JournalStopped": 46,
    "PolicyError": 50, "PolicyDenied": 51, "VerificationRejected": 51, "SealBroken": 52,
    "TrustStoreInvalid": 53, "TrustStoreMissing": 53, "KeyUnusable": 54,
    "VerdictsLapsed": 55,
    "ConfigError": 60, "ConfigUnparsable": 61, "ConfigInvalid": 62,
    "ContainerError": 70, "ContainerNotFound": 71, "ContainerRunning": 72, "ContainerStopped": 73,
    "IllegalTransition": 74, "NameInUse": 75,
    "UndoError": 80, "NothingToUndo": 81, "UndoBlocked": 82, "UndoPartial": 83, "UndoExpired": 84,
    "SupervisionError": 90, "ActorDead": 91, "DeadlineExceeded": 92, "InboxFull": 93, "Parked": 94,
    "StartFailed": 95, "Fenced": 96,
    "ExecFailed": 126, "CommandNotFound": 127,
}
# A kind of its parent, told apart by its details or its remedy: docker knows only one code for each.
SHARED = {"VerificationRejected", "TrustStoreMissing", "CommandNotFound"}
PUBLIC = [cls for cls in every_error() if cls.__module__ == errors.__name__]


def test_the_list_of_exit_codes_is_this_one():
    assert {cls.__name__: cls.exit_code for cls in PUBLIC} == CODES


def test_ids_and_codes_are_unique():
    own = [cls for cls in PUBLIC if cls.__name__ not in SHARED]
    assert len({cls.id for cls in own}) == len(own)
    assert len({cls.exit_code for cls in own}) == len(own)


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_what_goes_over_the_wire_comes_back_the_same(cls):
    if cls is VerificationRejected:
        error: VordrError = cls("UNKNOWN_KEY", "nobody knows it", step=5, details={"key": "k"})
    else:
        error = cls("it did not work", remedy="try this", details={"n": 1, "all": ["a", None, True]})
    back = from_wire(error.to_wire())
    assert type(back) is cls
    assert (back.message, back.remedy, back.details) == (error.message, error.remedy, error.details)
    assert back.to_wire() == error.to_wire()


def test_an_error_without_a_remedy_comes_back_without_one_although_its_class_has_a_default():
    error = errors.ContainerNotFound("no such container")
    error.remedy = None
    assert from_wire(error.to_wire()).remedy is None


def test_an_error_of_a_newer_engine_is_still_an_error():
    wire = {"code": 99, "id": "ERR_NEW", "message": "new", "details": {"type": "NewError", "x": 1}}
    assert type(from_wire(wire)) is VordrError
    assert from_wire(wire).details == {"x": 1}
