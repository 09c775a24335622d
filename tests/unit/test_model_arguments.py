"""What each operation takes, listed here once more by hand, with what it takes where nothing is said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from struct_tables import by_name_only, own_fields, sample, structs

from vordr.formats import canonical
from vordr.model import arguments
from vordr.model.spec import ContainerSpec, NetworkMode, RestartPolicy

# What must be given, and the defaults of the rest; without what comes from the struct above.
FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Args": ("", {}),
    "CreateArgs": ("image", {
        "name": None, "command": (), "entrypoint": None, "environment": {}, "workdir": None, "user": None,
        "hostname": None, "tty": False, "stdin": False, "read_only": False, "init": False, "memory": None,
        "cpu_millis": None, "pids_limit": None, "network": NetworkMode.NONE, "restart": RestartPolicy(),
        "auto_remove": False, "labels": {}, "stop_signal": None, "stop_timeout": 10, "pull": "missing",
        "package": False}),
    "RunArgs": ("", {"attach": False}),
    "ContainerArgs": ("container", {}),
    "StartArgs": ("", {"attach": False}),
    "StopArgs": ("", {"timeout": None}),
    "KillArgs": ("", {"signal": "KILL"}),
    "RemoveArgs": ("", {"force": False}),
    "ListArgs": ("", {"all": False, "filters": {}}),
    "LogsArgs": ("", {"follow": False, "events": False, "tail": None, "since": None}),
    "ExecArgs": ("command", {
        "environment": {}, "workdir": None, "user": None, "tty": False, "stdin": False, "detach": False}),
    "AttachArgs": ("", {}),
    "ResizeArgs": ("rows columns", {"session": None}),
    "WaitArgs": ("", {"condition": "stopped", "session": None}),
    "ImagesArgs": ("", {}),
    "PullArgs": ("reference", {"insecure": False}),
    "ImageArgs": ("image", {}),
    "RemoveImageArgs": ("", {"force": False}),
    "PackArgs": ("source output name", {"passphrase": None, "entrypoint": (), "command": ()}),
    "AdoptArgs": ("", {"name": None, "passphrase": None, "draft": None, "bundle": None}),
    "VerifyArgs": ("", {"mode": "strict", "package": False, "bundle": False, "graph": False}),
    "AdmitArgs": ("engine container chain", {"config": None, "manifest": None, "sandbox": False}),
    "GatherArgs": ("", {"layout": None, "insecure": False}),
    "TrustInitArgs": ("owner", {"passphrase": None, "suite": "CT-SIG-01"}),
    "TrustAddArgs": ("public_key role owner", {"valid_until": None}),
    "TrustRevokeArgs": ("key", {"reason": "unspecified", "digest": False}),
    "TrustUpdateArgs": ("document", {}),
    "NoArgs": ("", {}),
    "UndoArgs": ("", {
        "txn": None, "container": None, "steps": 1, "to": None, "cascade": False, "dry_run": False}),
    "RedoArgs": ("", {"txn": None, "dry_run": False}),
    "HistoryArgs": ("", {"container": None, "limit": 50, "consequences": True}),
    "AuditArgs": ("", {"model": False, "prove": None, "consistency": None}),
    "TrashRestoreArgs": ("item", {"name": None}),
    "TrashEmptyArgs": ("", {"items": (), "all": False}),
    "ExplainArgs": ("", {"txn": None}),
}
EACH = pytest.mark.parametrize("struct", structs(arguments), ids=lambda struct: struct.__name__)


def test_what_is_taken_and_its_defaults_are_this_list() -> None:
    assert {struct.__name__: own_fields(struct) for struct in structs(arguments)} == FIELDS


@EACH
def test_arguments_cannot_be_changed_and_are_given_by_name(struct: type[msgspec.Struct]) -> None:
    assert issubclass(struct, arguments.Args)
    assert struct.__struct_config__.frozen
    assert by_name_only(struct)


@EACH
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "least"])
def test_arguments_survive_canonical_json(struct: type[msgspec.Struct], whole: bool) -> None:
    value = sample(struct, whole=whole)
    assert msgspec.convert(canonical.loads(canonical.dumps(msgspec.to_builtins(value))), struct) == value


@EACH
def test_an_argument_that_an_operation_does_not_have_is_refused(struct: type[msgspec.Struct]) -> None:
    plain = msgspec.to_builtins(sample(struct)) | {"privileged": True}
    with pytest.raises(msgspec.ValidationError, match="privileged"):
        msgspec.convert(plain, struct)


@pytest.mark.parametrize(("field", "value"), [
    ("image", None), ("image", 7), ("memory", "64m"), ("memory", 1.5), ("tty", 1), ("command", "ls"),
    ("environment", {"A": 1}), ("network", "bridge"), ("restart", "always"), ("stop_timeout", None)])
def test_an_argument_of_another_type_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"image": "tiny", field: value}, arguments.CreateArgs)


def test_what_create_takes_where_nothing_is_said_is_what_a_spec_has() -> None:
    taken, has = own_fields(arguments.CreateArgs)[1], own_fields(ContainerSpec)[1]
    assert has.items() <= taken.items()
    assert taken.keys() - has.keys() == {"name", "pull", "package"}
