"""What a list shows of things, in docker's words (its units package). Pure.

The fast path imports this at every call, so it imports nothing itself; :mod:`vordr.cli.wording` has the rest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, Protocol

    class Listed(Protocol):
        """What a list tells of a container: a ContainerState has it, and so has the answer on the wire."""

        @property
        def id(self) -> str: ...
        @property
        def name(self) -> str: ...
        @property
        def image_name(self) -> str: ...
        @property
        def arguments(self) -> Sequence[str]: ...
        @property
        def ports(self) -> Sequence[str]: ...
        @property
        def state(self) -> str: ...
        @property
        def created(self) -> int: ...
        @property
        def started(self) -> int | None: ...
        @property
        def finished(self) -> int | None: ...
        @property
        def exit_code(self) -> int | None: ...
        @property
        def parked(self) -> str | None: ...

_SECOND: Final = 1_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600


def duration(us: int) -> str:
    """``us`` microseconds roughly: "5 minutes", "About an hour", "3 weeks"."""
    seconds = max(0, us) // _SECOND
    minutes, hours = seconds // _MINUTE, (seconds + _HOUR // 2) // _HOUR
    days = hours // 24
    for bound, below, text in (
        (seconds, 1, "Less than a second"),
        (seconds, 2, "1 second"),
        (seconds, 60, f"{seconds} seconds"),
        (minutes, 2, "About a minute"),
        (minutes, 60, f"{minutes} minutes"),
        (hours, 2, "About an hour"),
        (hours, 48, f"{hours} hours"),
        (days, 14, f"{days} days"),
        (days, 60, f"{days // 7} weeks"),
        (days, 730, f"{days // 30} months"),
    ):
        if bound < below:
            return text
    return f"{days // 365} years"


def ago(us: int, now_us: int) -> str:
    return f"{duration(now_us - us)} ago"


def size(count: int) -> str:
    """Bytes in decimal units and three digits, as in docker's image list: "4.26MB"."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g}{unit}"


def status(container: Listed, now_us: int) -> str:
    """docker's STATUS column: "Up 5 minutes", "Exited (0) 2 minutes ago", "Created"."""
    up = f"Up {duration(now_us - (container.started or now_us))}"
    match container.state:
        case "running":
            text = up
        case "paused":
            text = f"{up} (Paused)"
        case "stopped":
            code = "unknown" if container.exit_code is None else container.exit_code
            text = f"Exited ({code}) {ago(container.finished or now_us, now_us)}"
        case other:
            text = str(other).capitalize()
    return f"{text} (Parked)" if container.parked else text


def printable(text: str) -> str:
    """``text`` with control and direction characters spelt out: images and registries choose much of what we
    print, and must not move a terminal's cursor."""
    if text.isprintable():  # no character of category Other, to which all those belong
        return text
    return "".join(f"\\x{ord(c):02x}" if _moves_the_cursor(c) else c for c in text)


def _moves_the_cursor(character: str) -> bool:
    return (
        character < " " or "\x7f" <= character <= "\x9f"
        or "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    )


def command_text(words: Sequence[str]) -> str:
    """A command as docker shows it: its words joined by spaces."""
    return " ".join(words)


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


PS_COLUMNS: Final = (
    ("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("COMMAND", "Command"), ("CREATED", "RunningFor"),
    ("STATUS", "Status"), ("PORTS", "Ports"), ("NAMES", "Names"),
)
"""(heading, field of :func:`ps_cells`) of each column of docker's ``ps``."""


def ps_cells(container: Listed, now_us: int, *, full: bool) -> dict[str, str]:
    """The columns of one container by their names in docker's templates. ``full`` cuts nothing."""
    command = command_text(container.arguments)
    return {
        "ID": container.id if full else container.id[:12],
        "Image": container.image_name,
        "Command": f'"{command if full else shortened(command, 20)}"',
        "RunningFor": ago(container.created, now_us),
        "Status": status(container, now_us),
        "Ports": ", ".join(container.ports),
        "Names": container.name,
    }


def age_order(container: Listed) -> tuple[int, str]:
    """The key that sorts containers, the oldest first."""
    return container.created, container.id
