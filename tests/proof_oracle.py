"""Asks the oracle: the definitions of proofs/*.v as OCaml (proofs/oracle/main.ml has the protocol).

It is built when it is missing or older than the proofs. Where Coq or OCaml is not installed, the tests that
need it are skipped and say so; ``make proofs`` and ``make test`` install both.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[1] / "proofs"
NEEDED = {"coqc": "coq", "ocamlopt": "ocaml-nox", "make": "make"}


@cache
def _running() -> subprocess.Popen[str]:
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if missing:
        pytest.fail(f"the oracle needs Debian's {', '.join(missing)}: make deps")
    (PROOFS / "build").mkdir(exist_ok=True)
    folder = os.open(PROOFS / "build", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # test processes side by side build it once
        made = subprocess.run(
            ["make", "-s", "-C", str(PROOFS), "oracle"], capture_output=True, text=True, check=False)
    finally:
        os.close(folder)
    assert made.returncode == 0, f"the oracle does not build:\n{made.stdout}{made.stderr}"
    program = str(PROOFS / "build" / "oracle" / "oracle")
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)


def ask(question: str) -> str:
    """The oracle's answer to one line."""
    process = _running()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(question + "\n")
    process.stdin.flush()
    answer = process.stdout.readline().rstrip("\n")
    assert not answer.startswith("error"), f"{question}\n{answer}"
    return answer


def listed(values: object, separator: str = ",") -> str:
    """A list as the protocol writes it."""
    words = [str(value) for value in values]  # type: ignore[attr-defined]  # any iterable
    return separator.join(words) or "."
