"""The service that the command line starts: detached, kept alive, and honest about why it did not start."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import memory_engine
import pytest

from vordr.engine.opening import client_engine, open_engine
from vordr.engine.remote import RemoteEngine
from vordr.model import arguments
from vordr.model.errors import JournalCorrupt, ServiceUnreachable, StateLocked

KEEPER = (sys.executable, memory_engine.__file__, "keeper")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root folder; whatever serves it afterwards is ended, keeper first."""
    root = tmp_path / "root"
    yield root
    try:
        with RemoteEngine(root / "vordr.sock") as engine:
            stop(engine)
    except ServiceUnreachable:
        pass


def service_pid(engine: RemoteEngine) -> int:
    pid: int = engine.call("version", arguments.NoArgs()).answer.pid
    return pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(pidfd: int) -> None:
    ready, _, _ = select.select([pidfd], [], [], 30)
    os.close(pidfd)
    assert ready, "the process does not end"


def stop(engine: RemoteEngine) -> None:
    """End the keeper, which ends its service."""
    keeper = os.pidfd_open(parent(service_pid(engine)))
    signal.pidfd_send_signal(keeper, signal.SIGTERM)
    wait_for_end(keeper)


def test_a_client_starts_a_service_where_there_is_none_and_the_next_finds_it(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as first, client_engine(root, keeper=("/bin/false",)) as second:
        assert service_pid(first) == service_pid(second) != os.getpid()
        assert second.call("version", arguments.NoArgs()).answer.root == str(root)


def test_clients_that_come_at_the_same_time_start_one_service(root: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: client_engine(root, keeper=KEEPER), range(4)))
    assert len({service_pid(engine) for engine in engines}) == 1
    for engine in engines:
        engine.close()


def test_the_service_is_nobodys_child_and_keeps_nothing_of_its_caller(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the caller")
    monkeypatch.chdir(tmp_path)
    lent = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(lent, True)
    try:
        with client_engine(root, keeper=KEEPER) as engine:
            pid = service_pid(engine)
    finally:
        os.close(lent)
    process = Path(f"/proc/{pid}")
    keeper = Path(f"/proc/{parent(pid)}")
    assert os.getsid(pid) != os.getsid(0)
    assert parent(int(keeper.name)) not in {os.getpid(), pid}
    for each in (process, keeper):
        environment = (each / "environ").read_bytes().split(b"\0")
        assert {line.partition(b"=")[0] for line in environment if line} <= {b"PATH", b"LANG", b"LC_CTYPE"}
        assert os.readlink(each / "cwd") == "/"
        held = {os.readlink(link) for link in (each / "fd").iterdir()}
        assert str(tmp_path) not in held
        assert os.readlink(each / "fd" / "0") == "/dev/null"
        assert os.readlink(each / "fd" / "2") == str(root / "service.log")
    assert (root / "service.log").stat().st_mode & 0o777 == 0o600


def test_the_service_leaves_the_cgroups_of_its_caller(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root: groups are made")
    with client_engine(root, keeper=KEEPER) as engine:
        groups = Path(f"/proc/{service_pid(engine)}/cgroup").read_text().split()
    mine = {line.split(":")[1] for line in groups if line.endswith(":/vordr/service")}
    assert mine, f"none of {groups}"


def test_a_crashed_service_is_started_again(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as engine:
        before = service_pid(engine)
        keeper = parent(before)
        with pytest.raises(ServiceUnreachable):
            engine.call("exec", arguments.ExecArgs(container="x", command=("crash",)))
        after = service_pid(await_service(root))
        assert after != before
        assert parent(after) == keeper
        assert service_pid(engine) == after
    assert any('"the service failed; starting it again"' in line
               for line in (root / "service.log").read_text().splitlines())


def test_a_service_whose_journal_failed_is_started_again(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as engine:
        before = os.pidfd_open(service_pid(engine))
        with pytest.raises(Exception, match="fsync"):
            engine.call("exec", arguments.ExecArgs(container="x", command=("fail-journal",)))
        wait_for_end(before)
        assert service_pid(await_service(root))


def await_service(root: Path) -> RemoteEngine:
    """The service of ``root`` once it is back: its log says so, and writing to the log wakes us."""
    follow = subprocess.Popen(
        ["tail", "-n", "+1", "-F", str(root / "service.log")], stdout=subprocess.PIPE, text=True)
    try:
        assert follow.stdout is not None
        starts = 0
        for line in follow.stdout:
            starts += json.loads(line)["event"] == "serving"
            if starts == 2:
                break
    finally:
        follow.kill()
        follow.communicate()
    return RemoteEngine(root / "vordr.sock")


def test_a_service_that_was_told_to_end_stays_ended_and_its_keeper_leaves(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as engine:
        service = service_pid(engine)
        keeper = os.pidfd_open(parent(service))
        os.kill(service, signal.SIGTERM)
        wait_for_end(keeper)
    assert (root / "closed").exists()


def test_the_end_of_the_keeper_is_the_end_of_its_service(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as engine:
        service = os.pidfd_open(service_pid(engine))
        stop(engine)
        wait_for_end(service)
    assert (root / "closed").exists()


def test_what_keeps_the_service_from_starting_is_the_clients_own_error(root: Path) -> None:
    root.mkdir()
    (root / "corrupt").touch()
    with pytest.raises(JournalCorrupt) as caught:
        client_engine(root, keeper=KEEPER)
    assert caught.value.details == {"seq": 17}
    assert caught.value.remedy == JournalCorrupt.default_remedy


def test_a_root_folder_that_somebody_else_holds_is_the_clients_own_error(root: Path) -> None:
    holder = memory_engine.MemoryEngine.open(root)
    with pytest.raises(StateLocked):
        client_engine(root, keeper=KEEPER)
    holder.close()


def test_a_service_that_dies_without_a_word_is_reported_with_its_log(root: Path) -> None:
    root.mkdir()
    (root / "broken").touch()
    with pytest.raises(ServiceUnreachable, match="before it was ready"):
        client_engine(root, keeper=KEEPER)
    assert "the engine cannot even say what is wrong" in (root / "service.log").read_text()


@pytest.mark.parametrize("keeper", [("/bin/false",), ("/nowhere/python",)])
def test_a_keeper_that_cannot_run_is_reported(root: Path, keeper: tuple[str, ...]) -> None:
    with pytest.raises(ServiceUnreachable):
        client_engine(root, keeper=keeper)


def test_open_engine_takes_the_service_where_one_answers(root: Path) -> None:
    with client_engine(root, keeper=KEEPER) as client, open_engine(root) as engine:
        assert isinstance(engine, RemoteEngine)
        assert service_pid(engine) == service_pid(client)


def test_the_clients_side_imports_nothing_heavy() -> None:
    code = "import sys, vordr.engine.opening, vordr.model.operations; print(*sys.modules)"
    loaded = set(subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())
    heavy = {"plyvel", "pykka", "cryptography", "structlog", "logging", "asyncio", "subprocess",
             "transitions", "in_toto", "pyroute2", "vordr.engine.local", "vordr.service", "vordr.actors"}
    assert not heavy & loaded
