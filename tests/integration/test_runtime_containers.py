"""Containers with the real runtime and kernel: isolation, limits, the life of a process. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime_world import FOREVER, IDS, IMAGE, World, packets, runtime_sleeper, runtime_world, some_verdict  # noqa: F401 - fixtures among them

from vordr.model.errors import CommandNotFound, ExecFailed, RuntimeFailed
from vordr.model.spec import NetworkMode
from vordr.runtime import attach, cgroups, cleanup, conmon
from vordr.runtime.driver import RuntimeStatus
from vordr.runtime.logs import LogStop, read_log
from vordr.runtime.probe import CgroupLayout


def test_the_runtime_is_the_one_that_this_layout_calls_for(world: World) -> None:
    both = {"runc", "crun"} <= {program.name for program in world.facts.runtimes}
    assert both and world.driver.name == ("crun" if world.facts.cgroup is CgroupLayout.V2 else "runc")


# -- what a container sees ---------------------------------------------------------------------------


def test_nobody_in_the_container_is_a_user_of_the_host(world: World) -> None:
    container, handle = world.begin(*FOREVER)
    status = Path(f"/proc/{handle.container_pid}/status").read_text()
    assert f"Uid:\t{IDS.first}\t{IDS.first}" in status
    mapping = Path(f"/proc/{handle.container_pid}/uid_map").read_text().split()
    assert mapping == ["0", str(IDS.first), str(IDS.count)]


def test_every_namespace_is_the_containers_own(world: World) -> None:
    _, handle = world.begin(*FOREVER)
    for kind in ("user", "pid", "mnt", "ipc", "uts", "net", "cgroup"):
        assert os.readlink(f"/proc/{handle.container_pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_the_hosts_network_is_shared_on_request_and_sys_is_read_only_there(world: World) -> None:
    script = (
        "ls /sys/class/net >/dev/null && ! touch /sys/fs/cgroup/x 2>/dev/null && readlink /proc/self/ns/net"
    )
    text = world.shell(script, network=NetworkMode.HOST)
    assert text == os.readlink("/proc/self/ns/net")


def test_privileges_are_nine_capabilities_and_cannot_grow(world: World) -> None:
    text = world.shell("cat /proc/self/status")
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0x5FB
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize(
    "script",
    [
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "hostname other",
        "mknod /tmp/null c 1 3",
        "echo 1 > /proc/sys/kernel/printk",
        "cat /proc/kcore | head -c1 | grep -q .",
        "chroot / true",
        "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do"
        " [ -e $f ] && echo $$ > $f && exit 0; done; exit 1",
    ],
)
def test_what_would_lead_out_is_refused(world: World, script: str) -> None:
    code, text = world.run("/bin/sh", "-c", script)
    assert code != 0, text


def test_kernel_secrets_are_masked(world: World) -> None:
    assert world.shell("cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l") == "0\n0"


SYSCALLS = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
numbers = {
    "bpf": 321, "keyctl": 250, "userfaultfd": 323, "io_uring_setup": 425, "clone3": 435, "unknown": 999,
}
found = {}
for name, number in numbers.items():
    ctypes.set_errno(0)
    found[name] = (libc.syscall(number, 0, 0, 0, 0, 0), ctypes.get_errno())
import socket
kinds = {38: 5, 16: socket.SOCK_RAW}
for name, family in (("alg", 38), ("vsock", 40), ("netlink", 16), ("inet", 2), ("unix", 1)):
    try:
        socket.socket(family, kinds.get(family, socket.SOCK_DGRAM)).close()
        found[name] = (0, 0)
    except OSError as error:
        found[name] = (-1, error.errno)
print(json.dumps(found))
"""


