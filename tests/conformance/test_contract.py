"""``vordr spec`` and the published CLI contract: arguments, exit codes, and what is on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from bench import BOB, NOW, SUBJECT, Bench, Ran, spec
from published import published_spec, spec_document

from vordr import __version__
from vordr.cli.commands.spec import command as group
from vordr.formats import base64s, canonical
from vordr.formats.signature import PrivateKey, Suite

CONTRACT: Mapping[str, Any] = spec_document("conformance/runner/cli-contract.json")
COMMANDS: Mapping[str, Any] = CONTRACT["commands"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def test_the_commands_are_the_contracts() -> None:
    assert set(group.commands) == set(COMMANDS)  # type: ignore[attr-defined]  # a group


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_contracts_arguments_and_flags(name: str) -> None:
    made: click.Command = group.commands[name]  # type: ignore[attr-defined]  # a group
    options = {option.opts[0]: option for option in made.params if isinstance(option, click.Option)}
    wanted = COMMANDS[name]["arguments"]
    assert set(options) | {"--help"} == set(wanted) | set(CONTRACT["commonFlags"])
    for option, row in wanted.items():
        assert options[option].required is row["required"]
        assert getattr(options[option].type, "choices", row.get("values")) == _as_given(row.get("values"))
        assert row.get("default") in (None, options[option].default)


def _as_given(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_its_help_and_version(name: str) -> None:
    assert spec(name, "--help").out.startswith(f"Usage: vordr spec {name}".encode())
    assert spec(name, "--version") == Ran(0, f"vordr {__version__}\n".encode(), "")


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_that_make_no_sense_exit_2_and_say_nothing_on_stdout(name: str) -> None:
    for words in ((), ("--nope",), ("extra",)):
        ran = spec(name, *words)
        assert (ran.code, ran.out) == (2, b"") and ran.err


def keys(name: str, outcome: str) -> set[str]:
    """Members of the contract's example of an answer."""
    return set(COMMANDS[name]["stdout"][outcome])


# -- validate --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMMANDS["validate"]["arguments"]["--type"]["values"])
def test_validate_answers_for_every_type(bench: Bench, kind: str) -> None:
    ran = spec("validate", "--type", kind, "--input", bench.file("x.json", {}))
    assert (ran.code, set(ran.told), ran.err) == (1, keys("validate", "failure"), "")
    assert all(set(one) == {"path", "message"} and one["path"].startswith("$") for one in ran.told["errors"])


def test_validate_says_valid_and_nothing_more(bench: Bench) -> None:
    file = bench.file("b.json", bench.bundle)
    ran = spec("validate", "--type", "attestation-bundle", "--input", file, "--json")
    assert ran == Ran(0, b'{"valid": true}\n', "")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100 + b"]" * 100])
def test_validate_exits_2_for_what_is_no_json(bench: Bench, content: bytes) -> None:
    ran = spec("validate", "--type", "trust-store", "--input", bench.file("x.json", content))
    assert (ran.code, ran.out) == (2, b"") and "x.json" in ran.err


def test_validate_exits_2_for_a_file_that_is_not_there(bench: Bench) -> None:
    assert spec("validate", "--type", "trust-store", "--input", bench.folder / "none").code == 2
    assert spec("validate", "--type", "trust-store", "--input", bench.folder).code == 2


# -- verify ----------------------------------------------------------------------------------------


def test_verify_allows_with_exactly_the_contracts_members(bench: Bench) -> None:
    for digest in (SUBJECT.manifest, None):
        ran = bench.verify(bench.bundle, digest=digest)
        assert (ran.code, set(ran.told), ran.err) == (0, keys("verify", "success"), "")
        assert ran.told["decision"] == "ALLOW" and ran.told["attestationsVerified"] == 2
        assert ran.told["logEntriesVerified"] == 6 and ran.told["thresholdsMet"] == ["release-signers"]


def test_verify_rejects_with_exactly_the_contracts_members(bench: Bench) -> None:
    ran = bench.verify(json.loads(bench.bundle_by([BOB])))
    assert (ran.code, set(ran.told), ran.err) == (1, keys("verify", "failure"), "")
    assert (ran.told["decision"], ran.told["errorCode"]) == ("REJECT", "UNKNOWN_KEY")


@pytest.mark.parametrize("mode", ["permissive", "audit"])
def test_modes_that_only_report_allow_with_a_warning_and_count_nothing_unverified(
    bench: Bench, mode: str
) -> None:
    ran = bench.verify(None, "--mode", mode)
    assert (ran.code, set(ran.told)) == (0, keys("verify", "success"))
    assert ran.told["attestationsVerified"] == ran.told["logEntriesVerified"] == 0
    assert ran.told["thresholdsMet"] == [] and "warning: " in ran.err and "MISSING_ATTESTATION" in ran.err


def test_verify_takes_the_time_of_the_call(bench: Bench) -> None:
    store = replace(bench.trust, keys=tuple(replace(k, valid_until=NOW + 10) for k in bench.trust.keys))
    assert bench.verify(bench.bundle, store=store, now_us=NOW + 9).code == 0
    assert bench.verify(bench.bundle, store=store, now_us=NOW + 10).told["errorCode"] == "EXPIRED_KEY"


