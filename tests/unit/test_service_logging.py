from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from vordr.service.logging import configure, logger


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_service_lines_are_json_with_what_is_bound_around_them() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    with structlog.contextvars.bound_contextvars(txn="t1"):
        logger("vordr.test").info("served", operation="run")
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "event": "served", "operation": "run", "txn": "t1", "level": "info", "logger": "vordr.test"}


def test_libraries_that_use_the_standard_logger_come_out_the_same_way() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    logging.getLogger("pykka").warning("lost %s", "it")
    said = json.loads(stream.getvalue())
    assert (said["event"], said["logger"], said["level"]) == ("lost it", "pykka", "warning")


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure(stream=stream, level="warning")
    logger("vordr.test").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("console", [True, False])
def test_tracebacks_carry_no_values_of_variables(console: bool) -> None:
    stream = io.StringIO()
    configure(stream=stream, console=console)
    passphrase = "correct horse"
    try:
        raise RuntimeError(f"{len(passphrase)} letters")
    except RuntimeError:
        logger("vordr.test").exception("oops")
    assert "RuntimeError" in stream.getvalue()
    assert "correct horse" not in stream.getvalue()


WRITES_MUCH = """
import os, sys
from pathlib import Path
from vordr.service.logging import LogFile, configure, logger
configure(stream=LogFile(Path(sys.argv[1]), limit=2000))
for number in range(40):
    logger("vordr.test").info("line", number=number)
os.write(2, b"from the interpreter itself")
"""


def test_the_log_file_is_private_bounded_and_takes_what_goes_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    subprocess.run([sys.executable, "-c", WRITES_MUCH, str(path)], check=True)
    old = Path(f"{path}.1")
    assert path.stat().st_size <= 2027
    assert old.stat().st_size <= 2000
    assert path.read_text().endswith("from the interpreter itself")
    assert '"number": 39' in path.read_text()
    assert path.stat().st_mode & 0o777 == old.stat().st_mode & 0o777 == 0o600


def test_the_log_file_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    os.symlink(victim, tmp_path / "service.log")
    ended = subprocess.run(
        [sys.executable, "-c", WRITES_MUCH, str(tmp_path / "service.log")], capture_output=True, check=False)
    assert ended.returncode != 0
    assert victim.read_text() == "as it was"


def test_the_steps_inside_a_transition_are_not_logged() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    logging.getLogger("transitions.core").info("Finished processing state")
    logging.getLogger("vordr.actors").info("told")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["told"]
