"""No process without a verdict: random verdicts, revocations and steps, in the engine and the proved model.

The container actors, the gatekeeper, the journal with its conditions are the production ones; the world under
them is fake, and writes down what it was asked to make. Each trace has containers of its own in one engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakeworld import FakeWorld
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from proof_oracle import ask
from whole_engine import import_image, planted

from vordr.actors.messages import Perform
from vordr.actors.world import Launched
from vordr.model.errors import VordrError
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.records import ActStatus, Cause, Draft, Kind, Step, act_key
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState
from vordr.model.steps import needs_verdict
from vordr.model.verdict import Verdict

IMAGES, IDS, ME = (7, 8), (1, 2), "uid:0"
OPS = (Op.CREATE, Op.START, Op.STOP, Op.PAUSE, Op.RESUME, Op.REVIVE, Op.REMOVE, Op.RESTORE, Op.UNCREATE,
       Op.RECREATE)


class Noting(FakeWorld):
    """Writes down for which container, and on which image, it made a process or what it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[tuple[str, str]] = set()

    def create(self, container: ContainerState) -> None:
        super().create(container)
        self.made.add((container.id, container.image))

    def launch(
        self, container: ContainerState, generations: tuple[int, ...], verdict: Verdict, *, attach: bool
    ) -> Launched:
        self.made.add((container.id, container.image))
        return super().launch(container, generations, verdict, attach=attach)


class Gate:
    """The engine that all traces run on: ``manifests`` of the images by the model's number."""

    def __init__(self, folder: Path) -> None:
        self.world = Noting()
        self.whole = planted(folder / "root", self.world)
        self.manifests = {
            image: import_image(self.whole, f"docker.io/library/image:{image}", b"%d" % image)
            for image in IMAGES}
        self.traces = count(1)
        self.policies = count(100)

    @property
    def epoch(self) -> int:
        return self.whole.host.gatekeeper.trusted().epoch

    def revoke(self) -> None:
        """As somebody with root does beside the engine: the gatekeeper finds another policy."""
        (self.whole.paths.trust / "policy.toml").write_text(f"verdict_ttl = {next(self.policies)}\n")
        self.whole.host.gatekeeper.trusted()


class Trace:
    """One transaction that holds containers of its own, for the steps of one trace."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.number = gate, next(gate.traces)
        self.journal = gate.whole.journal
        self.began = gate.epoch
        self.verdicts: list[tuple[int, Verdict]] = []
        self.txn = gate.whole.host.transactions.new_txn()
        holds = [f"container/{self.ident(n)}" for n in IDS]
        self._append(Kind.BEGIN, {"summary": "a trace", "plan": [], "holds": holds})

    def _append(self, kind: Kind, args: dict[str, Any]) -> None:
        self.journal.append((Draft(
            txn=self.txn, kind=kind, cause=Cause.ACT, subject=f"container/{self.ident(1)}", operation="trace",
            args=args, principal=ME),))

    def end(self) -> None:
        self._append(Kind.COMMIT, {})
        assert self.journal.get(act_key(self.txn))["status"] == ActStatus.COMMITTED

    def ident(self, number: int) -> str:
        return f"{self.number:08x}{number:056x}"

    def container(self, number: int) -> ContainerState | None:
        value = self.journal.get(f"containers/{self.ident(number)}")
        return None if value is None else msgspec.convert(value, ContainerState)

    def made(self, number: int, image: int) -> bool:
        return (self.ident(number), self.gate.manifests[image]) in self.gate.world.made

    def chosen_verdict(self, number: int, image: int, chance: int) -> tuple[int, Verdict] | None:
        """Mostly the newest on the container's image, which a revocation may have overtaken; else any."""
        container = self.container(number)
        manifest = self.gate.manifests[image] if container is None else container.image
        fitting = [one for one in self.verdicts if one[1].manifest == manifest]
        among = fitting[-1:] if chance > 4 else self.verdicts
        return among[chance % len(among)] if among and chance else None

    # -- deeds: what the engine answers ---------------------------------------------------------------

    def judge(self, image: int) -> str:
        verdict = self.gate.whole.host.transactions.judge(self.gate.manifests[image])
        self.verdicts.append((image, verdict))
        return "done"

    def revoke(self) -> str:
        self.gate.revoke()
        return "done"

    def intend(self, op: Op, number: int, args: dict[str, Any], verdict: Verdict | None) -> str:
        step = Step(subject=f"container/{self.ident(number)}", operation=str(op), args=args)
        request = Perform(self.txn, step, Cause.ACT, ME, verdict if needs_verdict(step) else None)
        try:
            self.gate.whole.host.containers.perform(request, 20)
        except VordrError:
            return "refused"
        return "done"

    # -- deeds in the words of the oracle ---------------------------------------------------------------

    def asked(
        self, op: Op, number: int, args: dict[str, Any], verdict: tuple[int, Verdict] | None, image: int
    ) -> str:
        container = f"{image}/{number}/././created/." if "container" in args else "-"
        vouched = "-" if verdict is None else f"{verdict[0]},{verdict[1].epoch - self.began}"
        generation = args.get("generation", "-")
        return f"intend {op} {number} {args['to']} {generation} - {container} {vouched}"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(tmp_path_factory.mktemp("gate"))
    try:
        yield made
    finally:
        made.whole.close()


