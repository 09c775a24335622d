"""From a frame to a request that may be carried out: pure checks, each with its refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from vordr.engine.authority import authorise
from vordr.engine.protocol import Caller
from vordr.formats.typed import convert
from vordr.model import arguments
from vordr.model.errors import UsageError
from vordr.model.operations import REGISTRY, Operation

CONNECTION: Final = 0
"""The id in errors that answer no request; clients number theirs from 1."""


Number = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends: {"id": n, "operation": name, "args": {…}}."""

    id: Number
    operation: str
    args: dict[str, Any] = {}


@dataclass(frozen=True)
class Request:
    """A request that makes sense and that its caller may make."""

    id: int
    operation: Operation
    args: arguments.Args


def number_of(message: dict[str, Any]) -> int:
    """The id to answer under, also where the rest makes no sense."""
    try:
        return convert(message.get("id"), Number)
    except msgspec.ValidationError:
        return CONNECTION


def read_envelope(message: dict[str, Any]) -> tuple[Envelope, Operation]:
    """Raises UsageError: not a request, or an operation nobody knows; this is not our protocol."""
    try:
        envelope = convert(message, Envelope)
    except msgspec.ValidationError as error:
        raise UsageError(f"not a request: {error}")
    operation = REGISTRY.get(envelope.operation)
    if operation is None:
        raise UsageError(
            f"unknown operation {envelope.operation[:64]!r}",
            remedy="vordr version: the service may be older than this command",
        )
    return envelope, operation


def admit(envelope: Envelope, operation: Operation, files: int, caller: Caller) -> Request:
    """The request with typed arguments.

    :raises UsageError: arguments that do not fit (the message names the place), or descriptors that nobody
        asked for; PolicyDenied as :func:`~vordr.engine.authority.authorise`.
    """
    try:
        args = convert(envelope.args, operation.args)
    except msgspec.ValidationError as error:
        raise UsageError(f"arguments of {operation.name}: {error}", details={"operation": operation.name})
    if files and not operation.takes_file:
        raise UsageError(f"{operation.name} takes no descriptor, {files} came along")
    authorise(operation, args, caller)
    return Request(envelope.id, operation, args)
