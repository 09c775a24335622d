"""history, explain, audit, trash, version: reading the record."""

from __future__ import annotations

import json
import re

import pytest
from cli_engine import MINUTE, NOW, TXN, MemoryEngine, Program, container, receipt

from vordr.cli.commands import COMMANDS
from vordr.cli.explain import EXPLANATIONS, VERIFICATION_CODES
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.batch import Group
from vordr.journal.store import JournalStore
from vordr.model import answers, errors
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))


def act(**fields) -> answers.HistoryEntry:
    base = {"txn": TXN, "seq": 4, "time": NOW - 3 * MINUTE, "act": "run", "summary": "run web",
            "cause": "act", "principal": "uid:0", "status": "committed", "undoable": True}
    return answers.HistoryEntry(**(base | fields))


def with_history(*acts) -> MemoryEngine:
    engine = MemoryEngine()
    engine.scripts["history"] = answers.HistoryAnswer(acts=acts)
    return engine


def test_history_tells_who_did_what_when_and_whether_it_can_be_undone(capfd):
    engine = with_history(act(), act(undone_by="t9"), act(undoable=False, undoes="t1"), act(undoable=False))
    lines = Program(engine, capfd)("history").out.splitlines()
    assert lines[0].split() == ["TXN", "WHEN", "WHO", "ACT", "STATUS", "UNDO"]
    assert lines[1].split("  ")[0] == TXN
    assert [line.rsplit("   ", 1)[1] for line in lines[1:]] == ["possible", "undone", "undid t1", "-"]


def test_history_hands_container_limit_and_kind_on(capfd):
    engine = with_history()
    Program(engine, capfd)("history", "-n", "5", "--acts-only", "web")
    args = engine.of("history")[0]
    assert (args.container, args.limit, args.consequences) == ("web", 5, False)


def test_history_quiet_json_and_template(capfd):
    engine = with_history(act())
    assert Program(engine, capfd)("history", "-q").out == f"{TXN}\n"
    assert json.loads(Program(engine, capfd)("history", "--json").out)["acts"][0]["summary"] == "run web"
    assert Program(engine, capfd)("history", "--format", "{{.Seq}} {{.Who}}").out == "4 uid:0\n"


# -- explain -------------------------------------------------------------------------------------------


def test_every_error_id_is_explained_and_nothing_else():
    assert set(EXPLANATIONS) == {cls.id for cls in errors.every_error()}


def test_explanations_name_commands_that_there_are():
    rows = [*EXPLANATIONS.values(), *VERIFICATION_CODES.values()]
    texts = " ".join(text for row in rows for text in (row.meaning, *row.steps))
    named = set(re.findall(r"'(?:sudo )?vordr (?:--[a-z]+ )?([a-z]+)", texts))
    assert named
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("row", [*EXPLANATIONS.values(), *VERIFICATION_CODES.values()])
def test_an_explanation_has_a_cause_a_meaning_and_steps(row):
    assert "\n" not in row.cause
    assert len(row.cause) <= 90
    assert row.meaning.endswith((".", ")", "?"))
    assert row.steps
    assert not row.cause.endswith(".")


@pytest.mark.parametrize("word", ["ERR_STATE_LOCKED", "err_state_locked", "state-locked"])
def test_errors_are_explained_without_an_engine(capfd, word):
    outcome = Program(errors.ServiceUnreachable("none"), capfd)("explain", word)
    assert outcome.code == 0
    assert outcome.out.startswith("ERR_STATE_LOCKED (exit code 42): another process owns this root folder.")


def test_verification_codes_are_explained_too(capfd):
    assert "vordr adopt IMAGE" in Program(MemoryEngine(), capfd)("explain", "MISSING_ATTESTATION").out


def test_an_id_with_several_exit_codes_names_them_all(capfd):
    assert "(exit code 126, 127)" in Program(MemoryEngine(), capfd)("explain", "ERR_RUNTIME_EXEC").out


@pytest.mark.parametrize(("words", "txn"), [([], None), (["--last"], None), ([TXN], TXN), (["0199"], "0199")])
def test_acts_are_explained_by_the_engine(capfd, words, txn):
    engine = MemoryEngine()
    engine.scripts["explain"] = answers.ExplainAnswer(text="It ran web.\n")
    outcome = Program(engine, capfd)("explain", *words)
    assert outcome.out == "It ran web.\n"
    assert engine.of("explain")[0].txn == txn


def test_a_word_that_is_neither_is_a_usage_error(capfd):
    assert Program(MemoryEngine(), capfd)("explain", "banana!").code == 2


# -- audit ---------------------------------------------------------------------------------------------


def report(**fields) -> answers.AuditAnswer:
    base = {"ok": True, "records": 12, "root": "ab", "head": "note", "unanchored": 1, "public_key": "MCow"}
    return answers.AuditAnswer(**(base | fields))


def test_audit_says_that_the_journal_holds(capfd):
    engine = MemoryEngine()
    engine.scripts["audit"] = report()
    outcome = Program(engine, capfd)("audit", "--chain")
    assert outcome.code == 0
    assert outcome.out.splitlines()[:2] == ["The journal holds.", "Records:  12 (1 after the signed head)"]


