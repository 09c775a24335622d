from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vordr.engine.channel import MAX_FILES, Channel, Silence, close_files, dial, listen
from vordr.formats import frames
from vordr.formats.errors import FormatError

Pair = tuple[Channel, socket.socket]


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, max_frame=1024)
    yield channel, theirs
    channel.close()
    theirs.close()


def send_rights(peer: socket.socket, data: bytes, files: list[int]) -> None:
    peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])


def test_frames_sent_at_once_are_received_one_by_one_with_their_own_descriptors(pair: Pair) -> None:
    channel, peer = pair
    with open("/dev/null", "rb") as null, open("/dev/zero", "rb") as zero:
        send_rights(peer, frames.encode({"n": 1}), [null.fileno()])
        peer.send(frames.encode({"n": 2}))
        send_rights(peer, frames.encode({"n": 3}), [zero.fileno(), null.fileno()])
        received = [channel.receive() for _ in range(3)]
        assert [(each.message["n"], len(each.files)) for each in received if each] == [(1, 1), (2, 0), (3, 2)]
        last = received[2]
        assert last is not None
        assert os.fstat(last.files[0]).st_rdev == os.fstat(zero.fileno()).st_rdev
    for each in received:
        assert each is not None
        close_files(each.files)


def test_received_descriptors_are_closed_on_exec(pair: Pair) -> None:
    channel, peer = pair
    send_rights(peer, frames.encode({}), [0])
    received = channel.receive()
    assert received is not None
    assert fcntl.fcntl(received.files[0], fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    close_files(received.files)


@pytest.mark.parametrize("data", [
    b"\x00\x00\x04\x01" + b"{" * 1025,
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x02[]",
    b"\x00\x00\x00\x03\xff{}",
])
def test_what_is_no_frame_is_refused_and_its_descriptors_closed(pair: Pair, data: bytes) -> None:
    channel, peer = pair
    before = open_files()
    send_rights(peer, data, [0, 1])
    with pytest.raises(FormatError):
        channel.receive()
    assert open_files() == before


@pytest.mark.parametrize("number", [MAX_FILES + 1, 64])
def test_too_many_descriptors_in_one_message_are_refused_and_closed(pair: Pair, number: int) -> None:
    channel, peer = pair
    before = open_files()
    send_rights(peer, frames.encode({}), [0] * number)
    with pytest.raises(FormatError):
        channel.receive()
    assert open_files() == before


def test_too_many_descriptors_spread_over_one_frame_are_refused_and_closed(pair: Pair) -> None:
    channel, peer = pair
    before = open_files()
    for byte in frames.encode({"a": 1})[: MAX_FILES + 1]:
        send_rights(peer, bytes((byte,)), [0])
    with pytest.raises(FormatError):
        channel.receive()
    assert open_files() == before


def test_an_end_inside_a_frame_differs_from_an_end_between_frames(pair: Pair) -> None:
    channel, peer = pair
    peer.send(frames.encode({}) + b"\x00\x00")
    peer.shutdown(socket.SHUT_WR)
    assert channel.receive() is not None
    with pytest.raises(EOFError):
        channel.receive()
    assert channel.receive() is None


def test_a_silent_peer_and_a_slow_one_are_told_apart(pair: Pair) -> None:
    channel, peer = pair
    with pytest.raises(Silence):
        channel.receive(idle=0.01)
    peer.send(b"\x00")
    with pytest.raises(TimeoutError) as caught:
        channel.receive(idle=5, within=0.01)
    assert not isinstance(caught.value, Silence)


def test_a_frame_larger_than_the_socket_holds_arrives_whole_with_its_descriptor() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    text = "z" * 3_000_000
    sending = threading.Thread(target=lambda: sender.send({"text": text}, (0,)))
    sending.start()
    received = receiver.receive()
    sending.join()
    assert received is not None
    assert received.message["text"] == text
    assert len(received.files) == 1
    close_files(received.files)
    sender.close()
    receiver.close()


def test_droppable_frames_never_block_and_never_tear_a_later_frame() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    taken = 0  # the last of them is cut where the socket is full, and the rest held back
    while sender.send_or_drop({"n": taken, "pad": "p" * 100_000}):
        taken += 1
    assert not sender.send_or_drop({"n": "dropped"})
    sending = threading.Thread(target=lambda: sender.send({"n": "last"}))
    sending.start()
    numbers: list[object] = []
    while not numbers or numbers[-1] != "last":
        received = receiver.receive()
        assert received is not None
        numbers.append(received.message["n"])
    sending.join()
    assert numbers == [*range(taken), "last"]
    sender.close()
    receiver.close()


def test_shutdown_ends_a_receive_in_another_thread(pair: Pair) -> None:
    channel, _ = pair
    ended: list[object] = []
    receiving = threading.Thread(target=lambda: ended.append(channel.receive()))
    receiving.start()
    channel.shutdown()
    receiving.join(10)
    assert ended == [None]


def test_a_socket_far_below_a_long_path_can_be_bound_and_dialled(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    before = open_files()
    with listen(folder / "vordr.sock", group=None) as listening:
        channel = dial(folder / "vordr.sock")
        select.select([listening], [], [], 10)
        accepted, _ = listening.accept()
        accepted.close()
        channel.close()
    assert open_files() == before


def test_a_listening_socket_is_for_owner_and_group_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with listen(tmp_path / "s", group=None):
            assert os.stat(tmp_path / "s").st_mode & 0o7777 == 0o660
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path, group=None).close()
    with pytest.raises(ConnectionRefusedError):
        dial(path)
    with listen(path, group=None):
        dial(path).close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        listen(path, group=None)
    assert path.read_text() == "precious"
