"""An operator's host in a temporary folder, made by the production code, and an image layout to pack."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vordr.formats.signature import PrivateKey
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper.init import trust_init
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.translog import LocalLog, local_logs
from vordr.gatekeeper.trust import TrustStore
from vordr.model.paths import Paths

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class Host:
    paths: Paths
    trust: TrustStore
    operator: PrivateKey
    logs: tuple[LocalLog, ...]


def make_host(folder: Path) -> Host:
    paths = Paths(folder / "root", folder / "run")
    store = trust_init(paths, "Ada", NOW, host="box")
    return Host(paths, store, KeyRing(paths).load(OPERATOR), local_logs(paths, store))


def layer(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed layer tar with these regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def make_layout(folder: Path, layers: Sequence[bytes]) -> str:
    """Write an OCI image layout with these layer tars, gzipped; returns the manifest's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    diff_ids = ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(gzip.compress(one, mtime=0), GZIP) for one in layers],
    }
    return str(put(json.dumps(manifest).encode(), kind)["digest"])
