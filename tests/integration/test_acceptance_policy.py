"""The policy from the command line: pulled with evidence, explained, refused, started offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from evidence_world import pem, signature
from published import published
from real_world import OBEDIENT, Instance, instance, make_rootfs
from referrers_world import tagged
from registry_world import Registry, registry

from vordr.images.layout import OCI_MANIFEST
from vordr.images.rootfs_tar import DEFAULT_CONFIG, make_layout
from vordr.model.progress import silent


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def made() -> Iterator[Instance]:
    with instance() as one:
        yield one


def _image(folder: Path) -> tuple[str, dict[str, bytes]]:
    """busybox as an image: its manifest digest and blobs."""
    rootfs = folder / "rootfs"
    make_rootfs(rootfs)
    manifest = make_layout(rootfs, folder / "layout", DEFAULT_CONFIG, silent)
    blobs = {f"sha256:{path.name}": path.read_bytes()
             for path in (folder / "layout" / "blobs" / "sha256").iterdir()}
    return manifest, blobs


def test_an_image_in_a_scope_is_pulled_explained_adopted_and_started_without_its_registry(
    served: Registry, made: Instance, tmp_path: Path
) -> None:
    manifest, blobs = _image(tmp_path)
    name = f"{served.address}/app:v1"
    served.push("app", "v1", manifest, blobs, OCI_MANIFEST)
    sig, sig_blobs = tagged([signature(manifest)])
    served.push("app", f"sha256-{manifest[7:]}.sig", "sig", {**sig_blobs, "sig": sig}, OCI_MANIFEST)
    policy = made.root / "trust" / "policy.toml"
    scope = '[[scope]]\nname = "prod"\nimages = ["127.0.0.1*"]\n[[scope.cosign]]\nkeys = [{}]\n'
    policy.write_text(scope.format(json.dumps(pem("somebody else"))))
    made.vordr("pull", name)
    refused = made.vordr("adopt", name, code=51)
    assert "scope prod, cosign[0]" in refused.err
    assert made.vordr("policy", "check", name, code=1).out.count("cosign-signature") == 1
    policy.write_text(scope.format(json.dumps(pem("cosign"))))
    made.vordr("adopt", name)
    told = made.json("policy", "check", name)
    assert (told["decision"], [one["outcome"] for one in told["demands"]]) == ("ALLOW", ["holds"])
    assert "policy: scope prod, cosign[0]" in made.vordr("verify", name).out
    served.blob_file(manifest).unlink()  # the registry has nothing to say at a start
    made.vordr("run", "-d", "--name", "web", name, "sh", "-c", OBEDIENT)
    made.vordr("restart", "web")
    policy.write_text(scope.format(json.dumps(pem("somebody else"))))
    assert "scope prod" in made.vordr("restart", "web", code=51).err
    assert made.vordr("policy", "gather", name, code=51).err
    made.assert_sound()


def test_published_policies_are_refused_with_the_members_that_refuse(made: Instance) -> None:
    content = published("svalinn/policies/transparency-first-policy.json").read_bytes()
    (made.root / "trust" / "edge.json").write_bytes(content)
    import hashlib

    (made.root / "trust" / "policy.toml").write_text(
        '[[scope]]\nname = "edge"\nimages = ["*"]\n[[scope.svalinn]]\npolicy = { file = "edge.json", '
        f'sha256 = "{hashlib.sha256(content).hexdigest()}" }}\n')
    package = made.pack()
    refused = made.vordr("run", "--rm", str(package), "true", code=51)
    assert "scope edge, svalinn[0]" in refused.err
