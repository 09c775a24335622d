"""The signed head follows each commit at once, and in a burst covers several of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vordr.formats.signature import PrivateKey, Suite
from vordr.journal import anchoring
from vordr.journal import head as heads
from vordr.journal.anchoring import Anchoring
from vordr.model.errors import JournalStopped

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
PATIENCE = 20.0


class Written:
    """Counts the heads that reach the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._one = threading.Semaphore(0)
        write = heads.write

        def counted(path: Path, text: str) -> None:
            write(path, text)
            self.sizes.append(heads.verify(text, KEY.public).size)
            self._one.release()

        monkeypatch.setattr(heads, "write", counted)

    def wait(self) -> None:
        assert self._one.acquire(timeout=PATIENCE), "no head was written"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


@pytest.fixture
def anchors(tmp_path: Path, written: Written) -> Iterator[Anchoring]:
    made = Anchoring(tmp_path / "head", heads.Signer(KEY), 0, "")
    yield made
    made.close()


def request(anchors: Anchoring, size: int) -> None:
    anchors.request(size, lambda: heads.Head(size, bytes(32), size, bytes(32)))


def test_a_head_follows_a_single_commit_without_being_asked_for(anchors: Anchoring, written: Written) -> None:
    request(anchors, 1)
    written.wait()
    assert written.sizes == [1]


def test_in_a_burst_a_head_covers_several_commits(
    anchors: Anchoring, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "INTERVAL", 3600.0)
    request(anchors, 1)
    written.wait()
    for size in range(2, 100):
        request(anchors, size)
    assert written.sizes == [1]
    anchors.wait(99)  # who needs it does not wait for the interval
    assert written.sizes == [1, 99]
    assert anchors.on_disk[0] == 99


def test_the_last_head_is_written_before_it_is_closed(
    anchors: Anchoring, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchoring, "INTERVAL", 3600.0)
    request(anchors, 1)
    written.wait()
    request(anchors, 2)
    anchors.close()
    assert written.sizes == [1, 2]


def test_a_head_that_cannot_be_written_is_told_to_everybody(
    anchors: Anchoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise OSError("no")

    monkeypatch.setattr(heads, "write", refuse)
    request(anchors, 1)
    with pytest.raises(JournalStopped, match="head"):
        anchors.wait(1)
    with pytest.raises(JournalStopped, match="head"):
        request(anchors, 2)
    assert anchors.failure is not None
