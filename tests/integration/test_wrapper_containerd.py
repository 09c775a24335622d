"""containerd 1.6 with ``vordr-runtime`` as its shim's runc: bound by the snapshot, not by a name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from wrapper_world import Gated, containerd, gated

HELLO, OTHER = "localhost/hello:latest", "localhost/other:latest"


@pytest.fixture(scope="module")
def world() -> Iterator[Gated]:
    """With the images ``hello``, adopted, and ``other``, of other layers, which nobody vouches for."""
    with gated() as made, containerd(made):
        hello = made.archive("hello")
        made.world.vordr("adopt", "--name", "hello", str(hello))
        made.ctr("images", "import", hello)
        (made.home / "layer.tar").unlink()
        (made.home / "rootfs" / "etc" / "other").write_text("other\n")
        made.ctr("images", "import", made.archive("other"))
        yield made


def run(world: Gated, image: str, name: str, *words: str, code: int | None = 0) -> str:
    said = world.ctr("run", "-d", "--runc-binary", world.launcher, "--runc-root", world.home / "rr", *words,
                     image, name, "/bin/sleep", "1000", code=code)
    assert code == 0 or said.returncode != 0
    return said.stderr


def test_refused_without_attestation_in_the_words_of_the_gate(world: Gated) -> None:
    """The last error of the log is what containerd tells."""
    assert "MISSING_ATTESTATION" in run(world, OTHER, "refused", code=None)
    assert world.ctr("tasks", "ls", "-q").stdout.split() == []
    world.ctr("containers", "rm", "refused", code=None)


def test_an_adopted_image_runs_is_entered_measured_killed_and_deleted(world: Gated) -> None:
    run(world, HELLO, "a")
    assert world.ctr("tasks", "exec", "--exec-id", "x", "a", "/bin/echo", "inside").stdout == "inside\n"
    assert "a" in world.ctr("tasks", "metrics", "a").stdout
    assert "PID" in world.ctr("tasks", "ps", "a").stdout
    world.ctr("tasks", "pause", "a")
    world.ctr("tasks", "resume", "a")
    world.ctr("tasks", "rm", "-f", "a", code=None)
    assert world.ctr("tasks", "ls", "-q").stdout.split() == []
    world.ctr("containers", "rm", "a")


def test_a_tag_that_moved_vouches_for_nothing(world: Gated) -> None:
    """The record says the adopted name, the snapshot holds other bytes."""
    world.ctr("images", "tag", "--force", OTHER, "localhost/moved:latest")
    words = ("--annotation", f"io.kubernetes.cri.image-name={HELLO}")
    assert "MISSING_ATTESTATION" in run(world, "localhost/moved:latest", "moved", *words, code=None)
    world.ctr("containers", "rm", "moved", code=None)


def test_a_root_that_is_no_snapshot_is_named_not_bound(world: Gated) -> None:
    told = world.ctr(
        "run", "-d", "--runc-binary", world.launcher, "--runc-root", world.home / "rr", "--annotation",
        f"io.kubernetes.cri.image-name={HELLO}", "--rootfs", world.home / "rootfs", "folder", "/bin/true",
        code=None)
    assert told.returncode != 0 and "is named, not bound" in told.stderr
    world.ctr("containers", "rm", "folder", code=None)


def test_a_sandbox_passes_by_its_pinned_layers_and_its_mark_together(world: Gated) -> None:
    (layer,) = json.loads(world.podman("image", "inspect", "other").stdout)[0]["RootFS"]["Layers"]
    marked = ("--annotation", "io.kubernetes.cri.container-type=sandbox")
    assert "MISSING_ATTESTATION" in run(world, OTHER, "s", *marked, code=None)
    world.ctr("containers", "rm", "s", code=None)
    world.configure(f'sandboxes = ["{layer}"]\n')
    try:
        run(world, OTHER, "s", *marked)
        assert "MISSING_ATTESTATION" in run(world, OTHER, "t", code=None)
    finally:
        world.configure()
    world.ctr("tasks", "rm", "-f", "s", code=None)
    for name in ("s", "t"):
        world.ctr("containers", "rm", name, code=None)


def test_a_dead_service_refuses_what_starts_and_hinders_nothing_that_ends(world: Gated) -> None:
    run(world, HELLO, "d")
    world.world.stop_service()
    assert "UNREACHABLE" in run(world, HELLO, "e", code=None)
    world.ctr("tasks", "exec", "--exec-id", "y", "d", "/bin/true")
    world.ctr("tasks", "rm", "-f", "d", code=None)
    assert world.ctr("tasks", "ls", "-q").stdout.split() == []
    world.world.vordr("ps")
