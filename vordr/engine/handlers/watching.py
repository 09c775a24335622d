"""Handlers that look: inspect, logs, attach, wait, audit, doctor, version. They journal nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import vordr
from vordr.engine.auditing import audited
from vordr.engine.authority import authorise_process
from vordr.engine.finding import (
    all_containers,
    container_by_id,
    find_container,
    find_removed,
)
from vordr.engine.host import Call, Host
from vordr.engine.protocol import Reply
from vordr.formats.typed import convert
from vordr.journal.auditor import OfflineJournal
from vordr.model import answers, arguments
from vordr.model.errors import ContainerNotFound, ContainerStopped, StateError, UsageError, VordrError
from vordr.model.lifecycle import State
from vordr.model.records import busy_key
from vordr.model.state import ContainerState, ImageState
from vordr.runtime import attach as attaching
from vordr.runtime import doctor as examination
from vordr.runtime.logs import LogLine as LogRecord
from vordr.runtime.logs import LogStop, read_log

# How long after its end a --rm container may still be there, in µs.
REMOVAL_PATIENCE: Final = 30_000_000
ALIVE = (State.RUNNING, State.PAUSED)
# Characters of a log in one answer, with room for the frame's limit; bytes of a line in one piece.
_LARGEST_ANSWER = 16 * 1024 * 1024
_LONGEST_LINE = 128 * 1024
# How often one who waits for an exec looks whether its caller is still there, in seconds.
_PATIENCE = 2.0


def inspect(host: Host, call: Call, args: arguments.ContainerArgs) -> Reply:
    container = find_container(host.journal, args.container)
    value = host.journal.get(f"images/{container.image}")
    image = None if value is None else convert(value, ImageState)
    try:
        verdict = host.library.judge_manifest(container.image).to_record()
    except VordrError as refused:
        verdict = {"refused": refused.message, **refused.details}
    return Reply(answers.InspectAnswer(
        container=answers.shown(container, host.parking.reason(container)), digest=container.digest(),
        image=image, verdict=verdict, log_path=str(host.paths.log(container.id)),
        busy=host.journal.get(busy_key(f"container/{container.id}"))))


def logs(host: Host, call: Call, args: arguments.LogsArgs) -> Reply:
    container = find_container(host.journal, args.container)
    if args.follow and call.on_event is not None:
        _follow(host, call, container, args)
        return Reply(answers.LogsAnswer(lines=()))
    records = read_log(host.paths.log(container.id), tail=args.tail, since_us=args.since)
    if args.events and call.on_event is not None:
        _send(call, records)
        return Reply(answers.LogsAnswer(lines=()))
    return Reply(answers.LogsAnswer(lines=tuple(_at_most(_LARGEST_ANSWER, _whole_lines(records)))))


def _at_most(most: int, lines: Iterable[answers.LogLine]) -> Iterator[answers.LogLine]:
    """``lines``, unless they hold more than ``most`` characters: a container writes gigabytes in seconds.

    Raises UsageError, as soon as that is known.
    """
    total = 0
    for line in lines:
        total += len(line.text) + 64
        if total > most:
            raise UsageError("the log is longer than one answer holds", remedy="logs --tail 10000")
        yield line


def _send(call: Call, records: Iterable[LogRecord]) -> None:
    """Lines as events, for as long as the caller is there."""
    assert call.on_event is not None
    for line in _whole_lines(records):
        if call.cancelled.is_set():
            return
        call.on_event({"event": "log", "time": line.time, "stream": line.stream, "text": line.text})


def _whole_lines(records: Iterable[LogRecord]) -> Iterator[answers.LogLine]:
    """Lines as they were written: conmon records long ones in pieces. One that does not end is cut."""
    pieces: dict[str, bytes] = {}
    for record in records:
        text = pieces.pop(record.stream, b"") + record.text
        if record.partial and len(text) < _LONGEST_LINE:
            pieces[record.stream] = text
        else:
            yield answers.LogLine(record.time_us, record.stream, text.decode(errors="replace"))
    for stream, text in pieces.items():
        yield answers.LogLine(record.time_us, stream, text.decode(errors="replace"))


def _follow(host: Host, call: Call, container: ContainerState, args: arguments.LogsArgs) -> None:
    """Send lines as events until the container ended or the caller went away."""
    stop = LogStop()

    def watch() -> None:
        while not call.cancelled.is_set():
            with host.changes:
                now = container_by_id(host.journal, container.id)
                if now is None or now.state not in ALIVE:
                    break
                host.changes.wait(timeout=0.5)
        stop.set()

    watcher = threading.Thread(target=watch, name="logs-watch", daemon=True)
    watcher.start()
    try:
        _send(call, read_log(
            host.paths.log(container.id), tail=args.tail, since_us=args.since, follow=stop))
    finally:
        call.cancelled.set()
        watcher.join()
        stop.close()


def attach(host: Host, call: Call, args: arguments.AttachArgs) -> Reply:
    container = find_container(host.journal, args.container)
    authorise_process("attach", container.spec, call.caller)
    if container.state is not State.RUNNING:
        raise ContainerStopped(
            f"cannot attach: {container.name} is {container.state}",
            remedy=f"vordr start -a {container.name}")
    return Reply(answers.Empty(), (attaching.connect_attach(host.paths, container.id).detach(),))


def resize(host: Host, call: Call, args: arguments.ResizeArgs) -> Reply:
    container = find_container(host.journal, args.container)
    attaching.resize(host.paths, container.id, args.rows, args.columns, args.session)
    return Reply(answers.Empty())


# -- waiting ---------------------------------------------------------------------------------------


def wait(host: Host, call: Call, args: arguments.WaitArgs) -> Reply:
    """Wait on the changes of one container; the caller's going away ends it."""
    container = _last_seen(host, args.container)
    if args.session is not None:
        return _wait_session(host, call, container, args.session)
    removed = args.condition == "removed"
    while True:
        with host.changes:
            now = container_by_id(host.journal, container.id)
            if _is_over(now, removed=removed):
                return Reply(answers.WaitAnswer(code=(now or _trashed(host, container)).exit_code))
            _refuse_left_over(host, now)
            host.changes.wait(timeout=5.0)
        if call.cancelled.is_set():
            raise StateError("the caller went away")


