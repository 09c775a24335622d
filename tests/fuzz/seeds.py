"""What the fuzzer starts from: small real artefacts, made by the production code, and published vectors."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import images_world
from gatekeeper_world import LOGGED, LOGS, SUBJECT, World, key, raw
from published import published, published_spec

from vordr.formats import canonical
from vordr.formats.digests import sha256_digest, sha256_hex
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import trust
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.label import Label
from vordr.gatekeeper.package import write_ctp
from vordr.gatekeeper.statements import ADOPT_BUILD, PROVENANCE, SPDX
from vordr.gatekeeper.subject import Blob, subject_of
from vordr.gatekeeper.trust import TrustedKey, TrustStore

_TAR = "application/vnd.oci.image.layer.v1.tar"


def _all_of(folder: Path) -> Iterator[bytes]:
    """The published JSON documents in a folder."""
    found = sorted(folder.glob("*.json"))
    assert found, f"{folder} has no documents"
    yield from (one.read_bytes() for one in found)


def _vectors(kind: str) -> Iterator[bytes]:
    for which in ("valid", "invalid"):
        yield from _all_of(published_spec(f"vectors/{which}/{kind}"))


# -- bundles and trust stores ----------------------------------------------------------------------

BUNDLE_WORLDS = (
    World(), World(signers=("alice", "bob")), World(build_type=ADOPT_BUILD, signers=("olga",)))
BUNDLES = tuple(raw(world.document()) for world in BUNDLE_WORLDS)
TRUST = World().trust()


def bundles() -> Iterator[bytes]:
    yield from BUNDLES
    yield raw(World().document(logs=LOGS[:2]))
    yield from _vectors("attestation-bundle")


def _every_suite() -> TrustStore:
    """A store with a key of each suite that this host has, a revocation, a withdrawal and an end."""
    store, seed = TRUST, b"s" * 32
    for suite, seeds in ((Suite.ED448, (b"s" * 57,)), (Suite.ED25519_ML_DSA_87, (seed, seed))):
        if suite.available:
            public = PrivateKey.from_seeds(suite, *seeds).public
            store = trust.add_key(store, trust.BUILDERS, TrustedKey(public, (trust.BUILDERS,), 0), LOGGED)
    store = trust.revoke_key(store, key("carl").public.key_id, "key_compromise", LOGGED)
    return trust.withdraw(store, SUBJECT.manifest, "superseded", LOGGED)


def trust_stores() -> Iterator[bytes]:
    yield canonical.dumps(TRUST.to_document())
    yield canonical.dumps(_every_suite().to_document())
    yield from _vectors("trust-store")


def documents() -> Iterator[bytes]:
    """JSON of every kind, and what is hard to write canonically."""
    yield from bundles()
    yield canonical.dumps(TRUST.to_document())
    yield b'{"\\ud83d\\ude00":[1e21,1E-7,-0.0,5e-324,9007199254740991],"\xe2\x82\xac":"\\u000f\\r<","a":[]}'
    yield b'{"a":1,"b":{"c":1,"\\u0063":2}}'
    yield b'[true,false,null,"",{},[[[]]],12345678901234567890,"\\u2028\\"\\\\/"]'


# -- policies --------------------------------------------------------------------------------------

EDGE = b'{"version":"1.0","name":"edge","registries":{"allow":["docker.io"]},"network":{"allowEgress":true}}'
PINNED = {"edge.json": EDGE, "root.json": b"{}"}
_PEM = key("alice").public.to_pem()
_POLICY = f"""
require = "published"
distinct_log_operators = 2
allow_host_network = false
verdict_ttl = 600

[[scope]]
name = "production"
images = ["registry.example.org/prod/*", "*"]
require = "any"
max_attestation_age_days = 30
signers = ["{key("alice").public.key_id}"]

[[scope.cosign]]
keys = ['''{_PEM}''']
threshold = 1
annotations = {{ team = "blue" }}

