from __future__ import annotations

import array
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memory_engine import RECEIPT, MemoryEngine

from vordr.engine.channel import Channel, close_files
from vordr.engine.protocol import Caller
from vordr.formats import frames
from vordr.model.operations import Scope
from vordr.service.connection import MAX_REQUEST, Connection, Patience
from vordr.service.watch import HangupWatch

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

ROOT = Caller("uid:0", Scope.ADMIN)


class World:
    """A connection that is being served, and the client's end of it."""

    def __init__(self, root: Path, patience: Patience | None = None, caller: Caller = ROOT) -> None:
        self.engine = MemoryEngine(root)
        ours, self.peer = socket.socketpair()
        self.client = Channel(self.peer)
        self.watch = HangupWatch()
        self.connection = Connection(
            Channel(ours, max_frame=MAX_REQUEST), caller, self.engine, self.watch, patience)
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()

    def ask(self, operation: str, number: int = 1, **args: Any) -> dict[str, Any]:
        self.client.send({"id": number, "operation": operation, "args": args})
        return self.hear()

    def hear(self) -> dict[str, Any]:
        received = self.client.receive(idle=20)
        assert received is not None, "the service hung up"
        close_files(received.files)
        return received.message

    def hung_up(self) -> bool:
        try:
            return self.client.receive(idle=20) is None
        except ConnectionResetError:  # it hung up with bytes of ours unread
            return True

    def ended(self) -> bool:
        self.thread.join(20)
        return not self.thread.is_alive()

    def close(self) -> None:
        self.connection.abandon()
        assert self.ended()
        self.client.close()
        self.watch.close()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors were leaked"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_several_requests_are_answered_in_turn_under_their_ids(world: World) -> None:
    assert world.ask("version", 1)["answer"]["pid"] == os.getpid()
    assert world.ask("version", 9)["id"] == 9
    assert world.engine.calls == [("uid:0", "admin", "version")] * 2


def test_requests_sent_ahead_are_answered_in_their_order(world: World) -> None:
    for number in (1, 2, 3):
        world.client.send({"id": number, "operation": "version", "args": {}})
    assert [world.hear()["id"] for _ in range(3)] == [1, 2, 3]


def test_an_error_of_the_engine_arrives_typed_and_the_connection_goes_on(world: World) -> None:
    error = world.ask("run", image="x")["error"]
    assert (error["id"], error["details"]["code"]) == ("ERR_POLICY_DENIED", "MISSING_ATTESTATION")
    assert "answer" in world.ask("version")


def test_bad_arguments_are_refused_and_the_connection_goes_on(world: World) -> None:
    assert world.ask("stop", container=5)["error"]["id"] == "ERR_USAGE"
    assert "answer" in world.ask("version")
    assert world.engine.calls == [("uid:0", "admin", "version")]


def test_an_unknown_operation_is_refused_once_and_the_connection_closed(world: World) -> None:
    refusal = world.ask("format_disk", 4)
    assert (refusal["id"], refusal["error"]["id"]) == (4, "ERR_USAGE")
    assert world.hung_up()


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    (MAX_REQUEST + 1).to_bytes(4, "big"),
    frames.encode({"id": 1, "operation": "version", "principal": "uid:0"}),
    frames.encode({"id": 2**63, "operation": "version"}),
    frames.encode({"id": 0, "operation": "version"}),
    b'\x00\x00\x00\x36{"id":123456789012345678901234567890,"operation":"list"}',
    b"\x00\x00\x00\x04null",
])
def test_what_is_not_our_protocol_gets_one_typed_error_and_the_end(world: World, data: bytes) -> None:
    world.peer.send(data)
    assert world.hear()["error"]["id"] == "ERR_USAGE"
    assert world.hung_up()
    assert world.ended()
    assert world.engine.calls == []


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x00\x09{"])
def test_a_client_that_dawdles_with_its_first_request_is_let_go(tmp_path: Path, data: bytes) -> None:
    world = World(tmp_path, Patience(first=0.02, frame=0.02))
    world.peer.send(data)
    assert world.hear()["error"]["id"] == "ERR_DEADLINE"
    assert world.hung_up()
    world.close()


def test_a_client_that_is_done_is_let_go_without_a_word(tmp_path: Path) -> None:
    world = World(tmp_path, Patience(idle=0.02))
    assert "answer" in world.ask("version")
    assert world.hung_up()
    world.close()


def test_descriptors_go_both_ways(world: World, tmp_path: Path) -> None:
    (tmp_path / "p.ctp").write_bytes(b"abc")
    with open(tmp_path / "p.ctp", "rb") as package:
        world.client.send(
            {"id": 1, "operation": "verify", "args": {"image": "p.ctp", "package": True}},
            (package.fileno(),))
        assert world.hear()["answer"]["manifest"].startswith("ba7816bf")
    world.client.send({"id": 2, "operation": "attach", "args": {"container": "x"}})
    received = world.client.receive()
    assert received is not None
    assert received.message["files"] == len(received.files) == 1
    with socket.socket(fileno=received.files[0]) as attached:
        assert attached.recv(100) == b"\x02hello"


def test_descriptors_of_a_refused_request_are_closed(world: World) -> None:
    frame = frames.encode({"id": 1, "operation": "version", "args": {}})
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]))]
    world.peer.sendmsg([frame], rights)
    assert "no descriptor" in world.hear()["error"]["message"]
    # nothing_leaks looks at what is left


