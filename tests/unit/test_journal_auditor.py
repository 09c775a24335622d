"""The offline auditor: each attack is a row, with the place it must be found at."""

import hashlib
import os
import re
import shutil

import plyvel
import pytest

from vordr.formats import merkle
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import head as heads
from vordr.journal import proofs
from vordr.journal.auditor import OfflineJournal, audit
from vordr.journal.batch import Group
from vordr.journal.layout import GENESIS, link, record_key
from vordr.journal.store import JournalStore
from vordr.journal.tiles import EMPTY, Growth
from vordr.model.errors import JournalCorrupt, StateError
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
COUNT = 600


def draft(number):
    writes = {f"refs/{number % 50}": {"number": number}}
    return Draft(txn=f"txn-{number:04}", kind=Kind.ANOMALY, cause=Cause.MONITOR,
                 subject=f"container/{number % 7}", operation="rule", args={"writes": writes})


def build(root, count=COUNT):
    paths = Paths(root, root / "run")
    store = JournalStore.open(paths, KEY)
    for first in range(1, count + 1, 100):
        store.append_batch([Group((draft(n),)) for n in range(first, min(first + 100, count + 1))])
    store.close()
    return paths


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return build(tmp_path_factory.mktemp("journal"))


@pytest.fixture
def journal(original, tmp_path):
    shutil.copytree(original.root, tmp_path / "j")
    return Paths(tmp_path / "j", tmp_path / "run")


def examine(journal, **options):
    return audit(journal.journal, journal.journal_head, KEY.public, **options)


def test_a_sound_journal_passes(original):
    report = examine(original)
    assert (report.ok, report.records, report.unanchored, report.replayed) == (True, COUNT, 0, True)
    assert (report.first_bad, report.reason) == (None, None)
    assert report.root == heads.verify(original.journal_head.read_text(), KEY.public).root.hex()


def test_an_empty_journal_passes(tmp_path):
    assert examine(build(tmp_path, 0)).ok


def test_the_audit_changes_nothing(journal):
    def state():
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in journal.root.rglob("*") if p.is_file()}

    before = state()
    examine(journal)
    assert state() == before


def test_records_after_the_head_are_counted(journal):
    store = JournalStore.open(journal, KEY)
    old = journal.journal_head.read_bytes()
    store.append_batch([Group((draft(1), draft(2), draft(3)))])
    store.close()
    journal.journal_head.write_bytes(old)
    report = examine(journal)
    assert (report.ok, report.records, report.unanchored) == (True, COUNT + 3, 3)


# -- attacks: each changes the journal, and says what the auditor must find ---------------------------


def value(db, seq):
    return db.get(record_key(seq))


def rewrite(db, first, change, tree=False):
    """Change record ``first`` and make all later hashes anew, as one who owns the disk and not the key."""
    previous = value(db, first - 1)[:32] if first > 1 else GENESIS
    growth = Growth(EMPTY)
    for seq in range(1, COUNT + 1):
        body = value(db, seq)[32:]
        if seq >= first:
            body = change(body) if seq == first else body
            previous = link(previous, body)
            db.put(record_key(seq), previous + body)
        growth.append(merkle.leaf_hash(value(db, seq)[:32]))
    if tree:
        for key, tile in growth.finish()[1].items():
            db.put(key, tile)


def other_principal(body):
    return body.replace(b'"principal":"local"', b'"principal":"mallo"')


def flip_in_body(db, journal):
    old = value(db, 300)
    db.put(record_key(300), old[:100] + bytes([old[100] ^ 1]) + old[101:])


def flip_in_hash(db, journal):
    old = value(db, 300)
    db.put(record_key(300), bytes([old[0] ^ 1]) + old[1:])


def flip_in_key(db, journal):
    db.put(b"r/" + bytes([1]) + (300).to_bytes(7, "big"), value(db, 300))
    db.delete(record_key(300))


def flip_in_key_prefix(db, journal):
    db.put(b"s/" + (300).to_bytes(8, "big"), value(db, 300))
    db.delete(record_key(300))


def drop(db, journal):
    db.delete(record_key(300))


def drop_first(db, journal):
    db.delete(record_key(1))


def swap(db, journal):
    first, second = value(db, 300), value(db, 301)
    db.put(record_key(300), second)
    db.put(record_key(301), first)


def truncate_record(db, journal):
    db.put(record_key(300), value(db, 300)[:20])


def duplicate_beyond_tail(db, journal):
    db.put(record_key(COUNT + 1), value(db, COUNT))


def cut_tail(db, journal):
    for seq in range(500, COUNT + 1):
        db.delete(record_key(seq))


def rehash_one(db, journal):
    body = other_principal(value(db, 300)[32:])
    db.put(record_key(300), link(value(db, 299)[:32], body) + body)


