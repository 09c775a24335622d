"""From the command line to an exit code: every way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest
from cli_engine import MemoryEngine, Program, assert_valid, container

from vordr.cli import failure
from vordr.cli.commands import COMMANDS
from vordr.cli.explain import EXPLANATIONS
from vordr.model import errors
from vordr.model.operations import REGISTRY


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_an_error_is_told_with_cause_evidence_remedy_and_where_to_read_more(capfd):
    engine = MemoryEngine()
    engine.scripts["stop"] = errors.SubjectBusy("web is busy", details={"txn": "t1", "held": ["a", "b"]})
    outcome = Program(engine, capfd)("stop", "web")
    assert outcome.code == errors.SubjectBusy.exit_code
    assert outcome.out == ""
    assert lines(outcome.err) == [
        "Error [ERR_STATE_BUSY]: web is busy",
        f"  cause: {EXPLANATIONS['ERR_STATE_BUSY'].cause}",
        "  txn: t1",
        "  held: a, b",
        "To fix:",
        "  1. try again; vordr history shows what is running",
        "More: vordr explain ERR_STATE_BUSY",
    ]


def test_without_a_remedy_of_its_own_an_error_shows_the_first_step_of_its_explanation(capfd):
    engine = MemoryEngine()
    engine.scripts["version"] = errors.PullFailed("no")
    outcome = Program(engine, capfd)("version")
    assert f"  1. {EXPLANATIONS['ERR_PULL'].steps[0]}" in lines(outcome.err)


@pytest.mark.parametrize("place", ["before", "after"])
def test_json_mode_tells_errors_as_error_response_v1_on_stderr(capfd, place):
    words = ["--json", "inspect", "web"] if place == "before" else ["inspect", "--json", "web"]
    outcome = Program(MemoryEngine(), capfd)(*words)
    told = json.loads(outcome.err)
    assert_valid(told, "error-response.v1.json")
    assert (outcome.code, told["error"]["code"], told["error"]["id"]) == (71, 71, "ERR_CONTAINER_NOT_FOUND")
    assert outcome.out == ""


@pytest.mark.parametrize("cls", errors.every_error())
def test_every_error_class_is_a_valid_error_response(cls):
    error = cls("CODE", "words", step=3) if issubclass(cls, errors.VerificationRejected) else cls("words")
    assert_valid({"error": failure.wire_form(error)}, "error-response.v1.json")


@pytest.mark.parametrize("words", [
    ["ps", "--nope"], ["nope"], ["stop"], ["ps", "--filter", "size=3"], ["run", "-m", "much", "hello"],
    ["kill", "-s", "NOSUCH", "web"], ["logs", "--tail", "x", "web"], ["undo", "--last", "web"],
])
def test_a_nonsense_command_line_exits_2_before_the_engine_is_asked(capfd, words):
    engine = MemoryEngine(container())
    outcome = Program(engine, capfd)(*words)
    assert outcome.code == 2
    assert outcome.err.startswith("Error [ERR_USAGE]: ")
    assert "To fix:" in outcome.err
    assert engine.calls == []


def test_usage_errors_are_json_too(capfd):
    outcome = Program(MemoryEngine(), capfd)("--json", "ps", "--nope")
    told = json.loads(outcome.err)
    assert_valid(told, "error-response.v1.json")
    assert told["error"]["id"] == "ERR_USAGE"
    assert outcome.code == 2


def test_a_misspelt_command_names_the_likely_one(capfd):
    assert "did you mean 'inspect'?" in Program(MemoryEngine(), capfd)("inspct").err


def test_a_flag_of_dockers_says_what_to_use_instead(capfd):
    assert "the trash" in Program(MemoryEngine(), capfd)("rm", "-v", "web").err


def test_ctrl_c_exits_130_without_a_word(capfd):
    engine = MemoryEngine()
    engine.scripts["list"] = KeyboardInterrupt()
    outcome = Program(engine, capfd)("ps")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


def test_an_unforeseen_error_is_one_line_that_names_debug(capfd):
    engine = MemoryEngine()
    engine.scripts["list"] = RuntimeError("boom\nsecond line")
    outcome = Program(engine, capfd)("ps")
    assert outcome.code == 1
    assert lines(outcome.err) == [
        "Error [ERR_GENERAL]: RuntimeError: boom (run again with 'vordr --debug …' for the trace)"]


def test_debug_shows_the_trace(capfd):
    engine = MemoryEngine()
    engine.scripts["list"] = RuntimeError("boom")
    assert "Traceback" in Program(engine, capfd)("--debug", "ps").err


def test_an_unforeseen_error_in_json_mode_is_a_valid_error_response(capfd):
    engine = MemoryEngine()
    engine.scripts["list"] = RuntimeError("boom")
    outcome = Program(engine, capfd)("--json", "ps")
    assert_valid(json.loads(outcome.err), "error-response.v1.json")


def test_an_engine_that_cannot_be_opened_is_told_like_any_error(capfd):
    outcome = Program(errors.NotPrivileged("no access to the socket"), capfd)("ps")
    assert outcome.code == errors.NotPrivileged.exit_code
    assert outcome.err.startswith("Error [ERR_PRIVILEGE]: no access to the socket")


def test_control_characters_of_others_do_not_reach_the_terminal(capfd):
    engine = MemoryEngine()
    engine.scripts["list"] = errors.RuntimeFailed("bad \x1b[2J", details={"stderr": "\x1b]0;x\x07"})
    assert "\x1b" not in Program(engine, capfd)("ps").err


def test_a_closed_pipe_is_quiet():
    code = (
        "import os, sys\n"
        "from cli_engine import MemoryEngine, container\n"
        "from vordr.cli import entry\n"
        "from vordr.cli.context import Session\n"
        "names = [container(f'c{n}', id=f'{n:064x}') for n in range(3000)]\n"
        "sys.exit(entry.run(['ps', '-a', '--no-trunc'], Session(opener=lambda root: MemoryEngine(*names))))\n"
    )
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE,
            cwd=os.path.dirname(__file__))
        os.close(writing)
        pipe.read(1)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


def test_version_needs_no_engine(capfd):
    outcome = Program(errors.ServiceUnreachable("none"), capfd)("--version")
    assert (outcome.code, outcome.out.split()[0]) == (0, "vordr")


def test_version_comes_through_a_pipe_where_python_buffers_what_is_printed():
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    code = "from vordr.cli.entry import main; import sys; sys.argv[1:] = ['--version']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=environment)
    assert done.stdout.split()[0] == "vordr"


def test_every_operation_of_the_engine_is_reachable_by_a_command():
    reachable = {operation for row in COMMANDS.values() for operation in row.operations}
    assert reachable == set(REGISTRY)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(capfd, name):
    outcome = Program(MemoryEngine(), capfd)(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: vordr {name}")


def test_help_lists_every_command_that_is_not_hidden(capfd):
    listed = Program(MemoryEngine(), capfd)("--help").out
    shown = {line.split()[0] for line in lines(listed) if line.startswith("  ") and line.strip()}
    assert {name for name, row in COMMANDS.items() if not row.hidden} <= shown


def test_naming_a_command_imports_neither_tables_nor_prompts():
    code = (
        "import sys\n"
        "from cli_engine import MemoryEngine\n"
        "import vordr.cli.entry as entry\n"
        "from vordr.cli.context import Session\n"
        "entry.run(['ps'], Session(opener=lambda root: MemoryEngine()))\n"
        "heavy = {'rich', 'prompt_toolkit', 'cryptography', 'plyvel', 'pykka', 'asyncio', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)), 'vordr.cli.commands.run' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=os.path.dirname(__file__))
    assert lines(done.stdout)[-1] == "[] False"


def test_the_entry_module_itself_imports_nothing_of_ours_and_no_click():
    code = "import sys; import vordr.cli.entry; print([m for m in ('click', 'msgspec') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_clicks_own_complaints_become_ours():
    error = failure.usage_error(click.UsageError("Missing argument."))
    assert (error.id, error.message) == ("ERR_USAGE", "missing argument")