def test_system_calls_are_refused_with_the_errno_that_programs_fall_back_on(world: World) -> None:
    """A Python of the host runs in the container; its filter is the same (numbers of x86_64)."""
    container, bundle, spec = world.prepare(sys.executable, "-c", SYSCALLS)
    config = json.loads((bundle / "config.json").read_text())
    for folder in ("/usr", "/lib", "/lib64", *{str(Path(sys.base_prefix)), str(Path(sys.prefix))}):
        if folder.startswith("/usr/"):
            continue
        config["mounts"].append(
            {"destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro", "nosuid"]}
        )
    config["process"]["args"][0] = os.path.realpath(sys.executable)
    outside = Path("/root")
    if Path(sys.base_prefix).is_relative_to(outside):
        config["mounts"].insert(
            0, {"destination": "/root", "type": "tmpfs", "source": "tmpfs", "options": []}
        )
    conmon.write_bundle(world.paths, container, config)
    world.hold(container, bundle, spec)
    world.start(container)
    assert world.wait(container).code == 0, world.log_text(container)
    found = json.loads(world.log_text(container))
    eperm, enosys, family = 1, 38, 97
    assert {name: number for name, (_, number) in found.items()} == {
        "bpf": eperm,
        "keyctl": eperm,
        "userfaultfd": eperm,
        "io_uring_setup": enosys,
        "clone3": enosys,
        "unknown": enosys,
        "alg": family,
        "vsock": family,
        "netlink": 0,
        "inet": 0,
        "unix": 0,
    }


def test_image_defaults_own_values_and_account_make_the_environment(world: World) -> None:
    text = world.shell("env", environment={"OWN": "a=b", "IMAGE": "mine"}, user="ann")
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert (found["OWN"], found["IMAGE"], found["HOME"]) == ("a=b", "mine", "/home/ann")


def test_user_name_brings_its_groups(world: World) -> None:
    assert world.shell("id", user="ann") == "uid=1000(ann) gid=1001(ann) groups=10(wheel),50(staff)"


def test_etc_files_name_the_container_and_leave_the_image_alone(world: World) -> None:
    text = world.shell("hostname; cat /etc/hostname; grep web /etc/hosts", hostname="web")
    assert text == "web\nweb\n127.0.1.1\tweb"


def test_a_missing_working_directory_is_made(world: World) -> None:
    assert world.shell("pwd", workdir="/new/place") == "/new/place"


def test_a_read_only_root_holds_but_shm_can_be_written(world: World) -> None:
    script = "! touch /x 2>/dev/null && ! (echo x >> /etc/hosts) 2>/dev/null && touch /dev/shm/x && echo held"
    assert world.shell(script, read_only=True) == "held"


def test_init_is_pid_one_and_passes_the_exit_code_on(world: World) -> None:
    code, text = world.run("/bin/sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; exit 4", init=True)
    assert (code, text.split()[0]) == (4, "/dev/init")


def test_ping_sockets_and_low_ports_need_no_root(world: World) -> None:
    text = world.shell(
        "cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start"
    )
    assert text.split() == ["0", "65535", "0"]


# -- limits ------------------------------------------------------------------------------------------


def limit(container: str, controller: str, name: str) -> str:
    for hierarchy in cgroups.mounted_hierarchies():
        if controller in hierarchy.controllers:
            return (
                (hierarchy.root / cgroups.container_group(container).lstrip("/") / name).read_text().strip()
            )
    raise AssertionError(f"no controller {controller}")


def test_limits_reach_the_kernel(world: World) -> None:
    container, _ = world.begin(*FOREVER, memory=64 << 20, cpu_millis=250, pids_limit=9)
    legacy = not any(h.unified and "memory" in h.controllers for h in cgroups.mounted_hierarchies())
    assert limit(container, "memory", "memory.limit_in_bytes" if legacy else "memory.max") == str(64 << 20)
    assert limit(container, "pids", "pids.max") == "9"
    assert limit(container, "cpu", "cpu.cfs_quota_us" if legacy else "cpu.max").split()[0] == "25000"


def test_too_many_processes_are_refused_by_the_kernel(world: World) -> None:
    # Far above the threads that the runtime itself needs inside, or its own start fails now and then.
    many = "n=0; while [ $n -lt 80 ]; do sleep 9 & n=$((n+1)); done; wait"
    code, text = world.run("/bin/sh", "-c", many, pids_limit=40)
    assert code != 0 and "fork" in text


