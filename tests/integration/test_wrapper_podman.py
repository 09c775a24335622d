"""podman with ``vordr-runtime``: what has no verdict does not run, and what runs can always be ended."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from wrapper_world import BIN, Gated, gated

SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
RUN = ("run", "--network=none")


@pytest.fixture(scope="module")
def world() -> Iterator[Gated]:
    """With the images ``hello``, adopted, and ``other`` of the same layers, which nobody vouches for."""
    with gated() as made:
        made.world.vordr("adopt", "--name", "hello", str(made.archive("hello")))
        made.archive("other", "ENV=WHO=other")
        yield made


def test_an_image_without_attestation_is_refused_with_the_code(world: Gated) -> None:
    refused = world.podman(*RUN, "--rm", "other", "/bin/true", code=None)
    assert refused.returncode != 0
    assert "MISSING_ATTESTATION" in refused.stderr and world.image_id("other") in refused.stderr
    assert refused.stdout == ""


def test_an_adopted_image_runs_and_its_output_and_exit_code_are_its_own(world: Gated) -> None:
    ran = world.podman(*RUN, "--rm", "hello", "/bin/sh", "-c", "echo out; exit 7", code=7)
    assert ran.stdout == "out\n"


def test_exec_stats_kill_and_rm_pass(world: Gated) -> None:
    world.podman(*RUN, "-d", "--name", "a", "hello", *SLEEP)
    assert world.podman("exec", "a", "echo", "inside").stdout == "inside\n"
    assert "a" in world.podman("stats", "--no-stream", "a").stdout
    world.podman("kill", "a")
    assert world.podman("wait", "a").stdout == "137\n"
    world.podman("rm", "a")


def test_a_start_again_is_judged_again(world: Gated) -> None:
    world.podman(*RUN, "-d", "--name", "b", "hello", "/bin/true")
    world.podman("wait", "b")
    policy = world.world.root / "trust" / "policy.toml"
    before = policy.read_bytes() if policy.exists() else None
    policy.write_text('require = "published"\n')
    try:
        assert "POLICY_DENIED" in world.podman("start", "b", code=125).stderr
    finally:
        policy.unlink() if before is None else policy.write_bytes(before)
    world.podman("start", "b")
    world.podman("rm", "-f", "-t", "0", "b")


@pytest.mark.parametrize("key", [
    "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageRef",
    "org.opencontainers.image.ref.name", "vordr.verified"])
def test_what_an_annotation_says_is_not_believed(world: Gated, key: str) -> None:
    for value in ("hello", "true"):
        said = ("--annotation", f"{key}={value}")
        refused = world.podman(*RUN, "--rm", *said, "other", "/bin/true", code=None)
        assert refused.returncode != 0 and "MISSING_ATTESTATION" in refused.stderr


def test_a_root_folder_of_no_image_is_named_not_bound(world: Gated) -> None:
    refused = world.podman(
        *RUN, "--rm", "--annotation", "io.kubernetes.cri.image-name=hello", "--rootfs", world.home / "rootfs",
        "/bin/true", code=None)
    assert refused.returncode != 0 and "'hello' is named, not bound" in refused.stderr


def test_a_sandbox_passes_by_its_pinned_digest_and_its_mark_together(world: Gated) -> None:
    marked = (*RUN, "--rm", "--annotation", "io.kubernetes.cri-o.ContainerType=sandbox", "other", "/bin/true")
    assert "MISSING_ATTESTATION" in world.podman(*marked, code=None).stderr
    world.configure(f'sandboxes = ["{world.image_id("other")}"]\n')
    try:
        world.podman(*marked)
        unmarked = world.podman(*RUN, "--rm", "other", "/bin/true", code=None)
        assert "MISSING_ATTESTATION" in unmarked.stderr
    finally:
        world.configure()


def test_a_dead_service_refuses_what_starts_and_hinders_nothing_that_ends(world: Gated) -> None:
    world.podman(*RUN, "-d", "--name", "c", "hello", *SLEEP)
    world.world.stop_service()
    refused = world.podman(*RUN, "--rm", "hello", "/bin/true", code=None)
    assert refused.returncode != 0 and "UNREACHABLE" in refused.stderr
    assert world.podman("exec", "c", "echo", "inside").stdout == "inside\n"
    world.podman("stop", "-t", "10", "c")
    world.podman("rm", "c")
    world.world.vordr("ps")  # starts it anew
    world.podman(*RUN, "--rm", "hello", "/bin/true")


def test_a_configuration_that_others_may_write_refuses(world: Gated) -> None:
    world.config.chmod(0o666)
    try:
        refused = world.podman(*RUN, "--rm", "hello", "/bin/true", code=None)
    finally:
        world.config.chmod(0o644)
    assert refused.returncode != 0 and "may be written by others" in refused.stderr


def test_the_hook_refuses_and_allows_with_the_specs_exits(world: Gated) -> None:
    """In podman's own way of adding a hook to every container, with the real runtime."""
    hooks = world.home / "hooks"
    hooks.mkdir()
    (hooks / "vordr.json").write_text(json.dumps({
        "version": "1.0.0", "when": {"always": True}, "stages": ["createRuntime"], "hook": {
            "path": sys.executable,
            "args": [sys.executable, str(BIN / "vordr-hook"), "--config", str(world.config)]}}))
    hooked = ("--runtime", "/usr/sbin/runc", "--hooks-dir", hooks, *RUN, "--rm")
    world.podman(*hooked, "hello", "/bin/true")
    refused = world.podman(*hooked, "other", "/bin/true", code=None)
    assert refused.returncode != 0 and "MISSING_ATTESTATION" in refused.stderr
