"""The algebra of undo: any acts of several people, ends, restarts and crashes, on an engine and on a model.

The engine is the whole of it on a fake world (undo_machine); the model is a few pages of plain values
(undo_model). After every step all that is declared is compared, with its digests. make test plays ten
thousand steps, the same every time, make soak a million.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from undo_machine import CALLERS, IMAGES, NAMES, OPTIONS, Sides
from undo_model import ALIVE, LEGAL, STOPPED, Deed, Refused, stands

from vordr.model.errors import VordrError
from vordr.model.operations import REGISTRY

SOAK = bool(os.environ.get("VORDR_SOAK"))
STEPS = 50
EXAMPLES = int(os.environ.get("VORDR_EXAMPLES", 20_000 if SOAK else 200))
"""Sequences: the same ones at every run of make test, others each time by VORDR_EXAMPLES or make soak."""

pytestmark = pytest.mark.timeout(48 * 3600 if SOAK else 900)
few = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck),
    derandomize="VORDR_EXAMPLES" not in os.environ and not SOAK)

PLAYED = {
    "create", "run", "start", "stop", "restart", "kill", "pause", "resume", "remove", "exec", "remove_image",
    "adopt", "trust_init", "trust_add", "trust_revoke", "undo", "redo", "trash_restore", "wake"}
LOOKS = {
    "list": {"all": True}, "images": {}, "history": {}, "trash": {}, "trust_show": {}, "version": {},
    "verdicts": {}, "verify": {"image": "one"}, "policy_check": {"image": "one"},
    "inspect": {"container": None}, "logs": {"container": None}, "wait": {"container": None}, "explain": {},
    "attach": {"container": None},
    "resize": {"container": None, "rows": 24, "columns": 80}}
NOT_PLAYED = {
    "pull": "needs a registry: tests/integration/test_images_transport.py",
    "gather": "needs a registry or a layout with attestations; what it changes, it changes as adopt does",
    "pack": "makes a file of the caller's from an image outside the store, and has no inverse",
    "audit": "reads the whole history, which every sequence does at its end",
    "trust_update": "needs a document that others signed; to undo it is what trust_add is, which is played",
    "trust_logs": "asks others over the network, and changes nothing that is declared",
    "trash_empty": "has no inverse, and what it leaves cannot be undone: tests/unit/test_trash_empty.py",
    "doctor": "looks at the host, not at what is declared",
    "admit": "records a verdict or a refusal, and changes nothing: tests/unit/test_admit.py",
}

ILLEGAL = ("start", "stop", "pause", "resume", "remove", "kill", "exec", "restart", "wake")

who = st.sampled_from(list(CALLERS))
names = st.sampled_from(NAMES)
picks = st.integers(0, 9999)
deaths = st.integers(0, 400).map(lambda number: number if number < 12 else None)
"""After how many durable steps the engine dies, mostly never."""


def test_every_operation_of_the_registry_is_played_or_it_is_said_why_not() -> None:
    assert PLAYED | LOOKS.keys() | NOT_PLAYED.keys() == REGISTRY.keys()
    assert {name for name in PLAYED if not REGISTRY[name].mutating} == set()
    assert {name for name in LOOKS if REGISTRY[name].mutating} == set()


class UndoAlgebra(RuleBasedStateMachine):
    """Rules are drawn alike, so what leads on stands here several times, and what does not shares a rule.

    No rule depends on what is there (that would draw differently when a crash came a moment later): where
    there is nothing to do it to, something else is done.
    """

    @initialize(first=st.lists(st.tuples(who, names, picks), min_size=2, max_size=6))
    def plant(self, first):
        self.sides = Sides()
        self.model = self.sides.model
        for one in first:
            self.work(*one, None)

    def teardown(self) -> None:
        if hasattr(self, "sides"):
            self.sides.close()

    @invariant()
    def both_sides_agree(self) -> None:
        if hasattr(self, "sides"):
            self.sides.agree()

    @staticmethod
    def picked(pick: int, things: list[str]) -> str | None:
        return things[pick % len(things)] if things else None

    def standing(self, pick: int, *states: str) -> str | None:
        """A container, in one of ``states`` if any are given."""
        return self.picked(pick, [ident for ident, box in self.model.boxes().items()
                                  if stands(box) and (not states or box.state in states)])

    # -- acts --------------------------------------------------------------------------------------

    def work(self, who, name, pick, dies):
        """A legal act on whoever has the name; nobody: then a container is made."""
        ident = self.model.holders().get(name)
        if ident is None:
            operation = ("run", "run", "create")[pick % 3]
            image = "two" if pick % 11 == 0 else "one"
            self.sides.make(who, operation, name, image, pick % len(OPTIONS), dies)
        else:
            legal = LEGAL[self.model.boxes()[ident].state]
            self.sides.act(who, legal[pick % len(legal)], ident, dies)

    @rule(who=who, name=names, pick=picks, dies=deaths)
    def work_1(self, who, name, pick, dies):
        self.work(who, name, pick, dies)

    @rule(who=who, name=names, pick=picks, dies=deaths)
    def work_2(self, who, name, pick, dies):
        self.work(who, name, pick, dies)

    @rule(who=who, name=names, pick=picks, dies=deaths)
    def work_3(self, who, name, pick, dies):
        self.work(who, name, pick, dies)

    @rule(who=who, name=names, pick=picks, dies=deaths)
    def work_4(self, who, name, pick, dies):
        self.work(who, name, pick, dies)

    @rule(who=who, name=names, pick=picks, code=st.integers(0, 2))
    def process_ends(self, who, name, pick, code):
        ident = self.standing(pick, *ALIVE)
        if ident is None:
            self.work(who, name, pick, None)
        else:
            self.sides.process_ends(ident, code)

    @rule(who=who, pick=picks, name=st.none() | names, dies=deaths)
    def restore(self, who, pick, name, dies):
        ident = self.picked(pick, list(self.model.in_trash()))
        if ident is None:
            self.work(who, name or NAMES[0], pick, dies)
        else:
            self.sides.restore(who, ident, name, dies)

    @rule(who=who, image=st.sampled_from(IMAGES), pick=picks, dies=deaths)
    def act_on_an_image(self, who, image, pick, dies):
        match pick % 8:
            case 0:
                self.sides.adopt(who, image, dies)
            case 1 | 2:
                self.sides.remove_image(who, image, dies)
            case 3 | 4 | 5:
                self.sides.bring_in(image)
            case 6:
                self.sides.trust(who, dies)
            case _:
                self.sides.refuse(who, "trust_init", owner="Eve")

    @rule(who=who, name=names, pick=picks, what=st.sampled_from(
        ["illegal", "look", "time", "close", "drop", "reboot"]), ends=st.sets(names, max_size=2))
    def aside(self, who, name, pick, what, ends):
        match what:
            case "illegal":
                self.illegal_act(who, name, ILLEGAL[pick % len(ILLEGAL)])
            case "look":
                self.look(who, name, list(LOOKS)[pick % len(LOOKS)])
            case "time":
                self.sides.time_passes()
            case _ if pick % 4:
                self.work(who, name, pick, None)
            case _:
                alive = {ident for name, ident in self.model.holders().items()
                         if name in ends and self.model.boxes()[ident].state in ALIVE}
                self.sides.reopen(what, sorted(alive))

    def illegal_act(self, who, name, operation):
        """What the state does not allow is refused, and nothing is journalled of it."""
        ident = self.model.holders().get(name)
        state = None if ident is None else self.model.boxes()[ident].state
        if operation not in LEGAL.get(state, ()):
            more = {"command": ["true"]} if operation == "exec" else {}
            self.sides.refuse(who, operation, container=name, **more)

    def look(self, who, name, operation):
        """Looking journals nothing, whatever it finds."""
        args = dict(LOOKS[operation])
        if "container" in args:
            args["container"] = name
            ident = self.model.holders().get(name)
            if operation == "wait" and ident is not None and self.model.boxes()[ident].state in ALIVE:
                return
        with contextlib.suppress(VordrError):
            self.sides.call(who, operation, **args)
        self.sides.nothing_happened()

    # -- undo and redo -----------------------------------------------------------------------------

    def undo_newest(self, who, steps, cascade, dies):
        """As many as there are at most; where there is none it is refused."""
        steps = min(steps, max(1, sum(deed.who == who for deed in self.model.undoable())))
        self.sides.undo(who, self.asked(lambda: self.model.newest(who, None, steps)), dies,
                        cascade=cascade, steps=steps)

    @rule(who=who, steps=st.integers(1, 3), cascade=st.booleans(), dies=deaths)
    def undo_1(self, who, steps, cascade, dies):
        self.undo_newest(who, steps, cascade, dies)

    @rule(who=who, steps=st.integers(1, 8), cascade=st.booleans(), dies=deaths)
    def undo_2(self, who, steps, cascade, dies):
        self.undo_newest(who, steps, cascade, dies)

    @rule(who=who, pick=picks, cascade=st.booleans(), dies=deaths)
    def undo_one(self, who, pick, cascade, dies):
        """Any act, whoever did it: also what followed by itself, what is undone already, what is an undo."""
        deed = self.model.deeds[-1 - pick % len(self.model.deeds)]
        legal = deed.live and not deed.undoes
        self.sides.undo(who, [deed] if legal else Refused("nothing"), dies, cascade=cascade, txn=deed.txn)

    @rule(who=who, pick=picks, steps=st.integers(1, 4), cascade=st.booleans(), dies=deaths)
    def undo_on_a_container(self, who, pick, steps, cascade, dies):
        ident = self.picked(pick, [*self.model.boxes(), *self.model.trash])
        if ident is None:
            self.work(who, NAMES[0], pick, dies)
            return
        steps = min(steps, max(1, sum(ident in deed.things for deed in self.model.undoable())))
        self.sides.undo(
            who, self.asked(lambda: self.model.newest(None, ident, steps)), dies, cascade=cascade,
            container=ident.partition("/")[2], steps=steps)

    @rule(who=who, pick=st.integers(0, 5), cascade=st.booleans(), dies=deaths)
    def undo_all_since(self, who, pick, cascade, dies):
        deed = self.model.deeds[-1 - pick % len(self.model.deeds)]
        seq = self.sides.begins[deed.txn]
        chosen = [one for one in self.model.undoable() if self.sides.begins[one.txn] > seq]
        self.sides.undo(who, chosen or Refused("nothing"), dies, cascade=cascade, to=seq)

    @rule(who=who, dies=deaths)
    def redo_own(self, who, dies):
        self.sides.redo(who, self.asked(lambda: self.model.standing_undo(who)), dies)

    @rule(who=who, pick=picks, dies=deaths)
    def redo_one(self, who, pick, dies):
        """Any undo, or, where there is none, any act."""
        undos = [deed for deed in self.model.deeds if deed.undoes] or self.model.deeds
        deed = undos[-1 - pick % len(undos)]
        legal = deed.live and deed.what == "undo"
        self.sides.redo(who, [deed] if legal else Refused("nothing"), dies, txn=deed.txn)

    @staticmethod
    def asked(choose) -> list[Deed] | Refused:
        try:
            return choose()
        except Refused as refused:
            return refused


UndoAlgebra.TestCase.settings = few
TestUndoAlgebra = UndoAlgebra.TestCase


# -- claims of their own, on any legal acts --------------------------------------------------------------


def played(sides: Sides, acts: list[tuple[str, int]]) -> None:
    """Legal acts of one person, one for each pair of a name and a choice."""
    for name, pick in acts:
        ident = sides.model.holders().get(name)
        if ident is None:
            sides.make("uid:0", ("run", "create")[pick % 2], name, "one", 0, None)
        else:
            legal = [op for op in LEGAL[sides.model.boxes()[ident].state] if op not in ("exec", "signal")]
            sides.act("uid:0", legal[pick % len(legal)], ident, None)


legal_acts = st.lists(st.tuples(st.sampled_from(NAMES[:2]), st.integers(0, 9)), min_size=1, max_size=8)


@settings(max_examples=5_000 if SOAK else 25, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=legal_acts)
def test_rolling_back_all_of_any_legal_acts_is_the_identity_and_redo_brings_them_back(acts) -> None:
    sides = Sides()
    try:
        start = sides.whole.declared()
        played(sides, acts)
        end = sides.whole.declared()
        for _ in range(2):
            sides.call("uid:0", "undo", steps=len(acts))
            sides.whole.check()
            assert sides.whole.declared() == start
            sides.call("uid:0", "redo")
            sides.whole.check()
            assert sides.whole.declared() == end
    finally:
        sides.close()


@settings(max_examples=3_000 if SOAK else 15, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=legal_acts)
def test_one_by_one_or_all_at_once_comes_to_the_same(acts) -> None:
    sides = Sides()
    try:
        seen = []
        for one in acts:
            seen.append(sides.whole.declared())
            played(sides, [one])
        for state in reversed(seen):
            sides.call("uid:0", "undo")
            assert sides.whole.declared() == state
    finally:
        sides.close()


def test_undo_of_a_restore_under_another_name_gives_the_old_name_back() -> None:
    sides = Sides()
    try:
        played(sides, [("a", 0), ("a", 4)])
        (ident, box), = sides.model.in_trash().items()
        before = sides.whole.declared()
        sides.restore("uid:0", ident, "c", None)
        assert sides.model.holders() == {"c": ident} and sides.model.boxes()[ident].state == STOPPED
        sides.call("uid:0", "undo")
        assert sides.whole.declared() == before
        assert [item.name for item in sides.call("uid:0", "trash").items] == [box.name]
        sides.call("uid:0", "redo")
        assert sides.whole.get("c").id == ident.partition("/")[2]
    finally:
        sides.close()


def test_a_name_that_an_undo_would_take_only_on_its_way_may_be_anothers() -> None:
    sides = Sides()
    try:
        played(sides, [("a", 1), ("a", 2)])
        (ident,) = sides.model.in_trash()
        sides.restore("uid:0", ident, "b", None)
        sides.act("uid:0", "remove", ident, None)
        sides.make("uid:0", "create", "b", "one", 0, None)
        (other,) = sides.model.holders().values()
        sides.undo("uid:0", sides.model.newest(None, ident, 3), None, cascade=False,
                   container=ident.partition("/")[2], steps=3)
        assert sides.model.holders() == {"a": ident, "b": other}
        sides.agree()
        sides.redo("uid:0", sides.model.standing_undo("uid:0"), None)
        assert sides.model.holders() == {"b": other}
        sides.agree()
    finally:
        sides.close()


@pytest.mark.parametrize("dies", [None, *range(12)])
def test_what_an_undo_took_away_lies_under_its_old_name_when_a_restore_under_another_is_taken_back(
    dies: int | None
) -> None:
    sides = Sides()
    try:
        played(sides, [("a", 1)])
        sides.undo("uid:0", sides.model.newest("uid:0", None, 1), None, cascade=False)
        (ident,) = sides.model.in_trash()
        sides.restore("uid:0", ident, "b", dies)
        sides.agree()
        if sides.model.holders():
            sides.undo("uid:0", sides.model.newest("uid:0", None, 1), None, cascade=False)
            sides.agree()
        assert sides.model.in_trash()[ident].name == "a"
        sides.restore("uid:0", ident, None, None)
        assert sides.model.holders() == {"a": ident}
    finally:
        sides.close()
