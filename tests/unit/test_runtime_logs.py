"""Reading conmon's log file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vordr.runtime.logs import LogLine, LogStop, parse_line, read_log

_T0 = 1_700_000_000_000_000


def record(number: int, text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"2023-11-14T22:13:{20 + number:02d}.123456789+00:00 {stream} {tag} {text}\n".encode()


def texts(path: Path, **wishes: object) -> list[str]:
    return [line.text.decode() for line in read_log(path, **wishes)]  # type: ignore[arg-type]  # test shorthand


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "ctr.log"
    path.write_bytes(b"".join(record(number, f"line {number}") for number in range(5)))
    return path


def test_a_record_has_time_in_microseconds_stream_text_and_tag() -> None:
    line = record(0, "hello world  ", "P", "stderr")[:-1]
    assert parse_line(line) == LogLine(_T0 + 123_456, "stderr", b"hello world  ", True)


def test_the_offset_of_a_time_is_honoured() -> None:
    line = parse_line(b"2023-11-15T00:13:20.000000000+02:00 stdout F x")
    assert line is not None and line.time_us == _T0


@pytest.mark.parametrize(
    "line", [b"", b"x", b"2023 stdout F x", b"2023-11-14T22:13:20Z stdin F x", b"\xff a F x"]
)
def test_what_is_not_a_record_is_left_out(line: bytes) -> None:
    assert parse_line(line) is None


def test_an_empty_line_is_a_record() -> None:
    line = parse_line(record(0, "")[:-1])
    assert line is not None and line.text == b""


def test_no_log_is_an_empty_log(tmp_path: Path) -> None:
    assert texts(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("tail", "expected"), [(0, []), (1, ["line 4"]), (3, ["line 2", "line 3", "line 4"])]
)
def test_tail_gives_the_last_lines(log: Path, tail: int, expected: list[str]) -> None:
    assert texts(log, tail=tail) == expected


def test_tail_longer_than_the_log_gives_all(log: Path) -> None:
    assert len(texts(log, tail=99)) == 5


def test_a_line_in_pieces_counts_once(log: Path) -> None:
    with log.open("ab") as file:
        file.write(record(6, "a", "P") + record(6, "b", "P") + record(6, "c"))
    assert texts(log, tail=1) == ["a", "b", "c"]
    assert texts(log, tail=2) == ["line 4", "a", "b", "c"]


@pytest.mark.parametrize("tail", [1, 2, 40, 99, 100])
def test_tail_works_across_blocks_with_long_lines(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "big.log"
    lines = [str(number) * 3000 for number in range(100)]
    path.write_bytes(b"".join(record(number % 30, text) for number, text in enumerate(lines)))
    assert texts(path, tail=tail) == lines[-tail:]


def test_since_leaves_older_records_out(log: Path) -> None:
    assert texts(log, since_us=_T0 + 3_000_000) == ["line 3", "line 4"]


def test_a_record_cut_short_at_the_end_is_left_out(log: Path) -> None:
    with log.open("ab") as file:
        file.write(record(7, "never finished")[:-5])
    assert texts(log)[-1] == "line 4"


def test_following_gives_new_records_until_told_to_stop_and_then_the_rest(log: Path) -> None:
    stop = LogStop()
    reader = read_log(log, tail=1, follow=stop)
    assert next(reader).text == b"line 4"
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(line.text for line in reader))
    thread.start()
    whole = record(7, "split write")
    with log.open("ab", buffering=0) as file:
        file.write(whole[:20])
        file.write(whole[20:])
        file.write(record(8, "last"))
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert found == [b"split write", b"last"]
    stop.close()


def test_following_goes_on_in_the_file_that_takes_the_logs_place(log: Path) -> None:
    stop = LogStop()
    reader = read_log(log, tail=1, follow=stop)
    try:
        assert next(reader).text == b"line 4"
        with log.open("ab") as file:
            file.write(record(4, "last of the old"))
        fresh = log.with_name("fresh")
        fresh.write_bytes(record(5, "first of the new"))
        fresh.rename(log)
        assert [next(reader).text, next(reader).text] == [b"last of the old", b"first of the new"]
        stop.set()
        assert list(reader) == []
    finally:
        stop.close()
