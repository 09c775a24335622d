"""What follows by itself: restart policies, --rm, and layers whose seal broke. Each is a transaction.

A policy act that finds no room for the moment is tried again, later and later; one that is refused, fails or
never finds room parks its container with the reason, until somebody wakes it or acts on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from vordr.actors.pool import EffectPool
from vordr.actors.stores import Made
from vordr.actors.transaction import Plan
from vordr.engine import recent
from vordr.engine.finding import at_rest, image_by_digest
from vordr.engine.host import Host, entropy
from vordr.engine.judging import start_verdict
from vordr.formats import uuid7
from vordr.images import seal as sealing
from vordr.model.errors import (
    DeadlineExceeded,
    InboxFull,
    JournalFull,
    JournalStopped,
    SealBroken,
    StaleState,
    StateError,
    SubjectBusy,
    VordrError,
)
from vordr.model.lifecycle import Op, State
from vordr.model.plan import subjects
from vordr.model.records import Act, ActStatus, Cause, Draft, Kind, Step, act_key, head_key
from vordr.model.restart import FIRST_DELAY, LONGEST_DELAY, Decision, Sequel, after_exit
from vordr.model.state import ContainerState, Seal

_log = logging.getLogger("vordr.engine")


MOST_TRIES: Final = 12
"""How often a policy act that finds no room is tried: for some five minutes."""

_NO_ROOM: Final = (InboxFull, JournalFull, SubjectBusy, StaleState, DeadlineExceeded)


@dataclass(frozen=True)
class _Sequel:
    """What is to be done about the end of ``container``, and how often it was tried."""

    container: ContainerState
    run: Callable[[], None]
    tried: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """Which end it follows: that of this process."""
        return self.container.id, self.container.process

    @property
    def act(self) -> str:
        return "removal" if self.container.spec.auto_remove else "restart"


class _ActedOn(StateError):
    """Somebody acted on the container since its process ended: its end has no sequel any more."""


class Aftermath:
    """Runs policy transactions on a pool of its own, so that no actor waits for them, and so that they never
    take the workers on which the effects of their own steps must run."""

    def __init__(self, host: Host, pool: EffectPool) -> None:
        self.host = host
        self.pool = pool
        self._lock = threading.Lock()
        self._under_way: set[tuple[str, int]] = set()

    def after_exit(self, container: ContainerState) -> None:
        """The process of ``container`` ended by itself and is cleaned up: decide what follows.

        Said again while that is under way, or after it was given up, it means nothing.
        """
        decision = after_exit(container)
        sequel = _Sequel(container, partial(self._carry_out, container, decision))
        if decision.sequel is Sequel.NOTHING or not self._take_on(sequel):
            return
        if decision.delay:
            self.host.clock.call_later(decision.delay, lambda: self._follow(sequel))
        else:
            self._follow(sequel)

    def _carry_out(self, container: ContainerState, decision: Decision) -> None:
        if decision.sequel is Sequel.REMOVE:
            self._remove(container)
        else:
            self._restart(container, decision)

    def _take_on(self, sequel: _Sequel) -> bool:
        with self._lock:
            if sequel.key in self._under_way or self.host.parking.reason(sequel.container) is not None:
                return False
            self._under_way.add(sequel.key)
            return True

    def _let_go(self, sequel: _Sequel) -> None:
        with self._lock:
            self._under_way.discard(sequel.key)

    def _follow(self, sequel: _Sequel) -> None:
        def done(result: object, error: BaseException | None) -> None:
            if error is None:
                self._let_go(sequel)
            else:
                self._refused(sequel, error)

        try:
            self.pool.submit(sequel.run, on_done=done)
        except VordrError as error:
            self._refused(sequel, error)

    def _refused(self, sequel: _Sequel, error: BaseException) -> None:
        container, tried = sequel.container, sequel.tried + 1
        if isinstance(error, JournalStopped) or self.host.journal.ended:
            return  # so has everything: the next opening decides again
        if isinstance(error, _NO_ROOM) and tried < MOST_TRIES:
            wait = min(FIRST_DELAY * 2 ** tried, LONGEST_DELAY)
            _log.info("%s of %s is tried again in %g s: %s", sequel.act, container.name, wait, error)
            self.host.clock.call_later(wait, lambda: self._follow(replace(sequel, tried=tried)))
            return
        _log.warning("%s of %s by policy failed: %s", sequel.act, container.name, error)
        self.host.parking.give_up(container, f"{sequel.act} by policy: {error}")
        self._let_go(sequel)
        self.host.journal.note(Draft(
            txn=uuid7.uuid7(self.host.now_us() // 1000, entropy()), kind=Kind.DECISION, cause=Cause.POLICY,
            subject=f"supervision/{container.id}", operation="park", principal="policy",
            args={"act": sequel.act, "tried": tried, "reason": str(error)[:500]}))

    def _submit(self, run: Callable[[], None]) -> None:
        def done(result: object, error: BaseException | None) -> None:
            if error is not None:
                _log.warning("policy act failed: %s", error)

        try:
            self.pool.submit(run, on_done=done)
        except VordrError as error:
            _log.warning("policy act not begun: %s", error)

    def _act(self, container: ContainerState, make: Callable[[ContainerState], Plan]) -> None:
        """Run what ``make`` plans, while the container still is as its end left it."""
        journal, head = self.host.journal, head_key(f"container/{container.id}")

        def plan() -> Plan:
            conditions = {head: journal.get(head)}
            now = at_rest(journal, container.id)
            acted = (now is None or now.state is not State.STOPPED or now.process != container.process
                     or now.asked_to_stop)
            if now is None or acted:
                raise _ActedOn(f"{container.name} was acted on meanwhile")
            planned = make(now)
            return replace(planned, conditions={**conditions, **planned.conditions})

        try:
            self.host.transactions.run(plan)
        except _ActedOn:
            return  # whoever did decides what becomes of it

    def _remove(self, container: ContainerState) -> None:
        self._act(
            container, lambda now: self._plan("remove", f"remove {now.name} (--rm)", now, Op.REMOVE, {}))

    def _restart(self, container: ContainerState, decision: Decision) -> None:
        def make(now: ContainerState) -> Plan:
            stands = self._end_stands(now)
            verdict = start_verdict(self.host, now)
            plan = self._plan("restart", f"restart {now.name} ({decision.reason})", now, Op.REVIVE,
                              {"to": str(State.RUNNING), "policy": True})
            return replace(plan, verdicts={now.image: verdict}, conditions=stands)

        self._act(container, make)

    def _end_stands(self, container: ContainerState) -> dict[str, Any]:
        """The condition that its end is the last that happened to ``container``, or _ActedOn: an undo that
        took it back, or a redo that brought it back, may have found nothing to do."""
        journal, subject = self.host.journal, f"container/{container.id}"

        def about_it(act: Act) -> bool:
            return act.status is ActStatus.COMMITTED and act.reversible and subject in subjects(act)

        (last,) = recent.newest(journal, about_it, 1)
        key = act_key(last.txn)
        end = journal.get(key)
        if last.cause is not Cause.EXIT or end["undone_by"] is not None:
            raise _ActedOn(f"the end of {container.name} was taken back")
        return {key: end}

    def _plan(
        self, act: str, summary: str, container: ContainerState, op: Op, args: dict[str, object]
    ) -> Plan:
        step = Step(subject=f"container/{container.id}", operation=str(op), args=args)
        return Plan(act, summary, (step,), "policy", cause=Cause.POLICY, origin=container.process_act)

    # -- broken seals --------------------------------------------------------------------------------

    def broken_seal(self, manifest: str, seal: Seal, broken: SealBroken) -> None:
        """Journal the anomaly, and make the layer again from its blob: the refused start may be repeated."""
        self.host.journal.note(Draft(
            txn=uuid7.uuid7(self.host.now_us() // 1000, entropy()), kind=Kind.ANOMALY, cause=Cause.MONITOR,
            subject=f"image/{manifest}", operation="seal_broken", principal="gatekeeper",
            args={"layer": seal.diff_id, "message": broken.message}))
        self._submit(lambda: self._remake(manifest, seal))

    def _remake(self, manifest: str, broken: Seal) -> None:
        host = self.host
        image = image_by_digest(host.journal, manifest)
        layer = next(layer for layer in image.layers if layer.diff_id == broken.diff_id)
        subject = f"image/{manifest}"

        def work() -> Made:
            made = sealing.remake(host.store, layer, host.paths)
            seals = tuple(made if seal.diff_id == broken.diff_id else seal for seal in image.seals)
            return Made(seals=seals)

        step = Step(subject=subject, operation="describe", args={})
        plan = Plan(
            "reseal", f"seal layer {broken.diff_id[7:19]} again", (step,), "gatekeeper",
            cause=Cause.RECOVERY, reversible=False, payload={f"describe {subject}": work})
        host.transactions.run(lambda: plan)
        for other in host.library.sharing(layer.diff_id, manifest):
            host.transactions.run(partial(self._share, other, manifest))

    def _share(self, other: str, manifest: str) -> Plan:
        """Another image with the same layer gets its new seal."""
        fresh = {seal.diff_id: seal for seal in image_by_digest(self.host.journal, manifest).seals}
        image = image_by_digest(self.host.journal, other)
        seals = tuple(fresh.get(seal.diff_id, seal) for seal in image.seals)
        step = Step(subject=f"image/{other}", operation="describe", args={})
        return Plan(
            "reseal", f"share the new seal with {other[7:19]}", (step,), "gatekeeper",
            cause=Cause.RECOVERY, reversible=False,
            payload={f"describe image/{other}": lambda: Made(seals=seals)})
