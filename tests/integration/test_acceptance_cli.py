"""The command line as people and scripts use it: terminals, pipes, codes, shapes, images from elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from published import svalinn_schema
from real_world import OBEDIENT, Instance, eventually

# -- terminals -----------------------------------------------------------------------------------------


class Terminal:
    """``vordr WORDS`` on a terminal of 24 rows and 80 columns."""

    def __init__(self, world: Instance, *words: str) -> None:
        command = world.command(*words)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(command[0], command, {**world.environment, "TERM": "xterm"})
        self.seen = ""
        self.resize(24, 80)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, wanted: str, seconds: float = 20) -> str:
        """What was shown up to and with ``wanted``."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                pytest.fail(f"no {wanted!r} on the terminal: {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:  # EIO: the program has gone
                if wanted not in self.seen:
                    pytest.fail(f"ended without {wanted!r}: {self.seen!r}")
        shown, _, self.seen = self.seen.partition(wanted)
        return shown + wanted

    def end(self) -> int:
        """Exit code of the program."""
        with contextlib.suppress(OSError):
            while os.read(self.fd, 65536):
                pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_shell_on_a_terminal_sees_its_size_and_passes_its_code_on(world: Instance) -> None:
    terminal = Terminal(world, "run", "-it", "--rm", "--name", "term", "hello", "sh")
    terminal.until("# ")
    terminal.type("tty; echo $((6*7)); stty size\r")
    shown = terminal.until("24 80\r\n")
    assert "/dev/pts/0" in shown or "/dev/console" in shown
    assert "42\r\n" in shown
    terminal.resize(33, 101)
    terminal.type("until stty size | grep 33; do sleep 0.05; done\r")
    terminal.until("33 101\r\n")
    terminal.type("\x03")  # an interrupt is the shell's, not ours
    terminal.type("exit 5\r")
    assert terminal.end() == 5


def test_the_detach_keys_leave_and_attach_comes_back(world: Instance) -> None:
    terminal = Terminal(world, "run", "-it", "--name", "detached", "hello", "sh")
    terminal.until("# ")
    terminal.type("mine=secret-word\r")
    terminal.until("# ")
    terminal.type("\x10\x11")
    assert terminal.end() == 0
    assert world.state("detached") == "running"
    again = Terminal(world, "attach", "--detach-keys", "ctrl-a,d", "detached")
    again.type("echo got-$mine\r")
    again.until("got-secret-word\r\n")
    again.type("\x01d")
    assert again.end() == 0
    last = Terminal(world, "attach", "detached")
    last.type("exit 3\r")
    assert last.end() == 3
    assert eventually(lambda: world.state("detached") == "stopped", "the end")
    world.vordr("rm", "detached")


def test_exec_on_a_terminal(world: Instance, server: str) -> None:
    terminal = Terminal(world, "exec", "-it", server, "sh")
    terminal.until("# ")
    terminal.type("stty size; exit 9\r")
    terminal.until("24 80\r\n")
    assert terminal.end() == 9


def test_a_terminal_that_is_none_is_refused(world: Instance) -> None:
    done = world.vordr("run", "-it", "--name", "noterm", "hello", "sh", code=2)
    assert "not a terminal" in done.err
    world.vordr("inspect", "noterm", code=71)


# -- where the answer goes -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("ps",), ("history",), ("--json", "ps"), ("images",)])
def test_an_answer_that_cannot_be_written_is_one_line_and_no_success(
    world: Instance, words: tuple[str, ...]
) -> None:
    with open("/dev/full", "w") as full:
        asked = world.start(*words, stdout=full)
        _, err = asked.communicate(timeout=30)
    assert asked.returncode == 1 and "No space left on device" in err
    assert len(err.splitlines()) == 1, err


# -- pipes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(world: Instance) -> Iterator[str]:
    world.run("server", options=("-l", "tier=back", "-l", "app"))
    yield "server"
    world.vordr("rm", "-f", "server")


def test_standard_input_is_piped_through(world: Instance, server: str) -> None:
    package = str(world.home / "hello.ctp")
    assert world.vordr("run", "-i", "--rm", package, "cat", input="hi\n").out == "hi\n"
    text = "".join(f"line {n}\n" for n in range(20_000))
    assert world.vordr("exec", "-i", server, "cat", input=text).out == text
    assert world.vordr("run", "--rm", "hello", "cat", input="not meant for it\n").out == ""


def test_the_two_outputs_stay_apart(world: Instance, server: str) -> None:
    for words in (("run", "--rm", "hello"), ("exec", server)):
        done = world.vordr(*words, "sh", "-c", "echo out; echo err >&2")
        assert (done.out, done.err) == ("out\n", "err\n")


def test_fifty_megabytes_come_complete_and_in_order(world: Instance, tmp_path: Path) -> None:
    script = "BEGIN { for (i = 0; i < 50000; i++) { printf \"%07d \", i; print line } }"
    line = "x" * 1000
    expected = hashlib.sha256()
    for number in range(50_000):
        expected.update(f"{number:07d} {line}\n".encode())
    with open(tmp_path / "out", "wb") as out, world.start(
        "run", "--name", "flood", "hello", "awk", "-v", f"line={line}", script, stdout=out,
    ) as flooding:
        assert flooding.wait(60) == 0
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == expected.digest()
    with open(tmp_path / "logged", "wb") as out, world.start("logs", "flood", stdout=out) as logging:
        assert logging.wait(60) == 0
    assert hashlib.sha256((tmp_path / "logged").read_bytes()).digest() == expected.digest()
    assert world.vordr("logs", "--tail", "2", "flood").out == f"0049998 {line}\n0049999 {line}\n"
    world.vordr("rm", "flood")


def test_a_reader_that_goes_away_ends_the_command_and_not_the_container(world: Instance) -> None:
    endless = "while true; do echo x; done"
    with world.start("run", "--name", "chatty", "hello", "sh", "-c", endless) as running:
        assert running.stdout is not None and running.stdout.readline() == "x\n"
        running.stdout.close()
        assert running.wait(30) == 141
    assert world.state("chatty") == "running"
    world.vordr("rm", "-f", "chatty")


# -- exit codes and signals ----------------------------------------------------------------------------


def test_exit_codes_pass_through_run_exec_wait_and_start(world: Instance, server: str) -> None:
    assert world.vordr("run", "--name", "codes", "hello", "sh", "-c", "exit 41", code=41).err == ""
    assert world.vordr("wait", "codes", code=41).out == "41\n"
    world.vordr("start", "-a", "codes", code=41)
    world.vordr("exec", server, "sh", "-c", "exit 42", code=42)
    world.vordr("run", "--rm", "hello", "sh", "-c", "kill -9 $$; exit 6", code=6)  # 1 is immune to itself
    world.vordr("exec", server, "sh", "-c", "kill -9 $$", code=137)
    world.vordr("rm", "codes")


def test_wait_sees_the_end_of_what_was_killed(world: Instance) -> None:
    world.run("victim")
    with world.start("wait", "victim") as waiting:
        world.vordr("kill", "victim")
        out, _ = waiting.communicate(timeout=20)
        assert (out, waiting.returncode) == ("137\n", 137)
    world.vordr("rm", "victim")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGUSR1, 42), (signal.SIGTERM, 43), (signal.SIGINT, 44)])
