"""Looking at the end of the history finds what looking at all of it would."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from whole_engine import Whole, planted

from vordr.engine import recent
from vordr.engine.finding import all_acts, names_in_use
from vordr.engine.protocol import Caller
from vordr.model.errors import VordrError
from vordr.model.operations import Scope
from vordr.model.plan import choose, choose_redo, plan_undo

ADA, BOB = Caller("uid:0", Scope.ADMIN), Caller("uid:7", Scope.OPERATE)
NAMES = ("web", "db", "job")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """An engine with a history of a hundred acts by two people on containers that take each other's names."""
    whole = planted(tmp_path_factory.mktemp("lived") / "root")
    chance = random.Random(5)
    for _ in range(100):
        caller, name = chance.choice((ADA, BOB)), chance.choice(NAMES)
        what = chance.choice(("run", "run", "stop", "start", "remove", "undo", "redo"))
        args: dict[str, Any] = {"container": name}
        match what:
            case "run":
                args = {"image": "docker.io/library/tiny:latest", "name": name, "command": ["/bin/serve"]}
            case "remove":
                args["force"] = True
            case "undo":
                args = {"cascade": chance.random() < 0.5}
            case "redo":
                args = {}
        try:
            whole.call(what, caller, **args)
        except VordrError:
            pass  # illegal acts belong to a life
    _a_name_changes_hands(whole)
    yield whole
    whole.close()


def _a_name_changes_hands(whole: Whole) -> None:
    """The name that an undo of the last removal wants back is held by a container that is older."""
    whole.run("elder")
    whole.do("remove", "elder", force=True)
    elder = whole.last().steps[-1].subject.removeprefix("container/")
    whole.run("younger")
    for _ in range(5):
        whole.do("pause", "younger")
        whole.do("resume", "younger")
    whole.do("remove", "younger", force=True)
    whole.call("trash_restore", item=elder, name="younger")


@pytest.fixture(params=[1, 3, 17, 400], ids="a first window of {}".format)
def journal(lived: Whole, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(recent, "FIRST", request.param)
    return lived.journal


def outcome(work: Any) -> Any:
    """What came of it, errors included."""
    try:
        found = work()
    except VordrError as error:
        return type(error), error.message, error.details
    return found if isinstance(found, list) else (found.undoes, found.steps, found.losses, found.targets)


def test_the_acts_since_a_record_are_those_begun_or_ended_then(journal: Any) -> None:
    acts = all_acts(journal)
    for seq in range(1, journal.last()[0] + 2, 7):
        expected = [act for act in acts if act.seq >= seq or (act.end or 0) >= seq]
        assert recent.acts_since(journal, seq) == expected


def wishes(journal: Any) -> Iterator[dict[str, Any]]:
    for principal in ("uid:0", "uid:7", "uid:nobody"):
        for steps in (1, 2, 5, 1000):
            yield {"principal": principal, "steps": steps}
            for holder in names_in_use(journal).values():
                yield {"principal": principal, "steps": steps, "subject": f"container/{holder}"}
    yield from ({"principal": "uid:0", "to": to} for to in (-1, 0, 5, 200, 10**6))
    for act in all_acts(journal):
        yield {"principal": "uid:0", "txn": act.txn}
    yield from ({"principal": "uid:0", "txn": txn} for txn in ("0", "no such"))


@pytest.mark.parametrize("cascade", [False, True])
def test_an_undo_is_planned_as_on_the_whole_history(journal: Any, cascade: bool) -> None:
    for wish in wishes(journal):
        def whole(wish: dict[str, Any] = wish) -> Any:
            acts = all_acts(journal)
            return plan_undo(acts, choose(acts, **wish), names_in_use(journal), cascade=cascade)

        def window(wish: dict[str, Any] = wish) -> Any:
            picked = recent.pick(
                journal, lambda acts: choose(acts, **wish), txn=wish.get("txn"), to=wish.get("to"))
            return recent.plan(journal, picked, cascade=cascade)

        assert outcome(window) == outcome(whole), wish


@pytest.mark.parametrize("principal", ["uid:0", "uid:7", "uid:nobody"])
def test_a_redo_is_planned_as_on_the_whole_history(journal: Any, principal: str) -> None:
    def whole() -> Any:
        acts = all_acts(journal)
        return plan_undo(acts, [choose_redo(acts, principal=principal)], names_in_use(journal), cascade=False)

    def window() -> Any:
        picked = recent.pick(journal, lambda acts: [choose_redo(acts, principal=principal)])
        return recent.plan(journal, picked, cascade=False)

    assert outcome(window) == outcome(whole)


@pytest.mark.parametrize("count", [1, 7, 10**6])
def test_the_newest_acts_are_the_end_of_all(journal: Any, count: int) -> None:
    mine = [act for act in reversed(all_acts(journal)) if act.principal == "uid:7"]
    assert recent.newest(journal, lambda act: act.principal == "uid:7", count) == mine[:count]


def test_the_newest_act_is_found_without_reading_the_oldest(
    lived: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest: list[int] = []
    read = type(lived.journal).records

    def records(journal: Any, start: int = 1, stop: int | None = None) -> Any:
        oldest.append(start)
        return read(journal, start, stop)

    monkeypatch.setattr(type(lived.journal), "records", records)
    monkeypatch.setattr(recent, "FIRST", 8)
    recent.newest(lived.journal, lambda act: True, 1)
    assert min(oldest) > lived.journal.last()[0] - 8 * 9