Chance = tuple[int, int, int, int, int]
CHANCES = st.lists(st.tuples(
    st.integers(0, 9), st.sampled_from(IDS), st.sampled_from(IMAGES), st.integers(0, 59), st.integers(0, 9)),
    min_size=5, max_size=25)
"""Which deed; on which container; of which image; which step; by which verdict."""


def chosen_step(trace: Trace, number: int, image: int, chance: int) -> tuple[Op, dict[str, Any]]:
    """Any step, four times of five one that the container's state allows; ``image`` is of what it brings."""
    container = trace.container(number)
    state = State.IMAGE_ONLY if container is None else container.state
    place = trace.gate.world.places.get(trace.ident(number))
    possible = [op for op in OPS if op is not Op.RECREATE or (place is not None and place.trashed)]
    legal = [op for op in possible if state in ROWS[op].sources]
    among = possible if chance % 5 == 0 else legal
    op = among[chance // 5 % len(among)]
    targets = ROWS[op].targets
    args: dict[str, Any] = {"to": str(targets[chance % len(targets)]), "signal": 9}
    if op in (Op.CREATE, Op.RECREATE):
        args["container"] = msgspec.to_builtins(ContainerState(
            id=trace.ident(number), name=f"n{trace.number}-{number}", image=trace.gate.manifests[image],
            image_name="i", spec=ContainerSpec(), state=State.CREATED))
    if op is Op.START and container is not None:
        args["generation"] = container.next_generation
    return op, args


# Not shrunk: a trace is a second of work, and says which deed differs.
@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANCES)
def test_every_deed_at_the_gate_ends_as_in_the_model(gate: Gate, chances: list[Chance]) -> None:
    trace, deeds, ours = Trace(gate), list[str](), list[str]()
    for deed, number, image, which, by in chances:
        if deed < 2:
            deeds.append(f"judge {image}")
            ours.append(trace.judge(image))
        elif deed < 3:
            deeds.append("revoke")
            ours.append(trace.revoke())
        elif deed < 4:
            deeds.append(f"effect {number} {image}")
            ours.append("done" if trace.made(number, image) else "refused")
        else:
            op, args = chosen_step(trace, number, image, which)
            verdict = trace.chosen_verdict(number, image, by)
            deeds.append(trace.asked(op, number, args, verdict, image))
            ours.append(trace.intend(op, number, args, None if verdict is None else verdict[1]))
    trace.end()
    proved = ask("gate " + "|".join(deeds)).split("|")
    for at, (asked, here, there) in enumerate(zip(deeds, ours, proved, strict=True)):
        assert here == there, f"deed {at}, {asked}: the engine says {here}, after {deeds[:at]}"
