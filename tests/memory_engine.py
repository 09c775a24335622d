"""An engine in memory behind the real service: each request chooses what it does, and tests can wait on it.

As a program it is the service (``memory_engine.py service …``) or its keeper (``memory_engine.py keeper …``),
with the real code around this engine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vordr.engine.protocol import Caller, OnEvent, Reply
from vordr.model import answers, arguments
from vordr.model.errors import (
    ContainerNotFound,
    JournalCorrupt,
    JournalStopped,
    StateLocked,
    VerificationRejected,
    VordrError,
)

RECEIPT = answers.Receipt(txn="0190b0c0-0000-7000-8000-000000000001", seq=7, irreversible=("memory",))


class MemoryEngine:
    """Of each operation what the service can tell apart: answers, errors, events, descriptors, waiting."""

    def __init__(self, root: Path, lock: int | None = None) -> None:
        self.root = root
        self.failed = threading.Event()
        self.closed = threading.Event()
        self.calls: list[tuple[str, str, str]] = []
        self.waiting = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self._lock = lock

    @staticmethod
    def open(root: Path) -> MemoryEngine:
        """Takes the lock as the local engine does. A file ``corrupt`` in the root folder is its journal."""
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StateLocked(f"another process owns {root}")
        if (root / "corrupt").exists():
            os.close(lock)
            raise JournalCorrupt("the journal ends in record 17", details={"seq": 17})
        if (root / "broken").exists():
            raise RuntimeError("the engine cannot even say what is wrong")
        return MemoryEngine(root, lock)

    def close(self) -> None:
        (self.root / "closed").touch()
        self.closed.set()
        if self._lock is not None:
            os.close(self._lock)

    def call_as(
        self, caller: Caller, operation: str, args: Any, *, files: Sequence[int] = (),
        on_event: OnEvent | None = None, cancelled: threading.Event | None = None,
    ) -> Reply:
        self.calls.append((caller.principal, str(caller.scope), operation))
        cancelled = cancelled or threading.Event()
        match args:
            case arguments.NoArgs() if operation == "version":
                return Reply(answers.VersionAnswer(
                    version="0", pid=os.getpid(), root=str(self.root), containers=0, started=0))
            case arguments.NoArgs() if operation == "doctor":
                raise RuntimeError("a bug with a secret in a local variable")
            case arguments.VerifyArgs():
                return Reply(self._verify(args, files))
            case arguments.WaitArgs():
                self.waiting.release()
                cancelled.wait()
                self.cancelled.release()
                return Reply(answers.WaitAnswer(code=None))
            case arguments.LogsArgs():
                return self._logs(args, on_event, cancelled)
            case arguments.AttachArgs():
                return Reply(answers.Empty(), (_greeting(b"\x02hello"),))
            case arguments.ExecArgs():
                return self._exec(args, cancelled)
            case arguments.ExplainArgs():
                return Reply(answers.ExplainAnswer(text="x" * int(args.txn or 0)))
            case arguments.HistoryArgs():
                raise ContainerNotFound("no such container", details={"unfit": object()})
            case arguments.ContainerArgs(container=name):
                raise ContainerNotFound(f"no container {name}", details={"container": name})
        raise VerificationRejected("MISSING_ATTESTATION", "no attestation", step=2, details={"image": "x"})

    def _verify(self, args: arguments.VerifyArgs, files: Sequence[int]) -> answers.VerifyAnswer:
        digest = hashlib.sha256()
        for file in files:
            with open(file, "rb", closefd=False) as package:
                digest.update(package.read())
        return answers.VerifyAnswer(decision="ALLOW", manifest=digest.hexdigest(), mode=args.mode)

    def _logs(
        self, args: arguments.LogsArgs, on_event: OnEvent | None, cancelled: threading.Event
    ) -> Reply:
        """``tail`` lines of 4 KiB as events; with ``follow`` then nothing until cancelled."""
        number = 0
        while number < (args.tail or 0) and not cancelled.is_set():
            if on_event is not None:
                on_event({"event": "progress", "phase": "noise", "done": number, "total": None})
                on_event({"event": "log", "time": number, "stream": "stdout", "text": "y" * 4096})
            number += 1
        if args.follow:
            self.waiting.release()
            cancelled.wait()
            self.cancelled.release()
        return Reply(answers.LogsAnswer(lines=()))

    def _exec(self, args: arguments.ExecArgs, cancelled: threading.Event) -> Reply:
        """A mutating act: waits for a FIFO, fails the journal, or crashes the process."""
        match args.command:
            case ("block", fifo):
                self.waiting.release()
                with open(fifo) as gate:
                    gate.read()
                if cancelled.is_set():
                    raise VordrError("the act was cancelled")
            case ("fail-journal",):
                self.failed.set()
                raise JournalStopped("fsync: Input/output error")
            case ("crash",):
                os.kill(os.getpid(), signal.SIGKILL)
        return Reply(answers.ExecAnswer(session="s1", receipt=RECEIPT, attach=False))


def _greeting(packet: bytes) -> int:
    """A descriptor from which ``packet`` can be received, as from conmon's attach socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(packet)
    return theirs.detach()


def main() -> None:
    role, *rest = sys.argv[1:]
    own = (sys.executable, os.path.abspath(__file__))
    if role == "keeper":
        from vordr.service import keeper

        keeper.main(rest, (*own, "service"))
    import argparse

    from vordr.service.server import serve_and_exit

    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--log-file", type=Path)
    options = parser.parse_args(rest)
    serve_and_exit(options.root, log_file=options.log_file, ready_fd=options.ready_fd,
                   opener=MemoryEngine.open)


if __name__ == "__main__":
    main()
