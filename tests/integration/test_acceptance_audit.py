"""The journal of a real instance, tampered with by somebody who has the disk: the audit names the place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plyvel
import pytest
from real_world import Instance

from vordr.formats.signature import PublicKey, Suite
from vordr.journal.copy import copy_database
from vordr.journal.head import verify as verify_head
from vordr.journal.layout import HASH_SIZE, record_key
from vordr.journal.proofs import verify_consistency, verify_proof


@dataclass(frozen=True)
class Journal:
    """A stopped copy: its folder, the signed head and the host's public key."""

    database: Path
    head: Path
    key: Path
    size: int

    def copy(self, folder: Path) -> Journal:
        folder.mkdir()
        shutil.copytree(self.database, folder / "db")
        shutil.copy(self.head, folder / "head")
        return Journal(folder / "db", folder / "head", self.key, self.size)

    def words(self, *more: str) -> tuple[str, ...]:
        return ("audit", "--chain", "--db", str(self.database), "--head", str(self.head),
                "--public-key", str(self.key), *more)


def take_copy(world: Instance, folder: Path) -> Journal:
    folder.mkdir()
    told = world.json("audit", "--chain")
    (folder / "key").write_text(told["public_key"] + "\n")
    shutil.copy(world.paths.journal_head, folder / "head")
    copy_database(world.paths.journal, folder / "db")
    with plyvel.DB(str(folder / "db")):
        pass  # its log becomes a table, as when a service stopped
    return Journal(folder / "db", folder / "head", folder / "key", told["records"])


@pytest.fixture(scope="module")
def older(world: Instance, tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """A copy of an earlier day."""
    world.vordr("create", "--name", "witness", "hello", "true")
    return take_copy(world, tmp_path_factory.mktemp("audit") / "older")


@pytest.fixture(scope="module")
def kept(world: Instance, older: Journal) -> Journal:
    """The copy that the attacks work on copies of: some acts later than ``older``."""
    world.vordr("start", "witness")
    world.vordr("wait", "witness")
    world.vordr("rm", "witness")
    world.vordr("undo", "--last", "--yes")
    world.vordr("rm", "witness")
    return take_copy(world, older.database.parent.parent / "kept")


def test_what_nobody_touched_holds(world: Instance, kept: Journal, older: Journal) -> None:
    for journal in (older, kept):
        told = world.json(*journal.words())
        assert (told["ok"], told["records"], told["unanchored"]) == (True, journal.size, 0)
    assert "The journal holds." in world.vordr(*kept.words()).out


# -- tampering -----------------------------------------------------------------------------------------


def record_with(database: Any, place: bytes) -> tuple[int, bytes]:
    """Number and value of a record, neither the first nor the last few, that has ``place`` in it."""
    found = list(database.iterator(prefix=b"r/"))
    for key, value in found[4:-4]:
        seq = int.from_bytes(key[2:], "big")
        if place in value[HASH_SIZE:]:
            return seq, value
    raise AssertionError(f"no record has {place!r}")


def _flipped(value: bytes, offset: int) -> bytes:
    changed = bytearray(value)
    changed[offset] ^= 1
    return bytes(changed)


PLACES = (
    b'"seq":', b'"txn":"', b'"kind":"', b'"cause":"', b'"subject":"', b'"operation":"', b'"args":{"',
    b'"before":"',
    b'"after":"', b'"inverse":{"', b'"principal":"', b'"boot_id":"', b'"time":', b'"summary":"',
)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.decode().strip('":{'))
def test_a_flipped_byte_in_a_records_value_is_found_in_that_record(
    world: Instance, kept: Journal, tmp_path: Path, place: bytes
) -> None:
    journal = kept.copy(tmp_path / "j")
    with plyvel.DB(str(journal.database)) as database:
        seq, value = record_with(database, place)
        database.put(record_key(seq), _flipped(value, value.index(place, HASH_SIZE) + len(place)))
    told = json.loads(world.vordr("--json", *journal.words(), code=41).out)
    assert (told["ok"], told["first_bad"]) == (False, seq), told["reason"]


def flip_hash(database: Any) -> int:
    database.put(record_key(9), _flipped(database.get(record_key(9)), 3))
    return 9


def flip_key(database: Any) -> int:
    value = database.get(record_key(12))
    database.delete(record_key(12))
    database.put(_flipped(record_key(12), 5), value)
    return 12


def drop_one(database: Any) -> int:
    database.delete(record_key(7))
    return 7


def drop_the_first(database: Any) -> int:
    database.delete(record_key(1))
    return 1


def cut_the_tail(database: Any) -> int:
    last = max(int.from_bytes(key[2:], "big") for key in database.iterator(prefix=b"r/", include_value=False))
    for seq in range(last - 4, last + 1):
        database.delete(record_key(seq))
    return last - 4


def cut_the_tail_with_its_tree(database: Any) -> int:
    seq = cut_the_tail(database)
    for key in list(database.iterator(prefix=b"t/", include_value=False)):
        database.delete(key)
    return seq


def swap_two(database: Any) -> int:
    one, other = database.get(record_key(10)), database.get(record_key(11))
    database.put(record_key(10), other)
    database.put(record_key(11), one)
    return 10


def repeat_one(database: Any) -> int:
    database.put(record_key(11), database.get(record_key(10)))
    return 11


def append_one(database: Any) -> int:
    last = max(int.from_bytes(key[2:], "big") for key in database.iterator(prefix=b"r/", include_value=False))
    database.put(record_key(last + 1), database.get(record_key(last)))
    return last + 1


