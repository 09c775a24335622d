"""Who owns a root folder whose owner was killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from pathlib import Path

import pytest
from whole_engine import Whole, planted

from vordr.model.errors import StateLocked


def _held(root: Path, owner: int) -> int:
    """The lock of ``root`` as somebody else holds it, saying it is ``owner``'s."""
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.write(lock, str(owner).encode())
    return lock


def test_a_child_that_a_killed_owner_had_just_forked_is_waited_for(memory_path: Path) -> None:
    planted(memory_path / "root").close()
    with subprocess.Popen(["true"]) as dead:
        pass
    lock = _held(memory_path / "root", dead.pid)
    threading.Timer(0.1, os.close, (lock,)).start()  # it calls exec, and the descriptor closes by that
    Whole(memory_path / "root").close()


def test_an_owner_that_lives_is_refused_at_once(memory_path: Path) -> None:
    planted(memory_path / "root").close()
    lock = _held(memory_path / "root", os.getpid())
    with pytest.raises(StateLocked, match=str(os.getpid())):
        Whole(memory_path / "root")
    os.close(lock)
