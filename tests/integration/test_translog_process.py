"""``vordr translog`` as a process: what it acknowledged survives its being killed; where it serves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from log_world import KIND, SUBJECT, envelope, request
from real_world import instance

from vordr.formats.signature import PublicKey, Suite
from vordr.gatekeeper import trust
from vordr.gatekeeper.init import trust_init
from vordr.gatekeeper.log_client import RemoteLog
from vordr.gatekeeper.seen import NOTHING_SEEN
from vordr.gatekeeper.trust import TrustedLog
from vordr.model.errors import NetworkFailed
from vordr.model.paths import Paths


def vordr(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "import sys; from vordr.cli.entry import main; sys.exit(main())",
            *map(str, words)]


@contextmanager
def serving(*words: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        vordr("--json", "translog", "serve", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def remote(told: dict[str, Any]) -> RemoteLog:
    public = PublicKey.from_spki_base64(told["publicKey"], Suite.ED25519)
    return RemoteLog(TrustedLog(told["log"], "North", public, told["address"]))


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = subprocess.run(vordr("translog", "init", "--operator", "North", tmp_path / "log-n"),
                          capture_output=True, text=True, check=True)
    assert list(json.loads(made.stdout)) == ["log-n"]
    return tmp_path / "log-n"


def fill(
    client: RemoteLog, first: int, acknowledged: dict[int, int], wanted: int, enough: threading.Event
) -> None:
    """Submit until the log is gone; ``enough`` is set once ``wanted`` are acknowledged in all."""
    for number in range(first, first + 1000):
        try:
            entry = client.submit(envelope(number), SUBJECT, KIND, now_us(), NOTHING_SEEN)
        except NetworkFailed:
            return
        acknowledged[number] = entry.index
        if len(acknowledged) >= wanted:
            enough.set()


def test_a_killed_log_has_every_entry_that_it_acknowledged(folder: Path) -> None:
    acknowledged: dict[int, int] = {}
    known = NOTHING_SEEN
    for life in range(3):
        with serving("--listen", "127.0.0.1:0", folder) as (process, told):
            client = remote(told)
            known = client.follow(known, now_us())  # it has grown out of what it showed before it was killed
            for number, index in acknowledged.items():
                again = client.submit(envelope(number), SUBJECT, KIND, now_us(), known)
                assert again.index == index
            enough = threading.Event()
            threads = [
                threading.Thread(target=fill, args=(client, 1000 * (3 * life + at), acknowledged,
                                                    20 * (life + 1), enough))
                for at in range(3)]
            for thread in threads:
                thread.start()
            assert enough.wait(60)
            process.send_signal(signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join()
    assert len(set(acknowledged.values())) == len(acknowledged)
    with serving("--listen", "127.0.0.1:0", folder) as (_, told):
        known = remote(told).follow(known, now_us())
        assert next(iter(known.logs.values())).size >= len(acknowledged)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(folder: Path, number: signal.Signals) -> None:
    with serving("--listen", "127.0.0.1:0", folder) as (process, told):
        remote(told).follow(NOTHING_SEEN, now_us())
        process.send_signal(number)
        assert process.wait(20) == 0


def test_it_serves_on_a_unix_socket_for_its_owner_only(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    with socket.socket(socket.AF_UNIX) as stale:  # what a killed one left
        stale.bind(str(path))
    with serving("--socket", path, folder) as (process, told):
        assert told["address"] == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        connection = http.client.HTTPConnection("x")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request(
            "POST", "/api/v1/entries", request(envelope(0)), {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["logIndex"] == 0
        connection.close()
        refused = subprocess.run(vordr("translog", "serve", "--socket", path, folder), capture_output=True,
                                 text=True)
        assert refused.returncode == 2 and "cannot listen" in refused.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not path.exists()


def test_it_serves_a_log_of_trust_init_with_its_key(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "root", tmp_path / "run")
    store = trust_init(paths, "Ada", now_us(), host="box")
    with serving("--listen", "127.0.0.1:0", paths.logs / "box-log-a") as (_, told):
        assert told["log"] == "box-log-a"
        log = TrustedLog("box-log-a", "Ada", store.logs[0].public, told["address"])
        assert RemoteLog(log).submit(envelope(0), SUBJECT, KIND, now_us(), NOTHING_SEEN).index == 0


def test_what_is_packed_and_adopted_is_in_the_logs_of_others_too_and_not_made_where_one_does_not_answer(
    folder: Path,
) -> None:
    with instance() as world:
        with serving("--listen", "127.0.0.1:0", folder) as (_, told):
            others = remote(told).log
            trust.save(trust.add_log(trust.load(world.paths.trust_store), others, now_us()),
                       world.paths.trust_store)
            package = world.pack()
            assert RemoteLog(others).newest(NOTHING_SEEN, now_us())[0].size == 2, "provenance and SBOM"
            assert world.vordr("run", "--rm", str(package), "echo", "logged").out == "logged\n"
            world.vordr("adopt", "--name", "own", str(world.home / "rootfs"))
            assert RemoteLog(others).newest(NOTHING_SEEN, now_us())[0].size == 4
        assert world.vordr("run", "--rm", "own", "echo", "offline").out == "offline\n"
        before = len(world.json("history")["acts"])
        refused = world.vordr("pack", str(world.home / "rootfs"), "again.ctp", "--name", "again", code=20)
        assert "log-n" in refused.err and "does not answer" in refused.err
        assert not (world.home / "again.ctp").exists()
        assert not [act for act in world.json("history")["acts"][:-before or None]
                    if act["act"] == "pack" and act["status"] == "committed"]


@pytest.mark.parametrize("words, wrong", [
    (("--listen", "127.0.0.1"), "not an address"), (("--listen", "example.org:1"), "not an address"),
    (("--listen", "127.0.0.1:70000"), "not an address"),
    (("--listen", "127.0.0.1:0", "--socket", "x"), "both"),
    (("--key", "nowhere.pem"), "no such key"),
])
def test_what_makes_no_sense_is_refused(folder: Path, words: tuple[str, ...], wrong: str) -> None:
    ran = subprocess.run(
        vordr("translog", "serve", *words, folder), capture_output=True, text=True, timeout=60)
    assert ran.returncode in (2, 54) and wrong in ran.stderr


def test_a_log_is_not_made_over_another(folder: Path) -> None:
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    ran = subprocess.run(
        vordr("translog", "init", "--operator", "North", folder), capture_output=True, text=True)
    assert ran.returncode != 0 and "exists already" in ran.stderr
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before
    assert os.stat(folder / "key.pem").st_mode & 0o777 == 0o600
