"""Manifests that refer to an image, in the storage forms in use, and a registry that says anything."""

from __future__ import annotations

import contextlib
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from images_world import sha256

from vordr.gatekeeper.evidence import Kind, Piece
from vordr.images.layout import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from vordr.images.referrers import BUNDLE_TYPE, DSSE, SIMPLE_SIGNING

SIGSTORE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_TYPES = {Kind.SIMPLE_SIGNING: SIMPLE_SIGNING, Kind.DSSE: DSSE, Kind.SIGSTORE: SIGSTORE_TYPE}
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def layer_of(piece: Piece) -> dict[str, Any]:
    """The layer's descriptor, as cosign writes it."""
    annotations = {"dev.cosignproject.cosign/signature": b64encode(piece.signature or b"").decode(),
                   "verified": "true"}
    if piece.log is not None:
        annotations["dev.sigstore.cosign/bundle"] = piece.log.decode()
    return {"mediaType": _TYPES[piece.kind], "digest": sha256(piece.content), "size": len(piece.content),
            "annotations": annotations}


def manifest_of(layers: Sequence[Mapping[str, Any]], subject: str | None = None, kind: str = EMPTY_TYPE,
                size: int = 1) -> bytes:
    made: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG if subject is None else kind, "digest": sha256(EMPTY),
                   "size": len(EMPTY)},
        "layers": list(layers)}
    if subject is not None:
        made["artifactType"] = kind
        made["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": size}
    return json.dumps(made).encode()


def referrer(subject: str, piece: Piece) -> tuple[bytes, dict[str, bytes]]:
    """A manifest with a subject (OCI 1.1) and its blobs."""
    made = manifest_of([layer_of(piece)], subject, _TYPES[piece.kind])
    return made, {sha256(made): made, sha256(EMPTY): EMPTY, sha256(piece.content): piece.content}


def bundle_referrer(subject: str, bundle: bytes) -> tuple[bytes, dict[str, bytes]]:
    layer = {"mediaType": BUNDLE_TYPE, "digest": sha256(bundle), "size": len(bundle)}
    made = manifest_of([layer], subject, BUNDLE_TYPE)
    return made, {sha256(made): made, sha256(EMPTY): EMPTY, sha256(bundle): bundle}


def tagged(pieces: Sequence[Piece]) -> tuple[bytes, dict[str, bytes]]:
    """What cosign puts under ``sha256-<hex>.sig`` and ``.att``: one manifest, a layer for each."""
    made = manifest_of([layer_of(piece) for piece in pieces])
    blobs = {sha256(piece.content): piece.content for piece in pieces}
    return made, {sha256(made): made, sha256(EMPTY): EMPTY, **blobs}


def index_of(*manifests: bytes, kind: str = OCI_MANIFEST, **more: Any) -> bytes:
    return json.dumps({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": kind, "digest": sha256(one), "size": len(one)} for one in manifests],
        **more}).encode()


class Asked(list[tuple[str, str | None]]):
    """The requests that came: path and credentials."""


Answer = tuple[int, Mapping[str, str], bytes]
Answering = Callable[[str, str | None], Answer | None]


@contextlib.contextmanager
def saying(answer: Answering) -> Iterator[tuple[str, Asked]]:
    """A server on loopback that answers as it is told; None is 404. Its ``host:port`` and what was asked."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            credentials = self.headers.get("Authorization")
            asked.append((self.path, credentials))
            status, headers, body = answer(self.path, credentials) or (404, {}, b"")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
