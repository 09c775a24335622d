"""Images that are on this host already become layouts, and layouts become images of the store."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from images_world import (
    IDS,
    busybox_folder,
    entry,
    gzip_layer,
    image_blobs,
    instance,
    sha256,
    tar_of,
    verdict_over,
    write_layout,
)

from vordr.images import mountapi, rootfs, seal
from vordr.images.generations import open_generation
from vordr.images.local_layout import LayoutKind, import_layout, kind_of, open_layout
from vordr.images.store import ImageStore
from vordr.model.errors import ImageNotFound, ImageUnreadable
from vordr.model.paths import Paths

LAYERS = [gzip_layer(tar_of(entry("a", os.urandom(900)))), gzip_layer(tar_of(entry("b", b"b")))]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(Paths(tmp_path / "root", tmp_path / "run"))
    made.prepare()
    return made


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "image", *image_blobs(LAYERS))


def skopeo(*arguments: object) -> None:
    subprocess.run(["skopeo", "--insecure-policy", *map(str, arguments)], check=True, capture_output=True)


def test_an_oci_folder_is_imported_as_it_is(layout: Path, store: ImageStore, tmp_path: Path) -> None:
    assert kind_of(layout) is LayoutKind.OCI_FOLDER
    folder, manifest = open_layout(layout, tmp_path / "work")
    image = import_layout(folder, manifest, store)
    assert folder == layout and [one.diff_id for one in image.layers] == [sha256(tar) for *_, tar in LAYERS]
    assert set(store.digests()) == set(image_blobs(LAYERS)[1])


def test_an_oci_archive_keeps_its_digest_even_with_a_colon_in_its_name(
    layout: Path, store: ImageStore, tmp_path: Path
) -> None:
    archive = tmp_path / "image:1.tar"
    skopeo("copy", "--preserve-digests", f"oci:{layout}", f"oci-archive:{tmp_path}/plain.tar")
    (tmp_path / "plain.tar").rename(archive)
    assert kind_of(archive) is LayoutKind.OCI_ARCHIVE
    folder, manifest = open_layout(archive, tmp_path / "work")
    assert manifest == image_blobs(LAYERS)[0]
    import_layout(folder, manifest, store)


def test_a_docker_archive_gives_the_same_digest_each_time(
    layout: Path, store: ImageStore, tmp_path: Path
) -> None:
    archive = tmp_path / "saved.tar"
    skopeo("copy", f"oci:{layout}", f"docker-archive:{archive}:app:v1")
    assert kind_of(archive) is LayoutKind.DOCKER_ARCHIVE
    opened = [open_layout(archive, tmp_path / name) for name in ("one", "two")]
    assert opened[0][1] == opened[1][1]
    image = import_layout(*opened[0], store)
    assert [layer.diff_id for layer in image.layers] == [sha256(tar) for *_, tar in LAYERS]


def test_a_root_folder_becomes_the_same_image_each_time_and_runs(tmp_path: Path) -> None:
    source = busybox_folder(tmp_path / "busybox")
    os.chown(source / "etc" / "passwd", 7, 8)
    os.mknod(source / "null", 0o20666, os.makedev(1, 3))
    with instance(tmp_path) as paths:
        store = ImageStore(paths)
        store.prepare()
        layout, manifest = open_layout(source, tmp_path / "one")
        assert open_layout(source, tmp_path / "two")[1] == manifest
        image = import_layout(layout, manifest, store)
        assert image.config.command == ("/bin/sh",)
        sealed = seal.seal_layer(store, image.layers[0], paths)
        open_generation(paths, "c", 1, IDS)
        with (
            mountapi.closing(seal.open_sealed(paths, sealed)) as descriptor,
            rootfs.mounted_rootfs(paths, "c", [descriptor], [1], IDS, verdict_over(image.layers)) as root,
        ):
            said = subprocess.run(
                ["chroot", root, "/bin/sh", "-c", "echo $((6*7)) > /tmp/x; busybox cat /tmp/x"],
                capture_output=True,
                check=True,
            ).stdout
            assert said == b"42\n" and not (root / "null").exists()
            assert (root / "etc/passwd").stat().st_uid == IDS.first + 7
            assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_what_is_mounted_in_a_root_folder_is_not_taken(tmp_path: Path) -> None:
    source = busybox_folder(tmp_path / "busybox")
    before = open_layout(source, tmp_path / "one")[1]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "other", source / "tmp"], check=True)
    try:
        (source / "tmp" / "precious-name").write_text("x")
        os.utime(source / "tmp", ns=(0, 0))
        folder, after = open_layout(source, tmp_path / "two")
        assert not any(b"precious-name" in blob.read_bytes() for blob in (folder / "blobs/sha256").iterdir())
    finally:
        subprocess.run(["umount", source / "tmp"], check=True)
    assert before != after


def test_a_layout_with_a_false_blob_is_refused_and_its_manifest_does_not_arrive(
    layout: Path, store: ImageStore
) -> None:
    manifest = image_blobs(LAYERS)[0]
    blob = layout / "blobs/sha256" / sha256(LAYERS[1][1]).removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[::-1])
    with pytest.raises(ImageUnreadable):
        import_layout(layout, manifest, store)
    assert not store.has(manifest) and not store.has(sha256(LAYERS[1][1]))


@pytest.mark.parametrize("trick", ["symlink", "fifo", "absent"])
def test_a_layout_cannot_lend_the_hosts_files_nor_block_the_import(
    layout: Path, store: ImageStore, trick: str
) -> None:
    blob = layout / "blobs/sha256" / sha256(LAYERS[1][1]).removeprefix("sha256:")
    content = blob.read_bytes()
    blob.unlink()
    if trick == "symlink":
        (layout / "real").write_bytes(content)
        blob.symlink_to(layout / "real")
    elif trick == "fifo":
        os.mkfifo(blob)
    with pytest.raises(ImageUnreadable):
        import_layout(layout, image_blobs(LAYERS)[0], store)


def test_sources_that_are_no_image_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tar")
    (tmp_path / "tar").write_bytes(tar_of(entry("a")))
    with pytest.raises(ImageNotFound):
        kind_of(tmp_path / "absent")
    for name in ("text", "tar"):
        with pytest.raises(ImageUnreadable):
            kind_of(tmp_path / name)
