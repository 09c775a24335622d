"""[[scope]] of trust/policy.toml: what is read, what is refused, and which images a scope is about."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from evidence_world import pem, pinned

from vordr.formats.digests import sha256_hex
from vordr.gatekeeper.policy import DEFAULT, Policy, load, parse
from vordr.gatekeeper.scopes import Scope
from vordr.model.errors import ConfigInvalid

HEAD = '[[scope]]\nname = "prod"\nimages = ["a.example.org/*"]\n'
KEYS = f"keys = {json.dumps([pem('one')])}\n"
TWO = f"keys = {json.dumps([pem('one'), pem('two')])}\n"
ROOT = b'{"a": 1}'
PINNED = f'{{ file = "root.json", sha256 = "{sha256_hex(ROOT)}" }}'
SIGSTORE = f'[[scope.sigstore]]\ntrusted_root = {PINNED}\nidentity = "i"\nissuer = "j"\n'


def read(text: str) -> Policy:
    return parse(text, "policy.toml", {"root.json": ROOT}.__getitem__)


def test_a_scope_with_everything_is_read() -> None:
    (scope,) = read(
        HEAD + 'require = "published"\ndistinct_log_operators = 2\nmax_attestation_age_days = 30\n'
        f'signers = ["sha256:{"0" * 64}"]\n'
        f'[[scope.cosign]]\n{TWO}threshold = 2\nannotations = {{ team = "blue" }}\n'
        f'[[scope.cosign]]\n{KEYS}attests = "https://slsa.dev/provenance/v1"\n'
        f'logs = {json.dumps([pem("log")])}\n'
        + SIGSTORE).scopes
    assert (scope.published, scope.distinct_log_operators, scope.max_age_days) == (True, 2, 30)
    first, second = scope.cosign
    assert (first.threshold, first.keys, dict(first.annotations)) == (
        2, (pinned("one"), pinned("two")), {"team": "blue"})
    assert (second.attests, second.logs) == ("https://slsa.dev/provenance/v1", (pinned("log"),))
    assert scope.sigstore[0].trusted_root.content == ROOT


REFUSED = {
    "unknown key": (HEAD + "alow = 1", "unknown key 'alow'"),
    "no name": ('[[scope]]\nimages = ["*"]', "name must be"),
    "no images": ('[[scope]]\nname = "x"', "images must be"),
    "empty images": ('[[scope]]\nname = "x"\nimages = []', "images must be"),
    "pattern with other characters": ('[[scope]]\nname = "x"\nimages = ["[a]"]', "images must be"),
    "not a list of tables": ("scope = 1", "scope must be"),
    "one table": ('[scope]\nname = "x"', "scope must be"),
    "the same name twice": (HEAD + HEAD, "two scopes are called 'prod'"),
    "require": (HEAD + 'require = "signed"', "require must be"),
    "operators": (HEAD + "distinct_log_operators = true", "distinct_log_operators must be"),
    "age": (HEAD + "max_attestation_age_days = 0", "max_attestation_age_days must be"),
    "signers": (HEAD + 'signers = ["alice"]', "signers must be"),
    "empty signers": (HEAD + "signers = []", "signers must be"),
    "cosign without keys": (HEAD + "[[scope.cosign]]", "keys must be"),
    "cosign with no key": (HEAD + "[[scope.cosign]]\nkeys = []", "keys must be"),
    "a key that is none": (HEAD + '[[scope.cosign]]\nkeys = ["x"]', "not a public key"),
    "the same key twice": (
        HEAD + f"[[scope.cosign]]\nkeys = {json.dumps([pem('one'), pem('one') + chr(10)])}", "distinct"),
    "a threshold beyond the keys": (HEAD + f"[[scope.cosign]]\n{KEYS}threshold = 2", "threshold must be"),
    "a threshold of none": (HEAD + f"[[scope.cosign]]\n{KEYS}threshold = 0", "threshold must be"),
    "an unknown key of cosign": (HEAD + f"[[scope.cosign]]\n{KEYS}insecure = true", "unknown key 'insecure'"),
    "annotations of attestations": (
        HEAD + f'[[scope.cosign]]\n{KEYS}attests = "a:b"\nannotations = {{ a = "b" }}',
        "annotations must be"),
    "annotations that are no strings": (
        HEAD + f"[[scope.cosign]]\n{KEYS}annotations = {{ a = 1 }}", "annotations must be"),
    "sigstore without an identity": (
        HEAD + f'[[scope.sigstore]]\ntrusted_root = {PINNED}\nissuer = "j"', "identity must be"),
    "sigstore without an issuer": (
        HEAD + f'[[scope.sigstore]]\ntrusted_root = {PINNED}\nidentity = "j"', "issuer must be"),
    "a pinned file with other bytes": (
        HEAD + SIGSTORE.replace(sha256_hex(ROOT), sha256_hex(b"other")), "has the SHA-256"),
    "a file elsewhere": (HEAD + SIGSTORE.replace("root.json", "../root.json"), "beside policy.toml"),
    "a file without its digest": (
        HEAD + '[[scope.sigstore]]\ntrusted_root = { file = "root.json" }\nidentity = "i"\nissuer = "j"',
        "trusted_root must be"),
    "a policy that is none": (
        HEAD + f"[[scope.svalinn]]\npolicy = {PINNED}", "root.json: policy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_policy_is_refused_whole(case: str) -> None:
    text, reason = REFUSED[case]
    with pytest.raises(ConfigInvalid, match=reason):
        read(text)


def test_a_scope_changes_the_policys_digest_and_none_does_not() -> None:
    assert parse("").digest == DEFAULT.digest
    digests = {read(text).digest for text in (
        "", HEAD, HEAD + "distinct_log_operators = 2\n", HEAD + f"[[scope.cosign]]\n{KEYS}",
        HEAD + f"[[scope.cosign]]\n{TWO}", HEAD + SIGSTORE)}
    assert len(digests) == 6


def test_pinned_files_are_read_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(ROOT)
    (tmp_path / "policy.toml").write_text(HEAD + SIGSTORE)
    assert load(tmp_path / "policy.toml").scopes[0].sigstore[0].trusted_root.content == ROOT


@pytest.mark.parametrize("kind", ["absent", "link", "folder", "pipe", "too large"])
def test_a_pinned_file_is_a_plain_file_beside_the_policy(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "root.json"
    match kind:
        case "link":
            (tmp_path / "there.json").write_bytes(ROOT)
            path.symlink_to("there.json")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "too large":
            path.write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "policy.toml").write_text(HEAD + SIGSTORE)
    with pytest.raises(ConfigInvalid, match="root.json"):
        load(tmp_path / "policy.toml")


@pytest.mark.parametrize(("pattern", "name", "wanted"), [
    ("a.example.org/*", "a.example.org/team/web:v1", True),
    ("a.example.org/*", "a.example.org.evil.com/web:v1", False),
    ("a.example.org/team/web", "a.example.org/team/web:v1", True),
    ("a.example.org/team/web:v1", "a.example.org/team/web:v1", True),
    ("a.example.org/team/web:v1", "a.example.org/team/web:v2", False),
    ("a.example.org/team/web", "a.example.org/team/web2:v1", False),
    ("a.example.org:5000/*", "a.example.org:5000/web:v1", True),
    ("a.example.org/*", "a.example.org/web@sha256:" + "0" * 64, True),
    ("*", "docker.io/library/web:latest", True),
    ("*:latest", "docker.io/library/web:latest", True),
])
def test_a_pattern_is_about_names_with_and_without_their_tag(pattern: str, name: str, wanted: bool) -> None:
    assert Scope("x", (pattern,)).matches([name]) is wanted


def test_an_image_of_no_name_is_in_every_scope() -> None:
    assert Scope("x", ("a.example.org/web",)).matches([])
