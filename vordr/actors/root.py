"""The supervision tree of one engine (design §1): journal ► services ► containers, rest_for_one.

A failing journal is fatal: it ends the tree, and the process or the embedding program goes on without it. A
failing service restarts itself and the containers' supervisor after it. A failing container actor restarts
alone, and is parked when it fails too often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vordr.actors.childspec import (
    INFINITY,
    Backoff,
    ChildSpec,
    ChildType,
    Decision,
    OnExceed,
    Strategy,
    SupervisorSpec,
)
from vordr.actors.clock import Clock
from vordr.actors.gatekeeper import GatekeeperActor
from vordr.actors.journal import JournalActor, JournalClient
from vordr.actors.messages import Perform, Performed, Settle
from vordr.actors.pool import EffectPool
from vordr.actors.reasons import Reason
from vordr.actors.requests import SupervisorRef
from vordr.actors.revival import await_revival
from vordr.actors.stores import StoreActor
from vordr.actors.supervisor import Supervisor
from vordr.actors.tree import start_tree
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths

JOURNAL, SERVICES, CONTAINERS = "journal", "services", "containers"
GATEKEEPER, IMAGES = "gatekeeper", "images"


@dataclass(frozen=True)
class Tree:
    """A running tree: its root, the journal's client, and references to its parts."""

    root: SupervisorRef
    journal: JournalClient

    def services(self, name: str) -> Any:
        return self.root.handle_of(SERVICES, name)

    @property
    def containers(self) -> SupervisorRef:
        return self.root.supervisor(CONTAINERS)


def plant(
    paths: Paths, store: JournalStore, *, clock: Clock, effects: EffectPool, trash_days: int,
    entropy: Callable[[], bytes], on_decision: Callable[[Decision], None],
    on_fatal: Callable[[Reason], None],
) -> Tree:
    """Start the tree over an open journal store. Raises StartFailed."""
    def client() -> JournalClient:
        return JournalClient(root_handle[0], store)

    root_handle: list[Any] = []

    def journal(context: Any) -> JournalActor:
        root_handle[:] = [context.handle]
        return JournalActor(store)

    def services(context: Any) -> Supervisor:
        return Supervisor(
            SupervisorSpec(Strategy.ONE_FOR_ONE, intensity=5, period=10.0, backoff=Backoff(initial=0.05)),
            (
                ChildSpec(GATEKEEPER, lambda _: GatekeeperActor(paths, client(), entropy)),
                ChildSpec(IMAGES, lambda _: StoreActor(paths, client(), trash_days)),
            ))

    def containers(context: Any) -> Supervisor:
        return Supervisor(SupervisorSpec(
            Strategy.ONE_FOR_ONE, intensity=5, period=60.0, backoff=Backoff(initial=0.05),
            on_exceed=OnExceed.PARK, dynamic=True))

    root = start_tree(
        SupervisorSpec(Strategy.REST_FOR_ONE, intensity=3, period=30.0),
        (
            ChildSpec(JOURNAL, journal, fatal=True, shutdown=30.0),
            ChildSpec(SERVICES, services, type=ChildType.SUPERVISOR, shutdown=INFINITY),
            ChildSpec(CONTAINERS, containers, type=ChildType.SUPERVISOR, shutdown=INFINITY),
        ),
        clock=clock, effects=effects, on_decision=on_decision, on_fatal=on_fatal)
    return Tree(root, JournalClient(root.handle_of(JOURNAL), store))


class ServicePerformer:
    """Performs the steps of images, trust and packing by the images actor."""

    def __init__(self, handle: Any, journal: Any) -> None:
        self.handle = handle
        self.journal = journal

    def perform(self, request: Perform, deadline: float) -> Performed:
        answer = self.handle.ask(request, timeout=deadline)
        assert isinstance(answer, Performed)
        return answer

    def settle(self, request: Settle, deadline: float) -> Performed | None:
        """As the actor's; a crashed actor's next incarnation is given time to come."""
        await_revival(self.handle, self.journal)
        answer = self.handle.ask(request, timeout=deadline)
        assert answer is None or isinstance(answer, Performed)
        return answer

    def released(self, subject: str) -> None:
        """Nothing waits for an image."""
