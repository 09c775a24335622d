"""faultfs.c for the process that dies: a disk that fills up, or whose sync fails, under the journal."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).resolve().parent.parent / "faultfs.c"
_SYNC, _WRITE = 0, 1
FAULTS: Final = {"full": (_WRITE, errno.ENOSPC), "sync": (_SYNC, errno.EIO)}
"""By name: which calls fail, and with what. Full it stays; a failed sync is told once, as Linux does."""


def build(folder: Path) -> Path:
    """Compile the library into ``folder``."""
    built = folder / "faultfs.so"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", built, SOURCE, "-ldl",
         "-lpthread"], check=True)
    return built


def environment(library: Path, root: Path) -> dict[str, str]:
    """The environment in which what lies below ``root`` is on a disk that can fail."""
    return {**os.environ, "LD_PRELOAD": str(library), "FAULTFS_ROOT": str(root)}


def arm(fault: str) -> None:
    """Let the disk of the journal's log fail from now on, in this process, which must have the library."""
    kind, code = FAULTS[fault]
    ctypes.CDLL(None).faultfs_arm(kind, ctypes.c_long(1), code, b".log")
