"""What happens between a plan and its begin: the plan is made again of what stands then."""

import threading

import pytest
from whole_engine import meanwhile

from vordr.model.errors import ContainerNotFound, ContainerStopped, IllegalTransition
from vordr.model.lifecycle import State


def test_a_stale_plan_is_made_again(whole):
    """Something touches the container between the plan and its begin: the head tells."""
    whole.run()
    judge, touched = whole.host.library.judge_manifest, threading.Event()

    def meddle(manifest):
        if not touched.is_set():
            touched.set()
            whole.do("pause")
        return judge(manifest)

    whole.host.library.judge_manifest = meddle
    answer = whole.do("restart")
    assert answer.container.state is State.RUNNING
    assert [a.act for a in whole.acts()][-2:] == ["pause", "restart"]
    assert [s.operation for s in whole.last().steps] == ["stop", "start"]
    whole.check()


@pytest.mark.parametrize(("op", "state", "steps"), [
    ("remove", State.REMOVED, ["remove"]), ("restart", State.RUNNING, ["start"]),
    ("stop", State.STOPPED, None), ("kill", State.STOPPED, None), ("pause", State.STOPPED, None)])
def test_an_end_between_a_plan_and_its_begin_is_planned_with(whole, monkeypatch, op, state, steps):
    """As if it had ended before the act was asked for: rm -f has nothing to kill."""
    web = whole.run()
    since = len(whole.said())

    def ends():
        whole.world.end(web.id, 3)
        whole.wait_state(State.STOPPED)

    meanwhile(monkeypatch, whole, ends)
    more = {"force": True} if op == "remove" else {}
    if steps is None:
        with pytest.raises(ContainerStopped):
            whole.do(op, **more)
        assert whole.said()[since:] == ["exit:exit"]
    else:
        whole.do(op, **more)
        assert whole.said()[since:] == ["exit:exit", op]
        assert [step.operation for step in whole.last().steps] == steps
    assert whole.get(web.id).state is state
    whole.check()


def test_a_removal_between_a_plan_and_its_begin_is_told_by_the_name_that_was_given(whole, monkeypatch):
    whole.run()
    meanwhile(monkeypatch, whole, lambda: whole.do("remove", force=True))
    with pytest.raises(ContainerNotFound, match="'web'"):
        whole.do("pause")
    assert whole.said()[-2:] == ["run", "remove"]


def test_what_is_refused_though_nothing_has_changed_is_refused_at_once(whole, monkeypatch):
    """Planned again it would be the same, for as long as anybody has patience."""
    whole.run()
    monkeypatch.setattr("vordr.engine.handlers.containers.check_allowed", lambda container, steps: None)
    plan, planned = whole.host.transactions.run, []

    def counted(make, **more):
        return plan(lambda: planned.append(make()) or planned[-1], **more)

    monkeypatch.setattr(whole.host.transactions, "run", counted)
    with pytest.raises(IllegalTransition):
        whole.do("resume")
    assert len(planned) == 1 and whole.last().act == "run"
