"""The projection as a function of the records: who holds what, what is open, what lives."""

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
            args=args, before=None, after=None, inverse=inverse, principal="me", boot_id="b", time=self.seq)
        for key, value in project(record, self.values.get).items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        return self.seq

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
