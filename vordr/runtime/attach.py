"""The attach socket and the control FIFO of conmon (conmon: conn_sock.c, ctrl.c).

The socket is SOCK_SEQPACKET. Each packet from conmon is one byte that names the stream and up to 8191 bytes
of output; a client sends plain bytes as stdin, and shuts down its sending side for end of file.
"""

from __future__ import annotations

import errno
import os
import socket
from enum import IntEnum
from pathlib import Path
from typing import Final

from vordr.model.errors import ContainerStopped, RuntimeFailed, UsageError
from vordr.model.paths import Paths
from vordr.runtime.identifiers import check_id, check_session

LONGEST_PACKET: Final = 8192
_WIN_RESIZE_EVENT: Final = 1
# conmon ≥ 2.2 refuses more.
_LARGEST_SIDE: Final = 1000


class Stream(IntEnum):
    """First byte of a packet from conmon; with a terminal all output is STDOUT."""

    STDOUT = 2
    STDERR = 3


def connect_attach(paths: Paths, container: str) -> socket.socket:
    """Connect to a container's attach socket; the caller closes it.

    Raises ContainerStopped when no conmon listens.
    """
    return attach_to(_folder(paths, container, None))


def attach_to(folder: Path) -> socket.socket:
    """Connect to the attach socket in ``folder``, whatever the length of its path.

    sun_path holds 107 bytes (unix(7)), so the folder is opened and named through /proc/self/fd.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}/attach")
        finally:
            os.close(descriptor)
    except OSError as error:
        connection.close()
        raise _gone("attach", error) from error
    return connection


def resize(paths: Paths, container: str, rows: int, columns: int, session: str | None = None) -> None:
    """Tell the terminal of the container's process (or of an exec session) its new size.

    Raises UsageError for an impossible size, ContainerStopped when its conmon is gone.
    """
    if not (0 < rows <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE):
        raise UsageError(f"impossible terminal size {rows} × {columns}")
    _control(_folder(paths, container, session), f"{_WIN_RESIZE_EVENT} {rows} {columns}\n")


def _folder(paths: Paths, container: str, session: str | None) -> Path:
    home = paths.container_run(check_id(container))
    return home / "bundle" if session is None else home / "exec" / check_session(session)


def _control(folder: Path, line: str) -> None:
    """One write of less than PIPE_BUF: lines of several writers do not mix (pipe(7))."""
    try:
        descriptor = os.open(folder / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise _gone("resize", error) from error
    try:
        os.write(descriptor, line.encode())
    except OSError as error:
        raise _gone("resize", error) from error
    finally:
        os.close(descriptor)


def _gone(what: str, error: OSError) -> ContainerStopped | RuntimeFailed:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENXIO, errno.EPIPE):
        message = f"cannot {what}: the container's process is not running"
        return ContainerStopped(message, remedy="vordr ps -a")
    return RuntimeFailed(f"cannot {what}: {error.strerror}")
