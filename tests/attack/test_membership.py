"""A member of group vordr (scope operate) against an engine: membership is not root, and holds nobody up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_engine import IMAGE, Whole, import_image, whole_engine

from vordr.engine.handlers import ranges
from vordr.engine.handlers.ranges import FIRST_RANGE, LOW_RANGES, RANGE_SIZE, subordinate_ranges
from vordr.engine.library import check_file
from vordr.engine.protocol import Caller
from vordr.model.errors import ImageUnreadable, PolicyDenied, UsageError
from vordr.model.lifecycle import State
from vordr.model.operations import Scope

MEMBER = Caller("uid:1000", Scope.OPERATE)
SECRET = "hunter2-4f1e9c"


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    with whole_engine(tmp_path) as made:
        yield made


def allow_host_network(whole: Whole, allowed: bool) -> None:
    (whole.paths.trust / "policy.toml").write_text(f"allow_host_network = {str(allowed).lower()}\n")


# -- the host's network --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation, more", [
    ("exec", {"command": ["/bin/sh"], "detach": True}), ("attach", {}), ("restart", {}),
])
def test_a_member_gets_into_no_process_on_the_hosts_network(
    whole: Whole, operation: str, more: dict[str, object]
) -> None:
    allow_host_network(whole, True)
    running = whole.run(network="host")
    with pytest.raises(PolicyDenied):
        whole.call(operation, MEMBER, container="web", **more)
    assert whole.wait_state(State.RUNNING).process == running.process


def test_a_member_starts_no_container_on_the_hosts_network_that_an_administrator_made(whole: Whole) -> None:
    allow_host_network(whole, True)
    whole.run(network="host")
    whole.do("stop")
    with pytest.raises(PolicyDenied):
        whole.call("start", MEMBER, container="web")
    assert whole.wait_state(State.STOPPED)
    whole.do("start")


def test_a_members_undo_brings_back_no_process_on_the_hosts_network(whole: Whole) -> None:
    allow_host_network(whole, True)
    whole.run(network="host")
    whole.call("kill", MEMBER, container="web")
    for wanted in ({}, {"container": "web"}, {"dry_run": True}):
        with pytest.raises(PolicyDenied):
            whole.call("undo", MEMBER, **wanted)
    assert whole.wait_state(State.STOPPED)


def test_the_policy_of_now_decides_on_the_hosts_network_and_not_the_one_of_the_creation(whole: Whole) -> None:
    allow_host_network(whole, True)
    whole.run(network="host")
    whole.do("stop")
    allow_host_network(whole, False)
    with pytest.raises(PolicyDenied):
        whole.do("start")
    with pytest.raises(PolicyDenied):
        whole.call("undo")


# -- what is written where everybody reads it ----------------------------------------------------------


@pytest.mark.parametrize("environment", [
    {"TOKEN": f"{SECRET}\0"}, {"": SECRET}, {"A=B": SECRET}, {"TOKEN": SECRET * 20_000},
])
def test_a_value_that_no_process_can_be_given_is_refused_and_written_nowhere(
    whole: Whole, environment: dict[str, str]
) -> None:
    """The runtime would quote it in its complaint, which is journalled and logged."""
    whole.run()
    before = whole.journal.last()[0]
    for refused in (
        lambda: whole.run("other", environment=environment),
        lambda: whole.call("exec", MEMBER, container="web", command=["/bin/true"], environment=environment),
    ):
        with pytest.raises(UsageError) as told:
            refused()
        assert SECRET not in str(told.value.to_wire())
    assert whole.journal.last()[0] == before
    assert not list(whole.paths.secrets.glob("*.json")) if whole.paths.secrets.exists() else True


def test_an_exec_that_the_runtime_would_choke_on_is_refused_at_once(whole: Whole) -> None:
    """conmon never answers to an argument that execve(2) does not take: a minute for one of our workers."""
    whole.run()
    for more in ({"command": ["x" * 131_072]}, {"command": ["a\0b"]}, {"command": ["sh"], "workdir": "here"}):
        with pytest.raises(UsageError):
            whole.call("exec", MEMBER, container="web", **more)
    assert "execute" not in whole.world.calls


def test_labels_do_not_grow_until_no_list_of_containers_can_be_sent(whole: Whole) -> None:
    with pytest.raises(UsageError):
        whole.call(
            "create", MEMBER, image=IMAGE, command=["sh"], labels={f"l{n}": "x" * 100_000 for n in range(9)})
    whole.call("create", MEMBER, image=IMAGE, command=["sh", "-c", "#" * 131_000], labels={"a": "b" * 10_000})


# -- holding everybody up ------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [
    "(a+)+b", "(a|a)*b", "(a*)*b", r"(a)\1", ".*.*.*b", "(?:a+)+b", "a" * 300, r"((a+))+b", "[]a]+a+a+b",
    "a{1,9}{1,9}{1,9}b", "(a+){9}b",
])
def test_a_filter_that_a_backtracking_matcher_spends_hours_on_is_refused(whole: Whole, pattern: str) -> None:
    whole.run("a" * 40)
    with pytest.raises(UsageError):
        whole.call("list", MEMBER, filters={"name": [pattern]})


@pytest.mark.parametrize("pattern", ["web", "^web$", "^(web|db)$", "w.*b", "[a-z]+", r"\.?web$", "w[e*+]b+?"])
def test_the_filters_that_people_write_still_work(whole: Whole, pattern: str) -> None:
    whole.run("web")
    found = whole.call("list", MEMBER, filters={"name": [pattern]}).containers
    assert [container.name for container in found] == ["web"]


def test_a_package_must_be_a_plain_file_open_for_reading(tmp_path: Path) -> None:
    """A read from a pipe that nobody writes to would hold a thread of the service for ever."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    reader, writer = os.pipe()
    bad = [reader, os.open(plain, os.O_WRONLY), os.open(plain, os.O_PATH), os.open(tmp_path, os.O_RDONLY),
           os.open("/dev/zero", os.O_RDONLY)]
    good = os.open(plain, os.O_RDONLY)
    try:
        for descriptor in bad:
            with pytest.raises(ImageUnreadable):
                check_file(descriptor)
        check_file(good)
    finally:
        for descriptor in (*bad, writer, good):
            os.close(descriptor)


