"""Histories that happened are allowed by the model; forged ones are not, and the record is named.

The forgeries are of somebody who can recompute every hash: only what the records tell can betray them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from whole_engine import planted

from vordr.engine.auditing import audited
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.auditor import OfflineJournal
from vordr.journal.batch import Group
from vordr.journal.lawful import check_history
from vordr.journal.store import JournalStore
from vordr.model import answers
from vordr.model.paths import Paths
from vordr.model.records import Draft, Inverse, Kind, Record
from vordr.model.state import ContainerState

replace = msgspec.structs.replace
KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
Story = list[Record]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """run, pause, resume, stop, undo, rm -f, undo, redo, restart of one container."""
    whole = planted(tmp_path_factory.mktemp("story") / "root")
    try:
        whole.run("web")
        for operation in ("pause", "resume", "stop"):
            whole.do(operation)
        whole.call("undo")
        whole.do("remove", force=True)
        whole.call("undo")
        whole.call("redo")
        whole.call("undo")
        whole.do("restart")
        whole.check()
        return [record for record, _ in whole.journal.records()]
    finally:
        whole.close()


def at(story: Story, kind: Kind, operation: str) -> int:
    """Index of the first record of this kind and operation."""
    return next(i for i, r in enumerate(story) if r.kind is kind and r.operation == operation)


def with_args(record: Record, **changed: Any) -> Record:
    return replace(record, args={**record.args, **changed})


def outcome(record: Record, **changed: Any) -> Record:
    """The outcome with another container in it, digest and all: as a careful forger would write it."""
    (key,) = [name for name in record.args["writes"] if name.startswith("containers/")]
    forged = replace(msgspec.convert(record.args["writes"][key], ContainerState), **changed)
    writes = {**record.args["writes"], key: msgspec.to_builtins(forged)}
    return replace(with_args(record, writes=writes), after=forged.digest())


def test_what_happened_is_allowed(story: Story) -> None:
    history = check_history(story)
    assert history.ok, history.unlawful
    assert history.steps == sum(
        r.kind is Kind.DONE and r.subject.startswith("container/") for r in story)


def forge(kind: Kind, operation: str, change: Callable[[Record], Record | None]) -> Callable[[Story], Story]:
    def forged(story: Story) -> Story:
        index = at(story, kind, operation)
        new = change(story[index])
        return [*story[:index], *([] if new is None else [new]), *story[index + 1:]]

    return forged


def trust_changed_after_the_verdict(story: Story) -> Story:
    index = at(story, Kind.INTENT, "start")
    begun = story[index]
    change = replace(
        begun, kind=Kind.BEGIN, subject="trust", operation="trust_revoke", txn="other", args={}, inverse=None)
    done = replace(change, kind=Kind.DONE, args={"step": {}, "writes": {"trust/epoch": 9}})
    return [*story[:index], change, done, *story[index:]]


def begun_twice(story: Story) -> Story:
    index = at(story, Kind.BEGIN, "pause")
    return [*story[:index + 1], *story[index:]]


FORGERIES: dict[str, Callable[[Story], Story]] = {
    "a start without the verdict": forge(Kind.VERDICT, "verdict", lambda r: None),
    "a verdict of an older trust epoch": forge(
        Kind.VERDICT, "verdict", lambda r: with_args(r, epoch=r.args["epoch"] - 1)),
    "a verdict on another image": forge(
        Kind.VERDICT, "verdict", lambda r: replace(r, subject="image/sha256:" + "0" * 64)),
    "trust changed between verdict and start": trust_changed_after_the_verdict,
    "a pause that was a resume": forge(Kind.DONE, "pause", lambda r: replace(r, operation="resume")),
    "an outcome without its intent": forge(Kind.INTENT, "pause", lambda r: None),
    "an intent without its outcome": forge(Kind.DONE, "pause", lambda r: None),
    "an end without its begin": forge(Kind.BEGIN, "pause", lambda r: None),
    "a second begin": begun_twice,
    "a state that the table does not lead to": forge(
        Kind.DONE, "pause", lambda r: outcome(r, state="stopped")),
    "another image under the same id": forge(
        Kind.DONE, "pause", lambda r: outcome(r, image="sha256:" + "0" * 64)),
    "another name without a restore": forge(Kind.DONE, "pause", lambda r: outcome(r, name="other")),
    "a generation out of nothing": forge(Kind.DONE, "stop", lambda r: outcome(r, generations=())),
    "a start that opens no generation": forge(Kind.DONE, "start", lambda r: outcome(r, generations=())),
    "a digest of before that does not stand": forge(
        Kind.DONE, "pause", lambda r: replace(r, before="sha256:" + "0" * 64)),
    "a digest of after that is not of what is written": forge(
        Kind.DONE, "pause", lambda r: replace(r, after="sha256:" + "0" * 64)),
    "an inverse that does not undo it": forge(
        Kind.DONE, "pause", lambda r: replace(r, inverse=Inverse("stop", {}, r.inverse.fidelity))),
    "no inverse": forge(Kind.DONE, "pause", lambda r: replace(r, inverse=None)),
    "an outcome that writes no container": forge(Kind.DONE, "pause", lambda r: with_args(r, writes={})),
    "an outcome that writes another container too": forge(
        Kind.DONE, "pause",
        lambda r: with_args(r, writes={**r.args["writes"], "containers/" + "0" * 64: None})),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_history_is_refused(story: Story, name: str) -> None:
    history = check_history(FORGERIES[name](story))
    assert history.unlawful is not None


def test_the_first_record_that_is_not_allowed_is_named(story: Story) -> None:
    forged = FORGERIES["a pause that was a resume"](story)
    history = check_history(forged)
    assert history.unlawful is not None
    assert history.unlawful.seq == story[at(story, Kind.DONE, "pause")].seq
    assert "resume" in history.unlawful.reason


def rewritten(folder: Path, story: Story) -> answers.AuditAnswer:
    """What an audit with the model says of a journal of ``story``, with hashes, tree and head anew."""
    paths, times = Paths(folder / "root", folder / "run"), iter(story)
    store = JournalStore.open(paths, KEY, lambda: next(times).time)
    for record in story:
        fields = {name: getattr(record, name) for name in Draft.__struct_fields__}
        (outcome,) = store.append_batch([Group((Draft(**fields),), reserve=True)])
        assert isinstance(outcome, tuple), outcome
    store.close()
    with OfflineJournal.copied(paths.journal, paths.journal_head) as journal:
        assert journal.audit(KEY.public).ok, "the chain itself holds"
        return audited(journal, KEY.public, None, model=True)


def test_an_audit_allows_what_happened_and_refuses_it_with_one_illegal_step_whose_hashes_hold(
    story: Story, tmp_path: Path
) -> None:
    assert rewritten(tmp_path / "told", story).ok
    answer = rewritten(tmp_path / "forged", FORGERIES["a state that the table does not lead to"](story))
    pause = story[at(story, Kind.DONE, "pause")].seq
    assert (answer.ok, answer.first_bad) == (False, pause)
    assert (answer.reason or "").startswith(f"the model does not allow record {pause}: ")


def test_the_command_says_how_much_was_held_against_the_model(tmp_path: Path) -> None:
    whole = planted(tmp_path / "root")
    try:
        whole.run("web")
        answer = whole.call("audit", model=True)
        assert answer.ok
        assert answer.model == "2 steps of containers in 3 transactions, all allowed"
    finally:
        whole.close()
