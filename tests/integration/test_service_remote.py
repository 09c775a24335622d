"""The remote engine against a server in this process, over a real socket."""

from __future__ import annotations

import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from memory_engine import MemoryEngine

from vordr.engine.channel import Channel, dial, listen
from vordr.engine.remote import RemoteEngine
from vordr.formats import frames
from vordr.model import arguments
from vordr.model.errors import (
    InboxFull,
    NotPrivileged,
    PolicyDenied,
    ServiceUnreachable,
    UsageError,
    VerificationRejected,
    VordrError,
    from_wire,
)
from vordr.service.accepting import Server
from vordr.service.connection import MAX_REQUEST

GROUP = 4242
NOBODY = 65534


class Served:
    """A server on ``root`` in a thread."""

    def __init__(self, root: Path, limit: int = 256, reserved: int = 16) -> None:
        self.engine = MemoryEngine(root)
        self.path = root / "vordr.sock"
        self.server = Server(self.engine, listen(self.path, group=GROUP), group=GROUP, limit=limit,
                             reserved=reserved, drain=5)
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.server.run()), daemon=True)
        self.thread.start()

    def stop(self) -> int:
        if self.thread.is_alive():
            self.server.stop()
            self.thread.join(20)
        assert not self.thread.is_alive()
        if self.codes:
            self.server.close()
        return self.codes.pop()


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="vordr-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture
def served(root: Path) -> Iterator[Served]:
    before = len(os.listdir("/proc/self/fd"))
    served = Served(root)
    yield served
    if served.thread.is_alive():
        assert served.stop() == 0
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors were leaked"


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteEngine]:
    with RemoteEngine(served.path) as engine:
        yield engine


def test_an_answer_is_typed(remote: RemoteEngine, served: Served) -> None:
    answer = remote.call("version", arguments.NoArgs()).answer
    assert (answer.pid, answer.root) == (os.getpid(), str(served.engine.root))


def test_errors_come_back_as_what_they_were(remote: RemoteEngine) -> None:
    with pytest.raises(VerificationRejected) as caught:
        remote.call("run", arguments.RunArgs(image="x"))
    assert (caught.value.code, caught.value.step, caught.value.exit_code) == ("MISSING_ATTESTATION", 2, 51)
    assert caught.value.details == {"code": "MISSING_ATTESTATION", "step": 2, "image": "x"}


def test_a_package_travels_as_a_descriptor(remote: RemoteEngine, tmp_path: Path) -> None:
    (tmp_path / "x.ctp").write_bytes(b"abc")
    assert remote.verify(str(tmp_path / "x.ctp")).manifest == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_descriptors_of_the_answer_belong_to_the_caller(remote: RemoteEngine) -> None:
    reply = remote.call("attach", arguments.AttachArgs(container="x"))
    with socket.socket(fileno=reply.files[0]) as attached:
        assert attached.recv(100) == b"\x02hello"


def test_events_arrive_in_order_and_before_the_answer(remote: RemoteEngine) -> None:
    times: list[int] = []
    remote.call("logs", arguments.LogsArgs(container="x", tail=200),
                on_event=lambda event: times.append(event["time"]) if event["event"] == "log" else None)
    assert times == list(range(200))


def test_an_exception_of_the_listener_cancels_the_operation(remote: RemoteEngine, served: Served) -> None:
    class Enough(Exception):
        pass

    def listener(event: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        remote.call("logs", arguments.LogsArgs(container="x", tail=1, follow=True), on_event=listener)
    assert served.engine.cancelled.acquire(timeout=20)


def test_many_threads_share_one_engine(remote: RemoteEngine) -> None:
    def ask(number: int) -> int:
        return len(remote.call("explain", arguments.ExplainArgs(txn=str(number))).answer.text)

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))


