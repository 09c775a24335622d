"""An OCI layout folder in which a bundle and a signature refer to an image, for whoever gathers them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from evidence_world import signature
from images_world import write_layout
from referrers_world import bundle_referrer, referrer

from vordr.engine.local import LocalEngine
from vordr.gatekeeper.adopt import attest
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.translog import local_logs
from vordr.images.layout import OCI_MANIFEST


def layout(engine: LocalEngine, folder: Path, manifest: str, blobs: Mapping[str, bytes]) -> Path:
    """Write it into ``folder``: a bundle by the operator of ``engine`` and a signature by cosign, both of the
    image with this manifest and these blobs."""
    host = engine.host
    config = blobs[json.loads(blobs[manifest])["config"]["digest"]]
    bundle = attest(
        blobs[manifest], config, name="pulled", source="a layout", now_us=host.now_us(),
        signers=[KeyRing(host.paths).load(OPERATOR, None)],
        logs=local_logs(host.paths, host.gatekeeper.trusted().store))
    write_layout(folder, manifest, blobs)
    index = json.loads((folder / "index.json").read_text())
    for made, parts in (bundle_referrer(manifest, bundle), referrer(manifest, signature(manifest))):
        for digest, content in parts.items():
            (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(content)
        named = next(digest for digest, content in parts.items() if content == made)
        index["manifests"].append({"mediaType": OCI_MANIFEST, "digest": named, "size": len(made)})
    (folder / "index.json").write_text(json.dumps(index))
    return folder
