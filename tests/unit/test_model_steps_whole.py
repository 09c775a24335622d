"""Every field that a step changes, every key that it writes, and its whole inverse."""

from typing import Any

import msgspec
import pytest

from vordr.model.errors import ContainerNotFound, IllegalTransition
from vordr.model.lifecycle import Fidelity, Op, State
from vordr.model.records import Inverse
from vordr.model.spec import ContainerSpec, IdRange
from vordr.model.state import ContainerState, Generation, TrashItem
from vordr.model.steps import Facts, advance, digest_of

ID = "c" * 64
FACTS = Facts(time=1000, txn="t1", boot_id="b", pid=7, exit_code=0, ended=500, trash_days=2)
EARLY = Facts(time=1000, txn="t1", boot_id="b")
MEMORY = ("memory of the process",)
EXIT = {"code": 4, "finished": 3, "started": 2, "asked": True, "restarts": 8, "act": "t0"}
GONE = {"exit_code": 4, "finished": 3, "started": 2, "asked_to_stop": True, "restarts": 8,
        "process_act": "t0", "pid": None}

replace = msgspec.structs.replace


def full(state: State, *generations: int, **more: Any) -> ContainerState:
    """A container of which every field holds something of its own."""
    base = ContainerState(
        id=ID, name="web", image="sha256:0", image_name="tiny", spec=ContainerSpec(), state=state,
        generations=tuple(Generation(n, n) for n in generations), next_generation=len(generations) + 1,
        ids=IdRange(100_000), created=1, started=2, finished=3, exit_code=4, pid=5, process=6,
        process_act="t0", boot_id="a", restarts=8, asked_to_stop=True)
    return replace(base, **more)


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def process(state: State, act: str, **more: Any) -> dict[str, Any]:
    """What a new process changes."""
    return {"state": state, "started": 1000, "finished": None, "exit_code": None, "pid": 7, "process": 7,
            "process_act": act, "boot_id": "b", "asked_to_stop": False, **more}


def trash(container: ContainerState, kind: str) -> dict[str, Any]:
    item = TrashItem(id=ID, kind=kind, name=container.name, txn="t1", removed=1000,
                     deadline=1000 + 2 * 86_400_000_000, container=container)
    return {f"trash/{ID}": plain(item)}


CREATED, STOPPED, RUNNING = full(State.CREATED), full(State.STOPPED, 1), full(State.RUNNING, 1)
REMOVED, PAUSED = full(State.REMOVED, 1), full(State.PAUSED, 1)
HERE = {"names/web": ID, f"trash/{ID}": None}
OPENED = (Generation(1, 1), Generation(2, 1000))
AGAIN = (Generation(1, 1), Generation(2, 44))
TAKEN_AWAY = Inverse("uncreate", {"name": "web"}, Fidelity.EXACT)
REOPEN_ARGS = {"generation": 2, "opened": 44, "act": "t9"}

