"""What runc's and crun's words mean."""

from __future__ import annotations

import pytest

from vordr.model.errors import CommandNotFound, ExecFailed, RuntimeFailed
from vordr.runtime.failures import runtime_error

NOT_FOUND = (
    'runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH',
    'runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or '
    "directory",
    'time="2026-01-01T00:00:00Z" level=error msg="exec failed: unable to start container process: exec: '
    '\\"nope\\":'
    ' executable file not found in $PATH"',
    "executable file `nope` not found in $PATH: No such file or directory",
)
NOT_EXECUTABLE = (
    'runc create failed: unable to start container process: exec: "/etc/passwd": permission denied',
    "open executable: Permission denied",
    "open executable: Operation not permitted",
    "exec /bin/bad: exec format error",
)
OTHER = (
    "runc create failed: unable to start container process: error during container init: error mounting x: "
    "no such file or directory",
    'chdir to cwd ("/nodir") set in config.json failed: no such file or directory',
    "setrlimit (RLIM_MEMLOCK): Operation not permitted",
    "",
)


@pytest.mark.parametrize("text", NOT_FOUND)
def test_a_missing_command_is_127(text: str) -> None:
    error = runtime_error(text, "create")
    assert type(error) is CommandNotFound
    assert error.exit_code == 127


@pytest.mark.parametrize("text", NOT_EXECUTABLE)
def test_a_command_that_cannot_be_executed_is_126(text: str) -> None:
    error = runtime_error(text, "create")
    assert type(error) is ExecFailed
    assert error.exit_code == 126


@pytest.mark.parametrize("text", OTHER)
def test_everything_else_is_the_runtimes_failure(text: str) -> None:
    assert type(runtime_error(text, "create")) is RuntimeFailed


def test_the_message_is_the_last_line_without_its_dressing() -> None:
    error = runtime_error("warning first\n" + NOT_FOUND[2] + "\n\n", "exec")
    assert str(error) == 'exec: "nope": executable file not found in $PATH'


def test_the_whole_text_stays_in_the_details() -> None:
    assert "warning first" in runtime_error("warning first\nlast", "create").details["runtime"]
