"""The pump between a terminal and an attach descriptor, on real sockets, pipes and pseudo-terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cli_engine import Conmon

from vordr.cli.detaching import DetachFilter, detach_keys
from vordr.cli.terminal import End, Ended, Streams, Wishes, pump
from vordr.model.errors import ContainerStopped, UsageError


@contextmanager
def pipes(*, reading: bool = False) -> Iterator[tuple[Streams, int, int, int]]:
    """Our three descriptors as pipes: (streams, where to type, where stdout and stderr come out)."""
    stdin, typed = os.pipe()
    out, stdout = os.pipe()
    err, stderr = os.pipe()
    for fd in (stdout, stderr):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
    opened = [stdin, typed, out, stdout, err, stderr]
    try:
        yield Streams(stdin if reading else None, stdout, stderr), typed, out, err
    finally:
        for fd in opened:
            try:
                os.close(fd)
            except OSError:  # a test closed it to say that typing is over
                continue


@contextmanager
def speaking(play, *args) -> Iterator[None]:
    thread = threading.Thread(target=play, args=args)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


def test_stdout_and_stderr_go_to_their_own_descriptors():
    conmon = Conmon()
    conmon.say(b"one ")
    conmon.say(b"bad", stream=3)
    conmon.say(b"two")
    conmon.end()
    with pipes() as (streams, _, out, err):
        assert pump(conmon.near, streams, Wishes()) == Ended(End.CLOSED)
        assert (os.read(out, 99), os.read(err, 99)) == (b"one two", b"bad")


def test_what_is_typed_arrives_and_the_end_of_input_shuts_the_writing_side():
    conmon = Conmon()

    def play() -> None:
        heard = conmon.hear_all()
        conmon.say(heard[::-1])
        conmon.end()

    with pipes(reading=True) as (streams, typed, out, _), speaking(play):
        os.write(typed, b"abc")
        os.close(typed)
        pump(conmon.near, streams, Wishes())
        assert os.read(out, 99) == b"cba"


def test_large_input_and_output_cross_without_a_deadlock_or_a_lost_byte():
    conmon = Conmon()
    data = os.urandom(3_000_000)
    got = bytearray()

    def echo() -> None:
        while packet := conmon.hear():
            conmon.say(packet)
        conmon.end()

    with pipes(reading=True) as (streams, typed, out, _):
        def type_it() -> None:
            view = memoryview(data)
            while view:
                view = view[os.write(typed, view):]
            os.close(typed)

        def read_it() -> None:
            while len(got) < len(data):
                got.extend(os.read(out, 1 << 16))

        with speaking(echo), speaking(type_it), speaking(read_it):
            assert pump(conmon.near, streams, Wishes()).how is End.CLOSED
    assert bytes(got) == data


def test_nothing_is_read_from_us_without_interactive():
    conmon = Conmon()
    conmon.end()
    with pipes() as (streams, typed, _, _):
        os.write(typed, b"keep me")
        pump(conmon.near, streams, Wishes())
    assert streams.stdin is None


def test_a_container_that_closed_its_input_still_has_its_output_shown():
    conmon = Conmon()

    def play() -> None:
        conmon.hear()
        conmon.far.shutdown(0)
        conmon.say(b"bye")
        conmon.end()

    with pipes(reading=True) as (streams, typed, out, _), speaking(play):
        os.write(typed, b"x" * 50_000)
        assert pump(conmon.near, streams, Wishes()) == Ended(End.CLOSED)
        assert os.read(out, 99) == b"bye"


def test_output_that_waits_is_shown_though_input_was_left_unread():
    """A socket that is closed with unread input tells ECONNRESET before what it had sent."""
    conmon = Conmon()
    os.write(conmon.near, b"never read")
    conmon.say(b"last words")
    conmon.end()
    with pipes() as (streams, _, out, _):
        assert pump(conmon.near, streams, Wishes()) == Ended(End.CLOSED)
        assert os.read(out, 99) == b"last words"


def test_a_reader_of_ours_that_went_away_breaks_the_pipe():
    conmon = Conmon()
    conmon.say(b"anyone?")
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        pump(conmon.near, Streams(None, writing, writing), Wishes())
    os.close(writing)
    conmon.end()


# -- signals -------------------------------------------------------------------------------------------


def when_pumping(conmon: Conmon, out: int, act, *args) -> None:
    """Act once the first output has come through: then the pump's handlers stand."""
    conmon.say(b"up")
    assert os.read(out, 2) == b"up"
    act(*args)


