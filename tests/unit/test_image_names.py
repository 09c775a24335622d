"""A name belongs to one image: acts that give or take names at once lose none, and never give one twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from whole_engine import CALLER, Whole, eventually, image_of, import_by

from vordr.actors.stores import Made
from vordr.actors.transaction import Transactions
from vordr.engine import intake, library
from vordr.engine.beside import Gathered
from vordr.engine.handlers import verifying
from vordr.engine.host import Call
from vordr.engine.library import Incoming, Planned
from vordr.engine.locks import KeyedLock
from vordr.gatekeeper.evidence import Kind, Piece
from vordr.model.errors import ImageNotFound, StaleState, SubjectBusy, UndoBlocked
from vordr.model.state import ImageState


class Slow:
    """The work of a step, that is under way until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> Made:
        self.begun.set()
        assert self.may_end.wait(10)
        return Made()


def full(name: str) -> str:
    return f"docker.io/library/{name}"


def image(label: str, name: str = "web:1") -> ImageState:
    return image_of(full(name), [], Labels={"label": label})[2]


def stored(whole: Whole, label: str, name: str = "web:1") -> ImageState:
    """An image that is in, with the documents that an adoption reads."""
    manifest, config, made = image_of(full(name), [], Labels={"label": label})
    for digest, content in ((made.manifest, manifest), (made.config_digest, config)):
        whole.host.store.add_bytes(content, digest)
    import_by(whole, made, Made)
    return made


def names(whole: Whole) -> dict[str, list[str]]:
    """The names of each image, by its digest."""
    return {one.manifest: list(one.names) for one in whole.call("images").images}


def holders(whole: Whole, name: str) -> list[str]:
    return [manifest for manifest, has in names(whole).items() if full(name) in has]


def test_of_two_images_that_come_in_by_one_name_the_later_has_it(whole: Whole) -> None:
    first, second = image("first"), image("second")
    slow = Slow()
    one = whole.begin(lambda: import_by(whole, first, slow))
    assert slow.begun.wait(10)
    other = whole.begin(lambda: import_by(whole, second, Made))
    slow.may_end.set()
    one.result()
    other.result()
    assert holders(whole, "web:1") == [second.manifest]
    assert names(whole)[first.manifest] == []


def test_images_of_other_names_do_not_wait_for_each_other(whole: Whole) -> None:
    slow = Slow()
    one = whole.begin(lambda: import_by(whole, image("first"), slow))
    assert slow.begun.wait(10)
    import_by(whole, image("second", "other:1"), Made)
    assert not one.over
    slow.may_end.set()
    one.result()
    assert len(holders(whole, "web:1")) == len(holders(whole, "other:1")) == 1


