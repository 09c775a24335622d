"""The registry of operations, listed here once more by hand: who may call what, and what takes it back."""

from __future__ import annotations

import dataclasses

import pytest

from vordr.model import answers as out
from vordr.model import arguments as take
from vordr.model.lifecycle import Op
from vordr.model.operations import REGISTRY, Operation, Scope

READ, OPERATE, ADMIN = Scope.READ, Scope.OPERATE, Scope.ADMIN
Row = tuple[Scope, type[take.Args], type[out.Answer], str, str | None]
# Scope, arguments, answer, what else it does (mutating, events, takes_file, gives_file), and its inverse.
ROWS: dict[str, Row] = {
    "create": (OPERATE, take.CreateArgs, out.ContainerAnswer, "mutating events takes_file", "uncreate"),
    "run": (OPERATE, take.RunArgs, out.ContainerAnswer, "mutating events takes_file gives_file",
            "unstart, uncreate"),
    "start": (OPERATE, take.StartArgs, out.ContainerAnswer, "mutating gives_file", "unstart"),
    "stop": (OPERATE, take.StopArgs, out.ContainerAnswer, "mutating", "revive"),
    "restart": (OPERATE, take.StopArgs, out.ContainerAnswer, "mutating", "unstart, revive"),
    "kill": (OPERATE, take.KillArgs, out.ContainerAnswer, "mutating", "revive"),
    "pause": (OPERATE, take.ContainerArgs, out.ContainerAnswer, "mutating", "resume"),
    "resume": (OPERATE, take.ContainerArgs, out.ContainerAnswer, "mutating", "pause"),
    "remove": (OPERATE, take.RemoveArgs, out.ContainerAnswer, "mutating", "restore"),
    "wake": (OPERATE, take.ContainerArgs, out.Empty, "mutating", None),
    "list": (READ, take.ListArgs, out.ListAnswer, "", None),
    "inspect": (READ, take.ContainerArgs, out.InspectAnswer, "", None),
    "logs": (READ, take.LogsArgs, out.LogsAnswer, "events", None),
    "exec": (OPERATE, take.ExecArgs, out.ExecAnswer, "mutating gives_file", None),
    "attach": (OPERATE, take.AttachArgs, out.Empty, "gives_file", None),
    "resize": (OPERATE, take.ResizeArgs, out.Empty, "", None),
    "wait": (READ, take.WaitArgs, out.WaitAnswer, "", None),
    "images": (READ, take.ImagesArgs, out.ImagesAnswer, "", None),
    "pull": (OPERATE, take.PullArgs, out.ImageAnswer, "mutating events", "remove_image"),
    "remove_image": (OPERATE, take.RemoveImageArgs, out.ImageAnswer, "mutating", "restore_image"),
    "pack": (ADMIN, take.PackArgs, out.PackAnswer, "mutating events", None),
    "adopt": (ADMIN, take.AdoptArgs, out.ImageAnswer, "mutating events", "unadopt"),
    "verify": (READ, take.VerifyArgs, out.VerifyAnswer, "takes_file", None),
    "policy_check": (READ, take.ImageArgs, out.PolicyAnswer, "", None),
    "gather": (ADMIN, take.GatherArgs, out.ImageAnswer, "mutating events", "describe"),
    "admit": (OPERATE, take.AdmitArgs, out.AdmitAnswer, "", None),
    "trust_init": (ADMIN, take.TrustInitArgs, out.TrustAnswer, "mutating", None),
    "trust_show": (READ, take.NoArgs, out.TrustAnswer, "", None),
    "trust_add": (ADMIN, take.TrustAddArgs, out.TrustAnswer, "mutating", None),
    "trust_revoke": (ADMIN, take.TrustRevokeArgs, out.TrustAnswer, "mutating", None),
    "trust_logs": (ADMIN, take.NoArgs, out.LogsSeenAnswer, "", None),
    "trust_update": (ADMIN, take.TrustUpdateArgs, out.TrustAnswer, "mutating", None),
    "undo": (OPERATE, take.UndoArgs, out.UndoAnswer, "mutating", "redo"),
    "redo": (OPERATE, take.RedoArgs, out.UndoAnswer, "mutating", "undo"),
    "history": (READ, take.HistoryArgs, out.HistoryAnswer, "", None),
    "audit": (READ, take.AuditArgs, out.AuditAnswer, "", None),
    "verdicts": (READ, take.NoArgs, out.VerdictsAnswer, "", None),
    "trash": (READ, take.NoArgs, out.TrashAnswer, "", None),
    "trash_restore": (OPERATE, take.TrashRestoreArgs, out.ContainerAnswer, "mutating", "remove"),
    "trash_empty": (ADMIN, take.TrashEmptyArgs, out.TrashEmptiedAnswer, "mutating", None),
    "explain": (READ, take.ExplainArgs, out.ExplainAnswer, "", None),
    "doctor": (READ, take.NoArgs, out.DoctorAnswer, "", None),
    "version": (READ, take.NoArgs, out.VersionAnswer, "", None),
}
FLAGS = ("mutating", "events", "takes_file", "gives_file")


def row(op: Operation) -> Row:
    return op.scope, op.args, op.answer, " ".join(flag for flag in FLAGS if getattr(op, flag)), op.inverse


def test_the_operations_are_these() -> None:
    assert list(REGISTRY) == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_an_operation_is_as_it_is_listed(name: str) -> None:
    op = REGISTRY[name]
    assert op.name == name
    assert row(op) == ROWS[name]
    assert all(getattr(op, flag) in (True, False) for flag in FLAGS)


@pytest.mark.parametrize("name", ROWS)
def test_each_operation_says_what_it_does_in_one_line_that_no_other_has(name: str) -> None:
    help = REGISTRY[name].help
    assert help[0].isupper() and "\n" not in help and not help.endswith(".")
    assert [op.name for op in REGISTRY.values() if op.help == help] == [name]


@pytest.mark.parametrize("name", ROWS)
def test_who_may_only_read_changes_nothing_and_what_can_be_taken_back_changes_something(name: str) -> None:
    op = REGISTRY[name]
    assert not (op.mutating and op.scope is READ)
    assert op.mutating or op.inverse is None
    known = {*REGISTRY, *map(str, Op), "restore_image", "unadopt", "describe"}
    assert set((op.inverse or "undo").split(", ")) <= known


def test_a_row_cannot_be_changed_and_is_plain_where_nothing_is_said() -> None:
    plain = Operation("x", take.NoArgs, out.Empty, READ, "X")
    assert row(plain) == (READ, take.NoArgs, out.Empty, "", None)
    assert not any(getattr(plain, flag) for flag in FLAGS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.scope = ADMIN  # type: ignore[misc]  # refused, and that is what is tested


def test_scopes_are_written_as_they_are_in_configuration_and_journal() -> None:
    assert {scope.name: scope.value for scope in Scope} == {
        "READ": "read", "OPERATE": "operate", "ADMIN": "admin"}
