"""What a user asked for: the container spec, pure and complete.

A spec is journalled and part of the state digest, so it holds no secret: the values of ``-e`` live in the
secrets store of the root folder, and the spec carries their keyed digests only.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from vordr.model.errors import UsageError

NAME_GRAMMAR: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
HOSTNAME_GRAMMAR: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")
# execve(2) takes no argument longer than 128 KiB with its NUL; the journal no integer of 2^53 or more.
LONGEST_TEXT: Final = 131_071
# Command, labels and names together: every list of containers and every record of one repeats them.
LARGEST_SPEC: Final = 160 * 1024
LARGEST_LIMIT: Final = 2**52
ENV_GRAMMAR: Final = re.compile(r"[^=\x00]+")
# More digits than any bound here has; Python makes no int of more than 4300.
_DIGITS: Final = re.compile(r"[0-9]{1,16}")


class RestartMode(StrEnum):
    """docker's restart policies (``--restart``)."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


class RestartPolicy(msgspec.Struct, frozen=True):
    """When a process that ended by itself is started again; ``retries`` 0 means without limit."""

    mode: RestartMode = RestartMode.NO
    retries: int = 0

    def __str__(self) -> str:
        return f"{self.mode}:{self.retries}" if self.retries else str(self.mode)


class NetworkMode(StrEnum):
    """A network namespace with loopback only, or the host's where policy allows it."""

    NONE = "none"
    HOST = "host"


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The wish behind a container. Sizes are bytes, CPU is thousandths of one CPU.

    ``entrypoint`` None means the image's; ``environment`` maps names to keyed digests of their values.
    """

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    workdir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stdin: bool = False
    read_only: bool = False
    init: bool = False
    memory: int | None = None
    cpu_millis: int | None = None
    pids_limit: int | None = None
    network: NetworkMode = NetworkMode.NONE
    restart: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    labels: dict[str, str] = {}
    stop_signal: str | None = None
    stop_timeout: int = 10


class IdRange(msgspec.Struct, frozen=True):
    """Host ids [first, first+count) that a container's ids [0, count) map to."""

    first: int
    count: int = 65536


def parse_restart(text: str) -> RestartPolicy:
    """Read docker's ``--restart`` syntax: no, always, unless-stopped, on-failure[:n]."""
    mode, _, number = text.partition(":")
    if mode == "":
        mode = "no"
    if mode not in set(RestartMode):
        raise UsageError(
            f"unknown restart policy {text[:80]!r}",
            remedy="one of: no, on-failure[:n], always, unless-stopped",
        )
    if not number and ":" not in text:
        return RestartPolicy(RestartMode(mode))
    if mode != RestartMode.ON_FAILURE or _DIGITS.fullmatch(number) is None:
        raise UsageError(
            f"restart policy {text[:80]!r}: only on-failure takes a number of retries (on-failure:3)")
    return RestartPolicy(RestartMode.ON_FAILURE, int(number))


_SIZE: Final = re.compile(r"(\d{1,16})(b|[kmgt]i?b?)?", re.IGNORECASE | re.ASCII)
_UNITS: Final = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Read docker's memory syntax (``64m``, ``1g``, plain bytes) into bytes; binary multiples."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"invalid size {text[:80]!r}", remedy="a number with b, k, m or g, such as 64m")
    unit = (match[2] or "")[:1].lower()
    multiple: int = 1024 ** _UNITS[unit]
    return int(match[1]) * multiple


def parse_cpus(text: str) -> int:
    """Read ``--cpus`` (``1.5``) into thousandths of a CPU."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?|\.\d{1,3}", text, re.ASCII):
        remedy = "a number with up to 3 decimals, such as 1.5"
        raise UsageError(f"invalid number of CPUs {text[:80]!r}", remedy=remedy)
    whole, _, fraction = text.partition(".")
    millis = int(whole or 0) * 1000 + int(fraction.ljust(3, "0"))
    if millis == 0:
        raise UsageError("--cpus must be more than 0")
    return millis


def parse_signal(text: str | int) -> int:
    """A signal by number or name (``TERM``, ``SIGTERM``, 15), as docker's kill takes it."""
    value = str(text).upper()
    if _DIGITS.fullmatch(value) and 1 <= int(value) <= signal.SIGRTMAX:
        return int(value)
    name = value if value.startswith("SIG") else f"SIG{value}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        remedy = "a name such as TERM or a number such as 15"
        raise UsageError(f"unknown signal {str(text)[:80]!r}", remedy=remedy) from None


def check_name(name: str) -> str:
    """Return ``name`` when it may name a container; raises UsageError."""
    if NAME_GRAMMAR.fullmatch(name) is None:
        raise UsageError(
            f"invalid container name {name[:80]!r}",
            remedy="letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 128",
        )
    if re.fullmatch(r"[0-9a-f]{64}", name):
        raise UsageError(f"container name {name!r} looks like a container id")
    return name


