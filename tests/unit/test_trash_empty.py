"""Emptying the trash: what is gone is gone, nothing else is, and no undo is promised of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_engine import Whole, planted, standing_clock

from vordr.engine.protocol import Caller
from vordr.model.errors import ContainerNotFound, PolicyDenied, UndoExpired, UsageError
from vordr.model.operations import Scope
from vordr.model.state import ContainerState

DAY = 86_400.0


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    made = planted(memory_path / "root", clock=standing_clock())
    try:
        yield made
        made.check()
    finally:
        made.close()


def removed(whole: Whole, name: str = "web") -> ContainerState:
    container = whole.run(name)
    whole.do("remove", name, force=True)
    return container


def lying(whole: Whole) -> list[str]:
    return sorted(item.name for item in whole.call("trash").items)


def files_of(whole: Whole, container: ContainerState) -> Path:
    """As the real world leaves them in the trash: the fake one has no folders."""
    folder = whole.paths.trashed(container.id)
    (folder / "gen" / "1").mkdir(parents=True)
    (folder / "gen" / "1" / "note").write_text("precious")
    return folder


def test_what_is_named_is_deleted_and_the_rest_can_come_back(whole: Whole) -> None:
    web, other = removed(whole), removed(whole, "other")
    folders = files_of(whole, web), files_of(whole, other)
    answer = whole.call("trash_empty", items=("web",))
    assert [(item.name, item.size > 0) for item in answer.items] == [("web", True)]
    assert lying(whole) == ["other"]
    assert not folders[0].exists() and (folders[1] / "gen" / "1" / "note").read_text() == "precious"
    whole.call("trash_restore", item="other")
    assert whole.get("other") is not None


def test_without_a_name_only_what_is_past_its_deadline_goes(whole: Whole) -> None:
    removed(whole)
    assert whole.call("trash_empty").items == () and lying(whole) == ["web"]
    whole.host.clock.advance(31 * DAY)
    removed(whole, "young")
    assert [item.name for item in whole.call("trash_empty").items] == ["web"]
    assert lying(whole) == ["young"]
    assert [item.name for item in whole.call("trash_empty", all=True).items] == ["young"]
    assert whole.call("trash_empty", all=True).receipt is None and lying(whole) == []


def test_no_undo_is_promised_of_what_is_gone(whole: Whole) -> None:
    container = removed(whole)
    whole.call("trash_empty", all=True)
    with pytest.raises(UndoExpired, match="left the trash"):
        whole.call("undo")
    with pytest.raises(UndoExpired):
        whole.call("undo", steps=2)
    with pytest.raises(ContainerNotFound):
        whole.call("trash_restore", item=container.id)
    assert whole.acts()[-1].act == "trash_empty" and not whole.acts()[-1].reversible


def test_its_range_of_ids_and_its_name_are_free_again(whole: Whole) -> None:
    container = removed(whole)
    assert container.id in {ident for _, ident in whole.journal.scan("ranges/")}
    whole.call("trash_empty", all=True)
    assert container.id not in {ident for _, ident in whole.journal.scan("ranges/")}
    whole.run("web")


def test_images_stay(whole: Whole) -> None:
    whole.call("remove_image", image="tiny")
    with pytest.raises(UsageError, match="is an image"):
        whole.call("trash_empty", items=tuple(item.id for item in whole.call("trash").items))
    assert whole.call("trash_empty", all=True).items == ()
    whole.call("undo")
    with pytest.raises(UsageError, match="not both"):
        whole.call("trash_empty", items=("web",), all=True)


def test_only_an_administrator_empties_the_trash(whole: Whole) -> None:
    removed(whole)
    with pytest.raises(PolicyDenied):
        whole.call("trash_empty", Caller("uid:1001", Scope.OPERATE), all=True)
    assert lying(whole) == ["web"]


def test_more_than_fits_into_a_record_is_emptied_in_several_acts(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vordr.engine.handlers.trash._MOST", 2)
    for number in range(3):
        removed(whole, f"web{number}")
    assert len(whole.call("trash_empty", all=True).items) == 3
    assert whole.said()[-2:] == ["trash_empty", "trash_empty"] and lying(whole) == []