def test_a_process_over_its_memory_dies_and_conmon_says_why(world: World) -> None:
    container, _ = world.begin(
        "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", memory=16 << 20
    )
    assert world.wait(container).code == 137
    assert conmon.was_oom_killed(world.paths, container)
    # What kills it at its first step is over before conmon listens: the group has counted it all the same.
    assert cgroups.oom_kills(container) >= 1


# -- the life of a process ---------------------------------------------------------------------------


def test_nothing_of_a_container_runs_before_its_conmon_is_told(world: World) -> None:
    container = world.create("/bin/sh", "-c", "echo ran")
    world.waiting[container].attach().close()
    assert world.driver.state(container) is None and cgroups.processes(container) == frozenset()
    handle = world.start(container)
    assert handle.conmon_pid > 0 < handle.container_pid
    world.wait(container)
    assert world.log_text(container) == "ran"


def test_an_abandoned_conmon_ends_and_runs_nothing(world: World) -> None:
    for connect in (False, True):
        container = world.create("/bin/sh", "-c", "echo ran")
        waiting = world.waiting.pop(container)
        if connect:
            waiting.attach().close()
        waiting.abandon()
        waiting.abandon()
        cleanup.reap(world.paths, container, world.driver)
        assert cleanup.leftovers(world.paths, container, world.driver) == ()
        assert world.driver.state(container) is None and world.log_text(container) == ""


