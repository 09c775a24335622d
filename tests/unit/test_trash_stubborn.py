"""What cannot be emptied from the trash keeps nothing else there, and is not promised back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from trash_stock import DIFF, files_of, held, lying, removed, stocked
from whole_engine import Whole, planted

from vordr.actors.stores import StoreActor
from vordr.engine.handlers import trash
from vordr.images import tree
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.model.errors import StateError, UndoExpired, UsageError
from vordr.model.state import ContainerState


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of folders, ids of containers with secrets, or digests of blobs that do not go."""
    names: set[str] = set()
    folder, blob, secret = tree.delete, ImageStore.remove, SecretStore.delete

    def delete(path: Path) -> None:
        if path.name.lstrip(".") in names:
            raise OSError(errno.EPERM, "Operation not permitted", "gen")
        folder(path)

    def remove(store: ImageStore, digest: str) -> Any:
        if digest in names:
            raise OSError(errno.EIO, "Input/output error", digest)
        return blob(store, digest)

    def forget(store: SecretStore, ident: str) -> None:
        if f"secret {ident}" in names:
            raise StateError("secrets cannot be deleted: Operation not permitted")
        secret(store, ident)

    monkeypatch.setattr(tree, "delete", delete)
    monkeypatch.setattr(ImageStore, "remove", remove)
    monkeypatch.setattr(SecretStore, "delete", forget)
    return names


def with_files(whole: Whole, *names: str) -> list[ContainerState]:
    found = [removed(whole, name) for name in names]
    for one in found:
        files_of(whole, one)
    return found


def assert_gone_for_good(whole: Whole, name: str) -> None:
    """It lies there still, and nothing promises it back."""
    with pytest.raises(UndoExpired, match=f"{name} is half deleted") as told:
        whole.call("trash_restore", item=name)
    assert "vordr trash empty" in (told.value.remedy or "")
    with pytest.raises(UndoExpired, match="is half deleted"):
        whole.call("undo", container=name)


def test_what_does_not_go_is_told_when_the_rest_is_gone(whole: Whole, stuck: set[str]) -> None:
    web, other = with_files(whole, "web", "other")
    image = stocked(whole)
    whole.call("remove_image", image="one")
    stuck.add(web.id)
    with pytest.raises(StateError, match=f"of {web.id[:12]}: .*Operation not permitted: 'gen'$") as told:
        whole.call("trash_empty", all=True)
    assert told.value.details["left"] == [web.id]
    assert told.value.remedy == f"look what keeps it, then vordr trash empty {web.id[:12]}"
    assert lying(whole) == ["web"] and held(whole, image) == {False}
    assert list(whole.paths.trash.iterdir()) == [whole.paths.trash / f".{web.id}"]
    assert web.id in {ident for _, ident in whole.journal.scan("ranges/")}, "its files have its range still"
    assert other.id not in {ident for _, ident in whole.journal.scan("ranges/")}
    assert_gone_for_good(whole, "web")
    assert whole.call("trash").items[0].size > 0
    stuck.clear()
    whole.call("trash_empty", items=("web",))
    assert lying(whole) == [] and list(whole.paths.trash.iterdir()) == []


def test_a_stuck_container_keeps_no_image(whole: Whole, stuck: set[str]) -> None:
    (web,) = with_files(whole, "web")
    image = stocked(whole)
    whole.call("remove_image", image="one")
    stuck.add(web.id)
    with pytest.raises(StateError):
        whole.call("trash_empty", all=True)
    assert lying(whole) == ["web"] and held(whole, image) == {False}


def test_a_stuck_image_keeps_no_container_and_history_says_what_is_left(
    whole: Whole, stuck: set[str]
) -> None:
    with_files(whole, "web")
    image = stocked(whole)
    whole.call("remove_image", image="one")
    stuck.add(image.layers[0].blob)
    with pytest.raises(StateError, match=f"of {image.manifest[:19]}: .*Input/output error"):
        whole.call("trash_empty", all=True)
    assert lying(whole) == ["docker.io/library/one:latest"]
    assert whole.last().status == "committed"
    (end,) = [record for record, _ in whole.journal.records(whole.last().end)][:1]
    assert end.args["left"] == [image.manifest]
    with pytest.raises(UndoExpired, match="left the trash"):
        whole.call("undo")
    stuck.clear()
    whole.call("trash_empty", items=(image.manifest[:19],))
    assert lying(whole) == [] and held(whole, image) == {False}


