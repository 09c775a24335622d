"""The terminal's side of an attach descriptor: pump bytes both ways until the container's side ends.

The descriptor is a SOCK_SEQPACKET socket of conmon's: each packet that comes begins with a byte 2 (stdout)
or 3 (stderr); packets that go are standard input as it is, and a shut-down writing side is its end. With a
terminal inside the container all output is stream 2, ours is in raw mode meanwhile, its size is handed on,
and ``ctrl-p ctrl-q`` detaches. Without one, signals are handed on instead.

The fast path imports this at every run, so it takes the C halves of ``socket`` and ``signal``, which spare
it ``enum`` and ``selectors``, and writes its classes out where ``dataclasses`` would cost more than a pump.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's C half; typeshed has the whole only
import _socket
import errno
import os
import select

from vordr.cli.detaching import DETACH_KEYS, DetachFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from vordr.model.errors import VordrError

STDOUT, STDERR = 2, 3
CHUNK: Final = 8192
_PACKET: Final = 1 << 16

FORWARDED: Final = {
    _signal.SIGINT: "INT", _signal.SIGTERM: "TERM", _signal.SIGHUP: "HUP", _signal.SIGQUIT: "QUIT",
    _signal.SIGUSR1: "USR1", _signal.SIGUSR2: "USR2",
}
"""The signals that are handed on, and their names."""

_IMPATIENT: Final = 3
"""After so many SIGINT or SIGTERM that the container did not heed, we leave without it."""

_ERRAND_SECONDS: Final = 5.0
"""How long the last errands may take once the pump has ended."""


class End:
    """How a pump ended: the container's side closed, the detach keys came, or a signal told us to leave."""

    CLOSED = "closed"
    DETACHED = "detached"
    INTERRUPTED = "interrupted"


class Ended:
    """``how`` is one of :class:`End`; ``signal`` the number that told us to leave."""

    def __init__(self, how: str, signal: int = 0) -> None:
        self.how = how
        self.signal = signal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ended) and (self.how, self.signal) == (other.how, other.signal)

    def __hash__(self) -> int:
        return hash((self.how, self.signal))

    def __repr__(self) -> str:
        return f"Ended({self.how!r}, {self.signal})"


class Streams:
    """Descriptors of our side; ``stdin`` None sends nothing."""

    def __init__(self, stdin: int | None = 0, stdout: int = 1, stderr: int = 2) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class Wishes:
    """``tty``: the container has a terminal. ``resize(rows, columns)`` and ``forward(signal)`` are called on
    a thread of their own, one at a time, in order; None hands nothing on."""

    def __init__(
        self, tty: bool = False, detach_keys: bytes = DETACH_KEYS,
        resize: Callable[[int, int], None] | None = None, forward: Callable[[int], None] | None = None,
    ) -> None:
        self.tty = tty
        self.detach_keys = detach_keys
        self.resize = resize
        self.forward = forward


def pump(attach: int, streams: Streams, wishes: Wishes) -> Ended:
    """Move bytes until one side ends; owns and closes ``attach``. Loses no output that came before the end.

    :raises BrokenPipeError: our standard output is gone.
    """
    channel = _socket.socket(fileno=attach)
    try:
        channel.setblocking(False)
        with _Raw(streams, wishes), _Signals(wishes) as signals, _Errands() as errands:
            return _Pump(channel, streams, wishes, signals, errands).run()
    finally:
        channel.close()


# -- the loop ------------------------------------------------------------------------------------------