def test_verify_exits_2_for_a_trust_store_that_is_none(bench: Bench) -> None:
    bundle = bench.file("b.json", bench.bundle)
    published_store = spec_document("vectors/valid/trust-store/minimal-valid-trust-store.json")["input"]
    for store in (bench.file("t.json", {}), bench.file("t2.json", published_store), bench.folder / "none"):
        ran = spec("verify", "--bundle", bundle, "--trust-store", store)
        assert (ran.code, ran.out) == (2, b"")


def test_verify_does_not_tell_a_folder_from_no_bundle_by_silence(bench: Bench) -> None:
    store = bench.file("t.json", bench.trust.to_document())
    ran = spec("verify", "--bundle", bench.folder, "--trust-store", store)
    assert (ran.code, ran.out) == (2, b"")


def test_verbose_tells_the_steps_on_stderr_alone(bench: Bench) -> None:
    quiet, loud = bench.verify(bench.bundle), bench.verify(bench.bundle, "--verbose")
    assert loud.out == quiet.out and "5. signatures" in loud.err


@pytest.mark.parametrize("published_as", ["valid", "invalid"])
def test_no_published_bundle_passes(bench: Bench, published_as: str) -> None:
    for path in published_spec(f"vectors/{published_as}/attestation-bundle").glob("*.json"):
        value = json.loads(path.read_text())
        ran = bench.verify(value["input"], digest=None)
        assert ran.code == 1
        assert ran.told["errorCode"] == value["expected"].get("errorCode", "MALFORMED_BUNDLE")


# -- producing -------------------------------------------------------------------------------------


def create(bench: Bench, attestations: object, entries: object, output: Path) -> Ran:
    return spec("create-bundle", "--attestations", bench.file("a.json", attestations), "--log-entries",
                bench.file("l.json", entries), "--output", output)


def test_create_bundle_tells_digest_and_path_of_what_it_wrote(bench: Bench, tmp_path: Path) -> None:
    output = tmp_path / "made.json"
    ran = create(bench, bench.bundle["attestations"], bench.bundle["logEntries"], output)
    assert (ran.code, set(ran.told), ran.err) == (0, keys("create-bundle", "success"), "")
    assert ran.told == {"created": True, "path": str(output),
                        "bundleDigest": canonical.digest(json.loads(output.read_bytes()))}
    assert bench.verify(output.read_bytes()).code == 0


