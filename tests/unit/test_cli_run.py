"""vordr run and create: what the command line means, and being attached."""

from __future__ import annotations

import json
import threading

import pytest
from cli_engine import Conmon, MemoryEngine, Program, container, image, receipt

from vordr.engine.protocol import Reply
from vordr.model import answers, errors
from vordr.model.spec import ContainerSpec, NetworkMode, RestartMode, RestartPolicy


def engine_with_image() -> MemoryEngine:
    return MemoryEngine(images=[image()])


def run_args(capfd, *words):
    engine = engine_with_image()
    outcome = Program(engine, capfd)("run", "-d", *words)
    assert outcome.code == 0, outcome.err
    return engine.of("run")[0]


def test_detached_run_prints_the_full_id_only(capfd):
    engine = engine_with_image()
    outcome = Program(engine, capfd)("run", "-d", "hello")
    assert outcome.out == f"{next(iter(engine.containers))}\n"
    assert outcome.err == ""
    assert not engine.of("run")[0].attach


def test_every_option_reaches_the_engine(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("FROM_HERE", "there")
    monkeypatch.delenv("NOT_HERE", raising=False)
    env_file = tmp_path / "env"
    env_file.write_text("# comment\nFILE=1\n\nA=file\nFROM_HERE\n")
    args = run_args(
        capfd, "--rm", "--name", "web", "-e", "A=b=c", "--env", "NOT_HERE", "--env-file", str(env_file),
        "-w", "/srv", "-u", "1000:1000", "-it", "--read-only", "-m", "64m", "--cpus", "1.5", "--pids-limit",
        "50", "--entrypoint", "sh", "--init", "--network", "host", "-l", "k=v", "-l", "bare",
        "--hostname", "h", "--stop-signal", "INT", "--stop-timeout", "3", "--verify", "hello",
        "--", "-c", "true")
    assert args.auto_remove and args.tty and args.stdin and args.read_only and args.init
    assert args.environment == {"FILE": "1", "A": "b=c", "FROM_HERE": "there"}
    assert (args.name, args.workdir, args.user, args.hostname) == ("web", "/srv", "1000:1000", "h")
    assert (args.memory, args.cpu_millis, args.pids_limit) == (64 << 20, 1500, 50)
    assert (args.entrypoint, args.network) == (("sh",), NetworkMode.HOST)
    assert args.labels == {"k": "v", "bare": ""}
    assert (args.stop_signal, args.stop_timeout) == ("INT", 3)


@pytest.mark.parametrize(("words", "name", "command"), [
    (["hello", "--name", "web"], "web", ()),
    (["hello", "--name", "web", "sh", "-c", "true"], "web", ("sh", "-c", "true")),
    (["--name=web", "hello", "sh", "--name", "x"], "web", ("sh", "--name", "x")),
    (["hello", "--name", "web", "--", "-x", "--name"], "web", ("-x", "--name")),
    (["--", "hello", "--name", "web"], None, ("--name", "web")),
    (["hello", "sh", "--", "-x"], None, ("sh", "--", "-x")),
    (["hello", "-eA=1", "-"], None, ("-",)),
    (["hello", "--"], None, ()),
])
def test_options_may_follow_the_image_until_the_first_bare_word(capfd, words, name, command):
    args = run_args(capfd, *words)
    assert (args.image, args.name, args.command) == ("hello", name, command)


@pytest.mark.parametrize("option", ["--colour", "-Z", "-itZ"])
def test_an_unknown_option_after_the_image_tells_of_the_two_dashes(capfd, option):
    outcome = Program(engine_with_image(), capfd)("run", "hello", option, "red")
    assert outcome.code == 2
    assert f"unknown option {option.replace('it', '')}" in outcome.err
    assert "put -- before the container's own arguments" in outcome.err


@pytest.mark.parametrize(("words", "advice"), [
    (["-p", "80:80"], "--network host"), (["-itp", "80:80"], "--network host"),
    (["--volume=/a:/b"], "vordr pack"), (["--privileged"], "user namespace"),
    (["--cap-add", "ALL"], "user namespace"), (["--gpus", "all"], "user namespace"),
    (["--nmae", "x"], "did you mean --name?"),
])
def test_a_flag_that_is_not_taken_says_what_to_use_instead(capfd, words, advice):
    engine = engine_with_image()
    outcome = Program(engine, capfd)("run", *words, "hello")
    assert (outcome.code, engine.calls) == (2, [])
    assert advice in outcome.err


@pytest.mark.parametrize(("text", "policy"), [
    ("no", RestartPolicy()), ("on-failure:3", RestartPolicy(RestartMode.ON_FAILURE, 3)),
    ("unless-stopped", RestartPolicy(RestartMode.UNLESS_STOPPED)),
])
def test_restart_policies_are_dockers(capfd, text, policy):
    assert run_args(capfd, "--restart", text, "hello").restart == policy


@pytest.mark.parametrize(("text", "words"), [
    ("", ()), ("/bin/a b", ("/bin/a b",)), ('["a", "b"]', ("a", "b")),
])
def test_entrypoint_is_one_word_a_list_or_nothing(capfd, text, words):
    assert run_args(capfd, "--entrypoint", text, "hello").entrypoint == words


def test_a_bridge_network_is_refused_with_what_there_is(capfd):
    outcome = Program(engine_with_image(), capfd)("run", "--network", "bridge", "hello")
    assert outcome.code == 2
    assert "--network none, or --network host" in outcome.err


def test_a_package_travels_as_an_open_file(capfd, tmp_path):
    package = tmp_path / "app.ctp"
    package.write_bytes(b"package bytes")
    engine = MemoryEngine()
    outcome = Program(engine, capfd)("run", "-d", str(package))
    assert outcome.code == 0
    assert engine.of("run")[0].package
    assert engine.files == [b"package bytes"]


@pytest.mark.parametrize("policy", ["never", "missing", "always"])
def test_the_pull_policy_reaches_the_engine(capfd, policy):
    engine = engine_with_image()
    assert Program(engine, capfd)("create", "--pull", policy, "hello").code == 0
    assert engine.of("create")[0].pull == policy


def test_without_a_pull_policy_a_missing_image_may_be_fetched(capfd):
    engine = engine_with_image()
    assert Program(engine, capfd)("run", "-d", "hello").code == 0
    assert engine.of("run")[0].pull == "missing"


def test_cidfile_holds_the_id_and_is_never_overwritten(capfd, tmp_path):
    engine, file = engine_with_image(), tmp_path / "cid"
    assert Program(engine, capfd)("run", "-d", "--cidfile", str(file), "hello").code == 0
    assert file.read_text() == next(iter(engine.containers))
    assert Program(engine, capfd)("run", "-d", "--cidfile", str(file), "hello").code == 2
    assert len(engine.of("run")) == 1


def test_create_prints_the_id_and_starts_nothing(capfd):
    engine = engine_with_image()
    outcome = Program(engine, capfd)("create", "--name", "db", "hello")
    assert outcome.out == f"{next(iter(engine.containers))}\n"
    assert [name for name, _ in engine.calls] == ["create"]


def test_json_of_a_detached_run_holds_container_and_receipt(capfd):
    told = json.loads(Program(engine_with_image(), capfd)("run", "-d", "--json", "hello").out)
    assert set(told) == {"container", "receipt"}
    assert told["receipt"]["seq"] == 7


def test_keys_for_a_container_must_come_from_a_terminal(capfd):
    engine = engine_with_image()
    outcome = Program(engine, capfd)("run", "-it", "hello", "sh")
    assert (outcome.code, engine.calls) == (2, [])
    assert "not a terminal" in outcome.err


def attached(conmon: Conmon, code: int | None = 0, **spec):
    engine = engine_with_image()
    made = container(spec=ContainerSpec(**spec))
    engine.scripts["run"] = Reply(
        answers.ContainerAnswer(container=made, receipt=receipt(), attach=True), (conmon.near,))
    engine.scripts["wait"] = answers.WaitAnswer(code=code)
    return engine


@pytest.mark.parametrize("code", [0, 3, 137])
def test_an_attached_run_ends_with_the_containers_code(capfd, code):
    conmon = Conmon()
    conmon.say(b"out\n")
    conmon.say(b"err\n", stream=3)
    conmon.end()
    engine = attached(conmon, code)
    outcome = Program(engine, capfd)("run", "hello")
    assert (outcome.code, outcome.out, outcome.err) == (code, "out\n", "err\n")
    assert engine.of("wait")[0].container == container().id


def test_not_a_byte_is_lost_of_a_large_output(capfd):
    conmon = Conmon()
    data = b"0123456789abcde\n" * 200_000
    speaker = threading.Thread(target=lambda: (conmon.say(data), conmon.end()))
    speaker.start()
    outcome = Program(attached(conmon), capfd)("run", "hello")
    speaker.join()
    assert outcome.out.encode() == data


def test_an_exit_code_that_nobody_knows_is_an_error(capfd):
    conmon = Conmon()
    conmon.end()
    outcome = Program(attached(conmon, None), capfd)("run", "hello")
    assert outcome.code == errors.ContainerError.exit_code
    assert "not known" in outcome.err


@pytest.mark.parametrize(("error", "code"), [
    (errors.ExecFailed("permission denied"), 126), (errors.CommandNotFound("no such file"), 127),
])
def test_a_command_that_cannot_run_exits_as_in_docker(capfd, error, code):
    engine = engine_with_image()
    engine.scripts["run"] = error
    assert Program(engine, capfd)("run", "hello", "x").code == code


def test_a_process_that_was_too_quick_is_shown_from_its_log(capfd):
    engine = engine_with_image()
    engine.scripts["logs"] = answers.LogsAnswer(lines=(
        answers.LogLine(1, "stdout", "early"), answers.LogLine(2, "stderr", "bird")))
    engine.scripts["wait"] = answers.WaitAnswer(code=4)
    outcome = Program(engine, capfd)("run", "hello")
    assert (outcome.code, outcome.out, outcome.err) == (4, "early\n", "bird\n")


def test_a_verification_refusal_is_51_with_the_specs_code(capfd):
    engine = engine_with_image()
    engine.scripts["run"] = errors.VerificationRejected("MISSING_ATTESTATION", "nobody vouches", step=2)
    outcome = Program(engine, capfd)("run", "hello")
    assert outcome.code == 51
    assert "  code: MISSING_ATTESTATION" in outcome.err