def rehash_to_the_tail(db, journal):
    rewrite(db, 300, other_principal)


def rehash_to_the_tail_with_tree(db, journal):
    rewrite(db, 300, other_principal, tree=True)


def time_backwards(db, journal):
    rewrite(db, 300, lambda body: re.sub(rb'"time":\d+', b'"time":7', body), tree=True)


def not_canonical(db, journal):
    journal.journal_head.write_text(note_over(300 - 1, db))
    rewrite(db, 300, lambda body: body.replace(b'"args":{', b'"args": {'), tree=True)


def unknown_field(db, journal):
    journal.journal_head.write_text(note_over(300 - 1, db))
    rewrite(db, 300, lambda body: body.replace(b'{"after"', b'{"aaaaa":1,"after"'), tree=True)


def note_over(size, db):
    leaves = [merkle.leaf_hash(value(db, seq)[:32]) for seq in range(1, size + 1)]
    return heads.Signer(KEY).sign(heads.Head(size, merkle.root(leaves), size, value(db, size)[:32]))


def change_projection(db, journal):
    db.put(b"p/refs/7", b'{"number":8}')


def drop_projection(db, journal):
    db.delete(b"p/refs/7")


def add_projection(db, journal):
    db.put(b"p/names/web", b'"x"')


def change_tile(db, journal):
    tile = db.get(b"t/\0" + bytes(8))
    db.put(b"t/\0" + bytes(8), tile[:32 * 99] + bytes(32) + tile[32 * 100:])


def drop_tile(db, journal):
    db.delete(b"t/\0" + bytes(8))


def change_edge(db, journal):
    db.put(b"t/frontier", db.get(b"t/frontier")[:-1] + b"x")


def foreign_key(db, journal):
    db.put(b"zzz", b"1")


def remove_head(db, journal):
    journal.journal_head.unlink()


def tamper_head(db, journal):
    text = journal.journal_head.read_text()
    journal.journal_head.write_text(text.replace(f"\n{COUNT}\n", f"\n{COUNT - 1}\n"))


def forge_head(db, journal):
    head = heads.verify(journal.journal_head.read_text(), KEY.public)
    journal.journal_head.write_text(heads.Signer(PrivateKey.generate(Suite.ED25519)).sign(head))


def binary_head(db, journal):
    journal.journal_head.write_bytes(os.urandom(300))


ATTACKS = [
    (flip_in_body, 300, "was changed|is not one"), (flip_in_hash, 300, "was changed"),
    (flip_in_key, 300, "missing"), (flip_in_key_prefix, 300, "missing"), (drop, 300, "missing"),
    (drop_first, 1, "missing"), (swap, 300, "in the place of record 300 stands record 301"),
    (truncate_record, 300, "is not one"), (duplicate_beyond_tail, 601, "in the place of record 601"),
    (cut_tail, 500, "tail was cut"), (rehash_one, 300, "not the one that the tree"),
    (rehash_to_the_tail, 300, "the signed head"), (rehash_to_the_tail_with_tree, 1, "the signed head"),
    (time_backwards, 300, "time goes backwards"), (not_canonical, 300, "canonical"),
    (unknown_field, 300, "canonical"), (change_projection, 557, "refs/7"), (drop_projection, 557, "refs/7"),
    (add_projection, None, "names/web"), (change_tile, 100, "tree"), (drop_tile, None, "tree"),
    (change_edge, None, "right edge"), (foreign_key, None, "zzz"), (remove_head, None, "head is missing"),
    (tamper_head, None, "forged"), (forge_head, None, "forged"), (binary_head, None, "head"),
]


@pytest.mark.parametrize(("attack", "first_bad", "reason"), ATTACKS, ids=[row[0].__name__ for row in ATTACKS])
def test_is_found_and_placed(attack, first_bad, reason, journal):
    with plyvel.DB(str(journal.journal)) as db:
        attack(db, journal)
    report = examine(journal)
    assert not report.ok
    assert report.first_bad == first_bad
    assert re.search(reason, report.reason), report.reason
    assert "\n" not in report.reason


def test_a_database_swapped_for_an_older_copy_is_found(tmp_path):
    old, new = build(tmp_path / "old", 40), build(tmp_path / "new", 60)
    report = audit(old.journal, new.journal_head, KEY.public)
    assert (report.ok, report.first_bad, report.records) == (False, 41, 40)
    assert "older copy" in report.reason


