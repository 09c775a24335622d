"""The projection as a function of the records: who holds what, what is open, what lives."""

import json

import pytest

from vordr.model.errors import JournalCorrupt
from vordr.model.lifecycle import Fidelity
from vordr.model.projection import project
from vordr.model.records import Cause, Inverse, Kind, Record


class Standing:
    def __init__(self) -> None:
        self.values: dict = {}
        self.seq = 0

    def add(self, kind, txn="t1", subject="container/a", operation="stop", **args):
        self.seq += 1
        inverse = Inverse("revive", {"to": "running"}, Fidelity.STATE) if kind is Kind.DONE else None
        record = Record(
            seq=self.seq, txn=txn, kind=kind, cause=Cause.ACT, subject=subject, operation=operation,
            args=args, before="sha256:b", after="sha256:a", inverse=inverse, principal="me", boot_id="b",
            time=self.seq)
        for key, value in project(record, self.values.get).items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        return self.seq

    def act(self, txn="t1"):
        """The act as it is stored."""
        return json.loads(json.dumps(self.values[f"acts/{txn}"]))

    def keys(self, space):
        return {key: value for key, value in self.values.items() if key.startswith(space)}


@pytest.fixture
def standing():
    return Standing()


def test_what_a_begin_holds_is_released_by_its_end_and_by_nothing_else(standing):
    standing.add(Kind.BEGIN, holds=["container/a", "names/web"])
    assert standing.keys("busy/") == {"busy/container/a": "t1", "busy/names/web": "t1"}
    standing.add(Kind.INTENT, step={})
    standing.add(Kind.DONE, step={}, writes={})
    assert len(standing.keys("busy/")) == 2
    standing.add(Kind.COMMIT)
    assert standing.keys("busy/") == standing.keys("open/") == {}


def test_an_open_intent_says_what_it_takes_back(standing):
    standing.add(Kind.BEGIN)
    done = standing.add(Kind.DONE, step={"n": 1}, writes={})
    standing.add(Kind.INTENT, operation="revive", step={"to": "running"}, compensates=done)
    act = standing.values["acts/t1"]
    assert (act["intent"]["operation"], act["intent"]["args"], act["takes_back"]) == (
        "revive", {"to": "running"}, done)
    standing.add(Kind.DONE, operation="revive", step={"to": "running"}, compensates=done, writes={})
    act = standing.values["acts/t1"]
    assert (act["intent"], act["takes_back"]) == (None, None)
    assert [step["compensates"] for step in act["steps"]] == [None, done]


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.ABORT])
def test_a_failure_closes_the_intent(standing, kind):
    standing.add(Kind.BEGIN)
    standing.add(Kind.INTENT, step={})
    standing.add(kind)
    assert standing.values["acts/t1"]["intent"] is None


def test_an_undo_marks_what_it_undid_and_its_redo_makes_it_live_again(standing):
    for txn, undoes in (("t1", None), ("t2", "t1"), ("t3", "t2")):
        standing.add(Kind.BEGIN, txn, **({} if undoes is None else {"undoes": undoes}))
        standing.add(Kind.COMMIT, txn)
        if txn == "t2":
            assert standing.values["acts/t1"]["undone_by"] == "t2"
    assert standing.values["acts/t1"]["undone_by"] is None
    assert standing.values["acts/t2"]["undone_by"] == "t3"


def test_an_aborted_undo_marks_nothing(standing):
    standing.add(Kind.BEGIN, "t1")
    standing.add(Kind.COMMIT, "t1")
    standing.add(Kind.BEGIN, "t2", undoes="t1")
    standing.add(Kind.ABORT, "t2")
    assert standing.values["acts/t1"]["undone_by"] is None


def test_every_record_moves_the_head_of_its_subject(standing):
    standing.add(Kind.BEGIN)
    standing.add(Kind.ANOMALY, "t9", "container/b", writes={})
    assert standing.keys("heads/") == {"heads/container/a": 1, "heads/container/b": 2}


@pytest.mark.parametrize("key", ["busy/container/a", "acts/t1", "open/t1", "heads/x", "nowhere"])
def test_a_step_writes_only_what_steps_may(standing, key):
    standing.add(Kind.BEGIN)
    with pytest.raises(JournalCorrupt, match="no step may write"):
        standing.add(Kind.DONE, step={}, writes={key: 1})


def test_an_outcome_of_no_begun_transaction_does_not_fit(standing):
    with pytest.raises(JournalCorrupt, match="no begun transaction"):
        standing.add(Kind.DONE, step={}, writes={})


# -- every field of an act -------------------------------------------------------------------------

