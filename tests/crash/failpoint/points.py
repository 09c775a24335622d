"""Points where a process may be made to end, counted as it passes them."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vordr.journal.batch import Group, Outcome
from vordr.journal.store import JournalStore
from vordr.model.records import Kind

CGROUPS: Final = Path("/sys/fs/cgroup")
_HEX: Final = re.compile(r"[0-9a-f]{12,}")
_TEMPORARY: Final = re.compile(r"(?<=[./-])(tmp)?[a-z0-9_]{8}(?=$|/)")
_NUMBER: Final = re.compile(r"\d+")
_MAKES: Final = os.O_CREAT | os.O_TRUNC
# Events of the interpreter's audit hooks (PEP 578) before something durable happens, and which argument says
# where. Renames and links are named by what they make.
_AT: Final = {
    "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.mkdir": 0, "os.rmdir": 0, "os.remove": 0,
    "os.truncate": 0, "open": 0,
}


Fatal = tuple[str, int]
"""A point by its name, and which passing of it."""

ANY: Final = "any"
"""In place of a name: whichever is passed as that one."""


class Points:
    """Counts points, tells ``say`` the name of each, and ends the process at the chosen one.

    ``folders`` are where changes of files count: the instance's own. ``on_commit`` is called when a
    transaction has ended, before the next point.
    """

    def __init__(self, say: Callable[[str], None], folders: Sequence[Path]) -> None:
        self._say = say
        self._folders = tuple(str(folder) for folder in folders)
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._armed = False
        self._fatal: Fatal | None = None
        self._passed: Counter[str] = Counter()
        self.on_commit: Callable[[], None] | None = None

    def arm(self, fatal: Fatal | None) -> None:
        """Count from now on; the process ends at ``fatal`` (None: at none)."""
        with self._lock:
            self._armed, self._fatal, self._passed = True, fatal, Counter()

    def disarm(self) -> None:
        with self._lock:
            self._armed = False

    def hit(self, name: str) -> None:
        """Pass a point."""
        if not self._armed:
            return
        with self._lock:
            if not self._armed:
                return
            self._passed.update((name, ANY))
            self._say(f"point {name}")
            if self._fatal in ((name, self._passed[name]), (ANY, self._passed[ANY])):
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """A point before and one after the block; what is passed inside is named after it."""
        outer = getattr(self._inside, "name", None)
        self.hit(f"before {name}")
        self._inside.name = name
        try:
            yield
        finally:
            self._inside.name = outer
        self.hit(f"after {name}")

    # -- where points come from ----------------------------------------------------------------------

    def watch_journal(self) -> None:
        """A point before and after every write of a journal in this process."""
        append, points = JournalStore.append_batch, self

        def append_batch(store: JournalStore, groups: Sequence[Group]) -> list[Outcome]:
            drafts = [draft for group in groups for draft in group.drafts]
            with points.around("journal " + "+".join(f"{d.kind} {d.operation}" for d in drafts)):
                outcomes = append(store, groups)
            if points.on_commit is not None and any(d.kind is Kind.COMMIT for d in drafts):
                points.on_commit()
            return outcomes

        JournalStore.append_batch = append_batch  # type: ignore[method-assign]  # this process is for that

    def watch_files(self) -> None:
        """A point before every change of a file or folder of the instance, and before every new process."""
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event == "subprocess.Popen":
            words = [str(word) for word in args[1]] if isinstance(args[1], (list, tuple)) else []
            command = next((word for word in words[1:] if word.isalpha()), "")
            self._hit_inside(f"{Path(os.fsdecode(args[0])).name} {command}".strip())
        elif event in _AT and (event != "open" or _opens_anew(args)):
            where = args[_AT[event]]
            if isinstance(where, (str, bytes, os.PathLike)):
                self._changed(event.removeprefix("os."), os.fsdecode(where))

    def _changed(self, event: str, where: str) -> None:
        for folder in self._folders:
            if where.startswith(folder + "/"):
                below = where[len(folder) + 1:]
                # Control groups: one kind of point, in however many hierarchies.
                kind = _kind_of(below if folder != str(CGROUPS) else "cgroup/" + below.partition("/")[2])
                self._hit_inside(f"{event} {kind}")
                return

    def _hit_inside(self, what: str) -> None:
        inside = getattr(self._inside, "name", None)
        self.hit(what if inside is None else f"{what} in {inside}")


def _opens_anew(args: tuple[Any, ...]) -> bool:
    flags = args[2]
    return isinstance(flags, int) and bool(flags & _MAKES) and flags & os.O_TMPFILE != os.O_TMPFILE


def _kind_of(path: str) -> str:
    """A path without what is different each time."""
    return _NUMBER.sub("N", _TEMPORARY.sub("TMP", _HEX.sub("ID", path)))
