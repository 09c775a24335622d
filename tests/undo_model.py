"""What a person may believe about undo, on plain values: the reference that the engine is compared with.

Everything that exists is a *thing*: a container (Box) or an image. An act is a list of changes, each a thing
before and after. To take acts back is to give every thing they changed the value of before the first of them:
no inverses, no plans, no journal. The rest says which acts go together, and which stand in the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

CREATED, RUNNING, PAUSED, STOPPED, REMOVED = "created", "running", "paused", "stopped", "removed"
ALIVE = (RUNNING, PAUSED)
LEGAL = {
    **dict.fromkeys((CREATED, STOPPED), ("start", "restart", "remove", "remove-f")),
    RUNNING: ("pause", "stop", "kill", "restart", "remove-f", "exec", "signal"),
    PAUSED: ("resume", "stop", "kill", "restart", "remove-f", "signal"),
}


@dataclass(frozen=True)
class Box:
    """A container. ``starter`` is the act that began its process: what becomes of that goes with the act."""

    name: str
    image: str
    state: str
    generations: tuple[int, ...] = ()
    starter: str | None = None
    rm: bool = False
    restarts: str = "no"


@dataclass(frozen=True)
class Image:
    names: tuple[str, ...]
    bundle: str | None  # who vouches for it, if anybody does


Thing = Box | Image | None
Change = tuple[str, Thing, Thing]


def stands(thing: Thing) -> bool:
    return isinstance(thing, Box) and thing.state != REMOVED


@dataclass(eq=False)
class Deed:
    """One act. ``origin``: of which it is a consequence; ``undoes``: which it took back, as undo or redo."""
    txn: str
    who: str
    what: str
    changes: list[Change]
    origin: str | None = None
    undoes: frozenset[str] = frozenset()
    undone_by: str | None = None

    @property
    def live(self) -> bool:
        return self.undone_by is None and bool(self.changes)

    @property
    def things(self) -> set[str]:
        return {thing for thing, _, _ in self.changes}

    @property
    def images(self) -> set[str]:  # of which it made containers that had not been
        return {after.image for _, before, after in self.changes if before is None and isinstance(after, Box)}


@dataclass
class Refused(Exception):
    why: str  # nothing, blocked or denied
    by: frozenset[str] = frozenset()  # what is in the way


@dataclass
class Model:
    things: dict[str, Thing] = field(default_factory=dict)
    trash: dict[str, Box] = field(default_factory=dict)
    lay: dict[str, str] = field(default_factory=dict)  # under which name, before it came
    deeds: list[Deed] = field(default_factory=list)

    def boxes(self) -> dict[str, Box]:
        return {ident: thing for ident, thing in self.things.items() if isinstance(thing, Box)}

    def holders(self) -> dict[str, str]:
        return {box.name: ident for ident, box in self.boxes().items() if stands(box)}

    def in_trash(self) -> dict[str, Box]:
        return {**self.trash, **{ident: box for ident, box in self.boxes().items() if not stands(box)}}

    def happened(self, deed: Deed) -> None:
        for thing, before, after in deed.changes:
            assert self.things.get(thing) == before, f"{deed.what} began from another {thing}"
            self.things[thing] = after
            if after is None and isinstance(before, Box):
                self.trash[thing] = replace(before, name=self.lay[thing])
            elif before is None and isinstance(after, Box):
                self.lay[thing] = self.trash.pop(thing, after).name
        self.deeds.append(deed)

    def changes(self, what: str, ident: str, txn: str, generation: int) -> list[Change]:
        """What an act on a standing container changes, step by step; a start opens ``generation``."""
        box = self.boxes()[ident]
        states = {"pause": [PAUSED], "resume": [RUNNING], "start": [RUNNING], "exec": [], "signal": [],
                  "stop": [STOPPED], "kill": [STOPPED], "exit": [STOPPED], "restart": [STOPPED, RUNNING],
                  "remove": [REMOVED], "remove-f": [STOPPED, REMOVED], "revive": [RUNNING]}[what]
        if what in ("stop", "kill") and box.rm:
            states = [STOPPED, REMOVED]
        if box.state not in ALIVE and len(states) == 2:
            states = states[1:]
        found: list[Change] = []
        for state in states:
            after = replace(box, state=state)
            if what in ("start", "restart") and state == RUNNING:
                after = replace(after, generations=(*box.generations, generation), starter=txn)
            found.append((ident, box, after))
            box = after
        return found

    def undoable(self) -> list[Deed]:
        return [deed for deed in self.deeds if deed.live and not deed.undoes and deed.origin is None]

    def newest(self, who: str | None, thing: str | None, steps: int) -> list[Deed]:
        """The newest ``steps`` acts that can be undone: of somebody, or on something."""
        mine = [deed for deed in reversed(self.undoable()) if (thing in deed.things or deed.who == who)]
        if len(mine) < steps:
            raise Refused("nothing")
        return mine[:steps]

    def standing_undo(self, who: str) -> list[Deed]:
        if not (mine := [one for one in self.deeds if one.live and (one.what, one.who) == ("undo", who)]):
            raise Refused("nothing")
        return mine[-1:]

    def along(self, deeds: Sequence[Deed]) -> list[Deed]:
        """``deeds`` with all that only followed from them."""
        found, reached = list(deeds), {deed.txn for deed in deeds}
        for deed in self.deeds:
            if deed.live and deed.origin in reached and deed.txn not in reached:
                reached.add(deed.txn)
                found.append(deed)
        return found

    def select(self, asked: Sequence[Deed], *, cascade: bool) -> list[Deed]:
        """All that goes back with ``asked``, newest first. Raises Refused with the acts in the way."""
        chosen = self.along(asked)
        while blockers := self.in_the_way(chosen):
            names = frozenset(one.txn for one in blockers)
            # What became of a process that an undo had brought back only followed that undo.
            followed = [deed for deed in blockers if deed.origin is not None and deed.origin not in names
                        and any(one.undoes for one in chosen)]
            if not followed and not cascade:
                raise Refused("blocked", names)
            chosen += [deed for deed in self.along(followed or blockers) if deed not in chosen]
        return sorted(chosen, key=self.deeds.index, reverse=True)

    def in_the_way(self, chosen: Sequence[Deed]) -> list[Deed]:
        """Live acts that came later on the same thing, or made a container of an image that goes; and those
        on a container that has a name which must be given back. Undos are in the way of other undos alone."""
        since = {thing: self.deeds.index(deed) for deed in sorted(chosen, key=self.deeds.index, reverse=True)
                 for thing in deed.things}
        redoing = any(deed.undoes for deed in chosen)
        return [
            deed for at, deed in enumerate(self.deeds)
            if deed.live and deed not in chosen and (not deed.undoes or (redoing and deed.what == "undo"))
            and (any(since.get(thing, at) < at for thing in deed.things | deed.images)
                 or deed.things & self.named_instead(chosen))]

    def named_instead(self, chosen: Sequence[Deed]) -> set[str]:
        """Who holds a name that another is to have again, and keeps it; of two, the one that lost it last."""
        newest = sorted(chosen, key=self.deeds.index, reverse=True)
        changes = [change for deed in newest for change in reversed(deed.changes)]
        ends = {**self.things, **{thing: was for thing, was, _ in changes}}
        named = {thing: box.name for thing, box in ends.items() if stands(box)}
        lost = {thing: at for at, (thing, was, now) in enumerate(changes) if stands(was) > stands(now)}
        wanted = [(named[thing], thing) for thing in sorted(lost, key=lost.__getitem__) if thing in named]
        keep = {name: thing for name, thing in self.holders().items() if named.get(thing) == name}
        first = {**dict(reversed(wanted)), **keep}
        return {first[name] for name, thing in wanted if first[name] != thing}

    def taken_back(self, chosen: Sequence[Deed]) -> list[Change]:
        """What taking back ``chosen`` (newest first) changes: every change again, the other way round."""
        changes = [(one, now, was) for deed in chosen for one, was, now in reversed(deed.changes)]
        for thing in dict.fromkeys(one for one, was, to in changes if isinstance(was, Box) and to is None):
            mine = [change for change in changes if change[0] == thing]
            first = next(at for at, (_, _, to) in enumerate([(thing, None, self.things[thing]), *mine])
                         if not stands(to))  # in the trash, say: it goes from there
            mine = [*mine[:first], (thing, mine[first][1], None)] if first < len(mine) else mine
            changes = [change for change in changes if change[0] != thing] + mine
        return changes

    def undid(self, txn: str, who: str, what: str, chosen: Sequence[Deed]) -> None:
        """``chosen`` have been taken back by ``txn``. What an undo among them took back stands again."""
        self.happened(Deed(txn, who, what, self.taken_back(chosen), undoes=frozenset(d.txn for d in chosen)))
        for deed in chosen:
            deed.undone_by = txn
            for below in self.deeds:
                below.undone_by = None if below.txn in deed.undoes else below.undone_by
