"""The driver's words to the runtime, with a program in its place that fails as runc was seen to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from vordr.model.errors import RuntimeFailed
from vordr.runtime.driver import Driver

CONTAINER = "a" * 64


def driver(folder: Path, script: str) -> Driver:
    program = folder / "runc"
    program.write_text(f"#!/bin/sh\necho called >> {folder}/calls\n{script}\n")
    program.chmod(0o755)
    return Driver("runc", program, "1.1", folder / "state", Path("/bin/false"), "2")


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_a_freezer_that_needs_longer_is_asked_again(tmp_path: Path) -> None:
    thrice = f'[ $(wc -l < {tmp_path}/calls) -ge 3 ] || {{ echo "unable to freeze" >&2; exit 1; }}'
    driver(tmp_path, thrice).pause(CONTAINER)
    assert calls(tmp_path) == 3


@pytest.mark.parametrize(("words", "tries"), [("unable to freeze", 5), ("container not running", 1)])
def test_a_pause_that_cannot_be_is_refused_in_the_runtimes_words(
    tmp_path: Path, words: str, tries: int
) -> None:
    with pytest.raises(RuntimeFailed, match=words):
        driver(tmp_path, f'echo "{words}" >&2; exit 1').pause(CONTAINER)
    assert calls(tmp_path) == tries