ENDS_BESIDE_ITS_CONMON = """
import os, signal, sys
from pathlib import Path
from vordr.model.paths import Paths
from vordr.runtime import conmon
from vordr.runtime.driver import choose
from vordr.runtime.probe import probe
paths = Paths(Path(sys.argv[1]), Path(sys.argv[2]))
container, driver = sys.argv[3], choose(probe(), paths)
waiting = conmon.prepare(
    paths, container, conmon.bundle_folder(paths, container), driver, tty=False, stdin=False,
    log=paths.log(container))
print(waiting.ready(), flush=True)
if sys.argv[4] == "attached":
    waiting.attach()
if sys.argv[4] == "told":
    waiting._sync.close()  # as if it died by now, but for the word that the runtime has to read yet
    waiting._go.say("")
    while driver.state(container) is None:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def keeper_of_a_dead_engine(world: World, container: str, when: str) -> int:
    words = [sys.executable, "-c", ENDS_BESIDE_ITS_CONMON, str(world.paths.root), str(world.paths.run),
             container, when]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout)


def test_a_conmon_whose_engine_dies_while_the_runtime_works_holds_its_container(world: World) -> None:
    container, _, _ = world.prepare("/bin/sh", "-c", "read -r word; echo said $word; exit 3")
    keeper = keeper_of_a_dead_engine(world, container, "told")
    world.watcher.adopt(container, keeper)
    assert world.wait(container).code == 3
    assert world.log_text(container) == "said"
    cleanup.reap(world.paths, container, world.driver)


@pytest.mark.parametrize("when", ["at once", "attached"])
def test_a_conmon_whose_engine_dies_before_the_word_runs_nothing_and_ends(world: World, when: str) -> None:
    container, _, _ = world.prepare("/bin/sh", "-c", "echo ran")
    keeper = keeper_of_a_dead_engine(world, container, when)
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(keeper)
        assert select.select([descriptor], [], [], 20)[0], "the conmon waits for ever"
        os.close(descriptor)
    assert world.driver.state(container) is None and world.log_text(container) == ""
    cleanup.reap(world.paths, container, world.driver)
    assert cleanup.leftovers(world.paths, container, world.driver) == ()


def test_what_goes_wrong_while_the_runtime_works_ends_its_container(world: World) -> None:
    container = world.create(*FOREVER)

    def fail() -> None:
        raise RuntimeFailed("the disk fails")

    with pytest.raises(RuntimeFailed, match="the disk fails"):
        conmon.run(world.waiting.pop(container), some_verdict(), fail)
    cleanup.reap(world.paths, container, world.driver)
    assert cleanup.leftovers(world.paths, container, world.driver) == ()
    assert cgroups.processes(container) == frozenset()


@pytest.mark.parametrize("tty", [False, True])
def test_what_ends_at_once_is_heard_whole_every_time(world: World, tty: bool) -> None:
    for number in range(12):
        container = world.create("/bin/sh", "-c", f"echo {number}; exit {number}", tty=tty)
        connection = world.waiting[container].attach()
        world.start(container)
        assert packets(connection) == {
            attach.Stream.STDOUT: f"{number}\r\n".encode() if tty else f"{number}\n".encode()}
        assert world.wait(container).code == number
        connection.close()
        cleanup.reap(world.paths, container, world.driver)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -6 $$", 134)]
)
def test_exit_codes_arrive_and_a_signal_is_128_more(world: World, script: str, code: int) -> None:
    # Signals of a pid 1 to itself are dropped by the kernel, so the shell is a child here.
    assert world.run("/bin/sh", "-c", f"(exec /bin/sh -c '{script}'); exit $?")[0] == code


def test_a_signal_from_outside_is_128_more(world: World, sleeper: str) -> None:
    assert world.driver.kill(sleeper, signal.SIGKILL)
    assert world.wait(sleeper).code == 137
    state = world.driver.state(sleeper)
    assert state is not None and (state.status, state.pid) == (RuntimeStatus.STOPPED, 0)


def test_other_signals_reach_the_process(world: World) -> None:
    container = world.create(
        "/bin/sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 1 & wait; done"
    )
    log = LogStop()
    world.start(container)
    assert next(read_log(world.paths.log(container), follow=log)).text == b"ready"
    log.close()
    assert world.driver.kill(container, signal.SIGTERM)
    assert world.wait(container).code == 5


def test_a_paused_container_dies_of_sigkill(world: World, sleeper: str) -> None:
    world.driver.pause(sleeper)
    state = world.driver.state(sleeper)
    assert state is not None and state.status is RuntimeStatus.PAUSED and cgroups.is_frozen(sleeper)
    assert world.driver.kill(sleeper, signal.SIGKILL)
    assert world.wait(sleeper).code == 137


def test_a_paused_container_runs_on_after_resume(world: World, sleeper: str) -> None:
    world.driver.pause(sleeper)
    world.driver.resume(sleeper)
    state = world.driver.state(sleeper)
    assert state is not None and state.status is RuntimeStatus.RUNNING and not cgroups.is_frozen(sleeper)


def test_commands_on_what_ended_or_never_was_say_so_quietly(world: World) -> None:
    container, _ = world.begin("/bin/true")
    world.wait(container)
    assert not world.driver.kill(container, signal.SIGKILL)
    assert world.driver.delete(container)
    assert not world.driver.delete(container)
    assert not world.driver.delete(container, force=True)
    assert world.driver.state(container) is None
    assert container not in world.driver.list()


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("nope", CommandNotFound),
        ("/nope", CommandNotFound),
        ("/etc/passwd", ExecFailed),
        ("/etc", ExecFailed),
    ],
)
def test_commands_that_cannot_run_are_told_apart_and_leave_nothing(
    world: World, command: str, error: type[ExecFailed]
) -> None:
    with pytest.raises(ExecFailed) as refused:
        world.begin(command)
    assert type(refused.value) is error
    container = world.made[-1]
    cleanup.reap(world.paths, container, world.driver)
    assert cleanup.leftovers(world.paths, container, world.driver) == ()


def test_a_broken_configuration_is_the_runtimes_failure_with_its_words(world: World) -> None:
    container, bundle, spec = world.prepare("/bin/true")
    config = json.loads((bundle / "config.json").read_text())
    config["root"]["path"] = "/no/such/folder"
    conmon.write_bundle(world.paths, container, config)
    with pytest.raises(RuntimeFailed, match="/no/such/folder"):
        conmon.run(world.hold(container, bundle, spec), some_verdict())


def test_no_process_without_a_verdict(world: World) -> None:
    container, bundle, spec = world.prepare("/bin/true")
    forged: Any = {"manifest": "sha256:" + "0" * 64}
    with pytest.raises(TypeError, match="Verdict"):
        conmon.run(world.hold(container, bundle, spec), forged)
    assert world.driver.state(container) is None
