"""Logs of the service: structlog, JSON for machines, words for a person in front of it.

The standard library's loggers (Pykka's, for one) go the same way. Tracebacks carry no local variables: those
hold environment values and passphrases.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

MAX_BYTES: Final = 8 * 1024 * 1024

_SHARED: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(
    *, console: bool = False, level: str = "info", stream: TextIO | LogFile | None = None
) -> None:
    """Set up logging of this process, once: to ``stream`` (standard error), as JSON lines unless ``console``.

    ``level`` is a name of the standard library's levels, in small letters.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(console, handler.stream),
        ],
    ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("transitions").setLevel(logging.WARNING)  # it tells of every step inside a transition
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one part of the service, such as ``vordr.service``."""
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return found


def _rendering(console: bool, stream: Any) -> list[Any]:
    if console:
        return [structlog.dev.ConsoleRenderer(
            colors=bool(getattr(stream, "isatty", lambda: False)()),
            exception_formatter=structlog.dev.plain_traceback,
        )]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


class LogFile:
    """Standard output and error of this process in one file that does not grow without bound.

    Created 0600; beyond ``limit`` bytes it becomes ``<path>.1`` and a new one begins. What libraries and the
    interpreter itself write to descriptor 2 lands in it too.
    """

    def __init__(self, path: Path, *, limit: int = MAX_BYTES) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._open()

    def write(self, text: str) -> int:
        """A whole line; for :class:`logging.StreamHandler`. Never raises: a full disk must not stop us."""
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            try:
                if os.fstat(2).st_size + len(data) > self._limit:
                    self._path.replace(f"{self._path}.1")
                    self._open()
                os.write(2, data)
            except OSError:
                pass
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
