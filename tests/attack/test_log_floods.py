"""Containers that write more than anybody can hold, and lines that never end."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_engine import Whole, whole_engine

from vordr.model.errors import UsageError

STAMP = b"2026-01-01T00:00:00.000000000+00:00 stdout "


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    with whole_engine(tmp_path) as made:
        yield made


def write_log(whole: Whole, tag: bytes, text: bytes, times: int) -> None:
    log = whole.paths.log(whole.run().id)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        for _ in range(times):
            file.write(STAMP + tag + b" " + text + b"\n")


def test_a_log_of_gigabytes_is_not_read_into_one_answer(whole: Whole) -> None:
    write_log(whole, b"F", b"x" * 8000, 6000)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="longer than one answer"):
            whole.do("logs")
        assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert len(whole.do("logs", tail=100).lines) == 100


def test_a_line_that_never_ends_is_given_in_bounded_pieces(whole: Whole) -> None:
    """Joining it piece by piece would take time by its square, with everybody waiting."""
    write_log(whole, b"P", b"y" * 8000, 1000)
    lines = whole.do("logs").lines
    assert sum(len(line.text) for line in lines) == 8_000_000
    assert max(len(line.text) for line in lines) <= 256 * 1024