def test_a_waiting_call_does_not_hold_up_others(remote: RemoteEngine, served: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(remote.call, "wait", arguments.WaitArgs(container="x"))
        assert served.engine.waiting.acquire(timeout=20)
        assert remote.call("version", arguments.NoArgs()).answer.pid == os.getpid()
        remote.close()
        with pytest.raises(ServiceUnreachable):
            waiting.result(20)
    assert served.engine.cancelled.acquire(timeout=20)


def test_calls_in_sequence_use_one_connection(remote: RemoteEngine, served: Served) -> None:
    for _ in range(5):
        remote.call("version", arguments.NoArgs())
    assert len(served.server._open()) == 1


def test_a_request_too_large_is_refused_with_the_services_own_words(remote: RemoteEngine) -> None:
    with pytest.raises(UsageError, match="at most"):
        remote.call("explain", arguments.ExplainArgs(txn="x" * 8 * MAX_REQUEST))
    assert remote.call("version", arguments.NoArgs()).answer.pid == os.getpid()


def test_a_request_beyond_any_frame_is_refused_here(remote: RemoteEngine) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        remote.call("explain", arguments.ExplainArgs(txn="x" * frames.MAX_FRAME))


def test_a_service_that_came_back_is_used_again(root: Path) -> None:
    first = Served(root)
    with RemoteEngine(first.path) as remote:
        remote.call("version", arguments.NoArgs())
        assert first.stop() == 0
        with pytest.raises(ServiceUnreachable):
            remote.call("version", arguments.NoArgs())
        second = Served(root)
        remote.call("version", arguments.NoArgs())
    assert second.stop() == 0


def test_a_connection_closed_between_two_calls_is_replaced_without_a_word(root: Path) -> None:
    """As when the service lets an idle connection go at the very moment it is used again."""
    answer = {"version": "0", "pid": 1, "root": "/", "containers": 0, "started": 0}

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            listening.setblocking(True)
            connected, _ = listening.accept()
            channel = Channel(connected)
            channel.receive()
            channel.shutdown(socket.SHUT_RD)  # what comes next cannot be heard, and looks well until sent
            channel.send({"id": 1, "answer": answer, "files": 0})
            kept.append(channel)

    kept: list[Channel] = []
    with listen(root / "vordr.sock", group=None) as listening:
        serving = threading.Thread(target=serve, args=(listening,), daemon=True)
        serving.start()
        with RemoteEngine(root / "vordr.sock") as remote:
            for _ in range(2):
                assert remote.call("version", arguments.NoArgs()).answer.pid == 1
        serving.join(20)
    assert len(kept) == 2
    for channel in kept:
        channel.close()


def test_a_stop_in_the_middle_of_a_wait_says_so(root: Path) -> None:
    served = Served(root)
    with RemoteEngine(served.path) as remote, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(remote.call, "wait", arguments.WaitArgs(container="x"))
        assert served.engine.waiting.acquire(timeout=20)
        assert served.stop() == 0
        with pytest.raises(ServiceUnreachable, match="stopped during wait"):
            waiting.result(20)


def test_beyond_the_bound_clients_are_told_and_administrators_still_come_in(root: Path) -> None:
    served = Served(root, limit=4, reserved=1)
    crowd = [dial(served.path) for _ in range(3)]
    for channel in crowd:
        channel.send({"id": 1, "operation": "version", "args": {}})
        assert channel.receive() is not None
    assert isinstance(as_user(served.path, "list"), InboxFull)
    with RemoteEngine(served.path) as remote:
        remote.call("version", arguments.NoArgs())
        with RemoteEngine(served.path) as another, pytest.raises(InboxFull):
            another.call("version", arguments.NoArgs())
    for channel in crowd:
        channel.close()
    assert served.stop() == 0


def test_a_failed_engine_ends_the_server_with_its_exit_code(root: Path) -> None:
    served = Served(root)
    with RemoteEngine(served.path) as remote, pytest.raises(VordrError) as caught:
        remote.call("exec", arguments.ExecArgs(container="x", command=("fail-journal",)))
    assert caught.value.exit_code == 46
    served.thread.join(20)
    assert served.stop() == 46


# -- other users -----------------------------------------------------------------------------------


def as_user(path: Path, operation: str, args: arguments.Args | None = None, *,
            groups: tuple[int, ...] = (GROUP,)) -> VordrError | str:
    """What an unprivileged user gets: the error, or the kind of answer. In a child of ours."""
    def attempt() -> VordrError | str:
        os.setgroups(groups)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            answer = RemoteEngine(path).call(operation, args or arguments.ListArgs()).answer
        except VordrError as error:
            return error
        return type(answer).__name__

    return in_child(attempt)


def in_child(work: Callable[[], VordrError | str]) -> VordrError | str:
    if os.geteuid() != 0:
        pytest.fail("needs root: other users are tried out")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = work()
            told = outcome if isinstance(outcome, str) else outcome.to_wire()
            os.write(writing, pickle.dumps(told))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    return told if isinstance(told, str) else from_wire(told)


def test_a_member_of_the_group_operates_under_its_own_name(served: Served) -> None:
    assert isinstance(as_user(served.path, "run", arguments.RunArgs(image="x")), VerificationRejected)
    assert served.engine.calls == [(f"uid:{NOBODY}", "operate", "run")]


def test_a_member_of_the_group_cannot_change_trust(served: Served) -> None:
    refusal = as_user(served.path, "trust_init", arguments.TrustInitArgs(owner="me"))
    assert isinstance(refusal, PolicyDenied)
    assert served.engine.calls == []


def test_whoever_is_not_in_the_group_cannot_connect(served: Served) -> None:
    assert isinstance(as_user(served.path, "version", groups=()), NotPrivileged)
    assert served.engine.calls == []


def test_whoever_gets_through_a_socket_that_was_opened_wide_is_turned_away(served: Served) -> None:
    served.path.chmod(0o666)
    refusal = as_user(served.path, "version", arguments.NoArgs(), groups=())
    assert isinstance(refusal, PolicyDenied)
    assert served.engine.calls == []
