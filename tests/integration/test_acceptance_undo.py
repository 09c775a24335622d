"""Undo and redo by the command line on running containers: what was there is there again."""

from __future__ import annotations

import os
from typing import Any

import pytest
from real_world import Instance, eventually, make_rootfs

# What undo promises to bring back (design §4): all that is declared, and the files.
DECLARED = ("id", "name", "image", "spec", "state", "generations", "addresses", "ports", "ids", "digest")


def declared(world: Instance, name: str) -> dict[str, Any]:
    found = world.inspect(name)
    return {key: found[key] for key in DECLARED}


def is_gone(world: Instance, name: str) -> bool:
    return name not in world.vordr("ps", "-a", "--format", "{{.Names}}").out.split()


# -- the worst: rm -f on the wrong container -----------------------------------------------------------


def test_undo_of_rm_force_brings_a_running_container_back_with_its_files(world: Instance) -> None:
    world.run("shop", options=("-l", "tier=front", "--hostname", "shop.example"))
    world.sh("shop", "echo precious > /data; mkdir -p /srv/deep; ln -s /data /srv/deep/link; chmod 640 /data")
    before = declared(world, "shop")
    pid = world.inspect("shop")["pid"]
    world.vordr("rm", "-f", "shop")
    assert is_gone(world, "shop")
    assert not (world.paths.container(before["id"])).exists()
    world.undo_last()
    assert declared(world, "shop") == before
    assert world.inspect("shop")["pid"] not in (None, pid)
    told = world.sh("shop", "cat /srv/deep/link; stat -c %a /data; hostname")
    assert told == "precious\n640\nshop.example\n"


def test_undo_of_rm_force_of_a_paused_container_leaves_it_paused(world: Instance) -> None:
    world.run("ice")
    world.vordr("pause", "ice")
    before = declared(world, "ice")
    world.vordr("rm", "-f", "ice")
    world.undo_last()
    assert declared(world, "ice") == before
    assert before["state"] == "paused"
    world.vordr("unpause", "ice")
    assert world.sh("ice", "echo alive") == "alive\n"


def test_redo_of_an_undone_rm_removes_it_again_and_undo_of_redo_is_refused_as_redo(world: Instance) -> None:
    world.run("yoyo")
    world.sh("yoyo", "echo 1 > /one")
    world.vordr("rm", "-f", "yoyo")
    world.undo_last()
    world.vordr("redo", "--yes")
    assert is_gone(world, "yoyo")
    world.vordr("trash", "restore", "yoyo")
    world.vordr("start", "yoyo")
    assert world.sh("yoyo", "cat /one") == "1\n"


# -- each single act -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prepare", "act"),
    [
        ("u-stop", (), ("stop", "-t", "1")),
        ("u-stop-paused", ("pause",), ("stop", "-t", "1")),
        ("u-kill", (), ("kill",)),
        ("u-pause", (), ("pause",)),
        ("u-unpause", ("pause",), ("unpause",)),
        ("u-start", ("stop",), ("start",)),
        ("u-restart", (), ("restart", "-t", "1")),
        ("u-rm", ("stop",), ("rm",)),
    ],
)
def test_undo_brings_back_the_declared_state_of_before(
    world: Instance, name: str, prepare: tuple[str, ...], act: tuple[str, ...]
) -> None:
    world.run(name)
    world.sh(name, "echo kept > /kept")
    for verb in prepare:
        world.vordr(verb, name)
    before = declared(world, name)
    world.vordr(*act, name)
    world.undo_last()
    assert declared(world, name) == before
    match before["state"]:
        case "paused":
            world.vordr("unpause", name)
        case "stopped":
            world.vordr("start", name)
    assert world.sh(name, "cat /kept") == "kept\n"
    world.vordr("rm", "-f", name)


def test_undo_of_start_drops_what_was_written_since_and_redo_brings_it_back(world: Instance) -> None:
    world.run("diary")
    world.sh("diary", "echo monday > /diary")
    world.vordr("stop", "diary")
    world.vordr("start", "diary")
    world.sh("diary", "echo tuesday >> /diary")
    world.vordr("undo", "--last", "--yes")
    assert world.state("diary") == "stopped"
    undone = world.vordr("history", "-n", "1", "-q").out.strip()
    world.vordr("redo", "--yes", undone)
    assert world.state("diary") == "running"
    assert world.sh("diary", "cat /diary") == "monday\ntuesday\n"
    world.vordr("rm", "-f", "diary")


