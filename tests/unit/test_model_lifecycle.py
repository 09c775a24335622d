"""The lifecycle table is complete and closed, and everything that reads it reads the same."""

import pytest
from transitions import Machine, MachineError

from vordr.model.errors import ContainerRunning, ContainerStopped, IllegalTransition
from vordr.model.lifecycle import (
    ROWS,
    TABLE,
    Fidelity,
    Op,
    State,
    allowed,
    illegal,
    machine_transitions,
    makes_process,
    target,
)

DESIGN = {  # design §3, in its own words
    Op.CREATE: ({State.IMAGE_ONLY}, {State.CREATED}),
    Op.START: ({State.CREATED, State.STOPPED}, {State.RUNNING}),
    Op.PAUSE: ({State.RUNNING}, {State.PAUSED}),
    Op.RESUME: ({State.PAUSED}, {State.RUNNING}),
    Op.STOP: ({State.RUNNING, State.PAUSED}, {State.STOPPED}),
    Op.KILL: ({State.RUNNING, State.PAUSED}, {State.STOPPED}),
    Op.EXIT: ({State.RUNNING, State.PAUSED}, {State.STOPPED}),
    Op.REMOVE: ({State.CREATED, State.STOPPED}, {State.REMOVED}),
}


def test_every_operation_has_exactly_one_row():
    assert [row.op for row in TABLE] == list(Op)


@pytest.mark.parametrize("op", DESIGN)
def test_the_first_rows_are_the_designs(op):
    row = ROWS[op]
    assert (set(row.sources), set(row.targets)) == DESIGN[op]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.op)
def test_an_inverse_leads_from_every_target_back_to_every_source(row):
    inverse = ROWS[row.inverse]
    assert set(row.targets) <= set(inverse.sources)
    assert set(row.sources) <= set(inverse.targets)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.op)
def test_nothing_that_loses_something_is_called_exact(row):
    assert row.loss is None or row.fidelity is not Fidelity.EXACT


def test_what_makes_a_process_needs_a_verdict_and_a_reopening_to_stopped_makes_none():
    makers = {row.op for row in TABLE if makes_process(row.op)}
    assert makers == {Op.CREATE, Op.START, Op.REOPEN, Op.REVIVE}
    assert not makes_process(Op.REOPEN, State.STOPPED)
    assert makes_process(Op.REOPEN, State.PAUSED)


def test_nobody_may_ask_for_an_exit_or_an_inverse():
    assert {op for state in State for op in allowed(state)} == set(DESIGN) - {Op.EXIT}
    assert allowed(State.REMOVED) == ()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("op", Op)
def test_target_agrees_with_the_machine(op, state):
    class Model:
        state: str

    model = Model()
    machine = Machine(
        model=None, states=[str(s) for s in State], transitions=machine_transitions(),
        initial=str(State.IMAGE_ONLY), auto_transitions=False)
    machine.add_model(model, initial=str(state))
    row = ROWS[op]
    for wanted in State:
        trigger = str(op) if len(row.targets) == 1 else f"{op}_to_{wanted}"
        if state in row.sources and wanted in row.targets:
            assert target(op, state, wanted) is wanted
            model.trigger(trigger)
            assert model.state == wanted
            machine.set_state(str(state), model=model)
        else:
            with pytest.raises(IllegalTransition):
                target(op, state, wanted)
            if state not in row.sources and wanted in row.targets:
                with pytest.raises(MachineError):
                    model.trigger(trigger)


def test_several_targets_need_to_be_told_apart():
    with pytest.raises(IllegalTransition, match="needs the state"):
        target(Op.UNSTART, State.RUNNING)


@pytest.mark.parametrize(
    ("op", "state", "kind", "remedy"),
    [
        (Op.REMOVE, State.RUNNING, ContainerRunning, "vordr rm -f web"),
        (Op.START, State.PAUSED, ContainerRunning, "vordr restart web"),
        (Op.PAUSE, State.STOPPED, ContainerStopped, "vordr start web"),
        (Op.STOP, State.CREATED, ContainerStopped, "vordr start web"),
        (Op.RESUME, State.RUNNING, IllegalTransition, None),
    ])
def test_a_refusal_says_what_is_allowed_instead(op, state, kind, remedy):
    error = illegal(op, state, "web")
    assert type(error) is kind
    assert error.remedy == remedy
    assert str(error).startswith("cannot ") and f"web is {state}; allowed: " in str(error)


def test_the_refusal_of_the_design_in_its_own_words():
    assert str(illegal(Op.PAUSE, State.STOPPED, "web")) == "cannot pause: web is stopped; allowed: start, rm"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("op", Op)
def test_a_refusal_names_operation_and_state_and_is_of_the_kind_that_they_make(op, state):
    """Running or paused stands in the way of a start and a removal; stopped or created of all but these."""
    error = illegal(op, state, "web")
    assert error.details == {"operation": str(op), "state": str(state)}
    alive, ended = state in (State.RUNNING, State.PAUSED), state in (State.CREATED, State.STOPPED)
    begins = op in (Op.START, Op.REMOVE)
    kind = ContainerRunning if alive and begins else ContainerStopped if ended and not begins else None
    assert type(error) is (kind or IllegalTransition)


def test_what_is_refused_is_named_in_the_words_that_people_type():
    assert str(illegal(Op.RESUME, State.REMOVED, "web")) == "cannot unpause: web is removed; allowed: nothing"
    assert str(illegal(Op.REMOVE, State.PAUSED, "web")) == (
        "cannot rm: web is paused; allowed: unpause, stop, kill")
    with pytest.raises(ContainerStopped, match="cannot pause: the container is stopped"):
        target(Op.PAUSE, State.STOPPED)
    with pytest.raises(IllegalTransition, match="^pause cannot lead to running; possible: paused$"):
        target(Op.PAUSE, State.RUNNING, State.RUNNING)
    with pytest.raises(IllegalTransition, match="^restore cannot lead to paused; possible: created, st"):
        target(Op.RESTORE, State.REMOVED, State.PAUSED)


def test_the_machine_has_a_trigger_for_each_target_of_each_row():
    rows = machine_transitions()
    assert {"trigger": "start", "source": ["created", "stopped"], "dest": "running"} in rows
    assert {"trigger": "revive_to_paused", "source": ["stopped"], "dest": "paused"} in rows
    assert len(rows) == sum(len(row.targets) for row in TABLE)
