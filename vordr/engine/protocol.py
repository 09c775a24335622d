"""The Engine protocol: one door, whoever stands behind it.

``call`` is the whole protocol; the methods below it are the registry's operations with Python's manners, and
they work the same on a :class:`~vordr.engine.local.LocalEngine` (owns the root folder) and a
:class:`~vordr.engine.remote.RemoteEngine` (speaks to the service that does).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vordr.model import answers, arguments
from vordr.model.errors import ImageUnreadable
from vordr.model.operations import Scope
from vordr.model.spec import parse_cpus, parse_restart, parse_size
from vordr.model.state import ContainerState

Event = Mapping[str, Any]
"""Progress or a log line while an operation works: ``{"event": "progress", "phase", "done", "total"}`` or
``{"event": "log", "time", "stream", "text"}``."""

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Caller:
    """Who asks: the principal as journalled (``uid:0``), and what they may do."""

    principal: str
    scope: Scope

    @staticmethod
    def local() -> Caller:
        """This process itself, which owns the root folder."""
        return Caller(f"uid:{os.geteuid()}", Scope.ADMIN)


@dataclass(frozen=True)
class Reply:
    """An answer and the descriptors that came with it; the receiver owns and closes them."""

    answer: Any
    files: tuple[int, ...] = ()


def is_package(image: str) -> bool:
    """Whether an image argument names a .ctp file rather than a reference, as the command line reads it."""
    return image.endswith(".ctp") or image.startswith(("/", "./", "../"))


def open_package(image: str) -> int:
    """Open a .ctp for reading; raises ImageUnreadable when there is none."""
    try:
        return os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageUnreadable(
            f"cannot read package {image}: {error.strerror}", remedy="vordr pack SOURCE OUTPUT.ctp"
        ) from error


class Engine(ABC):
    """Every operation of :data:`vordr.model.operations.REGISTRY`. Raises VordrError's classes only."""

    @abstractmethod
    def call(
        self,
        operation: str,
        args: arguments.Args,
        *,
        files: Sequence[int] = (),
        on_event: OnEvent | None = None,
    ) -> Reply:
        """Perform one operation. ``files`` stay the caller's; descriptors in the reply are the receiver's."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the root folder or the socket. Containers go on."""

    @staticmethod
    def open(root: str | os.PathLike[str] | None = None) -> Engine:
        """The engine of a root folder (``VORDR_ROOT``, else /var/lib/vordr): local when this process can
        own it, remote when a service does. Raises NotPrivileged, StateLocked, JournalCorrupt."""
        from vordr.engine.opening import open_engine

        return open_engine(None if root is None else Path(root))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- containers --------------------------------------------------------------------------------

    def call_with_package(
        self, operation: str, args: Any, *, on_event: OnEvent | None = None
    ) -> Reply:
        """``call``, opening the .ctp that ``args.image`` names, if it names one."""
        if not args.package:
            return self.call(operation, args, on_event=on_event)
        package = open_package(args.image)
        try:
            return self.call(operation, args, files=(package,), on_event=on_event)
        finally:
            os.close(package)

    def create(self, image: str, **wishes: Any) -> Container:
        """Make a container; ``wishes`` as for :meth:`run`."""
        args = _create_args(arguments.CreateArgs, image, wishes)
        return Container(self, self.call_with_package("create", args).answer.container)

    def run(self, image: str, **wishes: Any) -> Container:
        """Create and start a container, detached.

        ``wishes``: the fields of :class:`~vordr.model.arguments.RunArgs`; ``restart`` also as text
        (``"on-failure:3"``), ``memory`` as ``"64m"``, and ``cpus`` as ``"1.5"``.
        """
        args = _create_args(arguments.RunArgs, image, wishes)
        return Container(self, self.call_with_package("run", args).answer.container)

    def get(self, container: str) -> Container:
        """A handle on a container by name, id or beginning of an id; raises ContainerNotFound."""
        return Container(self, self.inspect(container).container)

    def containers(self, *, all: bool = False) -> list[Container]:
        """Handles on the running containers, or on all."""
        listed = self.call("list", arguments.ListArgs(all=all)).answer
        return [Container(self, state) for state in listed.containers]

    def inspect(self, container: Container | str) -> answers.InspectAnswer:
        found: answers.InspectAnswer = self.call(
            "inspect", arguments.ContainerArgs(container=_ref(container))).answer
        return found

    # -- record and reversal -----------------------------------------------------------------------

    def undo(
        self, container: Container | str | None = None, *, steps: int = 1, txn: str | None = None,
        to: int | None = None, cascade: bool = False, dry_run: bool = False,
    ) -> answers.UndoAnswer:
        """Take acts back: of a container, one transaction, all after record ``to``, or the newest."""
        args = arguments.UndoArgs(
            container=None if container is None else _ref(container), steps=steps, txn=txn, to=to,
            cascade=cascade, dry_run=dry_run,
        )
        answer: answers.UndoAnswer = self.call("undo", args).answer
        return answer

    def redo(self, txn: str | None = None, *, dry_run: bool = False) -> answers.UndoAnswer:
        answer: answers.UndoAnswer = self.call("redo", arguments.RedoArgs(txn=txn, dry_run=dry_run)).answer
        return answer

    def history(self, container: Container | str | None = None, *, limit: int = 50) -> answers.HistoryAnswer:
        args = arguments.HistoryArgs(container=None if container is None else _ref(container), limit=limit)
        answer: answers.HistoryAnswer = self.call("history", args).answer
        return answer

    def audit(self) -> answers.AuditAnswer:
        answer: answers.AuditAnswer = self.call("audit", arguments.AuditArgs()).answer
        return answer

    def verify(self, image: str, *, mode: str = "strict") -> answers.VerifyAnswer:
        args = arguments.VerifyArgs(image=image, mode=mode, package=is_package(image))
        answer: answers.VerifyAnswer = self.call_with_package("verify", args).answer
        return answer

    def trust_init(self, owner: str) -> answers.TrustAnswer:
        answer: answers.TrustAnswer = self.call("trust_init", arguments.TrustInitArgs(owner=owner)).answer
        return answer

    def pack(self, source: str | os.PathLike[str], output: str | os.PathLike[str], *, name: str,
             **more: Any) -> answers.PackAnswer:
        args = arguments.PackArgs(
            source=os.path.abspath(source), output=os.path.abspath(output), name=name, **more)
        answer: answers.PackAnswer = self.call("pack", args).answer
        return answer


