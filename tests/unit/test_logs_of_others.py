"""Logs of others: what they take in counts, and what they take back is found out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gatekeeper_host import make_host
from log_world import KEY, NOW, Operated, operated
from whole_engine import Whole, planted

from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import attest, statements, trust
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.logs import logs_of
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.sbom import NOT_READ
from vordr.gatekeeper.statements import PACK_BUILD, PROVENANCE, SPDX, Act
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.trust import TrustedLog

SUBJECT = Subject(sha256_digest(b"manifest"), sha256_digest(b"config"), ())


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Operated]:
    with operated(tmp_path / "log-n") as made:
        yield made


def test_what_logs_of_others_and_our_own_took_in_is_believed(log: Operated, tmp_path: Path) -> None:
    host = make_host(tmp_path / "host")
    store = trust.add_log(host.trust, log.log, NOW)
    logs = logs_of(host.paths, store)
    assert [one.id for one in logs] == ["box-log-a", "box-log-b", "box-log-c", "log-n"]
    act = Act(PACK_BUILD, "web", "a folder", host.operator.public.key_id, NOW)
    envelopes, entries = [], []
    for kind, predicate in ((PROVENANCE, statements.provenance(SUBJECT, act)),
                            (SPDX, statements.spdx(SUBJECT, act, NOT_READ))):
        envelope = attest.sign(statements.statement(SUBJECT, "web", kind, predicate), [host.operator])
        envelopes.append(envelope.to_json())
        entries += [one.submit(envelope, SUBJECT.manifest, kind, NOW).to_json() for one in logs]
    bundle = attest.assemble(envelopes, entries, NOW)
    verdict = decide(SUBJECT, bundle, store, Policy(distinct_log_operators=2), NOW, 1)
    assert "log-n" in verdict.logs


def test_a_log_that_this_host_runs_itself_is_not_asked_over_the_network(tmp_path: Path) -> None:
    host = make_host(tmp_path / "host")
    served = replace(host.trust.logs[0], url="http://127.0.0.1:9")
    store = trust.checked(replace(host.trust, logs=(served, *host.trust.logs[1:])))
    assert [one.id for one in logs_of(host.paths, store)] == ["box-log-a", "box-log-b", "box-log-c"]


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    made = planted(memory_path / "root")
    yield made
    made.close()


def know(whole: Whole, log: TrustedLog) -> None:
    """Make the host trust ``log``, at the address that it has now."""
    store = trust.load(whole.paths.trust_store)
    others = tuple(one for one in store.logs if one.id != log.id)
    store = trust.add_log(replace(store, logs=others), log, whole.host.now_us())
    trust.save(store, whole.paths.trust_store)


def told(whole: Whole) -> tuple[int, str | None]:
    answer = whole.call("trust_logs")
    (one,) = (one for one in answer.logs if one.id == "log-n")
    return one.size, one.wrong


def test_a_log_of_others_is_followed_over_restarts_and_its_rollback_is_told(
    whole: Whole, tmp_path: Path
) -> None:
    folder = tmp_path / "log-n"
    with operated(folder) as log:
        know(whole, log.log)
        log.put(0)
        assert told(whole) == (1, None)
        shutil.copytree(folder, tmp_path / "older")
        for number in range(1, 4):
            log.put(number)
        assert told(whole) == (4, None)
    size, wrong = told(whole)
    assert size == 4 and wrong is not None and "does not answer" in wrong
    shutil.rmtree(folder)
    (tmp_path / "older").rename(folder)
    whole.close()
    again = Whole(whole.paths.root, whole.world)
    try:
        with operated(folder) as log:
            know(again, log.log)
            assert told(again) == (4, "log log-n: its head has 1 entries, it had 4 before")
            for number in range(9):
                log.put(100 + number)
            size, wrong = told(again)
            assert size == 4 and wrong is not None and "has not grown out of the one of 4" in wrong
    finally:
        again.close()


def test_what_a_bundle_shows_meanwhile_is_no_lie_of_the_log(
    whole: Whole, log: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head was asked for, and before it is kept the log's tree was seen to be larger."""
    know(whole, log.log)
    log.put(0)
    follow, late = whole.host.gatekeeper.follow, [True]

    def followed(*args: object) -> bool:
        if late.pop() if late else False:
            log.put(1)
            known = whole.host.gatekeeper.seen()
            head = log.operator.log.head(NOW + log.ticks[0])
            assert follow(log.log, known.log(log.log), head, ())
        return follow(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(whole.host.gatekeeper, "follow", followed)
    log.ticks[0] = whole.host.now_us() - NOW
    assert told(whole) == (2, None)
    assert KEY.public.key_id in whole.host.gatekeeper.seen().logs
