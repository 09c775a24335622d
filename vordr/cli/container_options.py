"""The options that run and create share, and how they become the engine's arguments."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vordr.cli.context import Session
from vordr.cli.progress import progress
from vordr.engine.protocol import Reply, is_package
from vordr.model.arguments import CreateArgs
from vordr.model.errors import UsageError
from vordr.model.spec import NetworkMode, parse_cpus, parse_restart, parse_signal, parse_size

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=CreateArgs)

_OPTIONS: Final = (
    click.option("--name", metavar="NAME", help="Name of the container.  [default: made up]"),
    click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]",
                 help="Set an environment variable; without a value, take it from here."),
    click.option("--env-file", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
                 help="Read environment variables from a file, one NAME=VALUE a line."),
    click.option("-w", "--workdir", metavar="DIR", help="Working directory inside the container."),
    click.option("-u", "--user", metavar="USER[:GROUP]",
                 help="User inside the container, by name or number."),
    click.option("-i", "--interactive", "stdin", is_flag=True, help="Keep standard input open."),
    click.option("-t", "--tty", is_flag=True, help="Give the container a terminal."),
    click.option("--read-only", is_flag=True, help="Make the root file system read-only."),
    click.option("-m", "--memory", metavar="SIZE", help="Memory limit, such as 64m."),
    click.option("--cpus", metavar="N", help="CPU limit, such as 1.5."),
    click.option("--pids-limit", type=int, metavar="N", help="Most processes; -1 for no limit."),
    click.option("--restart", default="no", metavar="POLICY",
                 help="no, on-failure[:N], always, unless-stopped.  [default: no]"),
    click.option("--entrypoint", metavar="WORD", help="Instead of the image's entrypoint; '' for none."),
    click.option("--init", is_flag=True, help="Run an init that reaps and forwards signals."),
    click.option("--network", default="none", metavar="none|host",
                 help="none: loopback only; host: the host's network.  [default: none]"),
    click.option("-l", "--label", "labels", multiple=True, metavar="KEY[=VALUE]", help="Set a label."),
    click.option("-h", "--hostname", metavar="NAME", help="Host name inside the container."),
    click.option("--stop-signal", metavar="SIGNAL", help="Signal that stops it gently.  [default: TERM]"),
    click.option("--stop-timeout", type=click.IntRange(min=0), default=10, metavar="SECONDS",
                 help="Time until it is killed.  [default: 10]"),
    click.option("--pull", type=click.Choice(["always", "missing", "never"]), default="missing",
                 help="When to ask the registry.  [default: missing]"),
    click.option("--verify", is_flag=True, expose_value=False,
                 help="Accepted: the image is always verified."),
    click.option("--rm", "--remove-on-exit", "auto_remove", is_flag=True,
                 help="Move the container to the trash when it ends."),
    click.option("--cidfile", type=click.Path(path_type=Path), metavar="FILE",
                 help="Write the container's id to a file that does not exist yet."),
    click.argument("image"),
    click.argument("command", nargs=-1, type=click.UNPROCESSED),
)


def container_options(function: F) -> F:
    """All of them, in the order in which the help shows them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def create_args(kind: type[A], wishes: dict[str, Any], **more: Any) -> A:
    """The engine's arguments from the options' values. Raises UsageError naming the option."""
    w = dict(wishes)
    image = os.path.abspath(w["image"]) if is_package(w["image"]) else w["image"]
    if w["stop_signal"] is not None:
        parse_signal(w["stop_signal"])
    return kind(
        image=image,
        package=is_package(w["image"]),
        name=w["name"],
        command=tuple(w["command"]),
        entrypoint=None if w["entrypoint"] is None else entrypoint(w["entrypoint"]),
        environment=environment(w["env"], w["env_file"]),
        workdir=w["workdir"],
        user=w["user"],
        hostname=w["hostname"],
        tty=w["tty"],
        stdin=w["stdin"],
        read_only=w["read_only"],
        init=w["init"],
        memory=None if w["memory"] is None else parse_size(w["memory"]),
        cpu_millis=None if w["cpus"] is None else parse_cpus(w["cpus"]),
        pids_limit=None if w["pids_limit"] in (None, -1, 0) else w["pids_limit"],
        network=network(w["network"]),
        restart=parse_restart(w["restart"]),
        auto_remove=w["auto_remove"],
        labels=labels(w["labels"]),
        stop_signal=w["stop_signal"],
        stop_timeout=w["stop_timeout"],
        pull=w["pull"],
        **more,
    )


def make(session: Session, operation: str, args: CreateArgs, cidfile: Path | None) -> Reply:
    """Ask the engine for the container, and note its id. Raises UsageError when the file exists."""
    if cidfile is not None and cidfile.exists():
        raise UsageError(f"{cidfile} exists already", remedy=f"remove it: rm {shlex.quote(str(cidfile))}")
    with progress(session) as on_event:
        reply = session.engine().call_with_package(operation, args, on_event=on_event)
    if cidfile is not None:
        cidfile.write_text(reply.answer.container.id)
    return reply


def entrypoint(text: str) -> tuple[str, ...]:
    """One word, as docker's; several as a JSON list, as podman's; ``''`` for none. Raises UsageError."""
    if not text.startswith("["):
        return (text,) if text else ()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise UsageError(
            f"--entrypoint {text!r} is no list of words", remedy="""--entrypoint '["sh", "-c"]'""")
    return tuple(found)


def network(text: str) -> NetworkMode:
    if text not in set(NetworkMode):
        raise UsageError(f"there is no network {text!r}", remedy="--network none, or --network host")
    return NetworkMode(text)


def labels(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key:
            raise UsageError(f"--label {pair!r} has no key", remedy="--label KEY=VALUE")
        found[key] = value
    return found


def environment(given: Iterable[str], files: Iterable[Path] = ()) -> dict[str, str]:
    """Variables from ``--env-file`` and then ``-e``, as docker reads them: a name without a value takes it
    from our own environment, or is left out when it is not there. Raises UsageError."""
    found: dict[str, str] = {}
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"cannot read --env-file {file}: {reason}") from None
        stripped = (line.lstrip() for line in text.splitlines())
        _add(found, (line for line in stripped if line and not line.startswith("#")), str(file))
    _add(found, given, "-e")
    return found


def _add(found: dict[str, str], pairs: Iterable[str], where: str) -> None:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or (name != name.strip()):
            raise UsageError(f"{where}: {pair!r} has no name", remedy="NAME=VALUE")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
