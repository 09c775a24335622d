"""Whatever is wrong: one line that says so, a way out, the documented exit code, and nothing half done."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from real_world import (
    Done,
    Instance,
    await_end,
    confined,
    end_process,
    eventually,
    groups_of,
    instance,
    make_rootfs,
)

from vordr.model import arguments

# -- what every refusal has in common ------------------------------------------------------------------


def mounts(world: Instance) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(line.split()[4] for line in lines if str(world.paths.run) in line)


def standing(world: Instance) -> tuple[object, ...]:
    """What a refused act must not change: containers, names, images, folders, mounts."""
    run = world.paths.run / "c"
    with world.engine() as engine:
        listed = engine.containers(all=True)
        images = engine.call("images", arguments.ImagesArgs()).answer.images
    return (
        sorted((c.id, c.name, str(c.state.state)) for c in listed),
        [image.manifest for image in images],
        sorted(entry.name for entry in world.paths.containers.iterdir()),
        sorted(entry.name for entry in run.iterdir()) if run.exists() else [],
        mounts(world),
    )


def refused(world: Instance, words: tuple[str, ...], code: int, error_id: str) -> Done:
    """Run ``vordr WORDS``, which is refused as a person should be told, and leaves nothing half done."""
    before = standing(world)
    done = world.vordr(*words, code=code)
    assert re.findall(r"^Error \[(ERR_[A-Z_]+)\]: \S", done.err, re.M) == [error_id], done
    assert done.err.count("Error [") == 1, done
    assert re.search(r"^To fix:\n  1\. \S", done.err, re.M), done
    assert standing(world) == before
    world.assert_settled()  # the audit comes at the end: a chain that one case broke stays broken
    return done


def flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


# -- on a sound instance -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """``{ctp}`` in the words is a package made of the good one by ``spoil``; ``c`` a stopped container."""

    name: str
    words: tuple[str, ...]
    code: int
    error: str
    says: str = ""
    spoil: Callable[[Path], None] | None = field(default=None)


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _cut_by_a_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1025)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _one_bit(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


CASES = (
    Case("an unknown container", ("stop", "nobody"), 71, "ERR_CONTAINER_NOT_FOUND", "nobody"),
    Case("an unknown id", ("start", "0123456789ab"), 71, "ERR_CONTAINER_NOT_FOUND", "0123456789ab"),
    Case("a name in use", ("run", "--name", "c", "hello", "true"), 75, "ERR_NAME_IN_USE", "'c'"),
    Case("a pause of a stopped one", ("pause", "c"), 73, "ERR_CONTAINER_STOPPED",
         "c is stopped; allowed: start"),
    Case("an unpause of a stopped one", ("unpause", "c"), 73, "ERR_CONTAINER_STOPPED", "c is stopped"),
    Case("a start of a running one", ("start", "r"), 72, "ERR_CONTAINER_RUNNING",
         "r is running; allowed: pause"),
    Case("a removal of a running one", ("rm", "r"), 72, "ERR_CONTAINER_RUNNING", "r is running"),
    Case("an exec in a stopped one", ("exec", "c", "true"), 73, "ERR_CONTAINER_STOPPED", "c is stopped"),
    Case("an attach to a stopped one", ("attach", "c"), 73, "ERR_CONTAINER_STOPPED", "c is stopped"),
    Case("a garbage package", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE", spoil=_garbage),
    Case("a truncated package", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE",
         spoil=_truncated),
    Case("a package short of its end", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE",
         spoil=_cut_by_a_byte),
    Case("an empty package", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE", spoil=_emptied),
    Case("a folder for a package", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE",
         spoil=_a_folder),
    Case("a package with a flipped bit", ("run", "--rm", "{ctp}", "true"), 34, "ERR_IMAGE_UNREADABLE",
         spoil=_one_bit),
    Case("a package that is not there", ("run", "--rm", "./absent.ctp", "true"), 34, "ERR_IMAGE_UNREADABLE",
         "No such file"),
    Case("an unknown image", ("run", "--pull", "never", "unheard-of", "true"), 32, "ERR_IMAGE_NOT_FOUND",
         "unheard-of"),
    Case("no such command inside", ("run", "--name", "new", "hello", "no-such-command"), 127,
         "ERR_RUNTIME_EXEC", "no-such-command"),
    Case("no such path inside", ("run", "--name", "new", "hello", "/no/such"), 127,
         "ERR_RUNTIME_EXEC", "/no/such"),
    Case("a file that cannot be executed", ("run", "--name", "new", "hello", "/bin/plain"), 126,
         "ERR_RUNTIME_EXEC", "/bin/plain"),
    Case("no such command in an exec", ("exec", "r", "no-such-command"), 127, "ERR_RUNTIME_EXEC"),
    Case("a plain file in an exec", ("exec", "r", "/bin/plain"), 126, "ERR_RUNTIME_EXEC"),
    Case("an unknown user", ("run", "--name", "new", "-u", "nobody-here", "hello", "true"), 2, "ERR_USAGE",
         "nobody-here"),
    Case("an unknown signal", ("kill", "-s", "NOSUCH", "r"), 2, "ERR_USAGE", "NOSUCH"),
    Case("too little memory", ("run", "--memory", "1k", "hello", "true"), 2, "ERR_USAGE", "6m"),
    Case("no size", ("run", "--memory", "much", "hello", "true"), 2, "ERR_USAGE", "much"),
    Case("a bad name", ("run", "--name", "../../etc", "hello", "true"), 2, "ERR_USAGE", "../../etc"),
    Case("a bad reference", ("run", "UPPER CASE", "true"), 2, "ERR_USAGE", "UPPER CASE"),
    Case("--rm with --restart", ("run", "--rm", "--restart", "always", "hello", "true"), 2, "ERR_USAGE"),
    Case("an unknown option", ("run", "--no-such-option", "hello"), 2, "ERR_USAGE", "--no-such-option"),
    Case("an unknown command", ("sotp", "c"), 2, "ERR_USAGE", "did you mean 'stop'"),
    Case("a docker flag that is not taken", ("run", "--privileged", "hello"), 2, "ERR_USAGE", "--privileged"),
    Case("no image to remove", ("rmi", "unheard-of"), 32, "ERR_IMAGE_NOT_FOUND"),
    Case("an image in use", ("rmi", "hello"), 35, "ERR_IMAGE_IN_USE", "hello"),
    Case("nothing to redo", ("redo", "01234567-0000", "--yes"), 81, "ERR_UNDO_NOTHING"),
    Case("an unknown transaction", ("undo", "01234567-0000", "--yes"), 81, "ERR_UNDO_NOTHING"),
    Case("an empty place in the trash", ("trash", "restore", "nobody"), 71, "ERR_CONTAINER_NOT_FOUND"),
    Case("a second trust init", ("trust", "init"), 53, "ERR_TRUST_STORE"),
    Case("an unknown key to revoke", ("trust", "revoke", "ffff"), 2, "ERR_USAGE", "ffff"),
    Case("an unknown reason to revoke", ("trust", "revoke", "ffff", "--reason", "mood"), 2, "ERR_USAGE",
         "key_compromise"),
    Case("nothing to pack", ("pack", "./absent", "out.ctp"), 32, "ERR_IMAGE_NOT_FOUND", "absent"),
    Case("garbage to pack", ("pack", "./garbage", "out.ctp"), 34, "ERR_IMAGE_UNREADABLE", "garbage"),
    Case("an unreachable registry", ("pull", "127.0.0.1:1/none"), 33, "ERR_PULL"),
)


@pytest.fixture(scope="module")
def bad(world: Instance) -> Iterator[Instance]:
    """The shared instance with a stopped container ``c``, a running ``r``, and a file of garbage."""
    world.run("c")
    world.vordr("stop", "c")
    world.run("r")
    (world.home / "garbage").write_bytes(os.urandom(10_000))
    yield world
    world.vordr("rm", "-f", "c", "r")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_is_refused_in_one_line_and_leaves_nothing(bad: Instance, case: Case) -> None:
    package = bad.home / "spoilt.ctp"
    if case.spoil is not None:
        shutil.copy(bad.home / "hello.ctp", package)
        case.spoil(package)
    try:
        words = tuple(str(package) if word == "{ctp}" else word for word in case.words)
        assert case.says in refused(bad, words, case.code, case.error).err
    finally:
        if package.is_dir():
            package.rmdir()
        package.unlink(missing_ok=True)
    assert not (bad.home / "out.ctp").exists()


def test_errors_in_json_mode_are_one_object_of_the_published_schema(bad: Instance) -> None:
    done = bad.vordr("--json", "pause", "c", code=73)
    assert done.out == "" and len(done.err.splitlines()) == 1
    assert done.error["id"] == "ERR_CONTAINER_STOPPED" and done.error["suggestions"] == ["vordr start c"]


def test_a_second_service_on_the_same_root_folder_is_refused(bad: Instance) -> None:
    done = refused(bad, ("serve",), 42, "ERR_STATE_LOCKED")
    assert str(bad.service_pid()) in done.err


# -- whom to trust -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stranger() -> Iterator[Path]:
    """A package signed by somebody else's key, with logs of their own."""
    with instance() as other:
        package = other.pack("foreign")
        yield package


