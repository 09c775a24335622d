"""Containers with the real runtime, conmon and kernel: isolation, limits, ends, output, exec. Needs root."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runtime_world import IDS, IMAGE, World, open_world, some_verdict

from vordr.model.errors import CommandNotFound, ContainerStopped, ExecFailed, RuntimeFailed
from vordr.model.spec import ContainerSpec, NetworkMode
from vordr.runtime import attach, cgroups, cleanup, conmon, ociconfig, users
from vordr.runtime.driver import Driver, RuntimeStatus
from vordr.runtime.logs import LogStop, read_log
from vordr.runtime.probe import CgroupLayout

FOREVER = ("/bin/sleep", "600")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.fail("needs root")
    with open_world() as opened:
        yield opened


@pytest.fixture
def sleeper(world: World) -> str:
    container, _ = world.create(*FOREVER)
    world.driver.start(container)
    return container


def packets(connection: socket.socket) -> dict[int, bytes]:
    """All output of an attach socket until its end, by stream."""
    found: dict[int, bytes] = {}
    connection.settimeout(20)
    while packet := connection.recv(attach.LONGEST_PACKET + 1):
        found[packet[0]] = found.get(packet[0], b"") + packet[1:]
    return found


def execute(
    world: World,
    container: str,
    *command: str,
    user: str = "",
    tty: bool = False,
    stdin: bool = False,
    attached: bool = True,
    workdir: str | None = None,
) -> conmon.ExecHandle:
    rootfs = world.paths.container_run(container) / "rootfs"
    process = ociconfig.process_for_exec(
        command,
        IMAGE,
        spec=ContainerSpec(),
        id=container,
        environment={"FROM": "exec"},
        facts=world.facts,
        user=users.resolve(rootfs, user, IDS),
        tty=tty,
        workdir=workdir,
    )
    return conmon.exec_(
        world.paths,
        container,
        secrets.token_hex(8),
        process,
        world.driver,
        tty=tty,
        stdin=stdin,
        attach=attached,
    )


def executed(handle: conmon.ExecHandle) -> tuple[int | None, dict[int, bytes]]:
    assert handle.attach is not None
    output = packets(handle.attach)
    code = handle.wait(20)
    handle.close()
    return code, output


def test_the_runtime_is_the_one_that_this_layout_calls_for(world: World) -> None:
    both = {"runc", "crun"} <= {program.name for program in world.facts.runtimes}
    assert both and world.driver.name == ("crun" if world.facts.cgroup is CgroupLayout.V2 else "runc")


# -- what a container sees ---------------------------------------------------------------------------


def test_nobody_in_the_container_is_a_user_of_the_host(world: World) -> None:
    container, handle = world.create(*FOREVER)
    status = Path(f"/proc/{handle.container_pid}/status").read_text()
    assert f"Uid:\t{IDS.first}\t{IDS.first}" in status
    mapping = Path(f"/proc/{handle.container_pid}/uid_map").read_text().split()
    assert mapping == ["0", str(IDS.first), str(IDS.count)]


def test_every_namespace_is_the_containers_own(world: World) -> None:
    _, handle = world.create(*FOREVER)
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
    container, bundle, _ = world.prepare(sys.executable, "-c", SYSCALLS)
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
    conmon.create(
        world.paths,
        container,
        bundle,
        world.driver,
        tty=False,
        stdin=False,
        log=world.paths.log(container),
        verdict=some_verdict(),
    )
    world.driver.start(container)
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
    container, _ = world.create(*FOREVER, memory=64 << 20, cpu_millis=250, pids_limit=9)
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
    container, _ = world.create(
        "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", memory=16 << 20
    )
    world.driver.start(container)
    assert world.wait(container).code == 137
    assert conmon.was_oom_killed(world.paths, container)


# -- the life of a process ---------------------------------------------------------------------------


def test_a_created_container_waits_for_start(world: World) -> None:
    container, handle = world.create("/bin/sh", "-c", "echo ran")
    state = world.driver.state(container)
    assert state is not None and (state.status, state.pid) == (RuntimeStatus.CREATED, handle.container_pid)
    assert world.log_text(container) == ""
    world.driver.start(container)
    world.wait(container)
    assert world.log_text(container) == "ran"


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
    container, _ = world.create(
        "/bin/sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 1 & wait; done"
    )
    log = LogStop()
    world.driver.start(container)
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
    container, _ = world.create("/bin/true")
    world.driver.start(container)
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
        world.create(command)
    assert type(refused.value) is error
    container = world.made[-1]
    cleanup.reap(world.paths, container, world.driver)
    assert cleanup.leftovers(world.paths, container, world.driver) == ()


def test_a_broken_configuration_is_the_runtimes_failure_with_its_words(world: World) -> None:
    container, bundle, _ = world.prepare("/bin/true")
    config = json.loads((bundle / "config.json").read_text())
    config["root"]["path"] = "/no/such/folder"
    conmon.write_bundle(world.paths, container, config)
    with pytest.raises(RuntimeFailed, match="/no/such/folder"):
        conmon.create(
            world.paths,
            container,
            bundle,
            world.driver,
            tty=False,
            stdin=False,
            log=world.paths.log(container),
            verdict=some_verdict(),
        )


def test_no_process_without_a_verdict(world: World) -> None:
    container, bundle, _ = world.prepare("/bin/true")
    forged: Any = {"manifest": "sha256:" + "0" * 64}
    with pytest.raises(TypeError, match="Verdict"):
        conmon.create(
            world.paths,
            container,
            bundle,
            world.driver,
            tty=False,
            stdin=False,
            log=world.paths.log(container),
            verdict=forged,
        )
    assert world.driver.state(container) is None


# -- conmon ------------------------------------------------------------------------------------------


def test_conmon_is_in_its_own_session_and_group_with_a_clean_environment(world: World, sleeper: str) -> None:
    pid = conmon.conmon_pid(world.paths, sleeper)
    assert pid is not None and os.getsid(pid) == pid
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert f"0::{cgroups.conmon_group(sleeper)}\n" in groups
    names = {
        entry.split(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if entry
    }
    assert names <= {b"PATH", b"LANG", b"TMPDIR", b"_OCI_SYNCPIPE", b"_OCI_STARTPIPE"}


def test_the_container_is_in_its_own_group_in_every_hierarchy(world: World, sleeper: str) -> None:
    state = world.driver.state(sleeper)
    assert state is not None
    paths = {line.split(":", 2)[2] for line in Path(f"/proc/{state.pid}/cgroup").read_text().splitlines()}
    assert paths == {cgroups.container_group(sleeper)}
    assert cgroups.cgroup_id(sleeper) is not None
    assert state.pid in cgroups.processes(sleeper)


def test_no_conmon_is_our_child_or_left_as_a_zombie(world: World, sleeper: str) -> None:
    pid = conmon.conmon_pid(world.paths, sleeper)
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    assert int(parent) != os.getpid()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert all(
        Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z" for child in children
    )


def test_a_killed_conmon_is_told_as_an_unknown_end(world: World, sleeper: str) -> None:
    pid = conmon.conmon_pid(world.paths, sleeper)
    assert pid is not None
    world.watcher.adopt(sleeper, pid)
    os.kill(pid, signal.SIGKILL)
    assert world.wait(sleeper).code is None
    assert conmon.conmon_pid(world.paths, sleeper) is None
    cleanup.reap(world.paths, sleeper, world.driver)
    assert cleanup.leftovers(world.paths, sleeper, world.driver) == ()


def test_a_new_watcher_hears_of_exits_of_before_it(world: World) -> None:
    container, _ = world.create("/bin/sh", "-c", "exit 9")
    world.watcher.stop()
    try:
        world.driver.start(container)
        pid = conmon.conmon_pid(world.paths, container)
        if pid is not None:
            descriptor = os.pidfd_open(pid)
            select.select([descriptor], [], [], 20)
            os.close(descriptor)
    finally:
        world.watcher = type(world.watcher)(world.paths.exits, world._on_exit)
        world.watcher.start()
    assert world.wait(container).code == 9


def test_an_exit_file_of_an_earlier_process_is_not_taken_for_this_ones(world: World) -> None:
    container, bundle, _ = world.prepare("/bin/sh", "-c", "exit 2")
    (world.paths.exits / container).write_text("99")
    conmon.create(
        world.paths, container, bundle, world.driver, tty=False, stdin=False, log=world.paths.log(container),
        verdict=some_verdict())
    assert not (world.paths.exits / container).exists()
    world.driver.start(container)
    assert world.wait(container).code == 2


def test_reap_kills_removes_everything_and_may_be_repeated(world: World, sleeper: str) -> None:
    state = world.driver.state(sleeper)
    assert state is not None
    descriptor = os.pidfd_open(state.pid)
    world.driver.pause(sleeper)
    cleanup.reap(world.paths, sleeper, world.driver)
    cleanup.reap(world.paths, sleeper, world.driver)
    assert select.select([descriptor], [], [], 0)[0], "the process still runs"
    os.close(descriptor)
    assert cleanup.leftovers(world.paths, sleeper, world.driver) == ()


def test_reap_ends_processes_that_the_runtime_forgot(world: World, sleeper: str) -> None:
    state = world.driver.state(sleeper)
    assert state is not None
    descriptor = os.pidfd_open(state.pid)
    subprocess.run(["rm", "-rf", world.driver.state_root / sleeper], check=True)
    cleanup.reap(world.paths, sleeper, world.driver)
    assert select.select([descriptor], [], [], 0)[0]
    os.close(descriptor)
    assert cleanup.leftovers(world.paths, sleeper, world.driver) == ()


def no_runtime(world: World) -> Driver:
    """The driver, with a program that does nothing but fail."""
    return replace(world.driver, program=Path("/bin/false"))


def test_reap_of_a_container_that_ended_starts_no_program_and_leaves_nothing(world: World) -> None:
    container, _ = world.create("/bin/true")
    world.driver.start(container)
    world.wait(container)
    cleanup.reap(world.paths, container, no_runtime(world))
    assert cleanup.leftovers(world.paths, container, world.driver) == ()


def test_reap_leaves_to_the_runtime_what_may_still_run(world: World, sleeper: str) -> None:
    """Even where its first process seems gone, a process in its groups is enough of a doubt."""
    pidfile = conmon.bundle_folder(world.paths, sleeper) / conmon.CONTAINER_PIDFILE
    for pid in (pidfile.read_text(), str(2**22 - 1), "none"):
        pidfile.write_text(pid)
        with pytest.raises(RuntimeFailed):
            cleanup.reap(world.paths, sleeper, no_runtime(world))
        assert world.driver.state(sleeper) is not None
        assert cgroups.processes(sleeper)


def test_reap_is_not_held_up_by_an_attached_client_that_does_not_read(world: World) -> None:
    container, _ = world.create("/bin/yes", stdin=True)
    connection = attach.connect_attach(world.paths, container)
    world.driver.start(container)
    # conmon is stuck once its log stops growing while the process still writes.
    log, sizes = world.paths.log(container), [-1, 0]
    while sizes[-1] == 0 or sizes[-1] != sizes[-2]:
        select.select([], [], [], 0.1)
        sizes.append(log.stat().st_size)
    cleanup.reap(world.paths, container, world.driver)
    assert cleanup.leftovers(world.paths, container, world.driver) == ()
    connection.close()


def test_many_at_once_all_start_and_all_their_ends_are_heard(world: World) -> None:
    codes = range(24)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda code: world.run("/bin/sh", "-c", f"exit {code}")[0], codes))
    assert found == list(codes)


# -- output ------------------------------------------------------------------------------------------


def test_attached_before_the_start_nothing_is_lost_and_streams_are_kept_apart(world: World) -> None:
    container, _ = world.create("/bin/sh", "-c", "echo out; echo err >&2")
    connection = attach.connect_attach(world.paths, container)
    world.driver.start(container)
    assert packets(connection) == {attach.Stream.STDOUT: b"out\n", attach.Stream.STDERR: b"err\n"}
    connection.close()


def test_stdin_reaches_the_process_and_its_end_too(world: World) -> None:
    container, _ = world.create("/bin/cat", stdin=True)
    connection = attach.connect_attach(world.paths, container)
    world.driver.start(container)
    connection.send(b"to and ")
    connection.send(b"fro")
    connection.shutdown(socket.SHUT_WR)
    assert packets(connection) == {attach.Stream.STDOUT: b"to and fro"}
    assert world.wait(container).code == 0
    connection.close()


def test_without_stdin_the_process_reads_nothing(world: World) -> None:
    assert world.run("/bin/cat") == (0, "")


# Says its terminal's size as soon as that changes.
ON_RESIZE = "trap 'stty size; exit 0' WINCH; tty; while :; do sleep 1 & wait; done"


def test_a_terminal_is_one_stream_and_follows_its_size(world: World) -> None:
    container, _ = world.create("/bin/sh", "-c", ON_RESIZE, tty=True, stdin=True)
    connection = attach.connect_attach(world.paths, container)
    world.driver.start(container)
    connection.settimeout(20)
    assert connection.recv(100) == bytes([attach.Stream.STDOUT]) + b"/dev/pts/0\r\n"
    attach.resize(world.paths, container, 33, 77)
    assert packets(connection) == {attach.Stream.STDOUT: b"33 77\r\n"}
    assert world.wait(container).code == 0
    connection.close()


def test_a_terminal_takes_what_is_typed(world: World) -> None:
    container, _ = world.create("/bin/sh", "-c", "read line; echo got $line", tty=True, stdin=True)
    connection = attach.connect_attach(world.paths, container)
    world.driver.start(container)
    connection.send(b"this\n")
    assert b"got this" in packets(connection)[attach.Stream.STDOUT]
    connection.close()


def test_attaching_to_what_ended_says_so(world: World) -> None:
    container, _ = world.create("/bin/true")
    world.driver.start(container)
    world.wait(container)
    cleanup.reap(world.paths, container, world.driver)
    with pytest.raises(ContainerStopped):
        attach.connect_attach(world.paths, container)
    with pytest.raises(ContainerStopped):
        attach.resize(world.paths, container, 24, 80)


def test_the_log_has_both_streams_whole_lines_and_pieces(world: World) -> None:
    container, _ = world.create("/bin/sh", "-c", "echo one; echo two >&2; printf three")
    world.driver.start(container)
    world.wait(container)
    lines = {(line.stream, line.text, line.partial) for line in read_log(world.paths.log(container))}
    assert lines == {("stdout", b"one", False), ("stderr", b"two", False), ("stdout", b"three", True)}


# -- exec --------------------------------------------------------------------------------------------


def test_exec_joins_the_container_with_its_own_user_and_streams(world: World, sleeper: str) -> None:
    handle = execute(world, sleeper, "/bin/sh", "-c", "id -un; echo $FROM; echo err >&2; exit 5", user="ann")
    code, output = executed(handle)
    assert (code, output) == (5, {attach.Stream.STDOUT: b"ann\nexec\n", attach.Stream.STDERR: b"err\n"})


def test_exec_has_no_more_privileges_than_the_container(world: World, sleeper: str) -> None:
    _, output = executed(execute(world, sleeper, "/bin/sh", "-c", "cat /proc/self/status"))
    text = output[attach.Stream.STDOUT].decode()
    assert "CapBnd:\t00000000000005fb" in text and "NoNewPrivs:\t1" in text and "Seccomp:\t2" in text


def test_exec_in_a_terminal_follows_its_size(world: World, sleeper: str) -> None:
    handle = execute(world, sleeper, "/bin/sh", "-c", ON_RESIZE, tty=True)
    assert handle.attach is not None
    handle.attach.settimeout(20)
    assert b"/dev/pts" in handle.attach.recv(100)
    attach.resize(world.paths, sleeper, 44, 99, handle.session)
    assert executed(handle) == (0, {attach.Stream.STDOUT: b"44 99\r\n"})


def test_exec_takes_stdin_to_its_end(world: World, sleeper: str) -> None:
    handle = execute(world, sleeper, "/bin/wc", "-c", stdin=True)
    assert handle.attach is not None
    handle.attach.send(b"x" * 4000)
    handle.attach.shutdown(socket.SHUT_WR)
    assert executed(handle) == (0, {attach.Stream.STDOUT: b"4000\n"})


def test_a_detached_exec_leaves_its_code_for_a_service_that_comes_back(world: World, sleeper: str) -> None:
    handle = execute(world, sleeper, "/bin/sh", "-c", "exit 6", attached=False)
    assert handle.wait(20) == 6
    handle.close()
    assert conmon.exec_exit_code(world.paths, sleeper, handle.session) == 6
    conmon.forget_exec(world.paths, sleeper, handle.session)
    assert conmon.exec_exit_code(world.paths, sleeper, handle.session) is None


def test_an_exec_ends_with_its_container(world: World, sleeper: str) -> None:
    handle = execute(world, sleeper, *FOREVER)
    with pytest.raises(TimeoutError):
        handle.wait(0.01)
    world.driver.kill(sleeper, signal.SIGKILL)
    assert executed(handle)[0] == 137


@pytest.mark.parametrize(("command", "error"), [("nope", CommandNotFound), ("/etc/passwd", ExecFailed)])
def test_an_exec_that_cannot_run_is_told_apart(
    world: World, sleeper: str, command: str, error: type[ExecFailed]
) -> None:
    with pytest.raises(ExecFailed) as refused:
        execute(world, sleeper, command)
    assert type(refused.value) is error


def test_an_exec_in_a_missing_folder_is_the_runtimes_failure(world: World, sleeper: str) -> None:
    with pytest.raises(RuntimeFailed, match="nodir"):
        execute(world, sleeper, "/bin/true", workdir="/nodir")
