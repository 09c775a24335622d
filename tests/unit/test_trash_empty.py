"""Emptying the trash: what is gone is gone, nothing else is, and no undo is promised of it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trash_stock import DIFF, files_of, held, lying, removed, stocked
from whole_engine import (
    IMAGE,
    Doom,
    Whole,
    eventually,
    import_by,
    planted,
    standing_clock,
)

from vordr.actors import emptying
from vordr.actors.stores import Made
from vordr.actors.transaction import Plan
from vordr.engine.local import LocalEngine
from vordr.engine.protocol import Caller
from vordr.formats.digests import sha256_digest
from vordr.images.store import ImageStore
from vordr.model.errors import (
    ContainerNotFound,
    ImageInUse,
    PolicyDenied,
    SubjectBusy,
    UndoExpired,
    UsageError,
    VordrError,
)
from vordr.model.operations import Scope
from vordr.model.records import Cause
from vordr.service import server

DAY = 86_400.0


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


def emptied_within_the_hour(whole: Whole) -> bool:
    whole.host.clock.advance(3600.0)
    return lying(whole) == []


def test_what_is_past_its_deadline_goes_by_itself(whole: Whole) -> None:
    whole.engine.expire_trash()
    removed(whole)
    image = stocked(whole)
    whole.call("remove_image", image="one")
    whole.host.clock.advance(29 * DAY)
    removed(whole, "young")
    assert len(lying(whole)) == 3
    whole.host.clock.advance(2 * DAY)
    eventually(lambda: lying(whole) == ["young"] and whole.acts()[-1].act == "trash_empty", "its end")
    assert (whole.acts()[-1].principal, whole.acts()[-1].cause) == ("policy", Cause.POLICY)
    assert held(whole, image) == {False}
    whole.host.clock.advance(40 * DAY)
    eventually(lambda: emptied_within_the_hour(whole), "the end of the other")


def test_a_service_lets_it_go_and_an_engine_of_its_own_when_asked(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whole.host.clock.delays() == []
    monkeypatch.setattr(LocalEngine, "open", lambda root: whole.engine)
    assert server._open_local(whole.paths.root) is whole.engine
    assert whole.host.clock.delays() == [60.0]


def test_what_cannot_go_by_itself_is_tried_again(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vordr.engine.handlers.trash._PATIENCE", 0.0)
    whole.engine.expire_trash()
    stocked(whole)
    whole.call("remove_image", image="one")
    with whole.host.library.coming.shared():
        whole.host.clock.advance(31 * DAY)
        whole.settle()
        assert len(lying(whole)) == 1
    eventually(lambda: emptied_within_the_hour(whole), "its end")


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


def test_blobs_and_layers_of_an_image_go_and_no_undo_is_promised_of_it(whole: Whole) -> None:
    image = stocked(whole)
    whole.call("remove_image", image=image.names[0])
    assert whole.call("trash_empty").items == () and held(whole, image) == {True}
    assert [item.kind for item in whole.call("trash_empty", items=("one",)).items] == ["image"]
    assert held(whole, image) == {False} and lying(whole) == []
    with pytest.raises(UndoExpired, match=f"the image {image.manifest[:19]} has left the trash"):
        whole.call("undo")
    stocked(whole)
    assert whole.journal.get(f"images/{image.manifest}") is not None, "it can come in again"


def test_what_another_image_has_too_stays_wherever_that_is(whole: Whole) -> None:
    one, two = stocked(whole), stocked(whole, "two")
    for image in (one, two):
        whole.call("remove_image", image=image.names[0])
    whole.call("trash_empty", items=(one.manifest,))
    assert not whole.host.store.has(one.manifest) and held(whole, two) == {True}, "it lies in the trash"
    whole.call("undo")
    stocked(whole)
    whole.call("remove_image", image="one")
    whole.call("trash_empty", all=True)
    assert not whole.host.store.has(one.manifest) and held(whole, two) == {True}, "it stands"
    whole.call("remove_image", image="two")
    whole.call("trash_empty", all=True)
    assert held(whole, two) == {False}


def test_containers_and_images_go_in_one_act(whole: Whole) -> None:
    removed(whole)
    image = stocked(whole)
    whole.call("remove_image", image="one")
    acts = len(whole.acts())
    assert {item.kind for item in whole.call("trash_empty", all=True).items} == {"container", "image"}
    assert len(whole.acts()) == acts + 1 and held(whole, image) == {False}


def test_no_blob_goes_while_an_image_comes_in_that_may_need_it(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vordr.engine.handlers.trash._PATIENCE", 0.01)
    image = stocked(whole)
    whole.call("remove_image", image="one")
    acts = len(whole.acts())
    with whole.host.library.coming.shared(), pytest.raises(SubjectBusy, match="an image is coming in"):
        whole.call("trash_empty", all=True)
    assert held(whole, image) == {True} and len(whole.acts()) == acts
    whole.call("trash_empty", all=True)
    assert held(whole, image) == {False}


def test_an_undo_that_removes_an_image_and_brings_it_back_needs_no_trash_before(whole: Whole) -> None:
    image = stocked(whole)
    whole.call("remove_image", image="one")
    stocked(whole)
    whole.call("undo", steps=2)
    assert whole.journal.get(f"images/{image.manifest}") is not None


def test_items_or_all(whole: Whole) -> None:
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


def emptied_by_one_that_dies(whole: Whole, dies: int) -> Whole:
    """The successor of an engine that died at a durable step while it emptied the trash, or that engine."""
    doom = Doom(whole, dies)
    with contextlib.suppress(VordrError):
        whole.call("trash_empty", all=True)
    if doom.averted():
        return whole
    assert doom.left is not None
    whole.close()
    return Whole(whole.paths.root, doom.left, standing_clock())


@pytest.mark.parametrize("dies", range(7))
def test_a_crash_leaves_an_image_whole_in_the_trash_or_gone_and_it_can_be_emptied_again(
    memory_path: Path, dies: int
) -> None:
    whole = planted(memory_path / "root", clock=standing_clock())
    try:
        removed(whole)
        image = stocked(whole)
        whole.call("remove_image", image="one")
        whole = emptied_by_one_that_dies(whole, dies)
        assert held(whole, image) == {"docker.io/library/one:latest" in lying(whole)}
        whole.call("trash_empty", all=True)
        assert lying(whole) == [] and held(whole, image) == {False}
        whole.check()
    finally:
        whole.close()


# -- what else moves meanwhile -------------------------------------------------------------------------


def test_what_comes_back_while_the_trash_is_looked_through_keeps_its_blobs(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = stocked(whole), stocked(whole, "two")
    for image in (one, two):
        whole.call("remove_image", image=image.names[0])
    scan, looks = type(whole.journal).scan, ["images/", "trash/"]

    def scan_and_more(journal: Any, prefix: str, **how: Any) -> Any:
        found = list(scan(journal, prefix, **how))
        if threading.current_thread().name != asker and looks and looks[0] == prefix:
            del looks[0]
            if prefix == "images/":
                whole.call("undo")
        return iter(found)

    asker = threading.current_thread().name
    monkeypatch.setattr(type(whole.journal), "scan", scan_and_more)
    whole.call("trash_empty", items=(one.manifest,))
    assert looks == [] and whole.journal.get(f"images/{two.manifest}") is not None
    assert not whole.host.store.has(one.manifest) and held(whole, two) == {True}


def test_an_image_in_the_trash_is_no_container_to_undo(whole: Whole) -> None:
    stocked(whole)
    whole.call("remove_image", image="one")
    with pytest.raises(ContainerNotFound, match="one:latest is an image"):
        whole.call("undo", container="one")


def test_a_sealed_layer_goes_though_the_image_came_back_without_its_seal(whole: Whole) -> None:
    image = stocked(whole)
    whole.call("remove_image", image="one")
    import_by(whole, image, Made)
    whole.call("remove_image", image="one")
    whole.call("trash_empty", all=True)
    assert held(whole, image) == {False}


def test_an_image_that_a_container_counts_on_stays_when_its_deadline_passes(whole: Whole) -> None:
    removed(whole)
    whole.call("remove_image", image=IMAGE)
    whole.call("trash_restore", item="web")
    whole.host.clock.advance(31 * DAY)
    assert whole.call("trash_empty").items == () and lying(whole) == [IMAGE]
    with pytest.raises(ImageInUse, match="web"):
        whole.call("trash_empty", items=(IMAGE,))
    whole.call("trash_empty", all=True)
    assert lying(whole) == [IMAGE]
    whole.do("remove")
    assert len(whole.call("trash_empty", all=True).items) == 2 and lying(whole) == []


def test_a_container_goes_before_an_image_that_only_a_reference_names(whole: Whole) -> None:
    removed(whole, "one")
    whole.host.clock.advance(1.0)
    stocked(whole)
    whole.call("remove_image", image="one")
    whole.call("trash_restore", item="one")
    assert whole.get("one") is not None


def test_two_that_empty_the_same_do_so_one_after_the_other(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = stocked(whole)
    whole.call("remove_image", image="one")
    emptier = emptying.emptiers(whole.paths, whole.journal)[emptying.IMAGES]
    other = emptying.emptiers(whole.paths, whole.journal)[emptying.IMAGES]
    remove, begun, on = ImageStore.remove, threading.Event(), threading.Event()
    order: list[str] = []

    def slow(store: ImageStore, digest: str) -> bool:
        order.append(threading.current_thread().name)
        begun.set()
        on.wait(10)
        return remove(store, digest)

    monkeypatch.setattr(ImageStore, "remove", slow)
    args = {"items": [image.manifest]}
    first = threading.Thread(target=emptier.empty, args=(args,), name="first")
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=other.empty, args=(args,), name="second")
    second.start()
    while second.is_alive() and "second" not in order and not on.wait(0.2):
        on.set()
    for thread in (first, second):
        thread.join(10)
    assert order == sorted(order) and "first" in order


def test_what_ends_after_it_was_settled_is_not_recorded_again(whole: Whole) -> None:
    """The one who asked was interrupted: the step was settled, and its work goes on without anybody."""
    image = msgspec.structs.replace(stocked(whole), manifest=sha256_digest(b"new"))
    begun, on = threading.Event(), threading.Event()
    left: list[Any] = []

    def work() -> Made:
        begun.set()
        assert on.wait(10)
        return Made()

    planned = whole.host.library.import_steps(image, work)
    plan = Plan("import", "import new", planned.steps[-1:], "uid:0", payload=planned.work)
    performer = whole.host.transactions.performer(planned.steps[-1].subject)
    perform = type(performer).perform

    def interrupted(self: Any, request: Any, deadline: float) -> Any:
        left.append(whole.begin(lambda: perform(self, request, deadline)))
        assert begun.wait(10)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(performer), "perform", interrupted)
        with pytest.raises(KeyboardInterrupt):
            whole.host.transactions.run(lambda: plan)
    on.set()
    with contextlib.suppress(VordrError):
        left[0].result()
    assert whole.last().status == "aborted" and whole.last().steps == ()
    assert whole.journal.get(f"images/{image.manifest}") is None


@pytest.mark.parametrize("dies", range(4))
def test_what_cannot_be_emptied_after_a_crash_either_stays_in_the_trash_and_holds_nothing_up(
    memory_path: Path, dies: int
) -> None:
    whole = planted(memory_path / "root", clock=standing_clock())
    try:
        image = stocked(whole)
        whole.call("remove_image", image="one")
        whole.paths.layer(DIFF).unlink()
        whole.paths.layer(DIFF).mkdir()
        whole = emptied_by_one_that_dies(whole, dies)
        assert lying(whole) == ["docker.io/library/one:latest"]
        whole.check()
        whole.paths.layer(DIFF).rmdir()
        whole.call("trash_empty", all=True)
        assert lying(whole) == [] and held(whole, image) == {False}
    finally:
        whole.close()


def test_an_undo_of_a_removal_finds_the_seals_though_the_image_came_in_without_meanwhile(
    whole: Whole
) -> None:
    image = stocked(whole)
    whole.call("remove_image", image="one")
    import_by(whole, image, Made)
    whole.call("undo", steps=2)
    assert [seal["diff_id"] for seal in whole.journal.get(f"images/{image.manifest}")["seals"]] == [DIFF]
