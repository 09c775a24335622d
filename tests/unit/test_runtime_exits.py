"""Exit files: told once, never missed, never invented."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vordr.model.errors import StateError
from vordr.runtime.exits import ExitNotice, ExitWatcher, read_exit

A, B = "a" * 64, "b" * 64


class Heard:
    """A receiver that fails for the first ``failures`` notices."""

    def __init__(self) -> None:
        self.notices: queue.Queue[ExitNotice] = queue.Queue()
        self.failures = 0

    def __call__(self, notice: ExitNotice) -> None:
        if self.failures:
            self.failures -= 1
            self.notices.put(ExitNotice("failed", None, 0))
            raise RuntimeError("receiver is gone")
        self.notices.put(notice)

    def next(self) -> ExitNotice:
        return self.notices.get(timeout=10)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watcher(tmp_path: Path, heard: Heard) -> Iterator[ExitWatcher]:
    watcher = ExitWatcher(tmp_path / "exits", heard)
    watcher.start()
    yield watcher
    watcher.stop()


def leave(folder: Path, container: str, code: str, time_s: int = 1_700_000_000) -> None:
    """As conmon does: a temporary file, then a rename."""
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{container}.ABC123"
    temporary.write_text(code)
    os.utime(temporary, (time_s, time_s))
    temporary.rename(folder / container)


def test_an_exit_is_told_with_its_code_and_the_files_time(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    leave(tmp_path / "exits", A, "137")
    assert heard.next() == ExitNotice(A, 137, 1_700_000_000_000_000)


def test_exits_of_before_the_start_are_told_first(tmp_path: Path, heard: Heard) -> None:
    leave(tmp_path / "exits", A, "3")
    watcher = ExitWatcher(tmp_path / "exits", heard)
    watcher.start()
    assert heard.next().code == 3
    watcher.stop()


def test_an_exit_is_told_once_however_often_one_looks(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    leave(tmp_path / "exits", A, "1")
    assert heard.next().container == A
    watcher.rescan()
    leave(tmp_path / "exits", B, "2")
    assert heard.next().container == B
    assert heard.notices.empty()


def test_the_next_exit_of_the_same_container_is_told_too(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    leave(tmp_path / "exits", A, "1")
    assert heard.next().code == 1
    leave(tmp_path / "exits", A, "2")
    assert heard.next().code == 2


def test_take_removes_the_file_and_may_be_repeated(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    leave(tmp_path / "exits", A, "1")
    heard.next()
    watcher.take(A)
    watcher.take(A)
    assert not (tmp_path / "exits" / A).exists()


def test_an_exit_that_the_receiver_refused_comes_again(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    heard.failures = 1
    leave(tmp_path / "exits", A, "9")
    assert heard.next().container == "failed"
    watcher.rescan()
    assert heard.next() == ExitNotice(A, 9, 1_700_000_000_000_000)


def test_files_with_other_names_are_not_exits(tmp_path: Path, watcher: ExitWatcher, heard: Heard) -> None:
    leave(tmp_path / "exits", "x", "1")
    leave(tmp_path / "exits", B, "nonsense")
    leave(tmp_path / "exits", A, "0")
    assert heard.next().container == A


def test_a_file_that_is_no_exit_code_is_an_error_to_read(tmp_path: Path) -> None:
    leave(tmp_path / "exits", A, "what")
    with pytest.raises(StateError):
        read_exit(tmp_path / "exits", A)


def conmon_stand_in(container: str) -> subprocess.Popen[bytes]:
    """A process that names the container in its command line, as a conmon does, and ends with its stdin."""
    words = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", container]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


def test_a_conmon_that_dies_without_an_exit_file_is_told_as_unknown(
    watcher: ExitWatcher, heard: Heard
) -> None:
    process = conmon_stand_in(A)
    watcher.adopt(A, process.pid)
    end(process)
    notice = heard.next()
    assert (notice.container, notice.code) == (A, None)


def test_a_conmon_that_ends_after_its_exit_file_was_taken_is_no_second_exit(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    process = conmon_stand_in(A)
    watcher.adopt(A, process.pid)
    leave(tmp_path / "exits", A, "4")
    assert heard.next().code == 4
    watcher.take(A)
    end(process)
    leave(tmp_path / "exits", B, "5")
    assert heard.next().container == B


def test_adopting_a_conmon_that_is_gone_tells_its_exit(
    tmp_path: Path, watcher: ExitWatcher, heard: Heard
) -> None:
    process = conmon_stand_in(A)
    end(process)
    watcher.adopt(A, process.pid)
    assert heard.next().code is None


def test_adopting_after_the_end_of_the_watcher_tells_nothing_and_holds_nothing(
    tmp_path: Path, heard: Heard
) -> None:
    ended = ExitWatcher(tmp_path / "exits", heard)
    ended.start()
    ended.stop()
    process = conmon_stand_in(A)
    before = len(os.listdir("/proc/self/fd"))
    ended.adopt(A, process.pid)
    ended.adopt(A, 2**22 - 1)
    assert len(os.listdir("/proc/self/fd")) == before and heard.notices.empty()
    end(process)


def test_adopting_a_pid_that_is_another_process_by_now_counts_as_gone(
    watcher: ExitWatcher, heard: Heard
) -> None:
    process = conmon_stand_in(B)
    watcher.adopt(A, process.pid)
    assert (heard.next().container, process.poll()) == (A, None)
    end(process)