Row = tuple[Op, ContainerState | None, dict[str, Any], ContainerState | None, dict[str, Any], Inverse]
ROWS: list[Row] = [
    (Op.CREATE, None, {"container": plain(full(State.STOPPED))}, full(State.CREATED, created=1000),
     {**HERE, "ranges/100000": ID}, TAKEN_AWAY),
    (Op.CREATE, None, {"container": plain(full(State.CREATED, ids=None))},
     full(State.CREATED, created=1000, ids=None), HERE, TAKEN_AWAY),
    (Op.START, STOPPED, {"generation": 2},
     replace(STOPPED, generations=OPENED, next_generation=3, **process(State.RUNNING, "t1", restarts=0)), {},
     Inverse("unstart", {"generation": 2, "to": "stopped", "exit": EXIT}, Fidelity.STATE,
             (*MEMORY, "files written since generation 2 opened, but for redo"))),
    (Op.PAUSE, RUNNING, {}, replace(RUNNING, state=State.PAUSED), {},
     Inverse("resume", {}, Fidelity.EXACT)),
    (Op.RESUME, PAUSED, {}, replace(PAUSED, state=State.RUNNING), {}, Inverse("pause", {}, Fidelity.EXACT)),
    *[(op, before, {},
       replace(before, state=State.STOPPED, pid=None, exit_code=0, finished=500, asked_to_stop=asked), {},
       Inverse("revive", {"to": str(before.state)}, Fidelity.STATE, MEMORY))
      for op, asked in ((Op.STOP, True), (Op.KILL, True), (Op.EXIT, False)) for before in (RUNNING, PAUSED)],
    (Op.REMOVE, STOPPED, {}, replace(STOPPED, state=State.REMOVED),
     {"names/web": None, **trash(replace(STOPPED, state=State.REMOVED), "container")},
     Inverse("restore", {"to": "stopped", "name": "web"}, Fidelity.EXACT)),
    (Op.REMOVE, CREATED, {"name": "old"}, replace(CREATED, state=State.REMOVED, name="old"),
     {"names/web": None, **trash(replace(CREATED, state=State.REMOVED, name="old"), "container")},
     Inverse("restore", {"to": "created", "name": "web"}, Fidelity.EXACT)),
    (Op.RESTORE, replace(REMOVED, asked_to_stop=False), {"to": "stopped"},
     replace(REMOVED, state=State.STOPPED), HERE, Inverse("remove", {"name": "web"}, Fidelity.EXACT)),
    (Op.RESTORE, REMOVED, {"to": "created", "name": "new"}, replace(REMOVED, state=State.CREATED, name="new"),
     {"names/new": ID, f"trash/{ID}": None}, Inverse("remove", {"name": "web"}, Fidelity.EXACT)),
    (Op.UNCREATE, CREATED, {}, None, {"names/web": None, **trash(CREATED, "uncreated")},
     Inverse("recreate", {"container": plain(CREATED), "to": "created", "trashed_as": "web"},
             Fidelity.EXACT)),
    (Op.UNCREATE, REMOVED, {"name": "old"}, None, trash(replace(REMOVED, name="old"), "uncreated"),
     Inverse("recreate", {"container": plain(REMOVED), "to": "removed", "trashed_as": "old"},
             Fidelity.EXACT)),
    (Op.RECREATE, None, {"container": plain(STOPPED), "to": "created"}, replace(STOPPED, state=State.CREATED),
     HERE, TAKEN_AWAY),
    (Op.RECREATE, None, {"container": plain(REMOVED), "to": "removed", "trashed_as": "old"}, REMOVED,
     trash(REMOVED, "container"), Inverse("uncreate", {"name": "old"}, Fidelity.EXACT)),
    (Op.UNSTART, full(State.RUNNING, 1, 2), {"generation": 2, "to": "stopped", "exit": EXIT},
     replace(STOPPED, next_generation=3, **GONE), {},
     Inverse("reopen", {"generation": 2, "opened": 2, "to": "running", "act": "t0",
                        "exit": {**EXIT, "code": 0, "finished": 500}}, Fidelity.STATE, MEMORY)),
    (Op.UNSTART, full(State.STOPPED, 1, 2), {"generation": 2, "to": "created"},
     replace(CREATED, generations=(Generation(1, 1),), next_generation=3, exit_code=None, finished=None,
             started=None, asked_to_stop=False, restarts=0, process_act=None, pid=None), {},
     Inverse("reopen", {"generation": 2, "opened": 2, "to": "stopped", "act": "t0", "exit": EXIT},
             Fidelity.STATE, MEMORY)),
    (Op.REOPEN, STOPPED, {**REOPEN_ARGS, "to": "running"},
     replace(STOPPED, generations=AGAIN, **process(State.RUNNING, "t9")), {},
     Inverse("unstart", {"generation": 2, "to": "stopped", "exit": EXIT}, Fidelity.STATE, MEMORY)),
    (Op.REOPEN, STOPPED, {**REOPEN_ARGS, "to": "paused"},
     replace(STOPPED, generations=AGAIN, **process(State.PAUSED, "t9")), {},
     Inverse("unstart", {"generation": 2, "to": "stopped", "exit": EXIT}, Fidelity.STATE, MEMORY)),
    (Op.REOPEN, STOPPED, {**REOPEN_ARGS, "to": "stopped", "exit": {**EXIT, "code": 9}},
     replace(STOPPED, generations=AGAIN, **{**GONE, "exit_code": 9}), {},
     Inverse("unstart", {"generation": 2, "to": "stopped", "exit": EXIT}, Fidelity.EXACT)),
    (Op.REVIVE, STOPPED, {"to": "paused"}, replace(STOPPED, **process(State.PAUSED, "t0")), {},
     Inverse("stop", {"signal": 9, "timeout": 0}, Fidelity.STATE)),
    (Op.REVIVE, STOPPED, {"to": "running", "policy": True},
     replace(STOPPED, **process(State.RUNNING, "t0", restarts=9)), {},
     Inverse("stop", {"signal": 9, "timeout": 0}, Fidelity.STATE)),
]