def test_a_package_of_an_unknown_key_is_rejected_with_the_specs_code(bad: Instance, stranger: Path) -> None:
    done = refused(bad, ("run", "--rm", str(stranger), "true"), 51, "ERR_POLICY_DENIED")
    assert "UNKNOWN_KEY" in done.err
    told = bad.vordr("--json", "run", "-d", str(stranger), "true", code=51).error
    assert told["details"]["code"] == "UNKNOWN_KEY" and told["code"] == 51
    assert bad.vordr("verify", str(stranger), code=1).err.startswith("Rejected [UNKNOWN_KEY]")


@contextlib.contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


@pytest.mark.parametrize(
    ("file", "content", "code", "error"),
    [
        ("policy.toml", b"require = \n\xff", 61, "ERR_CONFIG_PARSE"),
        ("policy.toml", b"reqiure = 'any'\n", 62, "ERR_CONFIG_INVALID"),
        ("policy.toml", b"verdict_ttl = 0\n", 62, "ERR_CONFIG_INVALID"),
        ("trust-store.json", b"\x00garbage", 53, "ERR_TRUST_STORE"),
        ("trust-store.json", b"{}", 53, "ERR_TRUST_STORE"),
        ("trust-store.json", b"", 53, "ERR_TRUST_STORE"),
    ],
)
def test_garbage_where_trust_is_written_down_starts_nothing(
    bad: Instance, file: str, content: bytes, code: int, error: str
) -> None:
    with replaced(bad.paths.trust / file, content):
        for words in (("start", "c"), ("run", "--name", "new", "hello", "true")):
            assert file in refused(bad, words, code, error).err
        assert bad.state("r") == "running"
        assert bad.sh("r", "echo still") == "still\n"
    bad.vordr("start", "c")
    bad.vordr("stop", "c")


