"""What a log's operator can try on those who submit to it and follow it: nothing is believed unchecked."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from log_world import KEY, KIND, NOW, SUBJECT, Operated, envelope, operated

from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import log_client
from vordr.gatekeeper.log_client import RemoteLog, remote_logs
from vordr.gatekeeper.seen import NOTHING_SEEN, Seen
from vordr.gatekeeper.trust import TrustedLog, TrustStore
from vordr.model.errors import NetworkFailed, VerificationRejected


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Operated]:
    with operated(tmp_path / "log-n") as made:
        yield made


def submit(log: Operated, number: int = 0, seen: Seen = NOTHING_SEEN, now: int = NOW) -> Any:
    return RemoteLog(log.log).submit(envelope(number), SUBJECT, KIND, now, seen)


def test_an_honest_log_is_followed_as_it_grows(log: Operated) -> None:
    known, client = NOTHING_SEEN, RemoteLog(log.log)
    for number in range(9):
        log.ticks[0] = number
        assert submit(log, number, known, NOW + number).index == number
        known = client.follow(known, NOW + number)
        assert known.log(log.log).size == number + 1
    assert client.follow(known, NOW + 9).log(log.log).size == 9


def test_the_url_may_name_the_api(log: Operated) -> None:
    for url in (log.url, log.url + "/", log.url + "/api/v1", log.url + "/api/v1/"):
        client = RemoteLog(TrustedLog("log-n", "North", KEY.public, url))
        assert client.follow(NOTHING_SEEN, NOW).log(log.log).size == 0


# -- a log that lies -------------------------------------------------------------------------------


def lying(
    log: Operated, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]
) -> None:
    """Every answer of the log, changed before it is sent."""
    for name in ("get", "post"):
        honest = getattr(log.operator, name)

        def told(*args: Any, honest: Any = honest) -> dict[str, Any]:
            answer: dict[str, Any] = honest(*args)
            change(answer)
            return answer

        monkeypatch.setattr(log.operator, name, told)


def setting(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        for name in path[:-1]:
            answer = answer[name]
        answer[path[-1]] = value(answer[path[-1]]) if callable(value) else value

    return change


def flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[0] ^= 1
    return base64.b64encode(raw).decode()


SUBMISSIONS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another signature": (setting("signedEntryTimestamp", value=flipped), "timestamp does not hold"),
    "a signature that is none": (setting("signedEntryTimestamp", value="===="), "not base64"),
    "another time": (setting("integratedTime", value="2026-02-01T12:00:00Z"), "not for what was submitted"),
    "another place": (setting("logIndex", value=7), "contradicts itself"),
    "another root": (setting("inclusionProof", "rootHash", value="0" * 64), "not for what was submitted"),
    "no proof": (setting("inclusionProof", "hashes", value=[]), "not for what was submitted"),
    "an endless proof": (setting("inclusionProof", "hashes", value=["0" * 64] * 64), "contradicts itself"),
    "another shape": (setting("integratedTime", value=0), "another shape"),
    "a tree of none": (setting("inclusionProof", "treeSize", value=0), "another shape"),
}


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_attack_on_who_submits_is_refused(
    log: Operated, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    submit(log, 9)
    change, wrong = SUBMISSIONS[name]
    lying(log, monkeypatch, change)
    with pytest.raises(VerificationRejected, match=wrong) as caught:
        submit(log)
    assert caught.value.code == "LOG_PROOF_INVALID"


def test_an_entry_of_another_statement_is_refused(log: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    other = log.put(1)
    lying(log, monkeypatch, lambda answer: answer.update(other))
    with pytest.raises(VerificationRejected, match="not for what was submitted"):
        submit(log, 0)


def test_a_clock_far_ahead_is_refused(log: Operated) -> None:
    log.ticks[0] = 3600_000_000
    with pytest.raises(VerificationRejected, match="not come yet"):
        submit(log)
    with pytest.raises(VerificationRejected, match="not come yet"):
        RemoteLog(log.log).follow(NOTHING_SEEN, NOW)


HEADS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another signature": (setting("signature", value=flipped), "not signed by its key"),
    "a larger tree": (setting("treeSize", value=9), "not signed by its key"),
    "another time": (setting("timestamp", value="2026-02-01T12:00:00Z"), "not signed by its key"),
    "another root": (setting("rootHash", value="0" * 64), "not signed by its key"),
    "another shape": (setting("treeSize", value="1"), "another shape"),
}


@pytest.mark.parametrize("name", HEADS)
def test_attack_on_who_follows_is_refused(log: Operated, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    log.put(0)
    change, wrong = HEADS[name]
    lying(log, monkeypatch, change)
    with pytest.raises(VerificationRejected, match=wrong):
        RemoteLog(log.log).follow(NOTHING_SEEN, NOW)


def test_a_head_of_another_log_of_the_same_operator_is_refused(log: Operated, tmp_path: Path) -> None:
    """One key, two names: a head says which log it is of, though its published shape does not."""
    with pytest.raises(VerificationRejected, match="not signed by its key"):
        RemoteLog(TrustedLog("log-other", "North", KEY.public, log.url)).follow(NOTHING_SEEN, NOW)


def seen_after(folder: Path, count: int) -> Seen:
    with operated(folder) as log:
        for number in range(count):
            log.put(number)
        return RemoteLog(log.log).follow(NOTHING_SEEN, NOW)


def test_a_log_set_back_to_an_older_copy_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "log-n"
    seen_after(folder, 2)
    shutil.copytree(folder, tmp_path / "older")
    known = seen_after(folder, 4)
    shutil.rmtree(folder)
    (tmp_path / "older").rename(folder)
    with operated(folder) as log:
        with pytest.raises(VerificationRejected, match="has 2 entries, it had 4 before"):
            RemoteLog(log.log).follow(known, NOW)
        with pytest.raises(VerificationRejected, match="has 3 entries, it had 4 before"):
            submit(log, 77, known)


@pytest.mark.parametrize("count, wrong", [(4, "another tree of 4 entries"), (6, "has not grown")])
def test_a_log_with_a_rewritten_history_is_refused(tmp_path: Path, count: int, wrong: str) -> None:
    known = seen_after(tmp_path / "log-n", 4)
    shutil.rmtree(tmp_path / "log-n")
    with operated(tmp_path / "log-n") as log:
        for number in range(count):
            log.put(100 + number)
        with pytest.raises(VerificationRejected, match=wrong):
            RemoteLog(log.log).follow(known, NOW)


def test_a_submission_answered_from_a_second_history_is_refused(tmp_path: Path) -> None:
    known = seen_after(tmp_path / "log-n", 4)
    shutil.rmtree(tmp_path / "log-n")
    with operated(tmp_path / "log-n") as log:
        for number in range(3):
            log.put(100 + number)
        with pytest.raises(VerificationRejected, match="another tree of 4 entries"):
            submit(log, 0, known)


# -- the wire --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "http://log.example", "http://192.0.2.1", "ftp://127.0.0.1", "file:///x", "https://", "http://[::1",
    "http://127.0.0.1:99999", "http://127.0.0.1@192.0.2.1/",
])
def test_only_tls_or_loopback_is_spoken_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **more: Any) -> Any:
        raise AssertionError("it asked")

    monkeypatch.setattr(socket, "create_connection", never)
    with pytest.raises(NetworkFailed, match="neither https nor on loopback"):
        RemoteLog(TrustedLog("log-n", "North", KEY.public, url)).follow(NOTHING_SEEN, NOW)


ANSWERS = {
    "nothing": b"",
    "no HTTP": b"hello\n",
    "an error": b'HTTP/1.0 500 No\r\n\r\n{"error":"broken"}',
    "a redirect": b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n{}",
    "no JSON": b"HTTP/1.0 200 OK\r\n\r\n<html>",
    "a member twice": b'HTTP/1.0 200 OK\r\n\r\n{"treeSize":1,"treeSize":2}',
    "too much": b"HTTP/1.0 200 OK\r\n\r\n" + b" " * ((1 << 20) + 1),
    "less than it says": b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{}",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_a_failed_network(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWERS[name])

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NetworkFailed):
            RemoteLog(TrustedLog("log-n", "North", KEY.public, url)).follow(NOTHING_SEEN, NOW)
        thread.join()


def test_an_answer_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_client, "WHOLE_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\nX: ")
                try:
                    while not gone.wait(0.01):
                        connection.sendall(b"y")
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with pytest.raises(NetworkFailed):
                RemoteLog(TrustedLog("log-n", "North", KEY.public, url)).follow(NOTHING_SEEN, NOW)
        finally:
            gone.set()
            thread.join()


def test_local_and_revoked_logs_are_not_asked() -> None:
    from vordr.gatekeeper import trust

    logs = tuple(
        TrustedLog(name, "us", PrivateKey.from_seeds(Suite.ED25519, name.encode().ljust(32)).public, url)
        for name, url in (("a", "file:///a"), ("b", "https://b.example"), ("c", "https://c.example")))
    store = trust.revoke_key(
        TrustStore("ours", NOW, (), (), logs), logs[2].public.key_id, "superseded", NOW)
    assert [one.id for one in remote_logs(store)] == ["b"]
    assert json.loads(json.dumps(store.to_document()))["logs"]["b"]["url"] == "https://b.example"
