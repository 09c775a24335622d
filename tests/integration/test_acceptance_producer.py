"""The producer end to end: keys of every suite, several signers, and what a package says of itself."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_world import Instance, instance, make_rootfs

from vordr.gatekeeper import trust
from vordr.gatekeeper.trust import Group


@pytest.fixture
def world() -> Iterator[Instance]:
    with instance(trust=False) as made:
        yield made


def inside(package: Path, name: str) -> Any:
    with tarfile.open(package) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return json.load(file)


@pytest.mark.parametrize("suite", ["CT-SIG-02", "CT-SIG-04"])
def test_an_operator_of_another_suite_packs_adopts_verifies_and_runs(world: Instance, suite: str) -> None:
    told = world.json("trust", "init", "--owner", "Ada", "--suite", suite)
    assert {key["algorithm"] for key in told["keys"]} == {suite}
    package = world.pack()
    assert world.vordr("run", "--rm", str(package), "echo", "packed").out == "packed\n"
    world.vordr("adopt", "--name", "own", str(world.home / "rootfs"))
    assert world.vordr("run", "--rm", "own", "echo", "adopted").out == "adopted\n"
    assert world.json("verify", str(package))["decision"] == "ALLOW"
    checks = {check["name"]: check["status"] for check in world.json("doctor")["checks"]}
    assert checks["signatures"] == "pass"


def require_two(world: Instance, group: str = "release-signers") -> None:
    """As an operator does by hand: the group wants two of its members, Bob among them."""
    store = trust.load(world.paths.trust_store)
    members = tuple(key.id for key in store.keys)
    changed = trust.set_group(store, Group(group, 2, members), time.time_ns() // 1000)
    trust.save(changed, world.paths.trust_store)


def test_a_package_runs_when_the_second_of_two_has_signed_it(world: Instance) -> None:
    world.vordr("trust", "init", "--owner", "Ada")
    public = world.vordr("trust", "key", "bob.pem", "--suite", "CT-SIG-04").out
    world.vordr("trust", "add", "--owner", "Bob", "-", input=public)
    require_two(world)
    package = world.pack()
    refused = world.vordr("run", "--rm", str(package), "true", code=51)
    assert "THRESHOLD_NOT_MET" in refused.err
    proofs = [inside(package, f"signatures/logs/{at}.proof") for at in range(6)]
    world.vordr("sign", "--key", "bob.pem", str(package))
    assert [inside(package, f"signatures/logs/{at}.proof") for at in range(6)] == proofs
    assert world.vordr("run", "--rm", str(package), "echo", "two").out == "two\n"
    world.assert_sound()


def test_an_image_is_adopted_when_the_second_of_two_has_signed_the_draft(world: Instance) -> None:
    world.vordr("trust", "init", "--owner", "Ada")
    public = world.vordr("trust", "key", "bob.pem").out
    world.vordr("trust", "add", "--role", "adopters", "--owner", "Bob", "-", input=public)
    require_two(world, trust.ADOPTERS)
    rootfs = str(make_rootfs(world.home / "rootfs"))
    refused = world.vordr("adopt", "--name", "own", rootfs, code=51).err
    assert "THRESHOLD_NOT_MET" in refused
    assert f"vordr adopt --draft FILE --name own {rootfs}" in refused
    assert "own" not in world.vordr("images").out
    world.vordr("adopt", "--draft", "draft.json", "--name", "own", rootfs)
    assert "own" in world.vordr("images").out
    refused = world.vordr("adopt", "--bundle", "draft.json", "own", code=51).err
    assert "THRESHOLD_NOT_MET" in refused
    assert f"vordr sign {world.home / 'draft.json'}" in refused
    assert "MISSING_ATTESTATION" in world.vordr("run", "--rm", "own", "true", code=51).err
    world.vordr("sign", "--key", "bob.pem", "draft.json")
    world.vordr("adopt", "--bundle", "draft.json", "own")
    assert world.vordr("run", "--rm", "own", "echo", "both").out == "both\n"
    world.vordr("adopt", "--draft", "a", "--bundle", "b", "own", code=2)
    world.assert_sound()


def test_a_package_says_what_is_in_it_and_how_it_was_made(world: Instance) -> None:
    world.vordr("trust", "init", "--owner", "Ada")
    rootfs = make_rootfs(world.home / "rootfs")
    for name, content in {
        "var/lib/dpkg/status":
            "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: all\n",
        "srv/node_modules/left-pad/package.json": '{"name": "left-pad", "version": "1.3.0"}',
        "etc/os-release": "ID=debian\nVERSION_ID=12\n",
    }.items():
        (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / name).write_text(content)
    package = world.pack("hello", "--entrypoint", "/bin/sh")
    sbom = inside(package, "attestations/sbom.json")
    purls = {one["externalRefs"][0]["referenceLocator"] for one in sbom["packages"][1:]}
    assert purls == {"pkg:deb/debian/bash@5.2?arch=all&distro=debian-12", "pkg:npm/left-pad@1.3.0"}
    said = inside(package, "attestations/provenance.json")
    assert said["buildDefinition"]["externalParameters"]["sourceKind"] == "rootfs-folder"
    assert said["buildDefinition"]["externalParameters"]["entrypoint"] == ["/bin/sh"]
    assert said["buildDefinition"]["resolvedDependencies"] == [
        {"name": "rootfs-folder", "uri": rootfs.as_uri()}]
    metadata = said["runDetails"]["metadata"]
    assert metadata["startedOn"] < metadata["finishedOn"]
    assert metadata["invocationId"] in json.dumps(world.json("history"))