# -- names and ids -------------------------------------------------------------------------------------


def test_an_image_made_to_begin_with_a_short_name_does_not_stand_for_it(whole: Whole) -> None:
    """``vordr adopt cafe`` must not vouch for whatever image somebody pulled whose digest begins so."""
    forged = import_image(whole, "docker.io/library/forged:latest", b"forged")
    short = forged.removeprefix("sha256:")[:4]
    meant = import_image(whole, f"docker.io/library/{short}:latest", b"meant")
    made = whole.call("create", image=short, command=["sh"]).container
    assert made.image == meant
    for by_digest in (forged, forged.removeprefix("sha256:"), forged[:11], forged[7:19]):
        assert whole.call("create", image=by_digest, command=["sh"]).container.image == forged


def test_the_ids_that_users_of_the_host_may_take_are_not_given_to_containers(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all ranges that are looked at first, one stays that meets none of theirs."""
    free = FIRST_RANGE + 7 * RANGE_SIZE
    above, rest = free + RANGE_SIZE, (LOW_RANGES - 8) * RANGE_SIZE
    (tmp_path / "subuid").write_text(f"ann:{FIRST_RANGE}:{7 * RANGE_SIZE}\nbroken\nbob:x:1\n")
    (tmp_path / "subgid").write_text(f"ann:{above}:{rest}\n")
    assert subordinate_ranges(tmp_path) == [(FIRST_RANGE, 7 * RANGE_SIZE), (above, rest)]
    monkeypatch.setattr(ranges, "subordinate_ranges", lambda: subordinate_ranges(tmp_path))
    ids = whole.run().ids
    assert ids is not None and ids.first == free


def test_a_member_brings_back_no_attested_image_that_an_administrator_took_away(whole: Whole) -> None:
    whole.call("remove_image", image=IMAGE)
    with pytest.raises(PolicyDenied):
        whole.call("undo", MEMBER, txn=whole.last().txn)
    assert not whole.call("images").images
    whole.call("undo")
    whole.call("remove_image", MEMBER, image=IMAGE)
    whole.call("undo", MEMBER)
    assert whole.call("images").images