class Container:
    """A handle on one container; ``state`` is what was last seen of it."""

    def __init__(self, engine: Engine, state: ContainerState) -> None:
        self.engine = engine
        self.state = state

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def name(self) -> str:
        return self.state.name

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.id[:12]} {self.state.state}>"

    def refresh(self) -> Container:
        """Look again; raises ContainerNotFound when it is gone."""
        self.state = self.engine.inspect(self.id).container
        return self

    def _act(self, operation: str, args: arguments.Args) -> Container:
        self.state = self.engine.call(operation, args).answer.container
        return self

    def start(self) -> Container:
        return self._act("start", arguments.StartArgs(container=self.id))

    def stop(self, timeout: int | None = None) -> Container:
        return self._act("stop", arguments.StopArgs(container=self.id, timeout=timeout))

    def restart(self, timeout: int | None = None) -> Container:
        return self._act("restart", arguments.StopArgs(container=self.id, timeout=timeout))

    def kill(self, signal: str = "KILL") -> Container:
        return self._act("kill", arguments.KillArgs(container=self.id, signal=signal))

    def pause(self) -> Container:
        return self._act("pause", arguments.ContainerArgs(container=self.id))

    def resume(self) -> Container:
        return self._act("resume", arguments.ContainerArgs(container=self.id))

    def remove(self, *, force: bool = False) -> Container:
        return self._act("remove", arguments.RemoveArgs(container=self.id, force=force))

    def wait(self) -> int | None:
        """Wait for the process to end; its exit code, None when nobody can know."""
        answer: answers.WaitAnswer = self.engine.call("wait", arguments.WaitArgs(container=self.id)).answer
        return answer.code

    def logs(self, *, tail: int | None = None) -> str:
        """What the container wrote, both streams, in order."""
        answer: answers.LogsAnswer = self.engine.call(
            "logs", arguments.LogsArgs(container=self.id, tail=tail)).answer
        return "".join(f"{line.text}\n" for line in answer.lines)


def _ref(container: Container | str) -> str:
    return container.id if isinstance(container, Container) else container


def _create_args(kind: type[Any], image: str, wishes: dict[str, Any]) -> Any:
    """Wishes in Python's manners as the registry's arguments."""
    fields = dict(wishes)
    if isinstance(fields.get("restart"), str):
        fields["restart"] = parse_restart(fields["restart"])
    if isinstance(fields.get("memory"), str):
        fields["memory"] = parse_size(fields["memory"])
    if "cpus" in fields:
        fields["cpu_millis"] = parse_cpus(str(fields.pop("cpus")))
    for words in ("command", "entrypoint"):
        if fields.get(words) is not None:
            fields[words] = tuple(fields[words])
    return kind(image=image, package=is_package(image), **fields)
