"""Where tests that sync a lot put their folders: a file system in memory, where there is one.

Each folder is named by the process that made it. What one that was killed has left is taken away by the next.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path

MEMORY: Path | None = next((p for p in (Path("/dev/shm"),) if os.access(p, os.W_OK)), None)
PREFIX = "vordr-test-"


def memory_folder() -> Path:
    """A fresh folder, for the caller to remove."""
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))


@functools.cache
def sweep() -> None:
    """Remove the folders of processes that are no more."""
    for folder in Path(MEMORY or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            if not Path("/proc", owner).exists():
                shutil.rmtree(folder, ignore_errors=True)