def _is_over(now: ContainerState | None, *, removed: bool) -> bool:
    if now is None or now.state is State.REMOVED:
        return True
    return not removed and now.state not in ALIVE


def _refuse_left_over(host: Host, now: ContainerState | None) -> None:
    """A removal that should have followed the end by itself and did not will not come any more."""
    if now is None or not now.spec.auto_remove or now.state is not State.STOPPED or now.finished is None:
        return
    if host.now_us() - now.finished > REMOVAL_PATIENCE:
        raise StateError(
            f"{now.name} ended with code {now.exit_code}, and was not removed", remedy=f"vordr rm {now.name}",
            details={"exit_code": now.exit_code})


def _last_seen(host: Host, given: str) -> ContainerState:
    """The container, or what is left of it in the trash: its exit code is still known."""
    try:
        return find_container(host.journal, given)
    except ContainerNotFound:
        if len(given) == 64:
            item = find_removed(host.journal, given)
            if item.container is not None:
                return item.container
        raise


def _trashed(host: Host, container: ContainerState) -> ContainerState:
    try:
        return find_removed(host.journal, container.id).container or container
    except ContainerNotFound:
        return container


def _wait_session(host: Host, call: Call, container: ContainerState, session: str) -> Reply:
    handle = host.world.session(container.id, session)
    if handle is None:
        raise ContainerNotFound(f"no exec session {session[:12]} in {container.name}")
    while True:
        try:
            code = handle.wait(timeout=_PATIENCE)
            break
        except TimeoutError:
            if call.cancelled.is_set():
                raise StateError("the caller went away") from None
    host.world.end_session(container.id, session)
    return Reply(answers.WaitAnswer(code=code))


# -- record, host ----------------------------------------------------------------------------------


def audit(host: Host, call: Call, args: arguments.AuditArgs) -> Reply:
    """Audit a copy of the journal as an outsider would, with nothing but the public key."""
    proof: dict[str, Any] | None = None
    if args.prove is not None:
        proof = host.journal.prove(args.prove)
    elif args.consistency is not None:
        proof = host.journal.consistency(*args.consistency)
    with tempfile.TemporaryDirectory(prefix=".audit-", dir=host.paths.root) as folder:
        head = Path(folder) / "head"
        # The head first: the database may only be newer than the head that is held against it.
        shutil.copyfile(host.paths.journal_head, head)
        with OfflineJournal.copied(
                host.paths.journal, head, scratch=Path(folder), linked=True) as journal:
            return Reply(audited(journal, host.host_key, proof, model=args.model))


def doctor(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    checks = [
        answers.DoctorCheck(
            category=c.category, name=c.name, status=str(c.status), message=c.message, fix=c.fix)
        for c in examination.checks(host.facts, host.paths)]
    tree = [f"{c.id[:12]} {c.status} (incarnation {c.incarnation}, {c.restarts} restarts)"
            for c in host.containers.children()]
    return Reply(answers.DoctorAnswer(checks=tuple(checks), supervision=tuple(tree)))


def version(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    return Reply(answers.VersionAnswer(
        version=vordr.__version__, pid=os.getpid(), root=str(host.paths.root),
        containers=sum(1 for _ in all_containers(host.journal)), started=host.started))
