"""A package that was read before: remembered by its file's stamp, judged anew every time, never stale."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_world import Instance, instance, make_rootfs

OUT = ("sh", "-c", "cat /etc/word")


@pytest.fixture(scope="module")
def world() -> Iterator[Instance]:
    with instance() as made:
        yield made


def package(world: Instance, name: str, word: str) -> Path:
    rootfs = make_rootfs(world.home / f"rootfs-{name}-{word}")
    (rootfs / "etc" / "word").write_text(word)
    return world.pack(name, "--cmd", "/bin/sh", rootfs=rootfs)


def test_the_same_package_runs_again_and_again(world: Instance) -> None:
    ctp = package(world, "again", "one")
    for _ in range(3):
        assert world.vordr("run", "--rm", str(ctp), *OUT).out == "one"


def test_a_package_written_over_is_read_anew(world: Instance) -> None:
    first = package(world, "over", "one")
    assert world.vordr("run", "--rm", str(first), *OUT).out == "one"
    kept = world.home / "kept.ctp"
    shutil.copy(first, kept)
    second = package(world, "over", "two")
    assert second == first
    assert world.vordr("run", "--rm", str(second), *OUT).out == "two"
    shutil.copy(kept, second)
    assert world.vordr("run", "--rm", str(second), *OUT).out == "one"


def test_one_spoilt_after_it_was_read_is_refused(world: Instance) -> None:
    ctp = package(world, "spoilt", "one")
    world.vordr("run", "--rm", str(ctp), *OUT)
    whole = bytearray(ctp.read_bytes())
    whole[len(whole) // 2] ^= 1  # in the one layer, which is nearly all of it
    ctp.write_bytes(whole)
    done = world.vordr("run", "--rm", str(ctp), *OUT, code=None)
    assert done.code != 0 and done.out == "" and "sha256" in done.err, done


def test_one_whose_image_was_removed_comes_in_again(world: Instance) -> None:
    ctp = package(world, "gone", "one")
    for _ in range(2):
        assert world.vordr("run", "--rm", str(ctp), *OUT).out == "one"
        world.vordr("rmi", "gone")


def test_a_revoked_key_stops_the_next_run_of_a_remembered_package(world: Instance) -> None:
    ctp = package(world, "revoked", "one")
    assert world.vordr("run", "--rm", str(ctp), *OUT).out == "one"
    key = world.json("trust", "show")["keys"][0]["id"]
    world.vordr("trust", "revoke", key, "--reason", "key_compromise")
    assert world.vordr("run", "--rm", str(ctp), *OUT, code=51).out == ""
