"""A log operator in this process, on a loopback port, and what is asked of it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vordr.formats import base64s
from vordr.formats.dsse import Envelope
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper.attest import sign
from vordr.gatekeeper.log_operator import LogOperator
from vordr.gatekeeper.log_server import LogServer, bound
from vordr.gatekeeper.translog import LocalLog
from vordr.gatekeeper.trust import TrustedLog

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
KEY = PrivateKey.from_seeds(Suite.ED25519, b"l" * 32)
SIGNER = PrivateKey.from_seeds(Suite.ED25519, b"s" * 32)
SUBJECT = "sha256:" + "1" * 64
KIND = "https://spdx.dev/Document"


def statement(number: int, **more: Any) -> dict[str, Any]:
    return {"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": "1" * 64}}],
            "predicateType": KIND, "predicate": {"number": number}, **more}


def envelope(number: int, *signers: PrivateKey, **more: Any) -> Envelope:
    return sign(json.dumps(statement(number, **more)).encode(), signers or (SIGNER,))


def request(one: Envelope) -> bytes:
    return json.dumps({"attestation": base64s.encode(json.dumps(one.to_json()).encode())}).encode()


@dataclass
class Operated:
    """A running log; ``ticks`` is added to its clock."""

    operator: LogOperator
    url: str
    ticks: list[int] = field(default_factory=lambda: [0])

    @property
    def log(self) -> TrustedLog:
        return TrustedLog(self.operator.log.id, "North", KEY.public, self.url)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, target, body, kind if headers is None else dict(headers))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def put(self, number: int) -> dict[str, Any]:
        status, told = self.ask("POST", "/api/v1/entries", request(envelope(number)))
        assert status == 200, told
        assert isinstance(told, dict)
        return told


@contextmanager
def operated(folder: Path, seconds: float = 60.0) -> Iterator[Operated]:
    """The log in ``folder``, made if it is not there, served until the end of the block."""
    log = LocalLog.open(folder, KEY) if folder.exists() else LocalLog.create(folder, KEY)
    ticks = [0]
    with bound("127.0.0.1:0", None) as (listener, url):
        server = LogServer(listener, LogOperator(log, lambda: NOW + ticks[0]), seconds)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Operated(server.operator, url, ticks)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
