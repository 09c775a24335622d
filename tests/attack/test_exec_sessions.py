"""Exec sessions that nobody waits for, that several wait for, or whose waiter goes away."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from vordr.runtime.conmon import ExecHandle
from vordr.runtime.syncpipe import LinePipe


@pytest.fixture
def pipe() -> Iterator[LinePipe]:
    made = LinePipe()
    yield made
    made.close()


def test_everybody_who_waits_for_an_exec_hears_the_same_code(pipe: LinePipe) -> None:
    """One of two would read a descriptor that the other had closed: somebody else's, by then."""
    handle = ExecHandle("s", 1, 1, None, pipe)
    codes: list[int | None] = []
    waiting = [threading.Thread(target=lambda: codes.append(handle.wait(20))) for _ in range(4)]
    for thread in waiting:
        thread.start()
    os.write(pipe.writer, b'{"data": 7}\n')
    pipe.close_writer()
    for thread in waiting:
        thread.join(20)
    assert codes == [7, 7, 7, 7]
    handle.close()
    assert handle.wait() == 7


def test_a_wait_can_be_looked_after(pipe: LinePipe) -> None:
    handle = ExecHandle("s", 1, 1, None, pipe)
    assert not handle.ended
    with pytest.raises(TimeoutError):
        handle.wait(0.01)
    pipe.close_writer()
    assert handle.ended
    assert handle.wait() is None
