"""One end of a connection on the service's socket: frames and descriptors, whole or not at all.

The client's and the service's side share it. It imports little: the command line pays for it at every call.

A stream socket keeps descriptors (SCM_RIGHTS, unix(7)) with the bytes they were sent with. Frames are
therefore read to the byte, never ahead: what arrives while a frame is read belongs to that frame, even when
the peer sends the next one at once.
"""

from __future__ import annotations

import array
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from vordr.formats import frames
from vordr.formats.errors import FormatError

MAX_FILES: Final = 4
"""Descriptors per frame."""

_CHUNK: Final = 256 * 1024
_LONGEST_ADDRESS: Final = 107  # sun_path is 108 bytes with its NUL (unix(7))
_RIGHTS_SPACE: Final = socket.CMSG_SPACE(MAX_FILES * array.array("i").itemsize)


class Silence(TimeoutError):
    """Not a byte came in the time given for the first."""


class Received(NamedTuple):
    """One frame. The receiver owns ``files`` (close-on-exec) and closes them."""

    message: dict[str, Any]
    files: tuple[int, ...]


def close_files(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


class Channel:
    """Frames over one connected stream socket, which it owns.

    One thread receives; any may send or call :meth:`shutdown`.
    """

    def __init__(self, connected: socket.socket, *, max_frame: int = frames.MAX_FRAME) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._max_frame = max_frame
        self._sending = threading.Lock()
        self._backlog = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    # -- receiving ---------------------------------------------------------------------------------

    def receive(self, *, idle: float | None = None, within: float | None = None) -> Received | None:
        """The next frame; None when the peer closed between two frames.

        ``idle`` seconds may pass before its first byte, ``within`` seconds from there to its last (None:
        any time).

        :raises FormatError: no frame, an oversized one, or too many descriptors; nothing more can be read.
        :raises Silence: ``idle`` passed; TimeoutError: ``within`` passed.
        :raises OSError: the connection broke; EOFError: it ended inside a frame.
        """
        files: list[int] = []
        try:
            deadline = None if idle is None else time.monotonic() + idle
            try:
                header = self._read(frames.HEADER, files, deadline)
            except TimeoutError as error:
                raise Silence(f"no frame within {idle:g} s") from error
            if not header:
                return None
            decoder = frames.Decoder(self._max_frame)
            deadline = None if within is None else time.monotonic() + within
            while len(header) < frames.HEADER:
                header += self._read_some(frames.HEADER - len(header), files, deadline)
            messages = decoder.feed(header)
            missing = int.from_bytes(header, "big")
            while missing:
                data = self._read_some(min(missing, _CHUNK), files, deadline)
                missing -= len(data)
                messages += decoder.feed(data)
            (message,) = messages
            return Received(message, tuple(files))
        except BaseException:
            close_files(files)
            raise

    def _read_some(self, count: int, files: list[int], deadline: float | None) -> bytes:
        data = self._read(count, files, deadline)
        if not data:
            raise EOFError("the connection ended inside a frame")
        return data

    def _read(self, count: int, files: list[int], deadline: float | None) -> bytes:
        """1 to ``count`` bytes, or none at the end; descriptors that came with them go into ``files``."""
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    count, _RIGHTS_SPACE, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    rights = array.array("i")
                    rights.frombytes(payload[: len(payload) - len(payload) % rights.itemsize])
                    files.extend(rights)
            if flags & socket.MSG_CTRUNC or len(files) > MAX_FILES:
                raise FormatError("frame", f"more than {MAX_FILES} descriptors")
            return data

    def _wait(self, events: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), events)
        if deadline is None:
            poll.poll()
        elif not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("a frame took too long")

    # -- sending -----------------------------------------------------------------------------------

    def send(self, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
        """Send one frame, waiting as long as the peer reads slowly; ``files`` stay the caller's.

        :raises FormatError: the message cannot be a frame; nothing was sent.
        :raises OSError: the peer is gone.
        """
        if len(files) > MAX_FILES:
            raise FormatError("frame", f"more than {MAX_FILES} descriptors")
        frame = frames.encode(message)
        with self._sending:
            self._flush()
            view = memoryview(frame)
            if files:
                view = view[self._send_first(view, files) :]
            while view:
                view = view[self._send_some(view) :]

    def send_or_drop(self, message: Mapping[str, Any]) -> bool:
        """Send one frame only if the peer takes it without delay; false when it was dropped.

        Never blocks. Raises OSError when the peer is gone.
        """
        frame = frames.encode(message)
        if not self._sending.acquire(blocking=False):
            return False
        try:
            if self._backlog:
                try:
                    self._backlog = self._backlog[self._socket.send(self._backlog) :]
                except BlockingIOError:
                    return False
                if self._backlog:
                    return False
            try:
                self._backlog = frame[self._socket.send(frame) :]
            except BlockingIOError:
                return False
            return True
        finally:
            self._sending.release()

    def _flush(self) -> None:
        while self._backlog:
            self._backlog = self._backlog[self._send_some(memoryview(self._backlog)) :]

    def _send_first(self, view: memoryview, files: Sequence[int]) -> int:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        while True:
            try:
                return self._socket.sendmsg([view], rights)
            except BlockingIOError:
                self._wait(select.POLLOUT, None)

    def _send_some(self, view: memoryview) -> int:
        while True:
            try:
                return self._socket.send(view)
            except BlockingIOError:
                self._wait(select.POLLOUT, None)

    # -- ending ------------------------------------------------------------------------------------

    def quiet(self) -> bool:
        """Whether the peer is there and has sent nothing: the state of a connection between requests."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the conversation from any thread; a blocked receive or send returns. Idempotent."""
        try:
            self._socket.shutdown(how)
        except OSError:  # already not connected, or closed: that is what was wanted
            pass

    def close(self) -> None:
        self._socket.close()


# -- addresses -------------------------------------------------------------------------------------


class SocketAddress:
    """The address of a socket file, however long its path: context manager of the text to bind or connect.

    A path beyond what ``sun_path`` holds is reached through a descriptor of its folder in /proc.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: int | None = None

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= _LONGEST_ADDRESS:
            return str(self._path)
        self._folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


def dial(path: Path) -> Channel:
    """Connect to the service's socket. Raises OSError: ENOENT, ECONNREFUSED (nobody listens), EACCES."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with SocketAddress(path) as address:
            connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return Channel(connecting)


def listen(path: Path, *, group: int | None, backlog: int = 128) -> socket.socket:
    """A listening socket at ``path``, mode 0660, of ``group`` (None: the process's own).

    Replaces a stale socket: call it only while holding the root folder's lock. Nobody can connect before
    owner and mode are set.

    :raises OSError: the folder is missing or not writable; FileExistsError when what is there is no socket.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _unlink_socket(path)
        # On Linux the file takes its mode from the unbound socket, so it is never wider than this.
        os.fchmod(listening.fileno(), 0o600)
        with SocketAddress(path) as address:
            listening.bind(address)
            if group is not None:
                os.chown(address, -1, group)
            os.chmod(address, 0o660)
        listening.listen(backlog)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _unlink_socket(path: Path) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(f"{path} is there and is not a socket")
    os.unlink(path)