@pytest.mark.parametrize(("change", "code"), [
    (lambda a, e: ([], e), "MALFORMED_BUNDLE"), (lambda a, e: ({}, e), "not an array"),
    (lambda a, e: (a[:1], e), "MISSING_ATTESTATION"), (lambda a, e: (a, e[:1]), "INSUFFICIENT_LOG_COVERAGE"),
    (lambda a, e: (b"{", e), "MALFORMED_BUNDLE"),
    (lambda a, e: (a, [{**e[0], "x": 1}, *e[1:]]), "unknown member"),
])
def test_create_bundle_exits_1_for_parts_that_make_none(
    bench: Bench, tmp_path: Path, change: Any, code: str
) -> None:
    parts = change(bench.bundle["attestations"], bench.bundle["logEntries"])
    ran = create(bench, *parts, tmp_path / "made.json")
    assert (ran.code, ran.out) == (1, b"") and code in ran.err
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_exits_2(bench: Bench, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "out.json"
    assert create(bench, bench.bundle["attestations"], bench.bundle["logEntries"], nowhere).code == 2
    statement = bench.file("s.json", canonical.loads(_statement(bench)))
    key = bench.file("k.pem", PrivateKey.generate(Suite.ED25519).to_pem(None))
    assert spec("sign", "--statement", statement, "--key", key, "--output", nowhere).code == 2
    assert spec("canonicalize", "--input", statement, "--output", nowhere).code == 2


def _statement(bench: Bench) -> bytes:
    return base64s.decode(bench.bundle["attestations"][1]["payload"], "payload")


def sign(bench: Bench, statement: object, key: bytes, output: Path) -> Ran:
    file = bench.file("key.pem", key)
    file.chmod(0o600)
    return spec("sign", "--statement", bench.file("s.json", statement), "--key", file, "--output", output)


@pytest.mark.parametrize("suite", list(Suite))
def test_sign_writes_an_envelope_by_the_key(bench: Bench, tmp_path: Path, suite: Suite) -> None:
    key = PrivateKey.generate(suite)
    ran = sign(bench, _statement(bench), key.to_pem(None), tmp_path / "e.json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.told == {"signed": True, "keyid": key.public.key_id, "path": str(tmp_path / "e.json")}


@pytest.mark.parametrize("statement", [b"{", b"[]", b"{}", {"_type": "https://in-toto.io/Statement/v0.1"}])
def test_sign_exits_1_for_what_is_no_statement(bench: Bench, tmp_path: Path, statement: object) -> None:
    ran = sign(bench, statement, BOB.to_pem(None), tmp_path / "e.json")
    assert (ran.code, ran.out) == (1, b"") and not (tmp_path / "e.json").exists()


@pytest.mark.parametrize("key", [b"", b"not a key", BOB.to_pem(b"locked"), BOB.public.to_pem().encode()])
def test_sign_exits_2_for_what_is_no_usable_key(bench: Bench, tmp_path: Path, key: bytes) -> None:
    ran = sign(bench, _statement(bench), key, tmp_path / "e.json")
    assert (ran.code, ran.out) == (2, b"") and not (tmp_path / "e.json").exists()


def test_sign_warns_of_a_key_that_others_can_read(bench: Bench, tmp_path: Path) -> None:
    key = bench.file("wide.pem", BOB.to_pem(None))
    key.chmod(0o644)
    ran = spec("sign", "--statement", bench.file("s.json", _statement(bench)), "--key", key, "--output",
               tmp_path / "e.json")
    assert ran.code == 0 and "warning: " in ran.err


@pytest.mark.parametrize(("given", "expected"), [
    (b'{"b":1,"a":[1.0,1e2,-0.0,"\\u00e9"]}', '{"a":[1,100,0,"é"],"b":1}'.encode()), (b" null ", b"null"),
    (b'"\\u20ac$\\u000f\\nA\'B\\"\\\\"', b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\"'),
])
def test_canonicalize_writes_bytes_without_a_line_end(
    bench: Bench, tmp_path: Path, given: bytes, expected: bytes
) -> None:
    file = bench.file("g.json", given)
    assert spec("canonicalize", "--input", file) == Ran(0, expected, "")
    assert spec("canonicalize", "--input", file, "--output", tmp_path / "o.json") == Ran(0, b"", "")
    assert (tmp_path / "o.json").read_bytes() == expected


@pytest.mark.parametrize(
    "given", [b"", b"{", b"NaN", b'{"a":1,"a":1}', b"9007199254740993", b'"\\ud800"', b"1 2"])
def test_canonicalize_exits_1_for_what_is_no_json(bench: Bench, given: bytes) -> None:
    ran = spec("canonicalize", "--input", bench.file("g.json", given))
    assert (ran.code, ran.out) == (1, b"") and ran.err


def test_canonicalize_exits_2_for_a_file_that_is_not_there(bench: Bench) -> None:
    assert spec("canonicalize", "--input", bench.folder / "none").code == 2


# -- verify-proof ----------------------------------------------------------------------------------


def prove(bench: Bench, proof: object, leaf: str) -> Ran:
    return spec("verify-proof", "--proof", bench.file("p.json", proof), "--leaf-hash", leaf)


ALONE = {"logIndex": 0, "treeSize": 1, "rootHash": "ab" * 32, "hashes": []}


def test_verify_proof_takes_hashes_with_and_without_their_prefix(bench: Bench) -> None:
    for root in ("ab" * 32, "sha256:" + "ab" * 32):
        for leaf in ("ab" * 32, "sha256:" + "ab" * 32):
            assert prove(bench, {**ALONE, "rootHash": root}, leaf) == Ran(0, b'{"proofValid": true}\n', "")


@pytest.mark.parametrize("proof", [
    {**ALONE, "rootHash": "ac" * 32}, {**ALONE, "treeSize": 2}, {**ALONE, "logIndex": 1},
    {**ALONE, "treeSize": 0},
    {**ALONE, "hashes": ["ab" * 32]}, {**ALONE, "rootHash": "AB" * 32}, {**ALONE, "treeSize": 2**70}, {}, [],
])
def test_verify_proof_exits_1_for_proofs_that_do_not_hold(bench: Bench, proof: object) -> None:
    ran = prove(bench, proof, "ab" * 32)
    assert (ran.code, ran.told["proofValid"], ran.told["errorCode"]) == (1, False, "LOG_PROOF_INVALID")


def test_verify_proof_exits_2_for_what_could_not_be_tried(bench: Bench) -> None:
    for proof, leaf in ((b"{", "ab" * 32), (ALONE, "ab"), (ALONE, "AB" * 32), (ALONE, "ab" * 32 + "\n")):
        assert prove(bench, proof, leaf).code == 2
    assert spec("verify-proof", "--proof", bench.folder / "none", "--leaf-hash", "ab" * 32).code == 2


# -- as a foreign runner does it -------------------------------------------------------------------


def test_the_installed_program_speaks_the_contract_without_a_root_folder(
    bench: Bench, tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("vordr")
    store = bench.file("t.json", bench.trust.to_document())
    bundle = bench.file("b.json", json.loads(bench.bundle_by([BOB])))
    words = [program, "spec", "verify", "--bundle", bundle, "--trust-store", store, "--json"]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False, cwd=tmp_path,
                          env={"PATH": "/usr/bin:/bin", "VORDR_ROOT": str(tmp_path / "root")})
    assert (done.returncode, json.loads(done.stdout)["errorCode"], done.stderr) == (1, "UNKNOWN_KEY", b"")
    assert list(tmp_path.iterdir()) == []
