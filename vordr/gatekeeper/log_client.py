"""Asking logs of others, by the spec's API: submit a statement, get a head. No answer is believed unchecked.

``https`` with verification, or ``http`` to a loopback address; no redirects, no proxies, no cookies. Every
answer is bounded in bytes and time.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from vordr.formats import base64s, canonical, merkle
from vordr.formats.digests import sha256_digest
from vordr.formats.dsse import Envelope
from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import schema
from vordr.gatekeeper.logproof import LogEntry, SignedHead, leaf_bytes
from vordr.gatekeeper.seen import Seen, Sight
from vordr.gatekeeper.trust import TrustedLog, TrustStore
from vordr.model.errors import NetworkFailed, VerificationRejected

TIMEOUT: Final = 30.0
"""Seconds for which a log may be silent."""
WHOLE_ANSWER: Final = 60.0
"""Seconds that a log has for all of an answer."""
_LARGEST_ANSWER: Final = 1 << 20
_LONGEST_PATH: Final = 63
MOST_AHEAD: Final = 60 * 1_000_000
"""µs by which a log's clock may be ahead of ours."""


def remote_logs(trust: TrustStore) -> tuple[RemoteLog, ...]:
    """The unrevoked logs of the trust store that have an address to ask: those of ``file:`` are local."""
    return tuple(RemoteLog(log) for log in trust.logs
                 if not log.url.startswith("file:") and trust.revoked(log.public.key_id) is None)


