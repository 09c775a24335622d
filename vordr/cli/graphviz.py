"""Drawing with graphviz's program ``dot``, where it is installed: DOT on its input, SVG on its output."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from typing import Final

from vordr.model.errors import RuntimeFailed, RuntimeNotFound

PATIENCE: Final = 30.0
"""Seconds for one picture."""
LARGEST_SVG: Final = 16 * 1024 * 1024
_AS_DOT: Final = "vordr verify --graph FILE.dot IMAGE"


def svg(text: str, patience: float = PATIENCE) -> bytes:
    """The SVG of a graph in DOT.

    :raises RuntimeNotFound: graphviz is not installed. RuntimeFailed: it fails, takes longer than
        ``patience`` seconds, or makes more than :data:`LARGEST_SVG` bytes.
    """
    program = shutil.which("dot")
    if program is None:
        raise RuntimeNotFound(
            "no graph is drawn: graphviz is not installed (apt install graphviz); --graph FILE.dot writes "
            "what it would draw", remedy="apt install graphviz",
            details={"cause": "the program dot is not in PATH"})
    with tempfile.TemporaryFile() as source:
        source.write(text.encode())
        source.seek(0)
        process = subprocess.Popen(
            (program, "-Tsvg"), stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, start_new_session=True)
    assert process.stdout is not None
    late = threading.Timer(patience, _end, (process,))
    late.start()
    try:
        with process.stdout as output:
            drawn = output.read(LARGEST_SVG + 1)
        if len(drawn) > LARGEST_SVG:
            _end(process)
        code = process.wait()
    finally:
        late.cancel()
        if process.returncode is None:  # somebody interrupts us
            _end(process)
            process.wait()
    if len(drawn) > LARGEST_SVG:
        raise RuntimeFailed(f"no graph is drawn: dot makes more than {LARGEST_SVG} bytes", remedy=_AS_DOT)
    if code != 0:
        how = f"takes longer than {patience:g} s" if code == -signal.SIGKILL else f"ends with code {code}"
        raise RuntimeFailed(f"no graph is drawn: dot {how}", remedy=_AS_DOT)
    return drawn


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program, and what it may have started."""
    if process.returncode is not None:
        return  # its number may be another's by now
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
