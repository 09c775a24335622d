"""Writable layers on disk: opened empty, moved whole, measured."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from images_world import IDS

from vordr.images import generations
from vordr.model.errors import LayerSpaceExhausted, RuntimeFailed, StateError
from vordr.model.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "run")


def test_a_new_generation_is_empty_and_owned_by_the_range(paths: Paths) -> None:
    folder = generations.open_generation(paths, "c", 1, IDS)
    upper, work = folder / "upper", folder / "work"
    assert (upper.stat().st_uid, upper.stat().st_gid, upper.stat().st_mode & 0o777) == (
        IDS.first,
        IDS.first,
        0o755,
    )
    assert (work.stat().st_uid, work.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (
        0,
        0o700,
        0o700,
    )


def test_what_is_not_there_cannot_be_made_durable(paths: Paths) -> None:
    generations.open_generation(paths, "c", 1, IDS)
    generations.make_durable(paths, "c", 1)
    with pytest.raises(RuntimeFailed, match="generation 2"):
        generations.make_durable(paths, "c", 2)


def test_opening_again_is_harmless_while_empty_and_refused_when_not(paths: Paths) -> None:
    generations.open_generation(paths, "c", 1, IDS)
    generations.open_generation(paths, "c", 1, IDS)
    (generations.upper_folder(paths, "c", 1) / "f").write_text("x")
    with pytest.raises(StateError, match="holds files"):
        generations.open_generation(paths, "c", 1, IDS)


def test_dropping_and_restoring_move_the_folder_itself_and_may_be_repeated(paths: Paths) -> None:
    folder, trash = generations.open_generation(paths, "c", 1, IDS), paths.trash / "t" / "gen"
    inode = folder.stat().st_ino
    assert generations.drop_generation(paths, "c", 1, trash)
    assert not generations.drop_generation(paths, "c", 1, trash)
    assert not folder.exists() and (trash / "1").stat().st_ino == inode
    assert generations.restore_generation(paths, "c", 1, trash)
    assert not generations.restore_generation(paths, "c", 1, trash)
    assert folder.stat().st_ino == inode


def test_a_generation_in_both_places_is_never_overwritten(paths: Paths) -> None:
    generations.open_generation(paths, "c", 1, IDS)
    generations.drop_generation(paths, "c", 1, paths.trash)
    generations.open_generation(paths, "c", 1, IDS)
    for move in (generations.drop_generation, generations.restore_generation):
        with pytest.raises(StateError, match="both places"):
            move(paths, "c", 1, paths.trash)


def test_sizes_count_hard_links_once_and_follow_no_symlink(paths: Paths) -> None:
    upper = generations.open_generation(paths, "c", 1, IDS) / "upper"
    empty = generations.generation_size(paths, "c", 1)
    (upper / "f").write_bytes(b"x" * 100_000)
    os.link(upper / "f", upper / "g")
    (upper / "out").symlink_to("/usr")
    assert 100_000 <= generations.generation_size(paths, "c", 1) - empty < 120_000
    assert generations.generation_size(paths, "c", 9) == 0


def test_discarding_follows_no_symlink(paths: Paths, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "f").write_text("x")
    folder = generations.open_generation(paths, "c", 1, IDS)
    (folder / "upper" / "out").symlink_to(kept)
    generations.discard(folder)
    generations.discard(folder)
    assert not folder.exists() and (kept / "f").exists()


def test_folders_nested_deeper_than_any_path_can_name_are_measured_and_deleted(paths: Paths) -> None:
    folder = generations.open_generation(paths, "c", 1, IDS)
    current = os.open(folder / "upper", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("n" * 20, dir_fd=current)
        inner = os.open("n" * 20, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=current))
    os.close(current)
    assert generations.generation_size(paths, "c", 1) >= 3000 * 4096
    generations.discard(folder)
    assert not folder.exists()


def test_another_file_system_in_the_tree_is_neither_counted_nor_emptied(paths: Paths) -> None:
    folder = generations.open_generation(paths, "c", 1, IDS)
    inner = folder / "upper" / "mounted"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "other", inner], check=True)
    try:
        (inner / "precious").write_bytes(b"x" * 1_000_000)
        assert generations.generation_size(paths, "c", 1) < 1_000_000
        with pytest.raises(OSError, match="directory"):
            generations.discard(folder)
        assert (inner / "precious").exists()
    finally:
        subprocess.run(["umount", inner], check=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Paths]:
    made = Paths(tmp_path / "root", tmp_path / "run")
    made.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=4", "full", made.root], check=True)
    try:
        yield made
    finally:
        subprocess.run(["umount", made.root], check=True)


def test_a_full_disk_is_reported_as_such(full_disk: Paths) -> None:
    with pytest.raises(LayerSpaceExhausted):
        generations.open_generation(full_disk, "c", 1, IDS)
