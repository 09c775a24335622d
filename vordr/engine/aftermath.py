"""What follows by itself: restart policies, --rm, and layers whose seal broke. Each is a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from vordr.actors.pool import EffectPool
from vordr.actors.stores import Made
from vordr.actors.transaction import Plan
from vordr.engine.finding import container_by_id, image_by_digest
from vordr.engine.host import Host, entropy
from vordr.formats import uuid7
from vordr.images import seal as sealing
from vordr.model.errors import SealBroken, StateError, VordrError
from vordr.model.lifecycle import Op, State
from vordr.model.records import Cause, Draft, Kind, Step, head_key
from vordr.model.restart import Decision, Sequel, after_exit
from vordr.model.state import ContainerState, Seal

_log = logging.getLogger("vordr.engine")


class Aftermath:
    """Runs policy transactions on the effects pool, so that no actor waits for them."""

    def __init__(self, host: Host, effects: EffectPool) -> None:
        self.host = host
        self.effects = effects

    def after_exit(self, container: ContainerState) -> None:
        """The process of ``container`` ended by itself and is cleaned up: decide what follows."""
        decision = after_exit(container)
        match decision.sequel:
            case Sequel.REMOVE:
                self._submit(lambda: self._remove(container))
            case Sequel.RESTART:
                self.host.clock.call_later(
                    decision.delay, lambda: self._submit(lambda: self._restart(container, decision)))
            case Sequel.NOTHING:
                return

    def _submit(self, run: Callable[[], None]) -> None:
        def done(result: object, error: BaseException | None) -> None:
            if error is not None:
                _log.warning("policy act failed: %s", error)

        try:
            self.effects.submit(run, on_done=done)
        except VordrError as error:
            _log.warning("policy act not begun: %s", error)

    def _current(self, container: ContainerState) -> ContainerState:
        """The container, if it still is as its end left it; raises StateError when somebody acted since."""
        now = container_by_id(self.host.journal, container.id)
        if now is None or now.state is not State.STOPPED or now.process != container.process:
            raise StateError(f"{container.name} was acted on meanwhile")
        return now

    def _remove(self, container: ContainerState) -> None:
        def plan() -> Plan:
            now = self._current(container)
            return self._plan("remove", f"remove {now.name} (--rm)", now, Op.REMOVE, {})

        self.host.transactions.run(plan)

    def _restart(self, container: ContainerState, decision: Decision) -> None:
        def plan() -> Plan:
            now = self._current(container)
            verdict = self.host.library.judge_manifest(now.image)
            made = self._plan("restart", f"restart {now.name} ({decision.reason})", now, Op.REVIVE,
                              {"to": str(State.RUNNING), "policy": True})
            return Plan(**{**vars(made), "verdicts": {now.image: verdict}})

        self.host.transactions.run(plan)

    def _plan(
        self, act: str, summary: str, container: ContainerState, op: Op, args: dict[str, object]
    ) -> Plan:
        subject = f"container/{container.id}"
        return Plan(
            act, summary, (Step(subject=subject, operation=str(op), args=args),), "policy",
            cause=Cause.POLICY, origin=container.process_act,
            conditions={head_key(subject): self.host.journal.get(head_key(subject))})

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
