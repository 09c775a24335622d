"""The journal actor and its client: answers after the sync, floods as summaries, the end of it."""

import threading

import pytest

from vordr.actors.clock import SystemClock, VirtualClock
from vordr.actors.context import Services, StartContext
from vordr.actors.handle import Handle
from vordr.actors.journal import Append, JournalActor, JournalClient
from vordr.actors.reasons import Crashed, Normal
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import head as heads
from vordr.journal.auditor import audit
from vordr.journal.flood import Flood
from vordr.journal.store import JournalStore
from vordr.model.errors import (
    ActorDead,
    JournalCorrupt,
    JournalStopped,
    NameInUse,
    StateError,
    SupervisionError,
)
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))


def draft(kind=Kind.BEGIN, txn="t1", subject="container/a", **args):
    return Draft(txn=txn, kind=kind, cause=Cause.ACT, subject=subject, operation="op", args=args)


class World:
    def __init__(self, root, clock):
        self.paths = Paths(root, root / "run")
        self.clock = clock
        self.store = JournalStore.open(self.paths, KEY, clock.now_us)
        self.actor = JournalActor(self.store, Flood(rate=1.0, burst=2))
        self.handle = Handle("journal", self.actor)
        self.exits = []
        self.actor.launch(
            StartContext(("journal",), self.handle, Services(clock=clock), parent=self.exits.append))
        self.client = JournalClient(self.handle, self.store)

    def stop(self):
        self.actor.stop()
        assert self.actor.wait_end(SystemClock(), 10)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, VirtualClock())
    yield made
    made.stop()


def test_an_append_is_answered_with_its_records(world):
    first, second = world.client.append((draft(), draft(Kind.INTENT)))
    assert (first.seq, second.seq, world.client.size) == (1, 2, 2)
    assert world.client.get("busy/container/a") is None
    assert world.client.record(2)[0] == second
    assert [record for record, _ in world.client.records()] == [first, second]


def test_a_refusal_reaches_its_caller_only(world):
    world.client.append((draft(Kind.VERDICT, writes={"names/web": "x"}),))
    with pytest.raises(NameInUse):
        world.client.append((draft(),), {"names/web": None})
    assert world.client.append((draft(),), {"names/web": "x"})[0].seq == 2


def test_of_many_that_want_one_name_one_gets_it(world):
    won, lost, start = [], [], threading.Barrier(24)

    def take(number):
        start.wait()
        claim = draft(Kind.VERDICT, txn=f"t{number}", writes={"names/web": number})
        try:
            won.append(world.client.append((claim,), {"names/web": None})[0].args["writes"]["names/web"])
        except NameInUse:
            lost.append(number)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 23)
    assert world.client.get("names/web") == won[0]


def test_a_message_of_another_language_does_not_end_the_journal(world):
    with pytest.raises(SupervisionError, match="does not understand"):
        world.handle.ask("hello", 5)
    world.handle.tell("hello")
    assert world.client.append((draft(),))[0].seq == 1


def test_a_misfit_told_without_waiting_does_not_end_the_journal(world):
    world.handle.tell(Append((draft(Kind.DONE, txn="never begun"),)))
    assert world.client.append((draft(),))[0].seq == 1


def test_a_flood_becomes_a_counted_summary_when_its_time_comes(world):
    passed = [world.client.append((draft(Kind.ANOMALY),)) for _ in range(10)]
    assert [len(records) for records in passed] == [1, 1, *[0] * 8]
    world.clock.wait_for_timer(1.0)
    world.clock.advance(1.0)
    world.client.append((draft(),))
    (summary,) = [record for record, _ in world.client.records() if record.kind is Kind.SUMMARY]
    assert (summary.args["count"], summary.args["operations"]) == (8, {"op": 8})
    assert summary.subject == "container/a"


def test_acts_are_never_held_back_by_a_flood(world):
    for _ in range(10):
        world.client.note(draft(Kind.ANOMALY))
    for number in range(10):
        assert len(world.client.append((draft(txn=f"t{number}"),))) == 1
    held = draft(Kind.DECISION, writes={"containers/a": {"parked": "crash loop"}})
    assert len(world.client.append((held,))) == 1


def test_the_end_writes_what_is_counted_and_anchors_everything(world):
    for _ in range(10):
        world.client.append((draft(Kind.ANOMALY),))
    world.stop()
    report = audit(world.paths.journal, world.paths.journal_head, KEY.public)
    assert (report.ok, report.records, report.unanchored) == (True, 3, 0)
    assert world.exits[0].reason == Normal()
    with pytest.raises(ActorDead):
        world.client.append((draft(),))
    with pytest.raises(StateError, match="closed"):
        world.client.get("names/web")


def test_what_waits_at_a_requested_stop_is_still_journalled(world):
    for number in range(50):
        world.client.note(draft(txn=f"t{number}"))
    world.stop()
    assert heads.verify(world.paths.journal_head.read_text(), KEY.public).size == 50


def test_a_journal_that_stops_answers_its_waiters_and_ends_by_it(world):
    world.client.append((draft(),))
    world.store.anchor()
    (world.paths.journal_head.parent / "head.new").mkdir()  # no head can be written any more
    world.client.append((draft(txn="t2"),))
    with pytest.raises(JournalStopped):
        world.store.anchor()
    with pytest.raises(JournalStopped):
        world.client.append((draft(txn="t3"),))
    assert world.actor.wait_end(SystemClock(), 10)
    (ended,) = world.exits
    assert isinstance(ended.reason, Crashed)
    assert isinstance(ended.reason.exception, JournalStopped)


def test_proofs_come_through_the_client(world):
    world.client.append((draft(),))
    proof = world.client.prove(1)
    assert proof["checkpoint"] == world.client.checkpoint()
    assert world.client.consistency(0, 1)["path"] == []
    assert world.client.last() == (1, bytes.fromhex(proof["hash"]))


def test_what_does_not_fit_is_refused_with_its_reason(world):
    with pytest.raises(JournalCorrupt, match="no begun transaction"):
        world.client.append((draft(Kind.COMMIT),))
