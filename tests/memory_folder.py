"""Where tests that sync a lot put their folders: a file system in memory, where there is one."""

import os
from pathlib import Path

MEMORY: Path | None = next((p for p in (Path("/dev/shm"),) if os.access(p, os.W_OK)), None)
