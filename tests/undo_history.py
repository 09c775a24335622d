"""Histories for the planning of undos: made by the model's own steps; nothing runs."""

import itertools

import msgspec

from vordr.model.lifecycle import Op, State
from vordr.model.plan import plan_undo
from vordr.model.records import Act, ActStatus, Cause, Step, StepDone
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState
from vordr.model.steps import Facts, advance, digest_of

START, STOP = (Op.START, {}), (Op.STOP, {})


class History:
    """Acts as the projection would hold them, and the containers they lead to."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.containers: dict[str, ContainerState | None] = {}
        self.seqs = itertools.count(1)

    def act(self, name, *steps, act=None, cause=Cause.ACT, origin=None, undoes=None, principal="me", **more):
        """Perform ``(container, op, args)`` steps as one committed act, by the rules of the model."""
        txn = f"{len(self.acts):08d}-{name}"
        begin = next(self.seqs)
        done = tuple(self._step(txn, *step) for step in steps)
        made = Act(
            txn=txn, act=act or name, summary=name, cause=cause, principal=principal,
            plan=tuple(Step(subject=s.subject, operation=s.operation, args=s.args) for s in done), seq=begin,
            time=begin, origin=origin, undoes=undoes, status=ActStatus.COMMITTED, steps=done,
            end=next(self.seqs), **more)
        self.acts.append(made)
        if undoes is not None:
            below = [a.txn for a in self.acts if a.txn in undoes.split(",") and a.undoes]
            live_again = {t for a in self.acts if a.txn in below for t in a.undoes.split(",")}
            self.acts = [
                msgspec.structs.replace(a, undone_by=txn) if a.txn in undoes.split(",")
                else msgspec.structs.replace(a, undone_by=None) if a.txn in live_again else a
                for a in self.acts]
        return txn

    def _step(self, txn, container, op, args):
        before = self.containers.get(container)
        if op is Op.START:
            args = {"generation": before.next_generation}
        if op is Op.CREATE:
            args = {"container": msgspec.to_builtins(ContainerState(
                id=container, name=args.get("name", container), image="sha256:img", image_name="tiny",
                spec=ContainerSpec(), state=State.CREATED))}
        facts = Facts(time=1, txn=txn, boot_id="b", pid=1, exit_code=0, ended=1)
        result = advance(Op(op), before, args, facts)
        self.containers[container] = result.container
        return StepDone(
            subject=f"container/{container}", operation=str(op), args=args, before=digest_of(before),
            after=result.after, inverse=result.inverse, seq=next(self.seqs))

    def run(self, container="a", name=None, **more):
        create = (container, Op.CREATE, {"name": name or container})
        return self.act("run", create, (container, *START), **more)

    def exit(self, origin, container="a"):
        return self.act("exit", (container, Op.EXIT, {}), cause=Cause.EXIT, origin=origin, principal="kernel")

    def policy(self, origin, op, args=None, container="a"):
        return self.act("policy", (container, op, args or {}), cause=Cause.POLICY, origin=origin,
                        principal="policy")

    def names(self):
        there = {i: c for i, c in self.containers.items() if c is not None}
        return {c.name: i for i, c in there.items() if c.state is not State.REMOVED}

    def plan(self, *txns, cascade=False):
        chosen = [a for a in reversed(self.acts) if a.txn in txns]
        return plan_undo(self.acts, chosen, self.names(), cascade=cascade)

    def undo(self, *txns, cascade=False, act="undo"):
        """Plan, perform the planned steps, and look whether every target is met."""
        plan = self.plan(*txns, cascade=cascade)
        txn = self.act(act, *[(s.subject[10:], Op(s.operation), s.args) for s in plan.steps], act=act,
                       undoes=plan.undoes)
        for subject, wanted in plan.targets.items():
            assert digest_of(self.containers.get(subject[10:])) == wanted
        return txn
