"""Pulling from a real registry on loopback by real skopeo."""

from __future__ import annotations

import json
import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from images_world import entry, gzip_layer, image_blobs, sha256, tar_of, zstd
from registry_world import PASSWORD, USER, Registry, registry

from vordr.formats import reference
from vordr.images.layout import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_DOCUMENT,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    parse_image,
)
from vordr.images.store import ImageStore
from vordr.images.transport import pull
from vordr.model.errors import ImageNotFound, ImageUnreadable, PullFailed, RegistryDenied
from vordr.model.paths import Paths

BASE = gzip_layer(tar_of(entry("base", os.urandom(5000))))
TOP = gzip_layer(tar_of(entry("top", os.urandom(3000))))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry") / "data") as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(Paths(tmp_path, tmp_path / "run"))
    made.prepare()
    return made


def ref(served: Registry, rest: str) -> reference.Reference:
    return reference.parse(f"{served.address}/{rest}")


def index_of(*entries: tuple[str, int, str], media_type: str = OCI_INDEX, kind: str = OCI_MANIFEST) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [
                {
                    "mediaType": kind,
                    "digest": digest,
                    "size": size,
                    "platform": {"os": "linux", "architecture": architecture},
                }
                for digest, size, architecture in entries
            ],
        }
    ).encode()


def test_a_pulled_image_is_whole_in_the_store_under_its_own_digest(
    served: Registry, store: ImageStore
) -> None:
    manifest, blobs = image_blobs([BASE, TOP])
    served.push("app", "v1", manifest, blobs, OCI_MANIFEST)
    told: list[str] = []
    assert (
        pull(ref(served, "app:v1"), store, progress=lambda phase, done, total: told.append(phase)) == manifest
    )
    image = parse_image(lambda digest: store.read(digest, MAX_DOCUMENT), manifest)
    assert [layer.diff_id for layer in image.layers] == [sha256(BASE[2]), sha256(TOP[2])]
    assert set(store.digests()) == set(blobs)
    assert list((store.folder / "incoming").iterdir()) == []
    assert told[0] == "resolving" and told[-1] == "pulled" and "fetching" in told


def test_a_docker_manifest_keeps_its_digest(served: Registry, store: ImageStore) -> None:
    manifest, blobs = image_blobs([gzip_layer(BASE[2], docker=True)], docker=True)
    served.push("docker", "v1", manifest, blobs, DOCKER_MANIFEST)
    assert pull(ref(served, "docker:v1"), store) == manifest
    assert set(store.digests()) == set(blobs)


@pytest.mark.parametrize("packing", ["", "+zstd"])
def test_layers_stay_packed_as_they_are(served: Registry, store: ImageStore, packing: str) -> None:
    tar = tar_of(entry("f", os.urandom(2000)))
    manifest, blobs = image_blobs([(OCI_LAYER + packing, zstd(tar) if packing else tar, tar)])
    served.push("packed", "v1", manifest, blobs, OCI_MANIFEST)
    assert pull(ref(served, "packed:v1"), store) == manifest
    assert set(store.digests()) == set(blobs)


@pytest.mark.parametrize(("index_type", "docker"), [(OCI_INDEX, False), (DOCKER_LIST, True)])
def test_of_an_index_the_hosts_platform_is_pulled(
    served: Registry, store: ImageStore, index_type: str, docker: bool
) -> None:
    kind, name = (DOCKER_MANIFEST, "list") if docker else (OCI_MANIFEST, "index")
    layer = gzip_layer(TOP[2], docker=docker)
    mine, blobs = image_blobs([layer], docker=docker)
    other, other_blobs = image_blobs([layer], docker=docker, architecture="arm64")
    served.push(name, mine, mine, blobs, kind)
    served.push(name, other, other, other_blobs, kind)
    index = index_of(
        (other, len(other_blobs[other]), "arm64"),
        (mine, len(blobs[mine]), "amd64"),
        media_type=index_type,
        kind=kind,
    )
    served.push(name, "latest", "index", {"index": index}, index_type)
    assert pull(ref(served, name), store) == mine
    assert pull(ref(served, f"{name}@{sha256(index)}"), store) == mine
    assert set(store.digests()) == set(blobs)


def test_what_the_store_has_is_not_fetched_again(served: Registry, store: ImageStore) -> None:
    """The registry loses the base layer: another image over it can still be pulled, and the first again."""
    first, first_blobs = image_blobs([BASE])
    second, second_blobs = image_blobs([BASE, TOP], config={"Cmd": ["second"]})
    served.push("shared", "1", first, first_blobs, OCI_MANIFEST)
    served.push("shared", "2", second, second_blobs, OCI_MANIFEST)
    pull(ref(served, "shared:1"), store)
    kept = served.blob_file(sha256(BASE[1]))
    content = kept.read_bytes()
    kept.write_bytes(bytes(len(content)))
    try:
        assert pull(ref(served, "shared:2"), store) == second
        assert pull(ref(served, "shared:1"), store) == first
    finally:
        kept.write_bytes(content)
    assert store.read(sha256(BASE[1]), MAX_DOCUMENT) == BASE[1]


