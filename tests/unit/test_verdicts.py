"""verdicts: who could not be started now is named, by the very judgement that the start then meets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_engine import MemoryEngine, Program
from whole_engine import IMAGE, Whole, import_image, planted, standing_clock

from vordr.actors.clock import VirtualClock
from vordr.engine.protocol import Caller
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import trust
from vordr.gatekeeper.cures import code_of
from vordr.model import answers
from vordr.model.errors import (
    ImageUnreadable,
    RuntimeFailed,
    SealBroken,
    ServiceUnreachable,
    VordrError,
)
from vordr.model.lifecycle import State
from vordr.model.operations import REGISTRY, Scope
from vordr.model.state import ImageState

DAY = 86_400_000_000
OTHER = "docker.io/library/other:latest"


@pytest.fixture
def clock() -> VirtualClock:
    return standing_clock()


@pytest.fixture
def whole(memory_path: Path, clock: VirtualClock) -> Iterator[Whole]:
    made = planted(memory_path / "root", clock=clock)
    yield made
    made.close()


def lapsed(whole: Whole) -> dict[str, answers.LapsedVerdict]:
    return {one.name: one for one in whole.call("verdicts").lapsed}


def image(whole: Whole, name: str = IMAGE) -> ImageState:
    return next(one for one in whole.call("images").images if name in one.names)


def operator_key(whole: Whole) -> str:
    return str(whole.call("trust_show").keys[0].id)


def policy(whole: Whole, text: str) -> None:
    (whole.paths.trust / "policy.toml").write_text(text)


def with_end(whole: Whole, end: int) -> None:
    """By hand, as an operator may: the signing keys get an end."""
    store = trust.load(whole.paths.trust_store)
    keys = tuple(replace(key, valid_until=end) for key in store.keys)
    trust.save(replace(store, keys=keys, revision=store.revision + 1, updated=whole.host.now_us()),
               whole.paths.trust_store)


def expire(whole: Whole, clock: VirtualClock) -> None:
    with_end(whole, whole.host.now_us() + DAY)
    assert lapsed(whole) == {}
    clock.advance(DAY / 1e6)


def forget_bundle(whole: Whole) -> Path:
    found = image(whole).bundle
    assert found is not None
    return whole.paths.bundle(found)


def break_bytes(kind: type[VordrError], message: str) -> Callable[[Whole, VirtualClock], None]:
    def broken(whole: Whole, clock: VirtualClock) -> None:
        whole.world.fail("require_bytes", kind(message))
        whole.world.fail("launch", kind(message))

    return broken


CAUSES: dict[str, tuple[str, Callable[[Whole, VirtualClock], Any]]] = {
    "key revoked": ("UNKNOWN_KEY", lambda whole, clock: whole.call(
        "trust_revoke", key=operator_key(whole), reason="key_compromise")),
    "key expired": ("EXPIRED_KEY", expire),
    "policy tightened": ("POLICY_DENIED", lambda whole, clock: policy(whole, 'require = "published"\n')),
    "scope added": ("POLICY_DENIED", lambda whole, clock: policy(
        whole, '[[scope]]\nname = "prod"\nimages = ["*"]\nsigners = ["sha256:' + "0" * 64 + '"]\n')),
    "more operators": ("INSUFFICIENT_LOG_COVERAGE", lambda whole, clock: policy(
        whole, "distinct_log_operators = 2\n")),
    "image revoked": ("MISSING_ATTESTATION", lambda whole, clock: whole.call(
        "trust_revoke", key=image(whole).manifest, digest=True, reason="superseded")),
    "bundle gone": ("MISSING_ATTESTATION", lambda whole, clock: forget_bundle(whole).unlink()),
    "bundle changed": ("MALFORMED_BUNDLE", lambda whole, clock: forget_bundle(whole).write_bytes(b"{}")),
    "layer changed": ("ERR_SEAL_BROKEN", break_bytes(SealBroken, "sealed layer x holds other bytes")),
    "manifest gone": ("ERR_IMAGE_UNREADABLE", break_bytes(ImageUnreadable, "the manifest is not there")),
    "trust store gone": ("ERR_TRUST_STORE", lambda whole, clock: whole.paths.trust_store.unlink()),
    "policy no TOML": ("ERR_CONFIG_PARSE", lambda whole, clock: policy(whole, "require =\n")),
    "policy unknown": ("ERR_CONFIG_INVALID", lambda whole, clock: policy(whole, "requir = 1\n")),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_what_is_named_is_what_the_start_is_refused_with(
    whole: Whole, clock: VirtualClock, cause: str
) -> None:
    code, come_about = CAUSES[cause]
    whole.run()
    assert lapsed(whole) == {}
    come_about(whole, clock)
    told = lapsed(whole)["web"]
    assert (told.code, told.state, told.manifest) == (code, "running", image(whole).manifest)
    assert told.cures and told.message
    running = whole.get()
    assert running is not None and running.state is State.RUNNING
    whole.do("stop")
    with pytest.raises(VordrError) as refused:
        whole.do("start")
    assert (code_of(refused.value), refused.value.message) == (code, told.message)


def test_the_hosts_network_that_is_allowed_no_more_is_named_and_refused(whole: Whole) -> None:
    policy(whole, "allow_host_network = true\n")
    whole.run("web")
    whole.run("net", network="host")
    policy(whole, "")
    told = lapsed(whole)
    assert {name: one.code for name, one in told.items()} == {"net": "POLICY_DENIED"}
    whole.do("stop", "net")
    with pytest.raises(VordrError) as refused:
        whole.do("start", "net")
    assert refused.value.message == told["net"].message


def test_a_moved_trust_epoch_alone_takes_no_verdict_back(whole: Whole) -> None:
    whole.run()
    before = whole.call("verdicts")
    other = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32))).public
    whole.call("trust_add", role="builders", owner="Bo", public_key=other.to_spki_base64())
    after = whole.call("verdicts")
    assert (after.epoch, after.lapsed) == (before.epoch + 1, ())
    whole.do("restart")


def test_a_verdict_from_before_a_revocation_is_not_remembered(whole: Whole) -> None:
    whole.run()
    assert lapsed(whole) == {}
    whole.call("trust_revoke", key=operator_key(whole))
    assert set(lapsed(whole)) == {"web"}


def test_who_runs_or_is_held_is_judged_and_who_is_stopped_is_not(whole: Whole) -> None:
    for name in ("runs", "held", "over"):
        whole.run(name)
    whole.do("pause", "held")
    whole.do("stop", "over")
    whole.call("create", image=IMAGE, name="made", command=["/bin/serve"])
    assert whole.call("verdicts").judged == 3
    forget_bundle(whole).unlink()
    told = lapsed(whole)
    assert {name: one.state for name, one in told.items()} == {
        "runs": "running", "held": "paused", "made": "created"}


def test_containers_of_other_images_are_not_named(whole: Whole) -> None:
    import_image(whole, OTHER, b"another layer")
    whole.run("web")
    whole.call("run", image=OTHER, name="other", command=["/bin/serve"])
    whole.call("trust_revoke", key=image(whole, OTHER).manifest, digest=True, reason="superseded")
    assert set(lapsed(whole)) == {"other"}


def test_nothing_is_journalled_and_nothing_done(whole: Whole) -> None:
    whole.run("web")
    whole.run("held")
    whole.do("pause", "held")
    whole.call("trust_revoke", key=operator_key(whole))
    records = len(list(whole.journal.records()))
    declared, calls = whole.declared(), len(whole.world.calls)
    assert set(lapsed(whole)) == {"web", "held"}
    assert (len(list(whole.journal.records())), whole.declared()) == (records, declared)
    assert set(whole.world.calls[calls:]) <= {"require_bytes"}
    whole.check()


def test_an_engine_that_cannot_judge_says_so_and_names_nobody(whole: Whole) -> None:
    whole.run()
    whole.world.fail("require_bytes", RuntimeFailed("the disk is gone"))
    with pytest.raises(RuntimeFailed):
        whole.call("verdicts")


def test_one_that_ends_while_it_is_judged_is_not_named(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole.run()
    judge = whole.host.library.judge_manifest

    def gone(manifest: str) -> Any:
        whole.do("stop")
        return judge(manifest)

    whole.call("trust_revoke", key=operator_key(whole))
    monkeypatch.setattr(whole.host.library, "judge_manifest", gone)
    assert lapsed(whole) == {}


def test_cures_name_the_image_of_the_container(whole: Whole) -> None:
    whole.run()
    forget_bundle(whole).unlink()
    assert lapsed(whole)["web"].cures[0].command == "vordr adopt tiny:latest"


def test_whoever_may_look_may_ask(whole: Whole) -> None:
    assert REGISTRY["verdicts"].scope is Scope.READ and not REGISTRY["verdicts"].mutating
    assert whole.call("verdicts", Caller("uid:7", Scope.READ)).judged == 0


# -- the command line ------------------------------------------------------------------------------


def shown(*lapses: answers.LapsedVerdict) -> MemoryEngine:
    engine = MemoryEngine()
    engine.scripts["verdicts"] = answers.VerdictsAnswer(judged=3, lapsed=lapses, epoch=4)
    return engine


LAPSE = answers.LapsedVerdict(
    id="ab" * 32, name="web", state="running", image="tiny", manifest="sha256:" + "cd" * 32,
    code="UNKNOWN_KEY", step=5, message="nobody knows \x1b[31m it",
    cures=(answers.Cure("vordr adopt tiny", "vouches for it"),))


def test_the_command_lists_them_and_exits_55(capfd: pytest.CaptureFixture[str]) -> None:
    told = Program(shown(LAPSE), capfd)("audit", "--verdicts")
    heading, row = told.out.splitlines()
    assert heading.split()[:2] == ["CONTAINER", "ID"]
    assert row.split()[:5] == ["ab" * 6, "web", "tiny", "running", "UNKNOWN_KEY"] and "\x1b" not in row
    assert told.code == 55
    assert told.err.startswith("Error [ERR_VERDICTS_LAPSED]: 1 of 3 containers could not be started now")
    assert "  1. vordr adopt tiny  (vouches for it)" in told.err


def test_the_command_exits_0_when_there_are_none(capfd: pytest.CaptureFixture[str]) -> None:
    told = Program(shown(), capfd)("audit", "--verdicts")
    assert (told.code, told.out, told.err) == (0, "Each of 3 containers could be started now.\n", "")


def test_the_command_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    told = Program(shown(LAPSE), capfd)("audit", "--verdicts", "--json")
    found = json.loads(told.out)
    assert (told.code, told.err, found["judged"], found["epoch"]) == (55, "", 3, 4)
    assert found["lapsed"][0]["cures"] == [{"command": "vordr adopt tiny", "text": "vouches for it"}]
    assert msgspec.convert(found, answers.VerdictsAnswer).lapsed == (LAPSE,)
    assert Program(shown(), capfd)("--json", "audit", "--verdicts").code == 0


def test_the_exit_code_stands_in_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert "Exits 55" in " ".join(Program(MemoryEngine(), capfd)("audit", "--help").out.split())


def test_no_answer_is_no_finding(capfd: pytest.CaptureFixture[str]) -> None:
    assert Program(ServiceUnreachable("none"), capfd)("audit", "--verdicts").code == 14


@pytest.mark.parametrize("words", [["--chain"], ["--model"], ["--prove", "1"], ["--consistency", "0", "1"],
                                   ["--db", "/x"]])
def test_verdicts_and_the_journal_are_two_audits(
    capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    engine = shown()
    assert Program(engine, capfd)("audit", "--verdicts", *words).code == 2
    assert engine.calls == []