def test_garbage_in_the_configuration_keeps_the_service_from_starting_and_names_the_line() -> None:
    with instance(trust=False) as world:
        world.vordr("version")
        world.stop_service()
        for content, code, error in (("shopping list", 61, "ERR_CONFIG_PARSE"),
                                     ("\nno_such_key = 1\n", 62, "ERR_CONFIG_INVALID")):
            world.paths.config.write_text(content)
            done = world.vordr("ps", code=code)
            assert re.findall(r"^Error \[(ERR_[A-Z_]+)\]", done.err, re.M) == [error], done
            assert "vordr.toml" in done.err and ("line 1" in done.err or "no_such_key" in done.err), done
            assert world.service_pid() is None
        world.paths.config.unlink()
        world.vordr("ps")
        world.assert_sound()


def test_a_revoked_key_stops_the_next_start_and_lets_the_running_one_be() -> None:
    with instance() as world:
        package = world.pack()
        world.vordr("run", "-d", "--name", "old", str(package), "sleep", "100")
        key = next(k["id"] for k in world.json("trust", "show")["keys"])
        world.vordr("trust", "revoke", key, "--reason", "key_compromise")
        assert world.state("old") == "running"
        for image in ("hello", str(package)):
            done = refused(world, ("run", "--name", "new", image, "true"), 51, "ERR_POLICY_DENIED")
            assert "revoked" in done.err
        world.vordr("kill", "old")
        refused(world, ("start", "old"), 51, "ERR_POLICY_DENIED")
        world.vordr("undo", "--last", "--yes", code=51)  # the undo of kill would make a process
        assert world.state("old") == "stopped"
        assert world.vordr("undo", "--last", "--dry-run").code == 0
        world.assert_sound()