@dataclass(frozen=True)
class RemoteLog:
    """A log of the trust store's, at its ``url``. Methods raise NetworkFailed where it does not answer, and
    VerificationRejected (LOG_PROOF_INVALID) where its answer does not hold."""

    log: TrustedLog

    @property
    def id(self) -> str:
        return self.log.id

    def submit(
        self, envelope: Envelope, subject: str, predicate_type: str, now_us: int, seen: Seen
    ) -> LogEntry:
        """Have the log take in the statement in ``envelope`` on the manifest ``subject``, and prove it.

        The answer must be about this very statement, signed by the log's key, of a time that has come, and of
        no smaller tree than this host has ``seen`` of it.
        """
        wrapped = json.dumps(envelope.to_json()).encode()
        request = json.dumps({"attestation": base64s.encode(wrapped)})
        told = self._ask("POST", "/entries", {}, request.encode())
        self._shaped(schema.SUBMIT_RESPONSE, told)
        entry = self._entry(told)
        digest = sha256_digest(envelope.pae())
        leaf = merkle.leaf_hash(leaf_bytes(digest, subject, predicate_type, entry.time))
        if not entry.includes(leaf):
            self._refuse("its inclusion proof is not for what was submitted")
        if not entry.signed_by(self.log.public, leaf):
            self._refuse("its signed entry timestamp does not hold")
        if entry.time_us > now_us + MOST_AHEAD:
            self._refuse(f"its entry is of {entry.time}, which has not come yet")
        if entry.tree_size < seen.log(self.log).size:
            self._refuse(f"its tree has {entry.tree_size} entries, it had {seen.log(self.log).size} before")
        seen.check([Sight(self.log, entry.tree_size, entry.root, entry.index, leaf)])
        return entry

    def follow(self, seen: Seen, now_us: int) -> Seen:
        """``seen`` with the log's newest head, which must have grown out of what was seen of it."""
        return seen.with_head(self.log, *self.newest(seen, now_us))

    def newest(self, seen: Seen, now_us: int) -> tuple[SignedHead, Sequence[bytes]]:
        """The log's newest head, signed and not to come, and the proof that leads to it from what was seen;
        whether that holds is left to :meth:`Seen.with_head`."""
        told = self._ask("GET", "/sth", {})
        self._shaped(schema.TREE_HEAD, told)
        head = SignedHead(
            self.log.id, told["treeSize"], _hash(told["rootHash"]), told["timestamp"],
            parse_rfc3339(told["timestamp"]), self._signature(told["signature"]))
        if not head.signed_by(self.log.public):
            self._refuse("its head is not signed by its key")
        if head.time_us > now_us + MOST_AHEAD:
            self._refuse(f"its head is of {head.time}, which has not come yet")
        first = seen.log(self.log).size
        proof: Sequence[bytes] = ()
        if 0 < first < head.size:
            proof = self._consistency(first, head.size)
        return head, proof

    def _consistency(self, first: int, second: int) -> Sequence[bytes]:
        told = self._ask("GET", "/consistency", {"first": first, "second": second})
        self._shaped(schema.CONSISTENCY, told)
        if (told["first"], told["second"]) != (first, second) or len(told["hashes"]) > 2 * _LONGEST_PATH:
            self._refuse("its consistency proof is another one than was asked for")
        return [_hash(one) for one in told["hashes"]]

    def _entry(self, told: Mapping[str, Any]) -> LogEntry:
        proof = told["inclusionProof"]
        if told["logIndex"] != proof["logIndex"] or len(proof["hashes"]) > _LONGEST_PATH:
            self._refuse("its answer contradicts itself")
        return LogEntry(
            self.log.id, told["logIndex"], told["integratedTime"], parse_rfc3339(told["integratedTime"]),
            proof["treeSize"], _hash(proof["rootHash"]), tuple(map(_hash, proof["hashes"])),
            self._signature(told["signedEntryTimestamp"]))

    def _signature(self, text: str) -> bytes:
        try:
            return base64s.decode(text, "signature")
        except FormatError:
            self._refuse("its signature is not base64")

    def _shaped(self, shape: schema.Members, told: Any) -> None:
        if wrong := next(shape.faults(told, "$"), None):
            self._refuse(f"its answer has another shape: {wrong[0][:100]} {wrong[1][:200]}")

    def _refuse(self, wrong: str) -> NoReturn:
        raise VerificationRejected(
            "LOG_PROOF_INVALID", f"log {self.log.id[:100]}: {wrong}", step=6,
            remedy=f"ask {self.log.operator} what happened to the log", details={"log": self.log.id})

    # -- the wire ----------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, query: Mapping[str, int], body: bytes | None = None) -> Any:
        connection, base = self._connection()
        target = f"{base}/api/v1{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "vordr"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.connect()
            with _cut_after(WHOLE_ANSWER, connection.sock):
                connection.request(method, target, body, headers)
                answer = connection.getresponse()
                raw = answer.read(_LARGEST_ANSWER + 1)
            if answer.length and len(raw) <= _LARGEST_ANSWER:
                raise OSError("the answer ended early")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkFailed(f"log {self.log.id[:100]}: {self.log.url[:200]} does not answer: {error}",
                                remedy="try again; is its operator running?") from error
        finally:
            connection.close()
        try:
            told: Any = canonical.loads(raw, max_bytes=_LARGEST_ANSWER, where="answer")
        except FormatError as error:
            raise NetworkFailed(f"log {self.log.id[:100]}: answers {answer.status}: {error}") from error
        if answer.status != 200:
            why = told.get("error") if isinstance(told, dict) else None
            raise NetworkFailed(f"log {self.log.id[:100]}: answers {answer.status}: {str(why)[:300]}")
        return told

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        try:
            url = urllib.parse.urlsplit(self.log.url)
            host, port = url.hostname or "", url.port
        except ValueError:
            host, port, url = "", None, urllib.parse.urlsplit("")
        base = url.path.rstrip("/").removesuffix("/api/v1")
        if url.scheme == "https" and host:
            return http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT, context=ssl.create_default_context()), base
        if url.scheme == "http" and _is_loopback(host):
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT), base
        raise NetworkFailed(
            f"log {self.log.id[:100]}: {self.log.url[:200]!r} is neither https nor on loopback",
            remedy="give the log an https address in the trust store")


@contextlib.contextmanager
def _cut_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Whoever sends a byte now and then keeps nobody for longer."""
    end = threading.Timer(seconds, _cut, (connection,))
    end.daemon = True
    end.start()
    try:
        yield
    finally:
        end.cancel()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hash(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("sha256:"))
