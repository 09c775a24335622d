"""A name belongs to one image: acts that give or take names at once lose none, and never give one twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from whole_engine import Whole, eventually, image_of, import_by, planted, standing_clock

from vordr.actors.stores import Made
from vordr.actors.transaction import Transactions
from vordr.engine import library
from vordr.engine.locks import KeyedLock
from vordr.model.errors import StaleState, SubjectBusy
from vordr.model.state import ImageState


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    made = planted(memory_path / "root", clock=standing_clock())
    try:
        yield made
        made.check()
    finally:
        made.close()


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


def stored(whole: Whole, label: str) -> ImageState:
    """An image that is in, with the documents that an adoption reads."""
    manifest, config, made = image_of(full("web:1"), [], Labels={"label": label})
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


def test_two_names_taken_from_one_image_at_once_are_both_gone(whole: Whole) -> None:
    old = stored(whole, "old")
    whole.call("adopt", image="web:1", name="more:1")
    assert names(whole)[old.manifest] == [full("more:1"), full("web:1")]
    slow = Slow()
    one = whole.begin(lambda: import_by(whole, image("first"), slow))
    assert slow.begun.wait(10)
    other = whole.begin(lambda: import_by(whole, image("second", "more:1"), Made))
    slow.may_end.set()
    one.result()
    other.result()
    assert names(whole)[old.manifest] == []
    assert len(holders(whole, "web:1")) == len(holders(whole, "more:1")) == 1


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
