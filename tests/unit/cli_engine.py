"""An engine in memory behind the production interface, and a way to run the command line on it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vordr.cli import entry
from vordr.cli.context import Session
from vordr.engine.protocol import Engine, OnEvent, Reply
from vordr.formats.typed import convert
from vordr.model import answers, arguments
from vordr.model.errors import ContainerNotFound, ImageNotFound, VordrError
from vordr.model.lifecycle import Op, State, target
from vordr.model.operations import REGISTRY
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState, ImageConfig, ImageState, Layer

NOW = 1_790_000_000_000_000
MINUTE = 60_000_000
TXN = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
MANIFEST = "sha256:" + "ab" * 32

Script = Callable[[Any], Any]


def receipt(seq: int = 7) -> answers.Receipt:
    return answers.Receipt(txn=TXN, seq=seq)


def container(name: str = "web", state: State = State.RUNNING, **fields: Any) -> answers.ShownContainer:
    ids = {"web": "1", "db": "2"}
    base: dict[str, Any] = {
        "id": (ids.get(name, "c") + "0f" * 32)[:64], "name": name, "image": MANIFEST,
        "image_name": "docker.io/library/hello:latest", "spec": ContainerSpec(), "state": state,
        "created": NOW - 10 * MINUTE, "started": NOW - 5 * MINUTE, "pid": 4242,
    }
    if state is State.CREATED:
        base |= {"started": None, "pid": None}
    if state is State.STOPPED:
        base |= {"finished": NOW - 2 * MINUTE, "exit_code": 0, "pid": None}
    made = base | fields
    spec = made["spec"]
    entrypoint = spec.entrypoint or ()
    return answers.ShownContainer(**({"arguments": (*entrypoint, *spec.command)} | made))


def image(*names: str, **fields: Any) -> ImageState:
    base: dict[str, Any] = {
        "manifest": MANIFEST, "config_digest": "sha256:" + "cd" * 32,
        "names": names or ("docker.io/library/hello:latest",),
        "layers": (Layer("sha256:" + "01" * 32, "sha256:" + "02" * 32, 4_260_000, "tar"),), "seals": (),
        "config": ImageConfig(entrypoint=("/bin/hello",), environment=("PATH=/bin",)),
        "bundle": "sha256:" + "03" * 32, "origin": "adopted", "attested_by": "adopted by tester",
        "imported": NOW - 3 * MINUTE,
    }
    return ImageState(**(base | fields))


class MemoryEngine(Engine):
    """Containers and images in dictionaries. ``calls`` holds every (operation, arguments) in order.

    ``scripts`` maps an operation to what answers it instead: an error to raise, a Reply, an answer, or a
    function of the arguments giving one of these. ``closed`` tells whether the program let go of it.
    """

    def __init__(self, *containers: ContainerState, images: Sequence[ImageState] = ()) -> None:
        self.containers = {c.id: c for c in containers}
        self.images = list(images)
        self.calls: list[tuple[str, Any]] = []
        self.files: list[bytes] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.scripts: dict[str, Any] = {}
        self.closed = False
        self.answered = threading.Condition()

    def call(
        self, operation: str, args: arguments.Args, *, files: Sequence[int] = (),
        on_event: OnEvent | None = None,
    ) -> Reply:
        row = REGISTRY[operation]
        assert type(args) is row.args, f"{operation} takes {row.args.__name__}, got {type(args).__name__}"
        convert(msgspec.to_builtins(args), row.args)  # as over the socket
        self.files += [os.pread(fd, 1 << 20, 0) for fd in files]
        with self.answered:
            self.calls.append((operation, args))
            self.answered.notify_all()
        for event in self.events.get(operation, ()) if on_event else ():
            assert on_event is not None
            on_event(event)
        scripted = self.scripts.get(operation)
        answer = scripted(args) if callable(scripted) else scripted
        if answer is None:
            answer = getattr(self, f"_{operation}")(args)
        if isinstance(answer, BaseException):
            raise answer
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        assert isinstance(reply.answer, row.answer)
        return reply

    def close(self) -> None:
        self.closed = True

    def of(self, operation: str) -> list[Any]:
        """Arguments of all calls of one operation."""
        return [args for name, args in self.calls if name == operation]

    def wait_for(self, operation: str) -> Any:
        """The arguments of an operation, as soon as it was called."""
        with self.answered:
            assert self.answered.wait_for(lambda: self.of(operation), timeout=10), f"no {operation}"
        return self.of(operation)[0]

    # -- what it does ------------------------------------------------------------------------------

    def _find(self, given: str) -> ContainerState:
        for c in self.containers.values():
            if c.name == given or c.id.startswith(given):
                return c
        raise ContainerNotFound(f"no container is called {given!r}", details={"container": given})

    def _create(self, args: arguments.CreateArgs) -> answers.ContainerAnswer:
        return self._made(args, State.CREATED)

    def _run(self, args: arguments.RunArgs) -> answers.ContainerAnswer:
        return self._made(args, State.RUNNING)

    def _made(self, args: arguments.CreateArgs, state: State) -> answers.ContainerAnswer:
        if not args.package and not any(args.image in name for i in self.images for name in i.names):
            raise ImageNotFound(f"image {args.image!r} is not in the store", remedy="vordr pull …")
        spec = ContainerSpec(command=args.command, tty=args.tty, stdin=args.stdin)
        made = container(args.name or "web", state, spec=spec)
        self.containers[made.id] = made
        return answers.ContainerAnswer(container=made, receipt=receipt())

    def _act(self, op: Op, args: arguments.ContainerArgs) -> answers.ContainerAnswer:
        before = self._find(args.container)
        after = msgspec.structs.replace(before, state=target(op, before.state))
        self.containers[after.id] = after
        return answers.ContainerAnswer(container=after, receipt=receipt())

    def _start(self, args: Any) -> Any:
        return self._act(Op.START, args)

    def _stop(self, args: Any) -> Any:
        return self._act(Op.STOP, args)

    def _kill(self, args: Any) -> Any:
        return self._act(Op.KILL, args)

    def _pause(self, args: Any) -> Any:
        return self._act(Op.PAUSE, args)

    def _resume(self, args: Any) -> Any:
        return self._act(Op.RESUME, args)

    def _remove(self, args: Any) -> Any:
        answer = self._act(Op.REMOVE, args)
        del self.containers[answer.container.id]
        return answer

    def _restart(self, args: Any) -> Any:
        self._act(Op.STOP, args)
        return self._act(Op.START, args)

    def _list(self, args: arguments.ListArgs) -> Any:
        listed = [c for c in self.containers.values() if args.all or c.state in (State.RUNNING, State.PAUSED)]
        return answers.ListAnswer(containers=tuple(listed))

    def _inspect(self, args: Any) -> Any:
        return answers.InspectAnswer(
            container=self._find(args.container), digest="sha256:" + "dd" * 32,
            image=self.images[0] if self.images else None, log_path="/x/ctr.log", verdict={"by": "tester"})

    def _images(self, args: Any) -> Any:
        return answers.ImagesAnswer(images=tuple(self.images))

    def _pull(self, args: arguments.PullArgs) -> Any:
        self.images.append(image(f"docker.io/library/{args.reference}:latest"))
        return answers.ImageAnswer(image=self.images[-1], receipt=receipt())

    def _remove_image(self, args: Any) -> Any:
        return answers.ImageAnswer(image=image(), receipt=receipt())

    _adopt = _remove_image

    def _wake(self, args: Any) -> Any:
        self._find(args.container)
        return answers.Empty()

    def _resize(self, args: Any) -> Any:
        return answers.Empty()

    def _wait(self, args: Any) -> Any:
        return answers.WaitAnswer(code=0)

    def _logs(self, args: Any) -> Any:
        return answers.LogsAnswer(lines=())

    def _history(self, args: Any) -> Any:
        return answers.HistoryAnswer(acts=())


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Program:
    """The command line on one engine; each call is one line."""

    def __init__(self, engine: Engine | VordrError, capfd: pytest.CaptureFixture[str]) -> None:
        self._engine = engine
        self._capfd = capfd

    def session(self) -> Session:
        def opener(root: Path | None) -> Engine:
            if isinstance(self._engine, VordrError):
                raise self._engine
            return self._engine

        return Session(opener=opener, clock=lambda: NOW)

    def __call__(self, *arguments: str) -> Outcome:
        self._capfd.readouterr()
        code = entry.run(arguments, self.session())
        return Outcome(code, *self._capfd.readouterr())


class Conmon:
    """The far side of an attach descriptor, as conmon plays it."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.far.settimeout(10)
        self.near = near.detach()

    def say(self, data: bytes, stream: int = 2) -> None:
        for start in range(0, len(data), 8192):
            self.far.sendall(bytes([stream]) + data[start:start + 8192])

    def hear(self) -> bytes:
        """The next packet of standard input; empty at its end."""
        return self.far.recv(1 << 16)

    def hear_all(self) -> bytes:
        heard = b""
        while packet := self.hear():
            heard += packet
        return heard

    def end(self) -> None:
        self.far.close()


def assert_valid(value: Any, schema: str) -> None:
    import jsonschema
    from published import svalinn_schema

    described = svalinn_schema(schema)
    jsonschema.Draft7Validator(
        described, format_checker=jsonschema.FormatChecker()).validate(value)