@pytest.mark.parametrize("words", [["audit"], ["audit", "--json"]])
def test_audit_of_a_journal_that_does_not_hold_exits_41_and_names_the_record(capfd, words):
    engine = MemoryEngine()
    engine.scripts["audit"] = report(ok=False, first_bad=7, reason="record 7 was changed")
    outcome = Program(engine, capfd)(*words)
    assert outcome.code == 41
    assert "record 7 was changed" in outcome.out + outcome.err


def test_audit_hands_proofs_on(capfd):
    engine = MemoryEngine()
    engine.scripts["audit"] = report(proof={"path": ["00"]})
    out = Program(engine, capfd)("audit", "--prove", "3").out
    Program(engine, capfd)("audit", "--consistency", "2", "9")
    assert '{"path": ["00"]}' in out
    assert [(a.prove, a.consistency) for a in engine.of("audit")] == [(3, None), (None, (2, 9))]


@pytest.fixture
def journal(tmp_path) -> Paths:
    paths = Paths(tmp_path, tmp_path / "run")
    store = JournalStore.open(paths, KEY)
    store.append_batch([Group(tuple(
        Draft(txn=f"t{n}", kind=Kind.ANOMALY, cause=Cause.MONITOR, subject="container/a", operation="rule")
        for n in range(20)))])
    store.close()
    return paths


def offline(paths: Paths, key: str) -> list[str]:
    (paths.root / "host.pub").write_text(key)
    return ["audit", "--db", str(paths.journal), "--head", str(paths.journal_head),
            "--public-key", str(paths.root / "host.pub")]


@pytest.mark.parametrize("form", ["{}", "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"])
def test_an_offline_audit_needs_no_engine(capfd, journal, form):
    words = offline(journal, form.format(KEY.public.to_spki_base64()))
    outcome = Program(errors.ServiceUnreachable("none"), capfd)(*words)
    assert outcome.code == 0, outcome.err
    assert "Records:  20 (0 after the signed head)" in outcome.out


def test_an_offline_audit_proves_a_record(capfd, journal):
    words = offline(journal, KEY.public.to_spki_base64())
    told = json.loads(Program(MemoryEngine(), capfd)(*words, "--prove", "3", "--json").out)
    assert (told["ok"], told["proof"]["seq"], told["proof"]["size"]) == (True, 3, 20)


def test_an_offline_audit_with_another_hosts_key_exits_41(capfd, journal):
    other = PrivateKey.from_seeds(Suite.ED25519, bytes(32)).public.to_spki_base64()
    assert Program(MemoryEngine(), capfd)(*offline(journal, other)).code == 41


def test_an_offline_audit_wants_all_three_files(capfd, journal):
    assert Program(MemoryEngine(), capfd)("audit", "--db", str(journal.journal)).code == 2


def test_a_file_that_holds_no_key_is_a_usage_error(capfd, journal):
    assert Program(MemoryEngine(), capfd)(*offline(journal, "hello")).code == 2


# -- trash, version ------------------------------------------------------------------------------------


def test_trash_ls_tells_how_long_things_are_kept(capfd):
    engine = MemoryEngine()
    engine.scripts["trash"] = answers.TrashAnswer(items=(
        answers.TrashEntry(id="aa" * 32, kind="container", name="web", removed=NOW - 5 * MINUTE,
                           deadline=NOW + 600 * MINUTE, size=1_500_000, txn=TXN),
        answers.TrashEntry(id="sha256:" + "bb" * 32, kind="image", name="hello", removed=NOW - MINUTE,
                           deadline=NOW - 1, size=0, txn=TXN)))
    assert Program(engine, capfd)("trash", "ls").out.splitlines() == [
        "ID             KIND        NAME    REMOVED              KEPT FOR   SIZE",
        "bbbbbbbbbbbb   image       hello   About a minute ago   over       0B",
        "aaaaaaaaaaaa   container   web     5 minutes ago        10 hours   1.5MB",
    ]


def test_trash_restore_prints_the_name(capfd):
    engine = MemoryEngine()
    engine.scripts["trash_restore"] = answers.ContainerAnswer(container=container("web"), receipt=receipt())
    assert Program(engine, capfd)("trash", "restore", "--name", "web2", "aaaa").out == "web\n"
    args = engine.of("trash_restore")[0]
    assert (args.item, args.name) == ("aaaa", "web2")


def test_version_tells_both_sides(capfd):
    engine = MemoryEngine()
    engine.scripts["version"] = answers.VersionAnswer(
        version="9.9", pid=77, root="/r", containers=3, started=NOW - 5 * MINUTE)
    out = Program(engine, capfd)("version").out
    assert "Service:    9.9 (pid 77, up 5 minutes)" in out


def test_version_still_tells_the_clients_when_no_service_answers(capfd):
    outcome = Program(errors.ServiceUnreachable("none"), capfd)("version")
    assert outcome.out.startswith("Client:")
    assert outcome.code == 14
