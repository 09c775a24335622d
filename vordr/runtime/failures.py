"""What an OCI runtime's words mean: runc and crun report a missing command only in prose."""

from __future__ import annotations

import re
from typing import Final

from vordr.model.errors import CommandNotFound, ExecFailed, RuntimeFailed
from vordr.runtime.command import last_line

# runc 1.1: exec: "nope": executable file not found in $PATH; exec: "/nope": stat /nope: no such file or …
# crun 1.8: executable file `nope` not found in $PATH: No such file or directory; open executable: …
_NOT_FOUND: Final = re.compile(
    r"executable file (?:not found|[`'\"].*[`'\"] not found)|exec: .*: no such file or directory"
    r"|open executable: No such file|execve? .*: No such file or directory",
    re.IGNORECASE,
)
_NOT_EXECUTABLE: Final = re.compile(
    r"exec: .*: (?:permission denied|is a directory)|exec format error"
    r"|(?:execve?|the path) .*(?:permission denied|exec format error|is not executable)"
    r"|open executable: (?:permission denied|operation not permitted|is a directory)",
    re.IGNORECASE,
)
_LOGGED: Final = re.compile(r'.*\bmsg="(?P<words>(?:[^"\\]|\\.)*)"')
_PREFIX: Final = re.compile(
    r"^(?:\[conmon:\w\]: )?(?:runc (?:create|run|exec) failed: |exec failed: )?"
    r"(?:unable to start container process: )?(?:error during container init: )?(?:OCI runtime error: )?"
)


def runtime_error(text: str, doing: str) -> RuntimeFailed | ExecFailed:
    """The error behind a runtime's stderr: CommandNotFound (127), ExecFailed (126), else RuntimeFailed.

    ``doing`` says what was tried ("create", "exec"); the message is the last line with its log dressing off.
    """
    words = _undress(last_line(text))
    details = {"runtime": text.strip()[-2000:]}
    if _NOT_FOUND.search(words):
        return CommandNotFound(words, details=details, remedy="check the command and the image's contents")
    if _NOT_EXECUTABLE.search(words):
        return ExecFailed(words, details=details, remedy="check that the file is executable in the image")
    return RuntimeFailed(f"{doing}: {words or 'the runtime failed without a word'}", details=details)


def _undress(line: str) -> str:
    """A logrus line's message, without the nesting of prefixes that says nothing to a user."""
    match = _LOGGED.match(line)
    words = match["words"].replace('\\"', '"').replace("\\\\", "\\") if match else line
    return _PREFIX.sub("", words)
