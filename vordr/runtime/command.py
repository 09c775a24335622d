"""Running the programs that containers need: a list of words, a clean environment, a deadline, no shell.

A failure carries the command as it can be pasted into a shell, and the program's last words.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.model.errors import RuntimeFailed, RuntimeNotFound

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}

PACKAGES: Final[Mapping[str, str]] = {
    "mkfs.erofs": "erofs-utils",
    "nft": "nftables",
    "bsdtar": "libarchive-tools",
    "docker-registry": "docker-registry",
}
"""Debian package of a program where the two names differ."""


@dataclass(frozen=True)
class Completed:
    """A program that ended: its words, exit code (negative: killed by that signal) and output."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes


def find(program: str) -> Path:
    """Absolute path of ``program`` on the system's search path (never the caller's PATH).

    An absolute path is checked and returned. Raises RuntimeNotFound naming the Debian package.
    """
    found = shutil.which(program, path=SEARCH_PATH)
    if found is None:
        raise missing(program)
    return Path(found)


def missing(program: str) -> RuntimeNotFound:
    """The error that says which Debian package brings ``program``."""
    name = Path(program).name
    return RuntimeNotFound(f"{name} is not installed", remedy=install_command(name))


def install_command(*programs: str) -> str:
    """The command that installs ``programs`` on Debian and Ubuntu."""
    return "apt-get install -y " + " ".join(dict.fromkeys(PACKAGES.get(name, name) for name in programs))


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float = 30.0,
    input: bytes | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Run ``argv`` to its end in a session of its own and return what it said.

    ``timeout`` is in seconds; ``env`` is added to a clean environment (the caller's is never passed on).
    Raises RuntimeNotFound when the program is missing, RuntimeFailed when it overruns the deadline or, with
    ``check``, exits non-zero.
    """
    words = tuple(str(word) for word in argv)
    program = find(words[0])
    process = subprocess.Popen(
        words,
        executable=program,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(pass_fds),
        env={**CLEAN_ENVIRONMENT, **(env or {})},
        cwd="/",
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(input, timeout)
    except BaseException as error:
        # The session is its own, so this reaches the program's children and nobody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeFailed(f"{shlex.join(words)}: no end after {timeout:g} s; it was killed") from error
        raise
    completed = Completed(words, process.returncode, stdout, stderr)
    if check and completed.code != 0:
        raise failed(completed)
    return completed


def failed(completed: Completed) -> RuntimeFailed:
    """The error of a program that exited non-zero: pasteable command and last line of its stderr."""
    words = last_line(completed.stderr.decode(errors="replace"))
    ending = f"signal {-completed.code}" if completed.code < 0 else f"exit code {completed.code}"
    return RuntimeFailed(
        f"{shlex.join(completed.argv)}: {words or ending}",
        details={"argv": list(completed.argv), "code": completed.code},
    )


def last_line(text: str) -> str:
    """The last line of ``text`` that says anything, stripped; empty when none does."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
