"""The service hears when its root folder goes, and only then."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from vordr.service.rootwatch import watching_root


def test_removing_the_root_folder_is_heard_though_files_in_it_are_open(tmp_path: Path) -> None:
    root, gone = tmp_path / "root", threading.Event()
    root.mkdir()
    lock = root / "lock"
    with lock.open("w"), watching_root(lock, gone.set):
        shutil.rmtree(root)
        assert gone.wait(10)


def test_moving_the_root_folder_away_is_heard(tmp_path: Path) -> None:
    root, gone = tmp_path / "root", threading.Event()
    root.mkdir()
    (root / "lock").touch()
    with watching_root(root / "lock", gone.set):
        root.rename(tmp_path / "elsewhere")
        assert gone.wait(10)


def test_what_else_happens_inside_the_folder_ends_nothing(tmp_path: Path) -> None:
    lock, gone = tmp_path / "lock", threading.Event()
    lock.touch()
    with watching_root(lock, gone.set):
        (tmp_path / "file").write_text("x")
        (tmp_path / "file").unlink()
    assert not gone.is_set()
