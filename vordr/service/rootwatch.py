"""A service whose root folder was removed has nothing left to serve: it ends, so that its keeper does too."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vordr.runtime.inotify import IN_DELETE, IN_MOVE_SELF, Inotify


@contextmanager
def watching_root(lock: Path, on_gone: Callable[[], None]) -> Iterator[None]:
    """Call ``on_gone`` once, from a thread, when the root folder goes while the context lasts.

    ``lock`` is the file that its owner holds: a removed folder tells nothing while files in it are open,
    but the removal of a file does.
    """
    watch = Inotify()
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    watch.watch(lock.parent, IN_DELETE | IN_MOVE_SELF)
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    poll.register(wake, select.POLLIN)

    def wait() -> None:
        while wake not in {descriptor for descriptor, _ in poll.poll()}:
            for _ in watch.events():
                pass
            if not lock.exists():
                on_gone()
                return

    thread = threading.Thread(target=wait, name="root-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.eventfd_write(wake, 1)
        thread.join()
        watch.close()
        os.close(wake)
