"""Manifests, indexes and configurations: read strictly, and refused with the place that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from images_world import entry, gzip_layer, image_blobs, sha256, tar_of

from vordr.images.layout import (
    DOCKER_LIST,
    MAX_LAYERS,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageContents,
    find_manifest,
    is_index,
    parse_config,
    parse_image,
)
from vordr.model.errors import ImageUnreadable

LAYER = gzip_layer(tar_of(entry("a")))


def parsed(manifest: str, blobs: dict[str, bytes]) -> ImageContents:
    return parse_image(lambda digest: blobs[digest], manifest, architecture="amd64")


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_of_either_dialect_is_read(docker: bool) -> None:
    layer = gzip_layer(LAYER[2], docker=docker)
    config = {
        "Entrypoint": ["/bin/a"],
        "Cmd": ["b"],
        "Env": ["A=", "B=c=d"],
        "WorkingDir": "/w",
        "User": "1:2",
        "StopSignal": "SIGINT",
        "Labels": {"x": "y"},
        "Volumes": {"/v": {}},
    }
    manifest, blobs = image_blobs([layer, layer], docker=docker, config=config)
    image = parsed(manifest, blobs)
    assert image.manifest == manifest and image.manifest_bytes == blobs[manifest]
    assert [(one.diff_id, one.blob, one.size) for one in image.layers] == [
        (sha256(layer[2]), sha256(layer[1]), len(layer[1]))
    ] * 2
    assert image.blobs == ((sha256(layer[1]), len(layer[1])),)
    run = image.config
    assert (run.entrypoint, run.command, run.environment) == (("/bin/a",), ("b",), ("A=", "B=c=d"))
    assert (run.workdir, run.user, run.stop_signal, run.labels) == ("/w", "1:2", "SIGINT", {"x": "y"})


def test_a_config_may_leave_out_what_is_optional() -> None:
    for config in (None, {}, {"Env": None, "Cmd": None, "WorkingDir": "", "Labels": None}):
        run = parsed(*image_blobs([LAYER], config=config)).config
        assert (run.entrypoint, run.command, run.environment, run.workdir, run.user) == ((), (), (), "/", "")


Change = Callable[[dict[str, Any]], Any]
MANIFESTS: dict[str, tuple[Change, str]] = {
    "schema 1": (lambda m: m.update(schemaVersion=1), "schemaVersion"),
    "schema version as text": (lambda m: m.update(schemaVersion="2"), "schemaVersion"),
    "also an index": (lambda m: m.update(manifests=[]), "index"),
    "media type of an index": (lambda m: m.update(mediaType=OCI_INDEX), "mediaType"),
    "no config": (lambda m: m.pop("config"), "config"),
    "artifact config": (
        lambda m: m["config"].update(mediaType="application/vnd.oci.empty.v1+json"),
        "config.mediaType",
    ),
    "no layers": (lambda m: m.pop("layers"), "layers"),
    "layers no list": (lambda m: m.update(layers={}), "layers"),
    "too many layers": (lambda m: m.update(layers=m["layers"] * (MAX_LAYERS + 1)), "at most 128"),
    "fewer layers than diffIDs": (lambda m: m.update(layers=[]), "diff_ids"),
    "foreign layer": (
        lambda m: m["layers"][0].update(
            mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        ),
        r"layers\[0\].mediaType",
    ),
    "sha512": (lambda m: m["layers"][0].update(digest="sha512:" + "0" * 128), r"layers\[0\].digest"),
    "digest in capitals": (lambda m: m["layers"][0].update(digest="sha256:" + "A" * 64), "digest"),
    "digest as a path": (lambda m: m["layers"][0].update(digest="sha256:../../../etc/passwd"), "digest"),
    "digest missing": (lambda m: m["layers"][0].pop("digest"), "digest"),
    "negative size": (lambda m: m["layers"][0].update(size=-1), r"layers\[0\].size"),
    "size true": (lambda m: m["layers"][0].update(size=True), "size"),
    "size as a fraction": (lambda m: m["layers"][0].update(size=1.5), "size"),
    "config of another size": (lambda m: m["config"].update(size=m["config"]["size"] + 1), "descriptor says"),
    "layer no object": (lambda m: m.update(layers=["x"]), r"layers\[0\]"),
}


@pytest.mark.parametrize(("change", "place"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_that_breaks_a_rule_is_refused_naming_the_place(change: Change, place: str) -> None:
    manifest, blobs = image_blobs([LAYER])
    document = json.loads(blobs[manifest])
    change(document)
    raw = json.dumps(document).encode()
    with pytest.raises(ImageUnreadable, match=place):
        parsed(sha256(raw), {**blobs, sha256(raw): raw})


CONFIGS: dict[str, tuple[Change, str]] = {
    "windows": (lambda c: c.update(os="windows"), "config.os.*windows"),
    "no os": (lambda c: c.pop("os"), "config.os"),
    "another architecture": (lambda c: c.update(architecture="arm64"), "arm64.*amd64"),
    "no rootfs": (lambda c: c.pop("rootfs"), "rootfs"),
    "rootfs of another type": (lambda c: c["rootfs"].update(type="zfs"), "rootfs.type"),
    "diffID no digest": (lambda c: c["rootfs"].update(diff_ids=["x"]), r"diff_ids\[0\]"),
    "config no object": (lambda c: c.update(config=[]), "config.config"),
    "environment without =": (lambda c: c["config"].update(Env=["A"]), "Env"),
    "environment without name": (lambda c: c["config"].update(Env=["=x"]), "Env"),
    "NUL in the environment": (lambda c: c["config"].update(Env=["A=\0"]), "Env"),
    "command no list": (lambda c: c["config"].update(Cmd="sh -c x"), "Cmd"),
    "NUL in the command": (lambda c: c["config"].update(Cmd=["a\0"]), "Cmd"),
    "entrypoint of numbers": (lambda c: c["config"].update(Entrypoint=[1]), "Entrypoint"),
    "relative working folder": (lambda c: c["config"].update(WorkingDir="x"), "WorkingDir"),
    "user no string": (lambda c: c["config"].update(User=0), "User"),
    "labels no strings": (lambda c: c["config"].update(Labels={"a": 1}), "Labels"),
}


@pytest.mark.parametrize(("change", "place"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_breaks_a_rule_is_refused_naming_the_place(change: Change, place: str) -> None:
    manifest, blobs = image_blobs([LAYER])
    document = json.loads(blobs[json.loads(blobs[manifest])["config"]["digest"]])
    change(document)
    with pytest.raises(ImageUnreadable, match=place):
        parse_config(json.dumps(document).encode(), "amd64")


def test_bytes_other_than_the_digest_says_are_refused() -> None:
    manifest, blobs = image_blobs([LAYER])
    with pytest.raises(ImageUnreadable, match="other bytes"):
        parsed(manifest, {**blobs, manifest: blobs[manifest] + b" "})


def test_duplicate_keys_are_refused() -> None:
    manifest, blobs = image_blobs([LAYER])
    raw = blobs[manifest].replace(b'{"schemaVersion"', b'{"schemaVersion": 2, "schemaVersion"', 1)
    with pytest.raises(ImageUnreadable, match="duplicate"):
        parsed(sha256(raw), {**blobs, sha256(raw): raw})


def index_of(*platforms: dict[str, str] | None, **fields: Any) -> bytes:
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{number:064x}",
            "size": 7,
            **({"platform": p} if p else {}),
        }
        for number, p in enumerate(platforms)
    ]
    return json.dumps({"schemaVersion": 2, "manifests": entries, **fields}).encode()


def chosen(index: bytes, architecture: str = "amd64") -> int:
    return int(find_manifest(index, architecture).digest.removeprefix("sha256:"), 16)


AMD, ARM = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
OLD_ARM = {"os": "linux", "architecture": "arm", "variant": "v6"}
NEW_ARM = {"os": "linux", "architecture": "arm", "variant": "v7"}


def test_the_index_entry_of_the_platform_is_chosen() -> None:
    index = index_of({"os": "unknown", "architecture": "unknown"}, ARM, {**AMD, "os": "windows"}, AMD, AMD)
    assert (chosen(index), chosen(index, "arm64")) == (3, 1)
    assert chosen(index_of(OLD_ARM, NEW_ARM), "arm") == 1
    assert chosen(index_of(AMD, mediaType=DOCKER_LIST)) == 0
    assert chosen(index_of(None)) == 0
    assert is_index(index)


@pytest.mark.parametrize(
    "index",
    [
        index_of(ARM),
        index_of(),
        index_of(None, None),
        index_of(AMD, layers=[]),
        index_of(AMD, mediaType=OCI_MANIFEST),
        b"[]",
        b"{}",
        b"\xff",
        index_of(AMD).replace(b'"size": 7', b'"size": "7"'),
    ],
)
def test_an_index_without_one_clear_entry_is_refused(index: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        find_manifest(index, "amd64")


def test_a_missing_platform_names_those_that_are_there() -> None:
    with pytest.raises(ImageUnreadable, match=r"linux/riscv64; it has linux/amd64, linux/arm64"):
        find_manifest(index_of(ARM, AMD), "riscv64")
