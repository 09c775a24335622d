"""The journal's writer: group commit, compare-and-append, the signed head, refusing early."""

import os
import shutil
import subprocess
import sys
import threading

import plyvel
import pytest

from vordr.formats import checkpoint, note
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import head as heads
from vordr.journal.batch import Group
from vordr.journal.space import MIB, Space
from vordr.journal.store import JournalStore
from vordr.model.errors import (
    JournalCorrupt,
    JournalFull,
    JournalStopped,
    NameInUse,
    StaleState,
    StateError,
    StateLocked,
    SubjectBusy,
)
from vordr.model.lifecycle import Fidelity
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Inverse, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))


def draft(kind=Kind.ANOMALY, subject="container/a", txn="t1", **values):
    return Draft(txn=txn, kind=kind, cause=Cause.ACT, subject=subject, operation="op", **values)


def writes(**values):
    return draft(args={"writes": {key.replace("__", "/"): value for key, value in values.items()}})


class Clock:
    def __init__(self):
        self.now = 1_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "root", tmp_path / "run")


@pytest.fixture
def store(paths):
    opened = JournalStore.open(paths, KEY, Clock(), boot_id="boot-1")
    yield opened
    opened.close()


def append(store, *drafts, conditions=None, reserve=False):
    (outcome,) = store.append_batch([Group(tuple(drafts), conditions or {}, reserve)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def test_records_are_numbered_from_one_and_carry_boot_and_time(store):
    first, second = append(store, draft(), draft(txn="t2"))
    assert (first.seq, second.seq) == (1, 2)
    assert (first.boot_id, first.time) == ("boot-1", 1_000_000)
    assert store.record(2)[0] == second
    assert store.last() == (2, store.record(2)[1])


def test_time_never_goes_back_when_the_clock_does(store):
    append(store, draft())
    store._clock.now = 5
    (record,) = append(store, draft())
    assert record.time == 1_000_000


def test_what_is_appended_is_there_after_reopening(paths, store):
    act = draft(Kind.BEGIN, args={"plan": [{"subject": "container/a", "operation": "start"}],
                                  "holds": ["container/a"]})
    done = draft(Kind.DONE, inverse=Inverse("unstart", {"n": 1}, Fidelity.EXACT, ("memory",)),
                 args={"writes": {"containers/a": {"x": 1}}})
    records = append(store, act, done)
    store.close()
    again = JournalStore.open(paths, KEY)
    assert [record for record, _ in again.records()] == list(records)
    assert again.get("containers/a") == {"x": 1}
    assert again.get("busy/container/a") == "t1"
    assert again.get("acts/t1")["steps"][0]["inverse"]["losses"] == ["memory"]
    assert again.unanchored_at_open == 0
    again.close()


def test_conditions_see_the_groups_before_them_in_the_same_batch(store):
    taken = Group((writes(names__web="a"),), {"names/web": None})
    outcomes = store.append_batch([taken, Group((writes(names__web="b"),), {"names/web": None})])
    assert isinstance(outcomes[0], tuple)
    assert isinstance(outcomes[1], NameInUse)
    assert (store.size, store.get("names/web")) == (1, "a")


@pytest.mark.parametrize(("standing", "conditions", "error"), [
    ({"names/web": "c1"}, {"names/web": None}, NameInUse),
    ({"names/web": "c1"}, {"names/web": "c2"}, NameInUse),
    ({}, {"names/web": "c1"}, StaleState),
    ({"containers/a": {"n": 1}}, {"containers/a": {"n": 2}}, StaleState),
    ({"containers/a": [1]}, {"containers/a": None}, StaleState),
    ({"trust/epoch": 2}, {"trust/epoch": 1}, StaleState),
])
def test_a_condition_that_does_not_hold_is_refused_by_its_own_error(store, standing, conditions, error):
    if standing:
        append(store, draft(args={"writes": standing}))
    size = store.size
    with pytest.raises(error) as refused:
        append(store, draft(), conditions=conditions)
    ((key, expected),) = conditions.items()
    assert refused.value.details == {"key": key, "expected": expected, "found": standing.get(key)}
    assert store.size == size


def test_a_busy_subject_is_named_with_its_transaction(store):
    append(store, draft(Kind.BEGIN, args={"holds": ["container/a"]}))
    with pytest.raises(SubjectBusy, match="container/a is busy with transaction t1"):
        append(store, draft(txn="t2"), conditions={"busy/container/a": None})


def test_conditions_compare_json_values_whatever_their_python_type(store):
    append(store, draft(args={"writes": {"refs/x": {"a": (1, 2)}}}))
    append(store, draft(), conditions={"refs/x": {"a": [1, 2]}, "refs/none": None})


def test_a_refused_group_leaves_nothing_of_its_earlier_drafts(store):
    fine, misfit = writes(refs__x=1), draft(Kind.DONE, txn="never begun")
    outcomes = store.append_batch([Group((fine, misfit)), Group((draft(),))])
    assert isinstance(outcomes[0], JournalCorrupt)
    assert outcomes[1][0].seq == 1
    assert store.get("refs/x") is None


@pytest.mark.parametrize("value", [2**53, 1e16, float("nan"), "\ud800", object()])
def test_what_canonical_json_cannot_carry_is_refused(store, value):
    with pytest.raises(StateError, match="cannot be journalled"):
        append(store, draft(args={"value": value}))
    assert store.size == 0


def test_a_step_may_not_write_the_books_of_the_projection(store):
    with pytest.raises(JournalCorrupt, match="no step may write"):
        append(store, writes(busy__x="t"))


def test_a_deleted_projection_key_is_gone(store):
    append(store, writes(names__web="a"))
    append(store, writes(names__web=None))
    assert store.get("names/web") is None
    assert list(store.scan("names/")) == []


def test_scan_gives_keys_in_order_and_from_one_snapshot(store):
    append(store, draft(args={"writes": {f"refs/{n:04}": n for n in range(600)}}))
    scan = store.scan("refs/")
    first = next(scan)
    append(store, draft(args={"writes": {"refs/0599": None, "refs/9999": 1}}))
    assert [first, *scan] == [(f"refs/{n:04}", n) for n in range(600)]
    assert next(store.scan("refs/", reverse=True)) == ("refs/9999", 1)
    backwards = [value for _, value in store.scan("refs/0", reverse=True)]
    assert backwards == list(reversed(range(599)))


def test_records_can_be_read_by_range(store):
    append(store, *(draft(txn=f"t{n}") for n in range(1, 701)))
    assert [record.txn for record, _ in store.records(300, 650)] == [f"t{n}" for n in range(300, 650)]
    assert [record.seq for record, _ in store.records(699)] == [699, 700]


@pytest.mark.parametrize("seq", [0, -1, 2, 2**70])
def test_a_record_that_is_not_there_is_refused(store, seq):
    append(store, draft())
    with pytest.raises(StateError, match="no record"):
        store.record(seq)


def test_the_head_is_a_checkpoint_note_of_the_last_record(paths, store):
    append(store, draft(), draft(txn="t2"))
    store.anchor()
    text = paths.journal_head.read_text()
    name = "vordr/" + KEY.public.key_id.removeprefix("sha256:")[:16]
    assert note.verify_note(text, name, KEY.public)
    found = checkpoint.parse(note.parse_note(text).text)
    assert (found.origin, found.size, found.root) == (name, 2, store.root())
    assert found.extensions == ("seq 2", f"hash {store.last()[1].hex()}")
    assert store.checkpoint() == text
    assert oct(paths.journal_head.stat().st_mode)[-3:] == "600"


def test_a_new_journal_signs_its_head_before_the_first_record(paths, store):
    assert heads.verify(paths.journal_head.read_text(), KEY.public).size == 0


def test_records_after_the_signed_head_are_taken_on_and_counted(paths, store):
    append(store, draft())
    store.anchor()
    old = paths.journal_head.read_bytes()
    append(store, draft(), draft())
    store.close()
    paths.journal_head.write_bytes(old)  # as after a crash between commit and head
    again = JournalStore.open(paths, KEY)
    assert (again.size, again.unanchored_at_open) == (3, 2)
    append(again, draft())
    again.close()
    assert heads.verify(paths.journal_head.read_text(), KEY.public).size == 4


def swap_for_older(paths, store):
    append(store, draft())
    store.close()
    shutil.copytree(paths.journal, paths.root / "old")
    again = JournalStore.open(paths, KEY)
    append(again, draft())
    again.close()
    shutil.rmtree(paths.journal)
    (paths.root / "old").rename(paths.journal)


def swap_for_another(paths, store):
    append(store, draft())
    store.close()
    other = Paths(paths.root.parent / "other", paths.run)
    another = JournalStore.open(other, KEY)
    append(another, draft(txn="x"), draft(txn="y"))
    another.close()
    shutil.rmtree(paths.journal)
    shutil.copytree(other.journal, paths.journal)


def remove_head(paths, store):
    append(store, draft())
    store.close()
    paths.journal_head.unlink()


def forge_head(paths, store):
    append(store, draft())
    store.close()
    stranger = heads.Signer(PrivateKey.generate(Suite.ED25519))
    head = heads.verify(paths.journal_head.read_text(), KEY.public)
    paths.journal_head.write_text(stranger.sign(head))


def empty_head(paths, store):
    append(store, draft())
    store.close()
    paths.journal_head.write_bytes(b"")


def garbage_head(paths, store):
    store.close()
    paths.journal_head.write_bytes(b"\xff\xfe" * 200)


def garbage_database(paths, store):
    append(store, draft())
    store.close()
    for file in paths.journal.iterdir():
        file.write_bytes(b"garbage")


def database_removed(paths, store):
    append(store, draft())
    store.close()
    shutil.rmtree(paths.journal)


def rewritten_unanchored_record(paths, store):
    append(store, draft())
    store.anchor()
    old = paths.journal_head.read_bytes()
    append(store, draft())
    store.close()
    paths.journal_head.write_bytes(old)
    with plyvel.DB(str(paths.journal)) as db:
        key = b"r/" + (2).to_bytes(8, "big")
        db.put(key, db.get(key).replace(b'"principal":"local"', b'"principal":"other"'))


def a_newer_format(paths, store):
    store.close()
    with plyvel.DB(str(paths.journal)) as db:
        db.put(b"m/format", b"vordr-journal-2")


@pytest.mark.parametrize("damage", [
    swap_for_older, swap_for_another, remove_head, forge_head, empty_head, garbage_head, garbage_database,
    database_removed, rewritten_unanchored_record, a_newer_format,
], ids=lambda damage: damage.__name__)
def test_opening_is_refused_in_one_line_after(damage, paths, store):
    damage(paths, store)
    with pytest.raises(JournalCorrupt) as refused:
        JournalStore.open(paths, KEY)
    assert "\n" not in refused.value.message
    assert refused.value.remedy == "vordr audit --chain"


def test_a_second_opening_names_the_process_that_has_it(paths, store):
    program = (
        "import sys; from pathlib import Path; from vordr.model.paths import Paths\n"
        "from vordr.journal.store import JournalStore; from vordr.model.errors import StateLocked\n"
        "from vordr.formats.signature import PrivateKey, Suite\n"
        "key = PrivateKey.generate(Suite.ED25519)\n"
        "try: JournalStore.open(Paths(Path(sys.argv[1]), Path('/nowhere')), key)\n"
        "except StateLocked as error: print(error.details['pid'])\n"
    )
    found = subprocess.run([sys.executable, "-c", program, str(paths.root)], capture_output=True, text=True)
    with pytest.raises(StateLocked) as refused:
        JournalStore.open(paths, KEY)
    assert found.stdout.strip() == str(refused.value.details["pid"]) == str(os.getpid())


def test_a_host_key_that_cannot_sign_notes_is_refused(paths):
    with pytest.raises(StateError, match="host key"):
        JournalStore.open(paths, PrivateKey.generate(Suite.ED448))


def test_every_1024_records_one_carries_the_signed_checkpoint_of_those_before(store):
    append(store, *(draft(txn=f"t{n}") for n in range(1500)))
    root = store.root()
    (record,) = append(store, draft())
    assert record.seq == 1502
    found, _ = store.record(1501)
    assert found.kind is Kind.CHECKPOINT
    signed = heads.verify(found.args["checkpoint"], KEY.public)
    assert (signed.size, signed.root) == (1500, root)
    append(store, draft())
    assert store.size == 1503


def test_a_refused_batch_writes_no_checkpoint(store):
    append(store, *(draft(txn=f"t{n}") for n in range(1024)))
    store.append_batch([Group((draft(),), {"names/x": "y"})])
    assert store.size == 1024


def test_a_closed_journal_refuses_reads_and_ends_scans(store):
    append(store, *(draft(args={"writes": {f"refs/{n}": n}}) for n in range(600)))
    scan = store.scan("refs/")
    next(scan)
    store.close()
    store.close()
    with pytest.raises(StateError, match="closed"):
        store.get("refs/1")
    with pytest.raises(StateError, match="closed"):
        list(scan)
    with pytest.raises(StateError, match="closed"):
        append(store, draft())


def test_reads_from_many_threads_meet_a_writer_and_a_close(store):
    errors, started = [], threading.Barrier(5)

    def read():
        started.wait()
        try:
            while True:
                seq, digest = store.last()
                if seq:
                    assert store.record(seq)[1] == digest
                    assert store.prove(seq)["hash"] == digest.hex()
                list(store.scan("heads/"))
        except StateError:
            pass
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    for n in range(60):
        append(store, *(draft(subject=f"container/{n}") for _ in range(9)))
    store.close()
    for thread in threads:
        thread.join()
    assert not errors


class Disk:
    def __init__(self, free):
        self.free = free

    def __call__(self, folder):
        held = sum(file.stat().st_size for file in folder.glob("reserve"))
        return self.free - held


@pytest.fixture
def disk():
    return Disk(100 * MIB)


@pytest.fixture
def small(paths, disk):
    folder = paths.journal.parent
    opened = JournalStore.open(paths, KEY, space=Space(folder, free=disk, reserve=2 * MIB))
    yield opened
    opened.close()


def test_a_full_disk_refuses_begins_and_finishes_what_is_open(small, disk):
    append(small, draft(Kind.BEGIN))
    disk.free = 3 * MIB
    begin, commit = Group((draft(Kind.BEGIN, txn="t2"),)), Group((draft(Kind.COMMIT),), reserve=True)
    outcomes = small.append_batch([begin, commit])
    assert isinstance(outcomes[0], JournalFull)
    assert outcomes[1][0].seq == 2


def test_the_reserve_is_given_up_for_an_outcome_and_made_again(paths, small, disk):
    reserve = paths.journal.parent / "reserve"
    assert reserve.stat().st_blocks * 512 >= 2 * MIB
    append(small, draft(Kind.BEGIN))
    disk.free = 2 * MIB
    append(small, draft(Kind.COMMIT), reserve=True)
    assert not reserve.exists()
    disk.free = 100 * MIB
    append(small, draft())
    assert reserve.exists()


def test_without_reserve_left_even_an_outcome_is_refused_and_the_journal_lives(small, disk):
    append(small, draft(Kind.BEGIN))
    disk.free = MIB // 2
    with pytest.raises(JournalFull):
        append(small, draft(Kind.COMMIT), reserve=True)
    disk.free = 100 * MIB
    append(small, draft(Kind.COMMIT), reserve=True)


def test_a_head_that_cannot_be_written_stops_the_journal(paths, store):
    append(store, draft())
    store.anchor()
    (paths.journal_head.parent / "head.new").mkdir()
    append(store, draft())
    with pytest.raises(JournalStopped):
        store.anchor()
    with pytest.raises(JournalStopped):
        append(store, draft())
    assert store.get("heads/container/a") == 2
