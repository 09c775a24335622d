"""The operator's first day."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gatekeeper_host import NOW, make_host

from vordr.gatekeeper import init, trust
from vordr.gatekeeper.keys import OPERATOR, KeyRing, load_host_key
from vordr.gatekeeper.translog import LocalLog, local_logs
from vordr.model.errors import KeyUnusable, StateError, TrustStoreInvalid, UsageError
from vordr.model.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "root", tmp_path / "run")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_makes_an_operator_three_logs_of_hers_and_a_store(paths: Paths) -> None:
    store = init.trust_init(paths, "Ada", NOW, host="Box.Example")
    operator = KeyRing(paths).load(OPERATOR)
    (key,) = store.keys
    assert key.public == operator.public
    assert set(key.roles) == {trust.BUILDERS, trust.ADOPTERS}
    assert [log.id for log in store.logs] == ["box-example-log-a", "box-example-log-b", "box-example-log-c"]
    assert {log.operator for log in store.logs} == {"Ada (local)"}
    assert all(log.url.startswith("file:///") for log in store.logs)
    assert store == trust.load(paths.trust_store)
    assert [log.id for log in local_logs(paths, store)] == [log.id for log in store.logs]


def test_everything_is_for_its_owner_only(paths: Paths) -> None:
    init.trust_init(paths, "Ada", NOW, host="box")
    for folder, _, files in os.walk(paths.root):
        expected = 0o711 if Path(folder) == paths.root else 0o700
        assert Path(folder).stat().st_mode & 0o777 == expected, folder
        for name in files:
            assert (Path(folder) / name).stat().st_mode & 0o777 == 0o600, name


def test_nothing_is_left_aside(paths: Paths) -> None:
    init.trust_init(paths, "Ada", NOW, host="box")
    assert sorted(path.name for path in paths.root.iterdir()) == ["keys", "trust"]
    assert sorted(path.name for path in paths.trust.iterdir()) == ["logs", "trust-store.json"]


def test_second_init_is_refused_and_changes_nothing(paths: Paths) -> None:
    init.trust_init(paths, "Ada", NOW, host="box")
    before = everything(paths.root)
    with pytest.raises(TrustStoreInvalid, match="already") as refusal:
        init.trust_init(paths, "Eve", NOW + 1, host="box")
    assert refusal.value.remedy == "vordr trust show"
    assert everything(paths.root) == before


def test_host_key_stays(paths: Paths) -> None:
    before = load_host_key(paths).public
    init.trust_init(paths, "Ada", NOW, host="box")
    assert load_host_key(paths).public == before


@pytest.mark.parametrize("failing", range(8))
def test_failure_at_any_move_leaves_nothing_half_made(
    paths: Paths, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_host_key(paths)
    before = everything(paths.root)
    moves = iter(range(100))
    rename = os.rename

    def fail(source: str | Path, target: str | Path) -> None:
        if "trust-init" in str(source) and Path(target).parent in (paths.keys, paths.logs, paths.trust) and (
            next(moves) == failing
        ):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(TrustStoreInvalid, match="No space"):
        init.trust_init(paths, "Ada", NOW, host="box")
    monkeypatch.undo()
    assert everything(paths.root) == before
    assert init.trust_init(paths, "Ada", NOW, host="box").keys


def test_leftovers_of_a_killed_attempt_are_kept_aside(paths: Paths) -> None:
    orphan = KeyRing(paths).create(OPERATOR)
    LocalLog.create(paths.logs / "box-log-a", orphan)
    store = init.trust_init(paths, "Ada", NOW, host="box")
    assert KeyRing(paths).load(OPERATOR).public == store.keys[0].public != orphan.public
    assert (paths.keys / f"operator.pem.leftover-{NOW}").is_file()
    assert (paths.logs / f"box-log-a.leftover-{NOW}").is_dir()


def test_passphrase_locks_the_operators_key_and_not_the_logs(paths: Paths) -> None:
    store = init.trust_init(paths, "Ada", NOW, passphrase="secret", host="box")
    with pytest.raises(KeyUnusable):
        KeyRing(paths).load(OPERATOR)
    assert KeyRing(paths).load(OPERATOR, "secret").public == store.keys[0].public
    assert len(local_logs(paths, store)) == 3


@pytest.mark.parametrize("owner", ["", "  ", "Ada\nEve", "x" * 201])
def test_owner_is_a_name_that_can_be_shown(paths: Paths, owner: str) -> None:
    with pytest.raises(UsageError):
        init.trust_init(paths, owner, NOW)


def test_empty_passphrase_leaves_nothing_behind(paths: Paths) -> None:
    with pytest.raises(KeyUnusable):
        init.trust_init(paths, "Ada", NOW, passphrase="", host="box")
    assert everything(paths.root) == {}


def test_local_logs_refuse_a_key_that_is_not_the_stores(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    ring = KeyRing(host.paths)
    ring.path("log.box-log-a").unlink()
    ring.create("log.box-log-a")
    with pytest.raises(StateError, match="another one"):
        local_logs(host.paths, host.trust)
