from __future__ import annotations

import os
import socket

import pytest

from vordr.engine.authority import authorise
from vordr.engine.protocol import Caller
from vordr.model import arguments
from vordr.model.errors import PolicyDenied, UsageError
from vordr.model.operations import REGISTRY, Scope
from vordr.model.spec import NetworkMode
from vordr.service.peers import Peer, caller_of, peer_of
from vordr.service.requests import admit, read_envelope

MEMBER = Caller("uid:1000", Scope.OPERATE)
ROOT = Caller("uid:0", Scope.ADMIN)
READER = Caller("uid:1001", Scope.READ)


@pytest.mark.parametrize(("peer", "scope"), [
    (Peer(1, 0, frozenset({0})), Scope.ADMIN),
    (Peer(1, 500, frozenset({500})), Scope.ADMIN),
    (Peer(1, 1000, frozenset({1000, 42})), Scope.OPERATE),
    (Peer(1, 0, frozenset({42})), Scope.ADMIN),
])
def test_root_and_owner_administer_and_members_of_the_group_operate(peer: Peer, scope: Scope) -> None:
    assert caller_of(peer, owner=500, group=42) == Caller(f"uid:{peer.uid}", scope)


@pytest.mark.parametrize("group", [42, None])
def test_whoever_is_not_in_the_group_is_refused(group: int | None) -> None:
    with pytest.raises(PolicyDenied) as caught:
        caller_of(Peer(1, 1000, frozenset({1000, 0})), owner=0, group=group)
    assert "usermod" in (caught.value.remedy or "")


def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
    assert peer.groups == {os.getgid(), *os.getgroups()}


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_each_operation_is_allowed_from_its_own_scope_upwards(name: str) -> None:
    operation = REGISTRY[name]
    rank = [Scope.READ, Scope.OPERATE, Scope.ADMIN]
    for caller in (READER, MEMBER, ROOT):
        if rank.index(caller.scope) >= rank.index(operation.scope):
            authorise(operation, arguments.NoArgs(), caller)
        else:
            with pytest.raises(PolicyDenied) as caught:
                authorise(operation, arguments.NoArgs(), caller)
            assert caught.value.details["scope"] == operation.scope


@pytest.mark.parametrize("kind", [arguments.CreateArgs, arguments.RunArgs])
def test_the_host_network_needs_admin(kind: type[arguments.CreateArgs]) -> None:
    args = kind(image="x", network=NetworkMode.HOST)
    authorise(REGISTRY["run"], args, ROOT)
    with pytest.raises(PolicyDenied, match="host's network"):
        authorise(REGISTRY["run"], args, MEMBER)


def test_members_reach_the_host_network_by_no_spelling_in_a_request() -> None:
    envelope, operation = read_envelope(
        {"id": 1, "operation": "create", "args": {"image": "x", "network": "host"}})
    with pytest.raises(PolicyDenied):
        admit(envelope, operation, 0, MEMBER)


@pytest.mark.parametrize("message", [
    {},
    {"id": 1},
    {"id": "1", "operation": "version"},
    {"id": 1.5, "operation": "version"},
    {"id": 1, "operation": ["version"]},
    {"id": 1, "operation": "version", "args": []},
    {"id": 1, "operation": "version", "as": "uid:0"},
    {"id": 1, "operation": "__class__"},
    {"id": 1, "operation": ""},
])
def test_what_is_no_request_is_a_usage_error(message: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read_envelope(message)


@pytest.mark.parametrize(("name", "args", "place"), [
    ("stop", {}, "container"),
    ("stop", {"container": 5}, "$.container"),
    ("stop", {"container": "x", "timeout": "1"}, "$.timeout"),
    ("stop", {"container": "x", "timeout": True}, "$.timeout"),
    ("stop", {"container": "x", "now": 1}, "now"),
    ("run", {"image": "x", "environment": {"A": 1}}, "$.environment"),
    ("run", {"image": "x", "network": "bridge0"}, "$.network"),
    ("run", {"image": "x", "command": "sh"}, "$.command"),
])
def test_arguments_that_do_not_fit_are_a_usage_error_that_names_the_place(
    name: str, args: dict[str, object], place: str
) -> None:
    envelope, operation = read_envelope({"id": 1, "operation": name, "args": args})
    with pytest.raises(UsageError) as caught:
        admit(envelope, operation, 0, ROOT)
    assert name in caught.value.message
    assert place in caught.value.message


def test_descriptors_for_an_operation_that_takes_none_are_refused() -> None:
    envelope, operation = read_envelope({"id": 1, "operation": "version"})
    with pytest.raises(UsageError, match="no descriptor"):
        admit(envelope, operation, 1, ROOT)