def test_without_a_trust_store_nothing_runs_and_the_way_out_is_named(tmp_path: Path) -> None:
    with instance(trust=False) as world:
        source = make_rootfs(tmp_path / "rootfs")
        done = world.vordr("pack", str(source), "x.ctp", code=53)
        assert "vordr trust init" in done.err
        assert not (world.home / "x.ctp").exists()
        world.assert_sound()


# -- sealed layers -------------------------------------------------------------------------------------


def test_a_broken_seal_is_refused_recorded_and_mended_from_the_blob() -> None:
    with instance() as world:
        package = world.pack()
        world.vordr("run", "-d", "--name", "web", str(package), "sleep", "100")
        world.vordr("kill", "web")
        layer = next(world.paths.layers.glob("*.erofs"))
        good = layer.read_bytes()
        subprocess.run(["chattr", "-i", str(layer)], check=True)
        flip(layer, layer.stat().st_size // 2)
        done = world.vordr("start", "web", code=52)
        assert done.err.count("Error [ERR_SEAL_BROKEN]") == 1 and "To fix:" in done.err
        assert world.state("web") == "stopped" and mounts(world) == []
        eventually(lambda: any(
            act["act"] == "reseal" and act["status"] == "committed" for act in world.json("history")["acts"]),
            "the layer to be made anew")
        assert layer.read_bytes() == good
        world.vordr("start", "web")
        assert world.sh("web", "echo well") == "well\n"
        assert ("anomaly", "seal_broken") in recorded(world)
        world.assert_sound()


def recorded(world: Instance) -> set[tuple[str, str]]:
    """Kind and operation of every record."""
    found = set()
    with world.engine() as engine:
        for seq in range(1, engine.audit().records + 1):
            proof = engine.call("audit", arguments.AuditArgs(prove=seq)).answer.proof
            found.add((proof["record"]["kind"], proof["record"]["operation"]))
    return found


def test_a_missing_layer_is_a_broken_seal_too() -> None:
    with instance() as world:
        world.vordr("create", "--name", "web", str(world.pack()), "sleep", "100")
        layer = next(world.paths.layers.glob("*.erofs"))
        subprocess.run(["chattr", "-i", str(layer)], check=True)
        layer.unlink()
        world.vordr("start", "web", code=52)
        eventually(layer.exists, "the layer to be made anew")
        eventually(lambda: world.vordr("start", "web", code=None).code == 0, "a start")
        world.assert_sound()


# -- a disk that is full, in a mount namespace of the instance's own -----------------------------------


def test_a_full_disk_below_the_layers_is_36_and_leaves_nothing_half_sealed() -> None:
    script = "mkdir -p $HOME_OF/root/layers; mount -t tmpfs -o size=1m none $HOME_OF/root/layers"
    with confined(script) as world:
        package = str(world.pack())
        done = refused(world, ("run", "--name", "new", package, "true"), 36, "ERR_STORAGE_FULL")
        assert "vordr trash ls" in done.err
        assert world.inner("ls", "-A", str(world.paths.layers)) == ""
        world.inner("mount", "-o", "remount,size=64m", str(world.paths.layers))
        world.vordr("run", "--rm", package, "true")
        world.assert_sound()


def test_a_full_disk_below_the_journal_refuses_new_acts_and_finishes_open_ones() -> None:
    script = "mkdir -p $HOME_OF/root/journal; mount -t tmpfs -o size=80m none $HOME_OF/root/journal"
    with confined(script) as world:
        world.vordr("run", "-d", "--name", "web", str(world.pack()), "sleep", "100")
        pid = world.inspect("web")["pid"]
        ballast = str(world.root / "journal" / "ballast")
        world.inner("fallocate", "-l", "48m", ballast)
        for words in (("stop", "web"), ("run", "--name", "new", "hello", "true"), ("rm", "-f", "web"),
                      ("undo", "--last", "--yes")):
            done = refused(world, words, 45, "ERR_JOURNAL_FULL")
            assert "free space" in done.err
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: world.state("web") == "stopped", "the exit, which nobody began")
        assert world.inspect("web")["exit_code"] == 137
        world.inner("rm", ballast)
        world.vordr("start", "web")
        world.assert_sound()


