"""The shell launcher: which command lines it hands on at once, and which it gives to the gate."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "bin" / "vordr-runtime"
SPY = '#!/bin/sh\nprintf "%s\\n" {who} "$@"\n'

PASSED = [
    [],
    ["--version"],
    ["features"],
    ["kill", "web", "9"],
    ["kill", "--all", "create", "KILL"],
    ["delete", "--force", "run"],
    ["--root", "/r", "--log", "/l", "--log-format", "json", "delete", "restore"],
    ["--root=/r", "--systemd-cgroup", "state", "web"],
    ["--root", "create", "state", "web"],
    ["--debug", "exec", "--process", "p", "--detach", "--pid-file", "f", "web"],
    ["start", "web"],
    ["update", "--resources=-", "web"],
    ["--new-flag", "list"],
]
JUDGED = [
    ["create", "--bundle", "/b", "web"],
    ["run", "web"],
    ["restore", "web"],
    ["--root", "/r", "--log", "/l", "--log-format", "json", "--systemd-cgroup", "create", "web"],
    ["--root=/r", "run", "web"],
    ["--new-flag", "create", "web"],
    ["-root", "/r", "create", "web"],
    ["--new", "value", "run", "web"],
    ["--", "create", "web"],
    ["--root", "/r", "--new", "kill", "create"],
]


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """A copy, its configuration beside it naming programs that say who was called with what."""
    for who in ("runtime", "python"):
        (tmp_path / who).write_text(SPY.format(who=who))
        (tmp_path / who).chmod(0o755)
    copy = tmp_path / "vordr-runtime"
    copy.write_bytes(LAUNCHER.read_bytes())
    copy.chmod(0o755)
    (tmp_path / "vordr-runtime.toml").write_text(
        f'runtime = "{tmp_path}/runtime"\npython = "{tmp_path}/python"\n\n[[stores]]\nruntime = "/other"')
    return copy


def call(launcher: Path, words: list[str]) -> list[str]:
    ran = subprocess.run([launcher, *words], capture_output=True, text=True, env={}, check=True, timeout=20)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


@pytest.mark.parametrize("words", PASSED, ids=" ".join)
def test_what_makes_no_container_is_handed_on_at_once_in_the_same_words(launcher, words):
    assert call(launcher, words) == ["runtime", *words]


@pytest.mark.parametrize("words", JUDGED, ids=" ".join)
def test_what_could_make_one_goes_to_the_gate(launcher, words):
    who, isolated, _, _, *rest = call(launcher, words)
    assert (who, isolated) == ("python", "-I")
    assert rest[-len(words) - 2:] == [f"{launcher}.toml", f"{launcher.parent}/runtime", *words]


def test_words_with_spaces_and_newlines_stay_words(launcher):
    assert call(launcher, ["kill", "a  b", "*"]) == ["runtime", "kill", "a  b", "*"]


def test_without_an_interpreter_nothing_is_made_and_everything_ends(launcher):
    (launcher.parent / "python").unlink()
    ran = subprocess.run([launcher, "create", "web"], capture_output=True, text=True, env={}, check=False)
    assert ran.returncode != 0 and ran.stdout == ""
    assert call(launcher, ["delete", "--force", "web"])[0] == "runtime"


def test_the_environment_has_no_say(launcher, tmp_path):
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    given = {name: str(other) for name in (
        "real", "python", "config", "command", "skip", "judged", "key", "value", "VORDR_RUNTIME", "ENV")}
    ran = subprocess.run([launcher, "--debug", "create", "web"], capture_output=True, text=True, check=True,
                         env={**given, "PATH": os.environ["PATH"]}, timeout=20)
    assert ran.stdout.splitlines()[0] == "python"