def overtaken(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have ``act`` happen between the next plan and its begin."""
    begin, begun = Transactions._begin, []

    def late(self, txn, plan, check):
        if not begun:
            begun.append(txn)
            act()
        return begin(self, txn, plan, check)

    monkeypatch.setattr(Transactions, "_begin", late)


def test_a_name_given_between_plan_and_begin_of_an_adoption_stays(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(whole, "old")
    overtaken(monkeypatch, lambda: whole.call("adopt", image=old.manifest, name="second:1"))
    whole.call("adopt", image=old.manifest, name="third:1")
    assert names(whole)[old.manifest] == [full("third:1"), full("second:1"), full("web:1")]


def test_a_name_given_to_an_image_stays_when_another_act_takes_one_from_it(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = stored(whole, "old"), image("new")
    overtaken(monkeypatch, lambda: whole.call("adopt", image=old.manifest, name="second:1"))
    import_by(whole, new, Made)
    assert names(whole)[old.manifest] == [full("second:1")]
    assert holders(whole, "web:1") == [new.manifest]


def test_two_names_taken_from_one_image_at_once_are_both_gone(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(whole, "old")
    whole.call("adopt", image="web:1", name="more:1")
    assert names(whole)[old.manifest] == [full("more:1"), full("web:1")]
    overtaken(monkeypatch, lambda: import_by(whole, image("second", "more:1"), Made))
    import_by(whole, image("first"), Made)
    assert names(whole)[old.manifest] == []
    assert len(holders(whole, "web:1")) == len(holders(whole, "more:1")) == 1


def test_an_undo_does_not_give_a_name_that_another_image_has(whole: Whole) -> None:
    old = stored(whole, "old")
    whole.call("remove_image", image="web:1")
    removal = whole.last().txn
    new = image("new")
    import_by(whole, new, Made)
    with pytest.raises(UndoBlocked, match=f"web:1 is held by image {new.manifest[:19]}") as told:
        whole.call("undo", txn=removal)
    assert told.value.remedy == f"vordr rmi {full('web:1')}, then undo again"
    assert holders(whole, "web:1") == [new.manifest]
    whole.call("remove_image", image="web:1")
    whole.call("undo", txn=removal)
    assert holders(whole, "web:1") == [old.manifest]


def test_a_redo_does_not_give_a_name_that_another_image_has_and_calls_itself_one(whole: Whole) -> None:
    old = stored(whole, "old")
    whole.call("undo")
    new = image("new")
    import_by(whole, new, Made)
    with pytest.raises(UndoBlocked, match="^cannot redo: the name .*web:1 is held by image") as told:
        whole.call("redo")
    assert told.value.remedy == f"vordr rmi {full('web:1')}, then redo again"
    whole.call("remove_image", image="web:1")
    whole.call("redo")
    assert holders(whole, "web:1") == [old.manifest]


def test_an_undo_may_give_a_name_back_that_it_takes_away_before(whole: Whole) -> None:
    old, new = stored(whole, "old"), stored(whole, "new")
    assert names(whole)[old.manifest] == []
    whole.call("undo")
    assert holders(whole, "web:1") == [old.manifest]
    whole.call("redo")
    assert holders(whole, "web:1") == [new.manifest] and names(whole)[old.manifest] == []


def test_an_undo_waits_for_an_import_that_gives_the_same_name(whole: Whole) -> None:
    stored(whole, "old")
    whole.call("remove_image", image="web:1")
    removal, slow, new = whole.last().txn, Slow(), image("new")
    one = whole.begin(lambda: import_by(whole, new, slow))
    assert slow.begun.wait(10)
    undo = whole.begin(lambda: whole.call("undo", txn=removal))
    slow.may_end.set()
    one.result()
    with pytest.raises(UndoBlocked):
        undo.result()
    assert holders(whole, "web:1") == [new.manifest]


def test_an_undo_that_has_become_another_holds_the_names_of_that(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its first plan and its begin the newest act changed: another name is given back."""
    stored(whole, "old")
    other = stored(whole, "other", "other:1")
    whole.call("adopt", image="web:1")
    held: list[list[str]] = []
    naming = library.Library.naming

    def told(self, wanted):
        held.append(list(wanted))
        if len(held) == 1:
            whole.call("remove_image", image="other:1")
        return naming(self, wanted)

    monkeypatch.setattr(library.Library, "naming", told)
    whole.call("undo")
    assert held == [[full("web:1")], [full("other:1")]]
    assert holders(whole, "other:1") == [other.manifest]


def test_gathered_evidence_brings_no_name_back(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image that lost its name to another while evidence was looked for."""
    old, new = stored(whole, "old"), image("new")
    piece = Piece(Kind.SIGSTORE, b"{}")
    monkeypatch.setattr(verifying, "_from_registries", lambda found, insecure: Gathered(pieces=(piece,)))
    overtaken(monkeypatch, lambda: import_by(whole, new, Made))
    whole.call("gather", image=old.manifest)
    assert holders(whole, "web:1") == [new.manifest] and names(whole)[old.manifest] == []


def test_an_image_that_was_removed_while_evidence_was_looked_for_stays_removed(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stored(whole, "old")
    piece = Piece(Kind.SIGSTORE, b"{}")
    monkeypatch.setattr(verifying, "_from_registries", lambda found, insecure: Gathered(pieces=(piece,)))
    overtaken(monkeypatch, lambda: whole.call("remove_image", image="web:1"))
    with pytest.raises(ImageNotFound):
        whole.call("gather", image=old.manifest)
    assert old.manifest not in names(whole)


def test_what_comes_as_it_is_begins_nothing_though_it_is_changed_meanwhile(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look that finds a change of another act in the way is taken again."""
    old = stored(whole, "old")
    looks = []

    def steps():
        looks.append(whole.host.library.known(old.manifest))
        if len(looks) == 1:
            whole.call("adopt", image="web:1", name="more:1")
            return whole.host.library.change_steps(looks[0], {"names": [full("third:1")]}, Made)
        return Planned()

    assert intake.bring_in(whole.host, Call(CALLER), Incoming(old, steps), "import") is None
    assert len(looks) == 2 and whole.last().act == "adopt"


def test_steps_are_not_made_from_what_an_image_was(whole: Whole) -> None:
    old = stored(whole, "old")
    whole.call("adopt", image="web:1", name="more:1")
    with pytest.raises(StaleState, match="web:1 was changed by another act"):
        whole.host.library.change_steps(old, {"names": []}, Made)


def test_a_name_that_another_act_gives_for_long_is_told(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "PATIENCE", 0.01)
    acts = len(whole.acts())
    with whole.host.library.naming([full("web:1")]), pytest.raises(SubjectBusy, match="a name of .*web:1"):
        import_by(whole, image("first"), Made)
    assert len(whole.acts()) == acts
    import_by(whole, image("first"), Made)


def test_keys_are_had_together_or_not_at_all() -> None:
    lock = KeyedLock()
    with lock.held(["a"], 1.0), lock.held(["b"], 1.0):
        with pytest.raises(TimeoutError), lock.held(["c", "b"], 0.01):
            raise AssertionError("it has what another holds")
        with lock.held(["c"], 1.0):
            pass
    with pytest.raises(RuntimeError, match="its own"), lock.held(["a", "b"], 1.0):
        raise RuntimeError("its own")
    with lock.held(["a", "b"], 0.01), lock.held([], 0.01):
        pass


def test_who_waits_for_a_key_gets_it_when_it_is_free() -> None:
    lock, got = KeyedLock(), threading.Event()

    def take() -> None:
        with lock.held(["a"], 10.0):
            got.set()

    with lock.held(["a", "b"], 1.0):
        thread = threading.Thread(target=take)
        thread.start()
        assert not got.wait(0.05)
    thread.join(10)
    eventually(got.is_set, "its turn")
