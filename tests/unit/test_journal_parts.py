"""The journal's pure parts: record bytes, tiles, the head's text, the flood's arithmetic."""

import hashlib
import shutil
import threading

import pytest

from vordr.formats import merkle, note
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import head as heads
from vordr.journal import layout
from vordr.journal.batch import Group, Tip, evaluate
from vordr.journal.copy import copy_database
from vordr.journal.database import Gate
from vordr.journal.flood import Flood
from vordr.journal.tiles import EMPTY, Growth, load, tile_key
from vordr.model.errors import JournalCorrupt, StateError
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
SECOND = 1_000_000


def draft(kind=Kind.ANOMALY, operation="rule", **args):
    return Draft(txn="t", kind=kind, cause=Cause.MONITOR, subject="container/a", operation=operation,
                 args=args)


def test_the_first_record_is_these_bytes_and_this_hash():
    tip = Tip(0, layout.GENESIS, 0)
    evaluated = evaluate([Group((draft(n=(1, 2)),))], lambda key: None, tip, now=5, boot_id="b")
    (entry,) = evaluated.entries
    assert entry.body == (
        b'{"after":null,"args":{"n":[1,2]},"before":null,"boot_id":"b","cause":"monitor","inverse":null,'
        b'"kind":"anomaly","operation":"rule","principal":"local","seq":1,"subject":"container/a","time":5,'
        b'"txn":"t"}'
    )
    assert entry.hash == hashlib.sha256(bytes(32) + entry.body).digest()
    assert evaluated.writes == {"heads/container/a": b"1"}
    assert evaluated.tip == Tip(1, entry.hash, 5)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"seq":1}', b',"seq":x,"time":1,"txn":"', b"\xff" * 40])
def test_bytes_that_are_no_record_have_no_number(body):
    with pytest.raises(ValueError):
        layout.seq_and_time(body)


def grown(count):
    growth = Growth(EMPTY)
    for number in range(count):
        growth.append(merkle.leaf_hash(number.to_bytes(4, "big")))
    return growth.finish()


@pytest.mark.parametrize(("count", "keys"), [
    (0, {"frontier"}), (255, {"frontier"}), (256, {"frontier", (0, 0), (1, 0)}),
    (513, {"frontier", (0, 0), (0, 1), (1, 0)}),
])
def test_full_leaf_tiles_and_every_upper_tile_are_stored(count, keys):
    _, puts = grown(count)
    assert set(puts) == {tile_key(*key) if isinstance(key, tuple) else b"t/frontier" for key in keys}


def test_a_tree_of_more_than_65536_leaves_uses_the_third_level():
    tree, puts = grown(65_537)
    assert len(puts[tile_key(1, 0)]) == 256 * 32
    assert puts[tile_key(2, 0)] == tree.fetch(puts.get)(16, 0)
    path = merkle.inclusion_path_from(300, tree.size, tree.fetch(puts.get))
    leaf = merkle.leaf_hash((300).to_bytes(4, "big"))
    assert merkle.verify_inclusion(300, tree.size, leaf, path, tree.root())


def test_a_proof_reads_few_tiles():
    tree, puts = grown(65_537)
    read = []
    merkle.inclusion_path_from(300, tree.size, tree.fetch(lambda key: read.append(key) or puts.get(key)))
    assert len(read) <= 2 * 17


def test_a_missing_tile_is_named():
    tree, puts = grown(600)
    del puts[tile_key(0, 1)]
    with pytest.raises(FormatError, match="0/1"):
        tree.fetch(puts.get)(3, 40)


def test_a_tree_with_too_few_leaves_is_not_loaded():
    _, puts = grown(300)
    with pytest.raises(FormatError, match="0/1"):
        load(puts.get, lambda count: [])


def head():
    return heads.Head(3, b"r" * 32, 3, b"h" * 32)


def test_a_head_is_read_back_as_it_was_signed():
    assert heads.verify(heads.Signer(KEY).sign(head()), KEY.public) == head()


def resigned(text):
    return note.sign_note(text, heads.origin(KEY.public), KEY)


TEXT = head().to_checkpoint(heads.origin(KEY.public)).to_text()


@pytest.mark.parametrize("text", [
    TEXT.replace("vordr/", "other/"), TEXT.replace("seq 3\n", ""), TEXT.replace("seq 3", "seq 03"),
    TEXT.replace("seq 3", "seq -3"), TEXT.replace("hash 68", "hash 6X"), TEXT + "more\n", "no checkpoint\n",
])
def test_a_head_signed_but_not_of_our_form_is_refused(text):
    with pytest.raises(FormatError):
        heads.verify(resigned(text), KEY.public)


def test_the_head_of_another_key_is_refused():
    stranger = PrivateKey.generate(Suite.ED25519)
    with pytest.raises(FormatError, match="not signed"):
        heads.verify(heads.Signer(stranger).sign(head()), KEY.public)