def test_undo_of_run_takes_the_container_away_and_redo_brings_it_back(world: Instance) -> None:
    container = world.run("mayfly")
    world.sh("mayfly", "echo here > /here")
    world.undo_last()
    assert is_gone(world, "mayfly")
    assert container in world.vordr("trash", "ls", "-q", "--no-trunc").out
    world.vordr("redo", "--yes")
    assert world.inspect("mayfly")["id"] == container
    assert world.sh("mayfly", "cat /here") == "here\n"
    world.vordr("rm", "-f", "mayfly")


def test_undo_of_create_and_its_redo(world: Instance) -> None:
    world.vordr("create", "--name", "idea", "hello")
    before = declared(world, "idea")
    world.undo_last()
    assert is_gone(world, "idea")
    world.vordr("redo", "--yes")
    assert declared(world, "idea") == before
    world.vordr("rm", "idea")


def test_undo_of_a_finished_run_rm_succeeds_and_trash_restore_brings_its_files(world: Instance) -> None:
    world.vordr("run", "--rm", "--name", "gone", "hello", "sh", "-c", "echo left > /left; exit 0")
    eventually(lambda: is_gone(world, "gone"), "the removal by --rm")
    world.undo_last()
    assert is_gone(world, "gone")
    world.assert_sound()
    assert world.vordr("trash", "restore", "gone").out == "gone\n"
    assert world.state("gone") in ("created", "stopped")
    found = world.inspect("gone")
    upper = world.paths.container(found["id"]) / "gen" / "1" / "upper" / "left"
    dropped = world.paths.container(found["id"]) / "dropped" / "1" / "upper" / "left"
    assert next(path.read_text() for path in (upper, dropped) if path.exists()) == "left\n"
    world.vordr("rm", "gone")


def test_what_the_trash_had_is_gone_once_it_is_emptied_and_no_undo_is_promised_of_it(world: Instance) -> None:
    world.vordr("run", "-d", "--name", "web", "-e", "TOKEN=secret", str(world.pack()), "sleep", "1000")
    world.vordr("exec", "web", "sh", "-c", "echo precious > /note")
    ident = world.inspect("web")["id"]
    secret = world.paths.secrets / f"{ident}.json"
    world.vordr("rm", "-f", "web")
    assert list(world.paths.trashed(ident).rglob("note")) and secret.exists()
    assert world.vordr("trash", "empty").out == "", "it is kept for weeks"
    emptied = world.vordr("trash", "empty", "--yes", "web")
    assert emptied.out.split() == [ident] and "Freed" in emptied.err
    assert not world.paths.trashed(ident).exists() and not secret.exists()
    refused = world.vordr("undo", "--last", "--yes", code=84)
    assert "left the trash" in refused.err
    assert world.vordr("run", "--rm", "--name", "web", "hello", "echo", "again").out == "again\n"
    world.vordr("audit", "--chain", "--model")


def test_an_image_whose_trash_was_emptied_takes_no_room_and_can_come_in_again(world: Instance) -> None:
    package = world.pack("brief", rootfs=make_rootfs(world.home / "brief"))
    blobs, layers = world.paths.store / "blobs" / "sha256", world.paths.layers
    before = {folder: set(os.listdir(folder)) if folder.exists() else set() for folder in (blobs, layers)}
    for _ in range(2):
        world.vordr("run", "--rm", str(package), "true")
        world.vordr("rmi", "brief")
        assert set(os.listdir(blobs)) > before[blobs]
        world.vordr("trash", "empty", "--yes", "brief")
        assert {folder: set(os.listdir(folder)) for folder in (blobs, layers)} == before
        assert "left the trash" in world.vordr("undo", "--last", "--yes", code=84).err
    world.vordr("audit", "--chain", "--model")


def test_the_adoption_of_a_folder_is_one_act(world: Instance) -> None:
    folder = make_rootfs(world.home / "plain")
    before = world.vordr("images", "-q").out
    world.vordr("adopt", "--name", "plain", str(folder))
    assert world.vordr("run", "--rm", "plain", "echo", "hello").out == "hello\n"
    world.vordr("undo", "--steps", "2", "--yes")
    assert world.vordr("images", "-q").out == before
    world.vordr("redo", "--yes")
    assert world.vordr("run", "--rm", "plain", "echo", "again").out == "again\n"