LONGEST_STOP: Final = 86_400
"""Seconds that a stop may wait for a process to end by itself."""
_LEAST_MEMORY: Final = 6 * 1024 * 1024


def check_text(word: str) -> str:
    """Return ``word`` when a process can be given it and the journal can hold it; raises UsageError."""
    try:
        size = len(word.encode("utf-8"))
    except UnicodeEncodeError:
        raise UsageError(f"{word[:80]!r} is not valid UTF-8") from None
    if "\0" in word:
        raise UsageError(f"a NUL byte is not allowed in {word[:80]!r}")
    if size > LONGEST_TEXT:
        raise UsageError(f"an argument of {size} bytes is longer than {LONGEST_TEXT}")
    return word


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise UsageError for a variable that no process can be given. Values are never in the message."""
    for name, value in environment.items():
        if ENV_GRAMMAR.fullmatch(name) is None:
            raise UsageError(f"invalid environment variable name {name[:80]!r}")
        check_text(name)
        try:
            size = len(name.encode("utf-8")) + 1 + len(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise UsageError(f"the value of the variable {name[:80]!r} is not valid UTF-8") from None
        if "\0" in value:
            raise UsageError(f"a NUL byte is not allowed in the environment variable {name[:80]!r}")
        if size > LONGEST_TEXT:
            raise UsageError(f"the environment variable {name[:80]!r} is longer than {LONGEST_TEXT} bytes")


def check_exec(
    command: Sequence[str], environment: Mapping[str, str], user: str | None, workdir: str | None
) -> None:
    """Raise UsageError for an exec that no process can be given: the runtime would wait, or quote it all."""
    for word in (*command, user or "", workdir or ""):
        check_text(word)
    if workdir is not None and not workdir.startswith("/"):
        raise UsageError(f"working directory {workdir[:80]!r} must be absolute")
    check_environment(environment)
    check_size((*command, *environment))


def check_size(words: Iterable[str]) -> None:
    """Raise UsageError when ``words`` together are more than each record and each list should carry."""
    total = sum(len(word.encode("utf-8")) + 1 for word in words)
    if total > LARGEST_SPEC:
        raise UsageError(f"command, labels and names of {total} bytes; at most {LARGEST_SPEC} are allowed")


def check_spec(spec: ContainerSpec) -> ContainerSpec:
    """Return ``spec`` when its parts fit together; raises UsageError naming the option."""
    limits = (
        (spec.memory, _LEAST_MEMORY, "--memory must be at least 6m"),
        (spec.pids_limit, 1, "--pids-limit must be at least 1"),
        (spec.cpu_millis, 10, "--cpus must be at least 0.01"),
    )
    for value, least, message in limits:
        if value is not None and value < least:
            raise UsageError(message)
        if value is not None and value > LARGEST_LIMIT:
            raise UsageError(f"{message.partition(' ')[0]} is too large")
    if not 0 <= spec.stop_timeout <= LONGEST_STOP:
        raise UsageError(f"--stop-timeout must be from 0 to {LONGEST_STOP} seconds")
    if not 0 <= spec.restart.retries <= LARGEST_LIMIT:
        raise UsageError(f"--restart: retries must be from 0 to {LARGEST_LIMIT}")
    if spec.restart.retries and spec.restart.mode is not RestartMode.ON_FAILURE:
        raise UsageError("--restart: only on-failure takes a number of retries")
    if spec.auto_remove and spec.restart.mode is not RestartMode.NO:
        raise UsageError("--rm and --restart exclude each other", remedy="leave one of them out")
    if spec.workdir is not None and not spec.workdir.startswith("/"):
        raise UsageError(f"working directory {spec.workdir[:80]!r} must be absolute")
    for name in spec.environment:
        if ENV_GRAMMAR.fullmatch(name) is None:
            raise UsageError(f"invalid environment variable name {name[:80]!r}")
    texts = (spec.user or "", spec.hostname or "", spec.workdir or "")
    labels = (word for pair in spec.labels.items() for word in pair)
    words = (*spec.command, *(spec.entrypoint or ()), *texts, *spec.environment, *labels)
    for word in words:
        check_text(word)
    check_size(words)
    if spec.hostname is not None and HOSTNAME_GRAMMAR.fullmatch(spec.hostname) is None:
        raise UsageError(
            f"invalid host name {spec.hostname[:80]!r}", remedy="letters, digits, '.' and '-', at most 63")
    if spec.stop_signal is not None:
        parse_signal(spec.stop_signal)
    return spec
