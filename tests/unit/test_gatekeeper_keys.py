"""Private keys on disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vordr.formats.signature import PrivateKey
from vordr.gatekeeper.keys import HOST, KeyRing, load_host_key
from vordr.model.errors import KeyUnusable
from vordr.model.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "root", tmp_path / "run")


def test_key_comes_back_as_it_was_made(paths: Paths) -> None:
    made = KeyRing(paths).create("operator")
    assert KeyRing(paths).load("operator").public == made.public


def test_locked_key_opens_with_its_passphrase_only(paths: Paths) -> None:
    ring = KeyRing(paths)
    made = ring.create("operator", passphrase="søsken")
    assert b"ENCRYPTED" in ring.path("operator").read_bytes()
    assert ring.load("operator", "søsken").public == made.public
    for wrong in ("sosken", None):
        with pytest.raises(KeyUnusable, match="operator.pem"):
            ring.load("operator", wrong)


def test_empty_passphrase_is_no_passphrase(paths: Paths) -> None:
    with pytest.raises(KeyUnusable, match="empty passphrase"):
        KeyRing(paths).create("operator", passphrase="")


def test_existing_key_is_never_overwritten(paths: Paths) -> None:
    ring = KeyRing(paths)
    before = ring.create("operator").public
    with pytest.raises(KeyUnusable, match="exists already"):
        ring.create("operator")
    assert ring.load("operator").public == before
    assert ring.names() == ["operator"]


def test_key_files_are_for_their_owner_only(paths: Paths) -> None:
    ring = KeyRing(paths)
    ring.create("operator")
    assert ring.path("operator").stat().st_mode & 0o777 == 0o600
    assert paths.keys.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in paths.keys.iterdir()] == ["operator.pem"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_key_that_others_can_reach_is_refused(paths: Paths, mode: int) -> None:
    ring = KeyRing(paths)
    ring.create("operator")
    ring.path("operator").chmod(mode)
    with pytest.raises(KeyUnusable, match=f"mode {mode:04o}") as refusal:
        ring.load("operator")
    assert refusal.value.remedy is not None and "chmod 600" in refusal.value.remedy


def test_key_behind_a_link_is_refused(paths: Paths, tmp_path: Path) -> None:
    ring = KeyRing(paths)
    ring.create("operator")
    ring.path("other").symlink_to(ring.path("operator"))
    with pytest.raises(KeyUnusable, match="cannot be opened"):
        ring.load("other")


@pytest.mark.parametrize("name", ["../operator", "", ".hidden", "a/b", "Operator", "a\nb"])
def test_key_name_is_a_plain_word(paths: Paths, name: str) -> None:
    with pytest.raises(KeyUnusable, match="not a key name"):
        KeyRing(paths).load(name)


def test_damaged_key_names_its_file(paths: Paths) -> None:
    ring = KeyRing(paths)
    ring.create("operator")
    ring.path("operator").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyUnusable, match="operator.pem"):
        ring.load("operator")


def test_host_key_is_made_once(paths: Paths) -> None:
    assert load_host_key(paths).public == load_host_key(paths).public
    assert KeyRing(paths).names() == [HOST]


def test_processes_that_come_at_once_get_the_same_host_key(paths: Paths) -> None:
    found: list[PrivateKey] = []
    threads = [threading.Thread(target=lambda: found.append(load_host_key(paths))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.public for key in found}) == 1 and len(found) == 6