@pytest.mark.parametrize(("op", "before", "args", "after", "writes", "inverse"), ROWS)
def test_a_step_changes_writes_and_takes_back_exactly_this(
    op: Op, before: ContainerState | None, args: dict[str, Any], after: ContainerState | None,
    writes: dict[str, Any], inverse: Inverse,
) -> None:
    result = advance(op, before, args, FACTS)
    assert result.container == after
    assert result.after == digest_of(after)
    assert result.writes == {f"containers/{ID}": plain(after), **writes}
    assert result.inverse == inverse


BY_ITSELF = {"asked_to_stop": False}
LEFT = {**EXIT, "asked": False}


@pytest.mark.parametrize(("op", "before", "args"), [
    (Op.RESTORE, replace(REMOVED, **BY_ITSELF), {"to": "stopped"}),
    (Op.UNSTART, full(State.RUNNING, 1, 2, **BY_ITSELF), {"generation": 2, "to": "stopped", "exit": LEFT}),
    (Op.REOPEN, full(State.CREATED, **BY_ITSELF), {**REOPEN_ARGS, "to": "stopped", "exit": LEFT}),
])
def test_an_end_that_is_brought_back_was_asked_for_unless_the_act_takes_itself_back(
    op: Op, before: ContainerState, args: dict[str, Any]
) -> None:
    asked, given_back = (
        advance(op, before, args, replace(FACTS, compensating=compensating)).container
        for compensating in (False, True))
    assert asked is not None and given_back is not None
    assert (asked.state, asked.asked_to_stop) == (State.STOPPED, True)
    assert given_back == replace(asked, **BY_ITSELF)
    assert asked.digest() == given_back.digest()


@pytest.mark.parametrize(("op", "before", "args"), [
    (Op.UNSTART, full(State.RUNNING, 1, 2, **BY_ITSELF), {"generation": 2, "to": "stopped", "exit": EXIT}),
    (Op.REOPEN, full(State.CREATED, **BY_ITSELF), {**REOPEN_ARGS, "to": "stopped", "exit": EXIT}),
])
def test_an_end_that_was_asked_for_still_is_when_the_act_takes_itself_back(
    op: Op, before: ContainerState, args: dict[str, Any]
) -> None:
    back = advance(op, before, args, replace(FACTS, compensating=True)).container
    assert back is not None and back.asked_to_stop


def test_only_of_an_end_it_says_that_it_was_asked_for() -> None:
    for op, before, to in ((Op.RESTORE, REMOVED, "created"), (Op.UNSTART, full(State.STOPPED, 1), "created")):
        back = advance(op, replace(before, **BY_ITSELF), {"to": to, "generation": 1}, FACTS).container
        assert back is not None and not back.asked_to_stop


def test_every_operation_is_among_the_rows() -> None:
    assert {row[0] for row in ROWS} == set(Op)


@pytest.mark.parametrize("op", [Op.STOP, Op.EXIT])
def test_an_end_whose_moment_nobody_saw_is_of_now_and_without_a_code(op: Op) -> None:
    ended = advance(op, RUNNING, {}, EARLY).container
    assert ended is not None and (ended.finished, ended.exit_code) == (1000, None)


def test_an_unstart_of_a_process_whose_end_nobody_saw_says_now() -> None:
    inverse = advance(Op.UNSTART, full(State.PAUSED, 1), {"generation": 1, "to": "created"}, EARLY).inverse
    assert (inverse.args["exit"]["finished"], inverse.args["exit"]["code"]) == (1000, None)


def test_what_a_container_has_in_the_trash_stays_for_thirty_days_unless_told_otherwise() -> None:
    item = advance(Op.REMOVE, STOPPED, {}, EARLY).writes[f"trash/{ID}"]
    assert item["deadline"] - item["removed"] == 30 * 86_400_000_000


@pytest.mark.parametrize("op", [op for op in Op if op not in (Op.CREATE, Op.RECREATE)])
def test_a_step_on_no_container_is_refused_as_that(op: Op) -> None:
    with pytest.raises(ContainerNotFound, match=f"cannot {op}: there is no such container"):
        advance(op, None, {}, FACTS)


def test_a_generation_that_is_not_there_cannot_be_dropped() -> None:
    with pytest.raises(IllegalTransition, match="generation 1 is not the newest of web"):
        advance(Op.UNSTART, full(State.RUNNING), {"generation": 1, "to": "created"}, FACTS)


def test_an_illegal_step_is_refused_with_operation_state_and_name() -> None:
    with pytest.raises(IllegalTransition, match="^cannot pause: web is stopped; allowed: start") as refusal:
        advance(Op.PAUSE, STOPPED, {}, FACTS)
    assert refusal.value.details == {"operation": "pause", "state": "stopped"}
