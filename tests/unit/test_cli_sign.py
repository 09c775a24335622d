"""sign and trust key: by one's own key, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_engine import MemoryEngine, Outcome, Program
from gatekeeper_host import NOW, Host, layer, make_host, make_layout

from vordr.formats.signature import PrivateKey, PublicKey, Suite
from vordr.gatekeeper.bundle import parse
from vordr.gatekeeper.pack import pack
from vordr.model.errors import ServiceUnreachable


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path / "host")


@pytest.fixture
def package(host: Host, tmp_path: Path) -> Path:
    manifest = make_layout(tmp_path / "layout", (layer({"etc/x": b"y"}),))
    return pack(tmp_path / "layout", manifest, tmp_path / "web.ctp", signers=[host.operator], logs=host.logs,
                source="a folder", name="web:1", now_us=NOW).path


def vordr(capfd: pytest.CaptureFixture[str], *words: str | Path) -> Outcome:
    return Program(ServiceUnreachable("nobody should ask"), capfd)(*map(str, words))


@pytest.mark.parametrize("suite", [suite.value for suite in Suite])
def test_a_key_is_made_once_for_its_owner_alone_and_its_public_half_is_printed(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, suite: str
) -> None:
    file = tmp_path / "bob.pem"
    made = vordr(capfd, "trust", "key", "--suite", suite, file)
    key = PrivateKey.from_pem(file.read_bytes())
    assert (made.code, made.err) == (0, "") and PublicKey.from_text(made.out) == key.public
    assert key.suite.value == suite and file.stat().st_mode & 0o777 == 0o600
    again = vordr(capfd, "trust", "key", file)
    assert again.code != 0 and "exists already" in again.err
    assert PrivateKey.from_pem(file.read_bytes()).public == key.public


def test_a_locked_key_is_made_and_opened_with_its_passphrase(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, package: Path
) -> None:
    secret, file = tmp_path / "pass", tmp_path / "bob.pem"
    secret.write_text("correct horse\n")
    told = json.loads(vordr(capfd, "trust", "key", "--json", "--passphrase-file", secret, file).out)
    assert vordr(capfd, "sign", package, "--key", file).code != 0
    signed = vordr(capfd, "sign", package, "--key", file, "--passphrase-file", secret, "--json")
    assert json.loads(signed.out)["key"] == told["id"]


def test_a_package_is_signed_in_place_and_says_about_what(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, host: Host, package: Path
) -> None:
    vordr(capfd, "trust", "key", tmp_path / "bob.pem")
    told = vordr(capfd, "sign", "--json", "--key", tmp_path / "bob.pem", package)
    answer = json.loads(told.out)
    assert answer["changed"] and len(answer["signers"]) == 2 and answer["about"][0].startswith("sha256:")
    assert answer["kinds"] == ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"]
    again = vordr(capfd, "sign", "--key", tmp_path / "bob.pem", package)
    assert again.out.startswith(f"Signed before by {answer['key']}\n")


def test_a_bundle_file_is_known_by_its_first_letter(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, host: Host
) -> None:
    manifest = make_layout(tmp_path / "layout", ())
    made = pack(tmp_path / "layout", manifest, tmp_path / "x.ctp", signers=[host.operator], logs=host.logs,
                source="a folder", name="web:1", now_us=NOW)
    (tmp_path / "b").write_bytes(made.bundle)
    vordr(capfd, "trust", "key", tmp_path / "bob.pem")
    done = vordr(capfd, "sign", "--key", tmp_path / "bob.pem", tmp_path / "b", "-o", tmp_path / "more")
    assert done.code == 0 and (tmp_path / "b").read_bytes() == made.bundle
    assert len(parse((tmp_path / "more").read_bytes()).attestations[0].envelope.signatures) == 2


def test_what_cannot_be_signed_is_refused_and_left_alone(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, package: Path
) -> None:
    key, wide = tmp_path / "bob.pem", tmp_path / "wide.pem"
    vordr(capfd, "trust", "key", key)
    wide.write_bytes(key.read_bytes())
    wide.chmod(0o644)
    before = package.read_bytes()
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "junk.json").write_text("{}")
    for words in ((package, "--key", tmp_path / "none"), (package, "--key", wide), (package,),
                  (tmp_path / "none", "--key", key), (tmp_path / "junk", "--key", key),
                  (tmp_path / "junk.json", "--key", key), (tmp_path, "--key", key)):
        done = vordr(capfd, "sign", *words)
        assert done.code != 0 and done.out == "" and done.err.startswith("Error ["), words
    assert package.read_bytes() == before


def test_no_engine_is_asked(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    engine = MemoryEngine()
    assert Program(engine, capfd)("trust", "key", str(tmp_path / "k.pem")).code == 0
    assert engine.calls == []