def test_a_client_that_leaves_cancels_what_runs_for_it(world: World) -> None:
    world.client.send({"id": 1, "operation": "wait", "args": {"container": "x"}})
    assert world.engine.waiting.acquire(timeout=20)
    world.peer.close()
    assert world.engine.cancelled.acquire(timeout=20)
    assert world.ended()


def test_a_client_that_only_stops_sending_still_gets_its_answer(world: World) -> None:
    world.client.send({"id": 1, "operation": "logs", "args": {"container": "x", "tail": 500}})
    world.peer.shutdown(socket.SHUT_WR)
    events = 0
    while "event" in (message := world.hear()):
        events += message["event"]["event"] == "log"
    assert events == 500
    assert "answer" in message
    assert world.hung_up()


def test_a_client_that_leaves_while_lines_pile_up_ends_the_operation(world: World) -> None:
    world.client.send({"id": 1, "operation": "logs", "args": {"container": "x", "tail": 1_000_000_000}})
    world.hear()
    world.peer.close()
    assert world.ended()


def test_a_bug_in_the_engine_is_one_clients_error_and_tells_no_values(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    error = world.ask("doctor")["error"]
    assert error["id"] == "ERR_GENERAL"
    assert error["message"] == "internal error during doctor: RuntimeError"
    assert "answer" in world.ask("version")


def test_an_error_whose_details_are_not_json_still_arrives(world: World) -> None:
    error = world.ask("history")["error"]
    assert (error["id"], error["message"]) == ("ERR_CONTAINER_NOT_FOUND", "no such container")


def test_an_answer_too_large_for_a_frame_becomes_an_error(world: World) -> None:
    error = world.ask("explain", txn=str(frames.MAX_FRAME))["error"]
    assert error["id"] == "ERR_USAGE"
    assert "ask for less" in error["suggestions"][0]
    assert "answer" in world.ask("version")


def test_a_member_of_the_group_cannot_administer(tmp_path: Path) -> None:
    world = World(tmp_path, caller=Caller("uid:1000", Scope.OPERATE))
    assert world.ask("trust_init", owner="me")["error"]["id"] == "ERR_POLICY_DENIED"
    assert world.ask("run", image="x", network="host")["error"]["details"]["scope"] == "admin"
    assert world.engine.calls == []
    world.close()


def test_a_stop_hangs_up_on_the_idle(world: World) -> None:
    assert "answer" in world.ask("version")
    world.connection.stop()
    assert world.hung_up()


def test_a_stop_ends_a_wait_with_an_error_not_with_an_answer_that_was_not_given(world: World) -> None:
    world.client.send({"id": 1, "operation": "wait", "args": {"container": "x"}})
    assert world.engine.waiting.acquire(timeout=20)
    world.connection.stop()
    assert world.hear()["error"]["id"] == "ERR_SERVICE_UNREACHABLE"
    assert world.hung_up()


def test_a_stop_lets_an_act_finish_and_answers_it(world: World, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    act = {"container": "x", "command": ["block", str(tmp_path / "gate")]}
    world.client.send({"id": 1, "operation": "exec", "args": act})
    assert world.engine.waiting.acquire(timeout=20)
    world.connection.stop()
    with open(tmp_path / "gate", "w"):
        pass
    assert world.hear()["answer"]["receipt"]["txn"] == RECEIPT.txn
    assert world.hung_up()
