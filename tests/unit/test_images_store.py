"""The store holds whole blobs under their own digest, or nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from images_world import sha256

from vordr.images.store import ImageStore
from vordr.model.errors import ImageUnreadable
from vordr.model.paths import Paths

BLOB = b"some bytes" * 1000
DIGEST = sha256(BLOB)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(Paths(tmp_path, tmp_path / "run"))
    made.prepare()
    return made


def files(store: ImageStore) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_a_blob_that_was_added_is_read_back_and_listed(store: ImageStore) -> None:
    store.add(io.BytesIO(BLOB), DIGEST, len(BLOB))
    assert store.has(DIGEST) and store.size(DIGEST) == len(BLOB) and list(store.digests()) == [DIGEST]
    assert store.read(DIGEST, len(BLOB)) == BLOB
    with open(store.open(DIGEST), "rb") as file:
        assert file.read() == BLOB
    assert store.remove(DIGEST) and not store.remove(DIGEST) and not store.has(DIGEST)


@pytest.mark.parametrize(
    ("content", "size", "why"),
    [
        (BLOB[:-1], len(BLOB), "1 bytes early"),
        (BLOB + b"x", len(BLOB), "longer"),
        (BLOB[::-1], len(BLOB), "has the digest"),
    ],
)
def test_a_blob_that_is_not_its_digest_leaves_nothing(
    store: ImageStore, content: bytes, size: int, why: str
) -> None:
    with pytest.raises(ImageUnreadable, match=why):
        store.add(io.BytesIO(content), DIGEST, size)
    assert files(store) == ["index.json", "oci-layout"]


def test_a_file_is_taken_in_only_when_it_hashes_right(store: ImageStore) -> None:
    with store.workspace() as folder:
        (folder / "good").write_bytes(BLOB)
        (folder / "bad").write_bytes(BLOB[::-1])
        (folder / "link").symlink_to(folder / "good")
        os.mkfifo(folder / "pipe")
        for name in ("bad", "link", "pipe", "absent"):
            with pytest.raises(ImageUnreadable):
                store.take(folder / name, DIGEST, len(BLOB))
        store.take(folder / "good", DIGEST, len(BLOB))
    assert store.read(DIGEST, len(BLOB)) == BLOB


def test_a_blob_changed_on_disk_is_not_read(store: ImageStore) -> None:
    store.add_bytes(BLOB, DIGEST)
    store.path(DIGEST).chmod(0o600)
    store.path(DIGEST).write_bytes(BLOB[::-1])
    with pytest.raises(ImageUnreadable, match="other bytes"):
        store.read(DIGEST, len(BLOB))


def test_reading_is_bounded_and_missing_blobs_are_named(store: ImageStore) -> None:
    store.add_bytes(BLOB, DIGEST)
    with pytest.raises(ImageUnreadable, match="longer than 10 bytes"):
        store.read(DIGEST, 10)
    with pytest.raises(ImageUnreadable, match="missing"):
        store.open(sha256(b"absent"))


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha512:" + "0" * 128, "sha256:" + "A" * 64, "", "x"])
def test_only_sha256_digests_name_blobs(store: ImageStore, digest: str) -> None:
    with pytest.raises(ImageUnreadable):
        store.has(digest)


def test_a_new_start_clears_what_a_crash_left_half_written(store: ImageStore) -> None:
    (store.folder / "incoming" / "half").write_bytes(b"x")
    (store.folder / "incoming" / "transfer" / "blobs").mkdir(parents=True)
    store.add_bytes(BLOB, DIGEST)
    store.prepare()
    assert list((store.folder / "incoming").iterdir()) == [] and store.has(DIGEST)
