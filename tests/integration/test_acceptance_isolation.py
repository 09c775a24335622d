"""What a container is shut in by, asked of the kernel from both sides of the wall."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_world import CGROUPS, Instance, eventually

SECRET = "hunter2-4f1e9c"


@pytest.fixture(scope="module")
def cell(world: Instance) -> Iterator[int]:
    """Pid of the process of a container with every limit, called ``cell``."""
    world.run("cell", options=(
        "--memory", "64m", "--cpus", "0.5", "--pids-limit", "20", "-e", f"TOKEN={SECRET}", "-e", "PLAIN=yes"))
    yield world.inspect("cell")["pid"]
    world.vordr("rm", "-f", "cell")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def limit(world: Instance, name: str, *places: str) -> str:
    """The first of the cgroup files ``CONTROLLER/FILE`` (v1) or ``FILE`` (v2) that there is."""
    container = world.inspect(name)["id"]
    for place in places:
        controller, _, file = place.rpartition("/")
        for parent in (CGROUPS / controller, CGROUPS):
            path = parent / "vordr" / container / file
            if path.exists():
                return path.read_text().strip()
    pytest.fail(f"no cgroup file among {places}")


# -- users and privileges ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_the_hosts_root_is_nowhere_in_the_map(cell: int, kind: str) -> None:
    lines = Path(f"/proc/{cell}/{kind}_map").read_text().splitlines()
    rows = [tuple(map(int, line.split())) for line in lines]
    assert rows
    for inside, outside, count in rows:
        assert outside >= 65536, (inside, outside, count)
    assert status(cell)[kind.capitalize()].split()[0] == str(rows[0][1])


def test_two_containers_share_no_user_id(world: Instance, cell: int) -> None:
    world.run("neighbour")
    try:
        mine, other = sorted(
            (world.inspect(name)["ids"] for name in ("cell", "neighbour")), key=lambda ids: ids["first"])
        assert mine["first"] + mine["count"] <= other["first"]
    finally:
        world.vordr("rm", "-f", "neighbour")


def test_no_new_privileges_few_capabilities_and_a_seccomp_filter(cell: int) -> None:
    found = status(cell)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    bounding = int(found["CapBnd"], 16)
    assert bounding.bit_count() <= 10
    for number in (12, 13, 16, 19, 21, 25, 27, 38, 39):  # NET_ADMIN, NET_RAW, SYS_ADMIN and the like
        assert not bounding >> number & 1, number
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0


@pytest.mark.parametrize("kind", ["user", "pid", "mnt", "ipc", "uts", "net", "cgroup"])
def test_every_namespace_is_its_own(cell: int, kind: str) -> None:
    own, ours = (Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in (cell, "self"))
    assert own != ours


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("cat /proc/kcore | head -c 1 | wc -c", "0"),
        ("cat /proc/keys | wc -c", "0"),
        ("ls /sys/firmware | wc -l", "0"),
        ("echo x > /proc/sys/kernel/hostname && echo wrote || echo refused", "refused"),
        ("echo b > /proc/sysrq-trigger && echo wrote || echo refused", "refused"),
        ("mount -t tmpfs none /tmp && echo mounted || echo refused", "refused"),
        ("mknod /dev/sda b 8 0 && cat /dev/sda >/dev/null && echo read || echo refused", "refused"),
        ("unshare -U true && echo made || echo refused", "refused"),
        ("ls /proc | grep -c '^[0-9]'", None),
    ],
)
def test_the_kernel_shows_and_allows_little(
    world: Instance, cell: int, script: str, says: str | None
) -> None:
    told = world.sh("cell", f"({script}) 2>/dev/null").strip()
    if says is None:
        assert int(told) <= 10  # its own processes only
    else:
        assert told == says


# -- limits --------------------------------------------------------------------------------------------


def test_limits_stand_in_the_control_groups(world: Instance, cell: int) -> None:
    assert limit(world, "cell", "memory/memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(world, "cell", "pids/pids.max", "pids.max") == "20"
    quota = limit(world, "cell", "cpu/cpu.cfs_quota_us", "cpu.max").split()[0]
    assert quota == "50000"


def test_a_fork_bomb_runs_against_the_pids_limit(world: Instance) -> None:
    done = world.vordr(
        "run", "--rm", "--pids-limit", "10", "hello", "sh", "-c",
        "i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; echo all fifty", code=None)
    assert "all fifty" not in done.out
    assert done.code != 0
    assert "fork" in done.err.lower() or "resource" in done.err.lower(), done


def test_a_memory_hog_is_killed(world: Instance) -> None:
    done = world.vordr(
        "run", "--rm", "--memory", "16m", "hello", "sh", "-c",
        "x=0123456789abcdef; while true; do x=$x$x$x$x; done", code=None)
    assert done.code == 137, done


def test_without_a_pids_limit_there_is_one_all_the_same(world: Instance) -> None:
    world.run("unlimited")
    assert int(limit(world, "unlimited", "pids/pids.max", "pids.max")) <= 4096
    world.vordr("rm", "-f", "unlimited")


# -- what the user asks for ----------------------------------------------------------------------------


def test_read_only_keeps_the_root_from_being_written(world: Instance) -> None:
    done = world.vordr(
        "run", "--rm", "--read-only", "hello", "sh", "-c",
        "touch /no && echo wrote; touch /etc/no; exit 7", code=7)
    assert "wrote" not in done.out
    assert done.err.count("Read-only file system") == 2


def test_user_and_workdir_are_those_asked_for(world: Instance) -> None:
    done = world.vordr("run", "--rm", "-u", "ann", "-w", "/home/ann", "hello", "sh", "-c",
                       "id -u; id -G; pwd; echo $HOME")
    assert done.out == "1000\n1001\n/home/ann\n/home/ann\n"
    done = world.vordr("run", "--rm", "-u", "7:8", "hello", "id", "-u")
    assert done.out == "7\n"


def test_a_user_that_is_not_there_is_refused_and_nothing_stays(world: Instance) -> None:
    done = world.vordr("run", "--name", "nouser", "-u", "nobody-at-all", "hello", "true", code=None)
    assert done.code not in (0, 1) and done.err.count("Error [ERR_") == 1, done
    world.vordr("inspect", "nouser", code=71)


def test_an_environment_value_reaches_the_process_and_no_record(world: Instance, cell: int) -> None:
    assert world.sh("cell", "echo $TOKEN $PLAIN") == f"{SECRET} yes\n"
    assert SECRET.encode() in Path(f"/proc/{cell}/environ").read_bytes()
    for words in (("inspect", "cell"), ("history",), ("--json", "history"), ("explain",)):
        assert SECRET not in world.vordr(*words).out
    for base in (world.root, world.paths.run):
        for path in base.rglob("*"):
            if not path.is_file() or path.is_symlink() or "rootfs" in path.parts or "lowers" in path.parts:
                continue
            if SECRET.encode() in path.read_bytes():
                reachable = all(parent.stat().st_mode & 0o001 for parent in path.parents)
                assert not (reachable and path.stat().st_mode & 0o044), path
                assert "journal" not in path.parts and path.name != "service.log", path


def test_a_refused_run_leaves_no_secret_on_the_disk(world: Instance) -> None:
    before = set((world.paths.secrets).rglob("*"))
    world.vordr("run", "-e", f"X={SECRET}", "--name", "cell", "hello", "true", code=None)
    world.vordr("run", "--rm", "-e", f"X={SECRET}", "hello", "no-such-command", code=127)
    after = set((world.paths.secrets).rglob("*"))
    assert {path for path in after - before if SECRET.encode() in path.read_bytes()} == set()


def test_init_is_process_one_and_reaps_and_forwards(world: Instance) -> None:
    world.run("tini", options=("--init",))
    comm = Path(f"/proc/{world.inspect('tini')['pid']}/comm").read_text().strip()
    assert comm in ("init", "catatonit")
    assert world.sh("tini", "cat /proc/1/cmdline | tr '\\0' ' '").startswith("/dev/init --")
    world.vordr("exec", "tini", "sh", "-c", "(sleep 0.05 & exec true) & true")
    states = "cat /proc/[0-9]*/status 2>/dev/null; true"
    eventually(lambda: "Z" not in re.findall(r"^State:\s+(\S)", world.sh("tini", states), re.M),
               "the orphan to be reaped")
    world.vordr("stop", "-t", "5", "tini")
    assert world.inspect("tini")["exit_code"] in (0, 143)
    world.vordr("rm", "tini")


def test_init_is_another_program_than_the_images(world: Instance) -> None:
    done = world.vordr(
        "run", "--rm", "--init", "hello", "sh", "-c", "ls -l /proc/1/exe | grep -c busybox; exit 0")
    assert done.out == "0\n"


# -- network -------------------------------------------------------------------------------------------


def test_network_none_has_a_loopback_that_is_up_and_nothing_else(world: Instance, cell: int) -> None:
    assert world.sh("cell", "ls /sys/class/net") == "lo\n"
    told = world.sh("cell", "ip -o link; (echo heard | nc -l -p 80 &); "
                    "until nc 127.0.0.1 80 </dev/null 2>/dev/null; do sleep 0.05; done")
    assert re.search(r"lo: <LOOPBACK,UP", told), told
    assert told.rstrip().endswith("heard")
    assert world.sh("cell", "cat /proc/net/route | wc -l") == "1\n"


def test_the_hosts_network_is_refused_by_default_and_allowed_by_the_operators_word(world: Instance) -> None:
    refused = world.vordr("run", "--network", "host", "--name", "wide", "hello", "true", code=51)
    assert "allow_host_network" in refused.err
    world.vordr("inspect", "wide", code=71)
    policy = world.paths.trust / "policy.toml"
    policy.write_text("allow_host_network = true\n")
    try:
        done = world.vordr("run", "--rm", "--network", "host", "hello", "ls", "/sys/class/net")
        assert done.out.split() == sorted(entry.name for entry in Path("/sys/class/net").iterdir())
    finally:
        policy.unlink()
    world.vordr("run", "--rm", "--network", "host", "hello", "true", code=51)


def test_after_all_this_the_journal_holds(world: Instance) -> None:
    world.assert_sound()
