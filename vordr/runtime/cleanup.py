"""Removing what running a container left: runtime state, control groups, bundle and sockets.

The root file system's mounts are images' own, and come as a call; log and exit file are not touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Final

from vordr.model.errors import RuntimeFailed
from vordr.model.paths import Paths
from vordr.runtime import cgroups
from vordr.runtime.conmon import CONTAINER_PIDFILE, bundle_folder
from vordr.runtime.driver import Driver
from vordr.runtime.identifiers import check_id

_PATIENCE_S: Final = 2.0
_PARTS: Final = ("bundle", "exec", "etc")


def reap(
    paths: Paths, container: str, driver: Driver | None, unmount: Callable[[], object] = lambda: None
) -> None:
    """Kill what still runs of the container and forget it; idempotent, half-made ones too.

    ``unmount`` takes its mounts down, and is called once nothing of it runs: beside the rest where that is
    certain from the start, else at the end. ``driver`` may be None when no runtime has state of the
    container. Ends when its conmon has ended, so a last exit file may appear meanwhile. Raises RuntimeFailed
    when a process does not die.
    """
    check_id(container)
    if driver is not None and _has_ended(paths, container):
        with beside(unmount):
            _remove_groups(container)
            driver.forget(container)
            _remove_parts(paths, container)
    else:
        if driver is None or not driver.delete(container, force=True):
            # A runtime that died half-way may have left processes without state of its own.
            cgroups.kill_all(container)
        _remove_groups(container)
        _remove_parts(paths, container)
        unmount()
    with contextlib.suppress(OSError):
        paths.container_run(container).rmdir()


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Have ``work`` done on a thread of its own beside the block; its error is raised after the block."""
    failed: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=do, name="vordr-beside", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]


def _remove_groups(container: str) -> None:
    try:
        cgroups.remove(container, patience=_PATIENCE_S)
    except RuntimeFailed:
        # conmon waits for an attached client that does not read; its container is gone, so let it go, too.
        cgroups.kill_all(container, conmon=True)
        cgroups.remove(container)


def _remove_parts(paths: Paths, container: str) -> None:
    for part in _PARTS:
        shutil.rmtree(paths.container_run(container) / part, ignore_errors=True)


def _has_ended(paths: Paths, container: str) -> bool:
    """Whether nothing of the container runs, for certain: then its runtime's state is but a folder.

    Its first process is gone, and with it its pid namespace; its groups were there, and the kernel has let
    them be removed, which it does of empty ones alone. Whatever is less clear is the runtime's to delete.
    """
    try:
        first = int((bundle_folder(paths, container) / CONTAINER_PIDFILE).read_text())
        os.kill(first, 0)
    except ProcessLookupError:
        return cgroups.remove_empty(container)
    except (OSError, ValueError):
        pass
    return False


def leftovers(paths: Paths, container: str, driver: Driver) -> tuple[str, ...]:
    """What :func:`reap` would still find, in words; empty when there is nothing (for tests and recovery)."""
    found = []
    if driver.knows(check_id(container)):
        found.append("runtime state")
    found += [f"control group {folder}" for folder in cgroups.existing(container)]
    if bundle_folder(paths, container).exists():
        found.append("bundle")
    return tuple(found)
