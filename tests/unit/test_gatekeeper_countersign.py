"""Second signers of packages and bundle files: what changes, what does not, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from gatekeeper_host import NOW, Host, layer, make_host, make_layout

from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import trust
from vordr.gatekeeper.bundle import parse
from vordr.gatekeeper.countersign import sign_bundle, sign_package
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.pack import pack
from vordr.gatekeeper.package import CtpReader, open_ctp
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.trust import Group, TrustedKey, TrustStore
from vordr.model.errors import ImageUnreadable, UsageError, VerificationRejected

BOB, EVE = PrivateKey.from_seeds(Suite.ED25519, b"b" * 32), PrivateKey.from_seeds(Suite.ED448, b"e" * 57)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def package(host: Host, tmp_path: Path) -> Path:
    manifest = make_layout(tmp_path / "layout", (layer({"bin/sh": b"x" * 5000}), layer({"etc/x": b"y"})))
    return pack(tmp_path / "layout", manifest, tmp_path / "web.ctp", signers=[host.operator], logs=host.logs,
                source="a folder", name="web:1", now_us=NOW).path


def two_of_three(host: Host) -> TrustStore:
    """Ada, Bob and Eve may publish, two of them must."""
    store = host.trust
    for name, key in (("Bob", BOB), ("Eve", EVE)):
        store = trust.add_key(store, trust.BUILDERS, TrustedKey(key.public, (), NOW, None, name), NOW)
    ids = (host.operator.public.key_id, BOB.public.key_id, EVE.public.key_id)
    return trust.set_group(store, Group("release-signers", 2, ids), NOW)


@contextmanager
def opened(path: Path) -> Iterator[CtpReader]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield open_ctp(fd)
    finally:
        os.close(fd)


def blobs(path: Path) -> dict[str, bytes]:
    with opened(path) as reader:
        return {digest: stream.read() for digest, _, stream in reader.blobs()}


def judge(path: Path, store: TrustStore) -> tuple[str, ...]:
    with opened(path) as reader:
        reader.verify_release(store, NOW)
        return decide(reader.subject, reader.bundle, store, Policy(), NOW, 1).keys


def test_a_package_reaches_its_threshold_by_a_second_invocation(host: Host, package: Path) -> None:
    store = two_of_three(host)
    with pytest.raises(VerificationRejected) as refused:
        judge(package, store)
    assert refused.value.code == "THRESHOLD_NOT_MET"
    signed = sign_package(package, package, EVE)
    assert signed.changed and set(signed.signers) == {host.operator.public.key_id, EVE.public.key_id}
    assert len(judge(package, store)) == 2
    sign_package(package, package, BOB)
    assert len(judge(package, store)) == 3


def test_a_second_signer_changes_neither_image_nor_log_proofs_nor_views(host: Host, package: Path) -> None:
    before = blobs(package)
    with opened(package) as reader:
        bundle, label, manifest = parse(reader.bundle), reader.label, reader.manifest
    sign_package(package, package, BOB)
    assert blobs(package) == before
    with opened(package) as reader:
        after = parse(reader.bundle)
        assert (reader.label, reader.manifest) == (label, manifest)
    assert after.entries == bundle.entries
    assert [one.digest for one in after.attestations] == [one.digest for one in bundle.attestations]


def test_signing_again_writes_nothing(package: Path) -> None:
    sign_package(package, package, BOB)
    before, stamp = package.read_bytes(), package.stat()
    assert not sign_package(package, package, BOB).changed
    assert package.read_bytes() == before and package.stat().st_ino == stamp.st_ino


def test_the_newest_signer_vouches_for_the_package_itself(host: Host, package: Path) -> None:
    sign_package(package, package, BOB)
    with opened(package) as reader:
        assert reader.verify_release(two_of_three(host), NOW) == (BOB.public.key_id,)
        with pytest.raises(VerificationRejected) as refused:
            reader.verify_release(host.trust, NOW)
    assert refused.value.code == "UNKNOWN_KEY"


def test_the_first_file_stays_when_another_output_is_named_and_modes_are_kept(package: Path) -> None:
    package.chmod(0o640)
    before, other = package.read_bytes(), package.with_name("other.ctp")
    sign_package(package, other, BOB)
    assert package.read_bytes() == before
    assert other.stat().st_mode & 0o777 == 0o640


def test_a_package_that_contradicts_itself_is_not_signed_and_stays(package: Path) -> None:
    spoilt = bytearray(package.read_bytes())
    spoilt[-4096] ^= 1
    package.write_bytes(spoilt)
    with pytest.raises(ImageUnreadable):
        sign_package(package, package, BOB)
    assert package.read_bytes() == bytes(spoilt)
    assert sorted(path.name for path in package.parent.iterdir()) == ["layout", "web.ctp"]


def test_a_bundle_file_is_signed_in_place_or_beside(host: Host, package: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "bundle.json", tmp_path / "more.json"
    with opened(package) as reader:
        file.write_bytes(reader.bundle)
    assert sign_bundle(file, file, BOB).changed
    assert not sign_bundle(file, other, BOB).changed
    assert other.read_bytes() == file.read_bytes()
    ids = {one["keyid"] for one in json.loads(file.read_bytes())["attestations"][0]["signatures"]}
    assert ids == {host.operator.public.key_id, BOB.public.key_id}


def test_what_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        sign_bundle(tmp_path / "none", tmp_path / "none", BOB)
    os.mkfifo(tmp_path / "pipe")
    for act in (sign_bundle, sign_package):
        with pytest.raises(ImageUnreadable, match="not a regular file"):
            act(tmp_path / "pipe", tmp_path / "out", BOB)


def test_a_name_in_the_trust_store_makes_no_second_signer_of_one_key(host: Host, package: Path) -> None:
    store = two_of_three(host)
    again = replace(store, keys=(*store.keys, replace(store.keys[1], owner="Not Bob")))
    with pytest.raises(Exception, match="twice"):
        trust.checked(again)
    assert len(judge(_signed_thrice(package), store)) == 2


def _signed_thrice(package: Path) -> Path:
    for _ in range(3):
        sign_package(package, package, BOB)
    return package
