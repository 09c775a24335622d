"""The local transparency log: what it proves, what it survives, what it refuses."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import pytest

from vordr.formats import merkle
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import schema
from vordr.gatekeeper.logproof import LogEntry, leaf_bytes
from vordr.gatekeeper.translog import LocalLog
from vordr.model.errors import StateError

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
KEY = PrivateKey.from_seeds(Suite.ED25519, b"l" * 32)
SUBJECT = "sha256:" + "1" * 64
KIND = "https://spdx.dev/Document"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def put(log: LocalLog, number: int) -> LogEntry:
    return log.append(attestation=digest(number), subject=SUBJECT, predicate_type=KIND, now_us=NOW + number)


def holds(entry: LogEntry, number: int) -> bool:
    leaf = merkle.leaf_hash(leaf_bytes(digest(number), SUBJECT, KIND, entry.time))
    return entry.includes(leaf) and entry.signed_by(KEY.public, leaf)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    LocalLog.create(tmp_path / "log-a", KEY)
    return tmp_path / "log-a"


def test_every_append_is_proved_under_the_root_of_its_moment(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    for number in range(20):
        entry = put(log, number)
        assert (entry.index, entry.tree_size, entry.root) == (number, number + 1, log.root())
        assert holds(entry, number)


def test_entries_have_the_schemas_shape_and_hash_to_the_root(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    for number in range(3):
        put(log, number)
    entries = list(log.entries())
    for entry in entries:
        assert schema.validate_document("log-entry", json.loads(entry)) == []
    assert merkle.root([merkle.leaf_hash(entry) for entry in entries]) == log.root()


def test_log_goes_on_after_a_restart(folder: Path) -> None:
    before = LocalLog(folder, KEY)
    for number in range(5):
        put(before, number)
    after = LocalLog(folder, KEY)
    assert (after.size, after.root()) == (5, before.root())
    assert holds(put(after, 5), 5)


def test_two_handles_append_to_one_tree(folder: Path) -> None:
    one, two = LocalLog(folder, KEY), LocalLog(folder, KEY)
    entries = [put(one, 0), put(two, 1), put(one, 2), put(two, 3)]
    assert [entry.index for entry in entries] == [0, 1, 2, 3]
    assert all(holds(entry, number) for number, entry in enumerate(entries))


def test_appends_from_threads_get_an_index_each(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.append(put(log, n).index)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))
    assert LocalLog(folder, KEY).root() == log.root()


def test_torn_tail_is_cut_off_at_whatever_byte_it_tore(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    for number in range(2):
        put(log, number)
    whole, checkpoint, root = (folder / "entries").read_bytes(), log.checkpoint(), log.root()
    put(log, 2)
    record = (folder / "entries").read_bytes()[len(whole):]
    for length in (1, 3, 4, 35, 36, 37, len(record) - 1):
        (folder / "entries").write_bytes(whole + record[:length])
        (folder / "checkpoint").write_text(checkpoint)
        again = LocalLog(folder, KEY)
        assert (again.size, again.root()) == (2, root)
        assert (folder / "entries").read_bytes() == whole


def test_whole_entry_without_its_checkpoint_is_kept(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    put(log, 0)
    checkpoint = log.checkpoint()
    put(log, 1)
    (folder / "checkpoint").write_text(checkpoint)
    again = LocalLog(folder, KEY)
    assert (again.size, again.root()) == (2, log.root())
    assert holds(put(again, 2), 2)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_log_with_acknowledged_entries_removed_is_refused(folder: Path, keep: int) -> None:
    log = LocalLog(folder, KEY)
    put(log, 0)
    length = (folder / "entries").stat().st_size
    for number in (1, 2):
        put(log, number)
    with (folder / "entries").open("r+b") as file:
        file.truncate(length * keep)
    with pytest.raises(StateError, match="checkpoint says 3"):
        LocalLog(folder, KEY)


def test_log_with_an_entry_altered_and_rehashed_is_refused(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    for number in range(2):
        put(log, number)
    entry = next(log.entries())
    forged = entry.replace(b'"sha256:1111', b'"sha256:2222')
    old = (folder / "entries").read_bytes()
    new = old.replace(merkle.leaf_hash(entry) + entry, merkle.leaf_hash(forged) + forged)
    assert len(new) == len(old) and new != old
    (folder / "entries").write_bytes(new)
    with pytest.raises(StateError, match="not those of its checkpoint"):
        LocalLog(folder, KEY)


def test_bit_flipped_in_an_acknowledged_entry_is_refused(folder: Path) -> None:
    put(LocalLog(folder, KEY), 0)
    content = bytearray((folder / "entries").read_bytes())
    content[60] ^= 1
    (folder / "entries").write_bytes(content)
    with pytest.raises(StateError):
        LocalLog(folder, KEY)


def test_log_is_not_opened_with_another_key(folder: Path) -> None:
    with pytest.raises(StateError, match="not signed by its key"):
        LocalLog(folder, PrivateKey.from_seeds(Suite.ED25519, b"x" * 32))


def test_log_removed_under_an_open_handle_stops_it(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    put(log, 0)
    with (folder / "entries").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(StateError, match="entries were removed"):
        put(log, 1)


def test_log_whose_disk_failed_takes_nothing_more_until_it_is_opened_again(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    put(log, 0)
    (folder / "checkpoint").rename(folder / "elsewhere")
    with pytest.raises(StateError, match="No such file"):
        put(log, 1)
    (folder / "elsewhere").rename(folder / "checkpoint")
    with pytest.raises(StateError, match="failed before"):
        put(log, 1)
    assert holds(put(LocalLog(folder, KEY), 1), 1)


def test_append_waits_while_another_process_holds_the_lock(folder: Path) -> None:
    log = LocalLog(folder, KEY)
    writer = threading.Thread(target=put, args=(log, 0))
    with (folder / "lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive() and (folder / "entries").stat().st_size == 0
    writer.join()
    assert log.size == 1


def test_handles_that_append_at_once_wait_for_each_other(folder: Path) -> None:
    found: list[int] = []

    def fill(start: int) -> None:
        own = LocalLog(folder, KEY)
        found.extend(put(own, number).index for number in range(start, start + 20))

    threads = [threading.Thread(target=fill, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(60))
    assert len(list(LocalLog(folder, KEY).entries())) == 60


def test_missing_log_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nowhere"):
        LocalLog(tmp_path / "nowhere", KEY)


def test_log_files_are_for_their_owner_only(folder: Path) -> None:
    put(LocalLog(folder, KEY), 0)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
