"""logs, exec and attach: what a container says and hears."""

from __future__ import annotations

import json
import os
import threading

import pytest
from cli_engine import NOW, TXN, Conmon, MemoryEngine, Program, container, receipt

from vordr.engine.protocol import Reply
from vordr.model import answers, errors
from vordr.model.spec import ContainerSpec

LINES = answers.LogsAnswer(lines=(
    answers.LogLine(NOW, "stdout", "hello"), answers.LogLine(NOW + 1, "stderr", "oh no")))


def test_logs_keep_the_two_streams_apart(capfd):
    engine = MemoryEngine(container())
    engine.scripts["logs"] = LINES
    outcome = Program(engine, capfd)("logs", "web")
    assert (outcome.out, outcome.err) == ("hello\n", "oh no\n")


def test_logs_with_times(capfd):
    engine = MemoryEngine(container())
    engine.scripts["logs"] = LINES
    assert Program(engine, capfd)("logs", "-t", "web").out == "2026-09-21T14:13:20.000000Z hello\n"


def test_followed_lines_come_as_events(capfd):
    engine = MemoryEngine(container())
    engine.events["logs"] = [{"event": "log", "time": NOW, "stream": "stdout", "text": "live"}]
    outcome = Program(engine, capfd)("logs", "-f", "web")
    assert outcome.out == "live\n"
    assert engine.of("logs")[0].follow


@pytest.mark.parametrize(("words", "tail", "since"), [
    ([], None, None), (["--tail", "5"], 5, None), (["-n", "all"], None, None), (["-n", "0"], 0, None),
    (["--since", "10m"], None, NOW - 600_000_000), (["--since", "1h30m"], None, NOW - 5_400_000_000),
    (["--since", "1700000000.5"], None, 1_700_000_000_500_000),
    (["--since", "2023-11-14T22:13:20Z"], None, 1_700_000_000_000_000),
])
def test_tail_and_since_are_read_as_docker_does(capfd, words, tail, since):
    engine = MemoryEngine(container())
    assert Program(engine, capfd)("logs", *words, "web").code == 0
    args = engine.of("logs")[0]
    assert (args.tail, args.since) == (tail, since)


def test_a_time_that_is_none_is_a_usage_error(capfd):
    assert Program(MemoryEngine(container()), capfd)("logs", "--since", "noon", "web").code == 2


def test_logs_as_json_are_one_object_a_line(capfd):
    engine = MemoryEngine(container())
    engine.scripts["logs"] = LINES
    told = [json.loads(line) for line in Program(engine, capfd)("logs", "--json", "web").out.splitlines()]
    assert [(line["stream"], line["text"]) for line in told] == [("stdout", "hello"), ("stderr", "oh no")]


# -- exec ----------------------------------------------------------------------------------------------


def exec_reply(*files: int) -> Reply:
    return Reply(answers.ExecAnswer(session="s1", receipt=receipt(), attach=bool(files)), files)


def test_exec_shows_the_output_and_exits_with_the_commands_code(capfd):
    conmon = Conmon()
    conmon.say(b"42\n")
    conmon.end()
    engine = MemoryEngine(container())
    engine.scripts |= {"exec": exec_reply(conmon.near), "wait": answers.WaitAnswer(code=5)}
    outcome = Program(engine, capfd)("exec", "-e", "A=1", "-w", "/srv", "-u", "root", "web", "sh", "-c", "x")
    assert (outcome.code, outcome.out) == (5, "42\n")
    args = engine.of("exec")[0]
    assert (args.command, args.environment) == (("sh", "-c", "x"), {"A": "1"})
    assert (args.workdir, args.user) == ("/srv", "root")
    assert engine.of("wait")[0].session == "s1"


def test_exec_detached_says_nothing(capfd):
    engine = MemoryEngine(container())
    engine.scripts["exec"] = exec_reply()
    outcome = Program(engine, capfd)("exec", "-d", "web", "true")
    assert (outcome.code, outcome.out) == (0, "")
    assert engine.of("exec")[0].detach
    assert engine.of("wait") == []


def test_exec_without_a_command_is_a_usage_error(capfd):
    assert Program(MemoryEngine(container()), capfd)("exec", "web").code == 2


@pytest.mark.parametrize(("error", "code"), [
    (errors.ExecFailed("not executable"), 126), (errors.CommandNotFound("not there"), 127)])
def test_exec_of_what_cannot_run_exits_as_in_docker(capfd, error, code):
    engine = MemoryEngine(container())
    engine.scripts["exec"] = error
    assert Program(engine, capfd)("exec", "web", "x").code == code


def test_exec_hands_standard_input_on(capfd, monkeypatch):
    conmon = Conmon()
    engine = MemoryEngine(container())
    engine.scripts["exec"] = exec_reply(conmon.near)
    reading, writing = os.pipe()
    os.write(writing, b"typed")
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)

    def play() -> None:
        conmon.say(conmon.hear_all().upper())
        conmon.end()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        outcome = Program(engine, capfd)("exec", "-i", "web", "cat")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
        thread.join()
    assert outcome.out == "TYPED"


# -- attach --------------------------------------------------------------------------------------------


def test_attach_follows_a_running_container_to_its_end(capfd):
    conmon = Conmon()
    conmon.say(b"still here\n")
    conmon.end()
    engine = MemoryEngine(container(spec=ContainerSpec(stdin=True)))
    engine.scripts |= {
        "attach": Reply(answers.Empty(), (conmon.near,)), "wait": answers.WaitAnswer(code=2)}
    outcome = Program(engine, capfd)("attach", "--no-stdin", "web")
    assert (outcome.code, outcome.out) == (2, "still here\n")


def test_attach_refuses_detach_keys_that_are_none_before_it_attaches(capfd):
    engine = MemoryEngine(container())
    assert Program(engine, capfd)("attach", "--detach-keys", "enter", "web").code == 2
    assert engine.of("attach") == []


def test_receipts_of_a_detached_exec_are_json(capfd):
    engine = MemoryEngine(container())
    engine.scripts["exec"] = exec_reply()
    told = json.loads(Program(engine, capfd)("exec", "-d", "--json", "web", "true").out)
    assert (told["session"], told["receipt"]["txn"]) == ("s1", TXN)