def test_one_portion_keeps_no_other(
    whole: Whole, stuck: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = with_files(whole, "c0", "c1", "c2")
    monkeypatch.setattr(trash, "_MOST", 1)
    stuck.add(first.id)
    with pytest.raises(StateError, match=first.id[:12]):
        whole.call("trash_empty", all=True)
    assert lying(whole) == ["c0"]
    whole.host.clock.advance(31 * 86_400.0)
    with_files(whole, "c3")
    whole.host.clock.advance(31 * 86_400.0)
    with pytest.raises(StateError, match=first.id[:12]):
        trash.empty_expired(whole.host)
    assert lying(whole) == ["c0"]


def test_secrets_that_do_not_go_keep_their_container_alone(whole: Whole, stuck: set[str]) -> None:
    web, _ = with_files(whole, "web", "other")
    stuck.add(f"secret {web.id}")
    with pytest.raises(StateError, match="secrets cannot be deleted"):
        whole.call("trash_empty", all=True)
    assert lying(whole) == ["web"]
    assert_gone_for_good(whole, "web")


def test_an_image_that_keeps_its_manifest_keeps_all_that_it_needs(whole: Whole, stuck: set[str]) -> None:
    one, two = stocked(whole), stocked(whole, "two")
    for image in (one, two):
        whole.call("remove_image", image=image.names[0])
    stuck.add(two.manifest)
    with pytest.raises(StateError, match=two.manifest[:19]):
        whole.call("trash_empty", all=True)
    assert not whole.host.store.has(one.manifest) and held(whole, two) == {True}
    whole.call("undo", txn=whole.call("trash").items[0].txn)
    assert [image.manifest for image in whole.call("images").images if two.names[0] in image.names] == [
        two.manifest]


def test_folders_in_folders_in_folders_go(whole: Whole) -> None:
    (web,) = with_files(whole, "web")
    inside = os.open(whole.paths.trashed(web.id), os.O_RDONLY)
    for _ in range(1500):  # deeper than Python calls itself, and than a path is long
        os.mkdir("deeper", dir_fd=inside)
        below = os.open("deeper", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = below
    os.close(inside)
    whole.call("trash_empty", all=True)
    assert list(whole.paths.trash.iterdir()) == []


def test_a_reason_may_name_a_file_whose_name_is_no_text(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    (web,) = with_files(whole, "web")

    def delete(path: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", os.fsdecode(b"\xff"))

    with monkeypatch.context() as patch:
        patch.setattr(tree, "delete", delete)
        with pytest.raises(StateError, match=r"udcff"):
            whole.call("trash_empty", all=True)
    whole.call("trash_empty", all=True)
    assert lying(whole) == []


def test_what_is_left_is_told_though_the_one_who_emptied_crashed(
    memory_path: Path, stuck: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A successor settles the step: the answer is that of what lies there."""
    worked, crashed = StoreActor._worked, []

    def crash(actor: StoreActor, message: Any) -> None:
        if message.request.step.operation == "empty" and not crashed:
            crashed.append(message)
            raise RuntimeError("a bug")
        worked(actor, message)

    monkeypatch.setattr(StoreActor, "_worked", crash)
    whole = planted(memory_path / "root")  # a restart takes time
    try:
        web, _ = with_files(whole, "web", "other")
        stuck.add(web.id)
        with pytest.raises(StateError, match=f"{web.id[:12]}: .*Operation not permitted"):
            whole.call("trash_empty", all=True)
        assert crashed and lying(whole) == ["web"]
    finally:
        whole.close()


def test_a_beginning_of_several_ids_deletes_none_of_them(whole: Whole) -> None:
    while True:
        removed(whole, f"web{len(lying(whole))}")
        firsts = [item.id[:2] for item in whole.call("trash").items]
        if shared := [first for first in firsts if firsts.count(first) > 1]:
            break
    with pytest.raises(UsageError, match=f"{shared[0]} is the beginning of 2 ids in the trash"):
        whole.call("trash_empty", items=(shared[0],))
    assert len(lying(whole)) == len(firsts)


def test_of_what_could_only_half_be_emptied_no_undo_is_promised(whole: Whole) -> None:
    image = stocked(whole)
    whole.call("remove_image", image="one")
    whole.paths.layer(DIFF).unlink()
    whole.paths.layer(DIFF).mkdir()
    with pytest.raises(StateError, match="cannot empty the trash"):
        whole.call("trash_empty", all=True)
    assert not whole.host.store.has(image.manifest) and len(lying(whole)) == 1
    with pytest.raises(UndoExpired, match="left the trash"):
        whole.call("undo")
    whole.paths.layer(DIFF).rmdir()
    whole.call("trash_empty", all=True)
    assert lying(whole) == []