# -- a host that lacks something -----------------------------------------------------------------------

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
          # Python may live where nobody reads; what root alone may do is not among this.
          "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--")


def test_somebody_without_root_is_told_so_and_starts_nothing(bad: Instance) -> None:
    for words in (("ps",), ("run", "hello", "true"), ("rm", "-f", "c"), ("trust", "init")):
        ran = subprocess.run(
            [*NOBODY, *bad.command(*words)], env=bad.environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 13, ran
        assert re.findall(r"^Error \[(\w+)\]", ran.stderr, re.M) == ["ERR_PRIVILEGE"]
        assert "To fix:" in ran.stderr and "Traceback" not in ran.stderr
    assert bad.state("c") == "stopped"
    bad.assert_sound()


def test_somebody_without_root_and_without_a_service_is_told_who_may_start_one() -> None:
    with instance(trust=False) as world:
        world.root.mkdir(mode=0o711)
        ran = subprocess.run([*NOBODY, *world.command("ps")], env=world.environment, capture_output=True,
                             text=True, check=False)
        assert ran.returncode in (13, 14) and ran.stderr.count("Error [") == 1, ran
        assert world.service_pid() is None
        world.vordr("ps")


def test_without_runc_a_run_is_11_and_names_the_package() -> None:
    hide = "for p in /usr/sbin/runc /usr/bin/runc /usr/bin/crun; do test ! -e $p || mount -B $empty $p; done"
    with confined("empty=$HOME_OF/empty; touch $empty; " + hide) as world:
        package = str(world.pack())
        world.vordr("create", "--name", "importer", package)
        done = refused(world, ("run", "--name", "new", package, "true"), 11, "ERR_RUNTIME_NOT_FOUND")
        assert re.search(r"apt-get install -y .*(runc|crun)", done.err)
        assert world.vordr("doctor", code=1).out.count("FAIL") >= 1


def test_the_end_of_the_service_by_a_signal_is_orderly(bad: Instance) -> None:
    pid = bad.service_pid()
    keeper = bad.keeper_pid()
    assert pid is not None and keeper is not None
    end_process(pid, signal.SIGTERM)
    await_end(keeper)
    assert not bad.paths.socket.exists()
    bad.vordr("ps")
    assert bad.state("r") == "running"
    assert groups_of(bad.inspect("r")["id"])
    bad.assert_sound()
