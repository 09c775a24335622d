"""The service audits its own journal without copying the tables, and changes nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.auditor import OfflineJournal
from vordr.journal.batch import Group
from vordr.journal.copy import copy_database, link_or_copy
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A closed journal with tables."""
    made = Paths(tmp_path / "root", tmp_path / "run")
    for _ in range(3):  # each opening writes the log of before into a table
        store = JournalStore.open(made, KEY)
        store.append_batch([Group((Draft(
            txn="t", kind=Kind.ANOMALY, cause=Cause.MONITOR, subject="container/a", operation="rule",
            args={"text": "x" * 1000}),))])
        store.close()
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_audit_over_links_finds_what_one_over_a_copy_finds_and_changes_nothing(
    paths: Paths, tmp_path: Path
) -> None:
    before = contents(paths.journal)
    with OfflineJournal.copied(paths.journal, paths.journal_head) as copied:
        expected = copied.audit(KEY.public)
    with OfflineJournal.copied(
        paths.journal, paths.journal_head, scratch=tmp_path, linked=True) as linked:
        assert linked.audit(KEY.public) == expected
        linked.database.compact_range()  # removes tables: its own names of them
    assert expected.ok
    assert contents(paths.journal) == before


def test_tables_are_linked_and_what_is_written_to_is_copied(paths: Paths, tmp_path: Path) -> None:
    copy_database(paths.journal, tmp_path / "copy", link_or_copy)
    same = {path.name: path.samefile(paths.journal / path.name) for path in (tmp_path / "copy").iterdir()}
    assert any(name.endswith(".ldb") for name in same)
    assert all(linked == name.endswith(".ldb") for name, linked in same.items())