def test_a_registry_that_gives_other_bytes_leaves_nothing_of_them(
    served: Registry, store: ImageStore
) -> None:
    manifest, blobs = image_blobs([BASE, gzip_layer(tar_of(entry("unique", b"x")))])
    served.push("forged", "v1", manifest, blobs, OCI_MANIFEST)
    layer = json.loads(blobs[manifest])["layers"][1]["digest"]
    served.blob_file(layer).write_bytes(blobs[layer][::-1])
    with pytest.raises(ImageUnreadable):
        pull(ref(served, "forged:v1"), store)
    assert not store.has(layer) and not store.has(manifest)


def test_a_manifest_that_is_not_its_digest_is_refused(served: Registry, store: ImageStore) -> None:
    manifest, blobs = image_blobs([BASE], config={"Cmd": ["to be changed"]})
    served.push("swapped", "v1", manifest, blobs, OCI_MANIFEST)
    file = served.blob_file(manifest)
    file.write_bytes(file.read_bytes().replace(b"schemaVersion", b"schemaversion"))
    with pytest.raises((ImageUnreadable, PullFailed, ImageNotFound)):
        pull(ref(served, f"swapped@{manifest}"), store)
    assert list(store.digests()) == []


@pytest.mark.parametrize("name", ["absent", "app:absent", "app@sha256:" + "0" * 64])
def test_an_unknown_image_is_not_found(served: Registry, store: ImageStore, name: str) -> None:
    manifest, blobs = image_blobs([BASE])
    served.push("app", "v2", manifest, blobs, OCI_MANIFEST)
    with pytest.raises(ImageNotFound):
        pull(ref(served, name), store)


def test_an_image_of_another_platform_is_refused_in_clear_words(served: Registry, store: ImageStore) -> None:
    manifest, blobs = image_blobs([BASE], architecture="s390x")
    served.push("foreign", "v1", manifest, blobs, OCI_MANIFEST)
    with pytest.raises(ImageUnreadable, match="s390x"):
        pull(ref(served, "foreign:v1"), store)
    assert not store.has(manifest)


def test_an_artifact_that_is_no_image_is_refused(served: Registry, store: ImageStore) -> None:
    manifest, blobs = image_blobs([BASE])
    artifact = blobs[manifest].replace(b"application/vnd.oci.image.config.v1+json", b"application/vnd.x+json")
    served.push("artifact", "v1", sha256(artifact), {**blobs, sha256(artifact): artifact}, OCI_MANIFEST)
    with pytest.raises(ImageUnreadable, match="config.mediaType"):
        pull(ref(served, "artifact:v1"), store)


def test_a_registry_that_is_not_there_fails_the_pull(store: ImageStore) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(PullFailed, match="cannot be reached"):
            pull(reference.parse(f"{address}/app:v1"), store)


def test_access_needs_credentials_and_an_auth_file_gives_them(
    tmp_path: Path, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    manifest, blobs = image_blobs([TOP])
    with registry(tmp_path / "data", authenticated=True) as closed:
        closed.push("app", "v1", manifest, blobs, OCI_MANIFEST)
        with pytest.raises(RegistryDenied):
            pull(ref(closed, "app:v1"), store)
        auth = tmp_path / "auth.json"
        token = b64encode(f"{USER}:wrong".encode()).decode()
        auth.write_text(json.dumps({"auths": {closed.address: {"auth": token}}}))
        with pytest.raises(RegistryDenied):
            pull(ref(closed, "app:v1"), store, auth_file=auth)
        token = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        auth.write_text(json.dumps({"auths": {closed.address: {"auth": token}}}))
        assert pull(ref(closed, "app:v1"), store, auth_file=auth) == manifest


def test_bytes_are_hashed_here_too_whatever_skopeo_lets_pass(
    tmp_path: Path, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in skopeo's place that gives a valid manifest under a digest that is not its own."""
    manifest, blobs = image_blobs([BASE])
    (tmp_path / "manifest").write_bytes(blobs[manifest])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "skopeo").write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path}/manifest\n")
    (tmp_path / "bin" / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ImageUnreadable, match="other bytes for sha256:0000"):
        pull(reference.parse("localhost:1/app@sha256:" + "0" * 64), store)