def test_undo_of_a_run_whose_process_ended_by_itself_takes_the_exit_along(world: Instance) -> None:
    world.vordr("run", "--name", "oneshot", "hello", "sh", "-c", "exit 3", code=3)
    eventually(lambda: world.state("oneshot") == "stopped", "the exit")
    world.undo_last()
    assert is_gone(world, "oneshot")


# -- which acts ----------------------------------------------------------------------------------------


def test_steps_takes_acts_back_newest_first(world: Instance) -> None:
    world.run("steps")
    before = declared(world, "steps")
    world.vordr("pause", "steps")
    world.vordr("unpause", "steps")
    world.vordr("stop", "steps")
    world.vordr("undo", "steps", "--steps", "3", "--yes")
    assert declared(world, "steps") == before
    world.vordr("undo", "steps", "--yes")
    assert is_gone(world, "steps")


def test_to_takes_back_everything_after_a_record(world: Instance) -> None:
    world.run("to-a")
    mark = world.head()
    before = declared(world, "to-a")
    world.run("to-b")
    world.vordr("rm", "-f", "to-a")
    world.run("to-a")
    world.vordr("undo", "--to", str(mark), "--yes")
    assert declared(world, "to-a") == before
    assert is_gone(world, "to-b")
    assert world.head() > mark
    world.vordr("rm", "-f", "to-a")


def test_one_transaction_in_the_middle_is_refused_naming_what_depends_and_cascade_takes_it_along(
    world: Instance,
) -> None:
    world.run("chain")
    before = declared(world, "chain")
    world.vordr("stop", "chain")
    stopped = world.vordr("history", "-n", "1", "-q").out.strip()
    world.vordr("start", "chain")
    started = world.vordr("history", "-n", "1", "-q").out.strip()
    refused = world.vordr("--json", "undo", stopped, "--yes", code=82)
    assert refused.error["details"]["blocked_by"][0]["txn"] == started
    assert world.state("chain") == "running"
    world.vordr("undo", stopped, "--cascade", "--yes")
    assert declared(world, "chain") == before
    world.vordr("rm", "-f", "chain")


def test_a_name_taken_in_between_refuses_the_undo_and_names_the_holder(world: Instance) -> None:
    world.run("crown")
    before = declared(world, "crown")
    world.vordr("rm", "-f", "crown")
    removed = world.vordr("history", "-n", "1", "-q").out.strip()
    usurper = world.vordr("create", "--name", "crown", "hello").out.strip()
    refused = world.vordr("undo", removed, "--yes", code=82)
    assert "crown" in refused.err
    assert len(refused.err.split("Error [")) == 2
    assert world.inspect("crown")["id"] == usurper
    told = world.vordr("--json", "undo", removed, "--yes", code=82).error["details"]
    holders = [told.get("holder"), *(act["summary"] for act in told.get("blocked_by", ()))]
    assert any(held and (usurper in held or "crown" in held) for held in holders), told
    world.vordr("rm", "crown")
    world.vordr("undo", removed, "--yes")
    assert declared(world, "crown") == before
    world.vordr("rm", "-f", "crown")


def test_a_dry_run_tells_the_plan_and_changes_nothing(world: Instance) -> None:
    world.run("dry")
    world.vordr("stop", "dry")
    before, size = world.inspect("dry"), world.head()
    told = world.vordr("undo", "--last", "--dry-run").out
    assert "stop dry" in told and "memory of the process" in told
    plan = world.json("undo", "--last", "--dry-run")
    assert [step["operation"] for step in plan["steps"]] == ["revive"]
    assert plan["receipt"] is None
    assert (world.inspect("dry"), world.head()) == (before, size)
    world.vordr("rm", "dry")


def test_history_is_never_edited_by_an_undo(world: Instance) -> None:
    world.run("record")
    before = world.json("audit", "--chain")
    world.vordr("stop", "record")
    world.undo_last()
    after = world.json("audit", "--consistency", str(before["records"]), str(before["records"] + 1))
    assert after["ok"] and after["records"] > before["records"]
    world.vordr("rm", "-f", "record")


def test_nothing_to_undo_is_said_with_81(world: Instance) -> None:
    world.run("fresh")
    world.vordr("undo", "fresh", "--steps", "5", "--yes", code=81)
    assert world.state("fresh") == "running"
    world.vordr("rm", "-f", "fresh")


def test_after_all_this_the_journal_holds(world: Instance) -> None:
    world.assert_sound()
