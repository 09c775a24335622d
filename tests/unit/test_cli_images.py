"""images, pull, rmi, pack, adopt, verify, trust."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from cli_engine import MANIFEST, NOW, MemoryEngine, Program, assert_valid, image, receipt

from vordr.cli.commands.pack import name_from
from vordr.cli.commands.trust import key_status
from vordr.formats.signature import PrivateKey, Suite
from vordr.model import answers, errors


def world() -> MemoryEngine:
    return MemoryEngine(images=[
        image("docker.io/library/hello:latest", "registry.example:5000/a/b:v1"),
        image(manifest="sha256:" + "ef" * 32, names=(), bundle=None, imported=NOW - 1),
    ])


def test_the_plain_table_has_dockers_columns_one_line_for_each_name(capfd):
    assert Program(world(), capfd)("images").out.splitlines() == [
        "REPOSITORY                  TAG      IMAGE ID       CREATED                  SIZE",
        "<none>                      <none>   efefefefefef   Less than a second ago   4.26MB",
        "hello                       latest   abababababab   3 minutes ago            4.26MB",
        "registry.example:5000/a/b   v1       abababababab   3 minutes ago            4.26MB",
    ]


def test_image_ls_is_images(capfd):
    assert Program(world(), capfd)("image", "ls").out == Program(world(), capfd)("images").out


def test_quiet_prints_each_id_once(capfd):
    assert Program(world(), capfd)("images", "-q").out.splitlines() == ["efefefefefef", "abababababab"]


@pytest.mark.parametrize(("name", "images"), [
    ("hello", 1), ("hello:latest", 1), ("hello:v9", 0), ("registry.example:5000/a/b", 1), ("nope", 0),
])
def test_a_name_narrows_the_list(capfd, name, images):
    assert len(Program(world(), capfd)("images", "-q", name).out.splitlines()) == images


def test_json_is_images_v1_and_says_what_is_verified(capfd):
    told = json.loads(Program(world(), capfd)("images", "--json").out)
    assert_valid(told, "images.v1.json")
    assert [each["verified"] for each in told["images"]] == [False, True, True]


def test_pull_prints_digest_and_name(capfd):
    engine = MemoryEngine()
    outcome = Program(engine, capfd)("pull", "--insecure", "hello")
    assert outcome.out.splitlines() == [f"Digest: {MANIFEST}", "docker.io/library/hello:latest"]
    assert engine.of("pull")[0].insecure


def test_progress_is_for_terminals_only(capfd):
    engine = MemoryEngine()
    engine.events["pull"] = [{"event": "progress", "phase": "copy", "done": 1, "total": 2}]
    assert Program(engine, capfd)("pull", "hello").err == ""


def test_rmi_names_what_it_removed(capfd):
    engine = MemoryEngine()
    assert Program(engine, capfd)("rmi", "-f", "hello", "other").out == "hello\nother\n"
    assert [args.force for args in engine.of("remove_image")] == [True, True]


def test_pack_makes_paths_absolute_and_a_name_from_the_output(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = MemoryEngine()
    engine.scripts["pack"] = answers.PackAnswer(
        output="/o.ctp", manifest=MANIFEST, bundle="b", size=2_500_000, receipt=receipt())
    outcome = Program(engine, capfd)("pack", "--cmd", "sh", "rootfs", "My App.ctp")
    args = engine.of("pack")[0]
    assert (args.source, args.output) == (str(tmp_path / "rootfs"), str(tmp_path / "My App.ctp"))
    assert (args.name, args.command, args.passphrase) == ("my-app:latest", ("sh",), None)
    assert outcome.out == f"/o.ctp  {MANIFEST}  2.5MB\n"


def test_a_file_name_without_letters_still_gives_an_image_name(tmp_path):
    assert name_from(tmp_path / "---.ctp") == "image:latest"


def test_a_passphrase_comes_from_a_file_never_from_the_command_line(capfd, tmp_path):
    file = tmp_path / "pass"
    file.write_text("correct horse\nmore\n")
    engine = MemoryEngine()
    assert Program(engine, capfd)("adopt", "--passphrase-file", str(file), "hello").code == 0
    assert engine.of("adopt")[0].passphrase == "correct horse"
    file.write_text("")
    assert Program(engine, capfd)("adopt", "--passphrase-file", str(file), "hello").code == 2


def test_adopt_makes_paths_absolute_and_leaves_names_alone(capfd):
    engine = MemoryEngine()
    Program(engine, capfd)("adopt", "hello")
    Program(engine, capfd)("adopt", "--name", "x", "./layout")
    assert [args.image for args in engine.of("adopt")] == ["hello", os.path.abspath("layout")]


def test_adopt_makes_the_paths_of_draft_and_bundle_absolute(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = MemoryEngine(images=[image()])
    assert Program(engine, capfd)("adopt", "--draft", "d.json", "hello").out == "d.json\n"
    Program(engine, capfd)("adopt", "--bundle", "d.json", "hello")
    places = [(args.draft, args.bundle) for args in engine.of("adopt")]
    assert places == [(str(tmp_path / "d.json"), None), (None, str(tmp_path / "d.json"))]


# -- verify --------------------------------------------------------------------------------------------


def verdict(decision: str, code: str | None = None) -> answers.VerifyAnswer:
    return answers.VerifyAnswer(
        decision=decision, manifest=MANIFEST, mode="strict", code=code, message="words" if code else None,
        steps=(answers.VerifyStep(1, "digest", True, "it is what it says"),
               answers.VerifyStep(2, "bundle", code is None, "found or not")),
        attested_by="adopted by tester", expires=NOW)


@pytest.mark.parametrize(("answer", "code"), [
    (verdict("ALLOW"), 0), (verdict("REJECT", "UNKNOWN_KEY"), 1), (verdict("REJECT", "MALFORMED_BUNDLE"), 2),
    (errors.VerificationRejected("MALFORMED_BUNDLE", "x", step=3), 2),
    (errors.VerificationRejected("INVALID_SIGNATURE", "x", step=5), 1),
    (errors.ImageUnreadable("cut off"), 2), (errors.RegistryFailed("x"), 3), (errors.PullFailed("x"), 3),
    (errors.ServiceUnreachable("x"), 3), (errors.ImageNotFound("x"), 1), (errors.TrustStoreMissing("x"), 1),
    (errors.JournalCorrupt("x"), 1),
])
def test_verify_exits_with_the_specs_codes_only(capfd, answer, code):
    engine = MemoryEngine()
    engine.scripts["verify"] = answer
    assert Program(engine, capfd)("verify", "hello").code == code


def test_verify_shows_each_step_and_the_decision(capfd):
    engine = MemoryEngine()
    engine.scripts["verify"] = verdict("REJECT", "MISSING_ATTESTATION")
    outcome = Program(engine, capfd)("verify", "hello")
    assert outcome.out.splitlines()[:2] == [
        " 1. ok    digest: it is what it says", " 2. FAIL  bundle: found or not [MISSING_ATTESTATION]"]
    assert "Decision:    REJECT" in outcome.out
    assert "vordr explain MISSING_ATTESTATION" in outcome.err


def test_verify_of_a_package_opens_it(capfd, tmp_path):
    package = tmp_path / "a.ctp"
    package.write_bytes(b"bytes")
    engine = MemoryEngine()
    engine.scripts["verify"] = verdict("ALLOW")
    Program(engine, capfd)("verify", "--mode", "audit", str(package))
    args = engine.of("verify")[0]
    assert (args.package, args.mode, engine.files) == (True, "audit", [b"bytes"])


def test_a_package_that_is_not_there_is_malformed(capfd, tmp_path):
    assert Program(MemoryEngine(), capfd)("verify", str(tmp_path / "no.ctp")).code == 2


# -- trust ---------------------------------------------------------------------------------------------

KEY = answers.TrustKey(id="sha256:aa", role="builders", algorithm="CT-SIG-01", owner="me", valid_from=NOW - 5)
TRUST = answers.TrustAnswer(
    id="store-1", digest="sha256:00", epoch=3, keys=(KEY,),
    logs=(answers.TrustLog(id="log-1", operator="me", url="local"),), thresholds={"builders": "1 of 1"})


def test_trust_show_tells_keys_logs_and_thresholds(capfd):
    engine = MemoryEngine()
    engine.scripts["trust_show"] = TRUST
    out = Program(engine, capfd)("trust", "show").out
    for part in ("epoch 3", "sha256:aa", "log-1", "Threshold of builders: 1 of 1"):
        assert part in out


def test_trust_init_takes_owner_and_passphrase(capfd, tmp_path):
    (tmp_path / "p").write_text("secret\n")
    engine = MemoryEngine()
    engine.scripts["trust_init"] = TRUST
    Program(engine, capfd)("trust", "init", "--owner", "Ann", "--passphrase-file", str(tmp_path / "p"))
    args = engine.of("trust_init")[0]
    assert (args.owner, args.passphrase) == ("Ann", "secret")


def test_trust_init_takes_a_suite_and_knows_the_three(capfd):
    engine = MemoryEngine()
    engine.scripts["trust_init"] = TRUST
    assert Program(engine, capfd)("trust", "init", "--owner", "ada").code == 0
    assert Program(engine, capfd)("trust", "init", "--owner", "ada", "--suite", "CT-SIG-04").code == 0
    assert Program(engine, capfd)("trust", "init", "--suite", "CT-SIG-03").code == 2
    assert [args.suite for args in engine.of("trust_init")] == ["CT-SIG-01", "CT-SIG-04"]


def test_trust_add_reads_the_key_and_its_end(capfd, tmp_path):
    (tmp_path / "k.pem").write_text("-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n")
    engine = MemoryEngine()
    engine.scripts["trust_add"] = TRUST
    outcome = Program(engine, capfd)(
        "trust", "add", "--owner", "Bob", "--valid-until", "2027-01-01T00:00:00Z", str(tmp_path / "k.pem"))
    args = engine.of("trust_add")[0]
    assert outcome.code == 0
    assert (args.role, args.owner, args.valid_until) == ("builders", "Bob", 1_798_761_600_000_000)


def test_trust_add_refuses_a_private_key_before_it_travels(capfd, tmp_path):
    (tmp_path / "k.pem").write_text("-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n")
    engine = MemoryEngine()
    assert Program(engine, capfd)("trust", "add", "--owner", "Bob", str(tmp_path / "k.pem")).code == 2
    assert engine.calls == []


def test_trust_update_sends_the_text_of_the_update(capfd, tmp_path):
    (tmp_path / "update.json").write_text('{"payload": "ü"}')
    engine = MemoryEngine()
    engine.scripts["trust_update"] = TRUST
    assert Program(engine, capfd)("trust", "update", str(tmp_path / "update.json")).code == 0
    assert engine.of("trust_update")[0].document == '{"payload": "ü"}'


@pytest.mark.parametrize("content", [None, b"\xff", b" " * (2 * 1024 * 1024 + 1)])
def test_trust_update_refuses_what_cannot_be_one_before_it_travels(capfd, tmp_path, content):
    if content is not None:
        (tmp_path / "update.json").write_bytes(content)
    engine = MemoryEngine()
    assert Program(engine, capfd)("trust", "update", str(tmp_path / "update.json")).code == 2
    assert engine.calls == []


def test_trust_sign_makes_an_update_and_adds_to_one_without_the_engine(capfd, tmp_path):
    from vordr.formats import canonical
    from vordr.gatekeeper import trust, trust_updates
    from vordr.gatekeeper.keys import make_key
    from vordr.gatekeeper.trust import TrustedLog, TrustStore

    keys = [make_key(tmp_path / f"{at}.pem", Suite.ED25519) for at in range(2)]
    logs = tuple(TrustedLog(f"log-{at}", "us", PrivateKey.generate(Suite.ED25519).public, "https://l.example")
                 for at in range(3))
    store = trust.checked(TrustStore("ours", NOW, (), (), logs, revision=2))
    (tmp_path / "store.json").write_bytes(canonical.dumps(store.to_document()))
    update = str(tmp_path / "update.json")
    engine = MemoryEngine()
    program = Program(engine, capfd)
    assert program("trust", "sign", "--key", str(tmp_path / "0.pem"), "-o", update,
                   str(tmp_path / "store.json")).code == 0
    assert program("trust", "sign", "--key", str(tmp_path / "1.pem"), "-o", update, update).code == 0
    made = trust_updates.parse((tmp_path / "update.json").read_bytes())
    assert {one.keyid for one in made.signatures} == {key.public.key_id for key in keys}
    assert trust.parse(made.payload) == store
    assert engine.calls == []


def test_trust_show_tells_revision_end_and_what_was_revoked(capfd):
    engine = MemoryEngine()
    engine.scripts["trust_show"] = msgspec.structs.replace(
        TRUST, revision=7, expires=NOW, revoked=(
            answers.TrustWithdrawal(digest="sha256:bb", at=NOW, reason="superseded"),))
    out = Program(engine, capfd)("trust", "show").out
    for part in ("revision 7", "It expired", "Revoked: sha256:bb", "superseded"):
        assert part in out


def test_trust_revoke_says_when_it_means_a_digest(capfd):
    engine = MemoryEngine()
    engine.scripts["trust_revoke"] = TRUST
    Program(engine, capfd)("trust", "revoke", "--digest", "sha256:bb")
    assert engine.of("trust_revoke")[0].digest is True


def test_trust_revoke_gives_key_and_reason(capfd):
    engine = MemoryEngine()
    engine.scripts["trust_revoke"] = TRUST
    Program(engine, capfd)("trust", "revoke", "--reason", "stolen", "sha256:aa")
    args = engine.of("trust_revoke")[0]
    assert (args.key, args.reason) == ("sha256:aa", "stolen")


@pytest.mark.parametrize(("fields", "status"), [
    ({}, "valid"), ({"valid_from": NOW + 1}, "valid from"), ({"valid_until": NOW}, "expired"),
    ({"valid_until": NOW + 1}, "valid until"), ({"revoked": NOW, "reason": "stolen"}, "revoked"),
])
def test_a_keys_status_is_told_in_a_word(fields, status):
    base = {"id": "k", "role": "r", "algorithm": "a", "owner": "o", "valid_from": NOW - 5}
    assert key_status(answers.TrustKey(**(base | fields)), NOW).startswith(status)
