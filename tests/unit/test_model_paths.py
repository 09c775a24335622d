"""Where everything of an instance lives: the layout that docs/formats.md describes, and nothing outside."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from vordr.model.paths import DEFAULT_ROOT, RUNTIME_BASE, Paths

ROOT, RUN = Path("/srv/vordr"), Path("/run/vordr/0123456789abcdef")
PATHS = Paths(ROOT, RUN)
FORMATS = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()
# By name, below the root folder.
KEPT = {
    "journal": "journal/db", "journal_head": "journal/head", "secrets": "secrets", "keys": "keys",
    "trust": "trust", "trust_store": "trust/trust-store.json", "seen": "trust/seen.json",
    "logs": "trust/logs",
    "store": "store", "bundles": "bundles", "layers": "layers", "containers": "containers", "trash": "trash",
    "exits": "exits", "lock": "lock", "socket": "vordr.sock", "config": "vordr.toml",
}
# As docs/formats.md writes them; what was seen of logs and stores is described in docs/security.md.
DESCRIBED = {
    "journal/db", "journal/head", "keys/", "trust/trust-store.json", "trust/logs/ID/", "vordr.toml",
    "secrets/", "store/", "bundles/HEX.json", "layers/HEX.erofs", "containers/ID/log/ctr.log", "trash/ID/",
    "exits/ID", "lock", "vordr.sock",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_survives_a_reboot_is_in_its_place_below_the_root_folder(name: str) -> None:
    assert getattr(PATHS, name) == ROOT / KEPT[name]


def test_the_runtimes_state_is_below_the_runtime_folder_and_goes_with_a_reboot() -> None:
    assert PATHS.runtime_state == RUN / "runc"
    assert PATHS.container_run("c1") == RUN / "c" / "c1"


def test_what_a_container_leaves_is_below_its_own_folder() -> None:
    assert PATHS.container("c1") == ROOT / "containers/c1"
    assert PATHS.log("c1") == ROOT / "containers/c1/log/ctr.log"
    assert PATHS.trashed("c1") == ROOT / "trash/c1"


@pytest.mark.parametrize("digest", ["sha256:" + "ab" * 32, "ab" * 32], ids=["digest", "hex"])
def test_bundles_and_layers_are_named_by_the_hex_of_their_digest(digest: str) -> None:
    assert PATHS.bundle(digest) == ROOT / f"bundles/{'ab' * 32}.json"
    assert PATHS.layer(digest) == ROOT / f"layers/{'ab' * 32}.erofs"


def test_only_the_algorithm_before_a_digest_is_left_out_of_a_name() -> None:
    assert PATHS.layer("sha256:absha256:").name == "absha256:.erofs"


def test_each_path_is_as_it_is_described() -> None:
    described = {
        str(path.relative_to(ROOT)) for path in (PATHS.bundle("HEX"), PATHS.layer("HEX"), PATHS.log("ID"),
                                                 PATHS.trashed("ID"), PATHS.exits / "ID", PATHS.logs / "ID")}
    described |= set(KEPT.values())
    assert {path.rstrip("/") for path in DESCRIBED} <= described
    assert [path for path in DESCRIBED if f"`{path}`" not in FORMATS] == []


def test_every_path_is_listed_here() -> None:
    properties = {name for name, value in vars(Paths).items() if isinstance(value, property)}
    assert properties == {*KEPT, "runtime_state"}


def test_one_root_folder_has_one_runtime_folder_named_by_a_hash_of_its_path() -> None:
    assert str(DEFAULT_ROOT) == "/var/lib/vordr"
    assert str(RUNTIME_BASE) == "/run/vordr"
    name = hashlib.sha256(b"/var/lib/vordr").hexdigest()[:16]
    assert Paths.of(DEFAULT_ROOT) == Paths(DEFAULT_ROOT, RUNTIME_BASE / name)
    assert Paths.of(Path("/var/lib/vordr2")).run != Paths.of(DEFAULT_ROOT).run


def test_the_paths_of_an_instance_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PATHS.root = RUN  # type: ignore[misc]  # refused, and that is what is tested
