"""``vordr-runtime`` for the commands that make a container: judge, then become the real runtime.

Nothing is said on standard output, which is the runtime's; a refusal is one JSON object in the file of
``--log`` (containerd takes the last error of it, podman the whole of it) and words on standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from vordr.wrapper.asking import begin_deadline, end_deadline
from vordr.wrapper.config import load
from vordr.wrapper.judging import judge
from vordr.wrapper.refusal import Malformed, Refusal
from vordr.wrapper.words import JUDGED, log_of, read

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED: Final = 1


def main(arguments: Sequence[str]) -> NoReturn:
    """``arguments``: the configuration's file, the real runtime, and the words for it."""
    place, runtime, *words = arguments
    try:
        check(place, runtime, words)
    except Refusal as refusal:
        _tell(refusal, log_of(words))
        sys.exit(REFUSED)
    # Python ignores these two, and what is ignored stays so in the program that follows.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(runtime, [runtime, *words])
    except OSError as error:
        _tell(Malformed(f"the runtime {runtime} cannot be run: {error.strerror}"), log_of(words))
        sys.exit(REFUSED)


def check(place: str, runtime: str, words: Sequence[str]) -> None:
    """Return when the command may be handed on. Raises Refusal."""
    said = read(words)
    if said.command not in JUDGED:
        return
    config = load(place)
    if config.runtime not in (None, runtime):
        raise Malformed(f"{place}: the launcher does not read the runtime {config.runtime}",
                        'write it in the first lines, as: runtime = "/path"')
    begin_deadline(config.deadline)
    try:
        judge(config, said.bundle or os.getcwd(), said.ident)
    finally:
        end_deadline()


def _tell(refusal: Refusal, log: str | None) -> None:
    print(refusal, file=sys.stderr)
    if log is None:
        return
    from datetime import UTC, datetime

    line = json.dumps({"level": "error", "msg": str(refusal), "time": datetime.now(UTC).isoformat()})
    try:
        with open(log, "a") as file:
            file.write(line + "\n")
    except OSError as error:
        print(f"vordr: the log {log} cannot be written: {error.strerror}", file=sys.stderr)