def test_an_endless_head_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "head").write_bytes(b"x" * 100_000)
    with pytest.raises(JournalCorrupt, match="longer"):
        heads.read(tmp_path / "head")


def test_a_flood_passes_its_burst_and_then_one_summary_a_second():
    flood = Flood(rate=1.0, burst=3)
    passed = [flood.admit(draft(operation=f"op{n % 2}"), 10 * SECOND) for n in range(10)]
    assert [len(out) for out in passed] == [1, 1, 1, *[0] * 7]
    assert flood.due(10 * SECOND) == ()
    assert flood.next_due() == 11 * SECOND
    (summary,) = flood.due(11 * SECOND)
    assert summary.args == {"count": 7, "first": 10 * SECOND, "last": 10 * SECOND,
                            "operations": {"op0": 3, "op1": 4}}
    assert flood.next_due() is None


def test_a_summary_comes_before_the_draft_that_finds_room_again():
    flood = Flood(rate=1.0, burst=2)
    for _ in range(3):
        flood.admit(draft(), 0)
    late = draft(operation="late")
    summary, passed = flood.admit(late, 60 * SECOND)
    assert (summary.kind, summary.args["count"], passed) == (Kind.SUMMARY, 1, late)


def test_quiet_subjects_are_forgotten():
    flood = Flood(rate=1.0, burst=2)
    flood.admit(draft(), 0)
    flood.due(60 * SECOND)
    assert flood._buckets == {}


def test_operations_of_a_summary_are_bounded():
    flood = Flood(rate=1.0, burst=1)
    for number in range(100):
        flood.admit(draft(operation=f"op{number}"), 0)
    (summary,) = flood.flush()
    assert (len(summary.args["operations"]), summary.args["operations"]["…"]) == (33, 67)


def test_a_gate_is_shut_only_when_all_who_passed_have_left():
    gate = Gate()
    closing = threading.Thread(target=gate.shut)
    with gate.passing():
        closing.start()
        with pytest.raises(StateError):
            while True:  # until the closing thread has begun to wait
                with gate.passing():
                    pass
        assert closing.is_alive()
    closing.join(10)
    assert not closing.is_alive()
    assert not gate.shut()


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "db"
    source.mkdir()
    for name in ("CURRENT", "MANIFEST-000002", "LOCK", "LOG", "LOG.old", "000003.log", "000004.log",
                 "000005.ldb", "000001.dbtmp"):
        (source / name).write_bytes(name.encode())
    return source


def copied(folder, meanwhile):
    """The copy made of ``folder`` while ``meanwhile(name)`` happens before each file is copied."""

    def copy_file(source, target):
        meanwhile(source.name)
        return shutil.copyfile(source, target)

    target = folder.with_name("copy")
    copy_database(folder, target, copy_file)
    return {file.name: file.read_bytes() for file in target.iterdir()}


def test_a_copy_leaves_out_lock_and_diary(folder):
    found = copied(folder, lambda name: None)
    assert set(found) == {"CURRENT", "MANIFEST-000002", "000003.log", "000004.log", "000005.ldb"}


def test_a_compaction_while_the_manifest_is_copied_makes_the_copy_begin_anew(folder):
    def compact(name):
        if name == "MANIFEST-000002" and (folder / "000003.log").exists():
            (folder / "000003.log").unlink()
            (folder / "000006.ldb").write_bytes(b"table of log 3")
            with open(folder / name, "ab") as manifest:
                manifest.write(b" edit")

    found = copied(folder, compact)
    assert found["MANIFEST-000002"] == b"MANIFEST-000002 edit"
    assert set(found) == {"CURRENT", "MANIFEST-000002", "000004.log", "000005.ldb", "000006.ldb"}


def test_a_file_gone_before_it_was_copied_makes_the_copy_begin_anew(folder):
    def compact(name):
        if name == "000005.ldb":
            (folder / name).unlink(missing_ok=True)
            (folder / "000003.log").unlink(missing_ok=True)
            (folder / "000006.ldb").write_bytes(b"of 3 and 5")
            (folder / "MANIFEST-000002").write_bytes(b"edited")

    found = copied(folder, compact)
    assert set(found) == {"CURRENT", "MANIFEST-000002", "000004.log", "000006.ldb"}
    assert found["MANIFEST-000002"] == b"edited"


def test_a_log_is_copied_whole_or_is_the_youngest(folder):
    def rotate(name):
        if name == "000004.log":
            with open(folder / name, "ab") as log:
                log.write(b" more")
            (folder / "000007.log").write_bytes(b"what came after")

    found = copied(folder, rotate)
    assert "000007.log" not in found or found["000004.log"] == b"000004.log more"


def test_a_database_that_never_holds_still_is_refused(folder):
    def grow(name):
        with open(folder / "MANIFEST-000002", "ab") as manifest:
            manifest.write(b"x")

    with pytest.raises(JournalCorrupt, match="too fast"):
        copied(folder, grow)
