"""What conmon does for containers and execs: ends, output, attach. Needs root."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_world import FOREVER, IDS, IMAGE, World, packets, runtime_sleeper, runtime_world, some_verdict  # noqa: F401 - fixtures among them

from vordr.model.errors import CommandNotFound, ContainerStopped, ExecFailed, RuntimeFailed
from vordr.model.spec import ContainerSpec
from vordr.runtime import attach, cgroups, cleanup, conmon, ociconfig, users
from vordr.runtime.driver import Driver
from vordr.runtime.logs import read_log

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


def test_the_end_of_a_process_whose_conmon_was_killed_is_told_when_it_comes(
    world: World, sleeper: str
) -> None:
    keeper, state = conmon.conmon_pid(world.paths, sleeper), world.driver.state(sleeper)
    assert keeper is not None and state is not None
    descriptor = os.pidfd_open(keeper)
    os.kill(keeper, signal.SIGKILL)
    select.select([descriptor], [], [], 20)
    os.close(descriptor)
    world.watcher.adopt(sleeper, state.pid)
    before = time.time_ns() // 1000
    os.kill(state.pid, signal.SIGKILL)
    told = world.wait(sleeper)
    assert told.code is None and told.time_us >= before
    cleanup.reap(world.paths, sleeper, world.driver)


def test_a_new_watcher_hears_of_exits_of_before_it(world: World) -> None:
    container = world.create("/bin/sh", "-c", "exit 9")
    world.watcher.stop()
    try:
        world.start(container)
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
    container, bundle, spec = world.prepare("/bin/sh", "-c", "exit 2")
    (world.paths.exits / container).write_text("99")
    world.hold(container, bundle, spec)
    assert not (world.paths.exits / container).exists()
    world.start(container)
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
    container, _ = world.begin("/bin/true")
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
    container = world.create("/bin/yes", stdin=True)
    connection = world.waiting[container].attach()
    world.start(container)
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
    container = world.create("/bin/sh", "-c", "echo out; echo err >&2")
    connection = world.waiting[container].attach()
    world.start(container)
    assert packets(connection) == {attach.Stream.STDOUT: b"out\n", attach.Stream.STDERR: b"err\n"}
    connection.close()


def test_stdin_reaches_the_process_and_its_end_too(world: World) -> None:
    container = world.create("/bin/cat", stdin=True)
    connection = world.waiting[container].attach()
    world.start(container)
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
    container = world.create("/bin/sh", "-c", ON_RESIZE, tty=True, stdin=True)
    connection = world.waiting[container].attach()
    world.start(container)
    connection.settimeout(20)
    assert connection.recv(100) == bytes([attach.Stream.STDOUT]) + b"/dev/pts/0\r\n"
    attach.resize(world.paths, container, 33, 77)
    assert packets(connection) == {attach.Stream.STDOUT: b"33 77\r\n"}
    assert world.wait(container).code == 0
    connection.close()


def test_a_terminal_takes_what_is_typed(world: World) -> None:
    container = world.create("/bin/sh", "-c", "read line; echo got $line", tty=True, stdin=True)
    connection = world.waiting[container].attach()
    world.start(container)
    connection.send(b"this\n")
    assert b"got this" in packets(connection)[attach.Stream.STDOUT]
    connection.close()


def test_attaching_to_what_ended_says_so(world: World) -> None:
    container, _ = world.begin("/bin/true")
    world.wait(container)
    cleanup.reap(world.paths, container, world.driver)
    with pytest.raises(ContainerStopped):
        attach.connect_attach(world.paths, container)
    with pytest.raises(ContainerStopped):
        attach.resize(world.paths, container, 24, 80)


def test_the_log_has_both_streams_whole_lines_and_pieces(world: World) -> None:
    container, _ = world.begin("/bin/sh", "-c", "echo one; echo two >&2; printf three")
    world.wait(container)
    lines = {(line.stream, line.text, line.partial) for line in read_log(world.paths.log(container))}
    assert lines == {("stdout", b"one", False), ("stderr", b"two", False), ("stdout", b"three", True)}


# -- exec --------------------------------------------------------------------------------------------


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
