"""The command lines by which engines call an OCI runtime (runc 1.1, crun 1.8), read strictly. Pure.

Whatever is judged must be what the runtime then runs: an option that is not known here (crun's ``--config``
puts another file in the place of config.json) is refused rather than passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vordr.wrapper.refusal import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JUDGED: Final = frozenset({"create", "run", "restore"})
"""The commands that make a container's process."""

_GLOBAL: Final = {
    "--root": True, "--log": True, "--log-format": True, "--criu": True, "--cgroup-manager": True,
    "--rootless": True, "--debug": False, "--systemd-cgroup": False,
}
_MAKING: Final = {
    "--bundle": True, "-b": True, "--pid-file": True, "--console-socket": True, "--preserve-fds": True,
    "--no-pivot": False, "--no-new-keyring": False, "--no-subreaper": False, "--detach": False, "-d": False,
    "--keep": False,
}
_RESTORING: Final = {
    "--image-path": True, "--work-path": True, "--tcp-established": False, "--ext-unix-sk": False,
    "--shell-job": False, "--file-locks": False, "--manage-cgroups-mode": True, "--empty-ns": True,
    "--auto-dedup": False, "--lazy-pages": False, "--lsm-profile": True, "--lsm-mount-context": True,
}


class Words(NamedTuple):
    """``command`` is empty where there is none; ``bundle`` and ``ident`` are set for judged commands."""

    command: str
    bundle: str | None = None
    ident: str = ""


def read(words: Sequence[str]) -> Words:
    """What a command line asks for. Raises Malformed when a judged command is not understood to the end."""
    _, rest = _options(words, _GLOBAL)
    if not rest:
        return Words("")
    command = rest[0]
    if command not in JUDGED:
        return Words(command)
    known = {**_MAKING, **_RESTORING} if command == "restore" else _MAKING
    given, names = _options(rest[1:], known)
    if len(names) != 1 or not names[0]:
        raise Malformed(f"{command} takes one container id after its options, not {names!r}")
    if "--bundle" in given and "-b" in given:
        raise Malformed(f"{command} names its bundle twice")
    return Words(command, given.get("--bundle") or given.get("-b"), names[0])


def log_of(words: Sequence[str]) -> str | None:
    """The file of the option ``--log``, as far as it can be told; never raises."""
    for at, word in enumerate(words):
        if word.startswith("--log="):
            return word[len("--log="):]
        if word == "--log" and at + 1 < len(words):
            return words[at + 1]
        if word in JUDGED:
            return None
    return None


def _options(words: Sequence[str], known: Mapping[str, bool]) -> tuple[dict[str, str], Sequence[str]]:
    """The options in front, and the words from the first that is none. Raises Malformed."""
    given: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        if name not in known:
            raise Malformed(f"the option {name} is not known to the gate")
        if name in given:
            raise Malformed(f"the option {name} is given twice")
        if known[name] and not equals:
            at += 1
            if at == len(words):
                raise Malformed(f"the option {name} lacks its value")
            value = words[at]
        given[name] = value
        at += 1
    return given, words[at:]