BEGUN = {
    "txn": "t1", "act": "rm", "summary": "remove web", "cause": "act", "principal": "me",
    "plan": [{"subject": "container/a", "operation": "stop", "args": {"timeout": 3}}], "seq": 1, "time": 1,
    "origin": "t0", "undoes": None, "undone_by": None, "status": "open", "steps": [], "intent": None,
    "takes_back": None, "end": None, "reversible": False, "holds": ["container/a"]}


def begin(standing, **more):
    args = {key: BEGUN[key] for key in ("summary", "plan", "origin", "reversible", "holds")} | more
    standing.add(Kind.BEGIN, operation="rm", **args)


def test_a_begin_is_an_open_act_with_all_that_was_planned(standing):
    begin(standing)
    assert standing.act() == BEGUN
    assert standing.keys("acts/").keys() == {"acts/t1"}
    assert {key: value for key, value in standing.values.items() if key != "acts/t1"} == {
        "open/t1": 1, "busy/container/a": "t1", "heads/container/a": 1}


def test_a_begin_that_says_nothing_is_called_by_its_operation_and_can_be_undone(standing):
    standing.add(Kind.BEGIN, operation="prune")
    assert standing.act() == {
        **BEGUN, "act": "prune", "summary": "prune", "plan": [], "origin": None, "reversible": True,
        "holds": []}


def test_an_intent_stands_in_the_act_until_its_outcome_which_keeps_what_the_step_said(standing):
    begin(standing)
    standing.add(Kind.INTENT, step={"timeout": 3})
    assert standing.act() == {**BEGUN, "intent": BEGUN["plan"][0]}
    standing.add(Kind.DONE, step={"timeout": 3}, writes={"names/web": "a"})
    inverse = {"operation": "revive", "args": {"to": "running"}, "fidelity": "state", "losses": []}
    assert standing.act() == {**BEGUN, "steps": [{
        "subject": "container/a", "operation": "stop", "args": {"timeout": 3}, "before": "sha256:b",
        "after": "sha256:a", "inverse": inverse, "seq": 3, "compensates": None}]}
    assert standing.values["names/web"] == "a"


def test_a_step_that_says_nothing_has_no_arguments(standing):
    begin(standing)
    standing.add(Kind.INTENT)
    assert standing.values["acts/t1"]["intent"]["args"] == {}
    standing.add(Kind.DONE, writes={})
    assert standing.values["acts/t1"]["steps"][0]["args"] == {}


@pytest.mark.parametrize(("kind", "status"), [(Kind.COMMIT, "committed"), (Kind.ABORT, "aborted")])
def test_an_end_says_how_and_when_and_leaves_no_intent(standing, kind, status):
    begin(standing)
    standing.add(Kind.INTENT, step={}, compensates=7)
    standing.add(kind)
    assert standing.act() == {**BEGUN, "status": status, "end": 3}


def test_an_undo_of_several_acts_marks_each_and_its_redo_makes_each_live(standing):
    for txn, undoes in (("t1", None), ("t2", None), ("t3", "t2,t1"), ("t4", "t3")):
        standing.add(Kind.BEGIN, txn, **({} if undoes is None else {"undoes": undoes}))
        standing.add(Kind.COMMIT, txn)
        if txn == "t3":
            assert [standing.values[f"acts/{t}"]["undone_by"] for t in ("t1", "t2")] == ["t3", "t3"]
    assert [standing.values[f"acts/t{n}"]["undone_by"] for n in (1, 2, 3, 4)] == [None, None, "t4", None]


def test_an_undo_of_an_act_that_nobody_knows_marks_nothing(standing):
    standing.add(Kind.BEGIN, "t2", undoes="t1")
    standing.add(Kind.COMMIT, "t2")
    assert standing.keys("acts/").keys() == {"acts/t2"}


def test_a_failed_step_may_write_what_steps_may(standing):
    begin(standing)
    standing.add(Kind.FAILED, writes={"trash/a": 1})
    assert standing.values["trash/a"] == 1
    with pytest.raises(JournalCorrupt, match="record 3 writes the key 'heads/a'"):
        standing.add(Kind.FAILED, writes={"heads/a": 1})


def test_an_act_that_lacks_a_field_is_damaged(standing):
    begin(standing)
    del standing.values["acts/t1"]["holds"]
    with pytest.raises(JournalCorrupt, match=r"record 2 \(done\) is damaged"):
        standing.add(Kind.DONE, step={}, writes={})


def test_a_record_of_no_transaction_may_write_what_steps_may(standing):
    standing.add(Kind.ANOMALY, "t9", "container/b", writes={"refs/x": 1})
    assert standing.values["refs/x"] == 1
    with pytest.raises(JournalCorrupt, match="no step may write"):
        standing.add(Kind.ANOMALY, "t9", "container/b", writes={"open/t1": 1})
