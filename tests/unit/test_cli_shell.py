"""The admin shell: lines, completion, the bottom line; and completion in other shells."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cli_engine import NOW, MemoryEngine, Program, container, image
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from vordr.cli.context import Session
from vordr.cli.shell import Glance, Shell, ShellCompleter, Watch
from vordr.model import answers, errors
from vordr.model.lifecycle import State


def session_of(engine) -> Session:
    return Session(opener=lambda root: engine, clock=lambda: NOW)


def completions(engine: MemoryEngine, text: str) -> list[str]:
    session = session_of(engine)
    watch = Watch(session)
    watch.look()
    found = ShellCompleter(session, watch).get_completions(Document(text), CompleteEvent())
    return [completion.text for completion in found]


def test_typed_lines_are_commands_until_exit(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    engine = MemoryEngine(container())
    with create_pipe_input() as typed:
        typed.send_text("ps -q\nstop web\n\nvordr nope\nexit\n")
        code = Shell(session_of(engine), input=typed, output=DummyOutput()).run()
    said = capfd.readouterr()
    assert said.out == "10f0f0f0f0f0\nweb\n"
    assert "unknown command 'nope'" in said.err
    assert code == 2
    assert "+stop web" in (tmp_path / "vordr" / "shell_history").read_text()


def test_the_end_of_input_leaves_with_the_last_code(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with create_pipe_input() as typed:
        typed.send_text("stop nope\n\x04")
        assert Shell(session_of(MemoryEngine()), input=typed, output=DummyOutput()).run() == 71


def test_one_engine_serves_all_lines_and_stays_open(capfd):
    opened = []
    engine = MemoryEngine(container())
    shell = Shell(Session(opener=lambda root: opened.append(1) or engine))
    assert [shell.execute("ps -q"), shell.execute("ps -q --json"), shell.execute("ps -q")] == [0, 0, 0]
    assert (len(opened), engine.closed) == (1, False)
    assert capfd.readouterr().out.splitlines()[-1] == "10f0f0f0f0f0"  # --json of a line ends with it


@pytest.mark.parametrize(("line", "code"), [
    ("shell", 2), ("serve", 2), ("stop 'web", 2), ("help stop", 0), ("help", 0), ("# a note", 5), ("", 5),
])
def test_lines_that_are_no_commands(capfd, line, code):
    assert Shell(session_of(MemoryEngine())).execute(line, 5) == code


@pytest.mark.parametrize(("text", "expected"), [
    ("unp", ["unpause"]), ("exi", ["exit"]), ("stop w", ["web"]), ("stop ", ["db", "web"]),
    ("stop --ti", ["--time", "--timeout"]), ("trust re", ["revoke"]), ("serv", []),
    ("rmi h", ["hello:latest"]), ("verify --mode au", ["audit"]), ("stop 'we", []),
])
def test_commands_options_and_names_are_completed(text, expected):
    engine = MemoryEngine(container("web"), container("db", State.STOPPED), images=[image()])
    assert completions(engine, text) == expected


def test_the_bottom_line_counts_states_and_shows_the_newest_act():
    glance = Glance((container("web"), container("db", State.STOPPED)), "run web")
    assert glance.line("/r") == " /r  1 running, 1 stopped  last: run web"
    assert Glance().line("/r") == " /r  no containers"


def test_the_bottom_line_says_what_is_wrong():
    engine = MemoryEngine()
    engine.scripts["list"] = errors.ServiceUnreachable("no service answers")
    watch = Watch(session_of(engine))
    watch.look()
    assert watch.latest().line("/r") == " /r  no service answers"


def test_the_engine_is_looked_at_again_only_after_a_while():
    now = [0.0]
    engine = MemoryEngine(container())
    engine.scripts["history"] = answers.HistoryAnswer(acts=())
    watch = Watch(session_of(engine), clock=lambda: now[0])
    watch.latest()
    engine.wait_for("history")
    seen = len(engine.calls)
    now[0] = 1.0
    watch.latest()
    assert len(engine.calls) == seen


# -- bash, zsh, fish -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us_back(capfd, shell):
    outcome = Program(errors.ServiceUnreachable("none"), capfd)("completion", shell)
    assert outcome.code == 0
    assert "_VORDR_COMPLETE" in outcome.out


def ask_bash(words: str, root: str) -> list[str]:
    env = {**os.environ, "_VORDR_COMPLETE": "bash_complete", "COMP_WORDS": words, "VORDR_ROOT": root,
           "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "vordr.cli.entry"], env=env, capture_output=True, text=True, check=True)
    return [line.split(",")[1] for line in done.stdout.splitlines() if "," in line]


def test_a_shell_is_told_of_commands(tmp_path):
    assert ask_bash("vordr unp", str(tmp_path)) == ["unpause"]


def test_completing_names_starts_no_service(tmp_path):
    assert ask_bash("vordr stop we", str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