def test_signals_are_handed_on_when_there_is_no_terminal():
    conmon, got = Conmon(), []

    def forward(number: int) -> None:
        got.append(number)
        conmon.end()

    before = signal.getsignal(signal.SIGTERM)
    with pipes() as (streams, _, out, _), speaking(
            when_pumping, conmon, out, os.kill, os.getpid(), signal.SIGTERM):
        assert pump(conmon.near, streams, Wishes(forward=forward)) == Ended(End.CLOSED)
    assert got == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_third_signal_that_is_not_heeded_leaves_without_the_container():
    conmon, heard = Conmon(), threading.Semaphore(0)

    def send() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            assert heard.acquire(timeout=10)
        os.kill(os.getpid(), signal.SIGINT)

    with pipes() as (streams, _, out, _), speaking(when_pumping, conmon, out, send):
        ended = pump(conmon.near, streams, Wishes(forward=lambda _: heard.release()))
    assert ended == Ended(End.INTERRUPTED, signal.SIGINT)
    conmon.end()


def test_without_anybody_to_hand_it_to_a_signal_ends_the_pump():
    conmon = Conmon()
    with pipes() as (streams, _, out, _), speaking(
            when_pumping, conmon, out, os.kill, os.getpid(), signal.SIGINT):
        assert pump(conmon.near, streams, Wishes()) == Ended(End.INTERRUPTED, signal.SIGINT)
    conmon.end()


def test_a_signal_that_was_ignored_stays_ignored():
    conmon, got = Conmon(), []

    def send() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGUSR1)

    def forward(number: int) -> None:
        got.append(number)
        if number == signal.SIGUSR1:
            conmon.end()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pipes() as (streams, _, out, _), speaking(when_pumping, conmon, out, send):
            assert pump(conmon.near, streams, Wishes(forward=forward)) == Ended(End.CLOSED)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert got == [signal.SIGUSR1]


def test_a_refused_errand_does_not_disturb_the_pump():
    conmon = Conmon()

    def forward(_: int) -> None:
        conmon.say(b"!")
        conmon.end()
        raise ContainerStopped("it has ended")

    with pipes() as (streams, _, out, _), speaking(
            when_pumping, conmon, out, os.kill, os.getpid(), signal.SIGTERM):
        assert pump(conmon.near, streams, Wishes(forward=forward)).how is End.CLOSED
        assert os.read(out, 9) == b"!"


