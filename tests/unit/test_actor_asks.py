"""Tells, asks, deadlines, deferred replies, lanes, batches, and the order of asking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from supervisor_world import World

from vordr.actors.actor import Actor, Envelope, Reply
from vordr.actors.childspec import ChildSpec, SupervisorSpec
from vordr.actors.clock import SystemClock
from vordr.actors.context import StartContext
from vordr.actors.handle import Handle, fence, on_behalf_of
from vordr.actors.inbox import Inbox
from vordr.actors.reasons import Normal, Shutdown
from vordr.model.errors import ActorDead, DeadlineExceeded, Fenced, InboxFull, NameInUse, SupervisionError

REAL = SystemClock()


@pytest.fixture
def begun() -> Iterator[list[Actor]]:
    actors: list[Actor] = []
    yield actors
    for actor in actors:
        actor.stop()


class Gate(Actor):
    """Blocks on events, keeps replies, records the rest."""

    inbox_capacity = 3
    control_capacity = 2

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.kept: list[Reply] = []
        self.entered = threading.Event()
        self.five = threading.Event()

    def receive(self, message: object) -> object:
        match message:
            case threading.Event():
                self.entered.set()
                message.wait(20)
            case "keep":
                self.kept.append(self.defer())
            case "answer":
                self.kept.pop().set("later")
            case "refuse":
                self.kept.pop().fail(NameInUse("taken"))
            case _:
                self.seen.append(message)
                if len(self.seen) == 5:
                    self.five.set()
        return "now"


def begin(actor: Actor, begun: list[Actor]) -> Handle:
    actor._start_actor_loop()  # as Pykka's start() does, without a tree
    begun.append(actor)
    return actor.handle


def in_thread(fn: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    got: list[Any] = []

    def run() -> None:
        try:
            got.append(fn())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            got.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, got


def test_an_ask_that_is_not_answered_in_time_raises(begun: list[Actor]) -> None:
    handle = begin(Gate(), begun)
    with pytest.raises(DeadlineExceeded, match="did not answer within 0"):
        handle.ask("keep", 0)


def test_an_ask_given_up_while_it_waited_is_skipped(begun: list[Actor]) -> None:
    actor, gate = Gate(), threading.Event()
    handle = begin(actor, begun)
    handle.tell(gate)
    assert actor.entered.wait(10)
    with pytest.raises(DeadlineExceeded):
        handle.ask("too late", 0)
    gate.set()
    handle.ask("after", 10)
    assert actor.seen == ["after"]


def test_a_deferred_reply_is_answered_by_a_later_message(begun: list[Actor]) -> None:
    actor = Gate()
    handle = begin(actor, begun)
    for later, expected in (("answer", "later"), ("refuse", NameInUse)):
        thread, got = in_thread(lambda: handle.ask("keep", 10))
        while not actor.kept:
            handle.ask("poll", 10)
        handle.tell(later)
        thread.join(10)
        assert got[0] == expected or isinstance(got[0], expected)  # type: ignore[arg-type]


def test_deferred_and_waiting_asks_fail_at_once_when_the_target_ends(begun: list[Actor]) -> None:
    actor, gate = Gate(), threading.Event()
    handle = begin(actor, begun)
    deferred, first = in_thread(lambda: handle.ask("keep", 60))
    while not actor.kept:
        handle.ask("poll", 10)
    handle.tell(gate)
    assert actor.entered.wait(10)
    waiting, second = in_thread(lambda: handle.ask("hello", 60))
    while not len(actor.inbox):
        pass  # until the other thread's ask has arrived
    actor.stop()
    gate.set()
    deferred.join(10)
    waiting.join(10)
    assert isinstance(first[0], ActorDead) and isinstance(second[0], ActorDead)
    with pytest.raises(ActorDead):
        handle.ask("hello", 60)


def test_a_full_lane_refuses_and_the_other_one_does_not(begun: list[Actor]) -> None:
    actor, gate = Gate(), threading.Event()
    handle = begin(actor, begun)
    handle.tell(gate)
    assert actor.entered.wait(10)
    for number in range(3):
        handle.tell(number)
    with pytest.raises(InboxFull, match=r"3 messages"):
        handle.tell("one too many")
    handle.tell("kill", control=True)
    handle.tell("inspect", control=True)
    with pytest.raises(InboxFull, match=r"2 messages"):
        handle.ask("more", 5, control=True)
    gate.set()
    assert actor.five.wait(10)
    assert actor.seen == ["kill", "inspect", 0, 1, 2]


def test_a_stop_overtakes_but_waits_behind_messages_when_draining(begun: list[Actor]) -> None:
    class Draining(Gate):
        drain = True

    for kind, expected in ((Gate, []), (Draining, ["a", "b"])):
        actor, gate = kind(), threading.Event()
        handle = begin(actor, begun)
        handle.tell(gate)
        assert actor.entered.wait(10)
        handle.tell("a")
        handle.tell("b")
        actor.stop()
        with pytest.raises(ActorDead):
            handle.tell("c")
        gate.set()
        assert actor.wait_end(REAL, 10)
        assert actor.seen == expected


class Batching(Actor):
    batch = 8

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.entered, self.gate = threading.Event(), threading.Event()

    def receive_batch(self, envelopes: list[Envelope]) -> None:
        self.sizes.append(len(envelopes))
        if envelopes[0].message == "hold":
            self.entered.set()
            self.gate.wait(20)
        for envelope in envelopes:
            if envelope.message == "boom":
                raise ValueError("boom")
            if envelope.reply is not None:
                envelope.reply.set(envelope.message)


def test_a_batch_takes_all_that_waits_up_to_its_bound(begun: list[Actor]) -> None:
    actor = Batching()
    handle = begin(actor, begun)
    handle.tell("hold")
    assert actor.entered.wait(10)
    for number in range(10):
        handle.tell(number)
    actor.gate.set()
    assert handle.ask("last", 10) == "last"
    assert actor.sizes == [1, 8, 3]


def test_a_batch_that_raises_answers_all_its_asks_and_crashes(begun: list[Actor]) -> None:
    actor = Batching()
    handle = begin(actor, begun)
    handle.tell("hold")
    assert actor.entered.wait(10)
    asks = [in_thread(lambda m=m: handle.ask(m, 60)) for m in ("boom", "one", "two")]
    while len(actor.inbox) < 3:
        pass  # until the other threads' asks have arrived
    actor.gate.set()
    for thread, _ in asks:
        thread.join(10)
    assert sum(isinstance(got[0], ValueError) for _, got in asks) >= 1
    assert actor.wait_end(REAL, 10)


def test_the_first_answer_counts() -> None:
    reply = Reply()
    reply.set(1)
    reply.set(2)
    reply.fail(ValueError())
    assert reply.wait(1, "it") == 1 and reply.settled


def test_the_first_stop_reason_stands() -> None:
    inbox = Inbox(1, 1)
    inbox.request_stop(Shutdown("first"))
    inbox.request_stop(Normal())
    assert inbox.stop_reason == Shutdown("first") and inbox.take(1) is None


def test_what_a_fenced_sender_sent_before_is_not_received(begun: list[Actor]) -> None:
    actor, gate = Gate(), threading.Event()
    handle = begin(actor, begun)
    handle.tell(gate)
    assert actor.entered.wait(10)
    sender = Gate().incarnation
    with on_behalf_of(sender):
        handle.tell("from the grave")
        fence(sender)
        with pytest.raises(Fenced):
            handle.tell("more")
    gate.set()
    handle.ask("after", 10)
    assert actor.seen == ["after"]


# -- who may ask whom -----------------------------------------------------------------------------------


class Asker(Actor):
    """Asks whom it is told to."""

    def receive(self, message: object) -> object:
        return message.ask("who", 5) if isinstance(message, Handle) else self.name


def asker(id: str) -> ChildSpec:
    return ChildSpec(id, lambda context: Asker())


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def test_asks_go_to_older_actors_only(world: World) -> None:
    flat = SupervisorSpec()
    root = world.start(
        flat,
        asker("old"),
        world.supervisor("s", flat, asker("x"), asker("y")),
        asker("young"),
    )
    old, x, y, young = (root.handle_of(*p) for p in (["old"], ["s", "x"], ["s", "y"], ["young"]))
    s = root.handle_of("s")
    for here, there in ((young, old), (y, x), (x, old), (young, y), (y, old)):
        assert here.ask(there, 10) == there.name
    for here, there in ((old, young), (x, y), (old, x), (x, young)):
        with pytest.raises(SupervisionError, match="younger"):
            here.ask(there, 10)
    for here in (old, x):
        with pytest.raises(SupervisionError, match="itself"):
            here.ask(here, 10)
    for here, there in ((x, s), (x, root.handle), (young, root.handle)):
        with pytest.raises(SupervisionError, match="its supervisor"):
            here.ask(there, 10)


def test_a_restart_keeps_the_place_in_the_order(world: World) -> None:
    root = world.start(SupervisorSpec(intensity=5), world.child("a"), asker("b"))
    world.crash("a")
    root.which_children()
    assert root.handle_of("b").ask(root.handle_of("a"), 10)


def test_a_child_is_given_the_handles_of_its_older_siblings(world: World) -> None:
    got: dict[str, object] = {}

    def start(context: StartContext) -> Actor:
        got["a"] = context.sibling("a")
        for id in ("b", "c", "nobody"):
            with pytest.raises(SupervisionError, match="older sibling"):
                context.sibling(id)
        return Asker()

    root = world.start(SupervisorSpec(), asker("a"), ChildSpec("b", start), asker("c"))
    assert got["a"] is root.handle_of("a")
