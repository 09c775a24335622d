"""The log operator's API: what it proves, what it refuses, how much of anybody it takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from log_world import KEY, KIND, NOW, SIGNER, SUBJECT, Operated, envelope, operated, request
from published import spec_document

from vordr.formats import base64s, merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import log_server
from vordr.gatekeeper.log_operator import LARGEST_REQUEST
from vordr.gatekeeper.logproof import LogEntry, SignedHead, leaf_bytes
from vordr.gatekeeper.translog import LocalLog

SCHEMA = spec_document("schema/transparency-log.schema.json")


def fits(name: str, value: Any) -> None:
    """``value`` is exactly the published shape: nothing less, nothing more."""
    jsonschema.Draft202012Validator(
        {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"},
        format_checker=jsonschema.FormatChecker()).validate(value)
    assert set(value) == set(SCHEMA["$defs"][name]["properties"])


def leaf_of(number: int, time: str) -> bytes:
    return merkle.leaf_hash(leaf_bytes(sha256_digest(envelope(number).pae()), SUBJECT, KIND, time))


def entry_of(told: dict[str, Any], log_id: str) -> LogEntry:
    proof = told["inclusionProof"]
    return LogEntry(
        log_id, told["logIndex"], told["integratedTime"], parse_rfc3339(told["integratedTime"]),
        proof["treeSize"], _hash(proof["rootHash"]), tuple(map(_hash, proof["hashes"])),
        base64s.decode(told["signedEntryTimestamp"], "set"))


def _hash(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("sha256:"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Operated]:
    with operated(tmp_path / "log-n") as made:
        yield made


def test_what_is_submitted_is_proved_in_the_published_shape(log: Operated) -> None:
    for number in range(5):
        told = log.put(number)
        fits("submitResponse", told)
        entry = entry_of(told, "log-n")
        leaf = leaf_of(number, entry.time)
        assert (entry.index, entry.includes(leaf), entry.signed_by(KEY.public, leaf)) == (number, True, True)


def test_proofs_of_every_entry_in_every_tree_hold(log: Operated) -> None:
    times = [log.put(number)["integratedTime"] for number in range(6)]
    roots: dict[int, bytes] = {}
    for size in range(1, 7):
        for index in range(size):
            status, told = log.ask("GET", f"/api/v1/proof?logIndex={index}&treeSize={size}")
            assert status == 200
            fits("inclusionProofResponse", told)
            root, path = _hash(told["rootHash"]), [_hash(one) for one in told["hashes"]]
            assert merkle.verify_inclusion(index, size, leaf_of(index, times[index]), path, root)
            assert roots.setdefault(size, root) == root
    assert log.ask("GET", "/api/v1/proof?logIndex=2")[1]["treeSize"] == 6
    for first in range(7):
        for second in range(max(first, 1), 7):
            status, told = log.ask("GET", f"/api/v1/consistency?first={first}&second={second}")
            assert (status, told["first"], told["second"]) == (200, first, second)
            path = [_hash(one) for one in told["hashes"]]
            before = roots[first] if first else merkle.EMPTY_ROOT
            assert merkle.verify_consistency(first, second, before, roots[second], path)


def test_the_head_is_signed_and_of_now(log: Operated) -> None:
    for size in range(3):
        log.ticks[0] = size
        status, told = log.ask("GET", "/api/v1/sth")
        assert status == 200
        fits("signedTreeHead", told)
        head = SignedHead("log-n", told["treeSize"], _hash(told["rootHash"]), told["timestamp"],
                          parse_rfc3339(told["timestamp"]), base64s.decode(told["signature"], "head"))
        assert (head.size, head.time_us, head.signed_by(KEY.public)) == (size, NOW + size, True)
        log.put(size)


def test_the_same_statement_gets_the_same_entry_whoever_signed_it(log: Operated) -> None:
    first = log.put(0)
    log.put(1)
    log.ticks[0] = 7
    bob = PrivateKey.from_seeds(Suite.ED25519, b"b" * 32)
    status, again = log.ask("POST", "/api/v1/entries", request(envelope(0, SIGNER, bob)))
    assert (status, again["logIndex"], again["integratedTime"]) == (200, 0, first["integratedTime"])
    assert again["inclusionProof"]["treeSize"] == 2
    entry = entry_of(again, "log-n")
    leaf = leaf_of(0, entry.time)
    assert entry.includes(leaf) and entry.signed_by(KEY.public, leaf)


def test_a_restarted_log_goes_on_and_knows_what_it_holds(tmp_path: Path) -> None:
    with operated(tmp_path / "log-n") as log:
        before = [log.put(number) for number in range(3)]
    with operated(tmp_path / "log-n") as log:
        assert log.ask("GET", "/api/v1/sth")[1]["treeSize"] == 3
        assert log.put(1)["integratedTime"] == before[1]["integratedTime"]
        assert log.put(3)["logIndex"] == 3


def test_entries_that_another_process_appended_are_served(log: Operated, tmp_path: Path) -> None:
    LocalLog(tmp_path / "log-n", KEY).append(
        attestation=SUBJECT, subject=SUBJECT, predicate_type=KIND, now_us=NOW)
    assert log.ask("GET", "/api/v1/sth")[1]["treeSize"] == 1
    assert log.put(0)["logIndex"] == 1


def test_many_at_once_get_an_entry_each(log: Operated) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(log.put(n)["logIndex"])) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(16))


def about(*digests: object) -> bytes:
    return request(envelope(0, subject=[{"digest": one} for one in digests]))


REFUSED: dict[str, tuple[str, str, bytes | None, int]] = {
    "nothing there": ("GET", "/", None, 404),
    "a longer path": ("GET", "/api/v1/sth/", None, 404),
    "entries by GET": ("GET", "/api/v1/entries", None, 405),
    "a head by POST": ("POST", "/api/v1/sth", b"{}", 405),
    "another method": ("DELETE", "/api/v1/entries", None, 501),
    "no such entry": ("GET", "/api/v1/proof?logIndex=0", None, 404),
    "no such tree": ("GET", "/api/v1/proof?logIndex=0&treeSize=1", None, 404),
    "no number": ("GET", "/api/v1/proof", None, 400),
    "not a number": ("GET", "/api/v1/proof?logIndex=-1", None, 400),
    "leading zero": ("GET", "/api/v1/proof?logIndex=00", None, 400),
    "foreign digits": ("GET", "/api/v1/proof?logIndex=%D9%A1", None, 400),
    "a long number": ("GET", f"/api/v1/proof?logIndex={'9' * 400}", None, 400),
    "twice": ("GET", "/api/v1/proof?logIndex=0&logIndex=1", None, 400),
    "unknown parameter": ("GET", "/api/v1/sth?at=1", None, 400),
    "many parameters": ("GET", "/api/v1/sth?" + "&".join(f"a{n}=1" for n in range(99)), None, 400),
    "trees in the wrong order": ("GET", "/api/v1/consistency?first=1&second=0", None, 404),
    "not JSON": ("POST", "/api/v1/entries", b"{", 400),
    "a member twice": ("POST", "/api/v1/entries", b'{"attestation":"e30=","attestation":"e30="}', 400),
    "deep": ("POST", "/api/v1/entries", b"[" * 100_000, 400),
    "no attestation": ("POST", "/api/v1/entries", b"{}", 400),
    "more than an attestation": ("POST", "/api/v1/entries",
                                 request(envelope(0))[:-1] + b',"more":1}', 400),
    "not base64": ("POST", "/api/v1/entries", b'{"attestation":"e30"}', 400),
    "no envelope": ("POST", "/api/v1/entries", b'{"attestation":"e30="}', 400),
    "no statement": ("POST", "/api/v1/entries", request(envelope(0, predicateType=7)), 400),
    "about nothing": ("POST", "/api/v1/entries", about(), 400),
    "about two": ("POST", "/api/v1/entries", about({"sha256": "1" * 64}, {"sha256": "2" * 64}), 400),
    "by two digests": ("POST", "/api/v1/entries", about({"sha256": "1" * 64, "sha512": "2"}), 400),
    "by another digest": ("POST", "/api/v1/entries", about({"sha512": "1" * 64}), 400),
    "by a short digest": ("POST", "/api/v1/entries", about({"sha256": "1"}), 400),
    "of no URI": ("POST", "/api/v1/entries", request(envelope(0, predicateType="x")), 400),
    "of a huge type": ("POST", "/api/v1/entries",
                       request(envelope(0, predicateType="https://" + "x" * 70_000)), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_makes_no_sense_is_refused_in_words_and_logs_nothing(log: Operated, name: str) -> None:
    method, target, body, status = REFUSED[name]
    found, told = log.ask(method, target, body)
    assert (found, list(told)) == (status, ["error"]) and told["error"]
    assert log.operator.log.size == 0


def raw(log: Operated, sent: bytes, *, half_close: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", log.port), timeout=20) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


@pytest.mark.parametrize("headers, status", [
    ("Content-Length: 2", 415),
    ("Content-Type: text/plain\r\nContent-Length: 2", 415),
    ("Content-Type: application/json", 411),
    ("Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3", 411),
    ("Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", 411),
    ("Content-Type: application/json\r\nContent-Length: -2", 400),
    (f"Content-Type: application/json\r\nContent-Length: {LARGEST_REQUEST + 1}", 413),
    ("Content-Type: application/json\r\nContent-Length: 9999", 400),
])
def test_a_body_of_unclear_length_or_type_is_refused(log: Operated, headers: str, status: int) -> None:
    sent = f"POST /api/v1/entries HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{{}}".encode()
    assert raw(log, sent, half_close=True).split()[1] == str(status).encode()


def test_endless_headers_are_refused(log: Operated) -> None:
    many = b"".join(b"X-%d: y\r\n" % at for at in range(200))
    assert b" 431 " in raw(log, b"GET /api/v1/sth HTTP/1.1\r\n" + many + b"\r\n").splitlines()[0]


def test_who_sends_nothing_is_cut_off(log: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_server._Handler, "timeout", 0.1)
    assert raw(log, b"GET /api/v1/sth HT") == b""
    assert log.put(0)["logIndex"] == 0


def test_who_drips_is_cut_off(tmp_path: Path) -> None:
    with operated(tmp_path / "log-n", seconds=0.2) as log:
        with socket.create_connection(("127.0.0.1", log.port)) as connection:
            connection.sendall(b"GET /api/v1/sth HTTP/1.1\r\nX: ")
            connection.settimeout(0.01)
            answer: bytes | None = None
            while answer is None:
                try:
                    connection.sendall(b"y")
                    answer = connection.recv(100)
                except TimeoutError:
                    continue
                except OSError:
                    answer = b""
            assert answer == b""
        assert log.put(0)["logIndex"] == 0


def test_beyond_the_bound_clients_are_told_and_the_rest_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_server, "MOST_CONNECTIONS", 2)
    with operated(tmp_path / "log-n") as log:
        idle = [socket.create_connection(("127.0.0.1", log.port)) for _ in range(2)]
        for connection in idle:
            connection.sendall(b"GET ")
        assert raw(log, b"GET /api/v1/sth HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        for connection in idle:
            connection.sendall(b"/api/v1/sth HTTP/1.1\r\n\r\n")
            assert connection.recv(12).endswith(b" 200")
            while connection.recv(65536):
                pass
            connection.close()


def test_a_damaged_log_answers_with_an_error_and_acknowledges_nothing(log: Operated, tmp_path: Path) -> None:
    log.put(0)
    with (tmp_path / "log-n" / "entries").open("r+b") as file:
        file.truncate(10)
    status, told = log.ask("POST", "/api/v1/entries", request(envelope(1)))
    assert (status, "removed" in told["error"]) == (500, True)
    assert log.ask("GET", "/api/v1/sth")[0] == 500