def test_signals_to_the_command_reach_the_container(world: Instance, number: int, code: int) -> None:
    script = ("trap 'exit 42' USR1; trap 'exit 43' TERM; trap 'exit 44' INT; echo up; "
              "while :; do sleep 0.05; done")
    with world.start("run", "--rm", "hello", "sh", "-c", script) as running:
        assert running.stdout is not None and running.stdout.readline() == "up\n"
        running.send_signal(number)
        assert running.wait(20) == code


def test_stop_sends_the_signal_that_was_asked_for_and_kills_in_the_end(world: Instance) -> None:
    world.run("gentle", "sh", "-c", "trap 'exit 17' INT; while :; do sleep 0.05; done",
              options=("--stop-signal", "INT"))
    world.vordr("stop", "gentle")
    assert world.inspect("gentle")["exit_code"] == 17
    world.run("deaf", "sleep", "1000", options=("--stop-timeout", "1"))
    world.vordr("stop", "deaf")
    assert world.inspect("deaf")["exit_code"] == 137
    world.vordr("rm", "gentle", "deaf")


def test_following_logs_ends_with_the_container_and_misses_nothing(world: Instance) -> None:
    world.run("teller", "sh", "-c",
              "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo e >&2")
    done = world.vordr("logs", "-f", "teller")
    assert done.out == "".join(f"{n}\n" for n in range(1, 21))
    assert done.err == "e\n"
    assert world.vordr("logs", "-n", "3", "teller").out == "19\n20\n"
    assert world.vordr("logs", "-f", "teller").out == done.out
    stamped = world.vordr("logs", "-t", "teller").out.splitlines()
    times = [line.split(" ", 1)[0] for line in stamped]
    assert times == sorted(times) and times[0].endswith("Z")
    assert world.vordr("logs", "--since", times[10], "teller").out == "".join(f"{n}\n" for n in range(11, 21))
    world.vordr("rm", "teller")


