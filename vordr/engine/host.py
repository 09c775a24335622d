"""What every handler is given: the parts of a running engine, and one call."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vordr.actors.clock import Clock
from vordr.actors.containers import ContainerDirectory
from vordr.actors.gatekeeper import GatekeeperClient
from vordr.actors.transaction import Finished, Transactions
from vordr.actors.world import World
from vordr.engine.library import Library
from vordr.engine.parking import Parking
from vordr.engine.protocol import Caller, OnEvent, Reply
from vordr.formats.signature import PublicKey
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.model import answers
from vordr.model.paths import Paths
from vordr.model.records import Inverse
from vordr.runtime.probe import HostFacts


@dataclass(frozen=True)
class Host:
    """The parts of a running engine. ``changes`` is notified whenever a container changes."""

    paths: Paths
    clock: Clock
    journal: Any
    transactions: Transactions
    gatekeeper: GatekeeperClient
    library: Library
    store: ImageStore
    secrets: SecretStore
    containers: ContainerDirectory
    parking: Parking
    world: World
    facts: HostFacts
    host_key: PublicKey
    trash_days: int
    started: int
    changes: threading.Condition = field(default_factory=threading.Condition)

    def now_us(self) -> int:
        return self.clock.now_us()


@dataclass(frozen=True)
class Call:
    """One call: who asks, descriptors that came along, where events go, whether the caller is still there."""

    caller: Caller
    files: Sequence[int] = ()
    on_event: OnEvent | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Send a progress event to the caller, if anybody listens."""
        if self.on_event is not None:
            self.on_event({"event": "progress", "phase": phase, "done": done, "total": total})


Handler = Callable[[Host, Call, Any], Reply]


def entropy() -> bytes:
    """Ten random bytes, as a UUIDv7 takes them."""
    return secrets.token_bytes(10)


def receipt(finished: Finished) -> answers.Receipt:
    """The receipt of a committed transaction: its inverses in undo order, and what would not come back."""
    inverses: list[Inverse] = [r.inverse for r in reversed(finished.records) if r.inverse is not None]
    losses = dict.fromkeys(loss for inverse in inverses for loss in inverse.losses)
    end = finished.act.end if finished.act.end is not None else finished.act.seq
    return answers.Receipt(
        txn=finished.act.txn, seq=end, undo=tuple(inverses), irreversible=tuple(losses))