def test_a_rewritten_history_is_placed_between_the_checkpoints_around_it(tmp_path):
    paths = Paths(tmp_path, tmp_path / "run")
    store = JournalStore.open(paths, KEY)
    for _ in range(5):
        store.append_batch([Group((draft(n),)) for n in range(700)])
    store.close()
    with plyvel.DB(str(paths.journal)) as db:
        previous, growth = GENESIS, Growth(EMPTY)
        for seq in range(1, store.size + 1):
            body = value(db, seq)[32:]
            body = other_principal(body) if seq == 2000 else body
            previous = link(previous, body)
            db.put(record_key(seq), previous + body)
            growth.append(merkle.leaf_hash(previous))
        for key, tile in growth.finish()[1].items():
            db.put(key, tile)
    report = examine(paths)
    assert not report.ok
    assert report.first_bad == 1401  # the first checkpoint covers 1400 records, the next 2801
    assert "records 1401 to 2801 are not those over which the checkpoint in record 2802" in report.reason


def test_damaged_table_files_are_placed(journal):
    with plyvel.DB(str(journal.journal)) as db:
        db.compact_range()
    (table, *_) = sorted(journal.journal.glob("*.ldb"), key=lambda file: -file.stat().st_size)
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2] ^= 1
    table.write_bytes(raw)
    report = examine(journal)
    assert not report.ok
    assert "cannot be read" in report.reason or "missing" in report.reason


def test_a_damaged_log_is_placed(journal):
    log = max(journal.journal.glob("*.log"), key=lambda file: file.stat().st_size)
    raw = bytearray(log.read_bytes())
    assert len(raw) > 100_000
    raw[40_000] ^= 1
    log.write_bytes(raw)
    report = examine(journal)
    assert not report.ok
    assert 1 < report.first_bad <= COUNT
    assert f"after record {report.first_bad - 1} the database cannot be read" in report.reason


def test_a_database_that_does_not_open_is_bad_from_the_start(journal):
    for file in journal.journal.iterdir():
        file.write_bytes(b"garbage")
    report = examine(journal)
    assert (report.ok, report.first_bad) == (False, 1)


def test_a_missing_database_is_refused(tmp_path):
    with pytest.raises(JournalCorrupt, match="cannot be copied"):
        audit(tmp_path / "none", tmp_path / "head", KEY.public)


# -- proofs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offline(original):
    with OfflineJournal.copied(original.journal, original.journal_head) as copy:
        yield copy


@pytest.mark.parametrize("seq", [1, 2, 255, 256, 257, 512, 513, COUNT])
def test_a_proof_made_offline_verifies_with_the_public_key(offline, seq):
    record = proofs.verify_proof(offline.prove(seq, KEY.public), KEY.public)
    assert (record.seq, record.txn) == (seq, f"txn-{seq:04}")


def test_the_open_store_proves_the_same(offline, journal):
    store = JournalStore.open(journal, KEY)
    assert [store.prove(seq) for seq in (1, 256, 600)] == [
        offline.prove(seq, KEY.public) for seq in (1, 256, 600)
    ]
    assert store.consistency(100, 600) == offline.consistency(100, 600)
    store.close()


@pytest.mark.parametrize("seq", [0, COUNT + 1])
def test_no_proof_of_a_record_that_the_head_does_not_cover(offline, seq):
    with pytest.raises(StateError, match="anchored"):
        offline.prove(seq, KEY.public)


CHANGES = {
    "record": lambda p: {**p["record"], "principal": "mallory"}, "seq": lambda p: p["seq"] + 1,
    "previous": lambda p: p["hash"], "hash": lambda p: p["previous"], "leaf": lambda p: p["hash"],
    "path": lambda p: p["path"][1:], "size": lambda p: p["size"] - 1, "root": lambda p: p["hash"],
    "checkpoint": lambda p: p["checkpoint"].replace("600", "601"), "extra": lambda p: 1,
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_proof_with_one_part_changed_does_not_hold(offline, field):
    proof = offline.prove(77, KEY.public)
    with pytest.raises(JournalCorrupt, match="proof does not hold"):
        proofs.verify_proof({**proof, field: CHANGES[field](proof)}, KEY.public)


def test_a_proof_under_another_host_key_does_not_hold(offline):
    with pytest.raises(JournalCorrupt, match="not signed"):
        proofs.verify_proof(offline.prove(77, KEY.public), PrivateKey.generate(Suite.ED25519).public)


def test_consistency_holds_between_the_roots_it_names_only(offline):
    proof = offline.consistency(257, COUNT)
    roots = bytes.fromhex(proof["first_root"]), bytes.fromhex(proof["second_root"])
    assert proofs.verify_consistency(proof, *roots) == (257, COUNT)
    for wrong in ((roots[1], roots[0]), (hashlib.sha256(b"").digest(), roots[1])):
        with pytest.raises(JournalCorrupt):
            proofs.verify_consistency(proof, *wrong)
    with pytest.raises(JournalCorrupt):
        proofs.verify_consistency({**proof, "path": proof["path"][:-1]}, *roots)
