"""The fast path against the ordinary one: the same requests, output and exit codes, or it declines."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from cli_engine import Conmon, MemoryEngine, container, image, receipt
from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.cli import entry, fast, fastrun, fastwire
from vordr.cli.app import program
from vordr.cli.fastwords import COUNT, FLAG, GRAMMARS, MANY, read
from vordr.engine.channel import Channel, close_files, listen
from vordr.engine.opening import DEFAULT_ROOT, resolve_root
from vordr.engine.protocol import Reply, is_package
from vordr.model import answers, errors
from vordr.model.lifecycle import State
from vordr.model.operations import REGISTRY
from vordr.model.paths import Paths

SPLIT_WORDS = {"run": ("image", "command"), "exec": ("name", "words")}


class Service:
    """A memory engine behind the real socket and frames."""

    def __init__(self, engine: MemoryEngine, root: Path) -> None:
        self.engine = engine
        self.listening = listen(Paths.of(root).socket, group=None)
        self.listening.setblocking(True)
        self.hang_up_on: str | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listening.shutdown(2)
        self.listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(Channel(connected),), daemon=True).start()

    def _serve(self, channel: Channel) -> None:
        while (received := channel.receive()) is not None:
            message = received.message
            if message["operation"] == self.hang_up_on:
                break
            self._answer(channel, message, received.files)
            close_files(received.files)
        channel.close()

    def _answer(self, channel: Channel, message: dict, files: tuple[int, ...]) -> None:
        args = msgspec.convert(message["args"], REGISTRY[message["operation"]].args)
        try:
            reply = self.engine.call(
                message["operation"], args, files=files,
                on_event=lambda event: channel.send({"id": message["id"], "event": event}))
        except errors.VordrError as error:
            channel.send({"id": message["id"], "error": error.to_wire()})
            return
        channel.send({"id": message["id"], "answer": reply.answer, "files": len(reply.files)}, reply.files)
        close_files(reply.files)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VORDR_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.ctp").write_bytes(b"package")
    return tmp_path


@pytest.fixture
def services(root: Path) -> Iterator[list[Service]]:
    made: list[Service] = []
    yield made
    for service in made:
        service.close()


def spoken(*files: int) -> Reply:
    return Reply(answers.ExecAnswer(session="s1", receipt=receipt(), attach=bool(files)), files)


def said(out: bytes, err: bytes = b"") -> int:
    """The attach descriptor of a process that writes this and ends."""
    conmon = Conmon()
    conmon.say(out)
    conmon.say(err, stream=3)
    conmon.end()
    return conmon.near


def world() -> MemoryEngine:
    engine = MemoryEngine(
        container("web"), container("db", State.PAUSED, arguments=("post\x1bgres", "-c" * 30)),
        container("old", State.STOPPED, exit_code=137), container("new", State.CREATED, id="d" * 64),
        images=[image()])

    def ran(args):
        made = engine._made(args, State.RUNNING)
        return Reply(made, (said(b"out\n", b"err\n"),) if args.attach else ())

    engine.scripts |= {
        "run": ran,
        "exec": lambda args: spoken(*(() if args.detach else (said(b"42\n"),))),
        "wait": answers.WaitAnswer(code=5),
    }
    return engine


def perform(way: str, words: list[str], services: list[Service], root: Path, monkeypatch, capfd, engine):
    """(exit code, stdout, stderr, calls, files) of one command line, and whether the fast path took it."""
    took: list[bool] = []
    attempt = fast.attempt

    def one_way(given):
        code = attempt(given) if way == "fast" else None
        took.append(code is not None)
        return code

    service = Service(engine, root)
    services.append(service)
    monkeypatch.setattr(fast, "attempt", one_way)
    try:
        code = entry.run(words)
    finally:
        monkeypatch.setattr(fast, "attempt", attempt)
    out, err = capfd.readouterr()
    return (code, out, err, engine.calls, engine.files), took[0]


PLAIN = [
    ["ps"], ["ps", "-a"], ["ps", "-aq"], ["ps", "-a", "-q", "--no-trunc"], ["ps", "--all", "--no-trunc"],
    ["run", "hello"], ["run", "--rm", "hello", "true"],
    ["run", "hello", "--rm", "--name", "x", "sh", "-c", "a b"],
    ["run", "-d", "hello", "sleep", "9"], ["run", "--rm", "demo.ctp", "true"], ["run", "-d", "./demo.ctp"],
    ["run", "-e", "A=1", "-e", "B=ü\n", "--env=C=", "-e", "HOME", "-e", "NOT_SET_HERE", "hello"],
    ["run", "-w", "/srv", "-u0:0", "-hbox", "--read-only", "--init", "hello", "--", "-x"],
    ["exec", "web", "true"], ["exec", "-d", "web", "true"],
    ["exec", "-e", "A=1", "-w/", "web", "-u", "0", "ls", "-l"],
    ["exec", "web", "--", "-x"],
    ["start", "new"], ["stop", "web"], ["stop", "-t", "3", "web", "db"], ["stop", "--time=0", "web"],
    ["restart", "-t5", "web"], ["kill", "web"], ["pause", "web"], ["unpause", "db"], ["resume", "db"],
    ["rm", "old"], ["rm", "-f", "web", "old"], ["rm", "nope", "old", "neither"], ["stop", "nope"],
    ["run", "missing"], ["run", "-d", "missing", "true"],
]


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_both_ways_ask_print_and_exit_the_same(words, services, root, monkeypatch, capfd):
    quick, took = perform("fast", words, services, root, monkeypatch, capfd, world())
    slow, _ = perform("slow", words, services, root, monkeypatch, capfd, world())
    assert took, "the fast path declined"
    assert quick == slow


@pytest.mark.parametrize("words", [
    ["--json", "ps"], ["ps", "--json"], ["ps", "--filter", "name=web"], ["ps", "--nope"], ["ps", "extra"],
    ["run", "-m", "64m", "hello"], ["run", "--network", "host", "hello"], ["run"], ["exec", "web"],
    ["run", "-e", "=1", "hello"], ["run", "-it", "hello"], ["run", "gone.ctp"], ["stop"], ["rm", "--", "web"],
    ["stop", "-t", "x", "web"], ["stop", "-t", "-1", "web"], ["kill", "-s", "TERM", "web"],
    ["inspect", "web"], ["run", "hello", "\udcff"], ["--debug", "ps"], [],
    ["ps", "--all=1"], ["run", "--detach=1", "hello"],
], ids=repr)
def test_what_is_not_plain_is_declined_before_the_service_hears_anything(words, services, root):
    engine = world()
    services.append(Service(engine, root))
    assert fast.attempt(words) is None
    assert engine.calls == []


def test_without_a_service_it_declines(root):
    assert fast.attempt(["ps"]) is None


def test_run_rm_waits_until_the_container_is_gone(services, root, capfd):
    engine = world()
    services.append(Service(engine, root))
    assert fast.attempt(["run", "--rm", "hello", "true"]) == 5
    assert [args.condition for args in engine.of("wait")] == ["removed"]


@pytest.mark.parametrize("words", [["run", "hello"], ["exec", "web", "true"]])
def test_an_unknown_exit_code_is_an_error_and_no_success(words, services, root, monkeypatch, capfd):
    def unknown():
        engine = world()
        engine.scripts["wait"] = answers.WaitAnswer(code=None)
        return engine

    quick, took = perform("fast", words, services, root, monkeypatch, capfd, unknown())
    slow, _ = perform("slow", words, services, root, monkeypatch, capfd, unknown())
    assert took
    assert quick == slow
    assert quick[0] == errors.ContainerError.exit_code


def test_a_process_that_was_over_before_it_could_be_attached_to_shows_its_log(
    services, root, monkeypatch, capfd
):
    def over():
        engine = world()
        engine.scripts["run"] = lambda args: engine._made(args, State.RUNNING)
        engine.events["logs"] = [{"event": "log", "stream": "stdout", "text": "late", "time": 0}]
        engine.scripts["logs"] = answers.LogsAnswer(lines=())
        return engine

    quick, took = perform("fast", ["run", "hello"], services, root, monkeypatch, capfd, over())
    slow, _ = perform("slow", ["run", "hello"], services, root, monkeypatch, capfd, over())
    assert took
    assert quick == slow
    assert "late" in quick[1]


@pytest.mark.parametrize("words", [["stop", "web"], ["ps"], ["run", "-d", "hello"]])
def test_a_service_that_goes_away_is_told_as_ever_and_asked_once(words, services, root, monkeypatch, capfd):
    told = []
    for way in ("fast", "slow"):
        engine = world()
        service = Service(engine, root)
        service.hang_up_on = {"stop": "stop", "ps": "list", "run": "run"}[words[0]]
        attempt = fast.attempt
        with monkeypatch.context() as patch:
            patch.setattr(fast, "attempt", attempt if way == "fast" else lambda given: None)
            told.append((entry.run(words), *capfd.readouterr(), engine.calls))
        service.close()
    assert told[0] == told[1]
    assert told[0][0] == errors.ServiceUnreachable.exit_code


def test_a_signal_reaches_the_container(services, root):
    engine = MemoryEngine(images=[image()])
    conmon = Conmon()
    engine.scripts |= {
        "run": lambda args: Reply(engine._made(args, State.RUNNING), (conmon.near,)),
        "wait": answers.WaitAnswer(code=143),
    }
    services.append(Service(engine, root))
    client = subprocess.Popen(
        [sys.executable, "-c", "from vordr.cli.entry import main; main()", "run", "hello"],
        env={**os.environ, "VORDR_ROOT": str(root)}, stdout=subprocess.PIPE)
    conmon.say(b"up")
    assert client.stdout.read(2) == b"up"
    client.terminate()
    assert engine.wait_for("kill").signal == "TERM"
    conmon.end()
    assert client.wait(10) == 143


def test_the_size_of_the_terminal_arrives_without_the_ordinary_ways_imports(services, root):
    """A shell asks for it at once: it must not wait for msgspec and the model."""
    engine = MemoryEngine(container())
    conmon = Conmon()
    engine.scripts |= {"exec": spoken(conmon.near), "wait": answers.WaitAnswer(code=0)}
    services.append(Service(engine, root))
    script = ("import sys\nfrom vordr.cli.entry import run\ncode = run(['exec', '-it', 'web', 'sh'])\n"
              "print('heavy', sorted({'msgspec', 'click', 'vordr.engine'} & set(sys.modules)))")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    size = engine.wait_for("resize")
    assert (size.container, size.session) == ("web", "s1")
    conmon.end()
    shown = b""
    while b"heavy []" not in shown:
        shown += os.read(terminal, 4096)
    os.waitpid(pid, 0)
    os.close(terminal)


# -- what it repeats of others -------------------------------------------------------------------------


def click_command(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_option_of_the_grammar_is_clicks_option_of_that_field_and_kind(name):
    known = {word: p for p in click_command(name).params if isinstance(p, click.Option) for word in p.opts}
    for word, (field, kind) in GRAMMARS[name].options.items():
        option = known[word]
        assert (option.name, option.is_flag, option.multiple) == (field, kind == FLAG, kind == MANY), word
        assert isinstance(option.type, click.IntRange) == (kind == COUNT)


PIECES = st.sampled_from([
    "-a", "-q", "-aq", "-d", "-i", "-t", "-t3", "-di", "-e", "-eA=1", "A=1", "--env=B=", "-u", "root", "-w/",
    "-f", "-h", "box", "--rm", "--name", "--name=x", "--time", "7", "web", "-", "--", "--json", "-x", "-t=3",
    "", "--all", "--no-trunc", "--verify", "--name=", "-h=", "--read-only", "-fq", "٣", "--detach=1",
])


@settings(max_examples=600, deadline=None)
@given(name=st.sampled_from(sorted(GRAMMARS)), words=st.lists(PIECES, max_size=7))
def test_click_reads_every_line_that_the_fast_path_reads_and_reads_it_alike(name, words):
    found = read(words, GRAMMARS[name])
    if found is None:
        return
    values, rest = found
    command = click_command(name)
    if name == "ps" and rest:
        return  # refused by the fast path's ps itself
    params = command.make_context(name, list(words)).params
    defaults = command.make_context(name, rest[:1] if not GRAMMARS[name].split else ["--", *rest]).params
    expected = {**defaults, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}}
    if GRAMMARS[name].split:
        target, command_words = SPLIT_WORDS[name]
        expected |= {target: rest[0], command_words: tuple(rest[1:])}
    elif name != "ps":
        expected["names"] = tuple(rest)
    assert params == expected


@given(st.text())
def test_packages_are_told_from_references_alike(image):
    assert fastrun.names_package(image) == is_package(image)


def test_the_root_folder_and_its_socket_are_the_engines(monkeypatch, tmp_path):
    assert Path(fast.DEFAULT_ROOT) == DEFAULT_ROOT
    assert Paths.of(tmp_path).socket == tmp_path / fastwire.SOCKET
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("VORDR_ROOT", str(tmp_path / "link" / ".." / tmp_path.name))
    assert fast._root([])[0] == str(resolve_root(None))
    assert fast._root(["--root", str(tmp_path / "link"), "ps"]) == (str(tmp_path), ["ps"])


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=4), max_leaves=12)


@given(JSON)
def test_its_json_is_what_others_read(value):
    assert msgspec.json.decode(fastwire.json_text(value).encode()) == value


@given(JSON)
def test_it_reads_others_json(value):
    text = msgspec.json.encode({"value": value}).decode()
    assert fastwire._scan(text, 0) == ({"value": value}, len(text))


HEAVY = {"click", "msgspec", "typing", "re", "enum", "json", "socket", "threading", "dataclasses", "pathlib",
         "contextlib", "collections", "functools"}


def test_a_plain_command_imports_next_to_nothing(services, root):
    services.append(Service(world(), root))
    script = ("import sys; sys.path[:0] = [sys.argv[1]]\n"
              "from vordr.cli.entry import run\n"
              "codes = [run(['ps']), run(['run', 'hello']), run(['stop', 'web'])]\n"
              "print(codes, sorted(set(sys.modules) & set(sys.argv[2].split())))")
    source = str(Path(entry.__file__).parents[2])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, source, " ".join(HEAVY)],
                          env={"VORDR_ROOT": str(root)}, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[0, 5, 0] []", done.stderr
