"""Sealed layers on the real kernel: made, opened, broken, remade."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from images_world import FOLDER, IDS, LINK, SYMLINK, entry, instance, layer_of, tar_of, verdict_over

from vordr.images import mountapi, seal
from vordr.images.generations import open_generation
from vordr.images.limits import Limits
from vordr.images.rootfs import mounted_rootfs
from vordr.images.store import ImageStore
from vordr.model.errors import ImageUnreadable, LayerSpaceExhausted, SealBroken
from vordr.model.paths import Paths
from vordr.model.state import Layer, Seal

CAPABILITY = bytes.fromhex("0100000200200000" + "00" * 12)
TAR = tar_of(
    entry("./", type=FOLDER, mode=0o711, mtime=5),
    entry("etc/", type=FOLDER, mode=0o1750, uid=1, gid=2, mtime=6),
    entry(
        "etc/file",
        b"content" * 100,
        mode=0o4755,
        uid=3,
        gid=4,
        pax_headers={
            "mtime": "7.25",
            "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape"),
            "SCHILY.xattr.user.note": "x",
        },
    ),
    entry("etc/again", type=LINK, linkname="etc/file"),
    entry("etc/link", type=SYMLINK, linkname="/outside", uid=5, mtime=8),
    entry("implied/f" + "n" * 200, b"y"),
)


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    with instance(tmp_path) as made:
        ImageStore(made).prepare()
        yield made


@pytest.fixture
def store(paths: Paths) -> ImageStore:
    return ImageStore(paths)


@pytest.fixture
def layer(store: ImageStore) -> Layer:
    return layer_of(store, TAR)


def make_writable(path: Path) -> None:
    with mountapi.closing(os.open(path, os.O_RDONLY)) as descriptor:
        assert mountapi.set_immutable(descriptor, False)
    path.chmod(0o600)


def flip_a_byte(path: Path, at: int = 1500) -> None:
    """Change one byte in place, as somebody would who took the immutable flag off."""
    make_writable(path)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("packing", ["", "+gzip", "+zstd"])
def test_a_sealed_layer_holds_what_its_tar_says(paths: Paths, store: ImageStore, packing: str) -> None:
    layer = layer_of(store, TAR, packing)
    sealed = seal.seal_layer(store, layer, paths)
    open_generation(paths, "c1", 1, IDS)
    first = IDS.first
    with (
        mountapi.closing(seal.open_sealed(paths, sealed)) as descriptor,
        mounted_rootfs(paths, "c1", [descriptor], [1], IDS, verdict_over([layer])) as root,
    ):
        etc, file, link = (root / name for name in ("etc", "etc/file", "etc/link"))
        found = file.stat()
        assert file.read_bytes() == b"content" * 100
        assert (found.st_uid - first, found.st_gid - first, found.st_mode & 0o7777) == (3, 4, 0o4755)
        assert found.st_mtime_ns == 7_250_000_000 and found.st_nlink == 2
        assert (root / "etc/again").stat().st_ino == found.st_ino
        assert os.getxattr(file, "user.note") == b"x"
        assert os.getxattr(file, "security.capability")[4:20] == CAPABILITY[4:20]
        assert (etc.stat().st_uid - first, etc.stat().st_mode & 0o7777, etc.stat().st_mtime) == (1, 0o1750, 6)
        assert os.readlink(link) == "/outside" and link.lstat().st_mtime == 8
        assert (root / "implied").stat().st_uid == first and len(list((root / "implied").iterdir())) == 1
        assert root.stat().st_mode & 0o7777 == 0o711


def test_a_sealed_file_is_immutable_readonly_and_alone(paths: Paths, store: ImageStore, layer: Layer) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    path = paths.layer(layer.diff_id)
    assert path.stat().st_mode & 0o7777 == 0o400 and path.stat().st_size == sealed.size
    assert [entry.name for entry in paths.layers.iterdir()] == [path.name]
    with pytest.raises(PermissionError):
        path.open("r+b")
    with pytest.raises(PermissionError):
        path.unlink()


def test_sealing_twice_gives_the_same_bytes_and_a_known_seal_is_not_made_again(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    first = seal.seal_layer(store, layer, paths)
    assert seal.seal_layer(store, layer, paths, known=first) == first
    again = seal.seal_layer(store, layer, paths)
    assert again.sha256 == first.sha256 and again.stamp != first.stamp


def test_the_image_does_not_depend_on_the_order_in_which_files_were_made(tmp_path: Path) -> None:
    images = []
    for order in (range(300), reversed(range(300))):
        tree = tmp_path / f"tree{len(images)}"
        tree.mkdir()
        for number in order:
            (tree / f"file{number}").write_text(f"{number}" * number)
            os.utime(tree / f"file{number}", ns=(0, number))
        os.utime(tree, ns=(0, 0))
        images.append(tmp_path / f"image{len(images)}")
        seal.make_erofs(tree, images[-1], "sha256:" + "0" * 64)
    assert images[0].read_bytes() == images[1].read_bytes()


def test_a_flipped_byte_breaks_the_seal_and_remaking_mends_it(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    flip_a_byte(paths.layer(layer.diff_id))
    with pytest.raises(SealBroken) as caught:
        seal.open_sealed(paths, sealed)
    assert caught.value.details == {"diff_id": layer.diff_id, "path": str(paths.layer(layer.diff_id))}
    remade = seal.remake(store, layer, paths)
    os.close(seal.open_sealed(paths, remade))
    assert remade.sha256 == sealed.sha256


def test_a_flipped_byte_is_found_though_the_times_were_set_back(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    path = paths.layer(layer.diff_id)
    before = path.stat()
    flip_a_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SealBroken, match="other bytes"):
        seal.open_sealed(paths, sealed)


def test_a_known_seal_that_is_broken_is_made_anew(paths: Paths, store: ImageStore, layer: Layer) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    flip_a_byte(paths.layer(layer.diff_id))
    remade = seal.seal_layer(store, layer, paths, known=sealed)
    assert remade.sha256 == sealed.sha256 and remade.stamp != sealed.stamp


def test_a_file_that_nobody_sealed_is_never_taken_over(paths: Paths, store: ImageStore, layer: Layer) -> None:
    paths.layers.mkdir(exist_ok=True)
    paths.layer(layer.diff_id).write_bytes(b"planted")
    sealed = seal.seal_layer(store, layer, paths)
    assert sealed.size != len(b"planted")
    os.close(seal.open_sealed(paths, sealed))


@pytest.mark.parametrize("swap", ["absent", "symlink", "fifo", "folder", "truncated", "longer"])
def test_anything_else_in_place_of_the_sealed_file_is_refused(
    paths: Paths, store: ImageStore, layer: Layer, swap: str
) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    path = paths.layer(layer.diff_id)
    make_writable(path)
    content = path.read_bytes()
    path.unlink()
    match swap:
        case "symlink":
            (paths.root / "copy").write_bytes(content)
            path.symlink_to(paths.root / "copy")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "truncated":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"\0")
    with pytest.raises(SealBroken):
        seal.open_sealed(paths, sealed)


def test_an_equal_copy_is_hashed_accepted_and_gets_a_new_stamp(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    path = paths.layer(layer.diff_id)
    make_writable(path)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    descriptor, fresh = seal.open_and_refresh(paths, sealed)
    os.close(descriptor)
    assert fresh.stamp != sealed.stamp and fresh.sha256 == sealed.sha256
    assert seal.open_and_refresh(paths, fresh)[1] is fresh
    with pytest.raises(PermissionError):
        path.open("r+b")


def test_an_unchanged_stamp_is_not_hashed_again(paths: Paths, store: ImageStore, layer: Layer) -> None:
    sealed = msgspec.structs.replace(seal.seal_layer(store, layer, paths), sha256="0" * 64)
    os.close(seal.open_sealed(paths, sealed))
    with pytest.raises(SealBroken):
        seal.open_sealed(paths, msgspec.structs.replace(sealed, stamp="0:0:0:0:0"))


def test_scrubbing_hashes_every_file_and_says_why_one_fails(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    good = seal.seal_layer(store, layer, paths)
    bad = seal.seal_layer(store, layer_of(store, tar_of(entry("other", b"x" * 9000))), paths)
    gone = Seal(diff_id="sha256:" + "9" * 64, sha256="0" * 64, size=1, stamp="")
    flip_a_byte(paths.layer(bad.diff_id))
    found = {one.diff_id: (ok, why) for one, ok, why in seal.scrub(paths, [good, bad, gone])}
    assert found[good.diff_id] == (True, "")
    assert not found[bad.diff_id][0] and bad.sha256 in found[bad.diff_id][1]
    assert found[gone.diff_id] == (False, "cannot be opened: No such file or directory")


def test_removing_a_sealed_layer_is_idempotent(paths: Paths, store: ImageStore, layer: Layer) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    assert seal.remove_layer(paths, sealed.diff_id) and not seal.remove_layer(paths, sealed.diff_id)
    assert list(paths.layers.iterdir()) == []


def test_a_layer_of_another_diff_id_is_refused_and_leaves_nothing(
    paths: Paths, store: ImageStore, layer: Layer
) -> None:
    wrong = msgspec.structs.replace(layer, diff_id="sha256:" + "1" * 64)
    with pytest.raises(ImageUnreadable, match="other bytes than its diffID"):
        seal.seal_layer(store, wrong, paths)
    assert list(paths.layers.iterdir()) == []


def test_bytes_after_the_end_of_the_tar_are_part_of_the_diff_id(paths: Paths, store: ImageStore) -> None:
    tailed = layer_of(store, TAR + b"tail" * 1000)
    assert seal.seal_layer(store, tailed, paths).diff_id == tailed.diff_id
    with pytest.raises(ImageUnreadable, match="diffID"):
        seal.seal_layer(store, msgspec.structs.replace(tailed, diff_id=layer_of(store, TAR).diff_id), paths)


def test_what_a_crash_left_in_the_making_is_cleared(paths: Paths, store: ImageStore, layer: Layer) -> None:
    sealed = seal.seal_layer(store, layer, paths)
    (paths.layers / ".unsealed-abc" / "tree").mkdir(parents=True)
    assert seal.clear_unfinished(paths) == 1 and seal.clear_unfinished(paths) == 0
    os.close(seal.open_sealed(paths, sealed))


def test_progress_tells_how_far_the_blob_is_read(paths: Paths, store: ImageStore, layer: Layer) -> None:
    told: list[tuple[str, int, int | None]] = []
    seal.seal_layer(store, layer, paths, lambda *words: told.append(words))
    assert ("unpacking layer", layer.size, layer.size) in told and told[-1][0] == "sealing layer"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Paths]:
    """An instance whose layers lie on a file system of 3 MiB."""
    with instance(tmp_path) as made:
        made.layers.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", made.layers], check=True)
        try:
            yield made
        finally:
            subprocess.run(["umount", made.layers], check=True)


@pytest.mark.parametrize("size", [8 << 20, 2 << 20], ids=["while unpacking", "while sealing"])
def test_a_full_disk_is_reported_as_such_and_nothing_stays(small_disk: Paths, size: int) -> None:
    store = ImageStore(small_disk)
    layer = layer_of(store, tar_of(entry("big", os.urandom(size))), "")
    with pytest.raises(LayerSpaceExhausted):
        seal.seal_layer(store, layer, small_disk)
    assert list(small_disk.layers.iterdir()) == []


def test_a_layer_beyond_its_limits_leaves_nothing(paths: Paths, store: ImageStore) -> None:
    layer = layer_of(store, tar_of(entry("zeros", bytes(40 << 20))))
    with pytest.raises(ImageUnreadable, match="times its size"):
        seal.seal_layer(store, layer, paths, limits=Limits(ratio=100, ratio_from=1 << 20))
    assert list(paths.layers.iterdir()) == []
