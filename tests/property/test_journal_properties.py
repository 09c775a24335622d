"""Arbitrary groups: the projection is the replay, any change is found, any crash leaves a prefix."""

import shutil
import tempfile
from pathlib import Path

import plyvel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vordr.formats import merkle
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import proofs
from vordr.journal.auditor import OfflineJournal, audit
from vordr.journal.batch import Group
from vordr.journal.encoding import encode
from vordr.journal.layout import decode_record, record_key, seq_and_time
from vordr.journal.space import Space
from vordr.journal.store import JournalStore
from vordr.journal.tiles import EMPTY, Growth, load
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind, Record

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
few = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20)
    | st.floats(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
subjects = st.sampled_from(["container/a", "container/b"])
txns = st.sampled_from(["t1", "t2", "t3"])
keys = st.sampled_from(["names/x", "names/y", "containers/a", "refs/é\U0001f600"])
drafts = st.builds(
    lambda kind, subject, txn, writes, extra, time: Draft(
        txn=txn, kind=kind, cause=Cause.ACT, subject=subject, operation="op",
        args={"writes": writes, "holds": [subject], "releases": [subject], "extra": extra}),
    st.sampled_from([k for k in Kind if k is not Kind.CHECKPOINT]), subjects, txns,
    st.dictionaries(keys, json_values, max_size=2), json_values, st.none(),
)
groups = st.builds(
    Group, st.lists(drafts, min_size=1, max_size=3).map(tuple),
    st.dictionaries(keys | st.sampled_from(["busy/container/a", "open/t1"]), st.none() | st.just("v"),
                    max_size=1),
    st.booleans(),
)
batches = st.lists(st.lists(groups, min_size=1, max_size=4), max_size=6)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fresh(folder):
    root = Path(tempfile.mkdtemp(dir=folder))
    return Paths(root, root / "run")


def opened(paths):
    return JournalStore.open(paths, KEY, space=Space(paths.journal.parent, reserve=4096))


def begin(txn):
    return Group((Draft(txn=txn, kind=Kind.BEGIN, cause=Cause.ACT, subject="container/a", operation="op"),))


@few
@given(batches)
def test_the_projection_is_what_the_records_add_up_to(folder, content):
    paths = fresh(folder)
    store = opened(paths)
    accepted = 0
    for batch in [[begin("t1"), begin("t2")], *content]:
        for outcome in store.append_batch(batch):
            accepted += len(outcome) if isinstance(outcome, tuple) else 0
    assert store.size == accepted
    store.close()
    report = audit(paths.journal, paths.journal_head, KEY.public)
    assert report.ok, report.reason
    assert (report.records, report.unanchored) == (accepted, 0)


@few
@given(batches)
def test_a_crash_between_batches_leaves_a_prefix_that_opens_and_audits(folder, content):
    paths = fresh(folder)
    store = opened(paths)
    crashes = []
    for number, batch in enumerate([[begin("t1")], *content]):
        head = paths.journal_head.read_bytes()
        store.append_batch(batch)
        crash = Paths(paths.root / f"crash-{number}", paths.run)
        shutil.copytree(paths.journal, crash.journal, ignore=shutil.ignore_patterns("LOCK"))
        crash.journal_head.write_bytes(head)  # the commit got through, the head did not
        crashes.append((crash, store.size, store.root()))
    everything = list(store.records())
    store.close()
    for crash, size, root in crashes:
        report = audit(crash.journal, crash.journal_head, KEY.public)
        assert (report.ok, report.records) == (True, size)
        again = opened(crash)
        assert (again.size, again.root()) == (size, root)
        assert list(again.records()) == everything[:size]
        again.close()


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    root = tmp_path_factory.mktemp("journal")
    paths = Paths(root, root / "run")
    store = opened(paths)
    store.append_batch([begin(f"txn-{n}") for n in range(300)])
    store.close()
    return paths


@few
@given(st.data())
def test_any_single_change_of_a_record_is_found_at_it(journal, folder, data):
    paths = fresh(folder)
    shutil.copytree(journal.root, paths.root, dirs_exist_ok=True)
    seq = data.draw(st.integers(1, 300), label="seq")
    with plyvel.DB(str(paths.journal)) as db:
        key = record_key(seq)
        old = db.get(key)
        match data.draw(st.sampled_from(["flip", "drop", "key", "cut", "grow"]), label="change"):
            case "flip":
                at = data.draw(st.integers(0, len(old) * 8 - 1), label="bit")
                changed = bytearray(old)
                changed[at // 8] ^= 1 << at % 8
                db.put(key, bytes(changed))
            case "drop":
                db.delete(key)
            case "key":
                at = data.draw(st.integers(0, len(key) * 8 - 1), label="bit")
                moved = bytearray(key)
                moved[at // 8] ^= 1 << at % 8
                db.delete(key)
                db.put(bytes(moved), old)
            case "cut":
                db.put(key, old[:data.draw(st.integers(0, len(old) - 1), label="length")])
            case "grow":
                db.put(key, old + data.draw(st.binary(min_size=1, max_size=4)))
    report = audit(paths.journal, paths.journal_head, KEY.public, replay=False)
    assert not report.ok
    assert report.first_bad == min(seq, report.records + 1)
    assert report.first_bad <= seq
    shutil.rmtree(paths.root)


@few
@given(st.data())
def test_any_single_byte_changed_in_the_files_is_found_or_changes_nothing(journal, folder, data):
    paths = fresh(folder)
    shutil.copytree(journal.root, paths.root, dirs_exist_ok=True)
    file = data.draw(st.sampled_from(sorted(f for f in paths.journal.iterdir() if f.stat().st_size)))
    raw = bytearray(file.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1), label="byte")] ^= data.draw(st.integers(1, 255))
    file.write_bytes(raw)
    report = audit(paths.journal, paths.journal_head, KEY.public)
    assert not report.ok or (report.records, report.root) == (300, _root(journal))
    shutil.rmtree(paths.root)


def _root(journal):
    with OfflineJournal.copied(journal.journal, journal.journal_head) as copy:
        return copy.walk().root().hex()


def test_every_record_of_every_size_to_600_is_proven(tmp_path):
    paths = Paths(tmp_path, tmp_path / "run")
    store = opened(paths)
    leaves, roots = [], [merkle.EMPTY_ROOT]
    for size in range(1, 601):
        (records,) = store.append_batch([begin(f"txn-{size}")])
        leaves.append(merkle.leaf_hash(store.record(records[0].seq)[1]))
        roots.append(store.root())
        fetch = store._tree.fetch(store.raw)
        for index in {size - 1, size // 2, size * 7 // 11}:
            path = merkle.inclusion_path_from(index, size, fetch)
            assert path == merkle.inclusion_path(index, leaves)
            assert merkle.verify_inclusion(index, size, leaves[index], path, roots[size])
    for seq in range(1, 601):
        assert proofs.verify_proof(store.prove(seq), KEY.public).seq == seq
        proof = store.consistency(seq, 600)
        assert proofs.verify_consistency(proof, roots[seq], roots[600]) == (seq, 600)
    store.close()


@few
@given(st.lists(st.integers(0, 700), min_size=1, max_size=5), st.integers(0, 70_000))
def test_a_tree_read_back_from_its_tiles_is_the_same_tree(steps, first):
    tree, stored, leaves = EMPTY, {}, []
    for count in [first % 600, *steps]:
        growth = Growth(tree)
        for _ in range(count):
            leaves.append(merkle.leaf_hash(len(leaves).to_bytes(4, "big")))
            growth.append(leaves[-1])
        tree, puts = growth.finish()
        stored.update(puts)
        read = load(stored.get, lambda width: leaves[len(leaves) - width:])
        assert read == tree
    assert tree.root() == merkle.root(leaves)
    for size in {0, len(leaves) // 3, len(leaves) // 2, len(leaves)}:
        assert tree.root_at(size, stored.get) == merkle.root(leaves[:size])


records = st.builds(
    Record, seq=st.integers(1, 2**53 - 1), txn=st.text(max_size=40), kind=st.sampled_from(Kind),
    cause=st.sampled_from(Cause), subject=st.text(max_size=40), operation=st.text(max_size=20),
    args=st.dictionaries(st.text(max_size=8), json_values, max_size=3),
    before=st.none() | st.text(max_size=8), after=st.none() | st.text(max_size=8), inverse=st.none(),
    principal=st.text(max_size=8), boot_id=st.text(max_size=8), time=st.integers(0, 2**53 - 1),
)
tricky = st.sampled_from([',"txn":"', '","time":9,"txn":"x', ',"seq":3,', '\\",\\"seq\\":7', '"seq"'])


@given(records, tricky, tricky)
def test_number_and_time_are_read_from_the_bytes_as_a_decoder_reads_them(record, first, second):
    for changes in ({}, {"subject": first}, {"txn": second}, {"subject": first, "txn": second},
                    {"args": {first: second}}):
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        body = encode(Record(**{**values, **changes}))
        decoded = decode_record(body)
        assert seq_and_time(body) == (decoded.seq, decoded.time) == (record.seq, record.time)
