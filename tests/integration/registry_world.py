"""Debian's docker-registry on loopback, and a pusher that puts there exactly what a test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

USER, PASSWORD = "ann", "secret"
# bcrypt of the password, 16 rounds: the registry takes nothing else.
_HTPASSWD = "ann:$2b$04$LphlTDCJ8oYaqFAgQu7fkeLyWjGv8nhhumPN3B4QIzq/.MOsJiaHK\n"


class Registry:
    """A running registry at ``address`` (host:port)."""

    def __init__(self, port: int, folder: Path, authenticated: bool) -> None:
        self.port, self.folder = port, folder
        self.address = f"127.0.0.1:{port}"
        self._headers = {}
        if authenticated:
            self._headers["Authorization"] = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def push(self, name: str, tag: str, manifest: str, blobs: Mapping[str, bytes], media_type: str) -> None:
        """Push an image's blobs, then its manifest under ``tag`` (which may be its digest)."""
        for digest, content in blobs.items():
            if digest != manifest:
                location = (
                    self._ask("POST", f"/v2/{name}/blobs/uploads/", b"", {}).getheader("Location") or ""
                )
                path = location.removeprefix(f"http://{self.address}")
                octets = {"Content-Type": "application/octet-stream"}
                self._ask("PUT", f"{path}&digest={digest}", content, octets)
        self._ask("PUT", f"/v2/{name}/manifests/{tag}", blobs[manifest], {"Content-Type": media_type})

    def blob_file(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        name = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, {**headers, **self._headers})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, (method, path, answer.status, said)
        return answer


@contextlib.contextmanager
def registry(folder: Path, *, authenticated: bool = False) -> Iterator[Registry]:
    """Start a registry that keeps its data in ``folder``; it ends with the block."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "x"},
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
    }
    if authenticated:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    # JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(config))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log
        ) as server,
    ):
        try:
            while True:
                assert server.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=10).close()
                    break
            yield Registry(port, folder, authenticated)
        finally:
            server.kill()