[[scope.sigstore]]
trusted_root = {{ file = "root.json", sha256 = "{sha256_hex(PINNED["root.json"])}" }}
identity = "https://example.org/release.yml"
issuer = "https://token.example.org"

[[scope.in_toto]]
layout = {{ file = "root.json", sha256 = "{sha256_hex(PINNED["root.json"])}" }}
keys = ['''{_PEM}''']

[[scope.svalinn]]
policy = {{ file = "edge.json", sha256 = "{sha256_hex(EDGE)}" }}
waive = ["registries.allow"]
"""


def toml_policies() -> Iterator[bytes]:
    yield _POLICY.encode()
    yield b'require = "any"\n'
    yield b"x = [1, 2.5, 1979-05-27T07:32:00Z, 0xff, {a.b = 'c'}]\n[[t.\"u v\"]]\n"
    yield b'y = """\\u00e9\\\n  z"""\nw = \'\'\'\'\'\'\n'


def json_policies() -> Iterator[bytes]:
    yield EDGE
    yield from _all_of(published("svalinn/policies"))
    yield canonical.dumps({"version": 1, "requiredPredicates": [PROVENANCE, SPDX], "logQuorum": 2,
                           "allowedSigners": [key("alice").public.key_id]})


# -- packages --------------------------------------------------------------------------------------


def package() -> bytes:
    """A sound .ctp of an image with two layers, signed by Alice."""
    layers = [b"layer " * 100, b"another"]
    config = canonical.dumps(
        {"rootfs": {"type": "layers", "diff_ids": [sha256_digest(b"diff"), sha256_digest(b"diff 2")]}})
    blobs = [Blob(sha256_digest(one), len(one), _TAR) for one in layers]
    manifest = canonical.dumps({
        "schemaVersion": 2,
        "config": {"mediaType": "application/json", "digest": sha256_digest(config), "size": len(config)},
        "layers": [{"mediaType": _TAR, "digest": one.digest, "size": one.size} for one in blobs]})
    world, subject = World(), subject_of(manifest, config)
    said = [world.statement(kind, subject) for kind in (PROVENANCE, SPDX)]
    bundle = raw(world.document(said, logs=LOGS[:2]))
    out = io.BytesIO()
    streams = (CheckedStream(io.BytesIO(one), blob.digest, blob.size, "layer")
               for blob, one in zip(blobs, layers, strict=True))
    write_ctp(out, label=Label("web", subject.manifest, LOGGED, "vordr"), bundle=bundle, manifest=manifest,
              config=config, layers=zip(blobs, streams, strict=True), signers=[key("alice")])
    return out.getvalue()


PACKAGE = package()


def packages() -> Iterator[bytes]:
    yield PACKAGE


# -- layers ----------------------------------------------------------------------------------------


def layer_tars() -> Iterator[bytes]:
    """Tars of every dialect and kind of member, plain and packed. The first byte says how it is packed."""
    entry, tar_of = images_world.entry, images_world.tar_of
    link, symlink, folder = images_world.LINK, images_world.SYMLINK, images_world.FOLDER
    members = (
        entry("etc/", type=folder, mode=0o755), entry("etc/passwd", b"root\n" * 9, uid=5, mode=0o4755),
        entry("bin", type=symlink, linkname="usr/bin"), entry("etc/shadow", type=link, linkname="etc/passwd"),
        entry("pipe", type=tarfile.FIFOTYPE), entry("etc/.wh.gone"), entry("d/.wh..wh..opq"),
        entry("x" * 120, b"y", pax_headers={"SCHILY.xattr.user.a": "b", "mtime": "1.5"}))
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        some = members[:-1] if form == tarfile.USTAR_FORMAT else members
        padded = tar_of(*some, format=form).rstrip(b"\0")
        whole = padded + bytes(-len(padded) % 512 + 1024)
        yield b"\0" + whole
    yield b"\1" + gzip.compress(whole, mtime=0)
    yield b"\2" + images_world.zstd(whole)