# -- lists and shapes ----------------------------------------------------------------------------------


def test_ps_filters_formats_and_quiets(world: Instance, server: str) -> None:
    world.vordr("create", "--name", "idle", "hello")
    world.vordr("run", "--name", "ended", "hello", "sh", "-c", "exit 7", code=7)
    eventually(lambda: world.state("ended") == "stopped", "the end")

    def names(*words: str) -> list[str]:
        found = world.vordr("ps", "--format", "{{.Names}}", *words).out.split()
        return sorted(name for name in found if name in ("server", "idle", "ended"))

    assert names() == ["server"]
    assert names("-a") == ["ended", "idle", "server"]
    assert names("-f", "status=created") == ["idle"]
    assert names("-f", "status=exited", "-f", "status=running") == ["ended", "server"]
    assert names("-a", "-f", "exited=7") == ["ended"]
    assert names("-f", "label=tier=back") == names("-f", "label=app") == ["server"]
    assert names("-a", "-f", "label=tier=front") == []
    assert names("-a", "-f", "name=id") == ["idle"]
    assert names("-a", "-f", "ancestor=hello") == ["ended", "idle", "server"]
    ids = world.vordr("ps", "-aq", "-f", "name=idle").out.split()
    assert [len(each) for each in ids] == [12]
    full = world.inspect("idle")["id"]
    assert world.vordr("ps", "-aq", "--no-trunc", "-f", f"id={ids[0]}").out == f"{full}\n"
    table = world.vordr("ps", "-a", "--format", "table {{.Names}}\t{{.Status}}", "-f", "name=ended").out
    assert table.startswith("NAMES   STATUS\nended   Exited (7) ")
    assert json.loads(world.vordr("ps", "-a", "--format", "json", "-l").out)["Names"] == "ended"
    assert world.vordr("inspect", "-f", "{{.State.ExitCode}}", "ended").out == "7\n"
    world.vordr("rm", "idle", "ended")


def test_json_answers_have_the_published_shapes(world: Instance, server: str) -> None:
    world.vordr("create", "--name", "shape", "hello")
    for words, shape in (
        (("ps", "-a"), "containers"), (("images",), "images"), (("inspect", server), "container-info"),
        (("inspect", "shape"), "container-info"),
    ):
        jsonschema.validate(world.json(*words), svalinn_schema(f"{shape}.v1.json"),
                            format_checker=jsonschema.FormatChecker())
    for container in world.json("ps", "-a")["containers"]:
        jsonschema.validate(container, svalinn_schema("container-info.v1.json"))
    doctor = world.vordr("doctor", "--format", "json", code=None).json
    jsonschema.validate(doctor, svalinn_schema("doctor-report.v1.json"))
    for words, code in ((("stop", "nobody"), 71), (("run", "--nonsense"), 2), (("pause", "shape"), 73)):
        told = json.loads(world.vordr("--json", *words, code=code).err)
        jsonschema.validate(told, svalinn_schema("error-response.v1.json"))
    world.vordr("rm", "shape")


