"""The service as a process of its own, the engine in memory: signals, readiness, lock, failure."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import memory_engine
import pytest

from vordr.engine.remote import RemoteEngine
from vordr.model import arguments
from vordr.model.errors import JournalStopped, ServiceUnreachable, StateLocked, from_wire


class Service:
    """A process; ``word`` is what it said about its start."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        reading, writing = os.pipe()
        command = [sys.executable, memory_engine.__file__, "service", "--root", str(root),
                   "--ready-fd", str(writing)]
        self.process = subprocess.Popen(
            command, pass_fds=(writing,), stderr=subprocess.PIPE, env={**os.environ, **environment})
        os.close(writing)
        with open(reading, "rb") as pipe:
            self.word = pipe.read()

    def engine(self) -> RemoteEngine:
        return RemoteEngine(self.root / "vordr.sock")

    def ends(self) -> int:
        try:
            _, self.log = self.process.communicate(timeout=15)  # well below the time for acts to end
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            pytest.fail("the service does not end")
        return self.process.returncode

    def terminate(self) -> int:
        self.process.terminate()
        return self.ends()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]


@pytest.fixture
def services() -> Iterator[list[Service]]:
    started: list[Service] = []
    yield started
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


@pytest.fixture
def service(tmp_path: Path, services: list[Service]) -> Service:
    services.append(Service(tmp_path / "root"))
    assert services[0].word == b"ready\n"
    return services[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(service: Service, number: int) -> None:
    with service.engine() as engine:
        engine.call("version", arguments.NoArgs())
        service.process.send_signal(number)
        assert service.ends() == 0
    assert (service.root / "closed").exists()
    assert not (service.root / "vordr.sock").exists()
    assert [line["event"] for line in service.lines()] == ["serving", "stopped"]


def test_a_signal_waits_for_the_act_under_way_and_answers_it(service: Service, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    act = arguments.ExecArgs(container="x", command=("block", str(tmp_path / "gate")))
    with service.engine() as engine, ThreadPoolExecutor(1) as pool:
        acting = pool.submit(engine.call, "exec", act)
        with open(tmp_path / "gate", "w"):  # opens when the act is at work
            service.process.terminate()
            assert signalled(service)
        assert acting.result(30).answer.receipt.seq == 7
    assert service.ends() == 0
    (served,) = [line for line in service.lines() if line["event"] == "served"]
    assert (served["txn"], served["operation"], served["principal"]) == (
        memory_engine.RECEIPT.txn, "exec", f"uid:{os.getuid()}")


def signalled(service: Service) -> bool:
    """Wait until the service has heard the signal: from then on nobody is let in."""
    while True:
        try:
            RemoteEngine(service.root / "vordr.sock").call("version", arguments.NoArgs())
        except ServiceUnreachable:
            return True


def test_a_second_signal_waits_for_nothing(service: Service, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    act = arguments.ExecArgs(container="x", command=("block", str(tmp_path / "gate")))
    with service.engine() as engine, ThreadPoolExecutor(1) as pool:
        acting = pool.submit(engine.call, "exec", act)
        with open(tmp_path / "gate", "w"):
            service.process.terminate()
            assert signalled(service)
            assert service.terminate() == 0
        with pytest.raises(ServiceUnreachable) as caught:
            acting.result(30)
    assert "vordr history" in (caught.value.remedy or "")


def test_a_failed_journal_ends_it_at_once_with_46(service: Service) -> None:
    with service.engine() as engine, pytest.raises(JournalStopped):
        engine.call("exec", arguments.ExecArgs(container="x", command=("fail-journal",)))
    assert service.ends() == 46
    assert not (service.root / "closed").exists()


def test_a_crash_in_the_middle_of_an_act_points_to_the_history(service: Service) -> None:
    with service.engine() as engine, pytest.raises(ServiceUnreachable) as caught:
        engine.call("exec", arguments.ExecArgs(container="x", command=("crash",)))
    assert "vordr history" in (caught.value.remedy or "")
    assert service.ends() == -signal.SIGKILL


def test_after_a_crash_the_stale_socket_is_replaced(service: Service, services: list[Service]) -> None:
    service.process.kill()
    service.ends()
    assert (service.root / "vordr.sock").exists()
    services.append(Service(service.root))
    with services[-1].engine() as engine:
        assert engine.call("version", arguments.NoArgs()).answer.pid == services[-1].process.pid


def test_a_second_service_is_refused_and_the_first_goes_on(
    service: Service, services: list[Service]
) -> None:
    second = Service(service.root)
    services.append(second)
    assert isinstance(from_wire(json.loads(second.word)), StateLocked)
    assert second.ends() == StateLocked.exit_code
    with service.engine() as engine:
        assert engine.call("version", arguments.NoArgs()).answer.pid == service.process.pid


def test_what_keeps_the_engine_from_opening_is_told_and_is_the_exit_code(
    tmp_path: Path, services: list[Service]
) -> None:
    (tmp_path / "corrupt").touch()
    services.append(Service(tmp_path))
    told = from_wire(json.loads(services[0].word))
    assert (told.id, told.details, services[0].ends()) == ("ERR_STATE_CORRUPT", {"seq": 17}, 41)


def test_a_root_folder_with_a_long_path_is_served(tmp_path: Path, services: list[Service]) -> None:
    services.append(Service(tmp_path / ("l" * 120)))
    with services[0].engine() as engine:
        assert engine.call("version", arguments.NoArgs()).answer.root.endswith("l" * 120)
    assert services[0].terminate() == 0


def test_rubbish_on_many_connections_does_not_harm_the_service(service: Service) -> None:
    def throw(number: int) -> None:
        with socket.socket(socket.AF_UNIX) as rubbish:
            rubbish.connect(str(service.root / "vordr.sock"))
            try:
                rubbish.sendall(os.urandom(number * 100))
            except OSError:  # the service had heard enough
                pass

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(throw, range(200)))
    with service.engine() as engine:
        assert engine.call("version", arguments.NoArgs()).answer.pid == service.process.pid
    assert service.terminate() == 0


def test_systemd_hears_of_start_life_and_end(tmp_path: Path, services: list[Service]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        services.append(Service(
            tmp_path / "root", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000"))
        assert systemd.recv(100).startswith(b"READY=1")
        assert [systemd.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        ending = threading.Thread(target=services[0].terminate)
        ending.start()
        while (word := systemd.recv(100)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"
        ending.join()