class _Pump:
    def __init__(
        self, channel: _socket.socket, streams: Streams, wishes: Wishes, signals: _Signals, errands: _Errands
    ) -> None:
        self.channel = channel
        self.streams = streams
        self.wishes = wishes
        self.signals = signals
        self.errands = errands
        self.pending = b""
        self.typing = streams.stdin is not None
        self.ending = False
        self.impatience = 0

    def run(self) -> Ended:
        keys = DetachFilter(self.wishes.detach_keys if self.wishes.tty else b"")
        self._hand_on_size()
        while True:
            ready = self._wait()
            if self.signals.fd in ready and (ended := self._heed_signals()):
                return ended
            if self.channel.fileno() in ready and not self._receive():
                return Ended(End.CLOSED)
            if self.streams.stdin in ready and self._type(keys):
                return Ended(End.DETACHED)
            self._send()

    def _wait(self) -> set[int]:
        poll = select.poll()
        wanted = select.POLLIN | (select.POLLOUT if self.pending else 0)
        poll.register(self.channel.fileno(), wanted)
        poll.register(self.signals.fd, select.POLLIN)
        if self.typing and not self.pending and self.streams.stdin is not None:
            poll.register(self.streams.stdin, select.POLLIN)
        return {fd for fd, _ in poll.poll()}

    def _receive(self) -> bool:
        """Write out every packet that waits; False at the end of the container's side."""
        while True:
            try:
                packet = self.channel.recv(_PACKET)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                continue  # told once, before the packets that still wait: they left input of ours unread
            if not packet:
                return False
            target = self.streams.stderr if packet[0] == STDERR else self.streams.stdout
            write_all(target, memoryview(packet)[1:])
            if self.pending or self.typing:
                return True  # let the other direction have its turn

    def _type(self, keys: DetachFilter) -> bool:
        """Take what was typed; True when it was the detach keys."""
        assert self.streams.stdin is not None  # it was polled
        try:
            typed = os.read(self.streams.stdin, CHUNK)
        except OSError as error:
            if error.errno not in {errno.EIO, errno.EAGAIN, errno.EBADF}:
                raise
            typed = b""  # EIO: our terminal hung up
            if error.errno == errno.EAGAIN:
                return False
        if not typed:
            self.typing, self.ending = False, True
            return False
        self.pending, detached = keys.feed(typed)
        if detached:
            self._send()
        return detached

    def _send(self) -> None:
        while self.pending:
            try:
                sent = self.channel.send(self.pending[:CHUNK])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionError):
                self.pending, self.typing, self.ending = b"", False, False  # nobody reads there any more
                return
            self.pending = self.pending[sent:]
        if self.ending:
            self.ending = False
            try:
                self.channel.shutdown(_socket.SHUT_WR)
            except OSError:  # nobody reads there any more
                pass

    # -- signals -------------------------------------------------------------------------------------

    def _heed_signals(self) -> Ended | None:
        for number in self.signals.take():
            if number == _signal.SIGWINCH:
                self._hand_on_size()
                continue
            self.impatience += number in (_signal.SIGINT, _signal.SIGTERM)
            if self.wishes.forward is None or self.impatience >= _IMPATIENT:
                return Ended(End.INTERRUPTED, number)
            self.errands.add(self.wishes.forward, number)
        return None

    def _hand_on_size(self) -> None:
        size = window_size(self.streams)
        if self.wishes.tty and self.wishes.resize is not None and size is not None:
            self.errands.add(self.wishes.resize, *size)


def write_all(fd: int, data: memoryview) -> None:
    """Write everything, however slow the reader."""
    while data:
        try:
            data = data[os.write(fd, data):]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def window_size(streams: Streams) -> tuple[int, int] | None:
    """Rows and columns of our terminal; None when we have none."""
    for fd in (streams.stdout, streams.stdin):
        if fd is not None:
            try:
                size = os.get_terminal_size(fd)
            except OSError:
                continue
            return size.lines, size.columns
    return None


class _Raw:
    """Raw mode of our terminal for as long as the container's terminal is connected to it."""

    def __init__(self, streams: Streams, wishes: Wishes) -> None:
        fd = streams.stdin
        self._fd = fd if fd is not None and wishes.tty and os.isatty(fd) else None
        self._before: list[Any] = []

    def __enter__(self) -> None:
        if self._fd is not None:
            import termios
            import tty

            self._before = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSANOW)

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


class _Signals:
    """Signals as bytes in a pipe while the pump runs (in the main thread; elsewhere Python allows none)."""

    def __init__(self, wishes: Wishes) -> None:
        self._numbers = [*FORWARDED, *([_signal.SIGWINCH] if wishes.tty else [])]
        self._before: dict[int, Any] = {}
        self._wakeup: int | None = None

    def __enter__(self) -> _Signals:
        self.fd, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._wakeup = _signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        except ValueError:  # not the main thread: Python lets nobody else hear of signals
            return self
        for number in self._numbers:
            if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup, and jobs of scripts
                self._before[number] = _signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        if self._wakeup is not None:
            _signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._writing)

    def take(self) -> bytes:
        try:
            return os.read(self.fd, 64)
        except BlockingIOError:
            return b""


def _noted(number: int, frame: object) -> None:
    """Let the wakeup descriptor tell the loop."""


class _Errands:
    """Runs calls in order on a thread of its own, so that a slow engine never stops the pump: it may wait
    for output of ours to be read. An errand that the engine refuses is dropped: the process has ended."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def __enter__(self) -> _Errands:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.finish()

    def add(self, call: Callable[..., None], *args: int) -> None:
        if self._worker is None:
            self._worker = _Worker()
        self._worker.add(call, args)


class _Worker:
    def __init__(self) -> None:
        import threading

        self._wake = threading.Condition()
        self._todo: list[tuple[Callable[..., None], tuple[int, ...]]] = []
        self._done = False
        self._thread = threading.Thread(target=self._work, name="errands", daemon=True)
        self._thread.start()

    def add(self, call: Callable[..., None], args: tuple[int, ...]) -> None:
        with self._wake:
            self._todo.append((call, args))
            self._wake.notify()

    def finish(self) -> None:
        """Wait for what was given, but not for ever."""
        with self._wake:
            self._done = True
            self._wake.notify()
        self._thread.join(_ERRAND_SECONDS)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._todo or self._done)
                if not self._todo:
                    return
                call, args = self._todo.pop(0)
            try:
                call(*args)
            except _vordr_error():
                continue


def _vordr_error() -> type[VordrError]:
    """The root of the engine's errors, imported once there is an error: a size must not wait for that."""
    from vordr.model.errors import VordrError

    return VordrError
