"""Who may ask what: the caller's scope against the operation's, and against what its arguments widen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vordr.engine.protocol import Caller
from vordr.model import arguments
from vordr.model.errors import PolicyDenied
from vordr.model.operations import Operation, Scope
from vordr.model.spec import NetworkMode

_RANK: Final[Mapping[Scope, int]] = {Scope.READ: 0, Scope.OPERATE: 1, Scope.ADMIN: 2}


def authorise(operation: Operation, args: arguments.Args, caller: Caller) -> None:
    """Whether the caller may ask this. Pure.

    :raises PolicyDenied: the operation, or what its arguments would widen, needs a scope the caller lacks.
    """
    if _RANK[operation.scope] > _RANK[caller.scope]:
        raise PolicyDenied(
            f"{operation.name} needs scope {operation.scope}, {caller.principal} has {caller.scope}",
            remedy="sudo vordr …, or ask an administrator",
            details={"operation": operation.name, "scope": str(operation.scope)},
        )
    if caller.scope is Scope.ADMIN:
        return
    if getattr(args, "network", None) is NetworkMode.HOST:
        raise PolicyDenied(
            f"the host's network needs scope {Scope.ADMIN}, {caller.principal} has {caller.scope}",
            remedy="leave --network host away, or sudo vordr …",
            details={"operation": operation.name, "scope": str(Scope.ADMIN)},
        )
