"""Who may ask what: the caller's scope against the operation's, and against what it would widen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vordr.engine.protocol import Caller
from vordr.model import arguments
from vordr.model.errors import PolicyDenied
from vordr.model.operations import Operation, Scope
from vordr.model.spec import ContainerSpec, NetworkMode

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
        raise _host_network(operation.name, caller, "leave --network host away, or sudo vordr …")


def authorise_process(doing: str, spec: ContainerSpec, caller: Caller) -> None:
    """Whether the caller may make a process in a container of ``spec``, or speak to one. Pure.

    Whoever made the container: a process in the host's namespaces is an administrator's, each time.

    :raises PolicyDenied: it shares the host's network, and the caller lacks scope admin.
    """
    if spec.network is NetworkMode.HOST and caller.scope is not Scope.ADMIN:
        raise _host_network(doing, caller, "sudo vordr …, or ask an administrator")


def _host_network(doing: str, caller: Caller, remedy: str) -> PolicyDenied:
    return PolicyDenied(
        f"the host's network needs scope {Scope.ADMIN}, {caller.principal} has {caller.scope}",
        remedy=remedy, details={"operation": doing, "scope": str(Scope.ADMIN)})
