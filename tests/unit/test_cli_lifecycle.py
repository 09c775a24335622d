"""start, stop, restart, kill, pause, unpause, rm, wake, wait: one act on several containers."""

from __future__ import annotations

import json

import pytest
from cli_engine import Conmon, MemoryEngine, Program, container, receipt

from vordr.engine.protocol import Reply
from vordr.model import answers, errors
from vordr.model.lifecycle import State
from vordr.model.spec import ContainerSpec


@pytest.mark.parametrize(("words", "operation", "before", "after"), [
    (["start"], "start", State.CREATED, State.RUNNING), (["stop"], "stop", State.RUNNING, State.STOPPED),
    (["restart"], "restart", State.RUNNING, State.RUNNING), (["kill"], "kill", State.RUNNING, State.STOPPED),
    (["pause"], "pause", State.RUNNING, State.PAUSED), (["unpause"], "resume", State.PAUSED, State.RUNNING),
    (["resume"], "resume", State.PAUSED, State.RUNNING), (["rm"], "remove", State.STOPPED, None),
    (["wake"], "wake", State.RUNNING, State.RUNNING),
])
def test_each_container_is_acted_on_and_named(capfd, words, operation, before, after):
    engine = MemoryEngine(container("web", before), container("db", before))
    outcome = Program(engine, capfd)(*words, "web", "db")
    assert (outcome.code, outcome.out, outcome.err) == (0, "web\ndb\n", "")
    assert [args.container for args in engine.of(operation)] == ["web", "db"]
    assert {c.state for c in engine.containers.values()} == ({after} if after else set())


def test_one_bad_name_stops_none_of_the_others_and_every_error_is_told(capfd):
    engine = MemoryEngine(container("web"), container("db"), container("old", State.STOPPED))
    outcome = Program(engine, capfd)("stop", "nope", "web", "old", "db")
    assert outcome.out == "web\ndb\n"
    assert outcome.code == 71  # the first error's
    assert [line for line in outcome.err.splitlines() if line.startswith("Error")] == [
        "Error [ERR_CONTAINER_NOT_FOUND]: no container is called 'nope'",
        "Error [ERR_CONTAINER_STOPPED]: cannot stop: the container is stopped; allowed: start, rm",
    ]


def test_an_illegal_transition_says_what_is_allowed(capfd):
    outcome = Program(MemoryEngine(container("web", State.STOPPED)), capfd)("pause", "web")
    assert outcome.code == 73
    assert "allowed: start, rm" in outcome.err


@pytest.mark.parametrize("words", [["stop", "-t", "3"], ["stop", "--time=3"], ["restart", "--timeout", "3"]])
def test_the_time_to_stop_is_handed_on(capfd, words):
    engine = MemoryEngine(container())
    Program(engine, capfd)(*words, "web")
    assert engine.of(words[0])[0].timeout == 3


def test_the_signal_is_handed_on(capfd):
    engine = MemoryEngine(container())
    Program(engine, capfd)("kill", "-s", "TERM", "web")
    assert engine.of("kill")[0].signal == "TERM"


def test_force_is_handed_on(capfd):
    engine = MemoryEngine(container("web", State.STOPPED))
    Program(engine, capfd)("rm", "-f", "web")
    assert engine.of("remove")[0].force


def test_json_gives_what_was_done_and_the_receipt(capfd):
    told = json.loads(Program(MemoryEngine(container()), capfd)("stop", "--json", "web").out)
    assert told["container"]["state"] == "stopped"
    assert told["receipt"]["txn"]


def test_wait_prints_each_code_and_exits_with_the_last(capfd):
    engine = MemoryEngine(container("web"), container("db"))
    engine.scripts["wait"] = lambda args: answers.WaitAnswer(code={"web": 3, "db": 137}[args.container])
    outcome = Program(engine, capfd)("wait", "web", "db")
    assert (outcome.code, outcome.out) == (137, "3\n137\n")


def test_wait_for_a_code_that_nobody_knows_is_an_error(capfd):
    engine = MemoryEngine(container())
    engine.scripts["wait"] = answers.WaitAnswer(code=None)
    outcome = Program(engine, capfd)("wait", "web")
    assert (outcome.code, outcome.out) == (errors.ContainerError.exit_code, "")


def test_wait_for_removal_hands_the_condition_on(capfd):
    engine = MemoryEngine(container())
    assert Program(engine, capfd)("wait", "--condition", "removed", "web").code == 0
    assert engine.of("wait")[0].condition == "removed"


def test_start_a_shows_the_output_and_exits_with_the_code(capfd):
    conmon = Conmon()
    conmon.say(b"again\n")
    conmon.end()
    made = container("web", spec=ContainerSpec())
    engine = MemoryEngine(container("web", State.CREATED))
    engine.scripts["start"] = Reply(
        answers.ContainerAnswer(container=made, receipt=receipt(), attach=True), (conmon.near,))
    engine.scripts["wait"] = answers.WaitAnswer(code=9)
    outcome = Program(engine, capfd)("start", "-a", "web")
    assert (outcome.code, outcome.out) == (9, "again\n")
    assert engine.of("start")[0].attach


def test_only_one_container_can_be_started_attached(capfd):
    assert Program(MemoryEngine(container()), capfd)("start", "-a", "web", "db").code == 2