def test_output_goes_on_while_an_errand_waits_for_it():
    """An engine may answer a kill only when the process has ended, and that only when its output was read."""
    conmon, drained = Conmon(), threading.Event()
    data = b"x" * 4_000_000
    got = bytearray()

    def forward(_: int) -> None:
        conmon.say(data)
        assert drained.wait(10)
        conmon.end()

    def read(out: int) -> None:
        while len(got) < len(data):
            got.extend(os.read(out, 1 << 16))
        drained.set()

    def send(out: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        read(out)

    with pipes() as (streams, _, out, _), speaking(when_pumping, conmon, out, send, out):
        assert pump(conmon.near, streams, Wishes(forward=forward)).how is End.CLOSED
    assert bytes(got) == data


# -- terminals -----------------------------------------------------------------------------------------


@contextmanager
def terminal(rows: int = 24, columns: int = 80) -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: (the person's side, our side)."""
    person, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        yield person, ours
    finally:
        os.close(person)
        os.close(ours)


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_the_terminal_is_raw_meanwhile_and_restored_afterwards():
    conmon, seen = Conmon(), []

    with terminal() as (person, ours):
        def play() -> None:
            conmon.say(b"$ ")
            assert os.read(person, 9) == b"$ "
            seen.append(is_raw(ours))
            os.write(person, b"\x03\r")  # ctrl-c is the container's, and no new line is made of return
            seen.append(conmon.hear())
            conmon.end()

        before = termios.tcgetattr(ours)
        with speaking(play):
            assert pump(conmon.near, Streams(ours, ours, ours), Wishes(tty=True)).how is End.CLOSED
        assert seen == [True, b"\x03\r"]
        assert termios.tcgetattr(ours) == before


def test_the_terminal_is_restored_when_the_pump_breaks():
    conmon = Conmon()
    conmon.say(b"x")
    reading, writing = os.pipe()
    os.close(reading)
    with terminal() as (_, ours):
        before = termios.tcgetattr(ours)
        with pytest.raises(BrokenPipeError):
            pump(conmon.near, Streams(ours, writing, writing), Wishes(tty=True))
        assert termios.tcgetattr(ours) == before
    os.close(writing)
    conmon.end()


def test_the_size_of_the_terminal_is_handed_on_at_first_and_when_it_changes():
    conmon, sizes, told = Conmon(), [], threading.Semaphore(0)

    def resize(rows: int, columns: int) -> None:
        sizes.append((rows, columns))
        told.release()

    with terminal(24, 80) as (_, ours):
        def play() -> None:
            assert told.acquire(timeout=10)
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
            os.kill(os.getpid(), signal.SIGWINCH)
            assert told.acquire(timeout=10)
            conmon.end()

        with speaking(play):
            pump(conmon.near, Streams(ours, ours, ours), Wishes(tty=True, resize=resize))
    assert sizes == [(24, 80), (50, 132)]


def test_the_detach_keys_leave_the_container_alone():
    conmon = Conmon()
    with terminal() as (person, ours):
        def play() -> None:
            conmon.say(b"$ ")
            os.read(person, 9)
            os.write(person, b"ls\x10\x11never")

        before = termios.tcgetattr(ours)
        with speaking(play):
            assert pump(conmon.near, Streams(ours, ours, ours), Wishes(tty=True)).how is End.DETACHED
        assert termios.tcgetattr(ours) == before
    assert conmon.hear_all() == b"ls"
    conmon.end()


def test_without_a_terminal_the_detach_keys_are_ordinary_bytes():
    conmon = Conmon()

    def play() -> None:
        assert conmon.hear_all() == b"\x10\x11"
        conmon.end()

    with pipes(reading=True) as (streams, typed, _, _), speaking(play):
        os.write(typed, b"\x10\x11")
        os.close(typed)
        assert pump(conmon.near, streams, Wishes()).how is End.CLOSED


@pytest.mark.parametrize(("typed", "passed", "detached"), [
    ([b"abc"], b"abc", False),
    ([b"\x10", b"\x11"], b"", True),
    ([b"\x10", b"a"], b"\x10a", False),
    ([b"\x10\x10\x11"], b"\x10", True),
    ([b"a\x10", b"\x11b"], b"a", True),
])
def test_detach_keys_are_found_across_reads_and_held_back_only_as_long_as_needed(typed, passed, detached):
    keys = DetachFilter(b"\x10\x11")
    fed = [keys.feed(piece) for piece in typed]
    assert (b"".join(piece for piece, _ in fed), fed[-1][1]) == (passed, detached)


def test_detach_keys_are_read_as_docker_writes_them():
    assert detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert detach_keys("a,ctrl-[") == b"a\x1b"
    for wrong in ("", "ctrl-", "ctrl-pq", "enter"):
        with pytest.raises(UsageError):
            detach_keys(wrong)
