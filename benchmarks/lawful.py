"""Histories such as acts make, without the acts: drafts for a journal of any length, which the model allows.

One cycle is a ``run --rm`` as the engine journals it: the run with its verdict, the exit, the removal: 14
records in three transactions. Every digest is the real one, so that ``audit --model`` finds nothing to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from vordr.formats import canonical
from vordr.formats.uuid7 import uuid7
from vordr.journal.batch import Group
from vordr.model.lifecycle import Op, State
from vordr.model.records import Cause, Draft, Kind
from vordr.model.spec import ContainerSpec, IdRange
from vordr.model.state import ContainerState
from vordr.model.steps import Advance, Facts, advance, claims
from vordr.model.steps import Step as ModelStep

CYCLE = 14
"""Records of one cycle."""

MANIFEST = "sha256:" + hashlib.sha256(b"image").hexdigest()
_BEGUN = 1_700_000_000_000_000
_SECOND = 1_000_000


def cycles(first: int, count: int, *, epoch: int = 0) -> Iterator[Group]:
    """The drafts of ``count`` cycles from number ``first`` on, one group for each; ``epoch`` is the trust
    epoch of their verdicts."""
    mould = _Mould(epoch)
    for number in range(first, first + count):
        yield Group(mould.cast(number))


def standing(first: int, count: int, *, epoch: int = 0) -> Iterator[Group]:
    """Containers that were made and are still there, never started."""
    for number in range(first, first + count):
        made = msgspec.to_builtins(_container(number, auto_remove=False))
        act = _Act(number, 0, "create", Cause.ACT, "uid:0")
        yield Group(tuple(act.run([(Op.CREATE, {"container": made})], None, epoch=epoch)[0]))


def clock(number: int) -> int:
    """The time (µs) of cycle ``number``."""
    return _BEGUN + number * _SECOND


def _container(number: int, *, auto_remove: bool) -> ContainerState:
    spec = ContainerSpec(command=("/bin/serve",), auto_remove=auto_remove)
    return ContainerState(
        id=hashlib.sha256(b"container %d" % number).hexdigest(), name=f"web{number}", image=MANIFEST,
        image_name="demo:latest", spec=spec, state=State.CREATED, arguments=("/bin/serve",),
        ids=IdRange(100_000 + 65_536 * (number % 60_000)))


def _cycle(number: int, epoch: int) -> Iterator[Draft]:
    made = _container(number, auto_remove=True)
    run = _Act(number, 0, "run", Cause.ACT, "uid:0")
    drafts, now = run.run(
        [(Op.CREATE, {"container": msgspec.to_builtins(made)}), (Op.START, {"generation": 1})], None,
        epoch=epoch)
    yield from drafts
    end = _Act(number, 1, "exit", Cause.EXIT, "kernel", run.txn)
    drafts, now = end.run([(Op.EXIT, {})], now, intent=False)
    yield from drafts
    removal = _Act(number, 2, "remove", Cause.POLICY, "policy", run.txn)
    yield from removal.run([(Op.REMOVE, {})], now)[0]


class _Act:
    """One transaction of cycle ``number``; the drafts that it journals."""

    def __init__(
        self, number: int, part: int, act: str, cause: Cause, principal: str, origin: str | None = None
    ) -> None:
        self.number = number
        self.act = act
        self.origin = origin
        entropy = hashlib.sha256(b"%d %d" % (number, part)).digest()[:10]
        self.txn = uuid7(clock(number) // 1000 + part, entropy)
        self.common: dict[str, Any] = {"txn": self.txn, "cause": cause, "principal": principal}
        self.facts = Facts(time=clock(number), txn=self.txn, boot_id="boot", pid=1000, exit_code=0)

    def run(
        self, steps: list[tuple[Op, dict[str, Any]]], before: ContainerState | None, *,
        epoch: int | None = None, intent: bool = True,
    ) -> tuple[list[Draft], ContainerState | None]:
        subject = f"container/{(before or _container(self.number, auto_remove=True)).id}"
        plan = [ModelStep(subject=subject, operation=str(op), args=args) for op, args in steps]
        drafts = [] if epoch is None else [_verdict(self.common, epoch)]
        drafts.append(Draft(
            kind=Kind.BEGIN, subject=subject, operation=self.act, args=self._begin(plan, before),
            **self.common))
        for op, args in steps:
            done = advance(op, before, args, self.facts)
            if intent:
                drafts.append(self._draft(Kind.INTENT, subject, op, {"step": args}, before, done, after=None))
            told = {"step": args, "writes": done.writes}
            drafts.append(self._draft(Kind.DONE, subject, op, told, before, done, after=done.after))
            before = done.container
        drafts.append(Draft(kind=Kind.COMMIT, subject=subject, operation=self.act, **self.common))
        return drafts, before

    def _begin(self, plan: list[ModelStep], before: ContainerState | None) -> dict[str, Any]:
        args: dict[str, Any] = {
            "summary": f"{self.act} web{self.number}", "plan": [msgspec.to_builtins(step) for step in plan]}
        if self.origin is not None:
            args["origin"] = self.origin
        held = dict.fromkeys(key for step in plan for key in claims(step, before))
        return {**args, "holds": [plan[0].subject, *held]}

    def _draft(
        self, kind: Kind, subject: str, op: Op, args: dict[str, Any], before: ContainerState | None,
        done: Advance, *, after: str | None,
    ) -> Draft:
        return Draft(
            kind=kind, subject=subject, operation=str(op), args=args, after=after, inverse=done.inverse,
            before=None if before is None else before.digest(), **self.common)


def _verdict(common: dict[str, Any], epoch: int) -> Draft:
    """As large as a verdict of the gatekeeper on an adopted image of one layer."""
    key, bundle = (f"sha256:{hashlib.sha256(seed).hexdigest()}" for seed in (b"key", b"bundle"))
    names = ("digest", "bundle", "parse", "subject", "signatures", "logs", "threshold", "record")
    evidence = [
        {"step": step, "name": name, "text": f"{name} {bundle}", "keys": [key] if step in (5, 6, 7) else [],
         "logs": ["log-a", "log-b", "log-c"] if step == 6 else []}
        for step, name in enumerate(names, 1)]
    args = {
        "manifest": MANIFEST, "config": bundle, "layers": [[bundle, bundle]], "bundle": bundle,
        "trust": bundle, "policy": bundle, "epoch": epoch, "origin": "adopted",
        "attested_by": "adopted by Ada", "keys": [key], "logs": ["log-a", "log-b", "log-c"],
        "evidence": evidence, "decided": _BEGUN - _SECOND,
        "expires": _BEGUN + 3600 * _SECOND}
    return Draft(kind=Kind.VERDICT, subject=f"image/{MANIFEST}", operation="verdict", args=args, **common)


class _Mould:
    """One cycle made with care, of which others are cast by exchanging what is its own: ids, names, times,
    and the digests over them. Twenty times as fast as making each."""

    def __init__(self, epoch: int) -> None:
        drafts = list(_cycle(0, epoch))
        self._text = msgspec.json.encode(drafts).decode()
        self._own = self._words(0)
        self._states = {}
        for draft in drafts:
            for value in draft.args.get("writes", {}).values():
                if isinstance(value, dict) and "spec" in value:
                    state = msgspec.convert(value, ContainerState)
                    self._states[state.digest()] = canonical.dumps(state.declared()).decode()

    @staticmethod
    def _words(number: int) -> tuple[str, ...]:
        container = _container(number, auto_remove=True)
        ids, at = container.ids, str(clock(number))
        assert ids is not None
        txns = [_Act(number, part, "", Cause.ACT, "").txn for part in range(3)]
        return (container.id, f"web{number}", *txns, at, f'"first":{ids.first}', f"ranges/{ids.first}")

    def cast(self, number: int) -> tuple[Draft, ...]:
        exchange = [*zip(self._own, self._words(number), strict=True)]
        for digest, state in self._states.items():
            changed = _exchanged(state, exchange).encode()
            exchange.append((digest, "sha256:" + hashlib.sha256(changed).hexdigest()))
        return _DRAFTS.decode(_exchanged(self._text, exchange))


_DRAFTS = msgspec.json.Decoder(tuple[Draft, ...])


def _exchanged(text: str, words: list[tuple[str, str]]) -> str:
    for old, new in words:
        text = text.replace(old, new)
    return text