ATTACKS = (flip_hash, flip_key, drop_one, drop_the_first, cut_the_tail, cut_the_tail_with_its_tree, swap_two,
           repeat_one, append_one)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_first_bad_record_is_named(
    world: Instance, kept: Journal, tmp_path: Path, attack: Callable[[Any], int]
) -> None:
    journal = kept.copy(tmp_path / "j")
    with plyvel.DB(str(journal.database)) as database:
        seq = attack(database)
    told = json.loads(world.vordr("--json", *journal.words(), code=41).out)
    assert (told["ok"], told["first_bad"]) == (False, seq), told["reason"]
    done = world.vordr(*journal.words(), code=41)
    assert done.err.count("Error [ERR_STATE_CORRUPT]") == 1 and f"first_bad: {seq}" in done.err


def test_a_database_swapped_for_an_older_copy_shows(world: Instance, kept: Journal, older: Journal) -> None:
    swapped = Journal(older.database, kept.head, kept.key, kept.size)
    told = json.loads(world.vordr("--json", *swapped.words(), code=41).out)
    assert told["first_bad"] == older.size + 1
    assert "older copy" in told["reason"]


def rewrite_history(database: Any) -> None:
    """Change a record and every hash after it, as somebody would who knows how the chain is made."""
    from vordr.journal.layout import GENESIS, link

    previous = GENESIS
    for key, value in list(database.iterator(prefix=b"r/")):
        body = value[HASH_SIZE:].replace(b'"principal":"uid:0"', b'"principal":"uid:7"')
        previous = link(previous, body)
        database.put(key, previous + body)


def test_a_chain_made_anew_in_full_does_not_have_the_signed_root(
    world: Instance, kept: Journal, tmp_path: Path
) -> None:
    journal = kept.copy(tmp_path / "j")
    with plyvel.DB(str(journal.database)) as database:
        rewrite_history(database)
        for key in list(database.iterator(prefix=b"t/", include_value=False)):
            database.delete(key)
    told = json.loads(world.vordr("--json", *journal.words(), code=41).out)
    assert not told["ok"] and told["reason"]


@pytest.mark.parametrize("prefix", [b"p/containers/", b"p/acts/", b"p/names/", b"t/", b"m/"])
def test_state_that_the_records_do_not_add_up_to_is_found(
    world: Instance, kept: Journal, tmp_path: Path, prefix: bytes
) -> None:
    journal = kept.copy(tmp_path / "j")
    with plyvel.DB(str(journal.database)) as database:
        found = next(iter(database.iterator(prefix=prefix)), None)
        if found is None:  # no name is in use: one is made up
            database.put(prefix + b"forged", b'"nobody"')
        else:
            database.put(found[0], _flipped(found[1], len(found[1]) // 2))
    told = json.loads(world.vordr("--json", *journal.words(), code=41).out)
    assert not told["ok"] and told["reason"]


def test_a_forged_head_or_another_hosts_key_does_not_hold(
    world: Instance, kept: Journal, tmp_path: Path
) -> None:
    journal = kept.copy(tmp_path / "j")
    text = journal.head.read_text()
    for forged in (text.replace(f"\n{kept.size}\n", f"\n{kept.size - 1}\n"), text[:-10], ""):
        assert forged != text
        journal.head.write_text(forged)
        world.vordr(*journal.words(), code=41)
    journal.head.unlink()
    world.vordr(*journal.words(), code=41)
    from vordr.formats.signature import PrivateKey

    journal.head.write_text(text)
    other = tmp_path / "other"
    other.write_text(PrivateKey.generate(Suite.ED25519).public.to_spki_base64())
    stranger = Journal(journal.database, journal.head, other, kept.size)
    world.vordr(*stranger.words(), code=41)


def test_a_flipped_bit_in_the_files_of_the_database_is_found(
    world: Instance, kept: Journal, tmp_path: Path
) -> None:
    journal = kept.copy(tmp_path / "j")
    tables = [*journal.database.glob("*.ldb"), *journal.database.glob("*.sst")]
    largest = max(tables, key=lambda path: path.stat().st_size)
    raw = largest.read_bytes()
    largest.write_bytes(_flipped(raw, len(raw) // 2))
    world.vordr(*journal.words(), code=41)


# -- proofs --------------------------------------------------------------------------------------------


def public_key(journal: Journal) -> PublicKey:
    return PublicKey.from_spki_base64(journal.key.read_text().strip(), Suite.ED25519)


def test_a_proof_of_any_record_verifies_with_nothing_but_the_hosts_key(
    world: Instance, kept: Journal
) -> None:
    for seq in (1, 2, kept.size // 2, kept.size):
        for words in (kept.words("--prove", str(seq)), ("audit", "--prove", str(seq))):
            proof = world.json(*words)["proof"]
            assert verify_proof(proof, public_key(kept)).seq == seq
    proof["record"]["principal"] = "uid:7"
    with pytest.raises(Exception, match="does not hold"):
        verify_proof(proof, public_key(kept))
    world.vordr(*kept.words("--prove", str(kept.size + 1000)), code=40)


def test_the_journal_of_today_is_proven_to_begin_with_that_of_yesterday(
    world: Instance, kept: Journal, older: Journal
) -> None:
    key = public_key(kept)
    first, second = (verify_head(journal.head.read_text(), key) for journal in (older, kept))
    proof = world.json(*kept.words("--consistency", str(first.size), str(second.size)))["proof"]
    assert verify_consistency(proof, first.root, second.root) == (first.size, second.size)
    online = world.json("audit", "--consistency", str(first.size), str(second.size))["proof"]
    assert verify_consistency(online, first.root, second.root) == (first.size, second.size)
