"""``vordr system integrate``: what it writes is what engines and gate read, and it can be taken back."""

from __future__ import annotations

import json
import tomllib

import pytest
from cli_engine import MemoryEngine, Program

from vordr.cli.integration import BEGIN, END, Gate, engine_block, gate_block, with_block, without_block
from vordr.model.answers import AdmitAnswer
from vordr.model.errors import ConfigInvalid
from vordr.wrapper.config import load

GATE = Gate("/opt/vordr-runtime", "/usr/bin/crun", "/opt/python3", "/srv/vordr")
DIGEST = "sha256:" + "a" * 64
ENGINES = ("podman", "containerd", "crio")


def files(prefix):
    return {str(p.relative_to(prefix)): p.read_text() for p in prefix.rglob("*") if p.is_file()}


@pytest.fixture
def integrate(capfd, tmp_path):
    prefix = tmp_path / "host"
    prefix.mkdir()

    def run(engine, *words, code=0):
        outcome = Program(MemoryEngine(), capfd)(
            "system", "integrate", engine, "--launcher", "/bin/true", "--runtime", "/bin/false", "--prefix",
            str(prefix), *words)
        assert outcome.code == code, outcome
        return outcome

    return prefix, run


@pytest.mark.parametrize("engine", ENGINES)
def test_printing_writes_nothing(integrate, engine):
    prefix, run = integrate
    assert "/bin/true" in run(engine).out
    assert files(prefix) == {}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_written_is_taken_back_whole(integrate, engine):
    prefix, run = integrate
    run(engine, "--write")
    assert len(files(prefix)) == 2
    assert run(engine, "--write").out == "nothing to change\n"
    run(engine, "--remove")
    assert files(prefix) == {}
    assert run(engine, "--remove").out == "nothing to change\n"


def test_the_gates_own_configuration_stays_for_the_engines_that_are_left(integrate):
    prefix, run = integrate
    for engine in ENGINES:
        run(engine, "--write")
    run("podman", "--remove")
    run("containerd", "--remove")
    assert set(files(prefix)) == {"etc/vordr/runtime.toml", "etc/crio/crio.conf.d/50-vordr.conf"}


def test_the_gate_reads_what_was_written(integrate):
    prefix, run = integrate
    run("podman", "--write")
    assert load(str(prefix / "etc/vordr/runtime.toml")).runtime == "/bin/false"


def test_an_operators_own_configuration_of_the_gate_stands(integrate):
    prefix, run = integrate
    own = prefix / "etc" / "vordr" / "runtime.toml"
    own.parent.mkdir(parents=True)
    own.write_text('runtime = "/usr/bin/crun"\n')
    run("podman", "--write")
    run("podman", "--remove")
    assert files(prefix) == {"etc/vordr/runtime.toml": 'runtime = "/usr/bin/crun"\n'}


def test_a_containerd_file_keeps_everything_else(integrate):
    prefix, run = integrate
    place = prefix / "etc" / "containerd" / "config.toml"
    place.parent.mkdir(parents=True)
    text = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "pause:1"\n'
    place.write_text(text)
    place.chmod(0o600)
    run("containerd", "--write")
    cri = tomllib.loads(place.read_text())["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "pause:1"
    assert cri["containerd"]["default_runtime_name"] == "vordr"
    assert cri["containerd"]["runtimes"]["vordr"]["options"]["BinaryName"] == "/bin/true"
    assert place.stat().st_mode & 0o777 == 0o600
    run("containerd", "--remove")
    assert place.read_text() == text


@pytest.mark.parametrize("text", [
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "runc"\n',
    'root = "/x"\n', "not toml"])
def test_a_containerd_file_that_ours_cannot_stand_in_is_left_alone(integrate, text):
    prefix, run = integrate
    place = prefix / "etc" / "containerd" / "config.toml"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    run("containerd", "--write", code=ConfigInvalid.exit_code)
    assert files(prefix) == {"etc/containerd/config.toml": text}


def test_json_tells_the_files(integrate, capfd):
    told = json.loads(Program(MemoryEngine(), capfd)(
        "--json", "system", "integrate", "crio", "--launcher", "/bin/true", "--runtime", "/bin/false").out)
    assert [file["path"] for file in told["files"]] == [
        "/etc/vordr/runtime.toml", "/etc/crio/crio.conf.d/50-vordr.conf"]


def test_a_launcher_that_is_not_there_is_said(capfd):
    outcome = Program(MemoryEngine(), capfd)("system", "integrate", "crio", "--launcher", "/none")
    assert outcome.code == ConfigInvalid.exit_code


def test_blocks_leave_what_is_around_them():
    block = engine_block("podman", GATE)
    whole = with_block("# mine\n[containers]\npids_limit = 5\n", block)
    assert tomllib.loads(whole)["containers"] == {"pids_limit": 5}
    assert without_block(whole + "# after\n") == "# mine\n[containers]\npids_limit = 5\n# after\n"


@pytest.mark.parametrize("text", [f"{BEGIN}\n", f"{END}\n", f"{BEGIN}\n{END}\n{BEGIN}\n",
                                  f"{END}\n{BEGIN}\n"])
def test_damaged_marks_are_refused(text):
    with pytest.raises(ConfigInvalid, match="marks"):
        without_block(text)


def test_a_path_that_would_break_the_file_is_refused():
    with pytest.raises(ConfigInvalid):
        gate_block(Gate('/opt/"x', "/r", "/p", "/v"))


def test_admit_asks_what_the_gate_asks(capfd):
    engine = MemoryEngine()
    engine.scripts["admit"] = AdmitAnswer(decision="ALLOW", manifest=DIGEST, attested_by="Ann", seq=7)
    outcome = Program(engine, capfd)("system", "admit", "--config", DIGEST, DIGEST, "web")
    assert (outcome.code, outcome.out) == (0, f"ALLOW: {DIGEST}, attested by Ann\n")
    (asked,) = engine.of("admit")
    assert (asked.chain, asked.container, asked.config, asked.manifest, asked.sandbox) == (
        DIGEST, "web", DIGEST, None, False)