def test_json_of_acts_carries_a_receipt_that_undo_takes(world: Instance) -> None:
    made = world.json("run", "-d", "--name", "receipt", "hello", "sh", "-c", OBEDIENT)
    assert [inverse["operation"] for inverse in made["receipt"]["undo"]] == ["unstart", "uncreate"]
    assert "memory of the process" in made["receipt"]["irreversible"]
    world.vordr("undo", made["receipt"]["txn"], "--yes")
    world.vordr("inspect", "receipt", code=71)


# -- images from elsewhere -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def layout(world: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of busybox that nobody signed (what is inside of hello.ctp, with another config)."""
    folder = tmp_path_factory.mktemp("layout")
    with tarfile.open(world.home / "hello.ctp") as package:
        for member in package:
            if member.name.startswith("oci-layout/"):
                package.extract(member, folder, filter="data")
    made = folder / "oci-layout"
    subprocess.run(
        ["umoci", "config", "--image", f"{_tagged(made)}:latest", "--config.cmd", "echo",
         "--config.cmd", "from afar", "--config.env", "ORIGIN=afar"], check=True, capture_output=True)
    return made


def _tagged(layout: Path) -> Path:
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "index.json").write_text(json.dumps(index))
    return layout


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback: its host:port."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: {place}}}\n")
    with subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        eventually(lambda: _answers(place), "the registry")
        yield place
        running.terminate()


def _answers(place: str) -> bool:
    host, _, port = place.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def push(layout: Path, name: str) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout}:latest",
         f"docker://{name}"], check=True, capture_output=True)


def test_an_image_from_a_registry_runs_once_it_is_adopted_and_not_before(
    world: Instance, layout: Path, registry: str
) -> None:
    name = f"{registry}/team/afar:1"
    push(layout, name)
    pulled = world.vordr("pull", name).out
    assert pulled.startswith("Digest: sha256:") and pulled.endswith(f"{name}\n")
    refused = world.vordr("--json", "run", "-d", name, code=51).error
    assert refused["details"]["code"] == "MISSING_ATTESTATION"
    world.vordr("verify", name, code=1)
    world.vordr("adopt", name)
    assert world.vordr("run", "--rm", name).out == "from afar\n"
    assert world.vordr("run", "--rm", name, "sh", "-c", "echo $ORIGIN").out == "afar\n"
    told = world.vordr("verify", name).out
    assert "adopted" in told and "published" not in told.lower()
    world.vordr("undo", "--last", "--yes", code=None)
    digest = pulled.split()[1]
    assert digest.removeprefix("sha256:")[:12] in world.vordr("images", "-q").out.replace("sha256:", "")


def test_run_pulls_what_is_missing_and_says_why_it_may_not_run(
    world: Instance, layout: Path, registry: str
) -> None:
    name = f"{registry}/team/fresh:2"
    push(layout, name)
    world.vordr("run", "--rm", "--pull", "never", name, code=32)
    done = world.vordr("run", "--rm", name, code=None)
    # The same bytes may have been adopted under another name: then it may run.
    assert (done.code, done.out) == (0, "from afar\n") or done.code == 51, done
    assert name in world.vordr("images", "--format", "{{.Repository}}:{{.Tag}}").out
    world.vordr("run", "--rm", f"{registry}/team/absent", code=32)


@pytest.mark.parametrize("kind", ["oci-folder", "oci-archive", "docker-archive"])
def test_images_in_files_are_packed_and_run(world: Instance, layout: Path, tmp_path: Path, kind: str) -> None:
    source = layout
    if kind != "oci-folder":
        source = tmp_path / f"{kind}.tar"
        target = f"{kind}:{source}" + (":afar:latest" if kind == "docker-archive" else "")
        subprocess.run(["skopeo", "--insecure-policy", "copy", f"oci:{layout}:latest", target],
                       check=True, capture_output=True)
    package = tmp_path / "afar.ctp"
    world.vordr("pack", str(source), str(package), "--name", f"afar-{kind}")
    assert world.vordr("verify", str(package)).out.count("ok  ") >= 4
    assert world.vordr("run", "--rm", str(package)).out == "from afar\n"


def test_after_all_this_the_journal_holds(world: Instance) -> None:
    world.assert_sound()
